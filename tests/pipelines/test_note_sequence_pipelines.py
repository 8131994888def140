"""The shipped units, each against note_seq's own function and inside a DAGPipeline."""

import math

import pytest
from note_seq import NoteSequence, midi_io, sequences_lib

from perf_rnn.notes.arrays import NoteArrays
from pipelines.dag_pipeline import DagInput, DagOutput, DAGPipeline, InvalidTransformOutputError
from pipelines.note_sequence_pipelines import (
    NoteFilter,
    NoteSequencePipeline,
    Quantizer,
    Splitter,
    StretchPipeline,
    SustainPipeline,
    TimeChangeSplitter,
    TranspositionPipeline,
)
from pipelines.statistics import Counter


@pytest.fixture(scope="module")
def performance(request):
    """A real performance with its pedal, as a NoteSequence."""
    path = request.path.parents[1] / "testdata/asap/Liszt/Transcendental_Etudes/1/LuoJ05M.mid"
    sequence = midi_io.midi_file_to_note_sequence(str(path))
    sequence.id = "luo"
    return sequence


def make_sequence(*notes, **fields):
    """A NoteSequence of (pitch, start, end) notes."""
    sequence = NoteSequence(**fields)
    for pitch, start, end in notes:
        sequence.notes.add(pitch=pitch, start_time=start, end_time=end, velocity=80)
    sequence.total_time = max((end for _, _, end in notes), default=0.0)
    return sequence


def notes_of(sequence):
    return sorted(
        (note.start_time, note.pitch, note.end_time, note.velocity, note.instrument)
        for note in sequence.notes
    )


def steps_of(sequence):
    return sorted(
        (note.quantized_start_step, note.pitch, note.quantized_end_step) for note in sequence.notes
    )


def stats_of(unit):
    return {stat.name: stat.count for stat in unit.get_stats()}


def test_units_declare_protos_and_take_their_names():
    for unit, name in [
        (SustainPipeline(), "SustainPipeline"),
        (Splitter(30, name="Cut"), "Cut"),
        (TimeChangeSplitter(), "TimeChangeSplitter"),
    ]:
        assert isinstance(unit, NoteSequencePipeline)
        assert (unit.input_type, unit.output_type, unit.name) == (NoteSequence, NoteSequence, name)


def test_sustain(performance):
    (sustained,) = SustainPipeline().transform(performance)
    expected = sequences_lib.apply_sustain_control_changes(performance)
    assert isinstance(sustained, NoteSequence)
    assert notes_of(sustained) == notes_of(expected) != notes_of(performance)
    assert sustained.total_time == expected.total_time


def test_stretch(performance):
    stretched = StretchPipeline([0.95, 1.0, 1.05]).transform(performance)
    for copy, factor in zip(stretched, [0.95, 1.0, 1.05], strict=True):
        expected = sequences_lib.stretch_note_sequence(performance, factor)
        assert notes_of(copy) == notes_of(expected)
        assert [(t.time, t.qpm) for t in copy.tempos] == [(t.time, t.qpm) for t in expected.tempos]
    assert [copy.id for copy in stretched] == ["luo@stretch=0.95", "luo", "luo@stretch=1.05"]


def test_copies_of_a_sequence_without_an_id_have_none():
    sequence = make_sequence((60, 0.0, 1.0))
    copies = StretchPipeline([0.5, 2.0]).transform(sequence)
    copies += TranspositionPipeline([-1, 1]).transform(sequence)
    assert [copy.id for copy in copies] == [""] * 4


def test_split(performance):
    segments = Splitter(10).transform(performance)
    expected = sequences_lib.split_note_sequence(performance, 10)
    assert [notes_of(segment) for segment in segments] == [
        notes_of(segment) for segment in expected
    ]
    assert [segment.subsequence_info for segment in segments] == [
        segment.subsequence_info for segment in expected
    ]
    assert [segment.id for segment in segments] == ["luo"] * len(expected)


def test_split_of_an_empty_sequence():
    assert Splitter(10).transform(NoteSequence()) == []


def test_quantize_by_the_second(performance):
    unit = Quantizer(steps_per_second=100)
    (quantized,) = unit.transform(performance)
    expected = sequences_lib.quantize_note_sequence_absolute(performance, 100)
    assert steps_of(quantized) == steps_of(expected)
    assert quantized.total_quantized_steps == expected.total_quantized_steps
    assert quantized.quantization_info == expected.quantization_info


