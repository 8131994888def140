import functools
import pathlib

import note_seq
import numpy as np
import pytest
from note_seq import performance_controls
from note_seq.performance_lib import Performance, PerformanceEvent
from note_seq.protobuf import generator_pb2

from bundles import read_bundle
from perf_rnn import configs
from perf_rnn.events.note_events import NoteCodec
from perf_rnn.generation.beam_search import beam_search
from perf_rnn.generation.openings import Opening
from perf_rnn.hparams import HParams
from perf_rnn.magenta import note_seq_encoders
from perf_rnn.network.network import build_network
from perf_rnn.performance_model import (
    EventSequenceRnnModelError,
    PerformanceRnnConfig,
    PerformanceRnnModel,
    default_configs,
)

MAGENTA = pathlib.Path(__file__).parent.parent.parent / "testdata" / "magenta_bundles"
DYNAMICS = "performance_with_dynamics"
NOTES = "performance_with_dynamics_and_note_encoding"
DENSITY = "density_conditioned_performance_with_dynamics"
OPTIONAL = "optional_multiconditioned_performance_with_dynamics"
HISTOGRAM = [2.0, 0, 1, 0, 1, 1, 0, 1, 0, 1, 0, 1]


@functools.cache
def model_of(key):
    model = PerformanceRnnModel(default_configs[key])
    model.initialize_with_bundle(read_bundle(MAGENTA / f"{key}.mag"))
    return model


def performance_of(key, num_events):
    """The first events of the performance that Magenta's figures are for."""
    config = default_configs[key]
    events = np.load(MAGENTA / f"{key}.npz")["events"][:num_events]
    if config.note_performance:
        performance = config.codec.to_performance(np.empty((0, 6), np.int32))
        for event in events.tolist():
            performance.append(tuple(PerformanceEvent(*part) for part in event))
        return performance
    performance = Performance(steps_per_second=100, num_velocity_bins=config.num_velocity_bins)
    for event in events.tolist():
        performance.append(PerformanceEvent(*event))
    return performance


def one_hot(num_velocity_bins=0, **sizes):
    return note_seq.OneHotEventSequenceEncoderDecoder(
        note_seq.PerformanceOneHotEncoding(num_velocity_bins, **sizes)
    )


@pytest.mark.parametrize("key", default_configs)
def test_default_configs_are_magentas(key):
    config, own = default_configs[key], configs.get_config(key)
    assert isinstance(config, configs.PerformanceRnnConfig)
    assert (config.key, config.details.id, config.details.description) == (
        key,
        own.id,
        own.description,
    )
    assert config.encoding is own.encoding
    assert config.conditioning.signals == own.conditioning.signals
    assert config.steps_per_second == 100
    assert config.num_velocity_bins == (0 if key == "performance" else 32)
    assert config.note_performance == (key == NOTES)
    assert config.optional_conditioning == (key == OPTIONAL)
    encoder = config.encoder_decoder
    assert encoder.input_size == own.dense_input_size
    if not config.note_performance:
        assert (encoder.num_classes, encoder.default_event_label) == (own.num_classes, 355)
    # The figures of Magenta are what the note_seq objects give.
    figures = np.load(MAGENTA / f"{key}.npz")
    performance = performance_of(key, 200)
    values = [signal.extract(performance) for signal in config.control_signals or []]
    sequences = [performance]
    if values:
        control = list(zip(*values, strict=True))
        disable = figures["disable"].tolist() if config.optional_conditioning else None
        sequences.insert(0, list(zip(disable, control, strict=True)) if disable else control)
    inputs, labels = encoder.encode(*sequences)
    np.testing.assert_allclose(inputs, figures["inputs"], atol=1e-6)
    np.testing.assert_array_equal(labels, figures["labels"])


def test_default_configs_do_not_change():
    config = default_configs[DYNAMICS]
    config.details.id = "changed"
    config.hparams.parse("batch_size=1")
    with pytest.raises(AttributeError):
        config.hparams.batch_size = 1
    with pytest.raises(TypeError):
        default_configs["new"] = config
    assert (config.details.id, config.hparams.batch_size) == (DYNAMICS, 64)


