import json
import os
import re
import shutil
import sys

import numpy as np
import pytest
from note_seq import NoteSequence, midi_io

from perf_rnn.notes import scores
from perf_rnn.notes.arrays import from_note_sequence
from perf_rnn.notes.music_files import note_sequence_id
from perf_rnn.notes.transforms import apply_sustain
from pipelines.note_sequence_files import convert_directory
from pipelines.pipeline import tf_record_iterator

ABC_TUNE = "X:{}\nT:Scale\nM:4/4\nL:1/8\nK:C\nCDEF GABc|\n"

MUSIC_XML = """<?xml version="1.0" encoding="UTF-8"?>
<score-partwise version="3.0">
  <part-list><score-part id="P1"><part-name>Piano</part-name></score-part></part-list>
  <part id="P1"><measure number="1">
    <attributes><divisions>1</divisions><key><fifths>0</fifths></key>
      <time><beats>4</beats><beat-type>4</beat-type></time></attributes>
    <note><pitch><step>C</step><octave>4</octave></pitch><duration>4</duration><voice>1</voice>
      <type>whole</type></note>
  </measure></part>
</score-partwise>
"""


@pytest.fixture
def songs(tmp_path, asap_dir):
    """A directory of four good files in three formats, two bad ones and one to be ignored."""
    root = tmp_path / "songs"
    (root / "b" / "c").mkdir(parents=True)
    shutil.copy(asap_dir / "Bach/Fugue/bwv_875/CaoJ01M.mid", root / "b" / "c" / "Prelude.MID")
    shutil.copy(asap_dir / "Liszt/Transcendental_Etudes/1/LuoJ05M.mid", root / "etude.midi")
    (root / "a.xml").write_text(MUSIC_XML)
    (root / "b" / "tunes.abc").write_text(ABC_TUNE.format(3) + "\n" + ABC_TUNE.format(7))
    (root / "b" / "bad.mid").write_bytes(b"MThd\x00\x00\x00\x06\x00\x01\x00\x02\x01\xe0MTrk\x00")
    (root / "bad.mxl").write_bytes(b"this is no zip file")
    (root / "notes.txt").write_text("not music")
    return root


def convert(root, output, **options):
    counts = convert_directory(str(root), str(output), **options)
    return counts, list(tf_record_iterator(str(output), NoteSequence))


def test_convert_directory(songs, tmp_path, caplog):
    counts, sequences = convert(songs, tmp_path / "new" / "songs.tfrecord", recursive=True)
    assert vars(counts) == {
        "files_read": 4,
        "files_skipped": 2,
        "sequences_written": 5,
        "sequences_without_notes": 0,
        "abc_tunes_skipped": 0,
    }
    assert [
        (s.filename, s.collection_name, s.reference_number, len(s.notes)) for s in sequences
    ] == [
        ("a.xml", "songs", 0, 1),
        ("b/c/Prelude.MID", "songs", 0, 799),
        ("b/tunes.abc", "songs", 3, 8),
        ("b/tunes.abc", "songs", 7, 8),
        ("etude.midi", "songs", 0, 629),
    ]
    assert [s.id for s in sequences] == [
        note_sequence_id("a.xml", "songs", "musicxml"),
        note_sequence_id("b/c/Prelude.MID", "songs", "midi"),
        note_sequence_id("b/tunes.abc_3", "songs", "abc"),
        note_sequence_id("b/tunes.abc_7", "songs", "abc"),
        note_sequence_id("etude.midi", "songs", "midi"),
    ]
    assert os.listdir(tmp_path / "new") == ["songs.tfrecord"]
    assert "b/bad.mid: damaged: cut off in the header of a track" in caplog.text
    assert "skipped: bad.mxl: " in caplog.text


def test_files_of_every_format_are_read_as_they_are_heard(tmp_path, request):
    """Those of testdata/music_files, the pedal applied, within 1 ms; or refused."""
    root = request.path.parents[1] / "testdata" / "music_files"
    expected = json.loads((root / "expected.json").read_text())
    counts, sequences = convert(root, tmp_path / "out")
    notes_of = {s.filename: apply_sustain(from_note_sequence(s)) for s in sequences}
    refused = {name for name, notes in expected.items() if notes == "refused"}
    assert counts.files_skipped == len(refused)
    assert notes_of.keys() == expected.keys() - refused
    for name, notes in notes_of.items():
        rows = zip(notes.start_time, notes.pitch, notes.end_time, strict=True)
        wanted = [(start, pitch, end) for pitch, start, end in expected[name]]
        heard = np.array(sorted(rows)).reshape(-1, 3)
        assert heard == pytest.approx(np.array(sorted(wanted)).reshape(-1, 3), abs=1e-3), name


