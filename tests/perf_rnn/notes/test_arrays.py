"""NoteArrays, and its exchange with NoteSequence protos."""

import dataclasses
import pathlib
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from note_seq import midi_io, sequences_lib
from note_seq.protobuf import music_pb2

from perf_rnn.notes.arrays import NoteArrays, from_note_sequence, to_note_sequence

ASAP = pathlib.Path(__file__).parents[2] / "testdata" / "asap"


def full_sequence():
    """One of everything that a MIDI file yields, with no value left at its default."""
    sequence = music_pb2.NoteSequence(
        id="/id/midi/asap/1",
        filename="Bach/1.mid",
        collection_name="asap",
        reference_number=12,
        ticks_per_quarter=480,
        total_time=2.5,
    )
    sequence.notes.add(start_time=0.5, end_time=2.5, pitch=60, velocity=80, instrument=1, program=5)
    sequence.notes.add(start_time=0.1, end_time=0.7, pitch=36, velocity=90, is_drum=True)
    sequence.control_changes.add(
        time=0.6,
        control_number=64,
        control_value=127,
        instrument=1,
        program=5,
        is_drum=True,
    )
    sequence.pitch_bends.add(time=0.2, bend=-100, instrument=1, program=5, is_drum=True)
    sequence.tempos.add(time=0.1, qpm=90.5)
    sequence.time_signatures.add(time=0.1, numerator=3, denominator=8)
    sequence.key_signatures.add(time=0.1, key=7, mode=music_pb2.NoteSequence.KeySignature.MINOR)
    sequence.instrument_infos.add(instrument=1, name="Piano")
    sequence.source_info.source_type = music_pb2.NoteSequence.SourceInfo.PERFORMANCE_BASED
    sequence.source_info.encoding_type = music_pb2.NoteSequence.SourceInfo.MIDI
    sequence.source_info.parser = music_pb2.NoteSequence.SourceInfo.PRETTY_MIDI
    sequence.subsequence_info.start_time_offset = 30.0
    sequence.subsequence_info.end_time_offset = 4.0
    return sequence


def test_from_note_sequence():
    arrays = from_note_sequence(full_sequence())
    expected = {
        "start_time": [0.5, 0.1],
        "end_time": [2.5, 0.7],
        "pitch": [60, 36],
        "velocity": [80, 90],
        "instrument": [1, 0],
        "program": [5, 0],
        "is_drum": [False, True],
        "control_time": [0.6],
        "control_number": [64],
        "control_value": [127],
        "control_instrument": [1],
        "control_program": [5],
        "control_is_drum": [True],
        "bend_time": [0.2],
        "bend_value": [-100],
        "bend_instrument": [1],
        "bend_program": [5],
        "bend_is_drum": [True],
        "tempo_time": [0.1],
        "tempo_qpm": [90.5],
        "time_signature_time": [0.1],
        "time_signature_numerator": [3],
        "time_signature_denominator": [8],
        "key_signature_time": [0.1],
        "key_signature_key": [7],
        "key_signature_mode": [1],
    }
    assert {name: getattr(arrays, name).tolist() for name in expected} == expected
    assert (arrays.total_time, arrays.ticks_per_quarter) == (2.5, 480)
    assert (arrays.id, arrays.filename) == ("/id/midi/asap/1", "Bach/1.mid")
    assert (arrays.collection_name, arrays.reference_number) == ("asap", 12)
    assert arrays.instrument_names == ((1, "Piano"),)
    assert arrays.source_info == (2, 3, 2)
    assert (arrays.start_time_offset, arrays.end_time_offset) == (30.0, 4.0)
    assert (arrays.segment_index, arrays.num_segments) == (0, 1)
    assert not arrays.is_quantized
    assert arrays.start_step is None


def test_dtypes():
    arrays = from_note_sequence(sequences_lib.quantize_note_sequence_absolute(full_sequence(), 100))
    dtypes = {
        name: value.dtype.name
        for name, value in vars(arrays).items()
        if isinstance(value, np.ndarray)
    }
    assert {name for name, dtype in dtypes.items() if dtype == "bool"} == {
        "is_drum",
        "control_is_drum",
        "bend_is_drum",
    }
    assert {name for name, dtype in dtypes.items() if dtype == "int64"} == {
        "start_step",
        "end_step",
        "control_step",
    }
    floats = {name for name, dtype in dtypes.items() if dtype == "float64"}
    assert floats == {name for name in dtypes if name.endswith("_time")} | {"tempo_qpm"}
    assert {dtypes[name] for name in ("pitch", "velocity", "instrument", "program")} == {"int32"}


def test_round_trip():
    assert to_note_sequence(from_note_sequence(full_sequence())) == full_sequence()


def test_round_trip_quantized():
    sequence = sequences_lib.quantize_note_sequence_absolute(full_sequence(), 100)
    arrays = from_note_sequence(sequence)
    assert (arrays.start_step.tolist(), arrays.end_step.tolist()) == ([50, 10], [250, 70])
    assert (arrays.control_step.tolist(), arrays.total_steps) == ([60], 250)
    assert (arrays.is_quantized, arrays.steps_per_second) == (True, 100)
    assert to_note_sequence(arrays) == sequence
    assert to_note_sequence(arrays.unquantized()) == full_sequence()


