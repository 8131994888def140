"""The performance pipeline, against the same thing built step by step from note_seq's objects."""

import collections

import pytest
from note_seq import NoteSequence, Performance, performance_lib, sequences_lib
from note_seq.performance_lib import NotePerformance

from perf_rnn.configs import default_configs
from pipelines.dag_pipeline import DAGPipeline
from pipelines.performance_pipeline import STRETCH_FACTORS, TRANSPOSITION_RANGE, get_pipeline
from pipelines.pipeline import Pipeline

PLAIN, DYNAMIC = default_configs["performance"], default_configs["performance_with_dynamics"]
NOTES = default_configs["performance_with_dynamics_and_note_encoding"]


@pytest.fixture
def training_examples(stats_of):
    """Gives the training examples made of a sequence, and what was counted."""

    def make(sequence, config, min_events=32, max_events=None, **options):
        pipeline = get_pipeline(config, min_events, max_events, 0.0, **options)
        outputs = pipeline.transform(sequence)
        assert outputs["eval_performances"] == []
        return outputs["training_performances"], stats_of(pipeline.get_stats())

    return make


def reference_performances(sequence, config, stretch_factors, transpositions, min_events=32):
    """Yields (performance, source id, segment index), all made by note_seq."""
    kind = NotePerformance if config is NOTES else Performance
    sustained = sequences_lib.apply_sustain_control_changes(sequence)
    for factor in stretch_factors:
        stretched = sequences_lib.stretch_note_sequence(sustained, factor)
        for index, segment in enumerate(sequences_lib.split_note_sequence(stretched, 30)):
            quantized = sequences_lib.quantize_note_sequence_absolute(segment, 100)
            for semitones in transpositions:
                transposed, deleted = sequences_lib.transpose_note_sequence(quantized, semitones)
                performance = kind(transposed, num_velocity_bins=config.codec.num_velocity_bins)
                if not deleted and len(performance) >= min_events:
                    changes = [f"stretch={factor:g}"] * (factor != 1)
                    changes += [f"transpose={semitones:+d}"] * (semitones != 0)
                    source_id = "@".join([sequence.id, *filter(None, [",".join(changes)])])
                    yield performance, source_id, index


@pytest.mark.parametrize("config", [DYNAMIC, NOTES], ids=lambda config: config.key)
def test_augmented_examples_equal_those_made_with_note_seq(
    sequences, training_examples, read_example, config
):
    # An even shorter piece, since note_seq takes its time over 45 copies.
    sequence = NoteSequence()
    sequence.CopyFrom(sequences["LuoJ05M.mid"])
    del sequence.notes[120:]
    sequence.total_time = 33.0
    examples, _ = training_examples(sequence, config, augmentation=True)
    expected = [
        (config.codec.from_performance(performance).ravel().tolist(), source_id, index)
        for performance, source_id, index in reference_performances(
            sequence, config, STRETCH_FACTORS, TRANSPOSITION_RANGE
        )
    ]
    assert [read_example(example) for example in examples] == expected
    assert len({source_id for _, source_id, _ in expected}) == 45


def test_augmentation_is_the_articles():
    assert STRETCH_FACTORS == (0.95, 0.975, 1.0, 1.025, 1.05)
    assert TRANSPOSITION_RANGE == (-4, -3, -2, -1, 0, 1, 2, 3, 4)


def test_whole_pipeline_on_real_performances(sequences, training_examples, read_example):
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
    # Examples, events, segments of fewer than 32 events, transposed copies.
    assert counts == {False: (11, 9667, 0, 0), True: (477, 434484, 36, 513)}


def test_every_event_of_a_segment_survives_unless_a_limit_is_given(
    sequences, training_examples, read_example
):
    sequence = sequences["Ahfat01M.mid"]
    whole, stats = training_examples(sequence, DYNAMIC)
    assert "DAGPipeline_PerformanceExtractor_training_performances_truncated" not in stats
    cut, stats = training_examples(sequence, DYNAMIC, max_events=512)
    lengths = [len(read_example(example)[0]) for example in whole]
    assert max(lengths) > 512
    assert [read_example(example)[0] for example in cut] == [
        read_example(example)[0][:512] for example in whole
    ]
    assert stats["DAGPipeline_PerformanceExtractor_training_performances_truncated"] == sum(
        length > 512 for length in lengths
    )


