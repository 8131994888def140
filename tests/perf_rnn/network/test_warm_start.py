import dataclasses
import re

import keras
import numpy as np
import pytest

from perf_rnn.configs import default_configs, get_config
from perf_rnn.generation.cpu.step_network import StepNetwork
from perf_rnn.hparams import HParams
from perf_rnn.models import load_model
from perf_rnn.network.network import build_network, bundle_from_network
from perf_rnn.network.warm_start import transfer_weights

DYNAMICS = "performance_with_dynamics"
MODULO = f"{DYNAMICS}_and_modulo_encoding"
NOTES = f"{DYNAMICS}_and_note_encoding"
DENSITY = f"density_conditioned_{DYNAMICS}"
MULTI = f"multiconditioned_{DYNAMICS}"
OPTIONAL = f"optional_multiconditioned_{DYNAMICS}"

PLAIN = HParams(rnn_layer_sizes=(6, 5))
STACKS = {
    "plain": PLAIN,
    "attention": HParams(rnn_layer_sizes=(6, 5), attn_length=3),
    "residual": HParams(rnn_layer_sizes=(6, 5), residual_connections=True),
    "both": HParams(rnn_layer_sizes=(6, 5), attn_length=3, residual_connections=True),
}
# Where each signal's numbers are among the controls.
CONTROLS = {
    DENSITY: {"density": slice(0, 8)},
    MULTI: {"density": slice(0, 8), "histogram": slice(8, 20)},
    OPTIONAL: {"flag": slice(0, 1), "density": slice(1, 9), "histogram": slice(9, 21)},
}


def make_bundle(key, hparams=PLAIN, seed=0):
    rng = np.random.default_rng(seed)
    network = build_network(get_config(key), hparams)
    network.set_weights([rng.normal(scale=0.3, size=w.shape) for w in network.get_weights()])
    return bundle_from_network(network, get_config(key))


def start_from(bundle, key, hparams=PLAIN):
    """Returns the bundle of a new network after warm start, and before."""
    keras.utils.set_random_seed(1)
    network = build_network(get_config(key), hparams)
    before = bundle_from_network(network, get_config(key))
    transfer_weights(network, get_config(key), bundle)
    return bundle_from_network(network, get_config(key)), before


def play(bundle, key, events, controls):
    network = StepNetwork(load_model(bundle, key), len(events[0]))
    return np.stack([network.step(*pair) for pair in zip(events, controls, strict=True)])


def make_controls(key, values, steps, rows):
    """Controls with the signals of `values`, of which the others are random."""
    rng = np.random.default_rng(5)
    size = get_config(key).control_size
    controls = rng.normal(size=(steps, rows, size)).astype(np.float32)
    for name, where in CONTROLS.get(key, {}).items():
        if name in values:
            controls[..., where] = values[name]
    return controls


@pytest.mark.parametrize(
    ("source", "target", "stack"),
    [
        (DYNAMICS, DYNAMICS, "plain"),
        (DYNAMICS, f"{DYNAMICS}_compact", "plain"),
        (DYNAMICS, DENSITY, "plain"),
        (MULTI, DENSITY, "plain"),
        (MODULO, MODULO, "plain"),
        (NOTES, NOTES, "plain"),
        (OPTIONAL, OPTIONAL, "both"),
        *(("performance", OPTIONAL, stack) for stack in STACKS),
        *((DENSITY, OPTIONAL, stack) for stack in STACKS),
        *((MODULO, DENSITY, stack) for stack in STACKS),
    ],
)
def test_what_both_know_is_predicted_alike(source, target, stack):
    """The target ignores its new controls, and agrees on the classes that both have."""
    hparams = STACKS[stack]
    bundle = make_bundle(source, hparams)
    started, _ = start_from(bundle, target, hparams)
    heads = get_config(source).encoding.head_sizes
    rng = np.random.default_rng(3)
    events = rng.integers(heads, size=(12, 2, len(heads)))
    events = events.reshape(12, 2, *get_config(source).encoding.event_shape)
    values = {
        "flag": rng.normal(size=(12, 2, 1)),
        "density": rng.normal(size=(12, 2, 8)),
        "histogram": rng.normal(size=(12, 2, 12)),
    }
    known = {name: values[name] for name in CONTROLS.get(source, {})}
    for name in known.keys() - CONTROLS.get(target, {}).keys():
        values[name] = np.zeros_like(values[name])
    expected = play(bundle, source, events, make_controls(source, values, 12, 2))
    logits = play(started, target, events, make_controls(target, known, 12, 2))
    np.testing.assert_allclose(logits[..., : sum(heads)], expected, atol=1e-5)


def test_classes_without_a_counterpart_stay_as_they_are():
    bundle = make_bundle("performance")
    started, before = start_from(bundle, DYNAMICS)
    kernel = started.layers[0].kernel
    np.testing.assert_array_equal(kernel[:356], bundle.layers[0].kernel)
    np.testing.assert_array_equal(kernel[356:], before.layers[0].kernel[356:])
    np.testing.assert_array_equal(started.output_kernel[:, :356], bundle.output_kernel)
    np.testing.assert_array_equal(started.output_kernel[:, 356:], before.output_kernel[:, 356:])
    np.testing.assert_array_equal(started.output_bias[:356], bundle.output_bias)
    np.testing.assert_array_equal(started.output_bias[356:], 0)
    for ours, theirs in zip(started.layers[1:], bundle.layers[1:], strict=True):
        np.testing.assert_array_equal(ours.kernel, theirs.kernel)