def test_a_config_of_ones_own():
    config = PerformanceRnnConfig(
        generator_pb2.GeneratorDetails(id="mine", description="my own"),
        one_hot(8),
        {"rnn_layer_sizes": [16], "learning_rate": 0.01},
        num_velocity_bins=8,
        control_signals=[
            performance_controls.NoteDensityPerformanceControlSignal(3.0, [1.0, 5.0]),
            performance_controls.PitchHistogramPerformanceControlSignal(5.0),
        ],
        optional_conditioning=True,
    )
    assert (config.key, config.id, config.description) == ("mine", "mine", "my own")
    assert config.hparams == HParams(rnn_layer_sizes=(16,), learning_rate=0.01)
    assert (config.codec.num_velocity_bins, config.num_classes) == (8, 364)
    assert (config.control_size, config.input_size) == (1 + 3 + 12, 380)
    assert config.encoder_decoder.input_size == 380
    network = build_network(config, config.hparams)
    assert network.output_shape[0] == (None, None, 364)


@pytest.mark.parametrize("hparams", [{}, HParams()])
def test_a_config_without_details_and_hparams(hparams):
    config = PerformanceRnnConfig(None, one_hot(), hparams)
    assert (config.id, config.details.id, config.hparams) == ("", "", HParams())
    assert config.control_signals is None


@pytest.mark.parametrize(
    ("encoder", "bins", "width", "compact"),
    [
        (one_hot(), 0, 356, False),
        (one_hot(5), 5, 361, False),
        (one_hot(32, max_shift_steps=50), 32, 338, False),
        (
            note_seq.OneHotIndexEventSequenceEncoderDecoder(note_seq.PerformanceOneHotEncoding(16)),
            16,
            372,
            True,
        ),
        (note_seq.ModuloPerformanceEventSequenceEncoderDecoder(), 0, 13, False),
        (note_seq.ModuloPerformanceEventSequenceEncoderDecoder(12), 12, 16, False),
        (note_seq.NotePerformanceEventSequenceEncoderDecoder(12), 12, 295, False),
    ],
)
def test_encoders(encoder, bins, width, compact):
    config = PerformanceRnnConfig(None, encoder, {})
    assert (config.codec.num_velocity_bins, config.encoding.width) == (bins, width)
    assert config.encoding.index_input == compact
    assert config.encoder_decoder is encoder
    is_note = isinstance(config.codec, NoteCodec)
    assert config.note_performance == is_note
    events = np.array([[1, 2, 60, 3, 4, 5]] if is_note else [60, 300, 188], np.int32)
    performance = config.codec.to_performance(events)
    expected = [encoder.events_to_input(performance, i) for i in range(len(events))]
    np.testing.assert_allclose(config.encoding.dense_inputs(events), expected, atol=1e-7)


class HalvesEncoder(note_seq.OneHotEventSequenceEncoderDecoder):
    """One-hot, with halves for ones."""

    def events_to_input(self, events, position):
        return [x / 2 for x in super().events_to_input(events, position)]


@pytest.mark.parametrize(
    "make",
    [
        lambda: HalvesEncoder(note_seq.PerformanceOneHotEncoding()),
        lambda: note_seq.LookbackEventSequenceEncoderDecoder(note_seq.PerformanceOneHotEncoding()),
        lambda: one_hot(min_pitch=21, max_pitch=108),
        lambda: note_seq.OneHotEventSequenceEncoderDecoder(note_seq.MelodyOneHotEncoding(0, 9)),
        lambda: note_seq.NotePerformanceEventSequenceEncoderDecoder(32, max_shift_steps=500),
        lambda: note_seq.NotePerformanceEventSequenceEncoderDecoder(32, max_pitch=100),
        lambda: default_configs[DENSITY].encoder_decoder,
        lambda: None,
    ],
)
def test_encoders_that_are_not_supported(make):
    encoder = make()
    name = type(encoder).__name__
    with pytest.raises(ValueError, match=f"{name}: not an encoder of performances known here; gi"):
        PerformanceRnnConfig(None, encoder, {})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_velocity_bins": 8}, "num_velocity_bins 8, but the encoder has 0"),
        ({"note_performance": True}, "note_performance, but the encoder is not one of note events"),
        ({"optional_conditioning": True}, "but there are no control_signals"),
        ({"hparams": {"layers": [3]}}, "hparams: unknown name 'layers'"),
        (
            {
                "encoder_decoder": note_seq.NotePerformanceEventSequenceEncoderDecoder(32),
                "control_signals": default_configs[DENSITY].control_signals,
            },
            "note events cannot be conditioned",
        ),
    ],
)
def test_arguments_that_contradict_each_other(arguments, message):
    with pytest.raises(ValueError, match=message):
        PerformanceRnnConfig(
            **{"details": None, "encoder_decoder": one_hot(), "hparams": {}, **arguments}
        )


