import pytest

from perf_rnn.configs import default_configs, get_config


def test_configs():
    facts = {
        key: (c.id, c.description, c.num_velocity_bins, c.num_classes, c.input_size)
        for key, c in default_configs.items()
    }
    assert facts == {
        "performance": ("performance", "Performance RNN", 0, 356, 356),
        "performance_with_dynamics": (
            "performance_with_dynamics",
            "Performance RNN with dynamics",
            32,
            388,
            388,
        ),
    }


def test_encoder_decoder_is_note_seqs():
    for config in default_configs.values():
        assert config.encoder_decoder.num_classes == config.num_classes
        assert config.encoder_decoder.default_event_label == config.codec.default_event


def test_configs_cannot_be_changed():
    with pytest.raises(TypeError):
        default_configs["mine"] = get_config("performance")  # type: ignore[index]


def test_unknown_config():
    with pytest.raises(ValueError, match="unknown config 'melody'; known: performance, perf"):
        get_config("melody")
