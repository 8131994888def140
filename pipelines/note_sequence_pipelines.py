"""Units with NoteSequences as input and output.

Names and results follow `magenta.pipelines.note_sequence_pipelines` of Magenta 2.1.4. The units
work on note arrays (`perf_rnn.notes.transforms`), which do not hold the parts of a score: chord
symbols, sections, parts and voices are lost.
"""

from collections.abc import Sequence

import numpy as np

from bundles.errors import PerfRnnError
from bundles.note_seq_protos import NoteSequence
from perf_rnn.notes import arrays as note_arrays
from perf_rnn.notes import transforms as note_transforms
from perf_rnn.notes.arrays import NoteArrays
from pipelines import pipeline, statistics
from pipelines.array_pipeline import ArrayForm, ArrayPipeline

NOTE_ARRAYS = ArrayForm(NoteArrays, note_arrays.from_note_sequence, note_arrays.to_note_sequence)


class NoteSequencePipeline(pipeline.Pipeline):
    """Base class of units with NoteSequence protos as input and output."""

    def __init__(self, name: str | None = None):
        super().__init__(NoteSequence, NoteSequence, name)


class NoteArraysPipeline(ArrayPipeline, NoteSequencePipeline):
    """Base class of units with NoteSequences as input and output that work on note arrays."""

    input_form = NOTE_ARRAYS
    output_form = NOTE_ARRAYS


class NoteFilter(NoteArraysPipeline):
    """Drops sequences that are not piano performances.

    These are sequences without notes, with drums, longer than a day, or with an impossible note (a
    pitch outside 0-127, a velocity outside 1-127, a time before 0 or an end before its start).
    """

    def transform_arrays(self, arrays: NoteArrays) -> list[NoteArrays]:
        faults = {
            "no_notes": not arrays.num_notes,
            "drums": bool(arrays.is_drum.any()),
            "impossible_notes": not _are_possible(arrays),
            "longer_than_a_day": not _last_time(arrays) <= note_transforms.MAX_SECONDS,
        }
        reason = next((reason for reason, found in faults.items() if found), None)
        self._set_stats(
            statistics.Counter(f"sequences_discarded_because_{name}", int(name == reason))
            for name in faults
        )
        return [] if reason else [arrays]


def _are_possible(arrays: NoteArrays) -> bool:
    possible = (
        (arrays.pitch >= note_transforms.MIN_PITCH)
        & (arrays.pitch <= note_transforms.MAX_PITCH)
        & (arrays.velocity >= 1)
        & (arrays.velocity <= 127)
        & (arrays.start_time >= 0)
        & (arrays.start_time <= arrays.end_time)
    )
    return bool(possible.all() and (arrays.control_time >= 0).all())


def _last_time(arrays: NoteArrays) -> float:
    times = np.concatenate([[arrays.total_time], arrays.end_time, arrays.control_time])
    return float(times.max())


class Splitter(NoteArraysPipeline):
    """Splits sequences into segments of a fixed length."""

    def __init__(self, hop_size_seconds: float, name: str | None = None):
        super().__init__(name)
        self._hop_size_seconds = hop_size_seconds

    def transform_arrays(self, arrays: NoteArrays) -> list[NoteArrays]:
        return note_transforms.split(arrays, self._hop_size_seconds)


class TimeChangeSplitter(NoteSequencePipeline):
    """Splits sequences where the tempo or time signature changes."""

    def transform(self, input_object: NoteSequence) -> list[NoteSequence]:
        from note_seq import sequences_lib

        return list(sequences_lib.split_note_sequence_on_time_changes(input_object))