def test_control_signals_of_other_settings():
    theirs = performance_controls.NoteDensityPerformanceControlSignal(2.0, [1.0, 5.0])
    ours = note_seq_encoders.signal_of(theirs)
    assert (ours.name, ours.size, ours.default) == ("notes_per_second", 3, 15.0)
    assert ours.parse("[1, 7]") == [1, 7]
    assert ours.encode([0.5, 7]).tolist() == [[1, 0, 0], [0, 0, 1]]
    performance = performance_of(DYNAMICS, 60)
    codec = default_configs[DYNAMICS].codec
    np.testing.assert_array_equal(
        ours.extract(codec.from_performance(performance), codec), theirs.extract(performance)
    )
    with pytest.raises(ValueError, match="notes_per_second -1 is none of its values: Desired"):
        ours.parse("-1")
    histogram = note_seq_encoders.signal_of(
        performance_controls.PitchHistogramPerformanceControlSignal(1.0)
    )
    assert histogram.parse(str(HISTOGRAM)) == [HISTOGRAM]
    np.testing.assert_allclose(histogram.encode([HISTOGRAM]), np.array([HISTOGRAM]) / 8)


# Magenta 2.1.4's performance_log_likelihood of the same events by the same bundles.
@pytest.mark.parametrize(
    ("key", "disabled", "expected"),
    [
        ("performance", None, -586.8739976882935),
        (DYNAMICS, None, -596.5443511009216),
        ("performance_with_dynamics_compact", None, -604.8753089904785),
        ("performance_with_dynamics_and_modulo_encoding", None, -598.6636276245117),
        (DENSITY, None, -597.8359289169312),
        ("pitch_conditioned_performance_with_dynamics", None, -595.2442302703857),
        ("multiconditioned_performance_with_dynamics", None, -604.4090881347656),
        (OPTIONAL, True, -606.0575432777405),
        (OPTIONAL, False, -599.7448048591614),
        (OPTIONAL, None, -599.7448048591614),
    ],
)
def test_log_likelihood_is_magentas(key, disabled, expected):
    values = {"notes_per_second": 5.0, "pitch_class_histogram": HISTOGRAM}
    controls = [values[signal.name] for signal in default_configs[key].control_signals or []]
    found = model_of(key).performance_log_likelihood(
        performance_of(key, 100), controls or None, disabled
    )
    assert found == pytest.approx(expected, abs=1e-3)


def test_log_likelihood_of_note_events():
    figures = np.load(MAGENTA / f"{NOTES}.npz")
    expected = sum(
        np.log(figures[f"softmax_{head}"][np.arange(99), figures["labels"][:99, head]]).sum()
        for head in range(6)
    )
    found = model_of(NOTES).performance_log_likelihood(performance_of(NOTES, 100), None, None)
    assert found == pytest.approx(expected, abs=1e-3)


def test_log_likelihood_of_one_event_and_of_none():
    assert (
        model_of(DYNAMICS).performance_log_likelihood(performance_of(DYNAMICS, 1), None, None) == 0
    )
    with pytest.raises(EventSequenceRnnModelError, match="an empty performance has no likelihood"):
        model_of(DYNAMICS).performance_log_likelihood(performance_of(DYNAMICS, 0), None, None)


@pytest.mark.parametrize("key", [DYNAMICS, NOTES])
def test_generate_performance(key):
    primer = performance_of(key, 10)
    made = model_of(key).generate_performance(60, primer, seed=3)
    assert type(made) is type(primer)
    assert len(made) == 60
    assert list(made)[:10] == list(primer)
    assert len(primer) == 10
    again, other = (model_of(key).generate_performance(60, primer, seed=s) for s in (3, 4))
    assert list(again) == list(made)
    assert list(other) != list(made)
    assert list(model_of(key).generate_performance(60, primer)) != list(made)
    assert made.to_sequence().notes
    # The same as the search that it stands for.
    codec = default_configs[key].codec
    ((events, _),) = beam_search(
        model_of(key).model, Opening(codec.from_performance(primer)), [3], num_events=60
    )
    assert codec.from_performance(made).tolist() == events.tolist()


