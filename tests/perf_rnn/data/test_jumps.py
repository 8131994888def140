import itertools

import numpy as np
import pytest

from perf_rnn.configs import get_config
from perf_rnn.data import jumps
from perf_rnn.data.augmentation import Augmentation
from perf_rnn.data.examples import EventSequence
from perf_rnn.data.jumps import MAX_PARTS, ControlJumps
from perf_rnn.events.note_events import NoteCodec
from perf_rnn.events.one_hot import EventCodec
from perf_rnn.events.scales import SCALES

OPTIONAL = get_config("optional_multiconditioned_performance_with_dynamics")
CODEC = EventCodec(num_velocity_bins=32)
OFF, SHIFT, VELOCITY = 128, 255, 355


def scale(lowest, step, config=OPTIONAL, disabled=False):
    """20 notes, one every `step` hundredths of a second, each held until the third after it."""
    events = [VELOCITY + 9]
    for number in range(20):
        events += [lowest + number] + [OFF + lowest + number - 3] * (number >= 3) + [SHIFT + step]
    return EventSequence.from_events(np.array(events, np.int32), config, disabled)


SEGMENTS = [scale(20, 90), scale(50, 10), scale(80, 30, disabled=True)]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], []),
        ([60, SHIFT + 5, OFF + 60, 72, SHIFT + 9], [OFF + 72]),
        ([72, 60, OFF + 9], [OFF + 60, OFF + 72]),
        ([60, 60, SHIFT + 1, OFF + 60], [OFF + 60]),
        ([60, 60, SHIFT + 1], [OFF + 60, OFF + 60]),
    ],
)
def test_release(events, expected):
    events = np.array(events, np.int32)
    released = CODEC.release(events)
    assert released.tolist() == expected
    assert released.dtype == np.int32
    assert not len(CODEC.release(np.concatenate([events, released])))


def test_note_events_release_nothing():
    assert NoteCodec(32).release(np.array([[0, 0, 60, 9, 24, 39]], np.int32)).shape == (0, 6)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([60, SHIFT + 5, OFF + 60, 63], [60, SHIFT + 5, OFF + 60, 62]),
        # Of overlapping notes the first begins and the last ends.
        (
            [60, 61, SHIFT + 5, OFF + 60, 72, SHIFT + 9, OFF + 61, SHIFT + 1, 61],
            [60, SHIFT + 5, 72, SHIFT + 9, OFF + 60, SHIFT + 1, 60],
        ),
        # Those that only meet stay two.
        ([60, SHIFT + 5, OFF + 60, 61], [60, SHIFT + 5, OFF + 60, 60]),
        # A VELOCITY goes with its NOTE_ON.
        (
            [VELOCITY + 3, 60, SHIFT + 1, VELOCITY + 9, 61, VELOCITY + 5, 70],
            [VELOCITY + 3, 60, SHIFT + 1, VELOCITY + 5, 70],
        ),
        ([], []),
    ],
)
def test_map_pitches(events, expected):
    table = np.arange(128, dtype=np.int32)
    table[[61, 63]] = 60, 62
    mapped = CODEC.map_pitches(np.array(events, np.int32), table)
    assert mapped.tolist() == expected
    assert mapped.dtype == np.int32


def test_map_pitches_of_note_events():
    notes = np.array([[1, 2, 60, 3, 4, 5]], np.int32)
    table = np.full(128, 7, np.int32)
    assert NoteCodec(32).map_pitches(notes, table).tolist() == [[1, 2, 7, 3, 4, 5]]
    assert notes[0, 2] == 60


