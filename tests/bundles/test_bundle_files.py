"""Reading and writing bundles, held against what Magenta 2.1.4 wrote and computed."""

import json
import struct
import subprocess
import sys
import tempfile

import numpy as np
import pytest

import bundles
from bundles import checkpoint
from bundles.checkpoint import read_checkpoint, write_checkpoint

EXTRA = {"hparams": {"rnn_layer_sizes": [3, 2]}, "nll": 1.25, "note": "é", "version": None}
HEADS = [13, 77, 128, 32, 25, 40]


def test_weights_give_magentas_own_probabilities(magenta, run_network):
    _, bundle, figures = magenta
    inputs = figures["inputs"]
    if bundle.index_input:
        inputs = np.eye(bundle.input_size, dtype=np.float32)[inputs[:, 0].astype(int)]
    softmaxes, states = run_network(bundle, inputs)
    names = sorted(name for name in figures if name.startswith("softmax"))
    assert len(softmaxes) == len(names)
    for softmax, name in zip(softmaxes, names, strict=True):
        np.testing.assert_allclose(np.log(softmax), np.log(figures[name]), rtol=0, atol=2e-5)
    assert len(states) == sum(name.startswith("final_state_") for name in figures)
    for index, value in enumerate(states):
        np.testing.assert_allclose(value, figures[f"final_state_{index}"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "description", "parameters", "sizes"),
    [
        ("performance", "Performance RNN", 64_164, (356, 356)),
        ("performance_with_dynamics", "Performance RNN with dynamics", 69_060, (388, 388)),
    ],
)
def test_what_a_magenta_bundle_says_of_itself(fixtures, name, description, parameters, sizes):
    bundle = bundles.read_bundle(fixtures / f"{name}.mag")
    assert (bundle.id, bundle.description) == (name, description)
    assert bundle.bundle_description == (
        "Interop fixture: random weights, layers [32, 24], written by Magenta 2.1.4"
    )
    assert bundle.layer_sizes == [32, 24]
    assert (bundle.input_size, bundle.num_classes) == sizes
    assert bundle.num_parameters == parameters
    assert [layer.forget_bias for layer in bundle.layers] == [1.0, 1.0]
    assert (bundle.head_sizes, bundle.index_input) == (sizes[1:], False)
    assert (bundle.attn_length, bundle.residual_connections) == (0, False)
    assert bundle.extra == {}


def test_what_weights_do_not_tell_is_read_from_the_metagraph(fixtures):
    compact = bundles.read_bundle(fixtures / "performance_with_dynamics_compact.mag")
    assert (compact.id, compact.index_input) == ("performance_with_dynamics", True)
    assert compact.input_size == 388
    notes = bundles.read_bundle(fixtures / "performance_with_dynamics_and_note_encoding.mag")
    assert (notes.head_sizes, notes.num_classes) == (tuple(HEADS), 315)


@pytest.mark.parametrize(
    ("name", "layer_sizes", "attn_length", "residual", "parameters"),
    [
        ("attention", [12, 8], 7, False, 6776),
        ("residual", [12, 12, 8], 0, True, 10_536),
        ("attention_residual", [12, 12, 8], 7, True, 12_360),
    ],
)
def test_stacks_with_attention_and_residual_connections(
    fixtures, name, layer_sizes, attn_length, residual, parameters
):
    bundle = bundles.read_bundle(fixtures / f"{name}.mag")
    assert bundle.layer_sizes == layer_sizes
    assert (bundle.attn_length, bundle.residual_connections) == (attn_length, residual)
    projects = [layer.input_projection is not None for layer in bundle.layers]
    assert projects == ([True, False, True] if residual else [False, False])
    assert bundle.num_parameters == parameters


def test_a_magenta_bundle_written_again_is_the_same_but_for_the_metagraph(magenta, tmp_path):
    path, bundle, _ = magenta
    bundles.write_bundle(tmp_path / "copy.mag", bundle)
    original = bundles.read_bundle_file(path)
    copy = bundles.read_bundle_file(tmp_path / "copy.mag")
    assert copy.checkpoint_file[0] == original.checkpoint_file[0]
    for proto in (original, copy):
        proto.ClearField("metagraph_file")
    assert copy == original


def test_round_trip_of_magentas_bundles_is_exact(magenta, tmp_path, flat):
    _, bundle, _ = magenta
    bundles.write_bundle(tmp_path / "x.mag", bundle)
    assert flat(bundles.read_bundle(tmp_path / "x.mag")) == flat(bundle)


@pytest.mark.parametrize("layer_sizes", [(1,), (3, 2), (2, 2, 2)])
@pytest.mark.parametrize(("attn_length", "residual"), [(0, False), (4, False), (1, True)])
def test_round_trip_is_exact(layer_sizes, attn_length, residual, tmp_path, make_bundle, flat):
    bundle = make_bundle(
        layer_sizes, attn_length, residual, extra=EXTRA, head_sizes=(1, 3), index_input=False
    )
    bundle.layers[0].bias[:] = -0.0  # whose sign an addition of zero would lose
    bundles.write_bundle(tmp_path / "ours.mag", bundle)
    again = bundles.read_bundle(tmp_path / "ours.mag")
    assert flat(again) == flat(bundle)
    assert (again.id, again.description) == ("performance", "a generator")
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