def test_generate_performance_by_beam_search():
    primer = performance_of(DYNAMICS, 10)
    model = model_of(DYNAMICS)

    def likelihood(**beam):
        made = model.generate_performance(80, primer, seed=3, legal_events=False, **beam)
        assert len(made) == 80
        return model.performance_log_likelihood(made, None, None)

    assert likelihood(beam_size=4, branch_factor=8) > likelihood() + 20


def test_generate_performance_asks_its_control_functions():
    primer = performance_of(OPTIONAL, 10)
    asked = []

    def density(step):
        asked.append(step)
        return 4.0

    def generate(histogram, disabled):
        return list(
            model_of(OPTIONAL).generate_performance(
                60,
                primer,
                control_signal_fns=[density, lambda step: histogram],
                disable_conditioning_fn=disabled,
                seed=1,
            )
        )

    enabled = generate(HISTOGRAM, lambda step: False)
    # What follows an event is asked for at the event's end.
    steps = [step - primer.start_step for step in primer.steps]
    assert set(asked) >= set(steps[1:])
    assert generate(HISTOGRAM, None) == enabled
    assert generate([1.0] * 12, lambda step: False) != enabled
    off = generate(HISTOGRAM, lambda step: True)
    assert off != enabled
    assert generate([1.0] * 12, lambda step: True) == off


@pytest.mark.parametrize(
    ("key", "arguments", "message"),
    [
        (DYNAMICS, {"num_events": 0}, "the primer is empty"),
        (DYNAMICS, {"num_events": 20}, "the primer has 20 events, .* fewer than num_steps 20"),
        (
            DYNAMICS,
            {"control_signal_fns": [lambda step: 4.0]},
            "1 control signals are given; the model's are: none",
        ),
        (DENSITY, {}, "0 control signals are given; the model's are: notes_per_second"),
        (
            DENSITY,
            {
                "control_signal_fns": [lambda step: 4.0],
                "disable_conditioning_fn": lambda step: True,
            },
            "the conditioning of this model is not optional",
        ),
        (
            DENSITY,
            {"control_signal_fns": [lambda step: -4.0]},
            "notes_per_second -4.0 is not a number",
        ),
        (DYNAMICS, {"beam_size": 0}, "beam_size 0"),
        (DYNAMICS, {"temperature": 0.0}, "temperature 0.0 is not a number above 0"),
    ],
)
def test_what_generate_performance_refuses(key, arguments, message):
    primer = performance_of(key, arguments.pop("num_events", 5))
    with pytest.raises(ValueError, match=message):
        model_of(key).generate_performance(20, primer, **arguments)


def test_errors_of_the_model_are_magentas():
    for primer in (performance_of(DYNAMICS, 0), performance_of(DYNAMICS, 9)):
        with pytest.raises(EventSequenceRnnModelError):
            model_of(DYNAMICS).generate_performance(9, primer)


def test_events_out_of_range_are_refused():
    primer = performance_of(DYNAMICS, 5)
    primer.append(PerformanceEvent(PerformanceEvent.TIME_SHIFT, 101))
    with pytest.raises(ValueError, match="TIME_SHIFT value 101 is outside 1 to 100"):
        model_of(DYNAMICS).generate_performance(20, primer)


def test_a_model_without_weights():
    model = PerformanceRnnModel(default_configs[DYNAMICS])
    with pytest.raises(EventSequenceRnnModelError, match="has no weights; initialize it first"):
        model.generate_performance(20, performance_of(DYNAMICS, 5))
    with pytest.raises(ValueError, match="reads inputs of 356 numbers"):
        model.initialize_with_bundle(read_bundle(MAGENTA / "performance.mag"))
    model.initialize_with_bundle(model_of(DYNAMICS).bundle)
    model.close()
    with pytest.raises(EventSequenceRnnModelError):
        _ = model.bundle
