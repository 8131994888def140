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
    """The sequential part of an LSTM; arguments and results as in `tensorflow_cpu`.

    Outputs, and what the gradient needs, are rounded to `dtype`; the cell is carried in float32.
    """
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
            cell = f * cell + i * g
            # A product reads it, so it is in the type of products from the start.
            hidden = (o * jnp.tanh(cell)).astype(dtype)
            # In one array: for each array that a scan gathers, a GPU runs another kernel.
            kept = [value.astype(dtype) for value in (hidden, cell, i, f, g, o)]
            return (hidden, cell), jnp.concatenate(kept, axis=1)

        hidden_0 = hidden_0.astype(dtype)
        (hidden, cell), kept = jax.lax.scan(step, (hidden_0, cell_0), projected)
        outputs = kept[..., : hidden.shape[1]]
        result = outputs.astype(jnp.float32), hidden.astype(jnp.float32), cell
        return result, (weights, hidden_0, cell_0, kept)

    def backward(residuals: Any, upstream: Any) -> tuple[Any, ...]:
        weights, hidden_0, cell_0, kept = residuals
        d_outputs, d_hidden, d_cell = upstream
        transposed, units = weights.T, len(weights)

        def previous(first: Any, values: Any) -> Any:
            return jnp.concatenate([first.astype(dtype)[None], values[:-1]])

        def step_back(gradient: Any, values: Any) -> Any:
            d_hidden, d_cell = gradient
            d_output, previous_cell, kept = values
            previous_cell, kept = previous_cell.astype(jnp.float32), kept.astype(jnp.float32)
            _, cell, i, f, g, o = jnp.split(kept, 6, axis=1)
            squashed = jnp.tanh(cell)
            d_hidden += d_output
            d_cell += d_hidden * o * (1 - squashed * squashed)
            d_gates = jnp.concatenate(
                [
                    d_cell * g * i * (1 - i),
                    d_cell * previous_cell * f * (1 - f),
                    d_cell * i * (1 - g * g),
                    d_hidden * squashed * o * (1 - o),
                ],
                axis=1,
            ).astype(dtype)
            return (product(d_gates, transposed), d_cell * f), d_gates

        previous_cells = previous(cell_0, kept[..., units : 2 * units])
        (d_hidden, d_cell), d_projected = jax.lax.scan(
            step_back, (d_hidden, d_cell), (d_outputs, previous_cells, kept), reverse=True
        )
        previous_outputs = previous(hidden_0, kept[..., :units]).reshape(-1, units)
        d_weights = product(previous_outputs.T, d_projected.reshape(-1, 4 * units))
        return d_projected.astype(jnp.float32), d_hidden, d_cell, d_weights

    @jax.custom_vjp  # type: ignore[untyped-decorator]  # mypy skips JAX's types.
    def run(projected: Any, hidden: Any, cell: Any, weights: Any) -> Any:
        return forward(projected, hidden, cell, weights)[0]

    run.defvjp(forward, backward)
    weights = jnp.asarray(recurrent_kernel)
    result: tuple[Any, Any, Any] = run(projected + bias, hidden, cell, weights)
    return result