def test_some_parts_are_in_a_rare_scale():
    join = ControlJumps(OPTIONAL, [scale(48, 90)])
    rare = [
        {(root + semitone) % 12 for semitone in SCALES[name]}
        for root in range(12)
        for name in jumps.RARE_SCALES
    ]
    is_in_scale, found = [], set()
    for seed in range(100):
        joined = join(SEGMENTS[1], [seed]).events
        for begin, end in itertools.pairwise(np.flatnonzero(joined == VELOCITY + 9)):
            part = joined[begin:end]
            if (CODEC.event_steps(part) > 0).sum() >= 14:  # At least an octave of semitones.
                classes = set((CODEC.pitches(part) % 12).tolist())
                is_in_scale.append(classes in rare)
                assert is_in_scale[-1] or len(classes) == 12
                found.add(len(classes))
    assert len(is_in_scale) > 50
    assert 0.15 < np.mean(is_in_scale) < 0.35
    assert found == {5, 6, 12}


def test_parts_come_before_the_segment(monkeypatch):
    """Read from the front: beginnings of the segments, each with the controls of the whole one."""
    monkeypatch.setattr(jumps, "SHARE_IN_SCALES", 0)
    extracted = [OPTIONAL.conditioning.extract(source.events, CODEC) for source in SEGMENTS]
    join, segment = ControlJumps(OPTIONAL, SEGMENTS), SEGMENTS[1]
    num_parts, sources = set(), set()
    for seed in range(60):
        joined = join(segment, [seed])
        assert (joined.events.dtype, joined.controls.dtype) == (np.int32, np.float32)
        begins = np.flatnonzero(joined.events == VELOCITY + 9)
        assert joined.events[begins[-1] :].tolist() == segment.events.tolist()
        np.testing.assert_array_equal(joined.controls[begins[-1] :], extracted[1])
        num_parts.add(len(begins) - 1)
        for begin, end in itertools.pairwise(begins):
            is_shift = CODEC.event_steps(joined.events[begin:end]) > 0
            length = int(np.flatnonzero(is_shift)[-1]) + 1
            part, released = joined.events[begin:end][:length], joined.events[begin:end][length:]
            source = (int(part[1]) - 20) // 30
            sources.add(source)
            assert part.tolist() == SEGMENTS[source].events[:length].tolist()
            assert released.tolist() == CODEC.release(part).tolist() != []
            controls = joined.controls[begin:end]
            np.testing.assert_array_equal(controls[:length], extracted[source][:length])
            following = joined.controls[[end] * len(released)]
            np.testing.assert_array_equal(controls[length:], following)
    assert num_parts == set(range(MAX_PARTS + 1))
    assert sources == {0, 1, 2}


def test_a_disabled_segment_stays_as_it_is():
    for seed in range(9):
        assert ControlJumps(OPTIONAL, SEGMENTS)(SEGMENTS[2], [seed]) is SEGMENTS[2]


def test_copies_are_joined(monkeypatch):
    """The segment itself is the copy that training without jumps has."""
    monkeypatch.setattr(jumps, "SHARE_IN_SCALES", 0)
    augment = Augmentation(OPTIONAL)
    join = ControlJumps(OPTIONAL, SEGMENTS, augment)
    seeds = [[seed, 1, 9] for seed in range(20)]
    transposed = set()
    for seed in seeds:
        joined, copy = join(SEGMENTS[0], seed).events, augment(SEGMENTS[0], seed).events
        assert joined[-len(copy) :].tolist() == copy.tolist()
        transposed |= set(joined[np.flatnonzero(joined == VELOCITY + 9) + 1] % 30)
        disabled = join(SEGMENTS[2], seed)
        assert disabled.events.tolist() == augment(SEGMENTS[2], seed).events.tolist()
        assert disabled.controls[:, 0].all()
    assert transposed == {*range(16, 25)}


def test_a_seed_gives_the_same_jumps():
    join = ControlJumps(OPTIONAL, SEGMENTS, Augmentation(OPTIONAL))
    one, again, other = (join(SEGMENTS[0], [seed, 2, 3]) for seed in (5, 5, 6))
    assert one.events.tolist() == again.events.tolist() != other.events.tolist()
    np.testing.assert_array_equal(one.controls, again.controls)
