"""TFRecord files: read with faults named, and written whole or not at all.

A record is a uint64 length, its masked CRC32C, the data, and the data's, little-endian. That
is read and written here without TensorFlow, whose errors are no OSErrors and whose runtime is slow
and noisy to start.
"""

import contextlib
import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

import google_crc32c

_HEADER = struct.Struct("<QI")
_FOOTER = struct.Struct("<I")


def read_records(path: str) -> Iterator[bytes]:
    """Yields the records of an uncompressed TFRecord file.

    Raises:
      OSError: the file cannot be read.
      ValueError: it is no TFRecord file, or is truncated or corrupt.
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        start = 0
        while start < size:
            header = file.read(_HEADER.size)
            length, checksum = _HEADER.unpack(header.ljust(_HEADER.size, b"\0"))
            if len(header) == _HEADER.size and _masked_crc(header[:8]) != checksum:
                fault = "is corrupt" if start else "is no uncompressed TFRecord file"
                raise ValueError(f"{path}: {fault} (at byte {start})")
            end = start + _HEADER.size + length + _FOOTER.size
            if len(header) < _HEADER.size or end > size:
                raise ValueError(f"{path}: is truncated (at byte {start}); make it again")
            data = file.read(length)
            if _FOOTER.unpack(file.read(_FOOTER.size)) != (_masked_crc(data),):
                raise ValueError(f"{path}: is corrupt (at byte {start}); make it again")
            yield data
            start = end


class RecordWriter:
    """Writes records to an open file."""

    def __init__(self, file: BinaryIO):
        self._file = file

    def write(self, data: bytes) -> None:
        length = struct.pack("<Q", len(data))
        self._file.write(
            b"".join(
                (length, _FOOTER.pack(_masked_crc(length)), data, _FOOTER.pack(_masked_crc(data)))
            )
        )


def make_directory(path: str) -> None:
    """Makes a directory, and those above it, unless it is there.

    Raises:
      OSError: it cannot be made, or a file has its name.
    """
    if os.path.exists(path) and not os.path.isdir(path):
        raise NotADirectoryError(f"{path}: is a file, not a directory")
    os.makedirs(path, exist_ok=True)


@contextlib.contextmanager
def open_writer(path: str) -> Iterator[RecordWriter]:
    """Opens a TFRecord file for writing; it appears under `path` when the block ends.

    Until then it has a temporary name in the same directory, and it is removed if the block ends
    in an exception, so that `path` never holds half of a file.

    Raises:
      OSError: the file cannot be written.
    """
    if os.path.isdir(path):
        raise IsADirectoryError(f"{path}: is a directory, not a file")
    temporary = f"{path}.{os.getpid()}.partial"
    try:
        with open(temporary, "wb") as file:
            yield RecordWriter(file)
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.remove(temporary)


def _masked_crc(data: bytes) -> int:
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
