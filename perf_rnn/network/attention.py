"""The LSTM layer with attention over its own last outputs."""

from typing import Any

import keras

from perf_rnn.network.event_input import EventLayer, product


@keras.saving.register_keras_serializable("perf_rnn")
class AttentionLSTM(EventLayer):
    """An LSTM layer that looks back at its last outputs, as TensorFlow 1's AttentionCellWrapper.

    Its equations are those of `bundles.Attention`; outputs before the beginning are zeros, and are
    attended to as well. Training needs some `2 * length` times as much memory as without attention.

    Call arguments: `inputs`, see `EventLayer`; `hidden` and `cell`, float [batch, units];
    `context`, [batch, units], the attention's result at the step before; `memory`,
    [batch, attn_length * units], the last outputs, the newest last. Returns the outputs
    [batch, time, units] and the four parts of the state after the last step.
    """

    def __init__(self, units: int, attn_length: int, *args: Any, **kwargs: Any):
        """Creates the layer.

        Args:
          units: size of the state and width of the outputs.
          attn_length: how many outputs it looks back at.
          *args: of `EventLayer`.
          **kwargs: of `EventLayer`.
        """
        super().__init__(units, *args, **kwargs)
        self.attn_length = attn_length
        cell = AttentionCell(units, attn_length, self.matmul_policy, name="cell")
        self.rnn = keras.layers.RNN(
            cell, return_sequences=True, return_state=True, name="rnn", dtype="float32"
        )

    @property
    def state_sizes(self) -> list[tuple[str, int]]:
        """Name and width of each part of the state."""
        names = "hidden", "cell", "context", "memory"
        return list(zip(names, self.rnn.cell.state_size, strict=False))

    def build(self, input_shape: Any, *state_shapes: Any) -> None:
        features = self.features(input_shape)
        self.input_kernel = self.add_weight(
            shape=(features, features), initializer=self.kernel_initializer, name="input_kernel"
        )
        self.input_bias = self.add_weight(shape=(features,), initializer="zeros", name="input_bias")
        self.rnn.build((None, None, features))

    def call(self, inputs: Any, hidden: Any, cell: Any, context: Any, memory: Any) -> Any:
        projected = self.times(inputs, self.input_kernel) + self.input_bias
        # The attention's features of each output are computed once, when it enters the memory.
        features = self.rnn.cell.features_of(keras.ops.reshape(memory, (-1, self.units)))
        features = keras.ops.reshape(features, (-1, self.attn_length * self.units))
        state = [hidden, cell, context, memory, features]
        return tuple(self.rnn(projected, initial_state=state)[:-1])

    def compute_output_spec(self, inputs: Any, *states: Any) -> tuple[Any, ...]:
        batch, time = keras.tree.flatten(inputs)[0].shape[:2]
        shapes = (batch, time, self.units), *((batch, state.shape[1]) for state in states)
        return tuple(keras.KerasTensor(shape) for shape in shapes)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "attn_length": self.attn_length}


@keras.saving.register_keras_serializable("perf_rnn")
class AttentionCell(keras.layers.Layer):  # type: ignore[misc]  # Keras ships no types.
    """One step of `AttentionLSTM`, whose inputs are projected already.

    The state is hidden, cell, context, memory, and the memory's features [batch, length * units].
    """

    def __init__(self, units: int, attn_length: int, matmul_policy: str = "float32", **kwargs: Any):
        """Creates the cell; the arguments are those of `AttentionLSTM`."""
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.units = units
        self.attn_length = attn_length
        self.matmul_policy = matmul_policy
        self.state_size = [units] * 3 + [attn_length * units] * 2
        self.output_size = units

    def build(self, input_shape: Any) -> None:
        features, units = input_shape[-1], self.units

        def weight(name: str, *shape: int, initializer: Any = "glorot_uniform") -> Any:
            return self.add_weight(shape=shape, initializer=initializer, name=name)

        self.context_kernel = weight("context_kernel", units, features)
        self.kernel = weight("kernel", features, 4 * units, initializer="lecun_normal")
        self.recurrent_kernel = weight(
            "recurrent_kernel", units, 4 * units, initializer="orthogonal"
        )
        self.bias = weight("bias", 4 * units, initializer=_unit_forget_bias)
        self.query_kernel = weight("query_kernel", 2 * units, units)
        self.query_bias = weight("query_bias", units, initializer="zeros")
        self.memory_kernel = weight("memory_kernel", units, units)
        self.score = weight("score", units)
        self.output_kernel = weight("output_kernel", 2 * units, units)
        self.output_bias = weight("output_bias", units, initializer="zeros")

    def call(self, inputs: Any, states: Any) -> tuple[Any, list[Any]]:
        ops = keras.ops
        hidden, cell, context, memory, features = states
        x = inputs + self._product(context, self.context_kernel)
        gates = self._product(x, self.kernel) + self._product(hidden, self.recurrent_kernel)
        i, f, candidate, o = ops.split(gates + self.bias, 4, axis=1)
        cell = ops.sigmoid(f) * cell + ops.sigmoid(i) * ops.tanh(candidate)
        hidden = ops.sigmoid(o) * ops.tanh(cell)

        query = self._product(ops.concatenate([cell, hidden], axis=1), self.query_kernel)
        query = ops.expand_dims(query + self.query_bias, 1)
        shape = (-1, self.attn_length, self.units)
        scores = ops.sum(self.score * ops.tanh(ops.reshape(features, shape) + query), axis=2)
        weights = ops.expand_dims(ops.softmax(scores), 2)
        context = ops.sum(weights * ops.reshape(memory, shape), axis=1)
        output = self._product(ops.concatenate([hidden, context], axis=1), self.output_kernel)
        output = output + self.output_bias

        memory = ops.concatenate([memory[:, self.units :], output], axis=1)
        newest = self.features_of(output)
        features = ops.concatenate([features[:, self.units :], newest], axis=1)
        return output, [hidden, cell, context, memory, features]

    def features_of(self, outputs: Any) -> Any:
        """Returns the attention's features, float32 [n, units], of outputs of that shape."""
        return self._product(outputs, self.memory_kernel)

    def _product(self, x: Any, kernel: Any) -> Any:
        return product(x, kernel, keras.DTypePolicy(self.matmul_policy).compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "attn_length": self.attn_length,
            "matmul_policy": self.matmul_policy,
        }


def _unit_forget_bias(shape: Any, dtype: Any = None) -> Any:
    units = shape[0] // 4
    ones = keras.ops.ones((units,), dtype)
    zeros = keras.ops.zeros((units,), dtype)
    return keras.ops.concatenate([zeros, ones, zeros, zeros])
