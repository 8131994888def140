"""Extracts performances from quantised NoteSequences.

Names and behaviour follow `magenta.pipelines.performance_pipeline` of Magenta 2.1.4.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from bundles.errors import PerfRnnError
from bundles.note_seq_protos import NoteSequence
from perf_rnn.events.codec import STEPS_PER_SECOND, Codec
from perf_rnn.events.note_events import DurationTooLongError, NoteCodec, ShiftTooLongError
from perf_rnn.events.one_hot import EventCodec
from perf_rnn.notes.arrays import NoteArrays
from pipelines import statistics
from pipelines.array_pipeline import ArrayForm, ArrayPipeline
from pipelines.note_sequence_pipelines import NOTE_ARRAYS

if TYPE_CHECKING:
    from note_seq import performance_lib

SEGMENT_SECONDS = 30.0

# Lower bounds of the histograms' buckets.
_SECONDS_BUCKETS = (5, 10, 20, 30, 40, 60, 120)
_BARS_BUCKETS = (1, 10, 20, 30, 40, 50, 100, 200, 500)


@dataclasses.dataclass(frozen=True, eq=False)
class EventArrays:
    """A note_seq Performance or NotePerformance as an array of events, with its source.

    Attributes:
      events: int32 [length, *event_shape].
      codec: the codec of the events.
      program, is_drum, start_step, steps_per_second: see note_seq's Performance.
      source_id: id of the sequence; '' if unknown.
      segment_index: index of the segment in the sequence.
    """

    events: np.ndarray
    codec: Codec
    program: int | None = None
    is_drum: bool | None = None
    start_step: int = 0
    steps_per_second: int = STEPS_PER_SECOND
    source_id: str = ""
    segment_index: int = 0


def performance_type() -> type[performance_lib.BasePerformance]:
    """Returns note_seq's class of performances; importing it takes more than a second."""
    from note_seq import performance_lib

    performance: type[performance_lib.BasePerformance] = performance_lib.BasePerformance
    return performance


def _from_performance(performance: performance_lib.BasePerformance) -> EventArrays:
    from note_seq import performance_lib

    # note_seq has no public attribute for the number of velocity bins.
    num_velocity_bins = performance._num_velocity_bins
    codec: Codec
    if isinstance(performance, performance_lib.Performance):
        codec = EventCodec(num_velocity_bins, performance.max_shift_steps)
    elif isinstance(performance, performance_lib.NotePerformance):
        codec = NoteCodec(num_velocity_bins)
    else:
        raise PerfRnnError(
            f"a {type(performance).__name__} has no event indices; give a Performance or a "
            "NotePerformance"
        )
    return EventArrays(
        codec.from_performance(performance),
        codec,
        performance.program,
        performance.is_drum,
        performance.start_step,
        performance.steps_per_second,
    )


def _to_performance(arrays: EventArrays) -> performance_lib.BasePerformance:
    return arrays.codec.to_performance(
        arrays.events,
        arrays.start_step,
        steps_per_second=arrays.steps_per_second,
        program=arrays.program,
        is_drum=arrays.is_drum,
    )


EVENT_ARRAYS = ArrayForm(EventArrays, _from_performance, _to_performance)


