"""Magenta's variable names and layout of weights, to and from ours.

TensorFlow 1 keeps a layer's kernel and recurrent kernel in one matrix of [inputs + u, 4u], the
inputs' rows first, with its columns in the gate order input, cell ("j"), forget, output.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

import numpy as np

from bundles.bundle import Bundle, BundleError, LstmLayer, printable

_SCOPE = "rnn/multi_rnn_cell/cell_{index}/{cell}/{role}"
_OUTPUT_KERNEL = "fully_connected/weights"
_OUTPUT_BIAS = "fully_connected/biases"

# Cells we read -> the forget bias that each adds without storing it. We write the first.
_FORGET_BIAS = {"basic_lstm_cell": 1.0, "lstm_cell": 1.0, "lstm_block_cell": 1.0}
_WRITTEN_CELL = "basic_lstm_cell"
# Names of a cell's two variables: today's, and TensorFlow's before 1.2. We write the first.
_ROLES = (("kernel", "bias"), ("weights", "biases"))
# Parts of variable names -> the kind of network that has them.
_OTHER_KINDS = {
    "attention_cell_wrapper": "attention",
    "input_projection_wrapper": "residual connections",
    "cudnn_compatible_lstm_cell": "cuDNN cells",
    "cudnn_lstm": "cuDNN cells",
}

# From TensorFlow's gates (i, j, f, o) to Keras' (i, f, c, o), and back: swap the middle two.
_GATE_SWAP = [0, 2, 1, 3]


def weights_from_variables(
    variables: Mapping[str, np.ndarray],
) -> tuple[tuple[LstmLayer, ...], np.ndarray, np.ndarray]:
    """Returns the LSTM layers, the output kernel and the output bias of a checkpoint.

    Args:
        variables: name -> value, exactly those of a plain LSTM stack and its output layer.

    Raises:
        BundleError: it is another kind of network, or variables are missing, unexpected or of
            shapes that cannot be a layer's.
    """
    _refuse_other_kinds(variables.keys())
    places = _find_layers(variables.keys())
    expected = {name for kernel, bias, _ in places for name in (kernel, bias)}
    expected |= {_OUTPUT_KERNEL, _OUTPUT_BIAS}
    problems = [
        f"{what} {_shorten(names)}"
        for what, names in (
            ("missing", expected - variables.keys()),
            ("unexpected", variables.keys() - expected),
        )
        if names
    ]
    if problems:
        raise BundleError(
            f"its variables are not those of a plain LSTM stack: {'; '.join(problems)}"
        )
    layers = tuple(
        _layer(kernel, variables[kernel], variables[bias], forget_bias)
        for kernel, bias, forget_bias in places
    )
    return layers, variables[_OUTPUT_KERNEL], variables[_OUTPUT_BIAS]


def variables_from_weights(bundle: Bundle) -> dict[str, np.ndarray]:
    """Returns name -> value of a bundle's weights, as Magenta 2.1.4 names them."""
    variables = {_OUTPUT_KERNEL: bundle.output_kernel, _OUTPUT_BIAS: bundle.output_bias}
    for index, layer in enumerate(bundle.layers):
        kernel_name, bias_name = _names(index, _WRITTEN_CELL, _ROLES[0])
        variables[kernel_name] = _swap_gates(np.concatenate([layer.kernel, layer.recurrent_kernel]))
        variables[bias_name] = _swap_gates(layer.bias_for(_FORGET_BIAS[_WRITTEN_CELL]))
    return variables


def _names(index: int, cell: str, roles: tuple[str, str]) -> tuple[str, str]:
    kernel, bias = (_SCOPE.format(index=index, cell=cell, role=role) for role in roles)
    return kernel, bias


def _find_layers(names: Set[str]) -> list[tuple[str, str, float]]:
    """Returns (kernel name, bias name, forget bias) of layers 0, 1 ... until one has neither.

    There is always a layer 0, so that a checkpoint without any is told what it lacks.
    """
    places: list[tuple[str, str, float]] = []
    while True:
        found = [
            (*pair, forget_bias)
            for cell, forget_bias in _FORGET_BIAS.items()
            for roles in _ROLES
            if names & set(pair := _names(len(places), cell, roles))
        ]
        if not found and places:
            return places
        places.append(found[0] if found else (*_names(0, _WRITTEN_CELL, _ROLES[0]), 1.0))


def _layer(name: str, kernel: np.ndarray, bias: np.ndarray, forget_bias: float) -> LstmLayer:
    units = kernel.shape[1] // 4 if kernel.ndim == 2 else 0
    if units == 0 or kernel.shape[1] % 4 or kernel.shape[0] <= units:
        raise BundleError(
            f"variable {name} has shape {list(kernel.shape)}; an LSTM needs [inputs + u, 4 u]"
        )
    if bias.shape != (4 * units,):
        raise BundleError(
            f"the bias beside variable {name} has shape {list(bias.shape)}, not [{4 * units}]"
        )
    kernel = _swap_gates(kernel)
    try:
        return LstmLayer(kernel[:-units], kernel[-units:], _swap_gates(bias), forget_bias)
    except BundleError as error:
        raise BundleError(f"variable {name} or its bias: {error}") from error


def _swap_gates(columns: np.ndarray) -> np.ndarray:
    gates = columns.reshape(*columns.shape[:-1], 4, -1)
    return gates[..., _GATE_SWAP, :].reshape(columns.shape)


def _refuse_other_kinds(names: Set[str]) -> None:
    for part, kind in _OTHER_KINDS.items():
        found = {name for name in names if part in name}
        if found:
            raise BundleError(
                f"its network has {kind} ({_shorten(found)}); only plain LSTM stacks can be read"
            )


def _shorten(names: Set[str]) -> str:
    """Returns a few of the names: a stranger's file may hold any number of them."""
    shown = ", ".join(printable(name) for name in sorted(names)[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
