"""The LSTM's recurrence on JAX.

As in `tensorflow_cpu`, inputs are projected in one product before the loop over time, and each
weight's gradient is computed in one product after it. JAX is imported only within the functions.
"""

from typing import Any


def time_first(x: Any) -> Any:
    """Returns [time, batch, ...] of [batch, time, ...]."""
    return x.swapaxes(0, 1)


def look_up(table: Any, indices: Any) -> Any:
    """Rows of `table` [n, width]: float32 [*indices' shape, width].

    The gradient is a matrix product on GPUs and TPUs, where many additions to a few rows would wait
    for each other; on a CPU those are faster.
    """
    import jax
    import jax.numpy as jnp

    if jax.default_backend() == "cpu":
        return jnp.take(table, indices, axis=0)

    size = len(table)

    @jax.custom_vjp  # type: ignore[untyped-decorator]  # mypy skips JAX's types.
    def rows(table: Any, indices: Any) -> Any:
        return jnp.take(table, indices, axis=0)

    def forward(table: Any, indices: Any) -> tuple[Any, Any]:
        return rows(table, indices), indices

    def backward(indices: Any, upstream: Any) -> tuple[Any, None]:
        ones = jax.nn.one_hot(indices.ravel(), size, dtype=upstream.dtype)
        return ones.T @ upstream.reshape(-1, upstream.shape[-1]), None

    rows.defvjp(forward, backward)
    return rows(table, indices)


def lstm_recurrence(
    projected: Any, bias: Any, hidden: Any, cell: Any, recurrent_kernel: Any, dtype: str
) -> tuple[Any, Any, Any]:
    """The sequential part of an LSTM; arguments and results as in `tensorflow_cpu`."""
    import jax
    import jax.numpy as jnp

    def product(a: Any, b: Any) -> Any:
        return jnp.matmul(a.astype(dtype), b.astype(dtype), preferred_element_type=jnp.float32)

    def forward(projected: Any, hidden_0: Any, cell_0: Any, weights: Any) -> tuple[Any, Any]:
        weights = weights.astype(dtype)

        def step(state: Any, projected_t: Any) -> Any:
            hidden, cell = state
            i, f, g, o = jnp.split(projected_t + product(hidden, weights), 4, axis=1)
            i, f, g, o = jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)
            new_cell = f * cell + i * g
            squashed = jnp.tanh(new_cell)
            new_hidden = o * squashed
            return (new_hidden, new_cell), (new_hidden, hidden, cell, squashed, i, f, g, o)

        last, (outputs, *kept) = jax.lax.scan(step, (hidden_0, cell_0), projected)
        return (outputs, *last), (weights, *kept)

    def backward(residuals: Any, upstream: Any) -> tuple[Any, ...]:
        weights, previous_outputs, *kept = residuals
        d_outputs, d_hidden, d_cell = upstream
        transposed = weights.T

        def step_back(gradient: Any, values: Any) -> Any:
            d_hidden, d_cell = gradient
            d_output, cell, squashed, i, f, g, o = values
            d_hidden += d_output
            d_cell += d_hidden * o * (1 - squashed * squashed)
            d_gates = jnp.concatenate(
                [
                    d_cell * g * i * (1 - i),
                    d_cell * cell * f * (1 - f),
                    d_cell * i * (1 - g * g),
                    d_hidden * squashed * o * (1 - o),
                ],
                axis=1,
            )
            return (product(d_gates, transposed), d_cell * f), d_gates

        (d_hidden, d_cell), d_projected = jax.lax.scan(
            step_back, (d_hidden, d_cell), (d_outputs, *kept), reverse=True
        )
        flat_outputs = previous_outputs.reshape(-1, previous_outputs.shape[-1])
        d_weights = product(flat_outputs.T, d_projected.reshape(-1, d_projected.shape[-1]))
        return d_projected, d_hidden, d_cell, d_weights

    @jax.custom_vjp  # type: ignore[untyped-decorator]  # mypy skips JAX's types.
    def run(projected: Any, hidden: Any, cell: Any, weights: Any) -> Any:
        return forward(projected, hidden, cell, weights)[0]

    run.defvjp(forward, backward)
    weights = jnp.asarray(recurrent_kernel)
    result: tuple[Any, Any, Any] = run(projected + bias, hidden, cell, weights)
    return result
