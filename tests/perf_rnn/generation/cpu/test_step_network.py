import threading

import keras
import numpy as np
import pytest

from bundles import Bundle, LstmLayer
from perf_rnn.configs import default_configs, get_config
from perf_rnn.generation.cpu import tiled_matmul
from perf_rnn.generation.cpu.step_network import StepNetwork
from perf_rnn.generation.cpu.tiled_matmul import MAX_INDEPENDENT_ROWS, has_small_kernels
from perf_rnn.generation.cpu.worker_threads import all_cores
from perf_rnn.hparams import HParams
from perf_rnn.models import Model
from perf_rnn.network.network import build_network, bundle_from_network

NOTES = get_config("performance_with_dynamics_and_note_encoding")


def make_model(config, **stack):
    keras.utils.set_random_seed(0)
    return Model(bundle_from_network(build_network(config, HParams(**stack)), config), config)


def make_inputs(config, rows, steps=10):
    rng = np.random.default_rng(1)
    heads = config.encoding.head_sizes
    events = rng.integers(heads, size=(steps, rows, len(heads)))
    events = events.reshape(steps, rows, *config.encoding.event_shape)
    controls = rng.normal(size=(steps, rows, config.control_size)).astype(np.float32)
    return list(zip(events, controls, strict=True))


SMALL_KERNELS = [
    pytest.param(
        True, marks=pytest.mark.skipif(not has_small_kernels(), reason="BLAS has none here")
    ),
    False,
]


@pytest.fixture(params=SMALL_KERNELS, ids=["small kernels", "no small kernels"])
def most_rows(request, monkeypatch):
    """Up to how many rows are independent, by BLAS's kernels for small products or without them."""
    monkeypatch.setattr(tiled_matmul, "has_small_kernels", lambda: request.param)
    return 67 if request.param else MAX_INDEPENDENT_ROWS


@pytest.mark.parametrize("key", default_configs)
@pytest.mark.parametrize(
    "stack",
    [
        {"rnn_layer_sizes": (13, 128)},
        {"rnn_layer_sizes": (16, 33), "attn_length": 4, "residual_connections": True},
        {"rnn_layer_sizes": (20,), "attn_length": 3},
    ],
    ids=str,
)
def test_a_row_does_not_depend_on_the_others(key, stack, most_rows):
    """Bit for bit, its logits and states are the same alone, among 7, and among the most."""
    config = get_config(key)
    model = make_model(config, **stack)
    rows = np.array([5])
    together = StepNetwork(model, most_rows)
    alone, some = StepNetwork(model, 1), StepNetwork(model, 7)
    for events, controls in make_inputs(config, most_rows):
        expected = together.step(events, controls)
        np.testing.assert_array_equal(alone.step(events[rows], controls[rows]), expected[rows])
        np.testing.assert_array_equal(some.step(events[:7], controls[:7]), expected[:7])
    for a, b, all_rows in zip(alone.states, some.states, together.states, strict=True):
        np.testing.assert_array_equal(a, all_rows[rows])
        np.testing.assert_array_equal(b, all_rows[:7])


@pytest.mark.parametrize("attn_length", [0, 3])
@pytest.mark.parametrize("rows", [1, 3, 40])
def test_cores_make_no_difference(rows, attn_length, most_rows, use_cores):
    """Bit for bit, in whichever way products are cut, and while rows come and go."""
    model = make_model(NOTES, rnn_layer_sizes=(80, 300), attn_length=attn_length)
    inputs = make_inputs(NOTES, rows)
    found = []
    for cores in (1, 2, 4):
        use_cores(cores)
        network = StepNetwork(model, rows)
        with all_cores():
            logits = [network.step(*each) for each in inputs[:5]]
            left = np.arange(0, rows, 2)
            network.take(left)
            logits += [network.step(events[left], controls[left]) for events, controls in inputs]
        found.append([*logits, *network.states])
    for others in found[1:]:
        for one, other in zip(found[0], others, strict=True):
            np.testing.assert_array_equal(one, other)


