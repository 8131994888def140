"""performance_rnn_render and what writes its files."""

import base64
import fcntl
import gzip
import os
import pathlib
import shutil
import subprocess
import sys
import tracemalloc
import wave

import numpy as np
import pytest
import soundfile
from note_seq import midi_io
from note_seq.protobuf import music_pb2

from bundles.errors import PerfRnnError
from perf_rnn import rendering
from perf_rnn.notes import midi
from perf_rnn.notes.arrays import to_note_sequence
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


def test_files_without_a_flag(render, tmp_path):
    one, two = write_midi(tmp_path / "a" / "1.mid"), write_midi(tmp_path / "b" / "2.mid")
    ended = render(one, two, "--render=html", f"--output_dir={tmp_path / 'out'}")
    assert ended.status == 0, ended.err
    assert "2 rendered" in ended.out
    ended = render("--render=html", one)
    assert f"Wrote {tmp_path / 'a' / 'index.html'}" in ended.out
    ended = render(one, tmp_path / "b", f"--input={two}")
    assert ended.error == f"ERROR: {str(one)!r} and --input: give one of them"
    (tmp_path / "b" / "1.mid").write_bytes(one.read_bytes())
    ended = render(one, tmp_path / "b")
    assert "1.mid would share their output files; rename one" in ended.error


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
    assert (
        f"skipped: {source / 'cut.mid'}: damaged: track 1 has an event that is cut off" in ended.err
    )
    assert f"skipped: {source / 'text.mid'}: not a MIDI file" in ended.err
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
    assert "no file ends in .mid" in ended.error
    assert "(--recursive looks into its subdirectories)" in ended.error
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


def test_flac_and_ogg(render, tmp_path):
    path = write_midi(tmp_path / "a.mid")
    ended = render(path, "--render=wav,flac,ogg")
    assert ended.status == 0, ended.err
    wav, rate = soundfile.read(tmp_path / "a.wav", dtype="int16")
    flac, _ = soundfile.read(tmp_path / "a.flac", dtype="int16")
    assert (flac == wav).all()
    ogg, ogg_rate = soundfile.read(tmp_path / "a.ogg")
    assert (ogg.shape, ogg_rate) == (wav.shape, rate)
    assert np.corrcoef(ogg[:, 0], wav[:, 0])[0, 1] > 0.95
    sizes = [(tmp_path / f"a.{name}").stat().st_size for name in ("wav", "flac", "ogg")]
    assert sizes[0] > 1.5 * sizes[1] > 4 * sizes[2]
    (tmp_path / "a.wav").unlink()
    render(path, "--render=ogg")
    assert not (tmp_path / "a.wav").exists()


