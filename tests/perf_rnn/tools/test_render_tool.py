"""performance_rnn_render and what writes its files."""

import base64
import gzip
import pathlib
import shutil
import wave

import pytest
from note_seq import midi_io
from note_seq.protobuf import music_pb2

from perf_rnn import rendering
from perf_rnn.rendering import audio, page, piano_roll

TOOL = "perf_rnn.tools.performance_rnn_render"


def sequence(pitch=60, seconds=1.0):
    made = music_pb2.NoteSequence(total_time=seconds)
    made.notes.add(start_time=0, end_time=seconds, pitch=pitch, velocity=80)
    return made


def write_midi(path: pathlib.Path, made=None) -> pathlib.Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    midi_io.sequence_proto_to_midi_file(sequence() if made is None else made, str(path))
    return path


def files(directory: pathlib.Path) -> list[str]:
    return sorted(str(p.relative_to(directory)) for p in directory.rglob("*") if p.is_file())


@pytest.fixture
def render(run_tool):
    return lambda *arguments: run_tool(TOOL, *arguments)


def test_a_directory_of_good_and_bad_files(render, tmp_path, asap_dir):
    source, out = tmp_path / "in", tmp_path / "out"
    write_midi(source / "a.mid")
    write_midi(source / "B.MIDI", sequence(64, 2.0))
    write_midi(source / "empty.mid", music_pb2.NoteSequence(total_time=1))
    write_midi(source / "deeper" / "c.mid")
    etude = next(asap_dir.rglob("LuoJ05M.mid"))
    (source / "cut.mid").write_bytes(etude.read_bytes()[:2000])
    (source / "text.mid").write_text("no MIDI")
    (source / "notes.txt").write_text("not looked at")
    ended = render(f"--input={source}", f"--output_dir={out}")
    assert ended.status == 0, ended.err
    assert f"3 rendered, 2 skipped, 1 without notes (wav, png, html) in {out}" in ended.out
    assert f"skipped: {source / 'cut.mid'}: is no complete MIDI file" in ended.err
    assert f"skipped: {source / 'text.mid'}: is no MIDI file" in ended.err
    assert f"{source / 'empty.mid'}: has no notes" in ended.err
    names = ["B", "a", "empty"]
    assert files(out) == sorted(
        [f"{n}.{e}" for n in names for e in ("png", "wav")] + ["index.html"]
    )
    lengths = {}
    for name in names:
        with wave.open(str(out / f"{name}.wav")) as file:
            lengths[name] = file.getnframes() / file.getframerate()
    assert (lengths["a"], lengths["B"]) == (3.0, 4.0)
    entries = page.read_entries(out / "index.html")
    assert [(e.name, e.num_notes, e.wav) for e in entries] == [
        ("B", 1, "B.wav"),
        ("a", 1, "a.wav"),
        ("empty", 0, "empty.wav"),
    ]
    assert base64.b64decode(entries[1].midi) == (source / "a.mid").read_bytes()


def test_subdirectories(render, tmp_path):
    write_midi(tmp_path / "in" / "x" / "a.mid")
    write_midi(tmp_path / "in" / "y" / "a.mid")
    ended = render(f"--input={tmp_path / 'in'}")
    assert ended.status == 1
    assert "no file ends in .mid or .midi, or these with .gz (--recursive looks into" in ended.error
    ended = render(
        f"--input={tmp_path / 'in'}", "--recursive", f"--output_dir={tmp_path}", "--render=png,html"
    )
    assert ended.status == 0, ended.err
    assert files(tmp_path) == ["in/x/a.mid", "in/y/a.mid", "index.html", "x/a.png", "y/a.png"]
    assert [e.name for e in page.read_entries(tmp_path / "index.html")] == ["x/a", "y/a"]


def test_one_file_beside_itself(render, tmp_path, monkeypatch):
    write_midi(tmp_path / "a.mid")
    monkeypatch.chdir(tmp_path)
    ended = render("--input=a.mid", "--render=png")
    assert ended.status == 0, ended.err
    assert files(tmp_path) == ["a.mid", "a.png"]
    assert (tmp_path / "a.png").read_bytes() == rendering.to_png(sequence(), title="a")


