"""Files and directories that appear under their name whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a temporary path beside `path`; what was written there takes `path`'s place at the end.

    A file replaces the file that was there, a directory only an empty one. After an error, `path`
    is what it was before. The temporary name has the suffix of `path`.

    Raises:
        OSError: what is written cannot take its place; it names `path`.
    """
    path = Path(path)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        if path.is_dir() and any(path.iterdir()):
            raise OSError(errno.ENOTEMPTY, "Is a directory that is not empty", str(path))
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        if error.strerror and error.filename in (None, str(temporary)):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                temporary.unlink()
