"""TFRecord files: read with faults named, and written whole or not at all."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any


def read_records(path: str) -> Iterator[bytes]:
    """Yields the records of an uncompressed TFRecord file.

    Raises:
      OSError: the file cannot be read.
      ValueError: it is no TFRecord file, or is truncated or corrupt.
    """
    import tensorflow as tf

    # Python's own errors for a missing file, a directory or a lack of permission.
    with open(path, "rb"):
        pass
    records = iter(tf.data.TFRecordDataset(path).as_numpy_iterator())
    number = 0
    while True:
        try:
            record = next(records)
        except StopIteration:
            return
        except tf.errors.DataLossError as error:
            fault = "is truncated or corrupt" if number else "is no TFRecord file, or is corrupt"
            raise ValueError(f"{path}: {fault} (at record {number}); make it again") from error
        yield record
        number += 1


def make_directory(path: str) -> None:
    """Makes a directory, and those above it, unless it is there.

    Raises:
      OSError: it cannot be made, or a file has its name.
    """
    if os.path.exists(path) and not os.path.isdir(path):
        raise NotADirectoryError(f"{path}: is a file, not a directory")
    os.makedirs(path, exist_ok=True)


@contextlib.contextmanager
def open_writer(path: str) -> Iterator[Any]:
    """Opens a TFRecord file for writing; it appears under `path` when the block ends.

    Until then it has a temporary name in the same directory, and it is removed if the block ends
    in an exception, so that `path` never holds half of a file.

    Yields:
      A `tf.io.TFRecordWriter`.

    Raises:
      OSError: the file cannot be written.
    """
    import tensorflow as tf

    if os.path.isdir(path):
        raise IsADirectoryError(f"{path}: is a directory, not a file")
    temporary = f"{path}.{os.getpid()}.partial"
    try:
        # TensorFlow's errors are no OSErrors; what can be found out beforehand, Python finds out.
        with open(temporary, "wb"):
            pass
        try:
            with tf.io.TFRecordWriter(temporary) as writer:
                yield writer
        except tf.errors.OpError as error:
            raise OSError(f"{path}: cannot be written: {error.message}") from error
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)