def test_quantize_by_the_quarter():
    sequence = make_sequence((60, 0.0, 0.5), (62, 0.6, 1.0))
    sequence.text_annotations.add(text="C", annotation_type=1)
    (quantized,) = Quantizer(steps_per_quarter=4).transform(sequence)
    assert quantized == sequences_lib.quantize_note_sequence(sequence, 4)
    assert steps_of(quantized) == [(0, 60, 4), (5, 62, 8)]


@pytest.mark.parametrize(
    ("table", "values", "reason"),
    [
        (
            "time_signatures",
            [{"numerator": 4, "denominator": 4}, {"numerator": 3, "denominator": 4, "time": 0.5}],
            "multiple_time_signatures",
        ),
        ("tempos", [{"qpm": 100}, {"qpm": 90, "time": 0.5}], "multiple_tempos"),
        ("time_signatures", [{"numerator": 4, "denominator": 3}], "bad_time_signature"),
    ],
)
def test_quantize_by_the_quarter_counts_what_it_discards(table, values, reason):
    sequence = make_sequence((60, 0.0, 1.0))
    for value in values:
        getattr(sequence, table).add(**value)
    unit = Quantizer(steps_per_quarter=4)
    assert unit.transform(sequence) == []
    assert stats_of(unit) == {
        f"Quantizer_sequences_discarded_because_{name}": int(name == reason)
        for name in ("multiple_time_signatures", "multiple_tempos", "bad_time_signature")
    }


def test_quantizer_takes_exactly_one_resolution():
    with pytest.raises(ValueError, match="exactly one"):
        Quantizer()
    with pytest.raises(ValueError, match="exactly one"):
        Quantizer(steps_per_quarter=4, steps_per_second=100)


def test_transpose(performance):
    unit = TranspositionPipeline([-3, 0, 4])
    transposed = unit.transform(performance)
    for copy, semitones in zip(transposed, [-3, 0, 4], strict=True):
        expected, deleted = sequences_lib.transpose_note_sequence(performance, semitones)
        assert deleted == 0
        assert notes_of(copy) == notes_of(expected)
    assert [copy.id for copy in transposed] == ["luo@transpose=-3", "luo", "luo@transpose=+4"]


def test_transpose_drops_copies_that_leave_the_range_and_leaves_drums_alone():
    sequence = make_sequence((60, 0.0, 1.0), (72, 0.0, 1.0), (35, 0.0, 1.0), id="x@stretch=0.95")
    sequence.notes[2].is_drum = True
    unit = TranspositionPipeline(range(-2, 3), min_pitch=59, max_pitch=73)
    transposed = unit.transform(sequence)
    assert [[note.pitch for note in copy.notes] for copy in transposed] == [
        [59, 71, 35],
        [60, 72, 35],
        [61, 73, 35],
    ]
    assert transposed[0].id == "x@stretch=0.95,transpose=-1"
    assert stats_of(unit) == {
        "TranspositionPipeline_skipped_due_to_range_exceeded": 2,
        "TranspositionPipeline_transpositions_generated": 3,
    }


def test_split_on_time_changes():
    sequence = make_sequence((60, 0.0, 1.0), (62, 1.0, 2.0))
    sequence.tempos.add(qpm=100, time=1.0)
    parts = TimeChangeSplitter().transform(sequence)
    assert [notes_of(part) for part in parts] == [
        [(0.0, 60, 1.0, 80, 0)],
        [(0.0, 62, 1.0, 80, 0)],
    ]


def drums():
    sequence = make_sequence((60, 0.0, 1.0), (35, 0.0, 1.0))
    sequence.notes[1].is_drum = True
    return sequence


def loud():
    sequence = make_sequence((60, 0.0, 1.0))
    sequence.notes[0].velocity = 128
    return sequence


@pytest.mark.parametrize(
    ("sequence", "reason"),
    [
        (make_sequence((0, 0.0, 1.0), (127, 1.0, 1.0)), None),
        (make_sequence(), "no_notes"),
        (drums(), "drums"),
        (loud(), "impossible_notes"),
        (make_sequence((128, 0.0, 1.0)), "impossible_notes"),
        (make_sequence((-1, 0.0, 1.0)), "impossible_notes"),
        (make_sequence((60, -1.0, 1.0)), "impossible_notes"),
        (make_sequence((60, 2.0, 1.0)), "impossible_notes"),
        (make_sequence((60, math.nan, 1.0)), "impossible_notes"),
        (make_sequence((60, 0.0, math.nan)), "impossible_notes"),
        (make_sequence((60, 0.0, math.inf)), "longer_than_a_day"),
        (make_sequence((60, 0.0, 86401.0)), "longer_than_a_day"),
        (make_sequence((60, 86399.0, 86400.0)), None),
    ],
)
def test_note_filter(sequence, reason):
    unit = NoteFilter()
    assert len(unit.transform(sequence)) == (reason is None)
    assert stats_of(unit) == {
        f"NoteFilter_sequences_discarded_because_{name}": int(name == reason)
        for name in ("no_notes", "drums", "impossible_notes", "longer_than_a_day")
    }


