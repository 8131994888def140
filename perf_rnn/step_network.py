"""A bundle's network, one event at a time, in NumPy.

On a CPU one step of the network is a few matrix products, and everything a framework adds around
them costs more than they do.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from bundles import Attention, Bundle, LstmLayer
from perf_rnn.configs import PerformanceRnnConfig
from perf_rnn.encodings import EventEncoding

# Up to so many rows are multiplied one by one: each row then comes out the same, bit for bit,
# whatever the others are, which BLAS does not promise of a product of all rows at once. With three
# layers of 512 units this is faster up to 4 rows and takes 1.2 times as long at 10 and 1.6 times at
# 16, but would take 2.4 times at 64.
MAX_INDEPENDENT_ROWS = 16

_BLOCK_BYTES = 1 << 19  # Half of the cache of one core that is large and fast enough.


def check_fits(bundle: Bundle, config: PerformanceRnnConfig) -> None:
    """Raises ValueError if `bundle` does not read and predict what networks of `config` do."""
    if bundle.input_size != config.input_size:
        raise ValueError(
            f"the bundle {bundle.id!r} reads inputs of {bundle.input_size} numbers; the config "
            f"{config.key!r} gives {config.input_size}"
        )
    if bundle.head_sizes != config.encoding.head_sizes:
        raise ValueError(
            f"the bundle {bundle.id!r} chooses among {list(bundle.head_sizes)} classes; the config "
            f"{config.key!r} has {list(config.encoding.head_sizes)}"
        )


class StepNetwork:
    """A bundle's network, one event at a time for a batch of rows, with the state it carries.

    A network made for at most `MAX_INDEPENDENT_ROWS` rows gives a row the same numbers, bit for
    bit, whatever the other rows are; in a larger one they vary by the rounding of float32. BLAS is
    best limited to one thread: a step's products are too small to share.
    """

    def __init__(self, bundle: Bundle, config: PerformanceRnnConfig, batch_size: int):
        """Starts every row at the zero state.

        Args:
          bundle: the network.
          config: how events and controls are given to it.
          batch_size: rows to start with.

        Raises:
          ValueError: the bundle does not fit the config.
        """
        check_fits(bundle, config)
        by_rows = batch_size <= MAX_INDEPENDENT_ROWS
        self._layers = [
            _Layer(layer, None if n else config, by_rows) for n, layer in enumerate(bundle.layers)
        ]
        self._output = _Affine(bundle.output_kernel, bundle.output_bias, by_rows)
        self.states = [
            np.zeros((batch_size, size), np.float32)
            for layer in self._layers
            for size in layer.state_sizes
        ]

    def step(self, events: np.ndarray, controls: np.ndarray) -> np.ndarray:
        """Takes the rows' next events and the controls for those after them.

        Args:
          events: int [batch, *event_shape].
          controls: float32 [batch, control_size].

        Returns:
          The logits of the events after these, float32 [batch, classes of all heads].
        """
        x = controls
        for layer in self._layers:
            x = layer.step(x, events)
        return self._output(x)

    @property
    def states(self) -> list[np.ndarray]:
        """What every row remembers, float32 [batch, n] each.

        Of each layer hidden and cell; then, if it has attention, the context that it has chosen and
        the outputs that it looks back at, the newest last. May be set; is never written into.
        """
        return [part for layer in self._layers for part in layer.states]

    @states.setter
    def states(self, states: Sequence[np.ndarray]) -> None:
        parts = iter(states)
        for layer in self._layers:
            layer.states = [next(parts) for _ in layer.state_sizes]

    def take(self, rows: Any) -> None:
        """Goes on with some of the rows: int indices, which may repeat, or bool [batch]."""
        self.states = [part[rows] for part in self.states]


class _Affine:
    """x @ kernel + bias for float32 [batch, inputs] x.

    The kernel [..., inputs, outputs] and the bias [..., outputs] may have a leading axis, which the
    result [..., batch, outputs] then has too. With a config, x is controls ++ rest and the kernel's
    rows are those of the controls, the event and the rest: an event is one row, or a sum of rows,
    of a table, so its vector is never formed.
    """

    def __init__(
        self,
        kernel: np.ndarray,
        bias: np.ndarray,
        by_rows: bool,
        config: PerformanceRnnConfig | None = None,
    ):
        self._by_rows = by_rows
        self._encoding = config.encoding if config else None
        if config:
            controls, event_rows, rest = np.split(
                kernel, [config.control_size, config.input_size], axis=-2
            )
            kernel = np.concatenate([controls, rest], axis=-2)
            bias = _event_table(event_rows, bias, config.encoding)
        self._kernel = _column_blocks(kernel) if by_rows else kernel
        self._added = bias

    def __call__(self, x: np.ndarray, events: np.ndarray | None = None) -> np.ndarray:
        if self._by_rows:
            blocks = (x[:, np.newaxis] @ self._kernel[..., np.newaxis, :, :])[..., 0, :]
            shape = (*blocks.shape[:-3], len(x), blocks.shape[-3] * blocks.shape[-1])
            result = blocks.swapaxes(-3, -2).reshape(shape)
        else:
            result = x @ self._kernel
        if self._encoding is None:
            result += self._added[..., np.newaxis, :]
        else:
            rows = self._added.take(events + self._encoding.offsets, axis=-2)
            result += rows.sum(axis=-2) if self._encoding.event_shape else rows
        return result


def _column_blocks(kernel: np.ndarray) -> np.ndarray:
    """Returns [..., blocks, inputs, columns of each] of a kernel [..., inputs, outputs].

    A block stays in the processor's cache while one row after another is multiplied by it, which is
    up to 1.3 times as fast. What comes out is the same, bit for bit.
    """
    *stack, inputs, outputs = kernel.shape
    size = inputs * outputs * kernel.itemsize
    # Blocks of whole vector registers, so that a column's sum is taken in the same order.
    fitting = (n for n in range(1, 17) if outputs % (16 * n) == 0 and size <= n * _BLOCK_BYTES)
    count = next(fitting, 1)
    blocks = kernel.reshape(*stack, inputs, count, outputs // count)
    return np.ascontiguousarray(blocks.swapaxes(-3, -2))


def _event_table(kernel: np.ndarray, bias: np.ndarray, encoding: EventEncoding) -> np.ndarray:
    """Returns the table [..., classes of all heads, outputs] of a kernel for the event's vector.

    The rows for an event's indices add up to vector @ kernel + bias.
    """
    table = kernel.copy() if encoding.vectors is None else encoding.vectors @ kernel
    # Each event has one index in the first head.
    table[..., : encoding.head_sizes[0], :] += bias[..., np.newaxis, :]
    return table


class _Layer:
    """One layer of the stack with its state; the first one, given the config, reads events."""

    def __init__(self, layer: LstmLayer, config: PerformanceRnnConfig | None, by_rows: bool):
        self._units = layer.units
        self._residual = layer.residual
        self._projection = self._attention = None
        if layer.input_projection:
            projection = layer.input_projection
            self._projection = _Affine(projection.kernel, projection.bias, by_rows, config)
            config = None  # The projection has read the event.
        if layer.attention:
            self._attention = _Attention(layer.attention, layer.units, config, by_rows)
            config = None
        self._gates = _Affine(*_gate_weights(layer), by_rows, config)
        self._hidden = self._cell = np.zeros((0, layer.units), np.float32)

    @property
    def state_sizes(self) -> list[int]:
        return [self._units] * 2 + (self._attention.state_sizes if self._attention else [])

    @property
    def states(self) -> list[np.ndarray]:
        return [self._hidden, self._cell, *(self._attention.states if self._attention else [])]

    @states.setter
    def states(self, states: list[np.ndarray]) -> None:
        self._hidden, self._cell, *others = states
        if self._attention:
            self._attention.states = others

    def step(self, x: np.ndarray, events: np.ndarray) -> np.ndarray:
        if self._projection:
            x = self._projection(x, events)
        y = self._attention.read(x, events) if self._attention else x
        y = self._lstm(y, events)
        if self._attention:
            y = self._attention.output(self._hidden, self._cell)
        return x + y if self._residual else y

    def _lstm(self, x: np.ndarray, events: np.ndarray) -> np.ndarray:
        gates = self._gates(np.concatenate([x, self._hidden], axis=1), events)
        np.tanh(gates, out=gates)
        sigmoids = gates[:3]
        sigmoids += 1
        sigmoids *= 0.5
        i, f, o, candidate = gates
        self._cell = f * self._cell
        self._cell += i * candidate
        self._hidden = o * np.tanh(self._cell)
        return self._hidden


def _gate_weights(layer: LstmLayer) -> tuple[np.ndarray, np.ndarray]:
    """Returns the kernel [4, inputs + units, units] and the bias [4, units] of a cell's gates.

    The gates are input, forget, output, candidate. The first three are halved, which is exact:
    sigmoid(x) = (1 + tanh(x / 2)) / 2, so that one call of tanh serves all four.
    """
    kernel = np.concatenate([layer.kernel, layer.recurrent_kernel])
    order, scale = [0, 1, 3, 2], np.array([[0.5], [0.5], [0.5], [1]], np.float32)
    gates = kernel.reshape(len(kernel), 4, -1).transpose(1, 0, 2)[order]
    return gates * scale[:, np.newaxis], layer.keras_bias.reshape(4, -1)[order] * scale


class _Attention:
    """The attention around an LSTM, see `bundles.Attention`, with its state."""

    def __init__(
        self,
        weights: Attention,
        units: int,
        config: PerformanceRnnConfig | None,
        by_rows: bool,
    ):
        no_bias = np.zeros(units, np.float32)
        self._input = _Affine(weights.input.kernel, weights.input.bias, by_rows, config)
        self._query = _Affine(weights.query.kernel, weights.query.bias, by_rows)
        self._features = _Affine(weights.memory, no_bias, by_rows)
        self._output = _Affine(weights.output.kernel, weights.output.bias, by_rows)
        self._score = weights.score
        self.state_sizes = [units, weights.length * units]

    @property
    def states(self) -> list[np.ndarray]:
        return [self._context, self._memory.reshape(-1, self.state_sizes[1])]

    @states.setter
    def states(self, states: list[np.ndarray]) -> None:
        self._context, memory = states
        units, size = self.state_sizes
        self._memory = memory.reshape(-1, size // units, units)
        # What the score needs of each output is worked out once, when it is remembered.
        features = self._features(memory.reshape(-1, units))
        self._memory_features = features.reshape(self._memory.shape)

    def read(self, x: np.ndarray, events: np.ndarray) -> np.ndarray:
        """Returns the LSTM's input for the layer's."""
        return self._input(np.concatenate([x, self._context], axis=1), events)

    def output(self, hidden: np.ndarray, cell: np.ndarray) -> np.ndarray:
        """Returns the layer's output for the LSTM's new state, and remembers it."""
        query = self._query(np.concatenate([cell, hidden], axis=1))
        scores = np.tanh(self._memory_features + query[:, np.newaxis]) @ self._score
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        self._context = (weights[:, np.newaxis] @ self._memory)[:, 0]
        output = self._output(np.concatenate([hidden, self._context], axis=1))
        self._memory = _push(self._memory, output)
        self._memory_features = _push(self._memory_features, self._features(output))
        return output


def _push(memory: np.ndarray, newest: np.ndarray) -> np.ndarray:
    return np.concatenate([memory[:, 1:], newest[:, np.newaxis]], axis=1)
