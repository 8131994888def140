import numpy as np
import pytest
from event_notation import played
from hypothesis import given, settings
from hypothesis import strategies as st

from perf_rnn.configs import default_configs, get_config
from perf_rnn.data.augmentation import Augmentation
from perf_rnn.data.examples import EventSequence
from perf_rnn.events.codec import NUM_PITCHES, STEPS_PER_SECOND
from perf_rnn.events.note_events import NoteCodec
from perf_rnn.events.one_hot import EventCodec
from perf_rnn.notes import transforms as note_transforms
from perf_rnn.notes.arrays import NoteArrays
from perf_rnn.notes.music_files import read_midi_file

CODEC = EventCodec(num_velocity_bins=32)
DYNAMICS = get_config("performance_with_dynamics")
OPTIONAL = get_config("optional_multiconditioned_performance_with_dynamics")
NOTES = get_config("performance_with_dynamics_and_note_encoding")
FACTORS = (0.95, 0.9617, 0.975, 1.0, 1.025, 1.0333, 1.05)

OFF, SHIFT, VELOCITY = 128, 255, 355


@pytest.fixture(scope="module")
def performances(request):
    """Segments of 30 s of three real performances, with pedal, not quantised."""
    asap_dir = request.config.rootpath / "tests/testdata/asap"
    segments = []
    for path in sorted(asap_dir.rglob("*.mid")):
        notes = note_transforms.apply_sustain(read_midi_file(path))
        segments += note_transforms.split(notes, 30.0)
    return [segment for segment in segments if segment.num_notes]


def quantized(notes, factor=1.0):
    notes = note_transforms.stretch(notes.unquantized(), factor)
    return note_transforms.quantize(notes, STEPS_PER_SECOND)


def encodable(codec, notes):
    try:
        return codec.encode(notes)
    except ValueError:  # Note events cannot hold every note.
        return None


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("codec", [CODEC, EventCodec(0), NoteCodec(32)], ids=repr)
def test_stretch_equals_stretching_the_decoded_notes(performances, codec, factor):
    compared = 0
    for segment in performances:
        events = encodable(codec, quantized(segment))
        expected = quantized(codec.decode(events), factor)
        if encodable(codec, expected) is None:
            continue
        stretched = codec.decode(codec.stretch(events, factor))
        assert sorted(played(stretched)) == sorted(played(expected))
        compared += 1
    assert compared >= 10


@pytest.mark.parametrize("factor", FACTORS)
def test_stretch_is_within_a_step_of_stretching_the_performance(performances, factor):
    """The segment was quantised before and after stretching, the performance only after."""

    def steps(events):
        is_note = events < 2 * NUM_PITCHES
        order = np.argsort(events[is_note], kind="stable")
        step = np.cumsum(CODEC.event_steps(events))[is_note]
        return events[is_note][order], step[order]

    for segment in performances:
        events = CODEC.stretch(CODEC.encode(quantized(segment)), factor)
        (names, got), (expected_names, expected) = (
            steps(events),
            steps(CODEC.encode(quantized(segment, factor))),
        )
        np.testing.assert_array_equal(names, expected_names)
        assert np.abs(got - expected).max() <= 1


@pytest.mark.parametrize("codec", [CODEC, NoteCodec(32)], ids=repr)
def test_a_factor_of_1_changes_nothing(performances, codec):
    for segment in performances:
        events = codec.encode(quantized(segment))
        np.testing.assert_array_equal(codec.stretch(events, 1.0), events)
        # Nor does putting them in order anew.
        np.testing.assert_array_equal(codec.stretch(events, 1.0 - 1e-12), events)


@st.composite
def separate_notes(draw):
    """Notes on whole steps, none of a pitch touching another one of it."""
    spans = st.tuples(st.integers(0, 127), st.integers(0, 60), st.integers(1, 250))
    starts, ends, pitches = [], [], []
    for pitch, start, length in draw(st.lists(spans, min_size=1, max_size=25)):
        start += max([e for p, e in zip(pitches, ends, strict=True) if p == pitch], default=0)
        starts.append(start)
        ends.append(start + length)
        pitches.append(pitch)
    size = len(pitches)
    velocities = draw(st.lists(st.integers(1, 127), min_size=size, max_size=size))
    return NoteArrays(
        start_time=np.array(starts) / STEPS_PER_SECOND,
        end_time=np.array(ends) / STEPS_PER_SECOND,
        pitch=pitches,
        velocity=velocities,
    )