def test_sequences_are_what_note_seq_reads(songs, tmp_path):
    _, sequences = convert(songs, tmp_path / "out", recursive=True)
    expected = midi_io.midi_file_to_note_sequence(str(songs / "etude.midi"))
    expected.filename, expected.collection_name = "etude.midi", "songs"
    # What Magenta 2.1.4 gives this file: sha1 of its path in the directory.
    expected.id = "/id/midi/songs/2a00d764ed55453fac2a9ab8856bb1ee84dd34ee"
    assert sequences[-1] == expected


def test_subdirectories_only_when_asked(songs, tmp_path):
    _, sequences = convert(songs, tmp_path / "out")
    assert [sequence.filename for sequence in sequences] == ["a.xml", "etude.midi"]


@pytest.mark.parametrize("ending", ["/", "/.", "//"])
def test_a_trailing_slash_changes_nothing(songs, tmp_path, ending):
    convert_directory(str(songs), str(tmp_path / "plain"))
    convert_directory(str(songs) + ending, str(tmp_path / "slash"))
    assert (tmp_path / "slash").read_bytes() == (tmp_path / "plain").read_bytes()


def test_the_current_directory_has_a_name(songs, tmp_path, monkeypatch):
    monkeypatch.chdir(songs)
    _, sequences = convert(".", tmp_path / "out")
    assert {sequence.collection_name for sequence in sequences} == {"songs"}


def test_bad_tunes_are_left_out_of_their_file(tmp_path, caplog):
    (tmp_path / "in").mkdir()
    good, bad = ABC_TUNE.format(1), ABC_TUNE.format(2) + "C" * scores.MAX_TUNE_BYTES
    (tmp_path / "in" / "tunes.abc").write_text(good + "\n" + bad)
    counts, sequences = convert(tmp_path / "in", tmp_path / "out")
    assert [sequence.reference_number for sequence in sequences] == [1]
    assert (counts.files_read, counts.files_skipped, counts.abc_tunes_skipped) == (1, 0, 1)
    assert "tunes.abc: tune skipped: tune 2: more than" in caplog.text


def test_scores_without_the_packages_that_read_them(songs, tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "music21", None)
    counts, sequences = convert(songs, tmp_path / "out", recursive=True)
    assert [sequence.filename for sequence in sequences] == ["b/c/Prelude.MID", "etude.midi"]
    assert (counts.files_read, counts.files_skipped) == (2, 4)
    hint = "MusicXML and ABC files skipped: {}; to read them: pip install 'perf_rnn[scores]'"
    assert [m for m in caplog.messages if "MusicXML" in m] == [hint.format(3)]
    with pytest.raises(ValueError, match=re.escape(f"a.xml: {hint.format(1)}")):
        convert_directory(str(songs / "a.xml"), str(tmp_path / "out"))


def test_files_without_notes_are_counted(tmp_path):
    (tmp_path / "in").mkdir()
    midi_io.note_sequence_to_midi_file(NoteSequence(), str(tmp_path / "in" / "empty.mid"))
    counts, _sequences = convert(tmp_path / "in", tmp_path / "out")
    assert (counts.sequences_written, counts.sequences_without_notes) == (1, 1)


def test_nothing_is_written_where_nothing_can_be_read(tmp_path):
    output = tmp_path / "out"
    output.write_text("made earlier")
    with pytest.raises(FileNotFoundError):
        convert_directory(str(tmp_path / "none"), str(output))
    root = tmp_path / "in"
    (root / "below").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"in: no file ends in .mid, .* \(--recursive "):
        convert_directory(str(root), str(output))
    with pytest.raises(ValueError, match=r"in: no file ends in [^()]*$"):
        convert_directory(str(root), str(output), recursive=True)
    (root / "bad.mid").write_bytes(b"")
    with pytest.raises(ValueError, match="in: none of its 1 files could be read"):
        convert_directory(str(root), str(output))
    assert output.read_text() == "made earlier"
    assert sorted(os.listdir(tmp_path)) == ["in", "out"]


def test_output_that_cannot_be_written(songs, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        convert_directory(str(songs), str(tmp_path / "file" / "out"))
    with pytest.raises(IsADirectoryError):
        convert_directory(str(songs), str(songs / "b"))
