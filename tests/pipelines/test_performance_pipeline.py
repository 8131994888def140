"""The performance pipeline, against the same thing built step by step from note_seq's objects."""

import collections

import numpy as np
import pytest
from note_seq import NoteSequence, Performance, performance_lib, sequences_lib

from perf_rnn.configs import default_configs
from pipelines import note_sequence_files, pipelines_common
from pipelines.dag_pipeline import DagInput, DagOutput, DAGPipeline
from pipelines.event_sequence_pipeline import EncoderPipeline as EventSequenceEncoder
from pipelines.note_sequence_pipelines import Quantizer, SustainPipeline
from pipelines.performance_pipeline import (
    STRETCH_FACTORS,
    TRANSPOSITION_RANGE,
    EncoderPipeline,
    PerformanceExtractor,
    extract_performances,
    get_pipeline,
)
from pipelines.pipeline import Pipeline, tf_record_iterator

PLAIN, DYNAMIC = default_configs["performance"], default_configs["performance_with_dynamics"]


@pytest.fixture(scope="module")
def sequences(request, tmp_path_factory):
    """Three real performances of two pieces, by file name."""
    path = str(tmp_path_factory.mktemp("asap") / "asap.tfrecord")
    asap = str(request.path.parents[1] / "testdata" / "asap")
    note_sequence_files.convert_directory(asap, path, recursive=True)
    return {
        sequence.filename.rpartition("/")[2]: sequence
        for sequence in tf_record_iterator(path, NoteSequence)
    }


def make_quantized(*notes, steps_per_second=100, **fields):
    """A quantised NoteSequence of (pitch, start step, end step) notes."""
    sequence = NoteSequence(
        total_quantized_steps=max((end for _, _, end in notes), default=0), **fields
    )
    sequence.quantization_info.steps_per_second = steps_per_second
    for pitch, start, end in notes:
        sequence.notes.add(
            pitch=pitch,
            velocity=80,
            start_time=start / steps_per_second,
            end_time=end / steps_per_second,
            quantized_start_step=start,
            quantized_end_step=end,
        )
    return sequence


def stats_of(stats):
    counts = {}
    for stat in stats:
        is_histogram = hasattr(stat, "counters")
        counts[stat.name] = +collections.Counter(stat.counters) if is_histogram else stat.count
    return {name: count for name, count in counts.items() if count}


def read_example(example):
    """(events, source id, segment index) of a sparse example."""
    context = example.context.feature
    (feature,) = example.feature_lists.feature_list["events"].feature
    (source_id,) = context["source_id"].bytes_list.value
    (segment_index,) = context["segment_index"].int64_list.value
    return list(feature.int64_list.value), source_id.decode(), segment_index


def training_examples(sequence, config, min_events=32, max_events=None, **options):
    pipeline = get_pipeline(config, min_events, max_events, 0.0, **options)
    outputs = pipeline.transform(sequence)
    assert outputs["eval_performances"] == []
    return outputs["training_performances"], stats_of(pipeline.get_stats())


def reference_performances(sequence, config, stretch_factors, transpositions, min_events=32):
    """Yields (Performance, source id, segment index), all made by note_seq."""
    sustained = sequences_lib.apply_sustain_control_changes(sequence)
    for factor in stretch_factors:
        stretched = sequences_lib.stretch_note_sequence(sustained, factor)
        for index, segment in enumerate(sequences_lib.split_note_sequence(stretched, 30)):
            quantized = sequences_lib.quantize_note_sequence_absolute(segment, 100)
            for semitones in transpositions:
                transposed, deleted = sequences_lib.transpose_note_sequence(quantized, semitones)
                performance = Performance(transposed, num_velocity_bins=config.num_velocity_bins)
                if not deleted and len(performance) >= min_events:
                    changes = [f"stretch={factor:g}"] * (factor != 1)
                    changes += [f"transpose={semitones:+d}"] * (semitones != 0)
                    source_id = "@".join([sequence.id, *filter(None, [",".join(changes)])])
                    yield performance, source_id, index


