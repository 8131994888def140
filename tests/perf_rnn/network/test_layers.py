import keras
import numpy as np
import pytest
import tensorflow as tf

from perf_rnn.network import recurrence, tensorflow_cpu
from perf_rnn.network.event_input import EventInput
from perf_rnn.network.layers import LSTM, InputProjection

BATCH, TIME, UNITS, FEATURES, CONTROLS = 3, 7, 5, 4, 2

VECTORS = np.random.default_rng(9).normal(size=(11, 3)).astype(np.float32)
EVENT_INPUTS = {
    "features": None,
    "one-hot": EventInput([11], 0),
    "controls and one-hot": EventInput([11], CONTROLS),
    "controls and vectors": EventInput([11], CONTROLS, VECTORS),
    "heads": EventInput([3, 6, 2], 0),
    "controls and heads": EventInput([3, 6, 2], CONTROLS),
}


def make_inputs(event_input, rng):
    """Random inputs, and those of them that are floats."""
    if event_input is None:
        features = tf.constant(rng.normal(size=(BATCH, TIME, FEATURES)), tf.float32)
        return features, [features]
    shape = (BATCH, TIME, len(event_input.head_sizes))
    events = rng.integers(event_input.head_sizes, size=shape).astype(np.int32)
    if len(event_input.head_sizes) == 1:
        events = events[..., 0]
    controls = rng.normal(size=(BATCH, TIME, event_input.control_size))
    controls = tf.constant(controls, tf.float32)
    return [tf.constant(events), controls], [controls] if event_input.control_size else []


def run(layer, inputs, state, watched, upstream):
    """Returns a layer's results, and the gradients of a fixed function of all of them."""
    with tf.GradientTape() as tape:
        tape.watch([*state, *watched])
        results = tf.nest.flatten(layer(inputs, *state))
        loss = sum(tf.reduce_sum(r * u) for r, u in zip(results, upstream, strict=True))
    gradients = tape.gradient(loss, [*state, *watched, *layer.trainable_variables])
    assert all(isinstance(gradient, tf.Tensor) for gradient in gradients)  # None of them sparse.
    return [np.array(tensor) for tensor in (*results, *gradients)]


def randomize(layer, rng):
    layer.set_weights([rng.normal(size=weight.shape) for weight in layer.get_weights()])


@pytest.mark.parametrize("event_input", EVENT_INPUTS.values(), ids=EVENT_INPUTS.keys())
@pytest.mark.parametrize("kind", [LSTM, InputProjection])
def test_equals_keras(monkeypatch, kind, event_input):
    """Results and every gradient, the written-out way against Keras's own on dense inputs."""
    rng = np.random.default_rng(0)
    layer = kind(UNITS, event_input)
    inputs, watched = make_inputs(event_input, rng)
    shapes = [(BATCH, TIME, UNITS)]
    if kind is LSTM:
        shapes += [(BATCH, UNITS)] * 2
    state = [tf.constant(rng.normal(size=shape), tf.float32) for shape in shapes[1:]]
    upstream = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    layer(inputs, *state)
    randomize(layer, rng)
    assert recurrence.module() is tensorflow_cpu
    ours = run(layer, inputs, state, watched, upstream)
    monkeypatch.setattr(recurrence, "module", lambda: None)
    stock = run(layer, inputs, state, watched, upstream)
    assert len(ours) == (8 if kind is LSTM else 3) + len(watched)
    for a, b in zip(ours, stock, strict=True):
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("event_input", list(EVENT_INPUTS.values())[1:])
def test_dense_vectors_are_controls_then_events(event_input):
    inputs, _ = make_inputs(event_input, np.random.default_rng(1))
    vectors = np.array(event_input.vectors_of(inputs))
    assert vectors.shape == (BATCH, TIME, event_input.size)
    events, controls = (np.array(part) for part in inputs)
    np.testing.assert_array_equal(vectors[..., : event_input.control_size], controls)
    if event_input.vectors is not None:
        expected = VECTORS[events]
    else:
        parts = zip(event_input.head_sizes, events.reshape(BATCH, TIME, -1).T, strict=True)
        expected = np.concatenate([np.eye(size)[part.T] for size, part in parts], axis=-1)
    np.testing.assert_array_equal(vectors[..., event_input.control_size :], expected)


@pytest.mark.parametrize("event_input", list(EVENT_INPUTS.values())[1:])
def test_events_differ_by_as_much_at_the_start_whatever_their_encoding(event_input):
    """An event's product with a new kernel has a standard deviation of 0.5."""
    keras.utils.set_random_seed(0)
    kernel = event_input.kernel_initializer((event_input.size, 4000))
    classes = np.arange(event_input.head_sizes[0], dtype=np.int32)[np.newaxis]
    events = classes if len(event_input.head_sizes) == 1 else classes[..., np.newaxis] % [3, 6, 2]
    controls = np.zeros((*classes.shape, event_input.control_size), np.float32)
    products = np.array(event_input.times([events.astype(np.int32), controls], kernel, "float32"))
    np.testing.assert_allclose(np.square(products).mean() ** 0.5, 0.5, rtol=0.02)


def test_bfloat16_products_stay_close():
    rng = np.random.default_rng(1)
    event_input = EVENT_INPUTS["controls and one-hot"]
    inputs, _ = make_inputs(event_input, rng)
    state = [np.zeros((BATCH, UNITS), np.float32)] * 2
    exact, rough = LSTM(UNITS, event_input), LSTM(UNITS, event_input, "mixed_bfloat16")
    for layer in (exact, rough):
        layer(inputs, *state)
    rough.set_weights(exact.get_weights())
    outputs = [layer(inputs, *state)[0].numpy() for layer in (exact, rough)]
    assert outputs[1].dtype == np.float32
    assert 0 < np.abs(outputs[0] - outputs[1]).max() < 0.02


def test_the_forget_gate_starts_open():
    layer = LSTM(UNITS)
    layer.build((None, None, FEATURES))
    bias = layer.get_weights()[2]
    assert bias.tolist() == [0] * UNITS + [1] * UNITS + [0] * 2 * UNITS


@pytest.mark.parametrize("event_input", EVENT_INPUTS.values(), ids=EVENT_INPUTS.keys())
def test_config_round_trip(event_input):
    layer = LSTM(UNITS, event_input, "mixed_bfloat16", name="mine")
    config = keras.saving.serialize_keras_object(layer)
    again = keras.saving.deserialize_keras_object(config)
    assert (type(again), again.units, again.name) == (LSTM, UNITS, "mine")
    assert again.lstm.dtype_policy.name == "mixed_bfloat16"
    assert again.get_config() == layer.get_config()
