import pathlib
import re
import subprocess
import sys

import keras
import numpy as np
import pytest

from bundles import read_bundle, write_bundle
from perf_rnn import __version__
from perf_rnn.configs import default_configs, get_config
from perf_rnn.generation.cpu.step_network import StepNetwork
from perf_rnn.hparams import HParams
from perf_rnn.models import Model
from perf_rnn.network import network as network_lib

CONFIG = get_config("optional_multiconditioned_performance_with_dynamics")
STACKS = {
    "plain": HParams(rnn_layer_sizes=(12, 9)),
    "attention": HParams(rnn_layer_sizes=(12, 9), attn_length=5),
    "residual": HParams(rnn_layer_sizes=(12, 12, 9), residual_connections=True),
    "attention and residual": HParams(
        rnn_layer_sizes=(12, 12, 9), attn_length=5, residual_connections=True
    ),
}
# Configs whose first layers read in different ways.
ENCODINGS = (
    "performance",
    "performance_with_dynamics_and_modulo_encoding",
    "performance_with_dynamics_and_note_encoding",
    CONFIG.key,
)
BATCH, TIME = 3, 12

MAGENTA = pathlib.Path(__file__).parents[2] / "testdata" / "magenta_bundles"
# Of the files that are not named after their config.
MAGENTA_STACKS = {
    "attention": "performance_with_dynamics_and_modulo_encoding",
    "residual": "performance",
    "attention_residual": "density_conditioned_performance_with_dynamics",
}


def make_network(config, hparams, dtype_policy="float32"):
    keras.utils.set_random_seed(0)
    return network_lib.build_network(config, hparams, dtype_policy)


def make_inputs(config, time=TIME):
    rng = np.random.default_rng(0)
    shape = BATCH, time, *config.encoding.event_shape
    events = rng.integers(
        config.encoding.head_sizes, size=(*shape[:2], len(config.encoding.head_sizes))
    )
    controls = rng.normal(size=(BATCH, time, config.control_size))
    return events.reshape(shape).astype(np.int32), controls.astype(np.float32)


def parameters(hparams, inputs, classes):
    """Counts the parameters of a stack."""
    count, below = 0, inputs
    for n, units in enumerate(hparams.rnn_layer_sizes):
        if hparams.residual_connections and units != (below if n else None):
            count += (below + 1) * units
            below = units
        count += 4 * units * (below + units + 1)
        if hparams.attn_length and n == 0:
            count += (below + units + 1) * below + 2 * (2 * units + 1) * units + (units + 1) * units
        below = units
    return count + (below + 1) * classes


@pytest.mark.parametrize(
    ("key", "stack"),
    [
        *((key, "plain") for key in default_configs),
        *((key, stack) for key in ENCODINGS for stack in list(STACKS)[1:]),
    ],
)
def test_step_by_step_and_in_pieces_it_is_the_same(key, stack):
    """The whole sequence, three pieces of it with the state carried, and event by event."""
    config, hparams = get_config(key), STACKS[stack]
    network = make_network(config, hparams)
    assert network.count_params() == parameters(hparams, config.input_size, config.num_classes)
    zero = list(map(keras.ops.convert_to_tensor, network_lib.zero_states(network, BATCH)))
    sizes = [units for units in hparams.rnn_layer_sizes for _ in range(2)]
    if hparams.attn_length:
        sizes[2:2] = [12, 60]
    assert [state.shape for state in zero] == [(BATCH, size) for size in sizes]
    assert not np.concatenate(zero, axis=1).any()

    events, controls = make_inputs(config)
    whole, last = network([*map(keras.ops.convert_to_tensor, (events, controls)), zero])
    assert whole.shape == (BATCH, TIME, config.num_classes)
    pieces, states = [], zero
    for cut in (slice(0, 1), slice(1, 8), slice(8, None)):
        piece = [keras.ops.convert_to_tensor(part[:, cut]) for part in (events, controls)]
        logits, states = network([*piece, states])
        pieces.append(np.array(logits))
    np.testing.assert_allclose(np.concatenate(pieces, axis=1), whole, atol=1e-5)

    steps = StepNetwork(Model(network_lib.bundle_from_network(network, config), config), BATCH)
    logits = [steps.step(events[:, t], controls[:, t]) for t in range(TIME)]
    np.testing.assert_allclose(np.stack(logits, axis=1), whole, atol=1e-5)
    for carried, stepped, expected in zip(states, steps.states, last, strict=True):
        np.testing.assert_allclose(carried, expected, atol=1e-5)
        np.testing.assert_allclose(stepped, expected, atol=1e-5)