def test_extra_facts_are_an_unknown_field_to_magentas_proto(tmp_path, make_bundle):
    bundles.write_bundle(tmp_path / "plain.mag", make_bundle())
    bundles.write_bundle(tmp_path / "extra.mag", make_bundle(extra=EXTRA))
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
        "metagraph_file",
    ]
    assert proto.SerializeToString() == extra


def test_a_bundle_from_a_proto(fixtures, flat):
    path = fixtures / "performance.mag"
    bundle = bundles.bundle_from_proto(bundles.read_bundle_file(path))
    assert flat(bundle) == flat(bundles.read_bundle(path))


def test_a_failed_write_leaves_the_file_that_was_there(tmp_path, monkeypatch, make_bundle):
    path = tmp_path / "ours.mag"
    path.write_bytes(b"before")
    with pytest.raises(bundles.BundleError, match="JSON"):
        bundles.write_bundle(path, make_bundle(extra={"x": object()}))

    def full_disk(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bundles.atomic_files.os.replace", full_disk)
    with pytest.raises(OSError, match=r"No space left on device: '.*/ours\.mag'"):
        bundles.write_bundle(path, make_bundle())
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_of_temporary_files_is_named():
    script = (
        "import resource, numpy, bundles.checkpoint as checkpoint\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n    checkpoint.write_checkpoint({'a': numpy.ones(10_000, 'f4')})\n"
        "except OSError as error:\n    print(error.filename, error.strerror)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{tempfile.gettempdir()} File too large\n"


def test_writing_where_no_directory_is(tmp_path, make_bundle):
    with pytest.raises(FileNotFoundError, match=r"No such file or directory: '.*none/x\.mag'"):
        bundles.write_bundle(tmp_path / "none" / "x.mag", make_bundle())


def test_shipped_bundle_path(tmp_path, monkeypatch):
    monkeypatch.setattr("bundles.files.__file__", str(tmp_path / "files.py"))
    with pytest.raises(bundles.BundleError, match=r"shipped bundle 'performance'; .* \(none\)"):
        bundles.shipped_bundle_path("performance")
    for key in ("b", "a"):
        (tmp_path / f"{key}.mag").touch()
    assert bundles.shipped_bundle_path("a") == tmp_path.resolve() / "a.mag"
    with pytest.raises(bundles.BundleError, match=r"bundle '\.\./a'; there are: a, b"):
        bundles.shipped_bundle_path("../a")


def test_importing_bundles_loads_neither_tensorflow_nor_note_seq():
    code = "import sys, bundles; print({'tensorflow', 'note_seq', 'keras'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "set()\n", result.stderr


def test_checkpoints_are_read_as_tensorflow_reads_them(fixtures):
    for path in fixtures.glob("*.mag"):
        (data,) = bundles.read_bundle_file(path).checkpoint_file
        found, expected = checkpoint._read_simple(data), checkpoint._read_with_tensorflow(data)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert (found[name].dtype, found[name].shape) == (value.dtype, value.shape)
            assert found[name].tobytes() == value.tobytes()


def number(value):
    """A number in protobuf's variable-length encoding."""
    parts = [value & 127]
    while value := value >> 7:
        parts[-1] |= 128
        parts.append(value & 127)
    return bytes(parts)


def with_index(data, change):
    """A checkpoint whose list of blocks is changed, its checksum right."""
    meta, at = checkpoint._read_handle(data, len(data) - 48)
    index, _ = checkpoint._read_handle(data, at)
    handles = change(list(checkpoint._values(checkpoint._block(data, index))))
    block = b"".join(b"\0\1" + number(len(handle)) + b"k" + handle for handle in handles)
    block += struct.pack("<II", 0, 1) + b"\0"
    block += struct.pack("<I", checkpoint.masked_crc(block))
    footer = b"".join(map(number, (*meta, index[0], len(block) - 5))).ljust(40, b"\0")
    return data[: index[0]] + block + footer + data[-8:]


def test_no_block_of_a_checkpoint_is_read_twice():
    variables = {"x": np.arange(6, dtype=np.float32).reshape(2, 3)}
    data = write_checkpoint(variables)
    np.testing.assert_array_equal(
        checkpoint._read_simple(with_index(data, lambda handles: handles))["x"], variables["x"]
    )
    with pytest.raises(checkpoint._NotSimpleError):
        checkpoint._read_simple(with_index(data, lambda handles: handles * 2))


@pytest.mark.parametrize(
    "variables",
    [
        {"x": np.array([1, 2], np.int64), "y": np.ones(3, np.float32)},
        {"x": np.array(2.5, np.float64)},
        {"x": np.zeros((0, 3), np.float32)},
    ],
)
def test_other_checkpoints_are_left_to_tensorflow(variables):
    found = read_checkpoint(write_checkpoint(variables))
    assert found.keys() == variables.keys()
    for name, value in variables.items():
        assert found[name].dtype == value.dtype
        np.testing.assert_array_equal(found[name], value)


def test_checkpoint_round_trip_keeps_every_bit():
    values = np.array([0.0, -0.0, 1e-45, -np.inf, np.nan], np.float32)
    assert read_checkpoint(write_checkpoint({"x": values}))["x"].tobytes() == values.tobytes()
