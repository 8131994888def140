"""A model's network, one event at a time, in NumPy.

On a CPU one step of the network is a few matrix products, and what a framework adds around them
takes longer than they do. Half of them, those with the layers' last outputs, are computed by worker
threads as soon as those outputs are known, while the caller computes the next layer and then draws
events from the logits; see `worker_threads.all_cores`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from bundles import Attention, LstmLayer
from perf_rnn.configs import PerformanceRnnConfig
from perf_rnn.events.encodings import EventEncoding
from perf_rnn.generation.cpu.tiled_matmul import TiledKernel, Tiling, untiled
from perf_rnn.models import Model


class StepNetwork:
    """A model's network, one event at a time for a batch of rows, with the state it carries.

    It gives a row the same numbers, bit for bit, whatever the other rows are and however many cores
    there are; where `tiled_matmul.has_small_kernels` is False, in networks made for at most
    `tiled_matmul.MAX_INDEPENDENT_ROWS` rows only, and in larger ones they vary by the rounding of
    float32.
    """

    def __init__(self, model: Model, batch_size: int):
        """Starts every row at the zero state.

        Args:
          model: the network.
          batch_size: rows to start with, and the most that there will be.
        """
        bundle, config = model.bundle, model.config
        inputs = max(bundle.input_size, *bundle.layer_sizes) + max(bundle.layer_sizes)
        self._tiling = Tiling.choose(batch_size, inputs)
        self._layers = [
            _Layer(layer, None if n else config, self._tiling)
            for n, layer in enumerate(bundle.layers)
        ]
        self._output = _Affine(bundle.output_kernel, bundle.output_bias, self._tiling)
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
        events, x = self._tiling.pad(events), self._tiling.pad(controls)
        for layer in self._layers:
            layer.start()
        for layer in self._layers:
            x = layer.step(x, events)
        return self._output(x)[: self._batch_size]

    @property
    def states(self) -> list[np.ndarray]:
        """What every row remembers, float32 [batch, n] each.

        Of each layer hidden and cell; then, if it has attention, the context that it has chosen and
        the outputs that it looks back at, the newest last. May be set; is never written into.
        """
        return [part[: self._batch_size] for layer in self._layers for part in layer.states]

    @states.setter
    def states(self, states: Sequence[np.ndarray]) -> None:
        self._batch_size = len(states[0])
        parts = iter(states)
        for layer in self._layers:
            layer.states = [next(parts) for _ in layer.state_sizes]

    def take(self, rows: Any) -> None:
        """Keeps some of the rows: int indices, which may repeat, or bool [batch]."""
        self.states = [part[rows] for part in self.states]


class _Affine:
    """x @ kernel + bias for float32 [batch, inputs] x.

    With a config, x is controls ++ rest and the kernel's rows are those of the controls, the event
    and the rest: an event is one row, or a sum of rows, of a table, so its vector is never formed.
    """

    def __init__(
        self,
        kernel: np.ndarray,
        bias: np.ndarray,
        tiling: Tiling,
        config: PerformanceRnnConfig | None = None,
    ):
        self._outputs = kernel.shape[1]
        self._bias = bias
        self._encoding = config.encoding if config else None
        if config:
            kernel, self._table = split_off_events(kernel, bias, config)
        self._kernel = TiledKernel(kernel, None, tiling)

    def __call__(self, x: np.ndarray, events: np.ndarray | None = None) -> np.ndarray:
        added = self._bias
        if self._encoding:
            added = _look_up(self._table, events, self._encoding)
        result: np.ndarray = untiled(self._kernel(x), self._outputs) + added
        return result


def split_off_events(
    kernel: np.ndarray, bias: np.ndarray, config: PerformanceRnnConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Splits a kernel [..., inputs, outputs] whose inputs are controls ++ event ++ rest.

    Returns:
      The kernel of controls ++ rest. A table [..., classes of all heads, outputs], whose rows for
      an event's indices add up to the rest of inputs @ kernel + bias.
    """
    controls, event_rows, rest = np.split(kernel, [config.control_size, config.input_size], axis=-2)
    encoding = config.encoding
    table = event_rows.copy() if encoding.vectors is None else encoding.vectors @ event_rows
    # Each event has one index in the first head.
    table[..., : encoding.head_sizes[0], :] += bias[..., np.newaxis, :]
    return np.concatenate([controls, rest], axis=-2), table


def _look_up(table: np.ndarray, events: Any, encoding: EventEncoding) -> np.ndarray:
    """Returns the sums [..., batch, outputs] of a table's rows for events [batch, *event_shape]."""
    rows: np.ndarray = table.take(events + encoding.offsets, axis=-2)
    return rows.sum(axis=-2) if encoding.event_shape else rows


class _Layer:
    """One layer of the stack with its state; the first one, given the config, reads events."""

    def __init__(self, layer: LstmLayer, config: PerformanceRnnConfig | None, tiling: Tiling):
        self._units = layer.units
        self._residual = layer.residual
        self._tiling = tiling
        self._projection = self._attention = None
        if layer.input_projection:
            projection = layer.input_projection
            self._projection = _Affine(projection.kernel, projection.bias, tiling, config)
            config = None  # The projection has read the event.
        if layer.attention:
            self._attention = _Attention(layer.attention, layer.units, tiling, config)
            config = None
        self._lstm = _Lstm(layer, tiling, config)

    @property
    def state_sizes(self) -> list[int]:
        sizes = self._attention.state_sizes if self._attention else []
        return [self._units] * 2 + sizes

    @property
    def states(self) -> list[np.ndarray]:
        return [*self._lstm.states, *(self._attention.states if self._attention else [])]

    @states.setter
    def states(self, states: list[np.ndarray]) -> None:
        self._lstm.states = states[:2]
        if self._attention:
            self._attention.states = states[2:]

    def start(self) -> None:
        """Starts the product that the next step needs of the last one, if it is not started."""
        self._lstm.start()

    def step(self, x: np.ndarray, events: np.ndarray) -> np.ndarray:
        if self._projection:
            x = self._projection(x, events)
        y = self._attention.read(x, events) if self._attention else x
        self._lstm.step(y, events)
        y = self._lstm.hidden
        if self._attention:
            y = self._attention.output(*map(self._tiling.pad, self._lstm.states))
        return x + y if self._residual else y


