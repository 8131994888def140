"""The note codec: by hand, and equal to note_seq's NotePerformance on anything."""

import pathlib

import numpy as np
import pytest
from event_notation import played, quantized
from hypothesis import given, settings
from hypothesis import strategies as st
from note_seq import midi_io, performance_lib
from note_seq.performance_encoder_decoder import NotePerformanceEventSequenceEncoderDecoder

from perf_rnn.events.note_events import (
    DurationTooLongError,
    NoteCodec,
    NoteEventError,
    ShiftTooLongError,
)
from perf_rnn.notes.arrays import NoteArrays, from_note_sequence, to_note_sequence
from perf_rnn.notes.transforms import apply_sustain, quantize, split

ASAP = pathlib.Path(__file__).parents[2] / "testdata" / "asap"
CODEC = NoteCodec(32)
codecs = st.sampled_from([CODEC, NoteCodec(1), NoteCodec(5), NoteCodec(127)])


def note_seq_performance(notes, codec, start_step=0):
    return performance_lib.NotePerformance(
        to_note_sequence(notes), codec.num_velocity_bins, instrument=None, start_step=start_step
    )


def note_seq_labels(performance, codec):
    encoder = NotePerformanceEventSequenceEncoderDecoder(codec.num_velocity_bins)
    return [list(encoder.events_to_label(performance, i)) for i in range(len(performance))]


# By hand


def test_heads_and_default():
    encoder = NotePerformanceEventSequenceEncoderDecoder(32)
    assert list(CODEC.head_sizes) == encoder.num_classes == [13, 77, 128, 32, 25, 40]
    assert CODEC.default_label == encoder.default_event_label
    assert CODEC.event_shape == (6,)


def test_encode_by_hand():
    notes = quantized((100, 150, 60, 97), (100, 101, 55, 1), (1100, 2100, 127, 127))
    events = CODEC.encode(notes)
    assert events.dtype == np.int32
    assert events.tolist() == [
        [1, 23, 55, 0, 0, 0],
        [0, 0, 60, 24, 1, 9],
        [12, 76, 127, 31, 24, 39],
    ]


def test_encode_from_a_start_step():
    notes = quantized((10, 20, 60, 64), (30, 40, 61, 64))
    assert CODEC.encode(notes, start_step=25)[:, :3].tolist() == [[0, 5, 61]]


def test_decode_by_hand():
    # The second note starts with the first; notes come in the order of the events.
    notes = CODEC.decode([[1, 23, 60, 24, 1, 9], [0, 0, 55, 0, 0, 0]], 300, program=9)
    assert played(notes) == [(400, 450, 60, 97), (400, 401, 55, 1)]
    assert notes.start_time.tolist() == [4.0, 4.0]
    assert notes.program.tolist() == [9, 9]


def test_decode_cuts_long_notes():
    notes = CODEC.decode([[0, 0, 60, 0, 24, 39], [0, 0, 61, 0, 2, 0]], max_note_duration=5.0)
    assert played(notes) == [(0, 500, 60, 1), (0, 81, 61, 1)]
    with pytest.raises(ValueError, match="max_note_duration 0 is not above 0"):
        CODEC.decode([[0, 0, 60, 0, 0, 0]], max_note_duration=0)


def test_steps():
    events = np.array([[1, 23, 60, 24, 24, 39], [0, 7, 55, 0, 1, 9]])
    assert CODEC.event_steps(events).tolist() == [100, 7]
    assert CODEC.event_steps(events).dtype == np.int64
    assert CODEC.event_steps(np.stack([events, events[::-1]])).tolist() == [[100, 7], [7, 100]]
    # As in note_seq, what counts is the end of the last note, not the last end of all notes.
    assert CODEC.num_steps(events) == 107 + 50