def test_bad_flags(render, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    midi = write_midi(tmp_path / "in" / "a.mid")
    (tmp_path / "no.sf2").write_text("no soundfont")
    cases = {
        (): "--input is needed",
        ("--input=/no/such/file.mid",): "/no/such/file.mid: No such file or directory",
        (f"--input={midi}", "--render=mp3"): "'mp3' is none of wav, png, html",
        (f"--input={midi}", "--render="): "--render is empty",
        (f"--input={midi}", "--output_dir="): "--output_dir is empty",
        (f"--input={midi}", f"--output_dir={midi}"): "a.mid: is a file, not a directory",
        (f"--input={midi}", "--soundfont=/no.sf2"): "/no.sf2: No such file or directory",
        (f"--input={midi}", f"--soundfont={tmp_path / 'no.sf2'}"): "no.sf2: is no soundfont",
    }
    for arguments, message in cases.items():
        ended = render(*arguments)
        assert ended.status == 1
        assert message in ended.error
    (tmp_path / "in" / "a.midi").write_bytes(midi.read_bytes())
    assert "would share their files; rename one" in render(f"--input={tmp_path / 'in'}").error
    text = tmp_path / "text.mid"
    text.write_text("no MIDI")
    assert "none of its 1 MIDI file(s) could be rendered" in render(f"--input={text}").error
    assert files(tmp_path) == ["in/a.mid", "in/a.midi", "no.sf2", "text.mid"]


def test_what_is_known_of_a_piece_stays_on_the_page(render, tmp_path):
    write_midi(tmp_path / "a.mid")
    write_midi(tmp_path / "b.mid")
    piece = rendering.read_piece(str(tmp_path / "a.mid"))
    renderer = rendering.Renderer(tmp_path, ["html"])
    renderer.add(rendering.Piece(piece.sequence, "a", {"seed": 3, "NLL": 1.5}, 0.5, piece.midi))
    renderer.add(rendering.Piece(sequence(70), "earlier", {"seed": 2}))
    assert renderer.finish() == [str(tmp_path / "index.html")]
    ended = render(f"--input={tmp_path}", "--render=html")
    assert ended.status == 0, ended.err
    entries = {e.name: e for e in page.read_entries(tmp_path / "index.html")}
    assert {name: e.facts for name, e in entries.items()} == {
        "a": {"seed": 3, "NLL": 1.5},
        "earlier": {"seed": 2},
        "b": {},
    }
    assert entries["a"].primer == 0.5
    # Other music of that name has facts of its own.
    renderer = rendering.Renderer(tmp_path, ["html"])
    renderer.add(rendering.Piece(sequence(80), "a", {"seed": 4}))
    renderer.finish()
    assert page.read_entries(tmp_path / "index.html")[0].facts == {"seed": 4}


def test_a_file_is_whole_or_not_there(tmp_path, monkeypatch):
    def fail(*arguments, **named):
        raise OSError("the disk is full")

    monkeypatch.setattr(piano_roll, "to_png", fail)
    with pytest.raises(OSError, match="the disk is full"):
        rendering.Renderer(tmp_path, ["png"]).add(rendering.Piece(sequence()))
    monkeypatch.setattr(audio, "MAX_FRAMES", 100000)
    with pytest.raises(ValueError, match=r"/piece\.wav: 0\.0 hours are too long for a WAV file"):
        rendering.Renderer(tmp_path, ["wav"]).add(rendering.Piece(sequence()))
    assert files(tmp_path) == []


def test_a_corrupt_time_takes_no_memory(tmp_path):
    path = write_midi(tmp_path / "a.mid")
    data = path.read_bytes()
    # The last event of the file, put off by 2^28 - 1 ticks.
    end = data.rindex(b"\xff\x2f\x00")
    data = data[: end - 1] + b"\xff\xff\xff\x7f" + data[end:]
    track = data.rindex(b"MTrk")
    size = len(data) - track - 8
    path.write_bytes(data[: track + 4] + size.to_bytes(4, "big") + data[track + 8 :])
    with pytest.raises(ValueError, match=r"a\.mid: is no complete MIDI file"):
        rendering.read_piece(str(path))


def test_packed_files(tmp_path):
    plain = write_midi(tmp_path / "a.b.mid")
    (tmp_path / "C.MIDI.gz").write_bytes(gzip.compress(plain.read_bytes()))
    assert list(rendering.find_midi_files(str(tmp_path))) == ["C", "a.b"]
    paths = rendering.find_midi_files(str(tmp_path / "C.MIDI.gz"))
    assert list(paths) == ["C"]
    assert rendering.read_piece(paths["C"]).sequence == rendering.read_piece(str(plain)).sequence
