"""TFRecord files: read with faults named, and written atomically.

A record is a uint64 length, the length's masked CRC32C, the data, and the data's masked CRC32C, all
little-endian. TensorFlow is not used, since its errors are not OSErrors and its runtime is slow to
start and prints much.
"""

import contextlib
import mmap
import os
import struct
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np

from bundles.atomic_files import atomic_paths
from bundles.checkpoint import masked_crc
from bundles.errors import PerfRnnError
from bundles.regular_files import open_regular

_HEADER = struct.Struct("<QI")
_FOOTER = struct.Struct("<I")


class RecordError(PerfRnnError):
    """A TFRecord file or one of its examples cannot be used; the message says which and why."""


class RecordFile(Sequence[bytes]):
    """The records of an uncompressed TFRecord file, read by number or one after another.

    Opening it reads the lengths only; a record is read, and its checksum verified, when it is asked
    for.
    """

    def __init__(self, path: str):
        """Opens a file.

        Raises:
          OSError: it cannot be read.
          PerfRnnError: it is not a TFRecord file, or is truncated.
        """
        self.path = path
        with open_regular(path) as file:
            # An empty file, which holds no records, cannot be mapped.
            is_empty = not os.fstat(file.fileno()).st_size
            self._data = b"" if is_empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._starts = np.fromiter(self._record_starts(), np.int64)

    def __reduce__(self) -> tuple[type, tuple[str]]:
        return type(self), (self.path,)  # Another process opens the file itself.

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: Any) -> Any:
        """Returns record `index`.

        Raises:
          RecordError: it is corrupt.
        """
        start = int(self._starts[index])
        length, _ = _HEADER.unpack_from(self._data, start)
        end = start + _HEADER.size + length
        data = self._data[start + _HEADER.size : end]
        if _FOOTER.unpack_from(self._data, end) != (masked_crc(data),):
            raise RecordError(f"{self.path}: is corrupt (at byte {start}); make it again")
        return data

    def _record_starts(self) -> Iterator[int]:
        start, size = 0, len(self._data)
        while start < size:
            header = self._data[start : start + _HEADER.size]
            length, checksum = _HEADER.unpack(header.ljust(_HEADER.size, b"\0"))
            if len(header) == _HEADER.size and masked_crc(header[:8]) != checksum:
                fault = "is corrupt" if start else "is no uncompressed TFRecord file"
                raise RecordError(f"{self.path}: {fault} (at byte {start})")
            end = start + _HEADER.size + length + _FOOTER.size
            if len(header) < _HEADER.size or end > size:
                raise RecordError(f"{self.path}: is truncated (at byte {start}); make it again")
            yield start
            start = end


class RecordWriter:
    """Writes records to an open file."""

    def __init__(self, file: BinaryIO):
        self._file = file

    def write(self, data: bytes) -> None:
        length = struct.pack("<Q", len(data))
        self._file.write(
            b"".join(
                (length, _FOOTER.pack(masked_crc(length)), data, _FOOTER.pack(masked_crc(data)))
            )
        )

    def write_framed(self, records: bytes) -> None:
        """Writes complete records, with lengths and checksums, that another writer has made."""
        self._file.write(records)


@contextlib.contextmanager
def open_writers(paths: Sequence[str]) -> Iterator[list[RecordWriter]]:
    """Opens TFRecord files for writing; they appear under `paths` when the block ends.

    Until then each has a temporary name in the same directory. They get their own when all of them
    are complete, and are removed if the block ends in an exception, so that no path ever holds half
    of a file.

    Raises:
      OSError: a file cannot be written.
    """
    for path in paths:
        if os.path.isdir(path):
            raise IsADirectoryError(f"{path}: is a directory, not a file")
    with contextlib.ExitStack() as stack:
        temporaries = stack.enter_context(atomic_paths(paths))
        # All are closed, the last thing that may fail, before the first gets its name.
        files = [stack.enter_context(open(temporary, "wb")) for temporary in temporaries]
        yield [RecordWriter(file) for file in files]