def test_set_length():
    notes = quantized((0, 50, 60, 64), (30, 40, 61, 64), (40, 45, 62, 64))
    events = CODEC.encode(notes)
    assert played(CODEC.decode(CODEC.set_length(events, 35))) == [(0, 35, 60, 61), (30, 35, 61, 61)]
    assert played(CODEC.decode(CODEC.set_length(events, 40))) == [(0, 40, 60, 61), (30, 40, 61, 61)]
    # Note events cannot end with silence.
    np.testing.assert_array_equal(CODEC.set_length(events, 500), events)
    assert CODEC.set_length(events, 0).shape == (0, 6)
    with pytest.raises(ValueError, match="length of -1 steps is below 0"):
        CODEC.set_length(events, -1)


def test_nothing():
    assert CODEC.encode(quantized()).shape == (0, 6)
    assert CODEC.decode([]).num_notes == 0
    assert CODEC.num_steps([]) == 0
    assert CODEC.from_performance(CODEC.to_performance([])).shape == (0, 6)


# What cannot be encoded


def test_longest_shift_and_duration():
    notes = quantized((1000, 2000, 60, 64))
    assert played(CODEC.decode(CODEC.encode(notes))) == [(1000, 2000, 60, 61)]


@pytest.mark.parametrize(
    ("notes", "error", "message"),
    [
        ([(1001, 1002, 60, 64)], ShiftTooLongError, "note 0 starts 1001 steps after .* most 1000"),
        ([(0, 1001, 60, 64)], DurationTooLongError, "note 0 lasts 1001 steps; .* most 1000"),
        # The first note that is wrong decides; within a note, its shift.
        ([(0, 1001, 60, 64), (1001, 1002, 60, 64)], DurationTooLongError, "note 0"),
        ([(0, 5, 60, 64), (1001, 2002, 60, 64)], ShiftTooLongError, "note 1"),
    ],
)
def test_too_long(notes, error, message):
    assert issubclass(error, NoteEventError)
    notes = quantized(*notes)
    theirs = {
        ShiftTooLongError: performance_lib.TooManyTimeShiftStepsError,
        DurationTooLongError: performance_lib.TooManyDurationStepsError,
    }
    with pytest.raises(theirs[error]):
        note_seq_performance(notes, CODEC)
    with pytest.raises(error, match=message):
        CODEC.encode(notes)


@pytest.mark.parametrize(
    ("note", "message"),
    [
        ((0, 5, 128, 64), "pitch 128 .* outside 0 to 127"),
        ((0, 5, 60, 0), "velocity 0 .* outside 1 to 127"),
    ],
)
def test_encode_refuses(note, message):
    with pytest.raises(ValueError, match=message):
        CODEC.encode(quantized(note))


def test_encode_refuses_unquantised_notes():
    with pytest.raises(ValueError, match="notes are not quantised"):
        CODEC.encode(NoteArrays())


@pytest.mark.parametrize("method", [CODEC.decode, CODEC.num_steps, CODEC.to_performance])
def test_events_are_checked(method):
    with pytest.raises(ValueError, match=r"index of head 1 77 \(number 1\) is outside 0 to 76"):
        method([[0, 0, 60, 0, 0, 0], [0, 77, 60, 0, 0, 0]])
    with pytest.raises(ValueError, match=r"expected \[L, 6\] integer note events, .* \(2,\)"):
        method([60, 188])
    with pytest.raises(ValueError, match="integer note events, got float64"):
        method([[0.0, 0, 60, 0, 0, 0]])


@pytest.mark.parametrize("num_velocity_bins", [0, 128])
def test_velocity_bins(num_velocity_bins):
    with pytest.raises(ValueError, match=r"num_velocity_bins .* is outside 1 to 127"):
        NoteCodec(num_velocity_bins)


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ((1001, 60, 1, 1), ShiftTooLongError, "1001"),
        ((0, 60, 1, 1001), DurationTooLongError, "1001"),
        ((0, 60, 33, 1), ValueError, "velocity bin 33 .* outside 1 to 32"),
    ],
)
def test_from_performance_refuses(values, error, message):
    types = (3, 1, 4, 5)
    parts = zip(types, values, strict=True)
    event = tuple(performance_lib.PerformanceEvent(*part) for part in parts)
    with pytest.raises(error, match=message):
        CODEC.from_performance([event])