def test_many_rows_differ_by_rounding_only(monkeypatch):
    monkeypatch.setattr(tiled_matmul, "has_small_kernels", lambda: False)
    model = make_model(NOTES, rnn_layer_sizes=(16, 12), attn_length=3)
    rows = MAX_INDEPENDENT_ROWS + 1
    many, few = StepNetwork(model, rows), StepNetwork(model, 2)
    for events, controls in make_inputs(NOTES, rows):
        expected = few.step(events[:2], controls[:2])
        np.testing.assert_allclose(many.step(events, controls)[:2], expected, atol=1e-6)


def test_what_fails_in_a_worker_is_raised(use_cores, monkeypatch):
    use_cores(2)
    network = StepNetwork(make_model(NOTES, rnn_layer_sizes=(16, 12)), 2)
    inputs = make_inputs(NOTES, 2)
    begun = threading.Event()

    def fail(*arguments):
        begun.set()
        raise MemoryError("too large")

    monkeypatch.setattr(network._layers[0]._lstm._recurrent._tasks[0], "_function", fail)
    with all_cores():
        network._layers[0].start()
        assert begun.wait(60)
        with pytest.raises(MemoryError, match="too large"):
            network.step(*inputs[0])


@pytest.mark.parametrize("attn_length", [0, 3])
def test_take(attn_length):
    """Rows are repeated, dropped and reordered with all that they remember."""
    model = make_model(NOTES, rnn_layer_sizes=(16, 12), attn_length=attn_length)
    network = StepNetwork(model, 4)
    inputs = make_inputs(NOTES, 4)
    for events, controls in inputs[:5]:
        network.step(events, controls)
    whole = StepNetwork(model, 4)
    whole.states = network.states
    rows = np.array([2, 0, 2, 3, 3])
    network.take(rows)
    for events, controls in inputs[5:]:
        expected = whole.step(events, controls)
        np.testing.assert_array_equal(network.step(events[rows], controls[rows]), expected[rows])
    network.take(np.array([False, True, False, False, True]))
    for state, expected in zip(network.states, whole.states, strict=True):
        np.testing.assert_array_equal(state, expected[[0, 3]])
    network.take(np.zeros(2, bool))
    assert [len(state) for state in network.states] == [0] * len(network.states)


@pytest.mark.parametrize("attn_length", [0, 3])
def test_states_can_be_kept_and_set(attn_length):
    """What was kept is not written into, and from it everything goes on bit for bit."""
    model = make_model(NOTES, rnn_layer_sizes=(16, 12), attn_length=attn_length)
    network = StepNetwork(model, 2)
    inputs = make_inputs(NOTES, 2)
    for events, controls in inputs[:5]:
        network.step(events, controls)
    kept = network.states
    first = [network.step(events, controls) for events, controls in inputs[5:]]
    network.states = kept
    second = [network.step(events, controls) for events, controls in inputs[5:]]
    np.testing.assert_array_equal(second, first)
    again = StepNetwork(model, 2)
    again.states = kept
    np.testing.assert_array_equal(again.step(*inputs[5]), first[0])


def test_events_before_the_first_are_not_needed():
    """All weights zero but the output's bias: the logits are that bias."""
    layer = LstmLayer(
        np.zeros((356, 4), np.float32), np.zeros((1, 4), np.float32), np.zeros(4, np.float32), 1.0
    )
    bias = np.arange(356, dtype=np.float32)
    bundle = Bundle("performance", "", "", (layer,), np.zeros((1, 356), np.float32), bias)
    network = StepNetwork(Model(bundle, get_config("performance")), 1)
    logits = network.step(np.array([60]), np.zeros((1, 0), np.float32))
    assert logits.dtype == np.float32
    assert logits.tolist() == [bias.tolist()]
