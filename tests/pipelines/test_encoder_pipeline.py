"""From performances to examples, against note_seq's own encoders."""

import note_seq
import numpy as np
import pytest
from note_seq import NoteSequence, Performance, performance_lib, sequences_lib
from note_seq.performance_lib import NotePerformance

from perf_rnn.configs import default_configs
from pipelines import pipelines_common
from pipelines.dag_pipeline import DagInput, DagOutput, DAGPipeline
from pipelines.event_sequence_pipeline import EncoderPipeline
from pipelines.note_sequence_pipelines import Quantizer, SustainPipeline
from pipelines.performance_pipeline import PerformanceEncoder, PerformanceExtractor, get_pipeline
from pipelines.pipeline import Pipeline

PLAIN, DYNAMIC = default_configs["performance"], default_configs["performance_with_dynamics"]
NOTES = default_configs["performance_with_dynamics_and_note_encoding"]
OPTIONAL = default_configs["optional_multiconditioned_performance_with_dynamics"]

ONE_HOT = note_seq.OneHotEventSequenceEncoderDecoder(note_seq.PerformanceOneHotEncoding(32))
DENSITY = note_seq.NoteDensityPerformanceControlSignal(3.0, [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0])
HISTOGRAM = note_seq.PitchHistogramPerformanceControlSignal(5.0)
# The encoder and the control signals of each config, as Magenta 2.1.4 makes them.
MAGENTAS = {
    "performance": (
        note_seq.OneHotEventSequenceEncoderDecoder(note_seq.PerformanceOneHotEncoding()),
        [],
    ),
    "performance_with_dynamics": (ONE_HOT, []),
    "performance_with_dynamics_compact": (
        note_seq.OneHotIndexEventSequenceEncoderDecoder(note_seq.PerformanceOneHotEncoding(32)),
        [],
    ),
    "performance_with_dynamics_and_modulo_encoding": (
        note_seq.ModuloPerformanceEventSequenceEncoderDecoder(32),
        [],
    ),
    "performance_with_dynamics_and_note_encoding": (
        note_seq.NotePerformanceEventSequenceEncoderDecoder(32),
        [],
    ),
    "density_conditioned_performance_with_dynamics": (ONE_HOT, [DENSITY]),
    "pitch_conditioned_performance_with_dynamics": (ONE_HOT, [HISTOGRAM]),
    "multiconditioned_performance_with_dynamics": (ONE_HOT, [DENSITY, HISTOGRAM]),
    "optional_multiconditioned_performance_with_dynamics": (ONE_HOT, [DENSITY, HISTOGRAM]),
}


def magentas_examples(performance, config):
    encoder, signals = MAGENTAS[config.key]
    if not signals:
        return [pipelines_common.make_sequence_example(*encoder.encode(performance))]
    controls = list(zip(*(signal.extract(performance) for signal in signals), strict=True))
    control_encoder = note_seq.MultipleEventSequenceEncoder([s.encoder for s in signals])
    sequences = [controls]
    if config is OPTIONAL:
        control_encoder = note_seq.OptionalEventSequenceEncoder(control_encoder)
        sequences = [[(disabled, control) for control in controls] for disabled in (False, True)]
    encoder = note_seq.ConditionalEventSequenceEncoderDecoder(control_encoder, encoder)
    return [
        pipelines_common.make_sequence_example(*encoder.encode(sequence, performance))
        for sequence in sequences
    ]


def arrays(example):
    lists = example.feature_lists.feature_list
    return (
        np.array([feature.float_list.value for feature in lists["inputs"].feature]),
        np.array([feature.int64_list.value for feature in lists["labels"].feature]),
    )


@pytest.mark.parametrize("config", default_configs.values(), ids=lambda config: config.key)
def test_dense_examples_are_magentas(sequences, config):
    sequence, max_events = sequences["CaoJ01M.mid"], 200
    pipeline = get_pipeline(config, 32, max_events, 0.0, example_format="dense_one_hot")
    ours = pipeline.transform(sequence)["training_performances"]
    sustained = sequences_lib.apply_sustain_control_changes(sequence)
    kind = NotePerformance if config is NOTES else Performance
    theirs = []
    for segment in sequences_lib.split_note_sequence(sustained, 30):
        quantized = sequences_lib.quantize_note_sequence_absolute(segment, 100)
        performance = kind(quantized, num_velocity_bins=config.codec.num_velocity_bins)
        performance.truncate(max_events)
        theirs += magentas_examples(performance, config)
    assert len(ours) == len(theirs) == (8 if config is OPTIONAL else 4)
    for our_example, their_example in zip(ours, theirs, strict=True):
        (inputs, labels), (their_inputs, their_labels) = map(arrays, (our_example, their_example))
        np.testing.assert_allclose(inputs, their_inputs, rtol=0, atol=1e-7)
        np.testing.assert_array_equal(labels, their_labels)


