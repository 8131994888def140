"""The nine configs: their facts, and the inputs and labels that Magenta 2.1.4 made of a piece."""

import pathlib

import numpy as np
import pytest
from note_seq.performance_lib import PerformanceEvent

from perf_rnn.configs import PerformanceRnnConfig, configs_of_id, default_configs, get_config

MAGENTA = pathlib.Path(__file__).parents[1] / "testdata" / "magenta_bundles"
NOTE_HEADS = (13, 77, 128, 32, 25, 40)
DYNAMICS = "performance_with_dynamics"


def magenta_figures(config):
    """What Magenta made of a real performance, and that performance as this config's events."""
    with np.load(MAGENTA / f"{config.key}.npz") as figures:
        figures = dict(figures)
    events = figures["events"].tolist()
    if config.encoding.event_shape:
        events = [tuple(PerformanceEvent(*part) for part in event) for event in events]
        return figures, config.codec.from_performance(events)
    return figures, np.array([config.codec.event_index(*event) for event in events])


every_config = pytest.mark.parametrize("config", default_configs.values(), ids=default_configs)


def test_configs():
    facts = {
        key: (c.id, c.description, c.input_size, c.dense_input_size, c.encoding.head_sizes)
        for key, c in default_configs.items()
    }
    assert facts == {
        "performance": ("performance", "Performance RNN", 356, 356, (356,)),
        DYNAMICS: (DYNAMICS, "Performance RNN with dynamics", 388, 388, (388,)),
        f"{DYNAMICS}_compact": (
            DYNAMICS,
            "Performance RNN with dynamics (compact input)",
            388,
            1,
            (388,),
        ),
        f"{DYNAMICS}_and_modulo_encoding": (
            f"{DYNAMICS}_and_modulo_encoding",
            "Performance RNN with dynamics and modulo encoding",
            16,
            16,
            (388,),
        ),
        f"{DYNAMICS}_and_note_encoding": (
            f"{DYNAMICS}_and_note_encoding",
            "Performance RNN with dynamics and note encoding",
            315,
            315,
            NOTE_HEADS,
        ),
        f"density_conditioned_{DYNAMICS}": (
            f"density_conditioned_{DYNAMICS}",
            "Note-density-conditioned Performance RNN + dynamics",
            396,
            396,
            (388,),
        ),
        f"pitch_conditioned_{DYNAMICS}": (
            f"pitch_conditioned_{DYNAMICS}",
            "Pitch-histogram-conditioned Performance RNN",
            400,
            400,
            (388,),
        ),
        f"multiconditioned_{DYNAMICS}": (
            f"multiconditioned_{DYNAMICS}",
            "Density- and pitch-conditioned Performance RNN",
            408,
            408,
            (388,),
        ),
        f"optional_multiconditioned_{DYNAMICS}": (
            f"optional_multiconditioned_{DYNAMICS}",
            "Optionally multiconditioned Performance RNN",
            409,
            409,
            (388,),
        ),
    }


@every_config
def test_sizes_go_together(config: PerformanceRnnConfig):
    assert config.key == next(key for key, value in default_configs.items() if value is config)
    assert config.num_classes == sum(config.encoding.head_sizes)
    assert config.input_size == config.control_size + config.encoding.width


def test_control_signals():
    signals = {
        key: ([signal.name for signal in c.conditioning.signals], c.conditioning.optional)
        for key, c in default_configs.items()
        if c.control_size
    }
    density, histogram = "notes_per_second", "pitch_class_histogram"
    assert signals == {
        f"density_conditioned_{DYNAMICS}": ([density], False),
        f"pitch_conditioned_{DYNAMICS}": ([histogram], False),
        f"multiconditioned_{DYNAMICS}": ([density, histogram], False),
        f"optional_multiconditioned_{DYNAMICS}": ([density, histogram], True),
    }


@every_config
def test_default_label(config):
    expected = (0, 0, 60, 0, 0, 0) if config.encoding.event_shape else 355
    assert config.codec.default_label == expected


@every_config
def test_inputs_and_labels_equal_magentas(config):
    figures, events = magenta_figures(config)
    controls = config.conditioning.extract(events, config.codec, figures.get("disable", False))
    assert controls.dtype == np.float32
    assert controls.shape == (200, config.control_size)
    dense = config.encoding.dense_inputs(events)
    assert dense.dtype == np.float32
    inputs = np.concatenate([controls[1:], dense[:-1]], axis=1)
    assert inputs.shape == figures["inputs"].shape == (199, config.dense_input_size)
    # NumPy's sine, cosine and sums may differ from Python's in the last bit.
    np.testing.assert_allclose(inputs, figures["inputs"], rtol=0, atol=1e-7)
    np.testing.assert_array_equal(events[1:], figures["labels"])


@every_config
def test_controls_equal_magentas(config):
    figures, events = magenta_figures(config)
    for signal in config.conditioning.signals:
        values = signal.extract(events, config.codec)
        expected = figures[f"control_{signal.name}"]
        assert values.shape == expected.shape
        np.testing.assert_allclose(values, expected, rtol=1e-14)


@every_config
def test_events_of_magentas_inputs(config):
    figures, events = magenta_figures(config)
    dense = figures["inputs"][:, config.control_size :]
    np.testing.assert_array_equal(config.encoding.events_from_dense(dense), events[:-1])


def test_configs_cannot_be_changed():
    with pytest.raises(TypeError):
        default_configs["mine"] = get_config("performance")  # type: ignore[index]


def test_unknown_config():
    with pytest.raises(ValueError, match="unknown config 'melody'; known: performance, perf"):
        get_config("melody")


def test_configs_of_id():
    assert [config.key for config in configs_of_id(DYNAMICS)] == [DYNAMICS, f"{DYNAMICS}_compact"]
    assert [config.key for config in configs_of_id("performance")] == ["performance"]
    assert configs_of_id("melody") == []
