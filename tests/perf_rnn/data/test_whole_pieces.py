"""Whole performances from notes."""

import numpy as np
import pytest
from note_seq import midi_io
from note_seq.protobuf import music_pb2

from perf_rnn.configs import get_config
from perf_rnn.data.tfrecord import open_writers
from perf_rnn.data.whole_pieces import read_whole_pieces
from perf_rnn.notes.arrays import from_note_sequence
from perf_rnn.notes.transforms import quantize

CONFIG = get_config("performance_with_dynamics")
PLAIN = get_config("performance")
NOTES = get_config("performance_with_dynamics_and_note_encoding")


def make_notes(seconds=95):
    rng = np.random.default_rng(0)
    sequence = music_pb2.NoteSequence()
    for start in np.sort(rng.uniform(0.5, seconds, size=8 * seconds)):
        sequence.notes.add(
            start_time=start,
            end_time=start + rng.uniform(0.05, 2),
            pitch=int(rng.integers(21, 109)),
            velocity=int(rng.integers(30, 60)),
        )
    sequence.total_time = seconds + 2
    return sequence


def encode(sequence, config):
    return config.codec.encode(quantize(from_note_sequence(sequence), 100))


def write(path, examples):
    with open_writers([str(path)]) as (writer,):
        for example in examples:
            writer.write(example.SerializeToString())
    return str(path)


def test_notes_are_encoded_whole(tmp_path):
    sequence = make_notes()
    sequence.id, sequence.filename = "/id/a", "folder/a.mid"
    path = write(tmp_path / "notes.tfrecord", [sequence, music_pb2.NoteSequence(id="/id/b")])
    found = read_whole_pieces(path, CONFIG)
    assert found.kind == "NoteSequences"
    assert found.left_out == {
        "damaged": 0,
        "without_notes": 1,
        "not_encodable": 0,
        "too_short": 0,
    }
    (piece,) = found.pieces
    assert piece.name == "folder/a.mid"
    np.testing.assert_array_equal(piece.events, encode(sequence, CONFIG))


def test_midi_with_its_pedal(tmp_path):
    sequence = music_pb2.NoteSequence(ticks_per_quarter=500)
    sequence.notes.add(start_time=1, end_time=2, pitch=60, velocity=80)
    sequence.notes.add(start_time=30, end_time=31, pitch=62, velocity=80)
    for time, value in ((0.5, 127), (14, 0)):
        sequence.control_changes.add(time=time, control_number=64, control_value=value)
    sequence.total_time = 31
    midi_io.sequence_proto_to_midi_file(sequence, str(tmp_path / "a.mid"))
    found = read_whole_pieces(str(tmp_path / "a.mid"), PLAIN)
    assert (found.kind, [piece.name for piece in found.pieces]) == ("MIDI", ["a.mid"])
    shift = 355
    expected = [shift, 60, *[shift] * 13, 188, *[shift] * 16, 62, shift, 190]
    assert found.pieces[0].events.tolist() == expected


def test_note_encoding_of_long_notes_and_pauses(tmp_path):
    for name, pause in (("short", 9), ("long", 12)):
        sequence = music_pb2.NoteSequence(ticks_per_quarter=500)
        sequence.notes.add(start_time=0, end_time=25, pitch=60, velocity=80)
        sequence.notes.add(start_time=pause, end_time=20, pitch=62, velocity=80)
        sequence.total_time = 25
        midi_io.sequence_proto_to_midi_file(sequence, str(tmp_path / f"{name}.mid"))
    found = read_whole_pieces(str(tmp_path), NOTES)
    assert found.left_out["not_encodable"] == 1
    (piece,) = found.pieces
    assert piece.name == "short.mid"
    assert piece.events[0].tolist() == [0, 0, 60, 19, 24, 39]


def test_pieces_too_short(tmp_path):
    sequence = music_pb2.NoteSequence(id="/id/a")
    sequence.notes.add(start_time=0, end_time=1, pitch=60, velocity=80)
    path = write(tmp_path / "b", [sequence])
    # One note event, and nothing to predict.
    with pytest.raises(ValueError, match="no piece in it has two events"):
        read_whole_pieces(path, NOTES)