def test_to_performance_says_what_it_plays():
    performance = CODEC.to_performance([[0, 9, 60, 0, 0, 9]], 50, program=7, is_drum=False)
    assert (performance.start_step, performance.program, performance.is_drum) == (50, 7, False)
    note = performance.to_sequence().notes[0]
    assert (note.start_time, note.end_time, note.program, note.is_drum) == (0.59, 0.69, 7, False)
    assert not CODEC.to_performance([[0, 9, 60, 0, 0, 9]]).to_sequence().notes[0].is_drum


# Equal to note_seq


note_sets = st.lists(
    st.tuples(
        st.integers(0, 900),
        st.one_of(st.integers(1, 6), st.integers(1, 1000)),
        st.one_of(st.integers(60, 62), st.integers(0, 127)),
        st.integers(1, 127),
    ).map(lambda note: (note[0], note[0] + note[1], note[2], note[3])),
    max_size=25,
)
events_of_heads = st.lists(
    st.tuples(*(st.integers(0, size - 1) for size in CODEC.head_sizes)), max_size=20
)


@settings(deadline=None)
@given(note_set=note_sets, codec=codecs, start_step=st.sampled_from([0, 5, 100]))
def test_encode_equals_note_seq(note_set, codec, start_step):
    notes = quantized(*note_set)
    performance = note_seq_performance(notes, codec, start_step)
    events = codec.encode(notes, start_step)
    assert events.tolist() == note_seq_labels(performance, codec)
    assert codec.from_performance(performance).tolist() == events.tolist()
    assert codec.num_steps(events) == performance.num_steps


@settings(deadline=None)
@given(events=events_of_heads, start_step=st.sampled_from([0, 7, 3000]))
def test_decode_equals_note_seq(events, start_step):
    performance = CODEC.to_performance(events, start_step)
    expected = performance.to_sequence(program=9)
    notes = CODEC.decode(events, start_step, program=9)
    assert to_note_sequence(notes.unquantized()) == expected


@settings(deadline=None)
@given(events=events_of_heads)
def test_performance_equals_note_seq(events):
    performance = CODEC.to_performance(events)
    encoder = NotePerformanceEventSequenceEncoderDecoder(32)
    assert list(performance) == [encoder.class_index_to_event(event, None) for event in events]
    assert list(map(tuple, CODEC.from_performance(performance).tolist())) == events
    assert CODEC.num_steps(events) == performance.num_steps
    steps = CODEC.event_steps(np.array(events, np.int32).reshape(-1, 6))
    assert np.cumsum(steps).tolist() == performance.steps


@settings(deadline=None)
@given(events=events_of_heads, length=st.integers(0, 9000))
def test_set_length_keeps_what_fits(events, length):
    shortened = played(CODEC.decode(CODEC.set_length(events, length)))
    assert shortened == [
        (start, min(end, length), pitch, velocity)
        for start, end, pitch, velocity in played(CODEC.decode(events))
        if start < length
    ]


@pytest.mark.parametrize(
    "path", sorted(ASAP.rglob("*.mid")), ids=lambda path: path.relative_to(ASAP).as_posix()
)
def test_real_performance_equals_note_seq(path):
    sequence = midi_io.midi_file_to_note_sequence(str(path))
    for segment in split(apply_sustain(from_note_sequence(sequence)), 30.0):
        notes = quantize(segment, 100)
        try:
            performance = note_seq_performance(notes, CODEC)
        except performance_lib.TooManyDurationStepsError:
            with pytest.raises(DurationTooLongError):
                CODEC.encode(notes)
            continue
        events = CODEC.encode(notes)
        assert len(events) == notes.num_notes
        assert events.tolist() == note_seq_labels(performance, CODEC)
        assert to_note_sequence(CODEC.decode(events).unquantized()) == performance.to_sequence()
