"""The note-array kernels: hand-written goldens, and equality with note_seq's sequences_lib."""

import dataclasses
import pathlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from note_seq import midi_io, sequences_lib
from note_seq.protobuf import music_pb2

from bundles.errors import PerfRnnError
from perf_rnn.notes.arrays import NoteArrays, from_note_sequence, to_note_sequence
from perf_rnn.notes.transforms import apply_sustain, quantize, split, stretch, transpose

ASAP = pathlib.Path(__file__).parents[2] / "testdata" / "asap"


def sequence_of(notes=(), pedals=(), total_time=None):
    """Notes (start, end, pitch[, instrument[, is_drum]]) and pedals (time, value[, instrument])."""
    sequence = music_pb2.NoteSequence(ticks_per_quarter=220)
    for start, end, pitch, *rest in notes:
        sequence.notes.add(
            start_time=start,
            end_time=end,
            pitch=pitch,
            velocity=100,
            instrument=rest[0] if rest else 0,
            is_drum=rest[1] if len(rest) > 1 else False,
        )
    for time, value, *rest in pedals:
        sequence.control_changes.add(
            time=time,
            control_number=64,
            control_value=value,
            instrument=rest[0] if rest else 0,
        )
    last_end = max((note.end_time for note in sequence.notes), default=0.0)
    sequence.total_time = last_end if total_time is None else total_time
    return sequence


def arrays_of(*args, **kwargs):
    return from_note_sequence(sequence_of(*args, **kwargs))


def played(arrays):
    columns = (arrays.start_time, arrays.end_time, arrays.pitch)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def same(arrays, sequence):
    """Whether arrays hold what a proto does; an all-zero segment place says nothing."""
    expected = music_pb2.NoteSequence()
    expected.CopyFrom(sequence)
    if expected.subsequence_info == music_pb2.NoteSequence.SubsequenceInfo():
        expected.ClearField("subsequence_info")
    return to_note_sequence(arrays) == expected


# Sustain, by hand


@pytest.mark.parametrize(
    ("notes", "pedals", "expected", "total_time"),
    [
        pytest.param([(0, 1, 60)], [], [(0, 1, 60)], 1, id="no pedal"),
        pytest.param([(0, 1, 60)], [(0.5, 127), (2, 0)], [(0, 2, 60)], 2, id="held"),
        pytest.param([(0, 1, 60)], [(0.5, 64), (2, 63)], [(0, 2, 60)], 2, id="64 is down"),
        pytest.param([(0, 1, 60)], [(0.5, 63), (2, 0)], [(0, 1, 60)], 1, id="63 is up"),
        pytest.param([(0, 3, 60)], [(0.5, 127), (2, 0)], [(0, 3, 60)], 3, id="outlasts the pedal"),
        pytest.param([(0, 1, 60)], [(1, 127), (2, 0)], [(0, 2, 60)], 2, id="down at the end"),
        pytest.param([(0, 1, 60)], [(0, 127), (1, 0)], [(0, 1, 60)], 1, id="up at the end"),
        pytest.param(
            [(0, 1, 60), (4, 5, 62)],
            [(0.5, 127)],
            [(0, 5, 60), (4, 5, 62)],
            5,
            id="never released: to the last event",
        ),
        pytest.param(
            [(0, 1, 60), (2, 3, 60)],
            [(0.5, 127), (4, 0)],
            [(0, 2, 60), (2, 4, 60)],
            4,
            id="struck again",
        ),
        pytest.param(
            [(0, 3, 60), (2, 3.5, 60)],
            [(1, 127), (4, 0)],
            [(0, 2, 60), (2, 4, 60)],
            4,
            id="struck again while the key is down",
        ),
        pytest.param(
            [(0, 3, 60), (1, 3, 60)],
            [(2, 127), (4, 0)],
            [(0, 4, 60), (1, 4, 60)],
            4,
            id="overlap from before the pedal",
        ),
        pytest.param(
            [(1, 2, 60), (1, 3, 60), (1, 3, 61)],
            [(0, 127), (4, 0)],
            [(1, 4, 60), (1, 4, 61)],
            4,
            id="two at once: the first is removed",
        ),
        pytest.param(
            [(0, 1, 60)],
            [(0.5, 127), (2, 0), (2, 127), (3, 0)],
            [(0, 2, 60)],
            2,
            id="released and pressed again at once: held to the release",
        ),
        pytest.param(
            [(0, 2.5, 60)],
            [(0.5, 127), (2, 0), (2, 127), (3, 0)],
            [(0, 2.5, 60)],
            2.5,
            id="released and pressed again at once: the re-press is lost",
        ),
        pytest.param(
            [(0, 1, 60, 0), (0, 1, 60, 1)],
            [(0.5, 127, 1), (2, 0, 1)],
            [(0, 1, 60), (0, 2, 60)],
            2,
            id="per instrument",
        ),
        pytest.param([(0, 1, 60, 0, True)], [(0.5, 127), (2, 0)], [(0, 1, 60)], 1, id="drums stay"),
        pytest.param(
            [(0, 1, 60, 0, False), (0, 9, 36, 0, True)],
            [(0.5, 127)],
            [(0, 1, 60), (0, 9, 36)],
            1,
            id="drums are no events",
        ),
    ],
)
def test_sustain(notes, pedals, expected, total_time):
    arrays = apply_sustain(arrays_of(notes, pedals))
    assert played(arrays) == expected
    assert arrays.total_time == total_time
    assert same(arrays, sequences_lib.apply_sustain_control_changes(sequence_of(notes, pedals)))


