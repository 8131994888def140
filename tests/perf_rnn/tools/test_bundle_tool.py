"""performance_rnn_bundle: what it shows, unpacks and converts."""

import dataclasses
import hashlib
import json
import pathlib
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from note_seq.protobuf import generator_pb2

import bundles
from bundles.checkpoint import read_checkpoint, write_checkpoint
from perf_rnn.configs import get_config
from perf_rnn.network.network import zero_states

TOOL = "perf_rnn.tools.performance_rnn_bundle"
FIXTURES = pathlib.Path(__file__).parents[2] / "testdata" / "magenta_bundles"
# The config whose fixtures have been made with other stacks.
CONFIGS = {
    "attention": "performance_with_dynamics_and_modulo_encoding",
    "residual": "performance",
    "attention_residual": "density_conditioned_performance_with_dynamics",
}


@pytest.fixture
def run(run_tool):
    return lambda *arguments: run_tool(TOOL, *arguments)


def facts_of(printed):
    return dict(line.split(":", 1) for line in printed.splitlines())


def test_inspect_magentas(run):
    path = FIXTURES / "attention_residual.mag"
    data = path.read_bytes()
    result = run(f"--bundle_file={path}")
    assert result.status == 0
    assert {label: text.strip() for label, text in facts_of(result.out).items()} == {
        "file": f"{path} ({len(data):,} bytes)",
        "sha256": hashlib.sha256(data).hexdigest(),
        "id": "density_conditioned_performance_with_dynamics",
        "description": "Note-density-conditioned Performance RNN + dynamics",
        "this bundle": "attention_residual: random weights",
        "made by": "Magenta, with TensorFlow 2.15.1",
        "config": "density_conditioned_performance_with_dynamics",
        "layers": "12, 12, 8 units of basic_lstm_cell",
        "attention": "of layer 0, over its last 7 outputs",
        "residual connections": "around every layer",
        "input": "396 values",
        "output": "388 classes",
        "parameters": "12,360",
    }


def test_inspect_ours(run, tmp_path):
    path = tmp_path / "ours.mag"
    bundle = bundles.read_bundle(FIXTURES / "performance_with_dynamics_compact.mag")
    extra = {"perf_rnn_version": "1.2", "hparams": {"clip_norm": 3, "rnn_layer_sizes": [32, 24]}}
    extra["training_steps"] = 700
    bundle = bundles.Bundle(**vars(bundle) | {"extra": extra})
    bundles.write_bundle(path, bundle)
    facts = facts_of(run(f"--bundle_file={path}", "--inspect").out)
    assert facts["made by"].strip() == "perf_rnn 1.2"
    assert facts["hparams"].strip() == "clip_norm=3, rnn_layer_sizes=[32, 24]"
    assert facts["training steps"].strip() == "700"
    assert facts["config"].strip() == "performance_with_dynamics_compact"
    assert facts["input"].strip() == "an event's index, of 388"


def rewritten(path, source, **changes):
    """A copy of a bundle file with other bytes in it."""
    proto = generator_pb2.GeneratorBundle.FromString(source.read_bytes())
    proto.generator_details.id = changes.pop("id", proto.generator_details.id)
    for name, value in changes.items():
        getattr(proto, name)[:] = value
    path.write_bytes(proto.SerializeToString())
    return path


def test_inspect_another_models_bundle(run, tmp_path):
    path = rewritten(tmp_path / "x.mag", FIXTURES / "attention.mag", id="attention_rnn")
    result = run(f"--bundle_file={path}")
    assert result.status == 0
    facts = facts_of(result.out)
    assert facts["id"].strip() == "attention_rnn"
    assert "of generator 'attention_rnn', which is no Performance RNN" in facts["config"]
    assert facts["attention"].strip() == "of layer 0, over its last 7 outputs"

    result = run(f"--bundle_file={path}", "--convert_to=keras", f"--output_file={tmp_path}/x.keras")
    assert result.status == 1
    assert "'attention_rnn', which is no Performance RNN" in result.error


