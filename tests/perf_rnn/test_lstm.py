import keras
import numpy as np
import pytest
import tensorflow as tf

from perf_rnn import lstm as lstm_lib
from perf_rnn.lstm import LSTM

BATCH, TIME, UNITS, FEATURES = 3, 7, 5, 4


def run(layer, inputs, state, upstream):
    """Returns a layer's results, and the gradients of a fixed function of all of them."""
    state = [tf.constant(part) for part in state]
    with tf.GradientTape() as tape:
        tape.watch(state)
        results = layer(inputs, *state)
        loss = sum(tf.reduce_sum(r * u) for r, u in zip(results, upstream, strict=True))
    gradients = tape.gradient(loss, [*state, *layer.trainable_variables])
    return [np.array(tensor) for tensor in (*results, *gradients)]


@pytest.mark.parametrize("num_classes", [None, 11])
def test_equals_keras_lstm(monkeypatch, num_classes):
    """Outputs, states and every gradient, the written-out way against Keras's own layer."""
    rng = np.random.default_rng(0)
    layer = LSTM(UNITS, num_classes)
    if num_classes:
        inputs = rng.integers(num_classes, size=(BATCH, TIME)).astype(np.int32)
    else:
        inputs = rng.normal(size=(BATCH, TIME, FEATURES)).astype(np.float32)
    shapes = [(BATCH, TIME, UNITS), (BATCH, UNITS), (BATCH, UNITS)]
    state = [rng.normal(size=shape).astype(np.float32) for shape in shapes[1:]]
    upstream = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    layer(inputs, *state)
    layer.set_weights([rng.normal(size=w.shape) for w in layer.get_weights()])
    ours = run(layer, inputs, state, upstream)
    monkeypatch.setattr(lstm_lib, "_computes_on_tensorflow_cpu", lambda: False)
    stock = run(layer, inputs, state, upstream)
    assert len(ours) == 8
    for a, b in zip(ours, stock, strict=True):
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_bfloat16_products_stay_close():
    rng = np.random.default_rng(1)
    inputs = rng.integers(11, size=(BATCH, TIME)).astype(np.int32)
    state = [np.zeros((BATCH, UNITS), np.float32)] * 2
    exact, rough = LSTM(UNITS, 11), LSTM(UNITS, 11, "mixed_bfloat16")
    for layer in (exact, rough):
        layer(inputs, *state)
    rough.set_weights(exact.get_weights())
    outputs = [layer(inputs, *state)[0].numpy() for layer in (exact, rough)]
    assert outputs[1].dtype == np.float32
    assert 0 < np.abs(outputs[0] - outputs[1]).max() < 0.02


def test_config_round_trip():
    layer = LSTM(UNITS, 11, "mixed_bfloat16", name="mine")
    again = LSTM.from_config(layer.get_config())
    assert (again.units, again.num_classes, again.name) == (UNITS, 11, "mine")
    assert again.lstm.dtype_policy.name == "mixed_bfloat16"
    assert isinstance(again, keras.layers.Layer)