def test_velocities_and_controls_are_dropped():
    bundle = make_bundle(OPTIONAL)
    started, _ = start_from(bundle, "performance")
    np.testing.assert_array_equal(started.layers[0].kernel, bundle.layers[0].kernel[21 : 21 + 356])
    np.testing.assert_array_equal(started.output_kernel, bundle.output_kernel[:, :356])


def test_controls_carry_over_by_name():
    bundle = make_bundle(f"pitch_conditioned_{DYNAMICS}")
    started, _ = start_from(bundle, OPTIONAL)
    kernel, theirs = started.layers[0].kernel, bundle.layers[0].kernel
    np.testing.assert_array_equal(kernel[:9], 0)
    np.testing.assert_array_equal(kernel[9:21], theirs[:12])
    np.testing.assert_array_equal(kernel[21:], theirs[12:])


@pytest.mark.parametrize(
    ("source", "target"), [(DYNAMICS, NOTES), (NOTES, DYNAMICS), (DYNAMICS, MODULO)]
)
def test_other_encodings_are_refused(source, target):
    with pytest.raises(ValueError, match=f"{target}' cannot start from a bundle of '{source}'"):
        start_from(make_bundle(source), target)


def test_attention_cannot_be_narrowed():
    bundle = make_bundle(DYNAMICS, STACKS["attention"])
    with pytest.raises(ValueError, match=r"388 inputs .* the 356 of config 'performance'"):
        start_from(bundle, "performance", STACKS["attention"])


@pytest.mark.parametrize(
    ("stack", "hparams"),
    [
        (HParams(rnn_layer_sizes=(6, 7)), "rnn_layer_sizes=[6,7]"),
        (STACKS["attention"], "attn_length=3"),
        (
            HParams(rnn_layer_sizes=(3,), attn_length=2, residual_connections=True),
            "rnn_layer_sizes=[3],attn_length=2,residual_connections=true",
        ),
    ],
)
def test_other_layers_are_refused_with_the_hparams_to_give(stack, hparams):
    give = re.escape(f"; give --hparams={hparams}")
    with pytest.raises(ValueError, match=f"{give}( or wider layers)?$"):
        start_from(make_bundle(DYNAMICS, stack), DYNAMICS)
    assert PLAIN.parse(hparams) == stack


@pytest.mark.parametrize("stack", ["attention", "residual"])
def test_only_plain_stacks_can_be_widened(stack):
    bundle = make_bundle(DYNAMICS, STACKS[stack])
    wide = dataclasses.replace(STACKS[stack], rnn_layer_sizes=(9, 9))
    with pytest.raises(ValueError, match=re.escape("give --hparams=rnn_layer_sizes=[6,5]")):
        start_from(bundle, DYNAMICS, wide)


@pytest.mark.parametrize("key", [NOTES, MODULO])
def test_wider_layers_in_other_encodings(key):
    bundle = make_bundle(key)
    config, encoding = get_config(key), get_config(key).encoding
    started, _ = start_from(bundle, key, HParams(rnn_layer_sizes=(7, 9)))
    rng = np.random.default_rng(3)
    events = rng.integers(min(encoding.head_sizes), size=(12, 2, *encoding.event_shape))
    controls = np.zeros((12, 2, config.control_size))
    expected = play(bundle, key, events, controls)
    np.testing.assert_allclose(play(started, key, events, controls), expected, atol=2e-6)


@pytest.mark.parametrize("key", [DYNAMICS, OPTIONAL])
def test_wider_layers_predict_the_same_and_can_learn_more(key):
    bundle = make_bundle(DYNAMICS)
    wide = HParams(rnn_layer_sizes=(9, 5))
    started, fresh = start_from(bundle, key, wide)
    events = np.random.default_rng(3).integers(388, size=(12, 2))
    controls = np.random.default_rng(4).random((12, 2, get_config(key).control_size))
    np.testing.assert_allclose(
        play(started, key, events, controls),
        play(bundle, DYNAMICS, events, np.zeros((12, 2, 0))),
        atol=2e-6,
    )
    # What the three new units read is as it was before, in all four gates.
    of_new = np.arange(4 * 9).reshape(4, 9)[:, 6:].ravel()
    first, first_fresh = started.layers[0], fresh.layers[0]
    recurrent, recurrent_fresh = first.recurrent_kernel, first_fresh.recurrent_kernel
    np.testing.assert_array_equal(recurrent[:, of_new], recurrent_fresh[:, of_new])
    np.testing.assert_array_equal(first.kernel[-388:, of_new], first_fresh.kernel[-388:, of_new])
    # What reads them starts at zero.
    assert not np.delete(recurrent, of_new, axis=1)[6:].any()
    assert not started.layers[1].kernel[6:].any()


def test_other_models_are_refused():
    bundle = dataclasses.replace(make_bundle(DYNAMICS), id="melody_rnn")
    with pytest.raises(
        ValueError, match=r"'melody_rnn', which is no Performance RNN; known are: performance, "
    ):
        start_from(bundle, DYNAMICS)


def test_every_config_can_start_itself():
    for key in default_configs:
        bundle = make_bundle(key)
        started, _ = start_from(bundle, key)
        np.testing.assert_array_equal(started.layers[0].kernel, bundle.layers[0].kernel)
