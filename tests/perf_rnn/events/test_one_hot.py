"""The event codec: classes, and encoding, decoding and lengths by hand."""

import numpy as np
import pytest
from event_notation import off, on, played, quantized, shift, vel

from bundles.errors import PerfRnnError
from perf_rnn.events.one_hot import EventCodec
from perf_rnn.events.one_hot_classes import EventType
from perf_rnn.notes.arrays import NoteArrays
from perf_rnn.notes.transforms import quantize

PLAIN, DYNAMIC = EventCodec(0), EventCodec(32)
MAX = 355  # the class of a shift of 100


# Classes and events


def test_classes():
    assert (PLAIN.num_classes, DYNAMIC.num_classes) == (356, 388)
    assert (PLAIN.default_label, DYNAMIC.default_label) == (355, 355)
    assert EventCodec(32, max_shift_steps=10).num_classes == 298


def test_every_class_is_note_seqs():
    from note_seq.performance_encoder_decoder import PerformanceOneHotEncoding

    one_hot = PerformanceOneHotEncoding(32)
    for index in range(388):
        event = one_hot.decode_event(index)
        assert DYNAMIC.event(index) == (event.event_type, event.event_value)
        assert DYNAMIC.event_index(event.event_type, event.event_value) == index


@pytest.mark.parametrize(
    ("codec", "event", "message"),
    [
        (DYNAMIC, (EventType.NOTE_ON, 128), "NOTE_ON value 128 is outside 0 to 127"),
        (DYNAMIC, (EventType.NOTE_OFF, -1), "NOTE_OFF value -1 is outside 0 to 127"),
        (DYNAMIC, (EventType.TIME_SHIFT, 0), "TIME_SHIFT value 0 is outside 1 to 100"),
        (DYNAMIC, (EventType.TIME_SHIFT, 101), "TIME_SHIFT value 101 is outside 1 to 100"),
        (DYNAMIC, (EventType.VELOCITY, 33), "VELOCITY value 33 is outside 1 to 32"),
        (PLAIN, (EventType.VELOCITY, 1), "VELOCITY value 1 in a codec without velocity bins"),
        (DYNAMIC, (5, 1), "event type 5 is none of 1 NOTE_ON, 2 NOTE_OFF, 3 TIME_SHIFT, 4 VEL"),
    ],
)
def test_event_index_out_of_range(codec, event, message):
    with pytest.raises(ValueError, match=message):
        codec.event_index(*event)


@pytest.mark.parametrize("index", [-1, 388])
def test_event_out_of_range(index):
    with pytest.raises(ValueError, match=f"event index {index} is outside 0 to 387"):
        DYNAMIC.event(index)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((128,), "num_velocity_bins 128 is outside 0 to 127"),
        ((-1,), "num_velocity_bins -1 is outside 0 to 127"),
        ((32, 0), "max_shift_steps 0 is below 1"),
    ],
)
def test_codec_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        EventCodec(*arguments)


# Encoding, by hand


def test_encode_chord_and_velocities():
    notes = quantized((0, 50, 64, 83), (0, 50, 60, 80), (50, 60, 67, 81), (60, 61, 67, 20))
    assert DYNAMIC.encode(notes).tolist() == [
        *(vel(20), on(60), vel(21), on(64)),  # by pitch at the same time
        *(shift(50), off(60), off(64), on(67)),  # 81 is in the bin of 83
        *(shift(10), off(67), vel(5), on(67), shift(1), off(67)),
    ]
    assert PLAIN.encode(notes).tolist() == [
        *(on(60), on(64), shift(50), off(60), off(64), on(67)),
        *(shift(10), off(67), on(67), shift(1), off(67)),
    ]


def test_encode_orders_notes_by_time_then_pitch_and_events_by_note():
    # Both start in step 10, but the higher pitch starts earlier in seconds.
    notes = quantize(
        NoteArrays(
            start_time=[0.104, 0.096],
            end_time=[0.2, 0.2],
            pitch=[60, 72],
            velocity=[1, 1],
        ),
        100,
    )
    expected = [shift(10), on(72), on(60), shift(10), off(72), off(60)]
    assert PLAIN.encode(notes).tolist() == expected