@pytest.mark.parametrize("config", [PLAIN, DYNAMIC], ids=lambda config: config.key)
@pytest.mark.parametrize("name", ["CaoJ01M.mid", "LuoJ05M.mid"])
def test_examples_equal_those_made_with_note_seq(sequences, name, config):
    examples, _ = training_examples(sequences[name], config, augmentation=False)
    # Magenta's own encoder, which writes L - 1 pairs of input and label.
    expected = []
    for performance, source_id, index in reference_performances(
        sequences[name], config, [1.0], [0]
    ):
        inputs, labels = config.encoder_decoder.encode(performance)
        assert [np.argmax(row) for row in inputs[1:]] == labels[:-1]
        expected.append(([int(np.argmax(inputs[0])), *labels], source_id, index))
    assert [read_example(example) for example in examples] == expected


def test_augmented_examples_equal_those_made_with_note_seq(sequences):
    # An even shorter piece, since note_seq takes its time over 45 copies.
    sequence = NoteSequence()
    sequence.CopyFrom(sequences["LuoJ05M.mid"])
    del sequence.notes[120:]
    sequence.total_time = 33.0
    examples, _ = training_examples(sequence, DYNAMIC)
    expected = [
        (DYNAMIC.codec.from_performance(performance).tolist(), source_id, index)
        for performance, source_id, index in reference_performances(
            sequence, DYNAMIC, STRETCH_FACTORS, TRANSPOSITION_RANGE
        )
    ]
    assert [read_example(example) for example in examples] == expected
    assert len({source_id for _, source_id, _ in expected}) == 45


def test_augmentation_is_the_articles():
    assert STRETCH_FACTORS == (0.95, 0.975, 1.0, 1.025, 1.05)
    assert TRANSPOSITION_RANGE == (-4, -3, -2, -1, 0, 1, 2, 3, 4)


def test_whole_pipeline_on_real_performances(sequences):
    counts = {}
    for augmentation in (False, True):
        examples, stats = [], collections.Counter()
        for sequence in sequences.values():
            new, new_stats = training_examples(sequence, DYNAMIC, augmentation=augmentation)
            examples += new
            stats.update({name: n for name, n in new_stats.items() if isinstance(n, int)})
        counts[augmentation] = (
            len(examples),
            sum(len(read_example(example)[0]) for example in examples),
            stats["DAGPipeline_PerformanceExtractor_training_performances_discarded_too_short"],
            stats["DAGPipeline_TranspositionPipeline_training_transpositions_generated"],
        )
    # Examples, events, segments of fewer than 32 events, segments in all.
    assert counts == {False: (11, 9667, 0, 11), True: (477, 434484, 36, 513)}


def test_every_event_of_a_segment_survives_unless_a_limit_is_given(sequences):
    sequence = sequences["Ahfat01M.mid"]
    whole, stats = training_examples(sequence, DYNAMIC, augmentation=False)
    assert "DAGPipeline_PerformanceExtractor_training_performances_truncated" not in stats
    cut, stats = training_examples(sequence, DYNAMIC, max_events=512, augmentation=False)
    lengths = [len(read_example(example)[0]) for example in whole]
    assert max(lengths) > 512
    assert [read_example(example)[0] for example in cut] == [
        read_example(example)[0][:512] for example in whole
    ]
    assert stats["DAGPipeline_PerformanceExtractor_training_performances_truncated"] == sum(
        length > 512 for length in lengths
    )


def test_dense_examples_are_magentas(sequences):
    sequence = sequences["CaoJ01M.mid"]
    dense, _ = training_examples(
        sequence, PLAIN, augmentation=False, example_format="dense_one_hot"
    )
    references = reference_performances(sequence, PLAIN, [1.0], [0])
    for example, (performance, _, _) in zip(dense, references, strict=True):
        expected = pipelines_common.make_sequence_example(
            *PLAIN.encoder_decoder.encode(performance)
        )
        assert example.feature_lists == expected.feature_lists


def test_eval_data_is_not_augmented(sequences):
    sequence = sequences["CaoJ01M.mid"]
    evaluation = get_pipeline(DYNAMIC, 32, None, 1.0).transform(sequence)
    plain, _ = training_examples(sequence, DYNAMIC, augmentation=False)
    assert evaluation == {"eval_performances": plain, "training_performances": []}


def side(sequence, **options):
    outputs = get_pipeline(PLAIN, 2, None, 0.5, augmentation=False, **options).transform(sequence)
    (name,) = (name for name, examples in outputs.items() if examples)
    return name.removesuffix("_performances")


def one_note(filename, **fields):
    sequence = NoteSequence(
        filename=filename, id=f"/id/{filename}", collection_name="c", total_time=1
    )
    sequence.notes.add(pitch=60, velocity=80, end_time=1)
    sequence.MergeFrom(NoteSequence(**fields))
    return sequence


