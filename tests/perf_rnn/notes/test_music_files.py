"""Finding and reading music files: folders, zip archives, gzip, limits."""

import gzip
import os
import pickle
import zipfile

import pytest

from bundles.errors import PerfRnnError
from perf_rnn.notes import midi
from perf_rnn.notes.music_files import (
    find_music_files,
    is_music,
    read_midi_file,
)

MIDI = (
    b"MThd\0\0\0\6\0\0\0\1\1\xe0MTrk\0\0\0\x0d\0\x90\x3c\x40\x83\x60\x80\x3c\0\0\xff\x2f\0"
)  # fmt: skip


def make_archive(path, members, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return str(path)


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "songs"
    (root / "b" / "c").mkdir(parents=True)
    for name in ("z.mid", "b/A.MIDI", "b/c/x.kar", "b/c/y.rmi", "b/c/z.smf", "b/text.txt"):
        (root / name).write_bytes(MIDI)
    (root / "b" / "packed.mid.gz").write_bytes(gzip.compress(MIDI))
    for name in ("score.mscz", "b/score.xml", "b/tune.XML"):
        (root / name).write_bytes(b"")
    return root


NAMES = ["b/A.MIDI", "b/c/x.kar", "b/c/y.rmi", "b/c/z.smf", "b/packed.mid.gz", "z.mid"]


def test_a_folder(folder, caplog):
    files = find_music_files(f"{folder}/")
    assert [file.name for file in files] == NAMES
    assert {file.collection_name for file in files} == {"songs"}
    assert [file.notes().pitch.tolist() for file in files] == [[60]] * 6
    assert f"{folder}/: 3 music files are not read: 1 .mscz, 2 .xml" in caplog.messages
    assert [file.name for file in find_music_files(str(folder), recursive=False)] == ["z.mid"]
    assert [file.name for file in find_music_files(str(folder), suffixes=(".mscz",))] == [
        "score.mscz"
    ]


def test_an_archive_is_what_unpacking_it_gives(folder, tmp_path):
    members = {
        f"songs/{path.relative_to(folder)}": path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    members |= {"__MACOSX/songs/._z.mid": b"attributes"}
    path = make_archive(tmp_path / "download.ZIP", members)
    assert is_music(path)
    for recursive in (True, False):
        found, unpacked = (find_music_files(str(p), recursive) for p in (path, folder))
        assert [file.notes().id for file in found] == [file.notes().id for file in unpacked]
    file = pickle.loads(pickle.dumps(find_music_files(path)[0]))
    assert (file.name, file.content(1000), file.notes().filename) == (
        "b/A.MIDI",
        MIDI,
        "b/A.MIDI",
    )


def test_an_archive_without_a_top_folder(tmp_path):
    members = {
        "a.mid": MIDI,
        "b\\c.mid": MIDI,
        "../up.mid": MIDI,
        "/root.mid": MIDI,
        "C:/c.mid": MIDI,
    }
    path = make_archive(tmp_path / "my songs.zip", members, zipfile.ZIP_STORED)
    files = find_music_files(path)
    assert [(file.name, file.collection_name) for file in files] == [
        ("a.mid", "my songs"),
        ("b/c.mid", "my songs"),
    ]
    assert [file.content(1000) for file in files] == [MIDI, MIDI]


def test_one_file(folder):
    (file,) = find_music_files(str(folder / "b" / "text.txt"))
    assert (file.name, file.collection_name, file.content(1000)) == (
        "text.txt",
        "b",
        MIDI,
    )
    assert read_midi_file(folder / "b" / "packed.mid.gz").filename == "packed.mid.gz"
    assert [is_music(name) for name in ("a.KAR", "a.rmi.gz", "a.zip", "a.tfrecord")] == [1, 1, 1, 0]


def test_what_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        find_music_files(str(tmp_path / "none.mid"))
    with pytest.raises(FileNotFoundError):
        find_music_files(str(tmp_path / "none.zip"))
    with pytest.raises(PerfRnnError, match=r"no file ends in \.mid, .*\.rmi\.gz$"):
        find_music_files(str(tmp_path))
    with pytest.raises(PerfRnnError, match=r"\.rmi\.gz \(--recursive looks into its"):
        find_music_files(str(tmp_path), recursive=False)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_a_pipe_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "x.mid")
    (file,) = find_music_files(str(tmp_path))
    with pytest.raises(PerfRnnError, match=r"x\.mid: not a regular file"):
        file.content(1000)


def refused(path):
    (file,) = find_music_files(str(path))
    with pytest.raises(PerfRnnError) as caught:
        file.notes()
    return str(caught.value).removeprefix(f"{path}: ")


def test_refuses_with_the_cause(tmp_path, monkeypatch):
    path = tmp_path / "x.mid"
    path.write_bytes(b"<html>")
    assert refused(path) == "not a MIDI file (no MThd header)"
    packed = gzip.compress(MIDI)
    path.write_bytes(packed[:-9])
    assert refused(path) == "cut off, not unpacked"
    path.write_bytes(packed[:10] + b"\xff" * 20)
    assert refused(path).startswith("damaged, not unpacked (")
    monkeypatch.setattr(midi, "MAX_BYTES", 100)
    path.write_bytes(MIDI + bytes(100))
    assert refused(path) == "more than 100 bytes"
    path.write_bytes(gzip.compress(MIDI + bytes(100_000)))
    assert refused(path) == "unpacks to more than 100 bytes"


def test_damaged_archives(tmp_path, monkeypatch):
    path = tmp_path / "x.zip"
    path.write_bytes(b"no archive")
    with pytest.raises(PerfRnnError, match=r"x\.zip: not an intact zip archive"):
        find_music_files(str(path))
    make_archive(path, {"a.mid": MIDI}, zipfile.ZIP_STORED)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"\x90\x3c", b"\x90\x3d"))
    assert refused(path) == "a.mid: damaged in the archive (wrong checksum)"
    path.write_bytes(b"XX" + whole[2:])
    assert refused(path) == "a.mid: damaged in the archive"
    make_archive(path, {"a.mid": MIDI}, zipfile.ZIP_LZMA)
    assert refused(path) == "a.mid: compressed by method 14; zip it with deflate"
    # Both headers say it is encrypted.
    path.write_bytes(
        whole.replace(b"PK\3\4\x14\0\0", b"PK\3\4\x14\0\1").replace(
            b"PK\1\2\x14\3\x14\0\0", b"PK\1\2\x14\3\x14\0\1"
        )
    )
    assert refused(path) == "a.mid: encrypted"
    # A small member that says it is small, and is not.
    make_archive(path, {"a.mid": MIDI + bytes(100_000)})
    small = path.read_bytes().replace(
        (len(MIDI) + 100_000).to_bytes(4, "little"), (50).to_bytes(4, "little")
    )
    monkeypatch.setattr(midi, "MAX_BYTES", 200)
    assert refused(path) == "a.mid: more than 200 bytes"
    path.write_bytes(small)
    assert refused(path) == "a.mid: unpacks to more than 200 bytes"
