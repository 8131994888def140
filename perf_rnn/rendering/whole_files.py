"""Files that appear whole or not at all."""

import contextlib
import os
from collections.abc import Iterator
from typing import BinaryIO


@contextlib.contextmanager
def new_file(path: str) -> Iterator[BinaryIO]:
    """Opens a file that gets its name once all is written; after an error there is none."""
    temporary = f"{path}.tmp"
    try:
        with open(temporary, "wb") as file:
            yield file
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)
