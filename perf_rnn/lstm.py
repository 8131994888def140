"""The LSTM layer: Keras's weights and semantics, with a faster computation on CPU.

On a GPU (cuDNN), a TPU, and on Keras's JAX and torch backends, `keras.layers.LSTM` does the work.
On TensorFlow's CPU that layer spends its time in many small products, so the recurrence is written
out here: inputs are projected in one product before the loop, and each weight's gradient is formed
in one product after it. For a layer that reads events, projecting is looking up a row.
"""

from typing import Any

import keras


class LSTM(keras.layers.Layer):
    """One LSTM layer whose state goes in and comes out explicitly.

    Call arguments: `inputs`, float [batch, time, features], or int32 event indices [batch, time] if
    `num_classes` is given; `hidden` and `cell`, float [batch, units]. Returns the outputs
    [batch, time, units] and the state after the last step, `hidden` and `cell`.
    """

    def __init__(
        self, units: int, num_classes: int | None = None, products: str = "float32", **kwargs: Any
    ):
        """Creates the layer.

        Args:
          units: size of the state.
          num_classes: event classes, if the inputs are event indices rather than features.
          products: dtype policy of the matrix products; `mixed_bfloat16` is fast where the
            processor has it. What enters and leaves the layer is float32 all the same.
          **kwargs: of `keras.layers.Layer`.
        """
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.units = units
        self.num_classes = num_classes
        # An event selects one row of the kernel, so the scale of a row must not shrink with the
        # number of classes as Keras's default has it: rows that small leave the layers above next
        # to nothing to tell events apart by, and training stands still at first.
        self.lstm = keras.layers.LSTM(
            units,
            kernel_initializer=keras.initializers.RandomNormal(stddev=0.5)
            if num_classes
            else keras.initializers.LecunNormal(),
            return_sequences=True,
            return_state=True,
            dtype=products,
            name="lstm",
        )

    def build(self, input_shape: Any, *state_shapes: Any) -> None:
        features = self.num_classes or input_shape[-1]
        self.lstm.build((None, None, features))

    def call(self, inputs: Any, hidden: Any, cell: Any) -> tuple[Any, Any, Any]:
        if _computes_on_tensorflow_cpu():
            weights = self.lstm.cell.kernel, self.lstm.cell.recurrent_kernel, self.lstm.cell.bias
            return _cpu_lstm(inputs, hidden, cell, *weights, self.lstm.compute_dtype)
        if self.num_classes:
            inputs = keras.ops.one_hot(inputs, self.num_classes)
        results = self.lstm(inputs, initial_state=[hidden, cell])
        return tuple(keras.ops.cast(result, "float32") for result in results)

    def compute_output_spec(self, inputs: Any, hidden: Any, cell: Any) -> tuple[Any, ...]:
        batch, time = inputs.shape[:2]
        shapes = (batch, time, self.units), (batch, self.units), (batch, self.units)
        return tuple(keras.KerasTensor(shape) for shape in shapes)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "num_classes": self.num_classes,
            "products": self.lstm.dtype_policy.name,
        }


def _computes_on_tensorflow_cpu() -> bool:
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not (tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("TPU"))


def _cpu_lstm(
    inputs: Any, hidden: Any, cell: Any, kernel: Any, recurrent_kernel: Any, bias: Any, dtype: str
) -> tuple[Any, Any, Any]:
    """Runs the whole sequence; products are taken in `dtype`, states and gates in float32.

    Gate order is Keras's: input, forget, candidate, output.
    """
    import tensorflow as tf

    kernel, recurrent_kernel, bias = (
        tf.convert_to_tensor(w) for w in (kernel, recurrent_kernel, bias)
    )
    if inputs.dtype.is_integer:
        # tf.transpose of int32 would make oneDNN complain on stderr.
        batch, time = tf.unstack(tf.shape(inputs))
        places = tf.range(time)[:, tf.newaxis] + tf.range(batch) * time
        steps_first = tf.gather(tf.reshape(inputs, [-1]), places)
        projected = _look_up(kernel, steps_first) + bias
    else:
        steps_first = tf.transpose(tf.cast(inputs, dtype), [1, 0, 2])
        projected = tf.cast(tf.matmul(steps_first, tf.cast(kernel, dtype)), tf.float32) + bias
    outputs, hidden, cell = _recurrence(projected, hidden, cell, recurrent_kernel, dtype)
    return tf.transpose(outputs, [1, 0, 2]), hidden, cell