FILES = [f"{folder}/{file}" for folder in "abcdefghij" for file in ("x", "y", "z")]


def test_partition_by_sequence_is_pinned_and_seeded():
    by_seed = {
        seed: [side(one_note(file), seed=seed) for file in FILES].count("eval")
        for seed in (0, 1, 2)
    }
    assert by_seed == {0: 21, 1: 13, 2: 11}
    assert [side(one_note(file)) for file in reversed(FILES)] == [
        side(one_note(file)) for file in FILES
    ][::-1]


def test_partition_by_folder_keeps_a_folder_on_one_side():
    sides = collections.defaultdict(set)
    for file in FILES:
        sides[file[0]].add(side(one_note(file), partition_by="folder"))
    assert [len(names) for names in sides.values()] == [1] * 10
    in_eval = "".join(folder for folder, names in sides.items() if names == {"eval"})
    assert in_eval == "gi"


def test_partition_needs_what_it_goes_by():
    with pytest.raises(ValueError, match="has no filename to partition by folder"):
        side(one_note(""), partition_by="folder")
    sequence = one_note("a/x")
    sequence.id = ""
    with pytest.raises(ValueError, match="no id to partition by"):
        side(sequence)
    # A folder needs no id.
    assert side(sequence, partition_by="folder") in ("eval", "training")


@pytest.mark.parametrize(
    ("ratio", "options", "message"),
    [
        (0.1, {"min_events": 1}, "min_events 1 is below 2"),
        (0.1, {"max_events": 31}, "max_events 31 is below min_events 32"),
        (2, {}, "eval_ratio 2 is not between 0 and 1"),
        (-0.1, {}, "eval_ratio -0.1 is not between 0 and 1"),
        (0.1, {"partition_by": "day"}, "partition_by 'day' is none of sequence, folder"),
        (0.1, {"example_format": "jpeg"}, "example_format 'jpeg' is none of sparse_one_hot, dense"),
    ],
)
def test_arguments_that_make_no_sense(ratio, options, message):
    with pytest.raises(ValueError, match=message):
        get_pipeline(
            PLAIN, **{"min_events": 32, "max_events": None, "eval_ratio": ratio, **options}
        )


def two_programs():
    sequence = one_note("f")
    sequence.notes.add(pitch=64, velocity=80, end_time=1, program=40)
    return sequence


def drums():
    sequence = one_note("f")
    sequence.notes.add(pitch=35, velocity=80, end_time=1, is_drum=True)
    return sequence


def top_note():
    sequence = one_note("f")
    sequence.notes.add(pitch=126, velocity=80, end_time=1)
    return sequence


@pytest.mark.parametrize(
    ("sequence", "examples", "counter", "count"),
    [
        (one_note("f"), 45, "PerformanceExtractor_training_performances_discarded_too_short", 0),
        (NoteSequence(id="x"), 0, "NoteFilter_training_sequences_discarded_because_no_notes", 1),
        (drums(), 0, "NoteFilter_training_sequences_discarded_because_drums", 1),
        (
            two_programs(),
            0,
            "PerformanceExtractor_training_performances_discarded_more_than_1_program",
            45,
        ),
        (
            one_note("f", notes=[{"pitch": 128, "velocity": 80, "end_time": 1}]),
            0,
            "NoteFilter_training_sequences_discarded_because_impossible_notes",
            1,
        ),
        (top_note(), 30, "TranspositionPipeline_training_skipped_due_to_range_exceeded", 15),
    ],
)
def test_every_discard_is_counted(sequence, examples, counter, count):
    made, stats = training_examples(sequence, PLAIN, min_events=3)
    assert len(made) == examples
    assert stats.get(f"DAGPipeline_{counter}", 0) == count


def test_pitch_bends_and_three_hours_are_no_obstacle():
    sequence = one_note("f")
    sequence.pitch_bends.add(time=0.5, bend=100)
    for minute in range(180):
        sequence.notes.add(
            pitch=60 + minute % 12, velocity=80, start_time=60 * minute, end_time=60 * minute + 50
        )
    sequence.total_time = 3 * 3600 - 10
    examples, stats = training_examples(sequence, PLAIN, min_events=2, augmentation=False)
    assert len(examples) == 180
    assert [read_example(example)[2] for example in examples] == list(range(0, 360, 2))
    assert (
        stats["DAGPipeline_PerformanceExtractor_training_performances_discarded_too_short"] == 180
    )