def test_inspect_a_network_that_is_no_lstm_stack(run, tmp_path):
    checkpoint = write_checkpoint({"decoder/kernel": np.ones((2, 3), np.float32)})
    source = FIXTURES / "performance.mag"
    path = rewritten(tmp_path / "x.mag", source, id="music_vae", checkpoint_file=[checkpoint])
    result = run(f"--bundle_file={path}")
    assert result.status == 1
    assert facts_of(result.out)["id"].strip() == "music_vae"
    assert "a bundle of 'music_vae': its variables are not those of an LSTM stack" in result.error


def test_unpack(run, tmp_path):
    source, directory = FIXTURES / "attention.mag", tmp_path / "parts"
    result = run(f"--bundle_file={source}", f"--output_dir={directory}")
    assert result.status == 0
    names = ["details.textproto", "model.ckpt", "model.ckpt.meta", "weights.npz"]
    assert result.out == f"Wrote {directory}: {', '.join(names)}\n"
    assert sorted(path.name for path in directory.iterdir()) == names
    proto = bundles.read_bundle_file(source)
    assert (directory / "model.ckpt").read_bytes() == proto.checkpoint_file[0]
    assert (directory / "model.ckpt.meta").read_bytes() == proto.metagraph_file
    variables = read_checkpoint(proto.checkpoint_file[0])
    with np.load(directory / "weights.npz") as weights:
        assert set(weights) == set(variables)
        for name, value in variables.items():
            assert weights[name].tobytes() == value.tobytes()
    assert (directory / "details.textproto").read_text() == (
        'generator_details {\n  id: "performance_with_dynamics_and_modulo_encoding"\n'
        '  description: "Performance RNN with dynamics and modulo encoding"\n}\n'
        'bundle_details {\n  description: "attention: random weights"\n}\n'
    )

    result = run(f"--bundle_file={source}", f"--output_dir={directory}")
    assert result.status == 1
    assert "is a directory that is not empty" in result.error


def test_convert_to_mag(run, tmp_path):
    source = FIXTURES / "performance.mag"
    proto = bundles.read_bundle_file(source)
    cudnn = {
        name.replace("rnn/", "cudnn_lstm/rnn/", 1).replace("basic_lstm", "cudnn_compatible_lstm"): v
        for name, v in read_checkpoint(proto.checkpoint_file[0]).items()
    }
    old = rewritten(tmp_path / "old.mag", source, checkpoint_file=[write_checkpoint(cudnn)])
    new = tmp_path / "new.mag"
    result = run(f"--bundle_file={old}", "--convert_to=mag", f"--output_file={new}")
    assert (result.status, result.out) == (0, f"Wrote {new}\n")
    before, after = bundles.read_bundle(old), bundles.read_bundle(new)
    assert [layer.forget_bias for layer in before.layers] == [0.0, 0.0]
    assert [layer.forget_bias for layer in after.layers] == [1.0, 1.0]
    for a, b in zip(before.layers, after.layers, strict=True):
        assert a.kernel.tobytes() == b.kernel.tobytes()
        np.testing.assert_allclose(a.keras_bias, b.keras_bias, atol=1e-6)
    assert set(after.extra) == {"perf_rnn_version"}


def magentas(name):
    """A fixture's config, its events and controls as networks take them, and Magenta's figures."""
    config = get_config(CONFIGS.get(name, name))
    with np.load(FIXTURES / f"{name}.npz") as file:
        figures = dict(file)
    controls, vectors = np.split(figures["inputs"], [config.control_size], axis=1)
    events = config.encoding.events_from_dense(vectors)
    names = sorted(name for name in figures if name.startswith("softmax"))
    return config, events, controls, np.concatenate([figures[name] for name in names], axis=1)


