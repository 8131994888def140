"""Files from strangers: only regular ones are read, and no more of them than a limit."""

import json
import os
import stat
from typing import Any, BinaryIO

from bundles.errors import PerfRnnError

MAX_JSON_BYTES = 1 << 20


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Opens a file for reading bytes; it never waits, as for the writer of a pipe.

    Raises:
      PerfRnnError: it is a pipe, a device or a socket.
      OSError: it cannot be read.
    """
    file = open(path, "rb", opener=_open_at_once)  # noqa: SIM115  # The caller closes it.
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise PerfRnnError(f"{os.fspath(path)}: not a regular file")
    return file


def read_regular(path: str | os.PathLike[str], limit: int) -> bytes:
    """Returns the content of a file of at most `limit` bytes; otherwise as `open_regular`."""
    with open_regular(path) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise PerfRnnError(f"{os.fspath(path)}: more than {limit} bytes")
    return data


def read_json(path: str | os.PathLike[str]) -> Any:
    """Returns the value of a JSON file of at most a MiB.

    Raises:
      PerfRnnError: it is no such file.
      OSError: it cannot be read.
    """
    try:
        return json.loads(read_regular(path, MAX_JSON_BYTES))
    except PerfRnnError:
        raise
    except (ValueError, RecursionError) as error:
        raise PerfRnnError(f"{os.fspath(path)}: not JSON ({error})") from error


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