class PerformanceExtractor(ArrayPipeline):
    """Extracts one performance from a quantised NoteSequence, over all its instruments.

    In a DAGPipeline, sequences must be quantised in steps per second. `transform` itself calls
    `extract_performances`, which also accepts steps per quarter note.
    """

    input_form = NOTE_ARRAYS
    output_form = EVENT_ARRAYS
    works_on_arrays = True  # `transform` is only for protos.

    def __init__(
        self,
        min_events: int | None,
        max_events: int | None,
        codec: Codec,
        name: str | None = None,
    ):
        """Sets the limits and the codec.

        Args:
          min_events: shorter performances are discarded; None for no limit.
          max_events: longer performances are truncated; None for no limit.
          codec: an EventCodec or NoteCodec, of the events to extract.
          name: name in statistics and messages.
        """
        super().__init__(NoteSequence, EventArrays, name)
        self._min_events = min_events
        self._max_events = max_events
        self._codec = codec

    @property
    def output_type(self) -> type:
        return performance_type()

    def transform_arrays(self, arrays: NoteArrays) -> list[EventArrays]:
        if arrays.steps_per_second is None:
            raise PerfRnnError(f"sequence {arrays.id!r} is not quantised in steps per second")
        stats = _ExtractionStats(in_bars=False)
        self._set_stats(stats.all)
        if (arrays.program != arrays.program[:1]).any():
            stats.count("performances_discarded_more_than_1_program")
            return []
        try:
            events = self._codec.encode(arrays)
        except ShiftTooLongError:
            stats.count("performance_discarded_too_many_time_shift_steps")
            return []
        except DurationTooLongError:
            stats.count("performance_discarded_too_many_duration_steps")
            return []
        if self._max_events is not None and len(events) > self._max_events:
            events = events[: self._max_events]
            stats.count("performances_truncated")
        if self._min_events is not None and len(events) < self._min_events:
            stats.count("performances_discarded_too_short")
            return []
        stats.lengths.increment(self._codec.num_steps(events) // arrays.steps_per_second)
        all_drums, no_drums = bool(arrays.is_drum.all()), not arrays.is_drum.any()
        return [
            EventArrays(
                events,
                self._codec,
                program=int(arrays.program[0]) if no_drums and arrays.num_notes else None,
                is_drum=all_drums if all_drums or no_drums else None,
                steps_per_second=arrays.steps_per_second,
                source_id=arrays.id,
                segment_index=_segment_index(arrays),
            )
        ]

    def transform(self, input_object: NoteSequence) -> list[performance_lib.BasePerformance]:
        performances, stats = extract_performances(
            input_object,
            min_events_discard=self._min_events,
            max_events_truncate=self._max_events,
            num_velocity_bins=self._codec.num_velocity_bins,
            note_performance=self._codec.whole_notes,
        )
        self._set_stats(stats)
        return performances


def _segment_index(arrays: NoteArrays) -> int:
    if arrays.num_segments > 1:
        return arrays.segment_index
    # A NoteSequence proto stores the offset of a segment but not its index.
    return round(arrays.start_time_offset / SEGMENT_SECONDS)


class _ExtractionStats:
    """The statistics of an extraction."""

    def __init__(self, in_bars: bool):
        self._counters = {
            name: statistics.Counter(name)
            for name in (
                "performances_discarded_too_short",
                "performances_truncated",
                "performances_truncated_timewise",
                "performances_discarded_more_than_1_program",
                "performance_discarded_too_many_time_shift_steps",
                "performance_discarded_too_many_duration_steps",
            )
        }
        self.lengths = (
            statistics.Histogram("performance_lengths_in_bars", _BARS_BUCKETS)
            if in_bars
            else statistics.Histogram("performance_lengths_in_seconds", _SECONDS_BUCKETS)
        )
        self.all = [*self._counters.values(), self.lengths]

    def count(self, name: str) -> None:
        self._counters[name].increment()


def extract_performances(
    quantized_sequence: NoteSequence,
    start_step: int = 0,
    min_events_discard: int | None = None,
    max_events_truncate: int | None = None,
    max_steps_truncate: int | None = None,
    num_velocity_bins: int = 0,
    split_instruments: bool = False,
    note_performance: bool = False,
) -> tuple[list[performance_lib.BasePerformance], list[statistics.Statistic]]:
    """Extracts note_seq performances from a quantised NoteSequence.

    Args:
      quantized_sequence: in steps per second, or in steps per quarter note (which gives
        MetricPerformances).
      start_step: first step to extract.
      min_events_discard: performances with fewer events are discarded; None for no limit.
      max_events_truncate: performances with more events are truncated; None for no limit.
      max_steps_truncate: performances with more steps are truncated; None for no limit.
      num_velocity_bins: velocity bins; 0 for no VELOCITY events.
      split_instruments: whether to extract one performance per instrument. Otherwise there is one
        for all instruments, or none if they have several programs.
      note_performance: whether to extract NotePerformances, which have one event per note.

    Returns:
      The performances, and statistics of the discarded and truncated ones.

    Raises:
      note_seq.QuantizationStatusError: the sequence is not quantised.
    """
    from note_seq import performance_lib, sequences_lib

    sequences_lib.assert_is_quantized_sequence(quantized_sequence)
    in_bars = sequences_lib.is_relative_quantized_sequence(quantized_sequence)
    stats = _ExtractionStats(in_bars)
    if in_bars:
        steps_per_unit = int(sequences_lib.steps_per_bar_in_quantized_sequence(quantized_sequence))
    else:
        steps_per_unit = quantized_sequence.quantization_info.steps_per_second

    instruments: list[int | None] = [None]
    if split_instruments:
        instruments = list({note.instrument for note in quantized_sequence.notes})
    elif len({note.program for note in quantized_sequence.notes}) > 1:
        stats.count("performances_discarded_more_than_1_program")
        return [], stats.all

    performance_class = (
        performance_lib.NotePerformance
        if note_performance
        else performance_lib.MetricPerformance
        if in_bars
        else performance_lib.Performance
    )
    performances = []
    for instrument in instruments:
        try:
            performance = performance_class(
                quantized_sequence,
                start_step=start_step,
                num_velocity_bins=num_velocity_bins,
                instrument=instrument,
            )
        except performance_lib.TooManyTimeShiftStepsError:
            stats.count("performance_discarded_too_many_time_shift_steps")
            continue
        except performance_lib.TooManyDurationStepsError:
            stats.count("performance_discarded_too_many_duration_steps")
            continue
        if max_steps_truncate is not None and performance.num_steps > max_steps_truncate:
            performance.set_length(max_steps_truncate)
            stats.count("performances_truncated_timewise")
        if max_events_truncate is not None and len(performance) > max_events_truncate:
            performance.truncate(max_events_truncate)
            stats.count("performances_truncated")
        if min_events_discard is not None and len(performance) < min_events_discard:
            stats.count("performances_discarded_too_short")
            continue
        stats.lengths.increment(performance.num_steps // steps_per_unit)
        performances.append(performance)
    return performances, stats.all