@given(separate_notes(), st.floats(0.5, 1.5))
@settings(max_examples=300, deadline=None)
def test_stretch_equals_encoding_the_stretched_notes(notes, factor):
    events = CODEC.encode(quantized(notes))
    expected = CODEC.encode(quantized(CODEC.decode(events), factor))
    assert CODEC.stretch(events, factor).tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("events", "factor", "expected"),
    [
        # Shifts are split anew.
        ([SHIFT + 100, SHIFT + 50, 60], 0.96, [SHIFT + 100, SHIFT + 44, 60]),
        # Half a step is rounded up.
        ([SHIFT + 50, 60], 1.05, [SHIFT + 53, 60]),
        ([SHIFT + 98, 60], 1.02, [SHIFT + 100, 60]),
        ([SHIFT + 98, 60], 1.05, [SHIFT + 100, SHIFT + 3, 60]),
        ([SHIFT + 100, SHIFT + 4, 60], 0.95, [SHIFT + 99, 60]),
        # The sum counts, not each shift: 11 * 0.95 is 10.45, 20 times it 209.
        ([60, *[SHIFT + 11, 61] * 20][:5], 0.95, [60, SHIFT + 10, 61, SHIFT + 11, 61]),
        # Silence at the end is stretched too.
        ([60, SHIFT + 20, OFF + 60, SHIFT + 100], 1.05, [60, SHIFT + 21, 188, SHIFT + 100, 260]),
        ([SHIFT + 100, SHIFT + 100], 0.9, [SHIFT + 100, SHIFT + 80]),
        # A note of one step keeps it, and ends after what now comes at the step where it began.
        (
            [SHIFT + 10, 60, SHIFT + 1, OFF + 60, 72, SHIFT + 9, OFF + 72],
            0.95,
            [SHIFT + 10, 60, 72, SHIFT + 1, OFF + 60, SHIFT + 8, OFF + 72],
        ),
        # Where steps 10 and 11 become one, the older note ends before the younger begins.
        (
            [50, SHIFT + 10, VELOCITY + 9, 60, SHIFT + 1, OFF + 50, VELOCITY + 3, 62],
            0.95,
            [50, SHIFT + 10, OFF + 50, VELOCITY + 9, 60, VELOCITY + 3, 62],
        ),
        # A NOTE_OFF that ends nothing and a VELOCITY at the end stay.
        ([OFF + 9, 60, SHIFT + 20, VELOCITY + 1], 0.95, [OFF + 9, 60, SHIFT + 19, VELOCITY + 1]),
    ],
)
def test_stretch_literally(events, factor, expected):
    stretched = CODEC.stretch(np.array(events, np.int32), factor)
    assert stretched.dtype == np.int32
    assert stretched.tolist() == expected


def test_stretch_of_note_events_literally():
    codec = NoteCodec(32)
    events = np.array([[0, 10, 60, 3, 0, 0], [0, 1, 62, 4, 24, 39], [2, 0, 64, 5, 1, 0]], np.int32)
    # Starts 10, 11, 165 and durations 1, 1000, 41 become 10, 10, 157 and 1, 950, 39.
    expected = [[0, 10, 60, 3, 0, 0], [0, 0, 62, 4, 23, 29], [1, 70, 64, 5, 0, 38]]
    assert codec.stretch(events, 0.95).tolist() == expected


@given(
    st.lists(st.integers(0, CODEC.num_classes - 1), min_size=1, max_size=60), st.floats(0.95, 1.05)
)
@settings(max_examples=300, deadline=None)
def test_stretch_keeps_all_but_shifts_of_any_events(events, factor):
    events = np.array(events, np.int32)
    stretched = CODEC.stretch(events, factor)
    assert stretched.min(initial=0) >= 0
    assert stretched.max(initial=0) < CODEC.num_classes

    def others(events):
        return events[CODEC.event_steps(events) == 0]

    assert sorted(others(stretched)) == sorted(others(events))
    # What sets velocities stays in front of what they are for.
    is_on_or_velocity = [(e < NUM_PITCHES) | (e > VELOCITY) for e in (events, stretched)]
    assert (events[is_on_or_velocity[0]] == stretched[is_on_or_velocity[1]]).all()
    assert abs(CODEC.num_steps(stretched) - CODEC.num_steps(events) * factor) <= 1.5


