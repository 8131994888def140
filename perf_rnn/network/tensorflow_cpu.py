"""The LSTM's recurrence on TensorFlow's CPU, faster than Keras's, which takes many small products.

Inputs are projected in one product before the loop over time, and each weight's gradient is
computed in one product after it. TensorFlow is imported only within the functions.
"""

from typing import Any


def time_first(x: Any) -> Any:
    """Returns [time, batch, ...] of [batch, time, ...]."""
    import tensorflow as tf

    if not x.dtype.is_integer:
        return tf.transpose(x, [1, 0, *range(2, len(x.shape))])
    # tf.transpose of int32 would make oneDNN complain on stderr.
    batch, time = tf.unstack(tf.shape(x)[:2])
    places = tf.range(time)[:, tf.newaxis] + tf.range(batch) * time
    return tf.gather(tf.reshape(x, [-1, *x.shape[2:]]), places)


def look_up(table: Any, indices: Any) -> Any:
    """Rows of `table` [n, width]: float32 [*indices' shape, width].

    The gradient is dense; TensorFlow's own makes optimisers sparse.
    """
    import tensorflow as tf

    @tf.custom_gradient  # type: ignore[untyped-decorator]  # TensorFlow ships no types.
    def rows(table: Any) -> tuple[Any, Any]:
        def gradient(upstream: Any) -> Any:
            flat = tf.reshape(upstream, [-1, table.shape[1]])
            return tf.math.unsorted_segment_sum(flat, tf.reshape(indices, [-1]), table.shape[0])

        return tf.gather(table, indices), gradient

    return rows(tf.convert_to_tensor(table))


def lstm_recurrence(
    projected: Any, bias: Any, hidden: Any, cell: Any, recurrent_kernel: Any, dtype: str
) -> tuple[Any, Any, Any]:
    """The part of an LSTM that must go step by step.

    Args:
      projected: float32 [time, batch, 4 * units], inputs times kernel.
      bias: float32 [4 * units].
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

    @tf.custom_gradient  # type: ignore[untyped-decorator]  # TensorFlow ships no types.
    def run(
        projected: Any, bias: Any, hidden_0: Any, cell_0: Any, recurrent_kernel: Any
    ) -> tuple[Any, Any]:
        time = tf.shape(projected)[0]
        weights = tf.cast(recurrent_kernel, dtype)

        def new_array(dtype: str = "float32") -> Any:
            return tf.TensorArray(dtype, size=time)

        def step(t: Any, hidden: Any, cell: Any, *arrays: Any) -> tuple[Any, ...]:
            gates = projected[t] + bias + product(hidden, weights)
            i, f, g, o = tf.split(gates, 4, axis=1)
            i, f, g, o = tf.sigmoid(i), tf.sigmoid(f), tf.tanh(g), tf.sigmoid(o)
            new_cell = f * cell + i * g
            squashed = tf.tanh(new_cell)
            hidden = o * squashed
            values = hidden, cell, squashed, i, f, g, o
            return (
                t + 1,
                hidden,
                new_cell,
                *(a.write(t, v) for a, v in zip(arrays, values, strict=True)),
            )

        _, hidden, cell, output_array, *kept = tf.while_loop(
            lambda t, *_: t < time,
            step,
            (0, hidden_0, cell_0, *(new_array() for _ in range(7))),
            maximum_iterations=time,
            parallel_iterations=1,
        )
        outputs = output_array.stack()

        def gradient(d_outputs: Any, d_hidden: Any, d_cell: Any) -> tuple[Any, ...]:
            # In float32 a product of few rows with a transposed matrix takes twice as long.
            transposed = tf.transpose(weights)
            of_sigmoid, of_tanh = tf.raw_ops.SigmoidGrad, tf.raw_ops.TanhGrad

            def step_back(t: Any, d_hidden: Any, d_cell: Any, d_gates: Any) -> tuple[Any, ...]:
                previous_cell, squashed, i, f, g, o = (array.read(t) for array in kept)
                d_hidden += d_outputs[t]
                d_cell += of_tanh(y=squashed, dy=d_hidden * o)
                d_gate = tf.concat(
                    [
                        of_sigmoid(y=i, dy=d_cell * g),
                        of_sigmoid(y=f, dy=d_cell * previous_cell),
                        of_tanh(y=g, dy=d_cell * i),
                        of_sigmoid(y=o, dy=d_hidden * squashed),
                    ],
                    axis=1,
                )
                d_gate = tf.cast(d_gate, dtype)
                d_hidden = product(d_gate, transposed)
                return t - 1, d_hidden, d_cell * f, d_gates.write(t, d_gate)

            _, d_hidden, d_cell, d_gates = tf.while_loop(
                lambda t, *_: t >= 0,
                step_back,
                (time - 1, d_hidden, d_cell, new_array(dtype)),
                maximum_iterations=time,
                parallel_iterations=1,
            )
            d_projected = d_gates.stack()
            units = hidden_0.shape[1]
            rows = tf.reshape(d_projected, [-1, 4 * units])
            previous_outputs = tf.concat([hidden_0[tf.newaxis], outputs[:-1]], axis=0)
            d_weights = product(tf.reshape(previous_outputs, [-1, units]), rows, transpose_a=True)
            d_bias = product(tf.ones_like(rows[:, :1]), rows, transpose_a=True)
            d_projected = tf.cast(d_projected, tf.float32)
            return d_projected, d_bias[0], d_hidden, d_cell, d_weights

        return (outputs, hidden, cell), gradient

    bias, recurrent_kernel = map(tf.convert_to_tensor, (bias, recurrent_kernel))
    result: tuple[Any, Any, Any] = run(projected, bias, hidden, cell, recurrent_kernel)
    return result