def test_convert_to_keras(run, tmp_path):
    path, source = tmp_path / "x.keras", FIXTURES / "attention_residual.mag"
    result = run(f"--bundle_file={source}", "--convert_to=keras", f"--output_file={path}")
    assert (result.status, result.out) == (0, f"Wrote {path}\n")
    assert list(tmp_path.iterdir()) == [path]
    network = keras.models.load_model(path)
    _, events, controls, softmax = magentas("attention_residual")
    logits, _ = network([events[np.newaxis], controls[np.newaxis], zero_states(network, 1)])
    log_p = keras.ops.log_softmax(logits[0]).numpy()
    np.testing.assert_allclose(log_p, np.log(softmax), rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    "name", ["attention_residual", "performance_with_dynamics_and_note_encoding"]
)
def test_convert_to_saved_model(run, tmp_path, name):
    directory = tmp_path / "saved"
    result = run(
        f"--bundle_file={FIXTURES / name}.mag",
        "--convert_to=saved_model",
        f"--output_file={directory}",
    )
    assert (result.status, result.out) == (0, f"Wrote {directory}\n")
    assert str(tmp_path) not in result.err
    assert list(tmp_path.iterdir()) == [directory]
    step = tf.saved_model.load(directory).signatures["serving_default"]
    config, events, controls, softmax = magentas(name)
    states = {
        spec.name: tf.zeros([2, spec.shape[1]])
        for spec in step.structured_input_signature[1].values()
        if spec.name not in ("events", "controls")
    }
    for t in range(10):
        inputs = {"events": tf.constant([events[t]] * 2)}
        if config.control_size:
            inputs["controls"] = tf.constant([controls[t]] * 2)
        results = step(**inputs, **states)
        probabilities = results.pop("probabilities").numpy()
        assert results.pop("logits").shape == (2, config.num_classes)
        assert results.keys() == states.keys()
        states = results
        for row in probabilities:
            np.testing.assert_allclose(np.log(row), np.log(softmax[t]), rtol=0, atol=2e-5)


def test_extra_facts_are_unpacked(run, tmp_path):
    bundle = bundles.read_bundle(FIXTURES / "residual.mag")
    bundle = bundles.Bundle(**vars(bundle) | {"extra": {"training_steps": 3}})
    bundles.write_bundle(tmp_path / "x.mag", bundle)
    run(f"--bundle_file={tmp_path}/x.mag", f"--output_dir={tmp_path}/parts")
    assert json.loads((tmp_path / "parts" / "extra.json").read_text()) == {"training_steps": 3}


def test_a_shipped_bundle_by_its_config(run):
    facts = facts_of(run("--bundle_file=performance_with_dynamics_compact").out)
    assert facts["id"].strip() == "performance_with_dynamics"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--bundle_file is needed"),
        (["--bundle_file=none.mag"], "none.mag: no such file, nor a shipped bundle; those are "),
        (["--bundle_file={good}", "--convert_to=keras"], "go together; give both or neither"),
        (["--bundle_file={good}", "--output_file=x"], "go together; give both or neither"),
        (
            ["--bundle_file={good}", "--convert_to=keras", "--output_file=x"],
            "x: the name of a Keras file must end in .keras",
        ),
        (["--bundle_file={good}", "--convert_to=onnx", "--output_file=x"], "--convert_to"),
        (
            ["--bundle_file={good}", "--convert_to=mag", "--output_file={tmp}/none/x.mag"],
            "none/x.mag: No such file or directory",
        ),
        (
            ["--bundle_file={good}", "--convert_to=saved_model", "--output_file={tmp}"],
            "is a directory that is not empty",
        ),
        (["--bundle_file={page}"], "page.mag: not a bundle: this is a web page"),
    ],
)
def test_bad_input(run, tmp_path, arguments, message):
    page = tmp_path / "page.mag"
    page.write_text("<html>404</html>")
    names = {"good": FIXTURES / "performance.mag", "tmp": tmp_path, "page": page}
    result = run(*(argument.format(**names) for argument in arguments))
    assert result.status == 1
    assert message in result.error
    assert list(tmp_path.iterdir()) == [page]


def test_a_bundle_cannot_say_what_is_not_so(run, tmp_path):
    path = tmp_path / "liar.mag"
    said = {"sha256": "FAKE", "file": "FAKE", "id": "FAKE", "made_by": "FAKE"}
    bundle = bundles.read_bundle(FIXTURES / "performance.mag")
    bundles.write_bundle(path, dataclasses.replace(bundle, extra=said))
    shown = run(f"--bundle_file={path}").out
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert re.search(rf"^sha256: +{digest}$", shown, re.MULTILINE)
    assert re.search(r"^id: +performance$", shown, re.MULTILINE)
    assert re.findall(r"^(.*): +FAKE$", shown, re.MULTILINE) == [
        f"extra {name}" for name in ("file", "id", "made by", "sha256")
    ]
