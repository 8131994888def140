"""The layers of a plain or residual stack: the LSTM and the projection of its inputs.

They have Keras's weights and semantics. Where `recurrence.module` returns None, as on TensorFlow
with a GPU, the computation is that of `keras.layers.LSTM`, else a faster one of our own.
"""

from typing import Any

import keras

from perf_rnn.network import recurrence
from perf_rnn.network.event_input import EventLayer


@keras.saving.register_keras_serializable("perf_rnn")
class LSTM(EventLayer):
    """One LSTM layer whose state goes in and comes out explicitly.

    Call arguments: `inputs`, see `EventLayer`; `hidden` and `cell`, float [batch, units]. Returns
    the outputs [batch, time, units] and the state after the last step, `hidden` and `cell`.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.lstm = keras.layers.LSTM(
            self.units,
            kernel_initializer=self.kernel_initializer,
            return_sequences=True,
            return_state=True,
            dtype=self.matmul_policy,
            name="lstm",
        )

    @property
    def state_sizes(self) -> list[tuple[str, int]]:
        """Name and width of each part of the state."""
        return [("hidden", self.units), ("cell", self.units)]

    def build(self, input_shape: Any, *state_shapes: Any) -> None:
        self.lstm.build((None, None, self.features(input_shape)))

    def call(self, inputs: Any, hidden: Any, cell: Any) -> tuple[Any, Any, Any]:
        if own := recurrence.module():
            weights = self.lstm.cell
            inputs = keras.tree.map_structure(own.time_first, inputs)
            outputs, hidden, cell = own.lstm_recurrence(
                self.times(inputs, weights.kernel),
                weights.bias,
                hidden,
                cell,
                weights.recurrent_kernel,
                keras.DTypePolicy(self.matmul_policy).compute_dtype,
            )
            return own.time_first(outputs), hidden, cell
        if self.event_input:
            inputs = self.event_input.vectors_of(inputs)
        results = self.lstm(inputs, initial_state=[hidden, cell])
        return tuple(keras.ops.cast(result, "float32") for result in results)

    def compute_output_spec(self, inputs: Any, hidden: Any, cell: Any) -> tuple[Any, ...]:
        batch, time = keras.tree.flatten(inputs)[0].shape[:2]
        shapes = (batch, time, self.units), (batch, self.units), (batch, self.units)
        return tuple(keras.KerasTensor(shape) for shape in shapes)


@keras.saving.register_keras_serializable("perf_rnn")
class InputProjection(EventLayer):
    """inputs @ kernel + bias: makes the inputs of a residual layer as wide as its outputs.

    Call argument: `inputs`, see `EventLayer`. Returns float32 [batch, time, units].
    """

    def build(self, input_shape: Any) -> None:
        self.kernel = self.add_weight(
            shape=(self.features(input_shape), self.units),
            initializer=self.kernel_initializer,
            name="kernel",
        )
        self.bias = self.add_weight(shape=(self.units,), initializer="zeros", name="bias")

    def call(self, inputs: Any) -> Any:
        return self.times(inputs, self.kernel) + self.bias

    def compute_output_spec(self, inputs: Any) -> Any:
        batch, time = keras.tree.flatten(inputs)[0].shape[:2]
        return keras.KerasTensor((batch, time, self.units))
