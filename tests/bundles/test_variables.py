"""Names and layouts of variables, of all that Magenta wrote over the years."""

import numpy as np
import pytest

import bundles
from bundles.variable_names import cell_kinds
from bundles.variables import variables_from_weights, weights_from_variables

STACK = "rnn/multi_rnn_cell"
FORGET_BIASES = {
    "basic_lstm_cell": 1.0,
    "lstm_cell": 1.0,
    "lstm_block_cell": 1.0,
    "cudnn_compatible_lstm_cell": 0.0,
}


def no_attention(layer_sizes):
    raise AssertionError("a stack without attention has no attention's length")


def renamed(bundle, *replacements):
    """The variables of a bundle, with parts of their names replaced."""
    variables = {}
    for name, value in variables_from_weights(bundle).items():
        for old, new in replacements:
            name = name.replace(old, new)
        variables[name] = value
    return variables


def read(variables, attn_length=no_attention):
    return weights_from_variables(variables, attn_length)


def gates(value, units):
    """The columns of one gate after another."""
    return np.split(value, np.arange(1, 4) * units, axis=-1)


@pytest.mark.parametrize("cell", FORGET_BIASES)
@pytest.mark.parametrize("roles", [("kernel", "bias"), ("weights", "biases")])
@pytest.mark.parametrize("scope", ["", "cudnn_lstm/"])
def test_cells_of_every_name(cell, roles, scope, make_bundle):
    bundle = make_bundle()
    variables = renamed(
        bundle,
        ("basic_lstm_cell", cell),
        ("/kernel", f"/{roles[0]}"),
        ("/bias", f"/{roles[1]}"),
        ("/biaseses", "/biases"),  # The output layer has that name already.
        (STACK, scope + STACK),
    )
    assert f"{scope}{STACK}/cell_1/{cell}/{roles[1]}" in variables
    assert cell_kinds(variables) == [cell]
    layers, output_kernel, output_bias = read(variables)
    for layer, original in zip(layers, bundle.layers, strict=True):
        assert layer.forget_bias == FORGET_BIASES[cell]
        assert layer.kernel.tobytes() == original.kernel.tobytes()
        assert layer.recurrent_kernel.tobytes() == original.recurrent_kernel.tobytes()
        assert layer.bias.tobytes() == original.bias.tobytes()
        difference = gates(layer.keras_bias - original.bias, layer.units)
        assert [set(np.round(gate, 6)) for gate in difference] == [
            {0},
            {FORGET_BIASES[cell]},
            {0},
            {0},
        ]
    assert output_kernel.tobytes() == bundle.output_kernel.tobytes()
    assert output_bias.tobytes() == bundle.output_bias.tobytes()


def test_gates_change_places():
    kernel = np.arange(24, dtype=np.float32).reshape(3, 8)
    variables = {
        f"{STACK}/cell_0/basic_lstm_cell/kernel": kernel,
        f"{STACK}/cell_0/basic_lstm_cell/bias": np.arange(8, dtype=np.float32),
        "fully_connected/weights": np.ones((2, 3), np.float32),
        "fully_connected/biases": np.zeros(3, np.float32),
    }
    (layer,), *_ = read(variables)
    assert layer.kernel.tolist() == [[0, 1, 4, 5, 2, 3, 6, 7]]
    assert layer.recurrent_kernel[1].tolist() == [16, 17, 20, 21, 18, 19, 22, 23]
    assert layer.keras_bias.tolist() == [0, 1, 5, 6, 2, 3, 6, 7]


def per_layer_scopes(variables, count):
    """Each layer in a scope of its own, as Magenta's cuDNN networks of several sizes had them."""
    for n in range(count):
        scope = f"cudnn_lstm_{n}" if n else "cudnn_lstm"
        old, new = f"{STACK}/cell_{n}/", f"{scope}/{STACK}/cell_0/"
        variables = {name.replace(old, new): value for name, value in variables.items()}
        if n == 0:
            # The next replacement must not find what this one made.
            variables = {name.replace(new, "\0"): value for name, value in variables.items()}
    return {
        name.replace("\0", f"cudnn_lstm/{STACK}/cell_0/"): value
        for name, value in variables.items()
    }


def test_cudnn_layers_of_several_sizes(make_bundle, flat):
    bundle = make_bundle((3, 2, 4), forget_bias=1.0)
    layers, *_ = read(per_layer_scopes(renamed(bundle), 3))
    assert flat(layers) == flat(bundle.layers)


