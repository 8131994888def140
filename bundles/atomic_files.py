"""Atomic writes: a file or directory appears under its name complete, or not at all."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO


def atomic_write(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes `data` to the file `path`; see `atomic_path`."""
    with atomic_open(path) as file:
        file.write(data)


def atomic_write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes `value` to the file `path` as JSON; see `atomic_path`.

    Raises:
      ValueError: a number in it is not finite, which JSON cannot hold.
    """
    atomic_write(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


@contextlib.contextmanager
def atomic_open(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Opens a file for writing bytes that becomes `path` at the end; see `atomic_path`."""
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        yield file


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary path beside `path`; see `atomic_paths`."""
    with atomic_paths([path]) as (temporary,):
        yield temporary


@contextlib.contextmanager
def atomic_paths(paths: Sequence[str | os.PathLike[str]]) -> Iterator[list[Path]]:
    """Yields a temporary path beside each path; the file or directory there becomes it at the end.

    A file replaces the file that was there, a directory only an empty one; a link is followed.
    What was written to all of them is on the disk (fsync) before the first is renamed. After an
    error, each path is what it was before. The temporary name has the suffix of the path.

    Raises:
      OSError: a path cannot be written, as on a full disk; it names the path.
    """
    targets = [Path(os.path.realpath(path)) for path in paths]
    temporaries = [t.with_name(f".{secrets.token_hex(8)}{t.suffix}") for t in targets]
    try:
        for path, target in zip(paths, targets, strict=True):
            if target.is_dir() and any(target.iterdir()):
                raise OSError(errno.ENOTEMPTY, "Is a directory that is not empty", os.fspath(path))
            if target.exists() and not target.is_file() and not target.is_dir():
                # Renaming would put a file in the place of a device such as /dev/null.
                raise OSError(errno.EINVAL, "Is not a regular file", os.fspath(path))
        yield temporaries
        for temporary in temporaries:
            for written in [temporary, *temporary.rglob("*")]:
                if written.is_file():
                    with open(written, "r+b") as file:
                        os.fsync(file)
        for temporary, target in zip(temporaries, targets, strict=True):
            os.replace(temporary, target)
    except OSError as error:
        for path, temporary in zip(paths, temporaries, strict=True):
            if error.strerror and str(error.filename or temporary).startswith(str(temporary)):
                raise OSError(error.errno, error.strerror, os.fspath(path)) from error
        raise
    finally:
        for temporary in temporaries:
            _remove(temporary)


def remove_temporaries(directory: str | os.PathLike[str], seconds: float = 86400) -> None:
    """Removes the temporary files and directories that killed processes left in a directory.

    Args:
      directory: where they are; nothing is removed from its subdirectories.
      seconds: for how long they have not been written to. Those of running processes are younger.
    """
    for path in Path(directory).glob(f".{'[0-9a-f]' * 16}*"):
        with contextlib.suppress(OSError):  # Another process removed it, or it is not ours.
            if time.time() - path.stat().st_mtime >= seconds:
                _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()


def make_directory(path: str) -> None:
    """Makes a directory, and those above it, unless it is there.

    Raises:
      OSError: it cannot be made, or a file has its name.
    """
    if os.path.exists(path) and not os.path.isdir(path):
        raise NotADirectoryError(f"{path}: is a file, not a directory")
    os.makedirs(path, exist_ok=True)
