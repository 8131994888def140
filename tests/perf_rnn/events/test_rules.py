import collections

import numpy as np
import pytest
from event_notation import off, on, shift, vel
from hypothesis import given, settings
from hypothesis import strategies as st

from perf_rnn.events import one_hot_rules
from perf_rnn.events.note_events import NoteCodec
from perf_rnn.events.one_hot import EventCodec
from perf_rnn.events.one_hot_rules import MAX_SILENCE_STEPS
from perf_rnn.events.rules import MAX_NOTE_STEPS, MAX_ONSETS
from perf_rnn.generation.logits import draw
from perf_rnn.generation.options import SamplingOptions

CODEC = EventCodec(32)
PLAIN = EventCodec(0)
NOTES = NoteCodec(32)


def allowed(codec, primer, legal=True):
    """The classes that may follow a primer."""
    primer = np.array(primer, np.int32)
    rules = codec.rules(primer, 1, legal)
    logits = np.zeros((1, sum(codec.head_sizes)))
    rules.forbid(logits, codec.event_steps(primer).sum(keepdims=True))
    return set(np.flatnonzero(logits[0] > -np.inf))


SHIFTS = {shift(steps) for steps in range(1, 101)}
ONS, OFFS = set(range(128)), set(range(128, 256))
VELOCITIES = {vel(velocity_bin) for velocity_bin in range(1, 33)}


@pytest.mark.parametrize("primer", [[], [shift(100)], [shift(100), shift(7)]])
def test_the_first_note_comes_at_once_and_needs_a_velocity(primer):
    assert allowed(CODEC, primer) == VELOCITIES
    assert allowed(PLAIN, primer) == ONS
    assert allowed(PLAIN, primer, legal=False) == SHIFTS | ONS | OFFS


def test_the_first_velocity_is_any_and_then_it_changes():
    assert allowed(CODEC, [shift(100), vel(3), on(60), shift(1), off(60)]) == (
        SHIFTS | ONS | VELOCITIES - {vel(3)}
    )


def test_a_pitch_is_struck_when_silent_and_released_when_it_sounds():
    assert allowed(PLAIN, [on(60), shift(5)]) == SHIFTS | ONS - {60} | {off(60)}
    # Not at the moment at which it was struck.
    assert allowed(PLAIN, [on(60), shift(5), on(61)]) == SHIFTS | ONS - {60, 61} | {off(60)}
    assert allowed(PLAIN, [on(60), shift(5), off(60)]) == SHIFTS | ONS


def test_overlapping_notes_of_a_primer_end_one_by_one():
    primer = [on(60), shift(100), on(60), shift(100)]
    assert off(60) in allowed(PLAIN, primer)
    rest = [*primer, off(60), shift(1)]
    assert off(60) in allowed(PLAIN, rest)
    assert on(60) not in allowed(PLAIN, rest)
    assert on(60) in allowed(PLAIN, [*rest, off(60)])
    # The first has 300 steps left, the second 400.
    assert allowed(PLAIN, [*primer, *[shift(100)] * 3]) == {off(60)}
    assert allowed(PLAIN, [*primer, *[shift(100)] * 3, off(60)]) == SHIFTS | ONS - {60} | {off(60)}


def test_notes_are_released_when_they_are_due():
    held = [on(60), shift(20), on(70), *[shift(100)] * 4, shift(50)]
    # The first has 30 steps left: no shift goes past them.
    expected = {shift(steps) for steps in range(1, 31)} | ONS - {60, 70} | {off(60), off(70)}
    assert allowed(PLAIN, held) == expected
    assert allowed(PLAIN, [*held, shift(30)]) == {off(60)}
    assert allowed(PLAIN, [*held, shift(30), off(60), shift(20)]) == {off(70)}
    # A primer may be late: then they are released at once, one after another.
    late = [on(60), on(64), *[shift(100)] * 9]
    assert allowed(PLAIN, late) == {off(60), off(64)}
    assert allowed(PLAIN, [*late, off(64)]) == {off(60)}


def test_silence_ends():
    silence = [on(60), shift(10), off(60), *[shift(100)] * 2]
    assert allowed(PLAIN, silence) == SHIFTS | ONS
    silence = [*silence, shift(70)]
    assert allowed(PLAIN, silence) == {shift(steps) for steps in range(1, 31)} | ONS
    assert allowed(PLAIN, [*silence, shift(30)]) == ONS
    assert allowed(CODEC, [shift(100)] * 3) == VELOCITIES
    assert MAX_SILENCE_STEPS == 300
    assert MAX_NOTE_STEPS == 500


def test_no_more_than_a_handful_of_notes_at_once():
    chord = [vel(9), *range(40, 40 + MAX_ONSETS)]
    assert allowed(CODEC, chord[:-1]) == SHIFTS | ONS - set(chord[:-1]) | VELOCITIES - {vel(9)}
    assert allowed(CODEC, chord) == SHIFTS
    assert allowed(CODEC, [vel(9), on(30), shift(1), *chord[1:]]) == SHIFTS | {off(30)}


