"""Training checkpoints: one file of NumPy arrays each, the same for every Keras backend.

`ckpt-STEP.npz` is an uncompressed .npz file, whose members numpy.load reads too. Floats are stored
as float32 and integers as int64.
"""

import os
import re
import time
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundles.atomic_files import atomic_path
from bundles.errors import PerfRnnError

Arrays = dict[str, NDArray[Any]]

_NAME = re.compile(r"ckpt-(\d+)\.npz")


class CheckpointError(PerfRnnError):
    """A checkpoint cannot be used; the message says which and why."""


def list_checkpoints(directory: str) -> list[str]:
    """Returns the paths of the checkpoints in a directory, the newest last.

    Raises:
      CheckpointError: it holds checkpoints of TensorFlow's format alone, which earlier versions of
        perf_rnn wrote.
    """
    try:
        names = os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = sorted((int(match[1]), name) for name in names if (match := _NAME.fullmatch(name)))
    if not found and "checkpoint" in names:
        raise CheckpointError(
            f"{directory}: these checkpoints are of an earlier version of perf_rnn, with which the "
            "run can be exported as a bundle; train on from that in a new --run_dir, with "
            "--warm_start_bundle_file"
        )
    return [os.path.join(directory, name) for _, name in found]


def new_checkpoints(directory: str, seconds: float = 5.0) -> Iterator[str]:
    """Yields the newest checkpoint of a directory, and then each time that there is a newer one.

    Args:
      directory: which need not exist yet.
      seconds: between two looks at the directory.
    """
    last = None
    while True:
        newest = list_checkpoints(directory)[-1:]
        if newest and newest[0] != last:
            last = newest[0]
            yield last
        else:
            time.sleep(seconds)


def write_checkpoint(directory: str, step: int, arrays: Mapping[str, NDArray[Any]]) -> str:
    """Writes a checkpoint atomically; returns its path.

    Args:
      directory: which exists.
      step: training steps taken.
      arrays: by name.

    Raises:
      OSError: it cannot be written.
    """
    path = os.path.join(directory, f"ckpt-{step}.npz")
    stored: dict[str, Any] = {
        name: array.astype(_stored_type(array)) for name, array in arrays.items()
    }
    with atomic_path(path) as temporary:
        np.savez(temporary, **stored)
    return path


def read_checkpoint(path: str, like: Mapping[str, NDArray[Any]]) -> Arrays:
    """Reads arrays of a checkpoint, which may hold others too.

    Args:
      path: of the checkpoint.
      like: arrays of the shapes and kinds (floating-point or integer) that must be there, by name.

    Returns:
      The arrays by the same names, in the types of those in `like`.

    Raises:
      CheckpointError: the file is damaged, or its arrays are not like those.
      OSError: it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as file:
            return {name: _read(file, name, array) for name, array in like.items()}
    except (zipfile.BadZipFile, ValueError, KeyError, EOFError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"{path}: damaged, or another network's checkpoint ({reason})"
        ) from error


def restore_weights(network: Any, path: str) -> int:
    """Sets a Keras network's weights to a checkpoint's; returns the training steps it has seen.

    Raises:
      CheckpointError: the checkpoint is damaged, or is another network's.
      OSError: it cannot be read.
    """
    weights = {f"network/{weight.path}": weight for weight in network.weights}
    like = {name: np.asarray(weight) for name, weight in weights.items()}
    arrays = read_checkpoint(path, {"step": np.array(0), **like})
    for name, weight in weights.items():
        weight.assign(arrays[name])
    return int(arrays["step"])


def _read(file: zipfile.ZipFile, name: str, like: NDArray[Any]) -> NDArray[Any]:
    info = file.getinfo(f"{name}.npy")
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
        raise ValueError(f"{name} is compressed or encrypted")
    with file.open(info) as member:
        version = np.lib.format.read_magic(member)
        if version != (1, 0):
            raise ValueError(f"{name} is of format {version}")
        shape, _, dtype = np.lib.format.read_array_header_1_0(member)
        # Looked at before any memory is taken for it.
        if shape != like.shape or dtype != _stored_type(like):
            raise ValueError(f"{name} is {dtype} {list(shape)}, not {list(like.shape)}")
        size = like.size * dtype.itemsize
        data = member.read(size + 1)  # Reading past the end verifies the checksum.
    if len(data) != size:
        raise ValueError(f"{name} has {len(data)} bytes, not {size}")
    return np.frombuffer(data, dtype).reshape(shape).astype(like.dtype)


def _stored_type(array: NDArray[Any]) -> np.dtype[Any]:
    return np.dtype("<f4" if array.dtype.kind == "f" else "<i8")


def prune_checkpoints(directory: str, keep: int) -> None:
    """Removes all checkpoints but the `keep` newest; 0 keeps all."""
    for path in list_checkpoints(directory)[:-keep] if keep else []:
        os.remove(path)