@pytest.mark.parametrize("name", [*default_configs, *MAGENTA_STACKS])
def test_magentas_own_figures(name):
    """A bundle that Magenta 2.1.4 wrote, its inputs, probabilities and last state."""
    config = get_config(MAGENTA_STACKS.get(name, name))
    bundle, figures = read_bundle(MAGENTA / f"{name}.mag"), np.load(MAGENTA / f"{name}.npz")
    controls, inputs = np.split(figures["inputs"], [config.control_size], axis=1)
    events = config.encoding.events_from_dense(inputs)
    # Magenta has cell before hidden; context and memory follow both here as there.
    expected_states = [
        figures[f"final_state_{n}"] for n in range(len(figures)) if f"final_state_{n}" in figures
    ]
    attention = 2 if bundle.attn_length else 0
    for n in [0, *range(2 + attention, len(expected_states), 2)]:
        expected_states[n : n + 2] = expected_states[n + 1], expected_states[n]
    heads = len(config.encoding.head_sizes)
    names = ["softmax"] if heads == 1 else [f"softmax_{head}" for head in range(heads)]

    model = Model(bundle, config)
    network = network_lib.network_from_model(model)
    whole, last = network(
        [events[np.newaxis], controls[np.newaxis], network_lib.zero_states(network, 1)]
    )
    steps = StepNetwork(model, 1)
    stepped = [
        steps.step(*pair)
        for pair in zip(events[:, np.newaxis], controls[:, np.newaxis], strict=True)
    ]
    for logits, states in ((whole[0], last), (np.concatenate(stepped), steps.states)):
        parts = np.split(np.array(logits), np.cumsum(config.encoding.head_sizes)[:-1], axis=1)
        for part, softmax in zip(parts, names, strict=True):
            log_probabilities = np.array(keras.ops.log_softmax(part))
            np.testing.assert_allclose(log_probabilities, np.log(figures[softmax]), atol=1e-4)
        for state, expected in zip(states, expected_states, strict=True):
            np.testing.assert_allclose(np.array(state)[0], expected, atol=1e-4)


@pytest.mark.parametrize("stack", STACKS)
def test_bundle_round_trip(stack, tmp_path):
    network = make_network(CONFIG, STACKS[stack])
    bundle = network_lib.bundle_from_network(network, CONFIG, "mine", {"training_steps": 3})
    write_bundle(tmp_path / "a.mag", bundle)
    read = read_bundle(tmp_path / "a.mag")
    assert (read.id, read.bundle_description) == (CONFIG.id, "mine")
    assert read.extra == {"training_steps": 3, "perf_rnn_version": __version__}
    again = network_lib.network_from_model(Model(read, CONFIG))
    for loaded, saved in zip(again.get_weights(), network.get_weights(), strict=True):
        # The file holds the forget gates' biases less 1, which rounds their last bit.
        np.testing.assert_allclose(loaded, saved, rtol=0, atol=1e-7)


def test_bundles_know_their_heads_and_input():
    for key, heads, index_input in (
        ("performance_with_dynamics", (388,), False),
        ("performance_with_dynamics_compact", (388,), True),
        ("performance_with_dynamics_and_note_encoding", (13, 77, 128, 32, 25, 40), False),
    ):
        config = get_config(key)
        bundle = network_lib.bundle_from_network(make_network(config, STACKS["plain"]), config)
        assert (bundle.head_sizes, bundle.index_input) == (heads, index_input)


def test_bundles_of_other_configs_are_refused():
    bundle = network_lib.bundle_from_network(make_network(CONFIG, STACKS["plain"]), CONFIG)
    with pytest.raises(
        ValueError, match=r"reads inputs of 409 numbers; the config 'perf.*' gives 356"
    ):
        Model(bundle, get_config("performance"))


@pytest.mark.parametrize(
    ("stack", "dtype_policy"), [("plain", "float32"), ("attention and residual", "mixed_bfloat16")]
)
@pytest.mark.parametrize("key", ENCODINGS)
def test_keras_file_round_trip(tmp_path, key, stack, dtype_policy):
    config = get_config(key)
    network = make_network(config, STACKS[stack], dtype_policy)
    network.save(tmp_path / "network.keras")
    again = keras.saving.load_model(tmp_path / "network.keras")
    inputs = [*make_inputs(config, 4), network_lib.zero_states(again, BATCH)]
    saved, loaded = network(inputs), again(inputs)
    np.testing.assert_array_equal(loaded[0], saved[0])
    for a, b in zip(loaded[1], saved[1], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_another_process_reads_keras_files(tmp_path):
    """Once it has imported what the guide says."""
    for stack in ("plain", "attention and residual"):
        make_network(CONFIG, STACKS[stack]).save(tmp_path / f"{stack}.keras")
    guide = (pathlib.Path(__file__).parents[3] / "docs" / "bundles.md").read_text()
    (line,) = re.findall(r"`keras.models.load_model` after `(import [\w.]+)`", guide)
    script = f"{line}\nimport keras, sys\nfor path in sys.argv[1:]: keras.models.load_model(path)"
    subprocess.run([sys.executable, "-c", script, *tmp_path.iterdir()], check=True)


@pytest.mark.parametrize("stack", STACKS)
def test_dropout_only_in_training(stack):
    hparams = STACKS[stack]
    network = make_network(CONFIG, hparams.parse("dropout_keep_prob=0.5"))
    inputs = [*make_inputs(CONFIG, 4), network_lib.zero_states(network, BATCH)]
    exact = make_network(CONFIG, hparams)
    exact.set_weights(network.get_weights())
    expected = exact(inputs)[0]
    np.testing.assert_array_equal(network(inputs, training=False)[0], expected)
    assert np.abs(network(inputs, training=True)[0] - expected).max() > 1e-3
