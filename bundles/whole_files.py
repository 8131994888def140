"""Files and directories that appear under their name whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from bundles.bundle import BundleError


@contextlib.contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a temporary path beside `path`; what was written there takes `path`'s place at the end.

    A file replaces the file that was there, a directory only an empty one. After an error, `path`
    is what it was before. The temporary name has the suffix of `path`.

    Raises:
        BundleError: what is written cannot take its place, or OSError was raised meanwhile.
    """
    path = Path(path)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        if path.is_dir() and any(path.iterdir()):
            raise BundleError(f"{path}: cannot be written: a directory that is not empty is there")
        try:
            yield temporary
            os.replace(temporary, path)
        finally:
            if temporary.is_dir():
                shutil.rmtree(temporary)
            else:
                temporary.unlink(missing_ok=True)
    except OSError as error:
        raise BundleError(f"{path}: cannot be written: {error.strerror}") from error
