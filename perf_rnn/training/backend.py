"""The part of training that depends on Keras's backend: one module for each."""

import importlib
from typing import Any

import keras

from bundles.errors import PerfRnnError

_MODULES = {
    "tensorflow": "perf_rnn.training.tensorflow_step",
    "jax": "perf_rnn.training.jax_step",
}


def load() -> Any:
    """Returns the module with `Devices`, `compile_forward` and `fast_dtype_policy`.

    Raises:
      PerfRnnError: Keras runs on another backend.
    """
    name = keras.backend.backend()
    if name not in _MODULES:
        raise PerfRnnError(
            f"Keras runs on {name}, with which nothing can be trained here; set KERAS_BACKEND to "
            f"{' or '.join(_MODULES)}"
        )
    return importlib.import_module(_MODULES[name])
