"""Trained models: a bundle with its config, found by name, by file or by training run."""

from __future__ import annotations

import dataclasses
import difflib
import glob
import io
import itertools
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

import bundles
from bundles import Bundle
from bundles.atomic_files import atomic_write
from bundles.errors import PerfRnnError
from bundles.files import MAX_BUNDLE_BYTES
from bundles.npz_files import read_npz, write_npz
from bundles.regular_files import read_regular
from bundles.variables import variables_from_weights, weights_from_variables
from perf_rnn.configs import PerformanceRnnConfig, configs_of_id, default_configs, get_config

if TYPE_CHECKING:
    from note_seq.protobuf import generator_pb2

DEFAULT_CONFIG = "performance_with_dynamics"

# Too large for the installed package.
_IN_THE_REPOSITORY = "performance_with_dynamics_large"

# The newest checkpoint's network, in a training run's directory of checkpoints.
RUN_BUNDLE_NAME = "model.npz"
_PART_BYTES = 15 * 2**20
_METADATA = (
    *("id", "description", "bundle_description", "extra"),
    *("head_sizes", "index_input", "attn_length"),
)


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
    """A trained network, and the config that says how events and controls are given to it.

    Attributes:
      bundle: the weights.
      config: a config whose networks read and predict what the bundle's does.
      name: where it was loaded from, for messages.

    Raises:
      ValueError: the bundle does not fit the config.
    """

    bundle: Bundle
    config: PerformanceRnnConfig
    name: str = ""

    def __post_init__(self) -> None:
        bundle, config = self.bundle, self.config
        if bundle.input_size != config.input_size:
            raise PerfRnnError(
                f"the bundle {bundle.id!r} reads inputs of {bundle.input_size} numbers; the config "
                f"{config.key!r} gives {config.input_size}"
            )
        if bundle.head_sizes != config.encoding.head_sizes:
            raise PerfRnnError(
                f"the bundle {bundle.id!r} predicts heads of {list(bundle.head_sizes)} classes; "
                f"the config {config.key!r} has {list(config.encoding.head_sizes)}"
            )


# What a model is loaded from, see `load_model`.
Source: TypeAlias = "str | os.PathLike[str] | Bundle | generator_pb2.GeneratorBundle | Model"


def load_model(source: Source, key: str | None = None) -> Model:
    """Returns a trained model.

    Bundles of the compact config and of the dense one that share an id hold the same kind of
    network, so either can be loaded as either.

    Args:
      source: a config's key, whose shipped bundle it is, or the name of another shipped bundle; the
        path of a bundle or of a training run's directory; a bundle, from `bundles.read_bundle` or,
        as a proto, from `bundles.read_bundle_file`; or a Model, which is returned as it is.
      key: of the config that the model must have; None: the one it was made with.

    Raises:
      ValueError: it is none of these, or the network is not of that config or of any.
      OSError: a file cannot be read.
    """
    if isinstance(source, Model) and key in (None, source.config.key):
        return source
    if isinstance(source, Model):
        bundle, name = source.bundle, source.name
    elif isinstance(source, Bundle):
        bundle, name = source, f"a bundle of {source.id}"
    elif isinstance(source, str) and (shipped := shipped_bundle(source)):
        if source in default_configs:
            key = key or source
        bundle = bundles.read_bundle(shipped)
        name = f"the shipped bundle {source}"
    elif isinstance(source, str | os.PathLike):
        path = name = os.path.expanduser(source)
        check_exists(path)
        bundle = bundle_of_run(path) if os.path.isdir(path) else bundles.read_bundle(path)
    elif hasattr(source, "generator_details"):
        bundle = bundles.bundle_from_proto(source)
        name = f"a bundle of {bundle.id}"
    else:
        raise PerfRnnError(
            f"a {type(source).__name__} is no model; give a config's key, the path of a bundle or "
            "of a training run, or what bundles.read_bundle returns"
        )
    return Model(bundle, _config_of(bundle, key), name)


def choose_model(config: str | None, bundle_file: str | None, run_dir: str | None) -> Model:
    """Returns the trained model that a tool's flags name.

    Without a file or a run it is the bundle shipped for `config`, or for `DEFAULT_CONFIG`.

    Raises:
      ValueError: both a file and a run are given, a flag is empty, or as `load_model` has it.
      OSError: a file cannot be read.
    """
    if run_dir and bundle_file:
        raise PerfRnnError("give --run_dir or --bundle_file, not both")
    for flag, value in (("run_dir", run_dir), ("bundle_file", bundle_file)):
        if value == "":
            raise PerfRnnError(f"--{flag} is empty")
    if config in bundles.shipped_bundle_names() and config not in default_configs:
        raise PerfRnnError(f"{config} is a bundle, no config; give --bundle_file={config}")
    if config is not None:
        get_config(config)
    if run_dir:
        return dataclasses.replace(load_model(bundle_of_run(run_dir), config), name=run_dir)
    if bundle_file:
        return load_model(bundle_file, config)
    return load_model(config or DEFAULT_CONFIG, config)


