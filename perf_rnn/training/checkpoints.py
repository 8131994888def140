"""Training checkpoints: one file of NumPy arrays each, the same for every Keras backend.

`ckpt-STEP.npz` is an uncompressed .npz file, which numpy.load reads too. Floats are stored as
float32 and integers as int64.
"""

import os
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundles.errors import PerfRnnError
from bundles.npz_files import read_npz, write_npz

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
    write_npz(path, arrays)
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
        found = read_npz(path, like)
        for name, array in found.items():
            is_float, should_be = array.dtype.kind == "f", like[name].dtype.kind == "f"
            if array.shape != like[name].shape or is_float != should_be:
                raise PerfRnnError(
                    f"{name} is {array.dtype} {list(array.shape)}, not {list(like[name].shape)}"
                )
    except PerfRnnError as error:
        raise CheckpointError(
            f"{path}: damaged, or another network's checkpoint ({error})"
        ) from error
    return {name: array.astype(like[name].dtype) for name, array in found.items()}


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


def prune_checkpoints(directory: str, keep: int) -> None:
    """Removes all checkpoints but the `keep` newest; 0 keeps all."""
    for path in list_checkpoints(directory)[:-keep] if keep else []:
        os.remove(path)