def test_transpose_literally():
    events = np.array([0, 127, OFF, OFF + 123, SHIFT + 1, VELOCITY + 32], np.int32)
    assert CODEC.transpose(events[[0, 2, 4, 5]], 4).tolist() == [4, OFF + 4, SHIFT + 1, 387]
    assert CODEC.transpose(events[[1, 3, 4]], -3).tolist() == [124, OFF + 120, SHIFT + 1]
    assert events[0] == 0
    notes = np.array([[1, 2, 60, 3, 4, 5]], np.int32)
    assert NoteCodec(32).transpose(notes, -4).tolist() == [[1, 2, 56, 3, 4, 5]]
    assert notes[0, 2] == 60


def scale_of(config, lowest, highest):
    pitches = np.arange(lowest, highest + 1)
    starts = np.arange(len(pitches)) * 0.5
    notes = NoteArrays(
        start_time=starts,
        end_time=starts + 0.4,
        pitch=pitches,
        velocity=np.full(len(pitches), 80),
    )
    return EventSequence.from_events(config.codec.encode(quantized(notes)), config)


@pytest.mark.parametrize("config", [DYNAMICS, NOTES], ids=["events", "notes"])
@pytest.mark.parametrize(
    ("lowest", "highest", "intervals"),
    [(40, 90, range(-4, 5)), (2, 90, range(-2, 5)), (60, 127, range(-4, 1)), (0, 127, range(1))],
)
def test_draws(config, lowest, highest, intervals):
    segment, augment = scale_of(config, lowest, highest), Augmentation(config)
    length = config.codec.num_steps(segment.events)
    drawn, factors = [], []
    for seed in range(300):
        events = augment(segment, seed).events
        notes = config.codec.decode(events)
        drawn.append(int(notes.pitch[0]) - lowest)
        assert notes.pitch[-1] - highest == drawn[-1]
        factors.append(config.codec.num_steps(events) / length)
    counts = np.bincount(np.array(drawn) - intervals[0], minlength=len(intervals))
    assert len(counts) == len(intervals)
    assert counts.min() > 0.5 * 300 / len(intervals)
    np.testing.assert_allclose([min(factors), max(factors)], [0.95, 1.05], atol=0.002)
    assert np.mean(factors) == pytest.approx(1.0, abs=0.01)


def test_the_longest_note_events_are_not_exceeded():
    longest = np.array([[0, 0, 60, 9, 24, 39], [12, 76, 62, 9, 24, 39]], np.int32)
    augment = Augmentation(NOTES)
    for seed in range(100):
        events = augment(EventSequence.from_events(longest, NOTES), seed).events
        notes = NOTES.codec.decode(events)
        durations = notes.end_step - notes.start_step
        assert 950 <= durations.min() <= durations.max() <= 1000
        assert 950 <= notes.start_step[1] <= 1000


@pytest.mark.parametrize("config", default_configs.values(), ids=lambda config: config.key)
def test_augmentation_depends_on_segment_and_seed_alone(performances, config):
    events = config.codec.encode(quantized(performances[1]))
    segment = EventSequence.from_events(events, config)
    augment = Augmentation(config)
    one, again = augment(segment, [3, 1, 9]), Augmentation(config)(segment, [3, 1, 9])
    np.testing.assert_array_equal(one.events, again.events)
    np.testing.assert_array_equal(one.controls, again.controls)
    assert one.events.dtype == events.dtype
    assert one.events.shape[1:] == events.shape[1:]
    for seed in ([3, 1, 10], [3, 2, 9], [4, 1, 9]):
        other = augment(segment, seed).events
        assert other.shape != one.events.shape or (other != one.events).any()


def test_controls_are_those_of_the_augmented_events(performances):
    events = OPTIONAL.codec.encode(quantized(performances[0]))
    augment = Augmentation(OPTIONAL)
    stored = EventSequence.from_events(events, OPTIONAL)
    changed = augment(stored, 5)
    np.testing.assert_array_equal(
        changed.controls, OPTIONAL.conditioning.extract(changed.events, OPTIONAL.codec)
    )
    assert (
        len(changed.controls) != len(stored.controls) or (changed.controls != stored.controls).any()
    )
    disabled = augment(EventSequence.from_events(events, OPTIONAL, disabled=True), 5)
    np.testing.assert_array_equal(disabled.events, changed.events)
    assert (disabled.controls[:, 0] == 1).all()
    assert not disabled.controls[:, 1:].any()


def test_controls_are_extracted_from_the_augmented_events_alone():
    events = np.array([60, 300, 188], np.int32)
    segment = EventSequence(events, pytest.fail, disabled=True)
    assert (Augmentation(OPTIONAL)(segment, 5).controls[:, 0] == 1).all()