def shipped_bundle(name: str) -> Path | None:
    """Returns the path of a config's shipped bundle, or of another one by its name.

    None: it is neither.

    Raises:
      BundleError: it is a config without a shipped bundle.
    """
    if name in default_configs:
        return bundles.shipped_bundle_path(get_config(name).id)
    return bundles.shipped_bundle_path(name) if name in bundles.shipped_bundle_names() else None


def check_exists(path: str) -> None:
    """Checks that there is a file or directory for what names no shipped bundle.

    Raises:
      PerfRnnError: there is none; the message has the shipped bundles' names.
    """
    if os.path.exists(path):
        return
    if path == _IN_THE_REPOSITORY:
        raise PerfRnnError(
            f"{path}: comes with the repository alone; give the path of bundles/{path}.mag in it"
        )
    names = bundles.shipped_bundle_names()
    keys = [config.key for config in default_configs.values() if config.id in names]
    names = list(dict.fromkeys([*keys, *names]))
    nearest = difflib.get_close_matches(path, names, 1)
    meant = f"; perhaps {nearest[0]}" if nearest else ""
    raise PerfRnnError(
        f"{path}: no such file, nor a shipped bundle{meant}; those are {', '.join(names)}"
    )


def _config_of(bundle: Bundle, key: str | None) -> PerformanceRnnConfig:
    same_id = configs_of_id(bundle.id)
    if not same_id:
        raise PerfRnnError(
            f"the bundle is of generator {bundle.id!r}, which is no Performance RNN; known are: "
            f"{', '.join(dict.fromkeys(config.id for config in default_configs.values()))}"
        )
    if key is None:
        # Where two configs share the id, the one whose graph reads an index is known by that.
        matching = (c for c in same_id if c.encoding.index_input == bundle.index_input)
        return next(matching, same_id[0])
    config = get_config(key)
    if config not in same_id:
        raise PerfRnnError(f"config {key} is asked for, but the model is of config {bundle.id}")
    return config


def write_run_bundle(train_dir: str, bundle: Bundle) -> None:
    """Writes the network of a training run's newest checkpoint, for `bundle_of_run`.

    Unlike a .mag file, whose graph TensorFlow makes, this takes no library but NumPy.

    Args:
      train_dir: the run's directory of checkpoints.
      bundle: the network.

    Raises:
      OSError: it cannot be written.
    """
    metadata = {name: getattr(bundle, name) for name in _METADATA}
    arrays = variables_from_weights(bundle)
    arrays["metadata"] = np.frombuffer(json.dumps(metadata).encode(), np.uint8)
    write_npz(os.path.join(train_dir, RUN_BUNDLE_NAME), arrays)


def copy_run_bundle(train_dir: str, directory: str, dtype: str) -> None:
    """Copies what `write_run_bundle` wrote, for `bundle_of_run`, in parts that fit in a message.

    Args:
      train_dir: the run's directory of checkpoints.
      directory: which gets `model.npz.000`, `model.npz.001` and so on, of 15 MiB and less.
      dtype: of the copied weights, `float32` or `float16`.

    Raises:
      OSError: a file cannot be read or written.
    """
    path = os.path.join(train_dir, RUN_BUNDLE_NAME)
    if dtype != "float32":
        arrays = read_npz(path)
        path = os.path.join(train_dir, f"{dtype}_{RUN_BUNDLE_NAME}")
        write_npz(path, {n: a if a.dtype == "u1" else a.astype(dtype) for n, a in arrays.items()})
    with open(path, "rb") as file:
        for number in itertools.count():
            part = file.read(_PART_BYTES)
            if not part:
                break
            atomic_write(os.path.join(directory, f"{RUN_BUNDLE_NAME}.{number:03}"), part)


def bundle_of_run(path: str) -> Bundle:
    """Returns the network of a training run's newest checkpoint, which may be in parts.

    Raises:
      PerfRnnError: there is no such directory, or it holds no trained network.
      OSError: it cannot be read.
    """
    path = os.path.expanduser(path)
    if not os.path.isdir(path):
        raise PerfRnnError(f"{path}: no such directory")
    file = os.path.join(path, "train", RUN_BUNDLE_NAME)
    parts = [file] if os.path.exists(file) else sorted(glob.glob(f"{glob.escape(file)}.*"))
    if not parts:
        raise PerfRnnError(
            f"{path}: no {os.path.join('train', RUN_BUNDLE_NAME)} of a training run here; training "
            "writes it with each checkpoint; save a run of an earlier version of perf_rnn as a "
            "bundle with that version"
        )
    try:
        # Its checksums tell whether the parts belong together.
        data = b"".join(read_regular(part, MAX_BUNDLE_BYTES) for part in parts)
        arrays = read_npz(io.BytesIO(data))
        metadata = json.loads(arrays.pop("metadata").tobytes())
        length = metadata.pop("attn_length")
        arrays = {n: a.astype("f4") if a.dtype == "f2" else a for n, a in arrays.items()}
        layers, kernel, bias = weights_from_variables(arrays, lambda layer_sizes: length)
        metadata["head_sizes"] = tuple(metadata["head_sizes"])
        return Bundle(layers=layers, output_kernel=kernel, output_bias=bias, **metadata)
    except (PerfRnnError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise PerfRnnError(
            f"{file}: damaged ({error}); the run's next checkpoint mends it"
        ) from error
