"""What a bundle holds, as plain NumPy arrays in Keras' layout."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np


class BundleError(ValueError):
    """A bundle cannot be read, written or built; the message says which one and why."""


class GeneratorBundleParseError(BundleError):
    """A file is not a GeneratorBundle proto at all (Magenta's name for this error)."""


@dataclasses.dataclass(frozen=True, eq=False)
class LstmLayer:
    """The weights of one LSTM layer of u units.

    Columns come in Keras' gate order: input, forget, cell, output, u of each.

    Attributes:
        kernel: float32 [inputs, 4u], applied to the layer's input.
        recurrent_kernel: float32 [u, 4u], applied to the layer's last output.
        bias: float32 [4u], as stored: without the forget bias.
        forget_bias: what the cell adds to the forget gate besides its stored bias: 1.0 in
            TensorFlow 1's BasicLSTMCell, 0.0 in Keras, whose own weights hold all of it.

    Raises:
        BundleError: a weight is not float32 or not finite, or the shapes contradict each other.
    """

    kernel: np.ndarray
    recurrent_kernel: np.ndarray
    bias: np.ndarray
    forget_bias: float

    def __post_init__(self) -> None:
        _check_weights("kernel", self.kernel, 2)
        _check_weights("recurrent kernel", self.recurrent_kernel, 2)
        _check_weights("bias", self.bias, 1)
        gates = 4 * self.units
        columns = (self.kernel.shape[1], self.recurrent_kernel.shape[1], self.bias.shape[0])
        if columns != (gates, gates, gates):
            raise BundleError(
                f"a layer of {self.units} units needs {gates} columns in its kernel, recurrent "
                f"kernel and bias, not {columns[0]}, {columns[1]} and {columns[2]}"
            )
        if not np.isfinite(self.forget_bias):
            raise BundleError(f"the forget bias is {self.forget_bias}")

    def bias_for(self, forget_bias: float) -> np.ndarray:
        """The bias [4u] for a cell that adds `forget_bias`; exact if that is this layer's own."""
        bias = self.bias.copy()
        if forget_bias != self.forget_bias:
            bias[self.units : 2 * self.units] += np.float32(self.forget_bias - forget_bias)
        return bias

    @property
    def keras_bias(self) -> np.ndarray:
        """The bias [4u] as a Keras LSTM takes it: with the forget bias added."""
        return self.bias_for(0.0)

    @property
    def input_size(self) -> int:
        return int(self.kernel.shape[0])

    @property
    def units(self) -> int:
        return int(self.recurrent_kernel.shape[0])


@dataclasses.dataclass(frozen=True, eq=False)
class Bundle:
    """A trained network and what is to be known of it.

    The network is a stack of LSTM layers and a dense output layer.

    Attributes:
        id: the id of the generator that plays it, usually its config's key.
        description: what that generator is.
        bundle_description: what this bundle is.
        layers: the LSTM layers, from input to output.
        output_kernel: float32 [units of the last layer, classes].
        output_bias: float32 [classes].
        extra: facts of ours, such as hparams, a training summary and the library's version:
            names to values that JSON can hold. Magenta does not see them.

    Raises:
        BundleError: no id, no layer, weights that are not float32 or not finite, or shapes that
            do not fit together.
    """

    id: str
    description: str
    bundle_description: str
    layers: tuple[LstmLayer, ...]
    output_kernel: np.ndarray
    output_bias: np.ndarray
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.id:
            raise BundleError("the bundle has no generator id")
        if not self.layers:
            raise BundleError("the bundle has no LSTM layer")
        for index in range(1, len(self.layers)):
            below, layer = self.layers[index - 1], self.layers[index]
            if layer.input_size != below.units:
                raise BundleError(
                    f"layer {index} takes {layer.input_size} values but layer {index - 1} "
                    f"gives {below.units}"
                )
        _check_weights("output kernel", self.output_kernel, 2)
        _check_weights("output bias", self.output_bias, 1)
        needed = (self.layers[-1].units, self.num_classes)
        if self.output_kernel.shape != needed:
            raise BundleError(
                f"the output kernel has shape {list(self.output_kernel.shape)}; the last layer "
                f"and the output bias ask for {list(needed)}"
            )

    @property
    def layer_sizes(self) -> list[int]:
        """Units of every LSTM layer, from input to output."""
        return [layer.units for layer in self.layers]

    @property
    def input_size(self) -> int:
        """Width of the network's input vector."""
        return self.layers[0].input_size

    @property
    def num_classes(self) -> int:
        return int(self.output_bias.shape[0])

    @property
    def num_parameters(self) -> int:
        lstm = sum(x.kernel.size + x.recurrent_kernel.size + x.bias.size for x in self.layers)
        return int(lstm + self.output_kernel.size + self.output_bias.size)


def printable(text: str, limit: int = 100) -> str:
    """Returns a stranger's text fit for an error line: escaped to ASCII, and cut if long."""
    escaped = ascii(text[:limit])[1:-1]
    return f"{escaped}..." if len(text) > limit else escaped


def _check_weights(name: str, weights: np.ndarray, rank: int) -> None:
    if not isinstance(weights, np.ndarray) or weights.dtype != np.float32:
        kind = getattr(weights, "dtype", type(weights).__name__)
        raise BundleError(f"the {name} must be a float32 array, not {kind}")
    if weights.ndim != rank or 0 in weights.shape:
        raise BundleError(f"the {name} has shape {list(weights.shape)}; it needs {rank} axes > 0")
    if not np.isfinite(weights).all():
        raise BundleError(f"the {name} holds NaN or infinite values")