def test_sustain_leaves_its_input_alone():
    arrays = arrays_of([(0, 1, 60)], [(0.5, 127), (2, 0)])
    apply_sustain(arrays)
    assert (played(arrays), arrays.total_time) == ([(0, 1, 60)], 1)


# Stretch, by hand


def test_stretch():
    sequence = sequence_of([(1, 2, 60)], [(3, 127)])
    sequence.tempos.add(time=4, qpm=90)
    sequence.time_signatures.add(time=5, numerator=4, denominator=4)
    sequence.key_signatures.add(time=6, key=2)
    sequence.pitch_bends.add(time=7, bend=20)
    stretched = stretch(from_note_sequence(sequence), 1.5)
    assert played(stretched) == [(1.5, 3, 60)]
    assert stretched.control_time.tolist() == [4.5]
    assert (stretched.tempo_time.tolist(), stretched.tempo_qpm.tolist()) == ([6], [60])
    assert stretched.time_signature_time.tolist() == [7.5]
    assert stretched.key_signature_time.tolist() == [9]
    assert stretched.bend_time.tolist() == [10.5]
    assert stretched.total_time == 3
    assert same(stretched, sequences_lib.stretch_note_sequence(sequence, 1.5))


# Split, by hand


def test_split():
    sequence = sequence_of(
        [(40, 41, 63), (0, 5, 60), (29, 35, 61), (30, 31, 62), (95, 100, 64)],
        [(1, 127), (30, 0), (31, 127, 2)],
    )
    sequence.tempos.add(time=0, qpm=90)
    sequence.tempos.add(time=60, qpm=120)
    sequence.pitch_bends.add(time=1, bend=20)
    segments = split(from_note_sequence(sequence), 30)
    assert [played(segment) for segment in segments] == [
        [(0, 5, 60), (29, 30, 61)],
        [(0, 1, 62), (10, 11, 63)],
        [],
        [(5, 10, 64)],
    ]
    assert [segment.total_time for segment in segments] == [30, 11, 0, 10]
    assert [segment.segment_index for segment in segments] == [0, 1, 2, 3]
    assert [segment.num_segments for segment in segments] == [4, 4, 4, 4]
    assert [segment.start_time_offset for segment in segments] == [0, 30, 60, 90]
    assert [segment.end_time_offset for segment in segments] == [70, 59, 40, 0]
    assert [segment.tempo_qpm.tolist() for segment in segments] == [[90], [90], [120], [120]]
    pedals = [
        list(
            zip(
                segment.control_time.tolist(),
                segment.control_value.tolist(),
                segment.control_instrument.tolist(),
                strict=True,
            )
        )
        for segment in segments
    ]
    assert pedals == [
        [(1, 127, 0)],
        [(0, 0, 0), (1, 127, 2)],
        [(0, 0, 0), (0, 127, 2)],
        [(0, 0, 0), (0, 127, 2)],
    ]
    assert [segment.bend_time.tolist() for segment in segments] == [[], [], [], []]


@pytest.mark.parametrize(
    ("total_time", "starts"),
    [(0.0, []), (0.1, [0]), (29.9, [0]), (30.0, [0]), (30.1, [0, 30]), (90.0, [0, 30, 60])],
)
def test_split_bounds(total_time, starts):
    segments = split(arrays_of(total_time=total_time), 30)
    assert [segment.start_time_offset for segment in segments] == starts


# Quantise, by hand


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0.0, 0.01, (0, 1)),
        (0.0, 0.0, (0, 1)),
        (0.0049, 0.0051, (0, 1)),
        (0.005, 0.014, (1, 2)),
        (0.994, 0.995, (99, 100)),
        (-0.004, 1.0, (0, 100)),
        (-0.0149, 1.0, (0, 100)),  # cut towards zero
    ],
)
def test_quantize(start, end, expected):
    arrays = quantize(arrays_of([(start, end, 60)]), 100)
    assert (arrays.start_step.tolist()[0], arrays.end_step.tolist()[0]) == expected
    assert arrays.start_time.tolist() == [start]
    assert (arrays.total_steps, arrays.steps_per_second) == (expected[1], 100)