class _Lstm:
    """An LSTM with its state. The gates' weights are those of `_gate_weights`.

    What it computes with is [..., tiles, batch, columns], as products are.

    Attributes:
      hidden: its outputs, float32 [padded rows, units].
    """

    def __init__(self, layer: LstmLayer, tiling: Tiling, config: PerformanceRnnConfig | None):
        kernel, recurrent_kernel, bias = _gate_weights(layer)
        self._units = layer.units
        self._tiling = tiling
        self._encoding = config.encoding if config else None
        if config:
            kernel, table = split_off_events(kernel, bias, config)
            self._table = tiling.tiles(table)
        self._inputs = TiledKernel(kernel, None, tiling) if kernel.shape[1] else None
        self._recurrent = TiledKernel(recurrent_kernel, None if config else bias, tiling)
        self._has_started = False  # The product of `hidden`, which the next step needs.
        self.states = [np.zeros((0, layer.units), np.float32)] * 2

    @property
    def states(self) -> list[np.ndarray]:
        """Hidden and cell, float32 [batch, units]."""
        return [untiled(state, self._units).copy() for state in (self._hidden, self._cell)]

    @states.setter
    def states(self, states: list[np.ndarray]) -> None:
        self._has_started = False
        hidden, self._cell = self._tiling.tiles(np.stack(states))
        num_rows = hidden.shape[1]
        hidden = self._tiling.pad(hidden.swapaxes(0, 1)).swapaxes(0, 1)
        self.hidden = untiled(hidden, self._units)
        self._hidden = hidden[:, :num_rows]
        self._tanh = np.empty_like(self._cell)
        self._gates = np.empty((4, *self._cell.shape), np.float32)

    def start(self) -> None:
        """Starts the product of `hidden`, if it is not started."""
        if not self._has_started:
            self._has_started = True
            self._recurrent.start(self.hidden)

    def step(self, x: np.ndarray, events: np.ndarray) -> None:
        """Takes the next inputs, float32 [padded rows, inputs], and events."""
        self.start()
        gates, num_rows = self._gates, self._cell.shape[1]
        if self._inputs:
            inputs = self._inputs(x)[..., :num_rows, :]
        if self._encoding:
            looked_up = _look_up(self._table, events[:num_rows], self._encoding)
            inputs = inputs + looked_up if self._inputs else looked_up
        np.add(self._recurrent.finish()[..., :num_rows, :], inputs, out=gates)
        self._has_started = False
        np.tanh(gates, out=gates)
        sigmoids = gates[:3]
        sigmoids += 1
        sigmoids *= 0.5
        i, f, o, candidate = gates
        self._cell *= f
        i *= candidate
        self._cell += i
        np.tanh(self._cell, out=self._tanh)
        np.multiply(o, self._tanh, out=self._hidden)
        self.start()


def _gate_weights(layer: LstmLayer) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns kernels [4, inputs, units], [4, units, units] and bias [4, units] of a cell's gates.

    The gates are input, forget, output, candidate. The first three are halved, which is exact:
    sigmoid(x) = (1 + tanh(x / 2)) / 2, so that one call of tanh serves all four.
    """
    order, scale = [0, 1, 3, 2], np.array([[0.5], [0.5], [0.5], [1]], np.float32)
    kernel, recurrent_kernel = (
        weights.reshape(len(weights), 4, -1).transpose(1, 0, 2)[order] * scale[:, np.newaxis]
        for weights in (layer.kernel, layer.recurrent_kernel)
    )
    return kernel, recurrent_kernel, layer.keras_bias.reshape(4, -1)[order] * scale


class _Attention:
    """The attention around an LSTM, see `bundles.Attention`, with its state."""

    def __init__(
        self,
        weights: Attention,
        units: int,
        tiling: Tiling,
        config: PerformanceRnnConfig | None,
    ):
        no_bias = np.zeros(units, np.float32)
        self._input = _Affine(weights.input.kernel, weights.input.bias, tiling, config)
        self._query = _Affine(weights.query.kernel, weights.query.bias, tiling)
        self._features = _Affine(weights.memory, no_bias, tiling)
        self._output = _Affine(weights.output.kernel, weights.output.bias, tiling)
        self._score = weights.score
        self._tiling = tiling
        self.state_sizes = [units, weights.length * units]

    @property
    def states(self) -> list[np.ndarray]:
        return [self._context, self._memory.reshape(-1, self.state_sizes[1])]

    @states.setter
    def states(self, states: list[np.ndarray]) -> None:
        self._context, memory = map(self._tiling.pad, states)
        units, size = self.state_sizes
        self._memory = memory.reshape(-1, size // units, units)
        # What the score needs of each output is computed once, when it is stored.
        features = [self._features(outputs) for outputs in self._memory.swapaxes(0, 1)]
        self._memory_features = np.stack(features, axis=1)

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