def test_cudnn_layers_with_residual_connections(make_bundle, flat):
    bundle = make_bundle((3, 3, 2), residual=True, forget_bias=0.0)
    variables = renamed(
        bundle,
        ("fully_connected", "fully_connected_2"),
        (f"{STACK}/cell_0/input_projection_wrapper/kernel", "fully_connected/weights"),
        (f"{STACK}/cell_0/input_projection_wrapper/bias", "fully_connected/biases"),
        (f"{STACK}/cell_2/input_projection_wrapper/kernel", "fully_connected_1/weights"),
        (f"{STACK}/cell_2/input_projection_wrapper/bias", "fully_connected_1/biases"),
        ("input_projection_wrapper/", ""),
        ("basic_lstm_cell", "cudnn_compatible_lstm_cell"),
    )
    variables = per_layer_scopes(variables, 3)
    assert len(variables) == 12
    layers, output_kernel, _ = read(variables)
    for layer, original in zip(layers, bundle.layers, strict=True):
        assert layer.residual
        assert layer.forget_bias == 0
        assert flat(layer.input_projection) == flat(original.input_projection)
        assert layer.kernel.tobytes() == original.kernel.tobytes()
    assert output_kernel.tobytes() == bundle.output_kernel.tobytes()

    del variables["fully_connected_2/weights"], variables["fully_connected_2/biases"]
    with pytest.raises(bundles.BundleError, match=r"\[3, 3, 2\] units have 2 .* here are 1"):
        read(variables)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("roles", [("kernel", "bias"), ("weights", "biases")])
def test_attention_of_every_name(residual, roles, make_bundle, flat):
    bundle = make_bundle((3, 3), attn_length=4, residual=residual)
    variables = renamed(
        bundle,
        ("/kernel", f"/{roles[0]}"),
        ("/bias", f"/{roles[1]}"),
        ("/biaseses", "/biases"),
    )
    inside = "input_projection_wrapper/" if residual else ""
    wrapper = f"{STACK}/cell_0/{inside}attention_cell_wrapper"
    assert variables[f"{wrapper}/attention/attn_w"].shape == (1, 1, 3, 3)
    asked = []
    layers, *_ = read(variables, lambda layer_sizes: asked.append(layer_sizes) or 4)
    assert asked == [[3, 3]]
    assert flat(layers) == flat(bundle.layers)


def test_attentions_variables_of_wrong_shapes(make_bundle):
    good = renamed(make_bundle((3, 2), attn_length=4))
    wrapper = f"{STACK}/cell_0/attention_cell_wrapper"

    def error_of(name, *shape):
        assert f"{wrapper}/{name}" in good
        variables = good | {f"{wrapper}/{name}": np.ones(shape, np.float32)}
        with pytest.raises(bundles.BundleError) as caught:
            read(variables, lambda layer_sizes: 4)
        return str(caught.value)

    assert "has shape [3, 3], not [1, 1, u, u]" in error_of("attention/attn_w", 3, 3)
    assert "needs [3, 3] for its memory kernel" in error_of("attention/attn_w", 1, 1, 3, 2)
    assert "needs [3] for its score, not [2]" in error_of("attention/attn_v", 2)
    assert "needs [6, 3] for its query kernel" in error_of("attention/kernel", 5, 3)
    assert "needs [8, 5] for its input kernel" in error_of("kernel", 9, 5)
    assert "needs a bias of [3], not [2]" in error_of("attn_output_projection/bias", 2)
    assert "has shape [3, 3]; it needs 1 axes" in error_of("attention/attn_v", 3, 3)


def test_a_variable_under_two_names(make_bundle):
    variables = renamed(make_bundle())
    name = f"{STACK}/cell_0/basic_lstm_cell"
    variables[f"{name}/weights"] = variables[f"{name}/kernel"]
    with pytest.raises(bundles.BundleError, match=f"variable {name}/kernel under two names"):
        read(variables)


def test_layers_of_two_kinds_are_not_one_stack(make_bundle):
    plain, residual = renamed(make_bundle((3, 3))), renamed(make_bundle((3, 3), residual=True))
    with pytest.raises(bundles.BundleError, match=r"unexpected .*cell_0/basic_lstm_cell/bias"):
        read(residual | plain)
    # A second layer that has a projection though the first has none.
    moved = {
        name.replace("cell_1/", "cell_1/input_projection_wrapper/"): plain[name] for name in plain
    }
    moved |= {f"{STACK}/cell_1/input_projection_wrapper/kernel": np.ones((3, 3), np.float32)}
    moved |= {f"{STACK}/cell_1/input_projection_wrapper/bias": np.ones(3, np.float32)}
    with pytest.raises(bundles.BundleError, match="only a residual layer has an input projection"):
        read(moved)


def test_many_layers_are_found_in_one_go():
    names = {f"{STACK}/cell_{n}/basic_lstm_cell/kernel": np.ones(1) for n in range(4000)}
    with pytest.raises(bundles.BundleError, match=r"missing .* and 3999 more"):
        read(names)
