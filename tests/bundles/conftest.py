"""Bundles to test with, and the network's equations once more, in plain NumPy."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import bundles

FIXTURES = Path(__file__).parents[1] / "testdata" / "magenta_bundles"


@pytest.fixture
def fixtures():
    """The directory of Magenta's own bundles."""
    return FIXTURES


@pytest.fixture(params=sorted(path.stem for path in FIXTURES.glob("*.mag")))
def magenta(request):
    """A bundle of Magenta's: its path, what it reads as, and Magenta's own figures."""
    path = FIXTURES / f"{request.param}.mag"
    with np.load(path.with_suffix(".npz")) as figures:
        return path, bundles.read_bundle(path), dict(figures)


@pytest.fixture
def make_bundle():
    return _make_bundle


@pytest.fixture
def run_network():
    return _run_network


@pytest.fixture
def flat():
    return _flat


def _make_bundle(layer_sizes=(3, 2), attn_length=0, residual=False, **changes):
    """A bundle of random weights; the changes are of a Bundle's attributes."""
    rng = np.random.default_rng(7)

    def draw(*shape):
        return rng.normal(size=shape).astype(np.float32)

    def project(inputs, outputs):
        return bundles.Projection(draw(inputs, outputs), draw(outputs))

    layers, below = [], 5
    for u in layer_sizes:
        inputs = u if residual else below
        attention = None
        if attn_length and not layers:
            attention = bundles.Attention(
                attn_length,
                project(inputs + u, inputs),
                project(2 * u, u),
                draw(u, u),
                draw(u),
                project(2 * u, u),
            )
        projects = residual and (not layers or below != u)
        layers.append(
            bundles.LstmLayer(
                draw(inputs, 4 * u),
                draw(u, 4 * u),
                draw(4 * u),
                changes.get("forget_bias", 1.0),
                attention,
                residual,
                project(below, u) if projects else None,
            )
        )
        below = u
    bundle = bundles.Bundle(
        id="performance",
        description="a generator",
        bundle_description="a bundle",
        layers=tuple(layers),
        output_kernel=draw(below, 4),
        output_bias=draw(4),
    )
    changes.pop("forget_bias", None)
    return dataclasses.replace(bundle, **changes)


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _softmax(x):
    exp = np.exp(x - x.max(axis=-1, keepdims=True))
    return exp / exp.sum(axis=-1, keepdims=True)


def _project(projection, *inputs):
    return np.concatenate(inputs) @ projection.kernel + projection.bias


def _run_network(bundle, inputs):
    """Returns each head's softmax [t, classes] and the last states, all from state zero.

    Of each layer c and h, and with attention the context and the last outputs, flat.
    """
    states = []
    for layer in bundle.layers:
        attention = layer.attention
        c = h = context = np.zeros(layer.units, np.float32)
        memory = np.zeros((layer.attention.length if attention else 0, layer.units), np.float32)
        outputs = []
        for x in inputs:
            if layer.input_projection:
                x = _project(layer.input_projection, x)
            inner = _project(attention.input, x, context) if attention else x
            gates = inner @ layer.kernel + h @ layer.recurrent_kernel + layer.keras_bias
            i, f, g, o = np.split(gates, 4)
            c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
            h = _sigmoid(o) * np.tanh(c)
            y = h
            if attention:
                query = _project(attention.query, c, h)
                scores = np.tanh(memory @ attention.memory + query) @ attention.score
                context = _softmax(scores) @ memory
                y = _project(attention.output, h, context)
                memory = np.concatenate([memory[1:], y[np.newaxis]])
            outputs.append(x + y if layer.residual else y)
        inputs = np.stack(outputs)
        states += [c, h, context, memory.reshape(-1)] if attention else [c, h]
    logits = inputs @ bundle.output_kernel + bundle.output_bias
    heads = np.split(logits, np.cumsum(bundle.head_sizes)[:-1], axis=1)
    return [_softmax(head) for head in heads], states


def _flat(value):
    """Returns a bundle, or a part of one, as what can be compared, bit for bit."""
    if isinstance(value, np.ndarray):
        return value.shape, value.tobytes()
    if dataclasses.is_dataclass(value):
        return {
            field.name: _flat(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, tuple):
        return [_flat(item) for item in value]
    return value