def _look_up(kernel: Any, indices: Any) -> Any:
    """Rows of `kernel`; the gradient is dense; TensorFlow's own makes optimisers sparse."""
    import tensorflow as tf

    @tf.custom_gradient
    def rows(kernel: Any) -> tuple[Any, Any]:
        def gradient(upstream: Any) -> Any:
            flat = tf.reshape(upstream, [-1, kernel.shape[1]])
            return tf.math.unsorted_segment_sum(flat, tf.reshape(indices, [-1]), kernel.shape[0])

        return tf.gather(kernel, indices), gradient

    return rows(kernel)


def _recurrence(
    projected: Any, hidden: Any, cell: Any, recurrent_kernel: Any, dtype: str
) -> tuple[Any, Any, Any]:
    """The part of an LSTM that must go step by step.

    Args:
      projected: float32 [time, batch, 4 * units], inputs times kernel, plus bias.
      hidden: float32 [batch, units].
      cell: float32 [batch, units].
      recurrent_kernel: float32 [units, 4 * units].
      dtype: type in which products are taken.

    Returns:
      Outputs [time, batch, units], and the last `hidden` and `cell`.
    """
    import tensorflow as tf

    def product(a: Any, b: Any, **transposes: bool) -> Any:
        return tf.cast(tf.matmul(tf.cast(a, dtype), tf.cast(b, dtype), **transposes), tf.float32)

    @tf.custom_gradient
    def run(projected: Any, hidden_0: Any, cell_0: Any, recurrent_kernel: Any) -> tuple[Any, Any]:
        time = tf.shape(projected)[0]
        weights = tf.cast(recurrent_kernel, dtype)

        def new_array() -> Any:
            return tf.TensorArray(tf.float32, size=time)

        def step(t: Any, hidden: Any, cell: Any, *arrays: Any) -> tuple[Any, ...]:
            gates = projected[t] + product(hidden, weights)
            i, f, g, o = tf.split(gates, 4, axis=1)
            i, f, g, o = tf.sigmoid(i), tf.sigmoid(f), tf.tanh(g), tf.sigmoid(o)
            cell = f * cell + i * g
            squashed = tf.tanh(cell)
            hidden = o * squashed
            values = hidden, cell, squashed, i, f, g, o
            return (
                t + 1,
                hidden,
                cell,
                *(a.write(t, v) for a, v in zip(arrays, values, strict=True)),
            )

        _, hidden, cell, *arrays = tf.while_loop(
            lambda t, *_: t < time,
            step,
            (0, hidden_0, cell_0, *(new_array() for _ in range(7))),
            maximum_iterations=time,
            parallel_iterations=1,
        )
        outputs, cells, *kept = (a.stack() for a in arrays)

        def gradient(d_outputs: Any, d_hidden: Any, d_cell: Any) -> tuple[Any, ...]:
            previous_cells = tf.concat([cell_0[tf.newaxis], cells[:-1]], axis=0)
            previous_outputs = tf.concat([hidden_0[tf.newaxis], outputs[:-1]], axis=0)

            def step_back(t: Any, d_hidden: Any, d_cell: Any, d_gates: Any) -> tuple[Any, ...]:
                squashed, i, f, g, o = (values[t] for values in kept)
                d_hidden += d_outputs[t]
                d_cell += d_hidden * o * (1 - squashed * squashed)
                d_gate = tf.concat(
                    [
                        d_cell * g * i * (1 - i),
                        d_cell * previous_cells[t] * f * (1 - f),
                        d_cell * i * (1 - g * g),
                        d_hidden * squashed * o * (1 - o),
                    ],
                    axis=1,
                )
                d_hidden = product(d_gate, weights, transpose_b=True)
                return t - 1, d_hidden, d_cell * f, d_gates.write(t, d_gate)

            _, d_hidden, d_cell, d_gates = tf.while_loop(
                lambda t, *_: t >= 0,
                step_back,
                (time - 1, d_hidden, d_cell, new_array()),
                maximum_iterations=time,
                parallel_iterations=1,
            )
            d_projected = d_gates.stack()
            units = hidden_0.shape[1]
            d_weights = product(
                tf.reshape(previous_outputs, [-1, units]),
                tf.reshape(d_projected, [-1, 4 * units]),
                transpose_a=True,
            )
            return d_projected, d_hidden, d_cell, d_weights

        return (outputs, hidden, cell), gradient

    return run(projected, hidden, cell, recurrent_kernel)