@pytest.mark.parametrize(
    ("gap", "shifts"),
    [
        (1, [shift(1)]),
        (99, [shift(99)]),
        (100, [MAX]),
        (101, [MAX, shift(1)]),
        (200, [MAX, MAX]),
        (1050, [MAX] * 10 + [shift(50)]),
    ],
)
def test_encode_silence(gap, shifts):
    notes = quantized((gap, gap + 1, 60, 100))
    assert PLAIN.encode(notes).tolist() == [*shifts, on(60), shift(1), off(60)]
    assert DYNAMIC.encode(notes).tolist() == [*shifts, vel(25), on(60), shift(1), off(60)]


@pytest.mark.parametrize(
    ("velocity", "velocity_bin"), [(1, 1), (4, 1), (5, 2), (124, 31), (127, 32)]
)
def test_velocity_bins(velocity, velocity_bin):
    events = DYNAMIC.encode(quantized((0, 1, 60, velocity)))
    assert events[0] == vel(velocity_bin)
    assert DYNAMIC.decode(events).velocity.tolist() == [1 + 4 * (velocity_bin - 1)]


def test_encode_from_start_step():
    notes = quantized((0, 500, 40, 100), (200, 300, 60, 100), (250, 260, 62, 100))
    expected = [shift(50), on(60), shift(50), on(62), shift(10), off(62), shift(40), off(60)]
    assert PLAIN.encode(notes, start_step=150).tolist() == expected


@pytest.mark.parametrize(("notes", "length"), [([], 0), ([(0, 1, 60, 100)], 4)])
def test_encode_result_type(notes, length):
    events = DYNAMIC.encode(quantized(*notes))
    assert (events.shape, events.dtype) == ((length,), np.int32)


def test_encode_unquantized():
    with pytest.raises(ValueError, match="notes are not quantised"):
        PLAIN.encode(NoteArrays())


@pytest.mark.parametrize(
    ("note", "message"),
    [
        ((0, 1, 128, 100), r"pitch 128 \(number 1\) is outside 0 to 127"),
        ((0, 1, 60, 128), r"velocity 128 \(number 0\) is outside 1 to 127"),
        ((0, 1, 60, 0), r"velocity 0 \(number 0\) is outside 1 to 127"),
    ],
)
def test_encode_out_of_range(note, message):
    with pytest.raises(ValueError, match=message):
        DYNAMIC.encode(quantized(note, (0, 1, 61, 100)))


# Decoding, by hand


def test_decode_overlap_is_first_in_first_out():
    notes = quantized((0, 100, 60, 100), (50, 80, 60, 20))
    events = DYNAMIC.encode(notes)
    assert events.tolist() == [
        *(vel(25), on(60), shift(50), vel(5), on(60)),
        *(shift(30), off(60), shift(20), off(60)),
    ]
    # The note that was inside the other one comes out after it.
    assert played(DYNAMIC.decode(events)) == [(0, 80, 60, 97), (50, 100, 60, 17)]


def test_decode_stray_offs():
    events = [off(60), shift(5), on(60), shift(5), off(60), off(60), on(60), shift(7), off(60)]
    assert played(PLAIN.decode(events)) == [(5, 10, 60, 100), (10, 17, 60, 100)]


def test_decode_zero_length_notes():
    events = [on(60), off(60), on(62), shift(3), on(64), off(62), on(65)]
    assert played(PLAIN.decode(events)) == [(0, 3, 62, 100)]


def test_decode_hanging_notes_end_at_the_last_step():
    events = [on(70), off(50), on(60), shift(4), on(50), on(60), shift(6), off(60), shift(2)]
    assert played(PLAIN.decode(events)) == [
        (0, 10, 60, 100),
        (0, 12, 70, 100),  # then by the first event of the pitch, stray offs included
        (4, 12, 50, 100),
        (4, 12, 60, 100),
    ]


def test_decode_cuts_long_notes():
    events = [on(60), on(62), *[MAX] * 5, off(62), MAX, off(60)]
    notes = PLAIN.decode(events, max_note_duration=5.0)
    assert played(notes) == [(0, 500, 62, 100), (0, 500, 60, 100)]
    assert notes.total_time == 5.0
    assert played(PLAIN.decode(events))[1] == (0, 600, 60, 100)


def test_decode_arguments():
    notes = PLAIN.decode([on(60), shift(50), off(60)], start_step=300, program=7)
    assert played(notes) == [(300, 350, 60, 100)]
    assert (notes.start_time.tolist(), notes.end_time.tolist()) == ([3.0], [3.5])
    assert (notes.instrument.tolist(), notes.program.tolist()) == ([0], [7])
    assert (notes.total_time, notes.total_steps, notes.steps_per_second) == (3.5, 350, 100)


