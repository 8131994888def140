import pathlib

import keras
import numpy as np
import pytest

from bundles import read_bundle, write_bundle
from perf_rnn import network as network_lib
from perf_rnn.configs import get_config
from perf_rnn.sampling import StepNetwork

CONFIG = get_config("performance")
SIZES = (12, 9)


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    return network_lib.build_network(CONFIG.num_classes, SIZES)


@pytest.fixture(scope="module")
def events():
    return np.random.default_rng(0).integers(CONFIG.num_classes, size=(4, 30)).astype(np.int32)


def test_shapes(network, events):
    logits, states = network([events, network_lib.zero_states(SIZES, 4)])
    assert logits.shape == (4, 30, 356)
    assert [tuple(state.shape) for state in states] == [(4, 12), (4, 12), (4, 9), (4, 9)]
    assert network_lib.layer_sizes(network) == [12, 9]
    # 4u(in + u + 1) of each layer, (u + 1) * classes of the output.
    assert network.count_params() == 48 * (356 + 12 + 1) + 36 * (12 + 9 + 1) + 10 * 356


def test_carried_state_equals_the_whole_sequence(network, events):
    whole, last = network([events, network_lib.zero_states(SIZES, 4)])
    states = [keras.ops.convert_to_tensor(s) for s in network_lib.zero_states(SIZES, 4)]
    pieces = []
    for window in np.split(events, [1, 2, 11], axis=1):
        logits, states = network([keras.ops.convert_to_tensor(window), states])
        pieces.append(logits)
    np.testing.assert_allclose(np.concatenate(pieces, axis=1), whole, atol=1e-5)
    for a, b in zip(states, last, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_the_samplers_network_is_the_same(network, events):
    whole, last = network([events, network_lib.zero_states(SIZES, 4)])
    steps = StepNetwork(network_lib.bundle_from_network(network, CONFIG), 4)
    logits = np.stack([steps.step(column) for column in events.T], axis=1)
    np.testing.assert_allclose(logits, whole, atol=1e-5)
    for a, b in zip((part for state in steps.states for part in state), last, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_bundle_round_trip(network, tmp_path):
    bundle = network_lib.bundle_from_network(network, CONFIG, "mine", {"training_steps": 3})
    write_bundle(tmp_path / "a.mag", bundle)
    read = read_bundle(tmp_path / "a.mag")
    assert (read.id, read.bundle_description) == ("performance", "mine")
    assert read.extra["training_steps"] == 3
    pairs = zip(network_lib.bundle_weights(read), network.get_weights(), strict=True)
    for loaded, saved in pairs:
        # The file holds the forget gates' biases less 1, which rounds their last bit.
        np.testing.assert_allclose(loaded, saved, rtol=0, atol=1e-7)


def test_dropout_only_in_training(events):
    network = network_lib.build_network(356, SIZES, dropout_keep_prob=0.5)
    zero = network_lib.zero_states(SIZES, 4)
    first, second = (network([events, zero], training=False)[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert np.abs(network([events, zero], training=True)[0] - first).max() > 1e-3


def test_magentas_own_figures():
    """The bundle Magenta 2.1.4 wrote, its inputs, softmax and last state."""
    folder = pathlib.Path(__file__).parents[1] / "testdata" / "magenta_bundles"
    for key in ("performance", "performance_with_dynamics"):
        bundle = read_bundle(folder / f"{key}.mag")
        figures = np.load(folder / f"{key}.npz")
        network = network_lib.build_network(bundle.num_classes, bundle.layer_sizes)
        network.set_weights(network_lib.bundle_weights(bundle))
        events = figures["inputs"].argmax(axis=-1).reshape(1, -1).astype(np.int32)
        logits, _ = network([events, network_lib.zero_states(bundle.layer_sizes, 1)])
        softmax = np.array(keras.ops.softmax(logits))[0]
        expected = figures["softmax"].reshape(softmax.shape)
        np.testing.assert_allclose(np.log(softmax), np.log(expected), atol=1e-4)
