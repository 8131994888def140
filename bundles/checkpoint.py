"""TensorFlow's V1 checkpoints, the one-file kind that a bundle holds, as bytes.

Files may be hostile: structure and checksums are checked, and sizes are compared with the number of
bytes before any array is made. Checkpoints of the simple layout that this package writes are read
without TensorFlow, whose import takes seconds. All others, damaged ones included, are passed to
TensorFlow's own reader.
"""

from __future__ import annotations

import errno
import itertools
import math
import os
import struct
import tempfile
from collections.abc import Iterator, Mapping

import numpy as np

from bundles.bundle import BundleError, printable

_TABLE_MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
_FOOTER_BYTES, _TRAILER_BYTES = 48, 5
_MAX_AXES = 8  # Of a variable; NumPy has no more than 64.
# Snappy, which compresses the checkpoint's blocks, expands 3 bytes to at most 64.
_MAX_EXPANSION = 64 / 3


def read_checkpoint(data: bytes) -> dict[str, np.ndarray]:
    """Returns name -> value of all variables in a V1 checkpoint.

    The values take at most some twenty times as many bytes as `data`.

    Raises:
        BundleError: `data` is damaged, is no V1 checkpoint, or claims more than it can hold.
    """
    # TensorFlow would also log this error.
    if not data.endswith(_TABLE_MAGIC):
        raise BundleError("its checkpoint is not a whole V1 checkpoint")
    try:
        return _read_simple(data)
    except _NotSimpleError:
        return _read_with_tensorflow(data)


def _read_with_tensorflow(data: bytes) -> dict[str, np.ndarray]:
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "checkpoint")
        with open(path, "wb") as file:
            file.write(data)
        try:
            reader = tf.train.load_checkpoint(path)
            shapes = reader.get_variable_to_shape_map()
            claimed = 4 * sum(math.prod(shape) for shape in shapes.values())
            if claimed > len(data) * _MAX_EXPANSION:
                raise BundleError(
                    f"its checkpoint of {len(data):,} bytes claims {claimed:,} bytes of weights"
                )
            return {name: reader.get_tensor(name) for name in shapes}
        except BundleError:
            raise
        # What TensorFlow's reader raises, depending on where the damage sits.
        except (tf.errors.OpError, RuntimeError, TypeError, ValueError) as error:
            reason = printable(str(error).replace(path, "it"), limit=200)
            raise BundleError(f"its checkpoint is damaged: {reason}") from error


class _NotSimpleError(Exception):
    """A checkpoint is damaged, or not of the simple layout."""


def _read_simple(data: bytes) -> dict[str, np.ndarray]:
    """Reads a checkpoint of uncompressed blocks and unpartitioned float32 variables.

    It is a table of LevelDB's format: sorted keys in blocks, a block of the blocks' ends, a footer.
    The values are protos: the first lists names and shapes, each of the others holds a variable.

    Raises:
        _NotSimpleError: it has another layout, or is damaged.
    """
    from google.protobuf.message import DecodeError

    from bundles.tensorflow_protos import DT_FLOAT, SavedTensorSlices

    try:
        _, at = _read_handle(data, len(data) - _FOOTER_BYTES)
        index, _ = _read_handle(data, at)
        handles = [_read_handle(value, 0)[0] for value in _values(_block(data, index))]
        # No block is read twice, or a small file could list one block under many names and fill the
        # memory.
        for (offset, size), (following, _) in itertools.pairwise(handles):
            if offset + size > following:
                raise _NotSimpleError
        protos = [
            SavedTensorSlices.FromString(value)
            for handle in handles
            for value in _values(_block(data, handle))
        ]
    except (DecodeError, IndexError, struct.error) as error:
        raise _NotSimpleError from error
    if not protos:
        raise _NotSimpleError
    variables = {}
    for proto in protos[1:]:
        variables[proto.data.name] = np.array(proto.data.data.float_val, np.float32)
    for listed in protos[0].meta.tensor:
        shape = [axis.size for axis in listed.shape.dim]
        value = variables.get(listed.name)
        if (
            listed.type != DT_FLOAT
            or value is None
            or min(shape, default=0) < 0
            or math.prod(shape) != value.size
            or len(shape) > _MAX_AXES
            or len(listed.slice) != 1
            or any(extent.HasField("length") for extent in listed.slice[0].extent)
        ):
            raise _NotSimpleError
        variables[listed.name] = value.reshape(shape)
    if len(protos[0].meta.tensor) != len(variables) or len(variables) != len(protos) - 1:
        raise _NotSimpleError
    return variables


def _block(data: bytes, handle: tuple[int, int]) -> bytes:
    """Returns the content of the block at an offset, of a size."""
    offset, size = handle
    block = data[offset : offset + size + _TRAILER_BYTES]
    if len(block) != size + _TRAILER_BYTES or block[size]:  # 0: not compressed.
        raise _NotSimpleError
    if struct.unpack("<I", block[size + 1 :]) != (masked_crc(block[: size + 1]),):
        raise _NotSimpleError
    return block[:size]


def masked_crc(data: bytes) -> int:
    """Returns the checksum in the files of LevelDB and TensorFlow: CRC32C, masked."""
    import google_crc32c

    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _values(block: bytes) -> Iterator[bytes]:
    """Yields the values of a block; the keys are skipped, as the values hold the names too."""
    (num_restarts,) = struct.unpack("<I", block[-4:])
    end = len(block) - 4 * (num_restarts + 1)
    at = 0
    while at < end:
        _, at = _read_number(block, at)  # How many bytes of the key before this one begins with.
        rest, at = _read_number(block, at)
        size, at = _read_number(block, at)
        at += rest + size
        if at > end:
            raise _NotSimpleError
        yield block[at - size : at]


def _read_handle(data: bytes, at: int) -> tuple[tuple[int, int], int]:
    """Returns an offset and a size, and where they end."""
    offset, at = _read_number(data, at)
    size, at = _read_number(data, at)
    return (offset, size), at


def _read_number(data: bytes, at: int) -> tuple[int, int]:
    """Returns a number in protobuf's variable-length encoding, and where it ends."""
    value = 0
    for shift in range(0, 64, 7):
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return value, at
    raise _NotSimpleError


def write_checkpoint(variables: Mapping[str, np.ndarray]) -> bytes:
    """Returns a V1 checkpoint of the variables, the same bytes as a TensorFlow 1 Saver's.

    Raises:
        OSError: the disk of temporary files, through which it goes, is full.
    """
    import tensorflow as tf

    names = sorted(variables)
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "checkpoint")
        # The op behind `Saver(write_version=V1)`: it needs neither a graph nor a session.
        try:
            with tf.init_scope(), tf.device("CPU:0"):
                tf.raw_ops.Save(
                    filename=path, tensor_names=names, data=[variables[name] for name in names]
                )
        except tf.errors.OpError as error:
            reason = str(error).split("; ")[-1].partition(" [Op:")[0]
            raise OSError(errno.EIO, reason, tempfile.gettempdir()) from error
        with open(path, "rb") as file:
            return file.read()
