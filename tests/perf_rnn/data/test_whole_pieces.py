"""Whole performances from notes."""

import numpy as np
import pytest

from bundles.errors import PerfRnnError
from perf_rnn.configs import get_config
from perf_rnn.data.tfrecord import open_writers
from perf_rnn.data.whole_pieces import read_whole_pieces
from perf_rnn.notes.arrays import NoteArrays, to_note_sequence
from perf_rnn.notes.midi_writer import to_midi
from perf_rnn.notes.transforms import quantize

CONFIG = get_config("performance_with_dynamics")
PLAIN = get_config("performance")
NOTES = get_config("performance_with_dynamics_and_note_encoding")


def make_notes(*notes, pedal=(), **fields):
    """Notes given as (start time, end time, pitch), the pedal as (time, value)."""
    start, end, pitch = np.array(notes, np.float64).reshape(-1, 3).T
    time, value = np.array(pedal, np.float64).reshape(-1, 2).T
    return NoteArrays(
        start_time=start,
        end_time=end,
        pitch=pitch,
        velocity=np.full(len(start), 80),
        control_time=time,
        control_number=np.full(len(time), 64),
        control_value=value,
        ticks_per_quarter=500,
        total_time=end.max(initial=0.0),
        **fields,
    )


def write(path, *sequences):
    with open_writers([str(path)]) as (writer,):
        for notes in sequences:
            writer.write(to_note_sequence(notes).SerializeToString())
    return str(path)


def test_notes_are_encoded_whole(tmp_path):
    rng = np.random.default_rng(0)
    start = np.sort(rng.uniform(0.5, 95, size=700))
    columns = start, start + rng.uniform(0.05, 2, 700), rng.integers(21, 109, 700)
    notes = make_notes(*zip(*columns, strict=True), id="/id/a", filename="folder/a.mid")
    path = write(tmp_path / "notes.tfrecord", notes, make_notes(id="/id/b"))
    found = read_whole_pieces(path, CONFIG)
    assert (found.path, found.kind) == (path, "NoteSequences")
    assert found.left_out == {
        "damaged": 0,
        "without_notes": 1,
        "not_encodable": 0,
        "too_short": 0,
    }
    (piece,) = found.pieces
    assert piece.name == "folder/a.mid"
    np.testing.assert_array_equal(piece.events, CONFIG.codec.encode(quantize(notes, 100)))


def test_midi_with_its_pedal(tmp_path):
    notes = make_notes((1, 2, 60), (30, 31, 62), pedal=[(0.5, 127), (14, 0)])
    (tmp_path / "a.mid").write_bytes(to_midi(notes))
    found = read_whole_pieces(str(tmp_path / "a.mid"), PLAIN)
    assert (found.kind, [piece.name for piece in found.pieces]) == ("MIDI", ["a.mid"])
    shift = 355
    expected = [shift, 60, *[shift] * 13, 188, *[shift] * 16, 62, shift, 190]
    assert found.pieces[0].events.tolist() == expected


def test_note_encoding_of_long_notes_and_pauses(tmp_path):
    for name, pause in (("short", 9), ("long", 12)):
        notes = make_notes((0, 25, 60), (pause, 20, 62))
        (tmp_path / f"{name}.mid").write_bytes(to_midi(notes))
    found = read_whole_pieces(str(tmp_path), NOTES)
    assert found.left_out["not_encodable"] == 1
    (piece,) = found.pieces
    assert piece.name == "short.mid"
    assert piece.events[0].tolist() == [0, 0, 60, 19, 24, 39]


def test_pieces_too_short(tmp_path):
    one, two = make_notes((0, 1, 60), id="/id/a"), make_notes((0, 1, 60), (1, 2, 60), id="/id/b")
    # One note event, and nothing to predict.
    with pytest.raises(PerfRnnError, match="no piece in it has two events"):
        read_whole_pieces(write(tmp_path / "one", one), NOTES)
    found = read_whole_pieces(write(tmp_path / "both", one, two), NOTES)
    assert [piece.name for piece in found.pieces] == ["/id/b"]
    assert found.left_out["too_short"] == 1