def test_optional_conditioning_makes_two_examples(make_quantized, read_example):
    performance = Performance(make_quantized((60, 0, 10)), num_velocity_bins=32)
    examples = PerformanceEncoder(OPTIONAL, "encoder").transform(performance)
    assert [read_example(example)[0] for example in examples] == [[375, 60, 265, 188]] * 2
    flags = [example.context.feature["conditioning_disabled"] for example in examples]
    assert [flag.int64_list.value[:] for flag in flags] == [[0], [1]]


def test_a_users_unit_between_extractor_and_encoder_gets_performances(sequences, read_example):
    class Reverse(Pipeline):
        def transform(self, input_object):
            events = list(input_object)[::-1]
            input_object.truncate(0)
            for event in events:
                input_object.append(event)
            return [input_object]

    for config in (DYNAMIC, NOTES):
        sustain, quantizer = SustainPipeline(), Quantizer(steps_per_second=100)
        extractor = PerformanceExtractor(None, None, config.codec)
        reverse = Reverse(performance_lib.BasePerformance, performance_lib.BasePerformance)
        encoder = PerformanceEncoder(config, "encoder")
        dag = DAGPipeline(
            {
                sustain: DagInput(NoteSequence),
                quantizer: sustain,
                extractor: quantizer,
                reverse: extractor,
                encoder: reverse,
                DagOutput("reversed"): encoder,
                DagOutput("performances"): extractor,
            }
        )
        outputs = dag.transform(sequences["CaoJ01M.mid"])
        (example,), (performance,) = outputs["reversed"], outputs["performances"]
        events = config.codec.from_performance(performance)
        assert read_example(example) == (events.ravel().tolist(), "", 0)


def test_encoder_takes_performances_of_its_config_alone(make_quantized, read_example):
    sequence = make_quantized((60, 0, 10))
    with_dynamics = Performance(sequence, num_velocity_bins=32)
    (example,) = PerformanceEncoder(DYNAMIC, "encoder").transform(with_dynamics)
    assert read_example(example)[0] == [375, 60, 265, 188]
    with pytest.raises(ValueError, match=r"375 is outside config performance, .* 356 classes"):
        PerformanceEncoder(PLAIN, "encoder").transform(with_dynamics)
    notes = NotePerformance(sequence, num_velocity_bins=32)
    (example,) = PerformanceEncoder(NOTES, "encoder").transform(notes)
    assert read_example(example)[0] == [0, 0, 60, 19, 0, 9]
    with pytest.raises(ValueError, match=r"needs events of EventCodec, not of NoteCodec"):
        PerformanceEncoder(DYNAMIC, "encoder").transform(notes)
    with pytest.raises(ValueError, match=r"needs events of NoteCodec, not of EventCodec"):
        PerformanceEncoder(NOTES, "encoder").transform(with_dynamics)
    finer = NotePerformance(sequence, num_velocity_bins=127)
    with pytest.raises(ValueError, match=r"event index 79 is outside .*13, 77, 128, 32, 25, 40"):
        PerformanceEncoder(NOTES, "encoder").transform(finer)


def test_encoder_does_not_take_metric_performances():
    sequence = NoteSequence(total_time=9)
    sequence.notes.add(pitch=60, velocity=80, end_time=9)
    (quantized,) = Quantizer(steps_per_quarter=4).transform(sequence)
    metric = performance_lib.MetricPerformance(quantized)
    with pytest.raises(ValueError, match="MetricPerformance has no event indices; give a Perf"):
        PerformanceEncoder(DYNAMIC, "encoder").transform(metric)


def test_event_sequence_encoder(make_quantized):
    performance = Performance(make_quantized((60, 0, 10), (62, 10, 20)))
    encoder, _ = MAGENTAS["performance"]
    (example,) = EncoderPipeline(Performance, encoder, "encoder").transform(performance)
    expected = pipelines_common.make_sequence_example(*encoder.encode(performance))
    assert example == expected
    labels = example.feature_lists.feature_list["labels"].feature
    assert [list(label.int64_list.value) for label in labels] == [[265], [188], [62], [265], [190]]