def test_quantize_total_steps():
    assert quantize(arrays_of([(0, 1, 60)], total_time=3.0), 100).total_steps == 300
    assert quantize(arrays_of([(0, 1, 60)], total_time=0.5), 100).total_steps == 100
    assert quantize(arrays_of([(0, 1, 60)]), 50).total_steps == 50


@pytest.mark.parametrize(
    ("notes", "pedals", "message"),
    [
        ([(-0.5, 1, 60)], [], "note start at -0.5 s is before time 0"),
        ([(0, -1, 60)], [], "note end at -1.0 s is before time 0"),
        ([], [(-2, 0)], "control change at -2.0 s is before time 0"),
    ],
)
def test_quantize_before_time_0(notes, pedals, message):
    with pytest.raises(sequences_lib.NegativeTimeError):
        sequences_lib.quantize_note_sequence_absolute(sequence_of(notes, pedals), 100)
    with pytest.raises(ValueError, match=message):
        quantize(arrays_of(notes, pedals), 100)


# Transpose, by hand


def test_transpose():
    sequence = sequence_of([(0, 1, 60), (0, 1, 36, 9, True), (1, 2, 123)])
    sequence.key_signatures.add(key=10)
    arrays = from_note_sequence(sequence)
    up, down = transpose(arrays, 4), transpose(arrays, -3)
    assert (up.pitch.tolist(), up.key_signature_key.tolist()) == ([64, 36, 127], [2])
    assert (down.pitch.tolist(), down.key_signature_key.tolist()) == ([57, 36, 120], [7])
    assert up.pitch.dtype == np.int32
    assert played(arrays) == [(0, 1, 60), (0, 1, 36), (1, 2, 123)]


@pytest.mark.parametrize(
    ("semitones", "limits", "expected"),
    [
        (5, {}, None),
        (-60, {}, [0, 36, 63]),
        (-61, {}, None),
        (0, {"max_pitch": 122}, None),
        (0, {"min_pitch": 60, "max_pitch": 123}, [60, 36, 123]),  # the drum is below
        (-1, {"min_pitch": 60}, None),
    ],
)
def test_transpose_out_of_range(semitones, limits, expected):
    arrays = arrays_of([(0, 1, 60), (0, 1, 36, 9, True), (1, 2, 123)])
    transposed = transpose(arrays, semitones, **limits)
    assert (None if transposed is None else transposed.pitch.tolist()) == expected


# Bad calls


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda arrays: apply_sustain(quantize(arrays, 100)), "cannot apply sustain to quantised"),
        (lambda arrays: stretch(quantize(arrays, 100), 2.0), "cannot stretch quantised notes"),
        (lambda arrays: split(quantize(arrays, 100), 30), "cannot split quantised notes"),
        (lambda arrays: stretch(arrays, 0), "stretch factor 0 is not a number above 0"),
        (lambda arrays: stretch(arrays, float("nan")), "stretch factor nan is not a number above"),
        (lambda arrays: split(arrays, -1), "hop of -1 seconds is not a number above 0"),
        (lambda arrays: quantize(arrays, 0), "steps_per_second 0 is below 1"),
    ],
)
def test_bad_calls(call, message):
    with pytest.raises(ValueError, match=message):
        call(arrays_of([(0, 1, 60)]))


@pytest.mark.parametrize("place", ["start_time", "end_time", "control_time", "total_time"])
@pytest.mark.parametrize(
    ("transform", "limit"),
    [
        (apply_sustain, np.inf),
        (lambda arrays: split(arrays, 30), 86400),
        (lambda arrays: quantize(arrays, 100), 86400),
    ],
)
def test_times_are_finite_and_within_a_day(transform, limit, place):
    arrays = arrays_of([(0, 1, 60), (1, 2, 60)], [(0, 127)])

    def at(time):
        if place == "total_time":
            return arrays.replace(total_time=time)
        return arrays.replace(**{place: np.append(getattr(arrays, place)[:-1], time)})

    for time in (np.nan, np.inf, -np.inf, 1e9, 86400.5):
        if not abs(time) <= min(limit, np.finfo(np.float64).max):
            with pytest.raises(PerfRnnError, match=f" at {time}.* s: times must be finite"):
                transform(at(time))
        else:
            transform(at(time))
    transform(at(86400.0))


# Equality with note_seq on anything

# Times on a coarse grid, so that events coincide.
grid = st.integers(0, 24).map(lambda number: number / 4)
instruments = st.integers(0, 1)
note_sets = st.lists(
    st.tuples(
        grid,
        st.integers(0, 12).map(lambda number: number / 4),
        st.integers(60, 62),
        instruments,
        st.sampled_from([False, False, False, True]),
    ).map(lambda note: (note[0], note[0] + note[1], *note[2:])),
    max_size=20,
)
pedal_sets = st.lists(st.tuples(grid, st.sampled_from([0, 63, 64, 127]), instruments), max_size=10)