@pytest.mark.parametrize("events", [[], [MAX], [off(60)], [vel(3)]])
def test_decode_nothing(events):
    notes = DYNAMIC.decode(events)
    assert (notes.num_notes, notes.total_time, notes.total_steps) == (0, 0.0, 0)


@pytest.mark.parametrize(
    ("codec", "events", "message"),
    [
        (PLAIN, [60, 356], r"event index 356 \(number 1\) is outside 0 to 355"),
        (DYNAMIC, [388], r"event index 388 \(number 0\) is outside 0 to 387"),
        (DYNAMIC, [1, 2, -1], r"event index -1 \(number 2\) is outside 0 to 387"),
        (DYNAMIC, [1.0], r"expected \[L\] integer event indices, got float64 of shape \(1,\)"),
        (DYNAMIC, [[1, 2]], r"expected \[L\] integer event indices, got int64 of shape \(1, 2\)"),
    ],
)
def test_bad_events(codec, events, message):
    for method in (codec.decode, codec.num_steps, codec.to_performance):
        with pytest.raises(ValueError, match=message):
            method(events)
    with pytest.raises(ValueError, match=message):
        codec.set_length(events, 10)


def test_decode_bad_arguments():
    with pytest.raises(PerfRnnError, match="max_note_duration 0 is not above 0 seconds"):
        PLAIN.decode([on(60)], max_note_duration=0)
    with pytest.raises(PerfRnnError, match="a note starts at step -5, before time 0"):
        PLAIN.decode([on(60), shift(9)], start_step=-5)


# Lengths, by hand


def test_event_steps():
    events = np.array([[on(60), shift(1), shift(100)], [off(60), shift(7), vel(32)]])
    steps = DYNAMIC.event_steps(events)
    assert steps.tolist() == [[0, 1, 100], [0, 7, 0]]
    assert steps.dtype == np.int64
    assert DYNAMIC.event_steps(shift(50)) == 50


def test_num_steps():
    events = [on(60), shift(5), off(60), MAX, shift(1)]
    assert PLAIN.num_steps(events) == 106
    assert PLAIN.num_steps([]) == 0


@pytest.mark.parametrize(
    ("events", "steps", "expected"),
    [
        ([], 0, []),
        ([], 250, [MAX, MAX, shift(50)]),
        ([on(60), shift(30)], 30, [on(60), shift(30)]),
        ([on(60), shift(30)], 80, [on(60), shift(80)]),
        ([on(60), shift(30)], 180, [on(60), MAX, shift(80)]),
        ([on(60), MAX], 200, [on(60), MAX, MAX]),
        ([shift(30), on(60)], 40, [shift(30), on(60), shift(10)]),
        ([shift(30), on(60), shift(20), off(60)], 50, [shift(30), on(60), shift(20), off(60)]),
        ([shift(30), on(60), shift(20), off(60)], 40, [shift(30), on(60), shift(10)]),
        ([shift(30), on(60), shift(20), off(60)], 30, [shift(30), on(60)]),
        ([shift(30), on(60), shift(20), off(60)], 10, [shift(10)]),
        ([on(60), shift(30), off(60)], 0, [on(60)]),
    ],
)
def test_set_length(events, steps, expected):
    result = PLAIN.set_length(events, np.int64(steps))
    assert result.tolist() == expected
    assert result.dtype == np.int32


def test_set_length_below_zero():
    with pytest.raises(ValueError, match="length of -1 steps is below 0"):
        PLAIN.set_length([], -1)


def test_performance_and_back():
    events = [vel(3), on(60), shift(9), off(60)]
    performance = DYNAMIC.to_performance(events, start_step=100, program=4, is_drum=False)
    assert str(performance) == "(3, VELOCITY)\n(60, ON)\n(9, SHIFT)\n(60, OFF)"
    assert (performance.start_step, performance.steps_per_second) == (100, 100)
    assert (performance.program, performance.is_drum) == (4, False)
    assert DYNAMIC.from_performance(performance).tolist() == events
    assert DYNAMIC.from_performance(performance).dtype == np.int32


def test_from_performance_out_of_range():
    from note_seq.performance_lib import Performance, PerformanceEvent

    performance = Performance(steps_per_second=100, num_velocity_bins=32)
    performance.append(PerformanceEvent(PerformanceEvent.TIME_SHIFT, 101))
    with pytest.raises(ValueError, match="TIME_SHIFT value 101 is outside 1 to 100"):
        DYNAMIC.from_performance(performance)