class CountNotes(NoteSequencePipeline):
    """A user's unit: takes and gives protos, and counts their notes."""

    def transform(self, input_object):
        assert isinstance(input_object, NoteSequence)
        self._set_stats([Counter("notes", len(input_object.notes))])
        copy = NoteSequence()
        copy.CopyFrom(input_object)
        return [copy]


def chain(*units):
    dag, source = {}, DagInput(NoteSequence)
    for unit in units:
        dag[unit] = source
        source = unit
    return DAGPipeline({**dag, DagOutput("o"): source})


def array_units():
    return [
        SustainPipeline(),
        StretchPipeline([0.95, 1.0]),
        Splitter(30),
        Quantizer(steps_per_second=100),
        TranspositionPipeline([-1, 0]),
    ]


def test_array_units_exchange_arrays_and_deliver_protos(performance, monkeypatch):
    seen = []
    original = Splitter.transform_arrays

    def spy(self, arrays):
        seen.append(type(arrays))
        return original(self, arrays)

    monkeypatch.setattr(Splitter, "transform_arrays", spy)
    monkeypatch.setattr(Splitter, "transform", None)
    Splitter.works_on_arrays = True
    outputs = chain(*array_units()).transform(performance)["o"]
    assert seen == [NoteArrays, NoteArrays]
    assert {type(output) for output in outputs} == {NoteSequence}


@pytest.mark.parametrize("place", range(6))
def test_a_users_pipeline_anywhere_changes_nothing(performance, place):
    units = array_units()
    units.insert(place, CountNotes())
    outputs = chain(*units).transform(performance)["o"]
    assert outputs == chain(*array_units()).transform(performance)["o"]
    assert len(outputs) == 8


def test_one_proto_for_two_users_is_converted_once(performance, monkeypatch):
    from pipelines import note_sequence_pipelines

    form = note_sequence_pipelines.NOTE_ARRAYS
    conversions = []

    def from_declared(sequence):
        conversions.append(sequence.id)
        return form.from_declared(sequence)

    counting = type(form)(form.type, from_declared, form.to_declared)
    monkeypatch.setattr(note_sequence_pipelines.NoteArraysPipeline, "input_form", counting)
    monkeypatch.setattr(note_sequence_pipelines.NoteArraysPipeline, "output_form", counting)
    first, second = SustainPipeline("first"), SustainPipeline("second")
    source = DagInput(NoteSequence)
    dag = DAGPipeline({first: source, second: source, DagOutput(): {"a": first, "b": second}})
    outputs = dag.transform(performance)
    assert conversions == ["luo"]
    assert outputs["a"] == outputs["b"]


def test_a_subclass_that_overrides_transform_is_run_by_it(performance):
    class OnlyTheFirst(Splitter):
        def transform(self, input_object):
            assert isinstance(input_object, NoteSequence)
            return super().transform(input_object)[:1]

    outputs = chain(SustainPipeline(), OnlyTheFirst(10), Quantizer(steps_per_second=100)).transform(
        performance
    )["o"]
    assert len(outputs) == 1
    assert (
        outputs
        == chain(SustainPipeline(), Splitter(10), Quantizer(steps_per_second=100)).transform(
            performance
        )["o"][:1]
    )


def test_array_units_must_return_what_they_declare(performance):
    class Broken(SustainPipeline):
        def transform_arrays(self, arrays):
            return [NoteSequence()]

    with pytest.raises(InvalidTransformOutputError, match=r"Broken declares .* NoteArrays"):
        chain(Broken()).transform(performance)


def test_quantizers_of_both_kinds_fit_beside_array_units():
    sequence = make_sequence((60, 0.0, 1.0), (62, 1.0, 2.0))
    dag = chain(StretchPipeline([1.0]), Quantizer(steps_per_quarter=4))
    assert [steps_of(output) for output in dag.transform(sequence)["o"]] == [
        [(0, 60, 8), (8, 62, 16)]
    ]
