"""TensorFlow's V1 checkpoints, the one-file kind that a bundle holds, as bytes.

Reading trusts nothing: TensorFlow's reader checks the file's structure and checksums, and the
sizes it reports are held against the number of bytes there are before any array is made.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Mapping

import numpy as np

from bundles.bundle import BundleError, printable

_TABLE_MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
# Snappy, which packs the checkpoint's blocks, makes at most 64 bytes of 3.
_MAX_EXPANSION = 64 / 3


def read_checkpoint(data: bytes) -> dict[str, np.ndarray]:
    """Returns name -> value of all variables in a V1 checkpoint.

    The values take at most some twenty times as many bytes as `data`.

    Raises:
        BundleError: `data` is damaged, is no V1 checkpoint, or claims more than it can hold.
    """
    # TensorFlow would log this one on its own besides.
    if not data.endswith(_TABLE_MAGIC):
        raise BundleError("its checkpoint is not a whole V1 checkpoint")

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


def write_checkpoint(variables: Mapping[str, np.ndarray]) -> bytes:
    """Returns a V1 checkpoint of the variables, the same bytes as a TensorFlow 1 Saver's."""
    import tensorflow as tf

    names = sorted(variables)
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "checkpoint")
        # The op behind `Saver(write_version=V1)`: it needs neither a graph nor a session.
        with tf.init_scope(), tf.device("CPU:0"):
            tf.raw_ops.Save(
                filename=path, tensor_names=names, data=[variables[name] for name in names]
            )
        with open(path, "rb") as file:
            return file.read()
