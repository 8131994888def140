"""Reading and writing bundles, held against what Magenta 2.1.4 wrote and computed."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import bundles
from bundles.checkpoint import read_checkpoint, write_checkpoint
from bundles.variables import weights_from_variables

FIXTURES = Path(__file__).parents[1] / "testdata" / "magenta_bundles"
FIXTURE_IDS = ["performance", "performance_with_dynamics"]
EXTRA = {"hparams": {"rnn_layer_sizes": [3, 2]}, "nll": 1.25, "note": "é", "version": None}


def make_bundle(layer_sizes=(3, 2), input_size=5, num_classes=4, forget_bias=1.0, extra=EXTRA):
    rng = np.random.default_rng(7)

    def draw(*shape):
        return rng.normal(size=shape).astype(np.float32)

    layers, width = [], input_size
    for units in layer_sizes:
        layers.append(
            bundles.LstmLayer(
                draw(width, 4 * units), draw(units, 4 * units), draw(4 * units), forget_bias
            )
        )
        width = units
    return bundles.Bundle(
        id="performance",
        description="a generator",
        bundle_description="a bundle",
        layers=tuple(layers),
        output_kernel=draw(width, num_classes),
        output_bias=draw(num_classes),
        extra=extra,
    )


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def run(bundle, inputs):
    """Returns softmax [t, classes] and the final state (c, h of every layer), from state zero."""
    state = []
    for layer in bundle.layers:
        c = h = np.zeros(layer.units, np.float32)
        outputs = []
        for x in inputs:
            gates = x @ layer.kernel + h @ layer.recurrent_kernel + layer.keras_bias
            i, f, g, o = np.split(gates, 4)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            outputs.append(h)
        inputs = np.stack(outputs)
        state += [c, h]
    logits = inputs @ bundle.output_kernel + bundle.output_bias
    exp = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exp / exp.sum(axis=1, keepdims=True), state


def assert_same_weights(a, b):
    assert len(a.layers) == len(b.layers)
    for x, y in zip(a.layers, b.layers, strict=True):
        assert x.forget_bias == y.forget_bias
        assert x.kernel.tobytes() == y.kernel.tobytes()
        assert x.recurrent_kernel.tobytes() == y.recurrent_kernel.tobytes()
        assert x.bias.tobytes() == y.bias.tobytes()
    assert a.output_kernel.tobytes() == b.output_kernel.tobytes()
    assert a.output_bias.tobytes() == b.output_bias.tobytes()


@pytest.mark.parametrize("name", FIXTURE_IDS)
def test_weights_give_magentas_own_probabilities(name):
    bundle = bundles.read_bundle(FIXTURES / f"{name}.mag")
    with np.load(FIXTURES / f"{name}.npz") as magenta:
        softmax, state = run(bundle, magenta["inputs"])
        np.testing.assert_allclose(softmax, magenta["softmax"], rtol=0, atol=1e-6)
        for index, value in enumerate(state):
            np.testing.assert_allclose(value, magenta[f"final_state_{index}"], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "description", "classes", "parameters"),
    [
        ("performance", "Performance RNN", 356, 64_164),
        ("performance_with_dynamics", "Performance RNN with dynamics", 388, 69_060),
    ],
)
def test_what_a_magenta_bundle_says_of_itself(name, description, classes, parameters):
    bundle = bundles.read_bundle(FIXTURES / f"{name}.mag")
    assert (bundle.id, bundle.description) == (name, description)
    assert bundle.bundle_description == (
        "Interop fixture: random weights, layers [32, 24], written by Magenta 2.1.4"
    )
    assert bundle.layer_sizes == [32, 24]
    assert (bundle.input_size, bundle.num_classes) == (classes, classes)
    assert bundle.num_parameters == parameters
    assert [layer.forget_bias for layer in bundle.layers] == [1.0, 1.0]
    assert bundle.extra == {}


@pytest.mark.parametrize("name", FIXTURE_IDS)
def test_a_magenta_bundle_written_again_is_the_same_but_for_the_metagraph(name, tmp_path):
    bundles.write_bundle(tmp_path / "copy.mag", bundles.read_bundle(FIXTURES / f"{name}.mag"))
    original = bundles.read_bundle_file(FIXTURES / f"{name}.mag")
    copy = bundles.read_bundle_file(tmp_path / "copy.mag")
    assert copy.checkpoint_file[0] == original.checkpoint_file[0]
    original.ClearField("metagraph_file")
    assert copy == original


@pytest.mark.parametrize("layer_sizes", [(1,), (3, 2), (2, 2, 2)])
def test_round_trip_is_exact(layer_sizes, tmp_path):
    bundle = make_bundle(layer_sizes)
    bundle.layers[0].bias[:] = -0.0  # whose sign an addition of zero would lose
    bundles.write_bundle(tmp_path / "ours.mag", bundle)
    again = bundles.read_bundle(tmp_path / "ours.mag")
    assert_same_weights(again, bundle)
    assert (again.id, again.description) == ("performance", "a generator")
    assert again.bundle_description == "a bundle"
    assert again.extra == EXTRA
    assert list(tmp_path.iterdir()) == [tmp_path / "ours.mag"]


def test_written_names_and_layout_are_magentas(tmp_path):
    kernel = np.arange(8, dtype=np.float32).reshape(1, 8)
    layer = bundles.LstmLayer(
        kernel, kernel.repeat(2, axis=0) + 10, np.arange(8, dtype=np.float32), forget_bias=0.0
    )
    bundle = bundles.Bundle(
        "x", "", "", (layer,), np.ones((2, 3), np.float32), np.zeros(3, np.float32)
    )
    bundles.write_bundle(tmp_path / "x.mag", bundle)
    variables = read_checkpoint(bundles.read_bundle_file(tmp_path / "x.mag").checkpoint_file[0])
    scope = "rnn/multi_rnn_cell/cell_0/basic_lstm_cell"
    assert sorted(variables) == [
        "fully_connected/biases",
        "fully_connected/weights",
        f"{scope}/bias",
        f"{scope}/kernel",
    ]
    assert {value.dtype for value in variables.values()} == {np.dtype(np.float32)}
    # Gates i, f, c, o become i, j, f, o; the cell's own forget bias of 1 is taken off.
    assert variables[f"{scope}/kernel"].tolist() == [
        [0, 1, 4, 5, 2, 3, 6, 7],
        [10, 11, 14, 15, 12, 13, 16, 17],
        [10, 11, 14, 15, 12, 13, 16, 17],
    ]
    assert variables[f"{scope}/bias"].tolist() == [0, 1, 4, 5, 1, 2, 6, 7]
    read = bundles.read_bundle(tmp_path / "x.mag").layers[0]
    assert read.bias.tolist() == [0, 1, 1, 2, 4, 5, 6, 7]
    assert read.keras_bias.tolist() == layer.keras_bias.tolist() == [0, 1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("cell", ["basic_lstm_cell", "lstm_cell", "lstm_block_cell"])
@pytest.mark.parametrize("roles", [("kernel", "bias"), ("weights", "biases")])
def test_other_names_of_the_same_cell_are_read(cell, roles):
    scope = f"rnn/multi_rnn_cell/cell_0/{cell}"
    kernel = np.arange(24, dtype=np.float32).reshape(3, 8)
    variables = {
        f"{scope}/{roles[0]}": kernel,
        f"{scope}/{roles[1]}": np.arange(8, dtype=np.float32),
        "fully_connected/weights": np.ones((2, 3), np.float32),
        "fully_connected/biases": np.zeros(3, np.float32),
    }
    layers, output_kernel, output_bias = weights_from_variables(variables)
    assert layers[0].kernel.tolist() == [[0, 1, 4, 5, 2, 3, 6, 7]]
    assert layers[0].keras_bias.tolist() == [0, 1, 5, 6, 2, 3, 6, 7]
    assert (output_kernel.shape, output_bias.shape) == ((2, 3), (3,))


def test_extra_facts_are_an_unknown_field_to_magentas_proto(tmp_path):
    bundles.write_bundle(tmp_path / "plain.mag", make_bundle(extra={}))
    bundles.write_bundle(tmp_path / "extra.mag", make_bundle())
    plain, extra = (tmp_path / "plain.mag").read_bytes(), (tmp_path / "extra.mag").read_bytes()
    assert extra.startswith(plain)
    facts = extra.removeprefix(plain)
    assert facts[:2] == b"\xc2\x3e"  # field 1000, length-delimited
    assert json.loads(facts[3:]) == EXTRA
    # A tool that knows Magenta's fields only keeps ours when it writes the proto again.
    proto = bundles.read_bundle_file(tmp_path / "extra.mag")
    assert sorted(field.name for field, _ in proto.ListFields()) == [
        "bundle_details",
        "checkpoint_file",
        "generator_details",
    ]
    assert proto.SerializeToString() == extra


def test_a_failed_write_leaves_the_file_that_was_there(tmp_path, monkeypatch):
    path = tmp_path / "ours.mag"
    path.write_bytes(b"before")
    with pytest.raises(bundles.BundleError, match="JSON"):
        bundles.write_bundle(path, make_bundle(extra={"x": object()}))

    def full_disk(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bundles.files.os.replace", full_disk)
    with pytest.raises(bundles.BundleError, match=r"ours\.mag: cannot write .* No space left"):
        bundles.write_bundle(path, make_bundle())
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_writing_where_no_directory_is(tmp_path):
    with pytest.raises(bundles.BundleError, match=r"none/x\.mag: cannot write .* No such file"):
        bundles.write_bundle(tmp_path / "none" / "x.mag", make_bundle())


def test_shipped_bundle_path(tmp_path, monkeypatch):
    monkeypatch.setattr("bundles.files.__file__", str(tmp_path / "files.py"))
    with pytest.raises(bundles.BundleError, match=r"config 'performance'; .* \(none\)"):
        bundles.shipped_bundle_path("performance")
    for key in ("b", "a"):
        (tmp_path / f"{key}.mag").touch()
    assert bundles.shipped_bundle_path("a") == tmp_path.resolve() / "a.mag"
    with pytest.raises(bundles.BundleError, match=r"config '\.\./a'; there is one for: a, b"):
        bundles.shipped_bundle_path("../a")


def test_importing_bundles_loads_neither_tensorflow_nor_note_seq():
    code = "import sys, bundles; print({'tensorflow', 'note_seq', 'keras'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "set()\n", result.stderr


def test_checkpoint_round_trip_keeps_every_bit():
    values = np.array([0.0, -0.0, 1e-45, -np.inf, np.nan], np.float32)
    assert read_checkpoint(write_checkpoint({"x": values}))["x"].tobytes() == values.tobytes()