class Quantizer(NoteArraysPipeline):
    """Quantises sequences in steps per second or steps per quarter note.

    In steps per quarter note, sequences whose tempo or time signature changes are discarded.
    """

    def __init__(
        self,
        steps_per_quarter: int | None = None,
        steps_per_second: int | None = None,
        name: str | None = None,
    ):
        """Sets the resolution.

        Raises:
          PerfRnnError: not exactly one of the two is given.
        """
        super().__init__(name)
        if (steps_per_quarter is None) == (steps_per_second is None):
            raise PerfRnnError("give exactly one of steps_per_quarter and steps_per_second")
        self._steps_per_quarter = steps_per_quarter
        self._steps_per_second = steps_per_second

    @property
    def works_on_arrays(self) -> bool:
        return self._steps_per_second is not None

    def transform_arrays(self, arrays: NoteArrays) -> list[NoteArrays]:
        assert self._steps_per_second is not None
        return [note_transforms.quantize(arrays, self._steps_per_second)]

    def transform(self, input_object: NoteSequence) -> list[NoteSequence]:
        if self.works_on_arrays:
            return super().transform(input_object)
        from note_seq import sequences_lib

        reasons = {
            sequences_lib.MultipleTimeSignatureError: "multiple_time_signatures",
            sequences_lib.MultipleTempoError: "multiple_tempos",
            sequences_lib.BadTimeSignatureError: "bad_time_signature",
        }
        counters = {
            error: statistics.Counter(f"sequences_discarded_because_{reason}")
            for error, reason in reasons.items()
        }
        self._set_stats(counters.values())
        try:
            return [sequences_lib.quantize_note_sequence(input_object, self._steps_per_quarter)]
        except tuple(reasons) as error:
            counters[type(error)].increment()
            return []


class SustainPipeline(NoteArraysPipeline):
    """Extends notes to the release of the sustain pedal."""

    def transform_arrays(self, arrays: NoteArrays) -> list[NoteArrays]:
        return [note_transforms.apply_sustain(arrays)]


class StretchPipeline(NoteArraysPipeline):
    """Returns a copy of a sequence for each factor, with all times multiplied by it.

    The factor is appended to the id, if there is one: `<id>@stretch=1.05`.
    """

    def __init__(self, stretch_factors: Sequence[float], name: str | None = None):
        super().__init__(name)
        self._stretch_factors = stretch_factors

    def transform_arrays(self, arrays: NoteArrays) -> list[NoteArrays]:
        return [
            _mark(note_transforms.stretch(arrays, factor), f"stretch={factor:g}", factor == 1.0)
            for factor in self._stretch_factors
        ]


class TranspositionPipeline(NoteArraysPipeline):
    """Returns a transposed copy of a sequence for each number of semitones.

    A copy with a pitch out of range is dropped. Drums are not transposed. The number is appended
    to the id, if there is one: `<id>@transpose=-3`.
    """

    def __init__(
        self,
        transposition_range: Sequence[int],
        min_pitch: int = note_transforms.MIN_PITCH,
        max_pitch: int = note_transforms.MAX_PITCH,
        name: str | None = None,
    ):
        """Sets the transpositions.

        Args:
          transposition_range: number of semitones of each copy.
          min_pitch: lowest pitch in range.
          max_pitch: highest pitch in range.
          name: name in statistics and messages.
        """
        super().__init__(name)
        self._transposition_range = transposition_range
        self._min_pitch = min_pitch
        self._max_pitch = max_pitch

    def transform_arrays(self, arrays: NoteArrays) -> list[NoteArrays]:
        transposed = []
        for semitones in self._transposition_range:
            copy = note_transforms.transpose(arrays, semitones, self._min_pitch, self._max_pitch)
            if copy is not None:
                transposed.append(_mark(copy, f"transpose={semitones:+d}", semitones == 0))
        skipped = len(self._transposition_range) - len(transposed)
        self._set_stats(
            [
                statistics.Counter("skipped_due_to_range_exceeded", skipped),
                statistics.Counter("transpositions_generated", len(transposed)),
            ]
        )
        return transposed


def _mark(arrays: NoteArrays, change: str, is_original: bool) -> NoteArrays:
    """Appends a change to the id, if there is one, to tell copies apart."""
    if is_original or not arrays.id:
        return arrays
    separator = "," if "@" in arrays.id else "@"
    return arrays.replace(id=f"{arrays.id}{separator}{change}")
