"""What a bundle holds, as plain NumPy arrays in Keras' layout."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from bundles.errors import PerfRnnError

# Magenta 2.1.4 uses 40. A state of so many outputs of 512 units is 32 MiB.
_MAX_ATTENTION_LENGTH = 1 << 14


class BundleError(PerfRnnError):
    """A bundle cannot be read, written or built; the message says which one and why."""


class GeneratorBundleParseError(BundleError):
    """A file is not a GeneratorBundle proto at all (Magenta's name for this error)."""


@dataclasses.dataclass(frozen=True, eq=False)
class Projection:
    """A dense layer without activation: x @ kernel + bias.

    Attributes:
        kernel: float32 [inputs, outputs].
        bias: float32 [outputs].

    Raises:
        BundleError: a weight is not float32 or not finite, or the shapes contradict each other.
    """

    kernel: np.ndarray
    bias: np.ndarray

    def __post_init__(self) -> None:
        _check_weights("kernel", self.kernel, 2)
        _check_weights("bias", self.bias, 1)
        if self.bias.shape[0] != self.kernel.shape[1]:
            raise BundleError(
                f"a kernel of shape {list(self.kernel.shape)} needs a bias of "
                f"[{self.kernel.shape[1]}], not {list(self.bias.shape)}"
            )


@dataclasses.dataclass(frozen=True, eq=False)
class Attention:
    """The weights with which an LSTM of u units and `in` inputs attends to its last outputs.

    It is the attention of TensorFlow 1's AttentionCellWrapper. At each step, with the layer's
    input x, the context a of the step before, the LSTM's new state c and h, and the `length` last
    outputs M_i:

        x' = input(x ++ a), which goes into the LSTM
        s_i = sum(score * tanh(M_i @ memory + query(c ++ h)))
        a' = sum over i of softmax(s)_i * M_i
        y = output(h ++ a'), the layer's output, which takes the oldest place in M

    Attributes:
        length: how many outputs are looked back at; those before the first step are zeros.
        input: [in + u -> in].
        query: [2u -> u].
        memory: float32 [u, u].
        score: float32 [u].
        output: [2u -> u].

    Raises:
        BundleError: the length is below 1, or weights are not float32 or not finite.
    """

    length: int
    input: Projection
    query: Projection
    memory: np.ndarray
    score: np.ndarray
    output: Projection

    def __post_init__(self) -> None:
        if not 1 <= self.length <= _MAX_ATTENTION_LENGTH:
            raise BundleError(
                f"an attention length of {self.length} is not from 1 to {_MAX_ATTENTION_LENGTH:,}"
            )
        _check_weights("attention's memory kernel", self.memory, 2)
        _check_weights("attention's score", self.score, 1)


@dataclasses.dataclass(frozen=True, eq=False)
class LstmLayer:
    """The weights of one LSTM layer of u units, and of what is wrapped around it.

    Columns come in Keras' gate order: input, forget, cell, output, u of each.

    Attributes:
        kernel: float32 [in, 4u], applied to the LSTM's input.
        recurrent_kernel: float32 [u, 4u], applied to the LSTM's last output.
        bias: float32 [4u], as stored: without the forget bias.
        forget_bias: what the cell adds to the forget gate besides its stored bias: 1.0 in
            TensorFlow 1's BasicLSTMCell, 0.0 in Keras, whose own weights hold all of it.
        attention: of the LSTM, inside the residual connection; None if it has none.
        residual: whether the input (in = u) is added to the output.
        input_projection: [input_size -> u], what makes the input of a residual layer u wide.

    Raises:
        BundleError: a weight is not float32 or not finite, or the shapes contradict each other.
    """

    kernel: np.ndarray
    recurrent_kernel: np.ndarray
    bias: np.ndarray
    forget_bias: float
    attention: Attention | None = None
    residual: bool = False
    input_projection: Projection | None = None

    def __post_init__(self) -> None:
        _check_weights("kernel", self.kernel, 2)
        _check_weights("recurrent kernel", self.recurrent_kernel, 2)
        _check_weights("bias", self.bias, 1)
        inputs, units = self.kernel.shape[0], self.units
        gates = 4 * units
        columns = (self.kernel.shape[1], self.recurrent_kernel.shape[1], self.bias.shape[0])
        if columns != (gates, gates, gates):
            raise BundleError(
                f"a layer of {units} units needs {gates} columns in its kernel, recurrent "
                f"kernel and bias, not {columns[0]}, {columns[1]} and {columns[2]}"
            )
        if not np.isfinite(self.forget_bias):
            raise BundleError(f"the forget bias is {self.forget_bias}")
        if self.attention:
            _check_shapes(
                f"attention around an LSTM of {inputs} inputs and {units} units",
                {
                    "input kernel": (self.attention.input.kernel, (inputs + units, inputs)),
                    "query kernel": (self.attention.query.kernel, (2 * units, units)),
                    "memory kernel": (self.attention.memory, (units, units)),
                    "score": (self.attention.score, (units,)),
                    "output kernel": (self.attention.output.kernel, (2 * units, units)),
                },
            )
        if self.residual and inputs != units:
            raise BundleError(
                f"a residual layer of {units} units cannot add its input of {inputs} values"
            )
        if self.input_projection:
            if not self.residual:
                raise BundleError("only a residual layer has an input projection")
            needed = (self.input_projection.kernel.shape[0], inputs)
            projection = {"kernel": (self.input_projection.kernel, needed)}
            _check_shapes(f"the input projection of a layer of {units} units", projection)

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
        """Width of what the whole layer takes, its projections included."""
        outermost = self.input_projection.kernel if self.input_projection else self.kernel
        return int(outermost.shape[0])

    @property
    def units(self) -> int:
        return int(self.recurrent_kernel.shape[0])

    @property
    def num_parameters(self) -> int:
        arrays = [self.kernel, self.recurrent_kernel, self.bias]
        projections = [self.input_projection] if self.input_projection else []
        if self.attention:
            arrays += [self.attention.memory, self.attention.score]
            projections += [self.attention.input, self.attention.query, self.attention.output]
        arrays += [array for part in projections for array in (part.kernel, part.bias)]
        return sum(array.size for array in arrays)


@dataclasses.dataclass(frozen=True, eq=False)
class Bundle:
    """A trained network and its metadata.

    The network is a stack of LSTM layers and a dense output layer. As in Magenta 2.1.4, only the
    first layer may have attention, and either every layer is residual or none; of residual ones,
    the first has an input projection, and so has each of another size than the layer below.

    Attributes:
        id: the id of the generator that plays it, usually its config's key.
        description: what that generator is.
        bundle_description: what this bundle is.
        layers: the LSTM layers, from input to output.
        output_kernel: float32 [units of the last layer, classes].
        output_bias: float32 [classes].
        extra: facts of ours, such as hparams, a training summary and the library's version:
            names to values that JSON can hold. Magenta does not see them.
        head_sizes: into how many classes each head chooses; together they are all classes. One
            head of all classes if not given.
        index_input: whether Magenta's graph takes the index of an event instead of the vector that
            the network sees, which is one-hot then ("compact").

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
    head_sizes: tuple[int, ...] = ()
    index_input: bool = False

    def __post_init__(self) -> None:
        if not self.id:
            raise BundleError("the bundle has no generator id")
        if not self.layers:
            raise BundleError("the bundle has no LSTM layer")
        self._check_stack()
        _check_weights("output kernel", self.output_kernel, 2)
        _check_weights("output bias", self.output_bias, 1)
        needed = (self.layers[-1].units, self.num_classes)
        if self.output_kernel.shape != needed:
            raise BundleError(
                f"the output kernel has shape {list(self.output_kernel.shape)}; the last layer "
                f"and the output bias ask for {list(needed)}"
            )
        if not self.head_sizes:
            object.__setattr__(self, "head_sizes", (self.num_classes,))
        if min(self.head_sizes) < 1 or sum(self.head_sizes) != self.num_classes:
            raise BundleError(
                f"heads of {list(self.head_sizes)} classes are not {self.num_classes} classes"
            )
        if self.index_input and self.head_sizes != (self.input_size,):
            raise BundleError(
                f"an event of {list(self.head_sizes)} classes cannot be given by its index to a "
                f"network that takes {self.input_size} values"
            )

    def _check_stack(self) -> None:
        for index, layer in enumerate(self.layers):
            if index and layer.attention:
                raise BundleError(f"layer {index} has attention; only layer 0 can have it")
            if layer.residual != self.residual_connections:
                raise BundleError("some layers are residual and some are not")
            below = self.layers[index - 1].units if index else None
            if below is not None and layer.input_size != below:
                raise BundleError(
                    f"layer {index} takes {layer.input_size} values but layer {index - 1} "
                    f"gives {below}"
                )
            projects = layer.residual and layer.units != below
            if projects != bool(layer.input_projection):
                raise BundleError(
                    f"layer {index} of {layer.units} units "
                    f"{'lacks an' if projects else 'needs no'} input projection"
                )

    @property
    def layer_sizes(self) -> list[int]:
        """Units of every LSTM layer, from input to output."""
        return [layer.units for layer in self.layers]

    @property
    def attn_length(self) -> int:
        """How many outputs the first layer's attention looks back at; 0 without attention."""
        return self.layers[0].attention.length if self.layers[0].attention else 0

    @property
    def residual_connections(self) -> bool:
        """Whether the layers are residual."""
        return self.layers[0].residual

    @property
    def input_size(self) -> int:
        """Width of the network's input vector."""
        return self.layers[0].input_size

    @property
    def num_classes(self) -> int:
        """Classes of all heads together."""
        return int(self.output_bias.shape[0])

    @property
    def num_parameters(self) -> int:
        layers = sum(layer.num_parameters for layer in self.layers)
        return int(layers + self.output_kernel.size + self.output_bias.size)


def printable(text: str, limit: int = 100) -> str:
    """Returns text from a file fit for an error line: escaped to ASCII, and cut if long."""
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


def _check_shapes(what: str, arrays: Mapping[str, tuple[np.ndarray, tuple[int, ...]]]) -> None:
    for name, (array, needed) in arrays.items():
        if array.shape != needed:
            raise BundleError(
                f"{what} needs {list(needed)} for its {name}, not {list(array.shape)}"
            )
