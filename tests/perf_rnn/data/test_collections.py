"""Sets of pieces from MIDI files and TFRecords; what cannot be used is named and counted."""

import gzip
import logging
import shutil

import pytest
from note_seq import midi_io
from note_seq.protobuf import music_pb2

from perf_rnn.data.collections import PieceSet, ReadingCounts
from perf_rnn.data.tfrecord import RecordError, open_writers


def sequence_of(*notes, drums=False, pedal=(), **fields):
    """A NoteSequence of notes (start, end, pitch)."""
    sequence = music_pb2.NoteSequence(ticks_per_quarter=220, **fields)
    for start, end, pitch in notes:
        sequence.notes.add(start_time=start, end_time=end, pitch=pitch, velocity=80, is_drum=drums)
    for time, value in pedal:
        sequence.control_changes.add(time=time, control_number=64, control_value=value)
    sequence.total_time = max((end for _, end, _ in notes), default=0.0)
    return sequence


def write_records(path, *records):
    with open_writers([str(path)]) as (writer,):
        for record in records:
            writer.write(record if isinstance(record, bytes) else record.SerializeToString())


def write_midi(path, sequence):
    path.parent.mkdir(parents=True, exist_ok=True)
    midi_io.sequence_proto_to_midi_file(sequence, str(path))


def test_several_paths(tmp_path):
    write_midi(tmp_path / "a" / "1.mid", sequence_of((0.0, 1.0, 60)))
    write_midi(tmp_path / "b" / "2.mid", sequence_of((0.0, 2.0, 60)))
    paths = [str(tmp_path / "b" / "2.mid"), str(tmp_path / "a")]
    pieces = PieceSet(paths)
    assert [(name, notes.total_time) for name, notes in pieces] == [("2.mid", 2.0), ("1.mid", 1.0)]
    assert (pieces.path, pieces.kind) == (", ".join(paths), "MIDI")


def test_directory(tmp_path, asap_dir, caplog):
    shutil.copy(next(asap_dir.rglob("LuoJ05M.mid")), tmp_path / "b.mid")
    write_midi(tmp_path / "deep" / "A.MIDI", sequence_of((0.5, 1.0, 60), (1.0, 2.0, 64)))
    write_midi(tmp_path / "drums.mid", sequence_of((0.0, 1.0, 36), drums=True))
    packed = gzip.compress((tmp_path / "deep" / "A.MIDI").read_bytes())
    (tmp_path / "packed.mid.gz").write_bytes(packed)
    (tmp_path / "bad.mid").write_bytes(b"MThd, but nothing more")
    (tmp_path / "empty.mid").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("no MIDI")
    pieces = PieceSet(str(tmp_path))
    with caplog.at_level(logging.WARNING):
        found = list(pieces)
    assert [name for name, _ in found] == ["b.mid", "deep/A.MIDI", "packed.mid.gz"]
    assert [notes.pitch.tolist() for _, notes in found[1:]] == [[60, 64]] * 2
    assert pieces.counts == ReadingCounts(pieces=3, damaged=2, without_notes=1)
    assert [record.getMessage().split(": ")[0] for record in caplog.records] == [
        f"Skipped bad.mid of {tmp_path}",
        f"Skipped drums.mid of {tmp_path}",
        f"Skipped empty.mid of {tmp_path}",
    ]
    assert "drums.mid" in caplog.messages[1]
    assert caplog.messages[1].endswith("it has no notes")
    assert f"{tmp_path}/empty.mid: empty" in caplog.messages[2]
    # Every iteration counts anew.
    list(pieces)
    assert pieces.counts.pieces == 3


def test_one_midi_file(asap_dir):
    ((name, notes),) = PieceSet(str(next(asap_dir.rglob("LuoJ05M.mid"))))
    assert name == "LuoJ05M.mid"
    assert notes.num_notes == 629


def test_pieces_are_as_they_sound(tmp_path):
    pedal = [(0.0, 127), (3.0, 0), (9.0, 0)]
    sequence = sequence_of((0.5, 1.0, 60), (4.0, 5.0, 64), pedal=pedal)
    sequence.notes.add(start_time=0, end_time=8, pitch=40, velocity=80, is_drum=True)
    sequence.total_time = 20.0
    write_records(tmp_path / "x.tfrecord", sequence)
    ((_, notes),) = PieceSet(str(tmp_path / "x.tfrecord"))
    assert notes.end_time.tolist() == [3.0, 5.0]
    assert notes.total_time == 5.0


def test_records(tmp_path):
    note = (0.0, 1.0, 60)
    quantized = sequence_of(note)
    quantized.quantization_info.steps_per_second = 100
    path = str(tmp_path / "pieces.tfrecord")
    write_records(
        path,
        sequence_of(note, filename="Bach/1.mid", id="/id/1"),
        sequence_of(note, id="/id/2"),
        quantized,
        sequence_of((-1.0, 1.0, 60)),
        sequence_of((1e9, 2e9, 60)),
        sequence_of(),
        b"\x0a\x03\x0a\x01x",  # As an Example begins.
        b"\xff\xff",
        sequence_of(note),
    )
    pieces = PieceSet(path)
    assert [name for name, _ in pieces] == ["Bach/1.mid", "/id/2", "record 8"]
    assert pieces.counts == ReadingCounts(pieces=3, damaged=5, without_notes=1)
    assert [name for name, _ in PieceSet(path, {"/id/2", "gone"})] == ["/id/2"]


def test_nothing_to_use(tmp_path):
    with pytest.raises(ValueError, match=r"no file ends in \.mid, \.midi"):
        PieceSet(str(tmp_path))
    (tmp_path / "bad.mid").write_bytes(b"bad")
    with pytest.raises(ValueError, match="no piece in it can be used: 1 damaged, 0 without notes"):
        list(PieceSet(str(tmp_path)))
    for name in ("none.mid", "none.tfrecord"):
        with pytest.raises(FileNotFoundError):
            PieceSet(str(tmp_path / name))
    (tmp_path / "empty.tfrecord").write_bytes(b"")
    with pytest.raises(ValueError, match="holds no NoteSequences"):
        PieceSet(str(tmp_path / "empty.tfrecord"))
    (tmp_path / "text.txt").write_text("neither MIDI nor records")
    with pytest.raises(RecordError, match="is no uncompressed TFRecord file"):
        PieceSet(str(tmp_path / "text.txt"))
