"""Magenta's layout of weights, to and from ours.

TensorFlow 1 keeps a layer's kernel and recurrent kernel in one matrix of [inputs + u, 4u], the
inputs' rows first, with its columns in the gate order input, cell ("j"), forget, output.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from bundles.bundle import Attention, Bundle, BundleError, LstmLayer, Projection, printable
from bundles.variable_names import (
    OUTPUT_NAMES,
    AttentionNames,
    LayerNames,
    ProjectionNames,
    find_names,
    todays_name,
    written_names,
)

# From TensorFlow's gates (i, j, f, o) to Keras' (i, f, c, o), and back: swap the middle two.
_GATE_SWAP = [0, 2, 1, 3]

_Variables = Mapping[str, np.ndarray]


def variables_from_weights(bundle: Bundle) -> dict[str, np.ndarray]:
    """Returns name -> value of a bundle's weights, as Magenta 2.1.4 names them."""
    variables = {OUTPUT_NAMES.kernel: bundle.output_kernel, OUTPUT_NAMES.bias: bundle.output_bias}

    def put(names: ProjectionNames, projection: Projection) -> None:
        variables[names.kernel], variables[names.bias] = projection.kernel, projection.bias

    for index, layer in enumerate(bundle.layers):
        names = written_names(index, layer)
        kernel = _swap_gates(np.concatenate([layer.kernel, layer.recurrent_kernel]))
        put(names.cell, Projection(kernel, _swap_gates(layer.bias_for(names.forget_bias))))
        if layer.input_projection and names.input_projection:
            put(names.input_projection, layer.input_projection)
        if layer.attention and names.attention:
            put(names.attention.input, layer.attention.input)
            put(names.attention.query, layer.attention.query)
            put(names.attention.output, layer.attention.output)
            # In Magenta it is the kernel of a convolution.
            variables[names.attention.memory] = layer.attention.memory[np.newaxis, np.newaxis]
            variables[names.attention.score] = layer.attention.score
    return variables


def weights_from_variables(
    variables: _Variables, attn_length: Callable[[Sequence[int]], int]
) -> tuple[tuple[LstmLayer, ...], np.ndarray, np.ndarray]:
    """Returns the LSTM layers, the output kernel and the output bias of a checkpoint.

    Args:
        variables: name -> value, exactly those of an LSTM stack and its output layer.
        attn_length: asked only where there is attention: how many outputs it looks back at, given
            the units of every layer.

    Raises:
        BundleError: variables are missing, unexpected or of shapes that cannot be a layer's.
    """
    variables = _with_todays_names(variables)
    names = find_names(variables.keys())
    cells = [_cell(layer.cell, variables) for layer in names.layers]
    units = [cell.bias.size // 4 for cell in cells]
    projections = [
        _projection(layer.input_projection, variables) if layer.input_projection else None
        for layer in names.layers
    ]
    if names.projections:
        projections = _outer_projections(names.projections, units, variables)
    residual = projections[0] is not None
    layers = []
    for n, layer_names in enumerate(names.layers):
        try:
            attention = None
            if layer_names.attention:
                attention = _attention(layer_names.attention, variables, attn_length(units))
            layers.append(_layer(layer_names, cells[n], attention, residual, projections[n]))
        except BundleError as error:
            raise BundleError(f"layer {n}: {error}") from error
    return tuple(layers), variables[names.output.kernel], variables[names.output.bias]


def _with_todays_names(variables: _Variables) -> dict[str, np.ndarray]:
    renamed: dict[str, np.ndarray] = {}
    for name, value in variables.items():
        todays = todays_name(name)
        if todays in renamed:
            raise BundleError(f"it has variable {printable(todays)} under two names")
        renamed[todays] = value
    return renamed


def _cell(names: ProjectionNames, variables: _Variables) -> Projection:
    """Returns a cell's weights as they are, kernel [inputs + u, 4u] and bias [4u]."""
    kernel = variables[names.kernel]
    units = kernel.shape[1] // 4 if kernel.ndim == 2 else 0
    if units == 0 or kernel.shape[1] % 4 or kernel.shape[0] <= units:
        raise BundleError(
            f"variable {names.kernel} has shape {list(kernel.shape)}; an LSTM needs "
            "[inputs + u, 4 u]"
        )
    return _projection(names, variables)


def _layer(
    names: LayerNames,
    cell: Projection,
    attention: Attention | None,
    residual: bool,
    input_projection: Projection | None,
) -> LstmLayer:
    kernel, bias = _swap_gates(cell.kernel), _swap_gates(cell.bias)
    units = bias.size // 4
    return LstmLayer(
        kernel[:-units],
        kernel[-units:],
        bias,
        names.forget_bias,
        attention,
        residual,
        input_projection,
    )


def _projection(names: ProjectionNames, variables: _Variables) -> Projection:
    try:
        return Projection(variables[names.kernel], variables[names.bias])
    except BundleError as error:
        raise BundleError(f"variable {names.kernel} or its bias: {error}") from error


def _outer_projections(
    names: Sequence[ProjectionNames], units: Sequence[int], variables: _Variables
) -> list[Projection | None]:
    """Returns each layer's input projection, if it has one, from those of all in order."""
    projecting = [n for n in range(len(units)) if n == 0 or units[n] != units[n - 1]]
    if len(projecting) != len(names):
        raise BundleError(
            f"residual layers of {list(units)} units have {len(projecting)} input projections; "
            f"here are {len(names)}"
        )
    projections: list[Projection | None] = [None] * len(units)
    for n, projection_names in zip(projecting, names, strict=True):
        projections[n] = _projection(projection_names, variables)
    return projections


def _attention(names: AttentionNames, variables: _Variables, length: int) -> Attention:
    memory = variables[names.memory]
    if memory.ndim != 4 or memory.shape[:2] != (1, 1):
        raise BundleError(
            f"variable {names.memory} has shape {list(memory.shape)}, not [1, 1, u, u]"
        )
    return Attention(
        length,
        input=_projection(names.input, variables),
        query=_projection(names.query, variables),
        memory=memory[0, 0],
        score=variables[names.score],
        output=_projection(names.output, variables),
    )


def _swap_gates(columns: np.ndarray) -> np.ndarray:
    gates = columns.reshape(*columns.shape[:-1], 4, -1)
    return gates[..., _GATE_SWAP, :].reshape(columns.shape)