def test_eval_data_is_not_augmented(sequences, training_examples):
    sequence = sequences["CaoJ01M.mid"]
    evaluation = get_pipeline(DYNAMIC, 32, None, 1.0).transform(sequence)
    plain, _ = training_examples(sequence, DYNAMIC)
    assert evaluation == {"eval_performances": plain, "training_performances": []}


def side(sequence, **options):
    outputs = get_pipeline(PLAIN, 2, None, 0.5, **options).transform(sequence)
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
    assert by_seed == {0: 14, 1: 20, 2: 12}
    assert [side(one_note(file)) for file in reversed(FILES)] == [
        side(one_note(file)) for file in FILES
    ][::-1]


def test_partition_by_folder_keeps_a_folder_on_one_side():
    sides = collections.defaultdict(set)
    for file in FILES:
        sides[file[0]].add(side(one_note(file), partition_by="folder"))
    assert [len(names) for names in sides.values()] == [1] * 10
    in_eval = "".join(folder for folder, names in sides.items() if names == {"eval"})
    assert in_eval == "cdfhi"


def test_partition_needs_what_it_goes_by():
    with pytest.raises(ValueError, match="has no filename, so it cannot be partitioned by"):
        side(one_note(""), partition_by="folder")


@pytest.mark.parametrize(
    ("ratio", "options", "message"),
    [
        (0.1, {"min_events": 1}, "min_events 1 is below 2"),
        (0.1, {"max_events": 31}, "max_events 31 is below min_events 32"),
        (2, {}, "eval_ratio 2 is not between 0 and 1"),
        (-0.1, {}, "eval_ratio -0.1 is not between 0 and 1"),
        (0.1, {"partition_by": "day"}, "partition_by 'day' is not one of sequence, folder"),
        (
            0.1,
            {"example_format": "jpeg"},
            "example_format 'jpeg' is not one of sparse_one_hot,",
        ),
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
def test_every_discard_is_counted(training_examples, sequence, examples, counter, count):
    made, stats = training_examples(sequence, PLAIN, min_events=3, augmentation=True)
    assert len(made) == examples
    assert stats.get(f"DAGPipeline_{counter}", 0) == count


def test_pitch_bends_and_three_hours_are_no_obstacle(training_examples, read_example):
    sequence = one_note("f")
    sequence.pitch_bends.add(time=0.5, bend=100)
    for minute in range(180):
        sequence.notes.add(
            pitch=60 + minute % 12, velocity=80, start_time=60 * minute, end_time=60 * minute + 50
        )
    sequence.total_time = 3 * 3600 - 10
    examples, stats = training_examples(sequence, PLAIN, min_events=2)
    assert len(examples) == 180
    assert [read_example(example)[2] for example in examples] == list(range(0, 360, 2))
    assert (
        stats["DAGPipeline_PerformanceExtractor_training_performances_discarded_too_short"] == 180
    )


def test_segments_keep_their_place_through_a_users_pipeline(sequences, read_example):
    class Pass(Pipeline):
        def transform(self, input_object):
            assert isinstance(input_object, NoteSequence)
            return [input_object]

    direct = get_pipeline(DYNAMIC, 32, None, 0.0)
    units = {unit.name: unit for unit in direct.dag if hasattr(unit, "transform")}
    with_user = dict(direct.dag)
    user = Pass(NoteSequence, NoteSequence)
    with_user[user] = units["Splitter_training"]
    with_user[units["Quantizer_training"]] = user
    sequence = sequences["Ahfat01M.mid"]
    expected = direct.transform(sequence)["training_performances"]
    assert DAGPipeline(with_user).transform(sequence)["training_performances"] == expected
    assert [read_example(example)[2] for example in expected] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("config", default_configs.values(), ids=lambda config: config.key)
def test_no_note_seq_performance_is_made_on_the_way(sequences, monkeypatch, config):
    pipeline = get_pipeline(config, 32, None, 0.0)
    monkeypatch.setattr(performance_lib.BasePerformance, "__init__", lambda: None)
    optional = config.conditioning.optional
    examples = pipeline.transform(sequences["CaoJ01M.mid"])["training_performances"]
    assert len(examples) == (8 if optional else 4)