def test_segments_keep_their_place_through_a_users_pipeline(sequences):
    class Pass(Pipeline):
        def transform(self, input_object):
            assert isinstance(input_object, NoteSequence)
            return [input_object]

    direct = get_pipeline(DYNAMIC, 32, None, 0.0, augmentation=False)
    units = {unit.name: unit for unit in direct.dag if hasattr(unit, "transform")}
    with_user = dict(direct.dag)
    user = Pass(NoteSequence, NoteSequence)
    with_user[user] = units["Splitter_training"]
    with_user[units["Quantizer_training"]] = user
    sequence = sequences["Ahfat01M.mid"]
    expected = direct.transform(sequence)["training_performances"]
    assert DAGPipeline(with_user).transform(sequence)["training_performances"] == expected
    assert [read_example(example)[2] for example in expected] == [0, 1, 2, 3, 4]


def test_extractor_gives_note_seq_performances(sequences):
    (quantized,) = Quantizer(steps_per_second=100).transform(sequences["CaoJ01M.mid"])
    unit = PerformanceExtractor(None, None, 32, False)
    (performance,) = unit.transform(quantized)
    assert type(performance) is Performance
    assert list(performance) == list(Performance(quantized, num_velocity_bins=32))
    assert (performance.program, performance.is_drum) == (0, False)


@pytest.mark.parametrize("limits", [(None, None), (40, 10**6), (None, 100), (10**6, None)])
def test_extractor_gives_the_same_on_arrays_and_on_protos(sequences, limits):
    (quantized,) = Quantizer(steps_per_second=100).transform(sequences["CaoJ01M.mid"])
    unit = PerformanceExtractor(*limits, 32, False)
    on_protos = unit.transform(quantized)
    stats = stats_of(unit.get_stats())
    on_arrays = unit.transform_arrays(unit.input_form.from_declared(quantized))
    assert stats_of(unit.get_stats()) == stats
    on_arrays = [unit.output_form.to_declared(events) for events in on_arrays]
    assert [list(performance) for performance in on_arrays] == [list(p) for p in on_protos]
    for ours, theirs in zip(on_arrays, on_protos, strict=True):
        for name in ("program", "is_drum", "start_step", "steps_per_second", "max_shift_steps"):
            assert getattr(ours, name) == getattr(theirs, name)


@pytest.mark.parametrize("drums", [[], [False], [True], [True, False], [True, True]])
def test_program_and_drums_on_arrays_and_on_protos(drums):
    sequence = make_quantized(*((60 + i, 0, 10) for i in range(len(drums))))
    for note, is_drum in zip(sequence.notes, drums, strict=True):
        note.is_drum, note.program = is_drum, 5
    unit = PerformanceExtractor(None, None, 0, False)
    (on_protos,) = unit.transform(sequence)
    (on_arrays,) = unit.transform_arrays(unit.input_form.from_declared(sequence))
    assert (on_arrays.program, on_arrays.is_drum) == (on_protos.program, on_protos.is_drum)
    assert list(unit.output_form.to_declared(on_arrays)) == list(on_protos)


def test_extractor_needs_steps_on_arrays():
    unit = PerformanceExtractor(None, None, 0, False)
    with pytest.raises(ValueError, match="sequence 'x' is not quantised"):
        unit.transform_arrays(unit.input_form.from_declared(NoteSequence(id="x")))


def test_a_users_unit_between_extractor_and_encoder_gets_performances(sequences):
    class Reverse(Pipeline):
        def transform(self, input_object):
            events = list(input_object)[::-1]
            input_object.truncate(0)
            for event in events:
                input_object.append(event)
            return [input_object]

    sustain, quantizer = SustainPipeline(), Quantizer(steps_per_second=100)
    extractor = PerformanceExtractor(None, None, 32, False)
    reverse = Reverse(performance_lib.BasePerformance, performance_lib.BasePerformance)
    encoder = EncoderPipeline(DYNAMIC, "encoder")
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
    assert read_example(example) == (DYNAMIC.codec.from_performance(performance).tolist(), "", 0)