def test_round_trip_empty():
    empty = music_pb2.NoteSequence()
    assert to_note_sequence(from_note_sequence(empty)) == empty
    assert from_note_sequence(empty).num_notes == 0


@pytest.mark.parametrize(
    "path", sorted(ASAP.rglob("*.mid")), ids=lambda path: path.relative_to(ASAP).as_posix()
)
def test_round_trip_real(path):
    sequence = midi_io.midi_file_to_note_sequence(str(path))
    assert to_note_sequence(from_note_sequence(sequence)) == sequence


times = st.floats(0, 1e4)
numbers = st.integers(0, 127)


@settings(deadline=None)
@given(
    notes=st.lists(st.tuples(times, times, numbers, numbers, numbers, numbers, st.booleans())),
    controls=st.lists(st.tuples(times, numbers, numbers, numbers, numbers, st.booleans())),
    total_time=times,
)
def test_round_trip_anything(notes, controls, total_time):
    names = ("start_time", "end_time", "pitch", "velocity", "instrument", "program", "is_drum")
    sequence = music_pb2.NoteSequence(total_time=total_time, ticks_per_quarter=220)
    for note in notes:
        sequence.notes.add(**dict(zip(names, note, strict=True)))
    names = ("time", "control_number", "control_value", "instrument", "program", "is_drum")
    for control in controls:
        sequence.control_changes.add(**dict(zip(names, control, strict=True)))
    assert to_note_sequence(from_note_sequence(sequence)) == sequence


def test_score_matters_are_left_out():
    sequence = music_pb2.NoteSequence()
    sequence.text_annotations.add(time=1.0, text="C")
    sequence.part_infos.add(part=1, name="Flute")
    assert to_note_sequence(from_note_sequence(sequence)) == music_pb2.NoteSequence()


def test_tempo_relative_steps_are_refused():
    sequence = full_sequence()
    sequence.quantization_info.steps_per_quarter = 4
    with pytest.raises(ValueError, match=r"'/id/midi/asap/1' is quantised to 4 steps per quarter"):
        from_note_sequence(sequence)


def test_take_notes():
    sequence = sequences_lib.quantize_note_sequence_absolute(full_sequence(), 100)
    arrays = from_note_sequence(sequence)
    for which in (np.array([False, True]), np.array([1]), slice(1, 2)):
        taken = arrays.take_notes(which)
        assert taken.pitch.tolist() == [36]
        assert (taken.start_step.tolist(), taken.end_step.tolist()) == ([10], [70])
        assert taken.control_step.tolist() == [60]
    assert arrays.num_notes == 2


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"start_time": [0.0], "end_time": []},
            "end_time has 0 entries where the other columns of notes have 1",
        ),
        (
            {"control_time": [0.0], "control_value": [1, 2]},
            "control_number has 0 entries where the other columns of control_changes have 1",
        ),
        ({"tempo_time": [[0.0]]}, "tempo_time has 2 dimensions, expected 1"),
        ({"start_step": [1]}, "start_step has 1 entries where the other columns of notes have 0"),
    ],
)
def test_columns_that_do_not_fit(columns, message):
    with pytest.raises(ValueError, match=message):
        NoteArrays(**columns)


def test_instruments_are_zeros_where_they_are_not_given():
    arrays = NoteArrays(
        start_time=[0, 1],
        end_time=[1, 2],
        pitch=[60, 62],
        velocity=[80, 80],
        program=[4, 5],
        bend_time=[0.5],
        bend_value=[9],
    )
    assert (arrays.instrument.tolist(), arrays.program.tolist()) == ([0, 0], [4, 5])
    assert (arrays.is_drum.tolist(), arrays.bend_is_drum.tolist()) == ([False, False], [False])
    assert (arrays.instrument.dtype, arrays.is_drum.dtype) == (np.int32, np.bool_)


def test_pickles():
    arrays = pickle.loads(pickle.dumps(from_note_sequence(full_sequence())))
    assert to_note_sequence(arrays) == full_sequence()


def test_light_import():
    code = (
        "import sys, perf_rnn.events; "
        "print([name for name in ('note_seq', 'tensorflow', 'keras') if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=pathlib.Path(__file__).parents[3],
    )
    assert result.stdout == "[]\n"


def test_replace_is_that_of_dataclasses():
    arrays = from_note_sequence(full_sequence())
    changes = {"pitch": [61, 37], "start_step": np.array([50, 10]), "total_time": 3.0}
    replaced, expected = arrays.replace(**changes), dataclasses.replace(arrays, **changes)
    for field in dataclasses.fields(NoteArrays):
        value = getattr(replaced, field.name)
        np.testing.assert_array_equal(value, getattr(expected, field.name), strict=True)
    assert replaced.velocity is arrays.velocity
    assert (arrays.pitch.tolist(), arrays.start_step) == ([60, 36], None)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"pitch": [60]}, ValueError, "pitch has 1 entries where the other columns of notes have"),
        ({"tempo_time": [0, 1]}, ValueError, "tempo_qpm has 1 entries where the other columns of"),
        ({"velocity": [[1, 2]]}, ValueError, "velocity has 2 dimensions, expected 1"),
        ({"pitches": [60, 61]}, TypeError, "no field 'pitches'"),
    ],
)
def test_replace_checks_what_it_is_given(changes, error, message):
    with pytest.raises(error, match=message):
        from_note_sequence(full_sequence()).replace(**changes)
