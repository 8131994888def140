"""PerformanceExtractor and extract_performances, against note_seq's own objects."""

import numpy as np
import pytest
from note_seq import NoteSequence, Performance, performance_lib, sequences_lib

from perf_rnn.events.note_events import NoteCodec
from perf_rnn.events.one_hot import EventCodec
from perf_rnn.notes.arrays import from_note_sequence
from perf_rnn.notes.transforms import quantize, split, transpose
from pipelines.note_sequence_pipelines import Quantizer
from pipelines.performance_extraction import PerformanceExtractor, extract_performances


def test_extractor_gives_note_seq_performances(sequences):
    (quantized,) = Quantizer(steps_per_second=100).transform(sequences["CaoJ01M.mid"])
    unit = PerformanceExtractor(None, None, EventCodec(32))
    (performance,) = unit.transform(quantized)
    assert type(performance) is Performance
    assert list(performance) == list(Performance(quantized, num_velocity_bins=32))
    assert (performance.program, performance.is_drum) == (0, False)


@pytest.mark.parametrize("codec", [EventCodec(32), NoteCodec(32)], ids=repr)
@pytest.mark.parametrize("limits", [(None, None), (40, 10**6), (None, 100), (10**6, None)])
def test_extractor_gives_the_same_on_arrays_and_on_protos(sequences, stats_of, limits, codec):
    (quantized,) = Quantizer(steps_per_second=100).transform(sequences["CaoJ01M.mid"])
    unit = PerformanceExtractor(*limits, codec)
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
def test_program_and_drums_on_arrays_and_on_protos(make_quantized, drums):
    sequence = make_quantized(*((60 + i, 0, 10) for i in range(len(drums))))
    for note, is_drum in zip(sequence.notes, drums, strict=True):
        note.is_drum, note.program = is_drum, 5
    unit = PerformanceExtractor(None, None, EventCodec(0))
    (on_protos,) = unit.transform(sequence)
    (on_arrays,) = unit.transform_arrays(unit.input_form.from_declared(sequence))
    assert (on_arrays.program, on_arrays.is_drum) == (on_protos.program, on_protos.is_drum)
    assert list(unit.output_form.to_declared(on_arrays)) == list(on_protos)


@pytest.mark.parametrize("codec", [EventCodec(32), NoteCodec(32)], ids=repr)
def test_copies_are_extracted_as_if_each_were_alone(sequences, codec):
    (segment, *_) = split(from_note_sequence(sequences["CaoJ01M.mid"]), 10)
    segment = quantize(segment, 100)
    bent = segment.pitch + np.where(np.arange(segment.num_notes) % 2, 1, 0)
    copies = [
        transpose(segment, 3),
        segment,
        transpose(segment, -4),
        segment.replace(pitch=bent),
        segment.replace(velocity=segment.velocity // 2),
        segment.replace(end_step=segment.end_step + 1),
    ]
    unit = PerformanceExtractor(None, None, codec)
    made = [unit.transform_arrays(copy)[0].events.tolist() for copy in copies]
    for copy, events in zip(copies, made, strict=True):
        alone = PerformanceExtractor(None, None, codec)
        assert alone.transform_arrays(copy)[0].events.tolist() == events
    assert len(set(map(str, made))) == len(copies)
    with pytest.raises(ValueError, match=r"pitch 1[2-9][0-9] .* is outside 0 to 127"):
        unit.transform_arrays(segment.replace(pitch=segment.pitch + 60))


def test_extractor_needs_steps_on_arrays():
    unit = PerformanceExtractor(None, None, EventCodec(0))
    with pytest.raises(ValueError, match="sequence 'x' is not quantised"):
        unit.transform_arrays(unit.input_form.from_declared(NoteSequence(id="x")))


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
def test_extract_performances_limits(make_quantized, stats_of, arguments, lengths, stats):
    performances, counted = extract_performances(make_quantized(*FOUR_NOTES), **arguments)
    assert [(len(p), p.num_steps) for p in performances] == lengths
    assert stats_of(counted) == stats


def test_extract_performances_of_several_instruments(make_quantized, stats_of):
    sequence = make_quantized((60, 0, 10), (64, 0, 10), (67, 0, 10))
    sequence.notes[1].instrument = 1
    sequence.notes[2].instrument, sequence.notes[2].program = 2, 40
    performances, stats = extract_performances(sequence)
    assert performances == []
    assert stats_of(stats) == {"performances_discarded_more_than_1_program": 1}
    performances, stats = extract_performances(sequence, split_instruments=True)
    assert [performance[0].event_value for performance in performances] == [60, 64, 67]
    assert [performance.program for performance in performances] == [0, 0, 40]


def test_extract_performances_in_bars(stats_of):
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
def test_extract_note_performances(make_quantized, stats_of, notes, counter):
    unit = PerformanceExtractor(None, None, NoteCodec(32))
    sequence = make_quantized(*notes)
    for performances in (
        unit.transform(sequence),
        unit.transform_arrays(unit.input_form.from_declared(sequence)),
    ):
        if counter is None:
            assert len(performances) == 1
            assert stats_of(unit.get_stats()) == {
                "PerformanceExtractor_performance_lengths_in_seconds": {-np.inf: 1}
            }
        else:
            assert performances == []
            assert stats_of(unit.get_stats()) == {f"PerformanceExtractor_{counter}": 1}


def test_extractor_gives_note_events(make_quantized):
    unit = PerformanceExtractor(None, None, NoteCodec(32))
    sequence = make_quantized((60, 0, 10), (62, 90, 130))
    (performance,) = unit.transform(sequence)
    assert type(performance) is performance_lib.NotePerformance
    (arrays,) = unit.transform_arrays(unit.input_form.from_declared(sequence))
    assert arrays.events.tolist() == [[0, 0, 60, 19, 0, 9], [1, 13, 62, 19, 0, 39]]
    assert list(unit.output_form.to_declared(arrays)) == list(performance)


def test_extract_performances_needs_steps():
    with pytest.raises(sequences_lib.QuantizationStatusError):
        extract_performances(NoteSequence())