@settings(deadline=None, max_examples=300)
@given(
    notes=note_sets,
    pedals=pedal_sets,
    total_time=st.sampled_from([None, 0.0, 3.0, 20.0]),  # what the sequence says, true or not
)
def test_sustain_equals_note_seq(notes, pedals, total_time):
    sequence = sequence_of(notes, pedals, total_time)
    expected = sequences_lib.apply_sustain_control_changes(sequence)
    assert same(apply_sustain(from_note_sequence(sequence)), expected)


@settings(deadline=None)
@given(
    notes=note_sets,
    pedals=pedal_sets,
    others=st.lists(st.tuples(grid, st.sampled_from([1, 66, 67]), instruments), max_size=5),
    states=st.lists(grid, max_size=5),
    total_time=st.sampled_from([None, 3.0, 7.5]),
    hop=st.sampled_from([0.1, 1, 2.5, 30]),
)
def test_split_equals_note_seq(notes, pedals, others, states, total_time, hop):
    sequence = sequence_of(notes, pedals, total_time)
    for time, number, instrument in others:
        sequence.control_changes.add(time=time, control_number=number, instrument=instrument)
    for number, time in enumerate(states):
        sequence.tempos.add(time=time, qpm=60 + number)
        sequence.time_signatures.add(time=time + number / 8, numerator=number, denominator=4)
        sequence.key_signatures.add(time=time / 2, key=number)
        sequence.pitch_bends.add(time=time)
    segments = split(from_note_sequence(sequence), hop)
    expected = sequences_lib.split_note_sequence(sequence, hop)
    assert len(segments) == len(expected)
    assert all(map(same, segments, expected))


@settings(deadline=None)
@given(
    notes=st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100), st.integers(0, 127))),
    pedals=st.lists(st.tuples(st.floats(0, 100), st.integers(0, 127))),
    factor=st.sampled_from([0.95, 0.975, 1.0, 1.025, 1.05]),
    steps_per_second=st.sampled_from([1, 100, 1000]),
)
def test_stretch_and_quantize_equal_note_seq(notes, pedals, factor, steps_per_second):
    sequence = sequence_of(notes, pedals)
    stretched = stretch(from_note_sequence(sequence), factor)
    sequence = sequences_lib.stretch_note_sequence(sequence, factor)
    assert same(stretched, sequence)
    expected = sequences_lib.quantize_note_sequence_absolute(sequence, steps_per_second)
    assert same(quantize(stretched, steps_per_second), expected)


@settings(deadline=None)
@given(notes=note_sets, semitones=st.integers(-70, 70))
def test_transpose_equals_note_seq(notes, semitones):
    sequence = sequence_of(notes)
    transposed = transpose(from_note_sequence(sequence), semitones)
    expected, deleted = sequences_lib.transpose_note_sequence(sequence, semitones)
    assert same(transposed, expected) if deleted == 0 else transposed is None


# Equality with note_seq on real performances


@pytest.mark.parametrize(
    "path", sorted(ASAP.rglob("*.mid")), ids=lambda path: path.relative_to(ASAP).as_posix()
)
def test_real_performance_equals_note_seq(path):
    sequence = midi_io.midi_file_to_note_sequence(str(path))
    arrays = apply_sustain(from_note_sequence(sequence))
    sequence = sequences_lib.apply_sustain_control_changes(sequence)
    assert same(arrays, sequence)
    arrays, sequence = stretch(arrays, 1.05), sequences_lib.stretch_note_sequence(sequence, 1.05)
    assert same(arrays, sequence)
    segments = split(arrays, 30)
    expected = sequences_lib.split_note_sequence(sequence, 30)
    assert len(segments) == len(expected)
    for segment, sequence in zip(segments, expected, strict=True):
        assert same(segment, sequence)
        quantized = sequences_lib.quantize_note_sequence_absolute(sequence, 100)
        assert same(quantize(segment, 100), quantized)
        transposed, _ = sequences_lib.transpose_note_sequence(quantized, -4)
        assert same(transpose(quantize(segment, 100), -4), transposed)


def test_kernels_chain_on_copies():
    arrays = arrays_of([(0, 1, 60), (29, 40, 62)], [(0.5, 127), (2, 0)])
    before = {name: np.copy(value) for name, value in dataclasses.asdict(arrays).items()}
    for segment in split(stretch(apply_sustain(arrays), 1.05), 30):
        transpose(quantize(segment, 100), 4)
    after = dataclasses.asdict(arrays)
    assert all(np.array_equal(value, after[name]) for name, value in before.items())
    assert isinstance(arrays, NoteArrays)
