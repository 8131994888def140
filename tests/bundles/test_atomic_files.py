"""Atomic writes, on full disks too."""

import errno
import json
import os
import pathlib
import subprocess
import sys

import pytest

from bundles.atomic_files import (
    atomic_open,
    atomic_path,
    atomic_paths,
    atomic_write,
    atomic_write_json,
    remove_temporaries,
)

FULL_DISK = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))\n"


def names(directory: pathlib.Path) -> list[str]:
    return sorted(os.listdir(directory))


def test_a_file_replaces_the_one_before(tmp_path):
    path = tmp_path / "a.txt"
    atomic_write(path, b"first")
    with atomic_open(path) as file:
        file.write(b"sec")
        file.flush()
        assert path.read_bytes() == b"first"
        file.write(b"ond")
    assert path.read_bytes() == b"second"
    assert names(tmp_path) == ["a.txt"]


def test_everything_is_synced_before_it_is_renamed(tmp_path, monkeypatch):
    calls = []
    sync, replace = os.fsync, os.replace

    def fsync(file):
        calls.append(("fsync", pathlib.Path(file.name).read_bytes()))
        sync(file)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", lambda *paths: calls.append("rename") or replace(*paths))
    atomic_write(tmp_path / "a", b"a")
    with atomic_path(tmp_path / "b") as temporary:
        (temporary / "c").mkdir(parents=True)
        (temporary / "c" / "d").write_bytes(b"d")
    assert calls == [("fsync", b"a"), "rename", ("fsync", b"d"), "rename"]


def test_several_files_are_complete_before_the_first_is_renamed(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"before")
    calls = []
    sync, replace = os.fsync, os.replace

    def fsync(file):
        calls.append("fsync")
        sync(file)

    def write(content):
        with atomic_paths([tmp_path / "a", tmp_path / "b"]) as temporaries:
            for temporary in temporaries:
                temporary.write_bytes(content)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", lambda *paths: calls.append("rename") or replace(*paths))
    write(b"after")
    assert calls == ["fsync", "fsync", "rename", "rename"]
    assert [(tmp_path / name).read_bytes() for name in names(tmp_path)] == [b"after"] * 2
    (tmp_path / "b").unlink()
    (tmp_path / "b" / "c").mkdir(parents=True)
    with pytest.raises(OSError, match="not empty") as caught:
        write(b"lost")
    assert caught.value.filename == str(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == b"after"
    assert names(tmp_path) == ["a", "b"]


def test_what_killed_processes_left_is_removed(tmp_path):
    kept = [".0123456789abcdef", ".gitignore", ".notes.txt", "0123456789abcdef.mid"]
    old = [".0123456789abcde0.mid", ".ffffffffffffffff"]
    (tmp_path / old[1]).mkdir()
    (tmp_path / old[1] / "weights").touch()
    for name in (*kept, old[0]):
        (tmp_path / name).touch()
    for name in (*kept[1:], *old):
        os.utime(tmp_path / name, (0, 0))
    remove_temporaries(tmp_path)
    assert names(tmp_path) == kept
    remove_temporaries(tmp_path, seconds=0)
    assert names(tmp_path) == kept[1:]


def test_an_error_leaves_what_was_there(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"before")

    def stop_while_writing(target, write):
        with atomic_path(target) as temporary:
            write(temporary)
            raise KeyError

    with pytest.raises(KeyError):
        stop_while_writing(path, lambda temporary: temporary.write_bytes(b"half"))
    with pytest.raises(KeyError):
        stop_while_writing(tmp_path / "b", pathlib.Path.mkdir)
    assert path.read_bytes() == b"before"
    assert names(tmp_path) == ["a"]


def test_the_error_names_the_path_that_was_asked_for(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    os.mkfifo(tmp_path / "pipe")
    cases = {
        "none/a": errno.ENOENT,
        "file/a": errno.ENOTDIR,
        "full": errno.ENOTEMPTY,
        "pipe": errno.EINVAL,
    }
    for name, number in cases.items():
        with pytest.raises(OSError, match=str(tmp_path / name)) as raised:
            atomic_write(tmp_path / name, b"")
        assert raised.value.errno == number
    with pytest.raises(OSError, match="/dev/null"):
        atomic_write("/dev/null", b"")
    assert pathlib.Path("/dev/null").is_char_device()
    assert names(tmp_path) == ["file", "full", "pipe"]


def test_json_that_cannot_be_written_leaves_what_was_there(tmp_path):
    path = tmp_path / "x.json"
    atomic_write_json(path, {"a": [1, None]})
    with pytest.raises(ValueError, match="not JSON compliant"):
        atomic_write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": [1, None]}
    assert names(tmp_path) == ["x.json"]


def test_a_link_stays_and_its_target_is_written(tmp_path):
    (tmp_path / "link").symlink_to("target")
    atomic_write(tmp_path / "link", b"x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"x"


@pytest.mark.parametrize("size", [1, 100_000])
def test_a_full_disk_leaves_what_was_there(tmp_path, size):
    """The error comes with write() for a large file, and with close() for a buffered one."""
    path = tmp_path / "a"
    path.write_bytes(b"before")
    code = FULL_DISK.format(size // 2) + (
        "from bundles.atomic_files import atomic_write\n"
        f"try: atomic_write({str(path)!r}, bytes({size}))\n"
        "except OSError as error: print(error.strerror, error.filename)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"File too large {path}\n"
    assert path.read_bytes() == b"before"
    assert names(tmp_path) == ["a"]
