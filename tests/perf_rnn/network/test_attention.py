import keras
import numpy as np
import pytest
import tensorflow as tf

from perf_rnn.network.attention import AttentionLSTM
from perf_rnn.network.event_input import EventInput

BATCH, TIME, UNITS, LENGTH, FEATURES = 2, 6, 3, 4, 5


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def by_hand(weights, x, hidden, cell, context, memory):
    """One row, one step, from the equations, in float64."""
    (
        input_kernel,
        input_bias,
        context_kernel,
        kernel,
        recurrent_kernel,
        bias,
        query_kernel,
        query_bias,
        memory_kernel,
        score,
        output_kernel,
        output_bias,
    ) = weights
    x = x @ input_kernel + context @ context_kernel + input_bias
    i, f, candidate, o = np.split(x @ kernel + hidden @ recurrent_kernel + bias, 4)
    cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(candidate)
    hidden = sigmoid(o) * np.tanh(cell)
    query = np.concatenate([cell, hidden]) @ query_kernel + query_bias
    outputs = memory.reshape(LENGTH, UNITS)
    scores = [score @ np.tanh(output @ memory_kernel + query) for output in outputs]
    shares = np.exp(scores) / np.exp(scores).sum()
    context = shares @ outputs
    output = np.concatenate([hidden, context]) @ output_kernel + output_bias
    return output, hidden, cell, context, np.concatenate([outputs[1:].ravel(), output])


@pytest.fixture
def layer():
    layer = AttentionLSTM(UNITS, LENGTH)
    layer.build((BATCH, TIME, FEATURES))
    rng = np.random.default_rng(0)
    layer.set_weights([rng.normal(size=weight.shape) for weight in layer.get_weights()])
    return layer


@pytest.fixture
def inputs():
    return np.random.default_rng(1).normal(size=(BATCH, TIME, FEATURES)).astype(np.float32)


@pytest.fixture
def states():
    rng = np.random.default_rng(2)
    sizes = [UNITS, UNITS, UNITS, LENGTH * UNITS]
    return [tf.constant(rng.normal(size=(BATCH, size)), tf.float32) for size in sizes]


def test_equals_the_equations(layer, inputs, states):
    outputs, *last = (np.array(result) for result in layer(inputs, *states))
    weights = [weight.astype(np.float64) for weight in layer.get_weights()]
    for row in range(BATCH):
        state = [np.array(part[row], np.float64) for part in states]
        for t in range(TIME):
            output, *state = by_hand(weights, inputs[row, t], *state)
            np.testing.assert_allclose(outputs[row, t], output, rtol=1e-4, atol=1e-5)
        for got, expected in zip(last, state, strict=True):
            np.testing.assert_allclose(got[row], expected, rtol=1e-4, atol=1e-5)


def test_gradients(layer, inputs, states):
    """Of a fixed function of all results, by every weight and state, against differences."""
    variables = layer.trainable_variables
    rng = np.random.default_rng(3)
    shapes = [(BATCH, TIME, UNITS), *(state.shape for state in states)]
    upstream = [rng.normal(size=shape).astype(np.float32) for shape in shapes]

    def loss(states):
        results = layer(inputs, *states)
        return sum(tf.reduce_sum(r * u) for r, u in zip(results, upstream, strict=True))

    with tf.GradientTape() as tape:
        tape.watch(states)
        value = loss(states)
    gradients = tape.gradient(value, [*states, *variables])
    originals = [variable.numpy() for variable in variables]
    for n, gradient in enumerate(gradients):
        direction = rng.normal(size=gradient.shape)
        direction = (direction / np.linalg.norm(direction)).astype(np.float32)
        values = []
        for step in (0.01, -0.01):
            moved = list(states)
            if n < len(states):
                moved[n] = states[n] + step * direction
            else:
                variables[n - len(states)].assign(originals[n - len(states)] + step * direction)
            values.append(float(loss(moved)))
        if n >= len(states):
            variables[n - len(states)].assign(originals[n - len(states)])
        difference = (values[0] - values[1]) / 0.02
        slope = float(tf.reduce_sum(gradient * direction))
        np.testing.assert_allclose(slope, difference, rtol=0.02, atol=0.02)


def test_bfloat16_products_stay_close(layer, inputs, states):
    rough = AttentionLSTM(UNITS, LENGTH, None, "mixed_bfloat16")
    rough.build((BATCH, TIME, FEATURES))
    weights = layer.get_weights()
    for each in (rough, layer):
        each.set_weights([0.3 * weight for weight in weights])
    exact, other = layer(inputs, *states)[0].numpy(), rough(inputs, *states)[0].numpy()
    assert other.dtype == np.float32
    assert 0 < np.abs(exact - other).max() < 0.05


def test_the_forget_gate_starts_open():
    layer = AttentionLSTM(UNITS, LENGTH)
    layer.build((BATCH, TIME, FEATURES))
    bias = layer.rnn.cell.bias.numpy()
    assert bias.tolist() == [0] * UNITS + [1] * UNITS + [0] * 2 * UNITS


def test_config_round_trip():
    layer = AttentionLSTM(UNITS, LENGTH, EventInput([7], 2), "mixed_bfloat16", name="mine")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert (type(again), again.units, again.attn_length) == (AttentionLSTM, UNITS, LENGTH)
    assert again.get_config() == layer.get_config()