def test_bad_flags(render, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    plain = write_midi(tmp_path / "in" / "a.mid")
    (tmp_path / "no.sf2").write_text("no soundfont")
    cases = {
        (): "--input is needed: a MIDI file, or a directory or zip archive of them",
        ("--input=/no/such/file.mid",): "/no/such/file.mid: No such file or directory",
        (f"--input={plain}", "--render=mp3"): "'mp3' is not one of wav, flac, ogg, png, html",
        (f"--input={plain}", "--render="): "--render is empty",
        (f"--input={plain}", "--output_dir="): "--output_dir is empty",
        (f"--input={plain}", f"--output_dir={plain}"): "a.mid: is a file, not a directory",
        (f"--input={plain}", "--soundfont=/no.sf2"): "/no.sf2: No such file or directory",
        (f"--input={plain}", f"--soundfont={tmp_path / 'no.sf2'}"): "no.sf2: not a soundfont",
    }
    for arguments, message in cases.items():
        ended = render(*arguments)
        assert ended.status == 1
        assert message in ended.error
    (tmp_path / "in" / "a.midi").write_bytes(plain.read_bytes())
    assert (
        "a.midi would share their output files; rename one"
        in render(f"--input={tmp_path / 'in'}").error
    )
    text = tmp_path / "text.mid"
    text.write_text("no MIDI")
    assert "text.mid: none of the 1 MIDI file(s) could be rendered" in render(text).error
    assert files(tmp_path) == ["in/a.mid", "in/a.midi", "no.sf2", "text.mid"]


def test_what_is_known_of_a_piece_stays_on_the_page(render, tmp_path):
    write_midi(tmp_path / "a.mid")
    write_midi(tmp_path / "b.mid")
    piece = rendering.read_piece(str(tmp_path / "a.mid"))
    renderer = rendering.Renderer(tmp_path, ["html"])
    renderer.add(rendering.Piece(piece.notes, "a", {"seed": 3, "NLL": 1.5}, 0.5, piece.midi))
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


def test_packed_files(render, tmp_path):
    """Every kind of name, packed or not, gives the same music and a page with MIDI to download."""
    plain = write_midi(tmp_path / "a.b.mid").read_bytes()
    packed = gzip.compress(plain)
    (tmp_path / "C.MIDI.gz").write_bytes(packed)
    (tmp_path / "d.mid.gz").write_bytes(packed)
    (tmp_path / "e.midi").write_bytes(plain)
    (tmp_path / "f.mid").write_bytes(packed)
    (tmp_path / "g.rmi").write_bytes(b"RIFF\x78\0\0\0RMIDdata\x64\0\0\0" + plain)
    assert list(rendering.find_midi_files(str(tmp_path / "C.MIDI.gz"))) == ["C"]
    ended = render(f"--input={tmp_path}", "--render=html")
    assert ended.status == 0, ended.err
    entries = page.read_entries(tmp_path / "index.html")
    assert [entry.name for entry in entries] == ["C", "a.b", "d", "e", "f", "g"]
    assert {entry.notes for entry in entries} == {entries[0].notes}
    for entry in entries:
        assert base64.b64decode(entry.midi) == plain
    for path in tmp_path.iterdir():
        if path.suffix != ".html":
            assert to_note_sequence(rendering.read_piece(path).notes).notes == sequence().notes


def test_a_gzip_bomb_is_not_unpacked(tmp_path):
    path = tmp_path / "bomb.mid.gz"
    path.write_bytes(gzip.compress(bytes(8 * midi.MAX_BYTES)))
    tracemalloc.start()
    with pytest.raises(PerfRnnError, match=f"bomb.mid.gz: unpacks to more than {midi.MAX_BYTES}"):
        rendering.read_piece(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 3 * midi.MAX_BYTES


def test_what_cannot_be_read_is_skipped(render, tmp_path):
    source, out = tmp_path / "in", tmp_path / "out"
    write_midi(source / "a.mid")
    (source / "dangling.mid").symlink_to("nowhere")
    (source / "endless.mid").symlink_to("/dev/zero")
    (source / "deeper.mid").mkdir()
    os.mkfifo(source / "pipe.mid")
    (source / "large.mid").touch()
    os.truncate(source / "large.mid", 2**40)
    ended = render(f"--input={source}", f"--output_dir={out}", "--render=html")
    assert ended.status == 0, ended.err
    assert "1 rendered, 4 skipped, 0 without notes (html)" in ended.out
    for message in (
        "dangling.mid: No such file or directory",
        "endless.mid: not a regular file",
        "pipe.mid: not a regular file",
        f"large.mid: more than {midi.MAX_BYTES} bytes",
    ):
        assert f"skipped: {source / message}" in ended.err
    ended = render(f"--input={source / 'pipe.mid'}", f"--output_dir={out}")
    assert ended.status == 1
    assert "pipe.mid: not a regular file" in ended.err


def test_no_directories_without_files(render, tmp_path):
    write_midi(tmp_path / "in" / "x" / "a.mid")
    arguments = (f"--input={tmp_path / 'in'}", "--recursive", f"--output_dir={tmp_path / 'out'}")
    assert render(*arguments, "--render=html").status == 0
    assert os.listdir(tmp_path / "out") == ["index.html"]


def test_names_that_are_not_utf8(tmp_path):
    name = b"\xe9tude \xf0\x9f\x8e\xb9 <b>.mid"
    plain = write_midi(tmp_path / "in" / "a.mid")
    os.rename(plain, os.fsencode(tmp_path / "in") + b"/" + name)
    folders = (tmp_path / "in", f"--output_dir={tmp_path}")
    command = [sys.executable, "-m", TOOL, *folders, "--overwrite"]
    for _ in range(2):  # The second run reads the page of the first.
        ended = subprocess.run(command, check=False, capture_output=True)
        assert ended.returncode == 0, ended.stderr
        assert b"1 rendered, 0 skipped" in ended.stdout
    stem = name.removesuffix(b".mid")
    written = sorted(entry for entry in os.listdir(os.fsencode(tmp_path)) if entry != b"in")
    assert written == [b"index.html", stem + b".png", stem + b".wav"]
    (entry,) = page.read_entries(tmp_path / "index.html")
    assert os.fsencode(entry.name) == stem
    assert entry.wav == "%E9tude%20%F0%9F%8E%B9%20%3Cb%3E.wav"


def test_runs_at_once_share_the_page(tmp_path):
    """Each process adds a piece; every one reads the page before any writes it."""
    code = (
        "import sys; from perf_rnn import rendering; from note_seq.protobuf import music_pb2\n"
        "renderer = rendering.Renderer(sys.argv[1], ['html'])\n"
        "renderer.add(rendering.Piece(music_pb2.NoteSequence(), sys.argv[2]))\n"
        "print('ready', flush=True); input(); renderer.finish()"
    )
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", code, tmp_path, str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    for run in runs:
        assert run.stdout.readline() == "ready\n"
    for run in runs:
        run.stdin.write("\n")
        run.stdin.flush()
    for run in runs:
        run.communicate()
        assert run.returncode == 0
    assert sorted(e.name for e in page.read_entries(tmp_path / "index.html")) == list("0123")


def test_the_page_is_read_under_the_lock(tmp_path, monkeypatch):
    path = tmp_path / "index.html"
    renderers = [rendering.Renderer(tmp_path, ["html"]) for _ in range(2)]
    for name, renderer in zip("ab", renderers, strict=True):
        renderer.add(rendering.Piece(sequence(), name))
        renderer.finish()
    assert [entry.name for entry in page.read_entries(path)] == ["a", "b"]
    operations = []
    read, flock = page.read_entries, fcntl.flock
    monkeypatch.setattr(page, "read_entries", lambda path: operations.append("read") or read(path))
    monkeypatch.setattr(fcntl, "flock", lambda *args: operations.append(args[1]) or flock(*args))
    renderers[0].finish()
    assert operations == [fcntl.LOCK_EX, "read"]


def test_a_deleted_piece_leaves_the_page(render, tmp_path):
    source, out = tmp_path / "in", tmp_path / "out"
    for name in "abc":
        write_midi(source / f"{name}.mid")
    arguments = (f"--input={source}", f"--output_dir={out}", "--render=html")
    assert render(*arguments).status == 0
    (source / "b.mid").unlink()
    ended = render(*arguments)
    assert ended.status == 0, ended.err
    assert [entry.name for entry in page.read_entries(out / "index.html")] == ["a", "c"]
    assert f"{out / 'index.html'}: removed, as their MIDI files are: b" in ended.err


def test_a_page_that_is_not_ours_ends_the_tool(render, tmp_path):
    midi_file = write_midi(tmp_path / "a.mid")
    (tmp_path / "index.html").write_text("<html>my own</html>")
    ended = render(f"--input={midi_file}", "--render=html")
    assert ended.status == 1
    assert ended.err.count("\n") == 1
    assert "index.html: not a page that this version of perf_rnn wrote" in ended.error
    assert (tmp_path / "index.html").read_text() == "<html>my own</html>"


@pytest.mark.parametrize("render_format", ["wav", "png", "html"])
def test_a_full_disk_ends_the_tool_with_one_line(tmp_path, render_format):
    write_midi(tmp_path / "in" / "a.mid")
    before = tmp_path / ("index.html" if render_format == "html" else f"a.{render_format}")
    rendering.write_page(before, [])
    data = before.read_bytes()
    command = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000)); "
        f"from {TOOL} import console_entry_point as run; run()"
    )
    arguments = (f"--input={tmp_path / 'in'}", f"--output_dir={tmp_path}", "--overwrite")
    ended = subprocess.run(
        [sys.executable, "-c", command, *arguments, f"--render={render_format}"],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (1, f"ERROR: {before}: File too large\n")
    assert before.read_bytes() == data
    assert files(tmp_path) == sorted(["in/a.mid", before.name])