def test_encoder_takes_performances_of_its_config_alone():
    with_dynamics = Performance(make_quantized((60, 0, 10)), num_velocity_bins=32)
    (example,) = EncoderPipeline(DYNAMIC, "encoder").transform(with_dynamics)
    assert read_example(example)[0] == [375, 60, 265, 188]
    with pytest.raises(ValueError, match=r"375 is outside config performance, .* 356 classes"):
        EncoderPipeline(PLAIN, "encoder").transform(with_dynamics)
    notes = performance_lib.NotePerformance(make_quantized((60, 0, 10)), num_velocity_bins=32)
    with pytest.raises(ValueError, match="NotePerformance has no one-hot"):
        EncoderPipeline(DYNAMIC, "encoder").transform(notes)


def test_event_sequence_encoder():
    performance = Performance(make_quantized((60, 0, 10), (62, 10, 20)))
    unit = EventSequenceEncoder(Performance, PLAIN.encoder_decoder, "encoder")
    (example,) = unit.transform(performance)
    expected = pipelines_common.make_sequence_example(*PLAIN.encoder_decoder.encode(performance))
    assert example == expected
    labels = example.feature_lists.feature_list["labels"].feature
    assert [list(label.int64_list.value) for label in labels] == [[265], [188], [62], [265], [190]]


FOUR_NOTES = [(60, 0, 700), (62, 700, 800), (64, 900, 1000), (65, 1000, 1200)]


@pytest.mark.parametrize(
    ("arguments", "lengths", "stats"),
    [
        ({}, [(20, 1200)], {"performance_lengths_in_seconds": {10: 1}}),
        ({"min_events_discard": 20}, [(20, 1200)], {"performance_lengths_in_seconds": {10: 1}}),
        ({"min_events_discard": 21}, [], {"performances_discarded_too_short": 1}),
        (
            {"max_events_truncate": 8},
            [(8, 700)],
            {"performances_truncated": 1, "performance_lengths_in_seconds": {5: 1}},
        ),
        (
            {"max_steps_truncate": 250},
            [(4, 250)],
            {"performances_truncated_timewise": 1, "performance_lengths_in_seconds": {-np.inf: 1}},
        ),
        (
            {"max_events_truncate": 8, "min_events_discard": 9},
            [],
            {"performances_truncated": 1, "performances_discarded_too_short": 1},
        ),
        ({"start_step": 900}, [(7, 300)], {"performance_lengths_in_seconds": {-np.inf: 1}}),
    ],
)
def test_extract_performances_limits(arguments, lengths, stats):
    performances, counted = extract_performances(make_quantized(*FOUR_NOTES), **arguments)
    assert [(len(p), p.num_steps) for p in performances] == lengths
    assert stats_of(counted) == stats


def test_extract_performances_of_several_instruments():
    sequence = make_quantized((60, 0, 10), (64, 0, 10), (67, 0, 10))
    sequence.notes[1].instrument = 1
    sequence.notes[2].instrument, sequence.notes[2].program = 2, 40
    performances, stats = extract_performances(sequence)
    assert performances == []
    assert stats_of(stats) == {"performances_discarded_more_than_1_program": 1}
    performances, stats = extract_performances(sequence, split_instruments=True)
    assert [performance[0].event_value for performance in performances] == [60, 64, 67]
    assert [performance.program for performance in performances] == [0, 0, 40]


def test_extract_performances_in_bars():
    sequence = NoteSequence(total_time=9)
    sequence.notes.add(pitch=60, velocity=80, end_time=9)
    (quantized,) = Quantizer(steps_per_quarter=4).transform(sequence)
    performances, stats = extract_performances(quantized)
    assert [type(performance) for performance in performances] == [
        performance_lib.MetricPerformance
    ]
    assert stats_of(stats) == {"performance_lengths_in_bars": {1: 1}}


@pytest.mark.parametrize(
    ("notes", "counter"),
    [
        ([(60, 0, 10), (62, 20, 30)], None),
        ([(60, 0, 10), (62, 2000, 2010)], "performance_discarded_too_many_time_shift_steps"),
        ([(60, 0, 2000)], "performance_discarded_too_many_duration_steps"),
    ],
)
def test_extract_note_performances(notes, counter):
    unit = PerformanceExtractor(None, None, 32, True)
    performances = unit.transform(make_quantized(*notes))
    if counter is None:
        (performance,) = performances
        assert type(performance) is performance_lib.NotePerformance
        assert len(performance) == 2
    else:
        assert performances == []
        assert stats_of(unit.get_stats()) == {f"PerformanceExtractor_{counter}": 1}


def test_extract_performances_needs_steps():
    with pytest.raises(sequences_lib.QuantizationStatusError):
        extract_performances(NoteSequence())