def after(codec, *events):
    """The classes that may follow a second with a note in it and events that were drawn."""
    primer = [on(60), shift(50), off(60), shift(50)]
    rules = codec.rules(np.array(primer, np.int32), 1, True)
    clock = np.array([100])
    for event in events:
        rules.update(np.array([event]), clock)
        clock = clock + codec.event_steps(np.array([event]))
    logits = np.zeros((1, codec.num_classes))
    rules.forbid(logits, clock)
    return set(np.flatnonzero(logits[0] > -np.inf))


def test_a_note_follows_its_velocity():
    assert after(CODEC, vel(5)) == ONS
    assert after(CODEC, vel(5), on(60), shift(3), vel(6)) == ONS - {60}


def test_shifts_follow_full_ones_only():
    assert after(PLAIN, shift(100)) == SHIFTS | ONS
    assert after(PLAIN, shift(99)) == ONS
    assert after(PLAIN, on(60), shift(7)) == ONS - {60} | {off(60)}
    # The primer ends where its maker wants it to.
    assert allowed(PLAIN, [on(60), shift(9), off(60), shift(99)]) == SHIFTS | ONS


def test_all_keys_may_be_down():
    """Then no VELOCITY comes, for no NOTE_ON could follow."""
    primer = []
    for first in range(0, 128, 16):
        primer += [vel(4 + first // 16), *range(first, first + 16), shift(1)]
    assert allowed(CODEC, primer) == SHIFTS | OFFS


def test_releases_of_silent_pitches_count_for_sounding_ones():
    primer = np.array([on(60), on(64), shift(10)], np.int32)
    rules = PLAIN.rules(primer, 1, True)
    probability = np.full(356, 1e-9)
    probability[[off(60), off(64), off(70), on(50), shift(4)]] = 0.1, 0.05, 0.45, 0.3, 0.1
    logits = np.log(probability)[np.newaxis]
    rules.forbid(logits, np.array([10]))
    left = np.exp(logits[0])
    expected = [0.4, 0.2, 0.0, 0.3, 0.1]
    np.testing.assert_allclose(
        left[[off(60), off(64), off(70), on(50), shift(4)]], expected, atol=1e-6
    )


def test_without_legal_events_only_time_must_go_on():
    everything = ONS | OFFS | SHIFTS | VELOCITIES
    stalled = [shift(100), *[off(60), vel(3)] * 128]
    assert allowed(CODEC, stalled[:-1], legal=False) == everything
    assert allowed(CODEC, stalled, legal=False) == SHIFTS
    assert allowed(CODEC, [*stalled, shift(3)], legal=False) == everything
    assert allowed(CODEC, stalled[1:], legal=False) == SHIFTS


def test_legal_note_events():
    note = [0, 5, 60, 3, 1, 1]
    heads = np.split(np.arange(sum(NOTES.head_sizes)), np.cumsum(NOTES.head_sizes)[:-1])
    coarse_shifts, fine_shifts, *_, coarse_durations, _ = heads
    everything = set(range(sum(NOTES.head_sizes)))
    too_long = {*coarse_shifts[6:], *coarse_durations[12:]}
    assert allowed(NOTES, [note]) == everything - too_long
    chord = [note, *[[0, 0, 60, 3, 1, 1]] * 15]
    assert allowed(NOTES, chord) == everything - too_long
    assert allowed(NOTES, [*chord, chord[-1]]) == everything - too_long - {fine_shifts[0]}
    assert allowed(NOTES, [note], legal=False) == everything
    assert allowed(NOTES, [note] + chord[1:2] * 256, legal=False) == everything - {fine_shifts[0]}
    # The longest that is left.
    (longest,) = NOTES.decode([[5, 76, 60, 3, 11, 39]]).start_step
    assert longest == 461
    assert NOTES.num_steps([[0, 0, 60, 3, 11, 39]]) == 480


@st.composite
def plays(draw_from):
    """(codec, primer, logits' bias by kind, noise, seed): how a network might play."""
    codec = draw_from(st.sampled_from([CODEC, PLAIN, EventCodec(1), EventCodec(5)]))
    any_event = st.integers(0, codec.num_classes - 1)
    # Few pitches, so that they collide.
    some_note = st.sampled_from([on(60), off(60), on(61), off(61), shift(100), shift(7)])
    primer = draw_from(st.lists(st.one_of(some_note, any_event), max_size=30))
    bias = draw_from(st.tuples(*[st.sampled_from([-9.0, 0.0, 2.0, 9.0])] * 4))
    noise = draw_from(st.sampled_from([0.5, 3.0, 12.0]))
    return codec, np.array([shift(1), *primer], np.int32), bias, noise, draw_from(st.integers(0))


def play(codec, primer, bias, noise, seed, count=200, rows=2):
    """Events drawn by the rules from logits that are noise around a bias for each kind."""
    rng = np.random.default_rng(seed)
    rules = codec.rules(primer, rows, True)
    kinds = np.repeat([0, 1, 2, 3], [128, 128, 100, codec.num_velocity_bins])
    clock = np.full(rows, codec.num_steps(primer))
    drawn = []
    for _ in range(count):
        logits = np.array(bias)[kinds] + noise * rng.normal(size=(rows, codec.num_classes))
        rules.forbid(logits, clock)
        events = draw(logits, rng.random(rows), np.ones(1), SamplingOptions())
        assert (logits[np.arange(rows), events] > -np.inf).all()
        rules.update(events, clock)
        clock = clock + codec.event_steps(events)
        drawn.append(events)
    return np.stack(drawn, axis=1)


@settings(max_examples=25, deadline=None)
@given(plays())
def test_pieces_keep_the_rules(case):
    """As another, slow reading of them finds."""
    codec, primer, *_ = case
    for row in play(*case):
        sounding = collections.defaultdict(list)
        clock = velocity_bin = struck = 0
        last_sound, last, length = 0, None, 0
        for number, event in enumerate([*primer.tolist(), *row.tolist()]):
            is_drawn = number >= len(primer)
            kind, value = codec.event(event)
            if kind == 1:
                assert not (is_drawn and sounding[value])
                assert not (is_drawn and codec.num_velocity_bins and not velocity_bin)
                sounding[value].append(clock)
                struck += 1
                assert struck <= MAX_ONSETS or not is_drawn
            elif kind == 2:
                assert not is_drawn or (sounding[value] and sounding[value][0] < clock)
                del sounding[value][:1]
                last_sound = clock
            elif kind == 3:
                assert not is_drawn or last != 3 or length == codec.max_shift_steps
                clock += value
                struck = 0
                oldest = min((steps[0] for steps in sounding.values() if steps), default=None)
                if is_drawn and oldest is not None:
                    assert clock - oldest <= MAX_NOTE_STEPS
                elif is_drawn:
                    assert clock - last_sound <= MAX_SILENCE_STEPS
            else:
                assert not is_drawn or value != velocity_bin
                velocity_bin = value
            if number > len(primer) and last == 4:
                assert kind == 1
            # The primer's last event restricts nothing.
            last, length = (kind, value) if is_drawn else (None, 0)


def moments(codec, events):
    """Shifts in order; and for each moment what starts there, how loud, and what ends."""
    shifts, found, velocity_bin, clock = [], collections.defaultdict(list), 0, 0
    for kind, value in map(codec.event, np.asarray(events).tolist()):
        if kind == 3:
            shifts.append(value)
            clock += value
        elif kind == 4:
            velocity_bin = value
        else:
            found[clock].append((int(kind), value, velocity_bin if kind == 1 else 0))
    return shifts, {clock: sorted(each) for clock, each in found.items()}


@settings(max_examples=25, deadline=None)
@given(plays())
def test_pieces_are_what_their_notes_encode_to(case):
    """Legal events, decoded and encoded again, are the same up to their order at one moment."""
    codec, _, *chances = case
    primer = np.array([shift(100)], np.int32)
    for row in play(codec, primer, *chances):
        events = np.concatenate([primer, row])
        # What starts at the last moment has no length yet.
        events = events[: np.flatnonzero(codec.event_steps(events))[-1] + 1]
        again = codec.encode(codec.decode(events))
        shifts, expected = moments(codec, events)
        shifts_again, found = moments(codec, again)
        # Notes that sound still are ended at the end; a silence there is lost.
        end = codec.num_steps(events)
        found.pop(end, None)
        assert found == expected
        assert shifts_again == shifts[: len(shifts_again)]
        assert shifts_again == shifts or not found.get(end)


def test_rows_are_kept_and_copied():
    rules = PLAIN.rules(np.array([shift(1)]), 3, True)
    clock = np.array([1, 1, 1])
    rules.update(np.array([on(60), on(61), on(62)]), clock)
    rules.take(np.array([2, 2, 0]))
    rules.update(np.array([shift(5), on(10), shift(5)]), clock)
    logits = np.zeros((3, 356))
    rules.forbid(logits, np.array([6, 1, 6]))
    offs = [set(np.flatnonzero(row[128:256] > -np.inf)) for row in logits]
    assert offs == [{62}, set(), {60}]


@pytest.mark.parametrize("gap", [700, 744, 745, 10_000])
def test_releases_however_improbable_keep_the_logits_finite(gap):
    rules = CODEC.rules(np.array([vel(9), on(60), shift(5)]), 1, True)
    logits = np.zeros((1, CODEC.num_classes))
    logits[0, off(60)] = -gap
    rules.forbid(logits, np.array([5]))
    assert not np.isnan(logits).any()
    assert logits.max() < np.inf
    assert -gap < logits[0, off(60)] < np.inf


@pytest.mark.parametrize("name", ["MAX_ONSETS", "MAX_NOTE_STEPS", "MAX_SILENCE_STEPS"])
def test_bounds_are_documented(name):
    assert f"`{name}`" in one_hot_rules.__doc__
