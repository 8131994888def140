"""The event codec equals note_seq's object codec, both directions, on anything."""

import pathlib

import numpy as np
import pytest
from event_notation import played
from hypothesis import given, settings
from hypothesis import strategies as st
from note_seq import midi_io, performance_lib, sequences_lib
from note_seq.performance_encoder_decoder import PerformanceOneHotEncoding

from perf_rnn.events.one_hot import EventCodec
from perf_rnn.notes.arrays import NoteArrays, from_note_sequence, to_note_sequence
from perf_rnn.notes.transforms import apply_sustain, quantize

ASAP = pathlib.Path(__file__).parents[2] / "testdata" / "asap"
PLAIN, DYNAMIC = EventCodec(0), EventCodec(32)


def note_seq_performance(codec, events, **arguments):
    one_hot = PerformanceOneHotEncoding(codec.num_velocity_bins)
    performance = performance_lib.Performance(
        steps_per_second=100, num_velocity_bins=codec.num_velocity_bins, **arguments
    )
    for event in events:
        performance.append(one_hot.decode_event(event))
    return performance


def note_seq_encode(sequence, num_velocity_bins, start_step=0):
    one_hot = PerformanceOneHotEncoding(num_velocity_bins)
    performance = performance_lib.Performance(
        sequence, start_step=start_step, num_velocity_bins=num_velocity_bins
    )
    return [one_hot.encode_event(event) for event in performance]


# Few pitches and steps, so that notes coincide and overlap; now and then a long silence.
steps = st.one_of(st.integers(0, 12), st.integers(0, 1000))
note_sets = st.lists(
    st.tuples(
        steps,
        st.sampled_from([0.0, 0.001, 0.0049]),  # seconds within the step
        st.one_of(st.integers(0, 6), st.integers(0, 450)),
        st.one_of(st.integers(60, 62), st.integers(0, 127)),
        st.integers(1, 127),
    ),
    max_size=25,
)
event_lists = st.lists(
    st.one_of(
        # On and off of 60 and 61, shifts of 1 and 2, velocity bins 1 and 32.
        st.sampled_from([60, 61, 188, 189, 256, 257, 356, 387]),
        st.integers(0, 387),
    ),
    max_size=60,
)
codecs = st.sampled_from([PLAIN, DYNAMIC, EventCodec(127), EventCodec(5)])


def arrays_of(note_set):
    start, within, length, pitch, velocity = np.array(note_set, np.float64).reshape(-1, 5).T
    start_time = start / 100 + within
    return NoteArrays(
        start_time=start_time,
        end_time=start_time + length / 100,
        pitch=pitch,
        velocity=velocity,
        total_time=float((start_time + length / 100).max(initial=0.0)),
    )


@settings(deadline=None)
@given(note_set=note_sets, codec=codecs, start_step=st.sampled_from([0, 5, 100]))
def test_encode_equals_note_seq(note_set, codec, start_step):
    notes = quantize(arrays_of(note_set), 100)
    expected = note_seq_encode(to_note_sequence(notes), codec.num_velocity_bins, start_step)
    assert codec.encode(notes, start_step).tolist() == expected


@settings(deadline=None, max_examples=200)
@given(
    events=event_lists,
    codec=st.sampled_from([PLAIN, DYNAMIC]),
    start_step=st.sampled_from([0, 7, 3000]),
    max_note_duration=st.sampled_from([None, 0.02, 5.0]),
)
def test_decode_equals_note_seq(events, codec, start_step, max_note_duration):
    events = [event for event in events if event < codec.num_classes]
    expected = note_seq_performance(codec, events, start_step=start_step).to_sequence(
        program=9, max_note_duration=max_note_duration
    )
    notes = codec.decode(events, start_step, max_note_duration=max_note_duration, program=9)
    assert to_note_sequence(notes.unquantized()) == expected
    expected = sequences_lib.quantize_note_sequence_absolute(expected, 100)
    assert to_note_sequence(notes) == expected


@settings(deadline=None)
@given(events=event_lists, length=st.integers(0, 700))
def test_lengths_equal_note_seq(events, length):
    performance = note_seq_performance(DYNAMIC, events)
    assert DYNAMIC.num_steps(events) == performance.num_steps
    performance.set_length(length)
    expected = DYNAMIC.from_performance(performance).tolist()
    assert DYNAMIC.set_length(events, length).tolist() == expected


@settings(deadline=None)
@given(events=event_lists)
def test_performance_round_trip(events):
    performance = DYNAMIC.to_performance(events)
    assert list(performance) == list(note_seq_performance(DYNAMIC, events))
    assert DYNAMIC.from_performance(performance).tolist() == events


@settings(deadline=None)
@given(note_set=note_sets)
def test_encode_then_decode_keeps_notes_that_do_not_overlap(note_set):
    # One note per pitch: nothing can overlap or swap.
    first_of_pitch = {note[3]: note for note in reversed(note_set)}
    notes = quantize(arrays_of(list(first_of_pitch.values())), 100)
    decoded = DYNAMIC.decode(DYNAMIC.encode(notes))
    binned = [
        (start, end, pitch, 1 + (velocity - 1) // 4 * 4)
        for start, end, pitch, velocity in played(notes)
    ]
    assert sorted(played(decoded)) == sorted(binned)


@settings(deadline=None)
@given(note_set=note_sets)
def test_decode_then_encode_gives_the_same_notes_again(note_set):
    notes = DYNAMIC.decode(DYNAMIC.encode(quantize(arrays_of(note_set), 100)))
    assert sorted(played(DYNAMIC.decode(DYNAMIC.encode(notes)))) == sorted(played(notes))


@pytest.mark.parametrize(
    "path", sorted(ASAP.rglob("*.mid")), ids=lambda path: path.relative_to(ASAP).as_posix()
)
def test_real_performance_equals_note_seq(path):
    sequence = midi_io.midi_file_to_note_sequence(str(path))
    notes = quantize(apply_sustain(from_note_sequence(sequence)), 100)
    for codec in (PLAIN, DYNAMIC):
        events = codec.encode(notes)
        assert events.tolist() == note_seq_encode(to_note_sequence(notes), codec.num_velocity_bins)
        expected = note_seq_performance(codec, events.tolist()).to_sequence(max_note_duration=5.0)
        decoded = codec.decode(events, max_note_duration=5.0)
        assert to_note_sequence(decoded.unquantized()) == expected


def test_real_performances_are_there():
    assert len(list(ASAP.rglob("*.mid"))) >= 3
