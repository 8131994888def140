"""Performances as note events: one event per note, with its shift, velocity and duration.

An event is six indices, one for each head of the network: the shift from the start of the note
before (coarse, fine), the pitch, the velocity bin, and the duration (coarse, fine). They are those
of note-seq 0.0.5's `NotePerformance` and `NotePerformanceEventSequenceEncoderDecoder`.
"""

from __future__ import annotations

import dataclasses
import functools
import heapq
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bundles.errors import PerfRnnError
from perf_rnn.events.codec import (
    MAX_VELOCITY,
    MIN_VELOCITY,
    NUM_PITCHES,
    NUM_VELOCITY_BINS,
    STEPS_PER_SECOND,
    Codec,
    EventIndices,
    check_values,
    encoding_order,
    stretch_steps,
)
from perf_rnn.events.note_reader import NoteMessage, NoteReader
from perf_rnn.events.rules import MAX_NOTE_STEPS, MAX_ONSETS, EventRules
from perf_rnn.notes.arrays import NoteArrays

if TYPE_CHECKING:
    from note_seq import performance_lib

# A shift of 0 to 1000 steps is coarse * 77 + fine; a duration of 1 to 1000 is one more than
# coarse * 40 + fine. The factors keep the two heads of each about equally wide.
SHIFT_HEADS = (13, 77)
DURATION_HEADS = (25, 40)
MAX_NOTE_SHIFT_STEPS = SHIFT_HEADS[0] * SHIFT_HEADS[1] - 1
MAX_DURATION_STEPS = DURATION_HEADS[0] * DURATION_HEADS[1]


class NoteEventError(PerfRnnError):
    """Notes that note events cannot express."""


class ShiftTooLongError(NoteEventError):
    """A note starts more than `MAX_NOTE_SHIFT_STEPS` after the one before."""


class DurationTooLongError(NoteEventError):
    """A note lasts more than `MAX_DURATION_STEPS`."""


@dataclasses.dataclass(frozen=True)
class NoteCodec(Codec):
    """Encodes quantised notes as note events, int32 [L, 6], and decodes those to notes.

    >>> codec = NoteCodec(num_velocity_bins=32)
    >>> codec.head_sizes
    (13, 77, 128, 32, 25, 40)
    >>> notes = codec.decode([[1, 23, 60, 24, 1, 9]])
    >>> notes.start_step.tolist(), notes.end_step.tolist(), notes.velocity.tolist()
    ([100], [150], [97])
    >>> codec.encode(notes).tolist()
    [[1, 23, 60, 24, 1, 9]]

    Attributes:
      num_velocity_bins: 1 to 127.
    """

    num_velocity_bins: int = NUM_VELOCITY_BINS

    event_shape: ClassVar[tuple[int, ...]] = (6,)
    whole_notes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 1 <= self.num_velocity_bins <= MAX_VELOCITY:
            raise PerfRnnError(
                f"num_velocity_bins {self.num_velocity_bins} is outside 1 to {MAX_VELOCITY}"
            )

    @property
    def head_sizes(self) -> tuple[int, ...]:
        """Classes of each output head of a network over these events."""
        return *SHIFT_HEADS, NUM_PITCHES, self.num_velocity_bins, *DURATION_HEADS

    @property
    def default_label(self) -> tuple[int, ...]:
        """The shortest and softest middle C, as in note_seq."""
        return 0, 0, 60, 0, 0, 0

    def encode(self, notes: NoteArrays, start_step: int = 0) -> EventIndices:
        """The events of the notes that start at or after `start_step`, one per note.

        Notes are taken in order of (start_time, pitch).

        Args:
          notes: quantised notes of all instruments.
          start_step: the step the first shift counts from.

        Raises:
          ShiftTooLongError, DurationTooLongError: whichever comes first in the notes' order.
          PerfRnnError: the notes are not quantised, or a pitch, velocity or duration is impossible.
        """
        order = encoding_order(notes, start_step)
        start, end = np.asarray(notes.start_step)[order], np.asarray(notes.end_step)[order]
        pitch, velocity = notes.pitch[order], notes.velocity[order]
        shift = np.diff(start, prepend=start_step)
        duration = end - start
        self._check_lengths(shift, duration)
        check_values("pitch", pitch, 0, NUM_PITCHES - 1)
        check_values("velocity", velocity, MIN_VELOCITY, MAX_VELOCITY)
        velocity_bin = (velocity - MIN_VELOCITY) // self.velocity_bin_width
        return join_heads(shift, pitch, velocity_bin, duration)

    def note_spans(
        self, events: Any
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
        """The notes in the order of their events."""
        events = self._check_indices(events)
        first_step = np.cumsum(self.event_steps(events))
        velocity = MIN_VELOCITY + events[:, 3] * self.velocity_bin_width
        return first_step, first_step + note_durations(events), events[:, 2], velocity

    def event_steps(self, events: Any) -> NDArray[np.int64]:
        """The steps by which each event moves on, int64 [...] for events [..., 6]: its shift.

        A note's duration is not included: the next note's shift counts from this one's start.
        """
        events = np.asarray(events, np.int64)
        steps: NDArray[np.int64] = events[..., 0] * SHIFT_HEADS[1] + events[..., 1]
        return steps

    def num_steps(self, events: Any) -> int:
        """The steps up to the end of the last note."""
        events = self._check_indices(events)
        return int(self.event_steps(events).sum() + note_durations(events)[-1:].sum())

    def set_length(self, events: Any, steps: int) -> EventIndices:
        """The events that start before `steps`, their notes cut to end there at the latest.

        Note events cannot end with silence, so a shorter performance stays as it is.

        Raises:
          PerfRnnError: `steps` is negative.
        """
        if steps < 0:
            raise PerfRnnError(f"length of {steps} steps is below 0")
        events = self._check_indices(events)
        starts = np.cumsum(self.event_steps(events))
        events = events[starts < steps]
        durations = np.minimum(note_durations(events), steps - starts[: len(events)])
        return join_heads(self.event_steps(events), events[:, 2], events[:, 3], durations)

    def to_performance(
        self,
        events: Any,
        start_step: int = 0,
        *,
        steps_per_second: int = STEPS_PER_SECOND,
        program: int | None = None,
        is_drum: bool | None = None,
    ) -> performance_lib.NotePerformance:
        """The events as a note_seq NotePerformance."""
        from note_seq import music_pb2, performance_lib

        events = self._check_indices(events)
        sequence = music_pb2.NoteSequence()
        sequence.quantization_info.steps_per_second = steps_per_second
        performance = performance_lib.NotePerformance(
            sequence, num_velocity_bins=self.num_velocity_bins, start_step=start_step
        )
        # NotePerformance takes these two from the sequence's notes, and drums where there are none.
        performance._program, performance._is_drum = program, is_drum
        kind = performance_lib.PerformanceEvent
        columns = (self.event_steps(events), events[:, 2], events[:, 3] + 1, note_durations(events))
        for shift, pitch, velocity_bin, duration in zip(
            *(column.tolist() for column in columns), strict=True
        ):
            performance.append(
                (
                    kind(kind.TIME_SHIFT, shift),
                    kind(kind.NOTE_ON, pitch),
                    kind(kind.VELOCITY, velocity_bin),
                    kind(kind.DURATION, duration),
                )
            )
        return performance

    def from_performance(self, performance: performance_lib.NotePerformance) -> EventIndices:
        """The events of a note_seq NotePerformance, int32 [L, 6].

        Raises:
          PerfRnnError: a shift, velocity bin or duration is more than this codec holds.
        """
        values = np.array(
            [[part.event_value for part in event] for event in performance], np.int64
        ).reshape(-1, 4)
        shift, pitch, velocity_bin, duration = values.T
        self._check_lengths(shift, duration)
        check_values("velocity bin", velocity_bin, 1, self.num_velocity_bins)
        return join_heads(shift, pitch, velocity_bin - 1, duration)

    def cut_long_notes(self, notes: NoteArrays) -> NoteArrays:
        """The notes, quantised, cut to `MAX_DURATION_STEPS`."""
        start, end = np.asarray(notes.start_step), np.asarray(notes.end_step)
        return notes.replace(end_step=np.minimum(end, start + MAX_DURATION_STEPS))

    def reader(self, max_note_seconds: float, start_step: int) -> NoteEventReader:
        return NoteEventReader(self, max_note_seconds, start_step)

    def note_seq_encoder(self, *, modulo: bool = False, index_input: bool = False) -> Any:
        """The only encoder that note_seq has for note events; the arguments do not matter."""
        import note_seq

        return note_seq.NotePerformanceEventSequenceEncoderDecoder(self.num_velocity_bins)

    def stretch(self, events: EventIndices, factor: float) -> EventIndices:
        start = np.cumsum(self.event_steps(events))
        new_start = stretch_steps(start, factor)
        new_end = stretch_steps(start + note_durations(events), factor)
        new_end = np.maximum(new_end, new_start + 1)
        shift = np.diff(new_start, prepend=0)
        return join_heads(shift, events[:, 2], events[:, 3], new_end - new_start)

    def max_stretch(self, events: EventIndices) -> float:
        """The factor at which the longest shift or duration is as long as they may be."""
        # Rounding its start and its end makes a length of steps longer by one at most.
        shift = self.event_steps(events).max(initial=1)
        duration = note_durations(events).max(initial=1)
        return float(min((MAX_NOTE_SHIFT_STEPS - 1) / shift, (MAX_DURATION_STEPS - 1) / duration))

    def release(self, events: EventIndices) -> EventIndices:
        """None: a note event ends its note itself."""
        return events[:0]

    def pitches(self, events: EventIndices) -> NDArray[np.int32]:
        return events[:, 2]

    def transpose(self, events: EventIndices, semitones: int) -> EventIndices:
        moved = events.copy()
        moved[:, 2] += semitones
        return moved

    def map_pitches(self, events: EventIndices, table: NDArray[np.int32]) -> EventIndices:
        moved = events.copy()
        moved[:, 2] = table[events[:, 2]]
        return moved

    def note_changes(
        self, events: Any
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        raise PerfRnnError(
            "control signals are not defined on note events, which both start and end a note"
        )

    @property
    def pitch_classes(self) -> slice:
        """The pitch head."""
        return slice(sum(SHIFT_HEADS), sum(SHIFT_HEADS) + NUM_PITCHES)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The heads."""
        shift, duration = ("shift_coarse", "shift_fine"), ("duration_coarse", "duration_fine")
        return *shift, "pitch", "velocity", *duration

    def kind_numbers(self, events: EventIndices) -> NDArray[np.int64]:
        return np.arange(len(self.kinds))[np.newaxis]

    def values(self, events: Any) -> dict[str, NDArray[Any]]:
        """The `shift`, `pitch`, `velocity` bin from 1 and `duration` of each event, [L] each."""
        events = np.asarray(events)
        return {
            "shift": self.event_steps(events),
            "pitch": events[:, 2],
            "velocity": events[:, 3] + 1,
            "duration": note_durations(events),
        }

    def class_names(self) -> list[Hashable]:
        """("note", number of velocity bins, head, index)."""
        heads = enumerate(self.head_sizes)
        bins = self.num_velocity_bins
        return [("note", bins, head, index) for head, size in heads for index in range(size)]

    @functools.cached_property
    def timeless_classes(self) -> NDArray[np.bool_]:
        """The first class of the fine shift; time moves on if either head of the shift is not 0."""
        timeless = np.zeros(sum(self.head_sizes), np.bool_)
        timeless[SHIFT_HEADS[0]] = True
        return timeless

    def legal_rules(self, primer: NDArray[np.int32], batch_size: int) -> LegalNotes:
        """The rules of `LegalNotes`."""
        return LegalNotes(self, primer, batch_size)

    def _check_lengths(self, shift: NDArray[np.int64], duration: NDArray[np.int64]) -> None:
        too_long = (shift > MAX_NOTE_SHIFT_STEPS) | (duration > MAX_DURATION_STEPS)
        if too_long.any():
            note = int(np.argmax(too_long))
            if shift[note] > MAX_NOTE_SHIFT_STEPS:
                raise ShiftTooLongError(
                    f"note {note} starts {shift[note]} steps after the one before; note events "
                    f"hold at most {MAX_NOTE_SHIFT_STEPS}"
                )
            raise DurationTooLongError(
                f"note {note} lasts {duration[note]} steps; note events hold at most "
                f"{MAX_DURATION_STEPS}"
            )
        check_values("shift", shift, 0, MAX_NOTE_SHIFT_STEPS)
        check_values("duration", duration, 1, MAX_DURATION_STEPS)

    def _check_indices(self, events: Any) -> EventIndices:
        array = np.asarray(events)
        if array.size == 0:
            array = array.astype(np.int32).reshape(-1, *self.event_shape)
        if array.ndim != 2 or array.shape[1:] != self.event_shape or array.dtype.kind not in "iu":
            raise PerfRnnError(
                f"expected [L, 6] integer note events, got {array.dtype} of shape {array.shape}"
            )
        for head, size in enumerate(self.head_sizes):
            check_values(f"index of head {head}", array[:, head], 0, size - 1)
        return array.astype(np.int32, copy=False)


def join_heads(
    shift: NDArray[Any],
    pitch: NDArray[Any],
    velocity_bin: NDArray[Any],
    duration: NDArray[Any],
) -> EventIndices:
    """int32 [L, 6] events; steps as they are, velocity bins from 0."""
    return np.stack(
        [
            *np.divmod(shift, SHIFT_HEADS[1]),
            pitch,
            velocity_bin,
            *np.divmod(duration - 1, DURATION_HEADS[1]),
        ],
        axis=-1,
    ).astype(np.int32)


def note_durations(events: NDArray[Any]) -> NDArray[np.int64]:
    """int64 [...], the steps that the notes of events [..., 6] last."""
    events = np.asarray(events, np.int64)
    durations: NDArray[np.int64] = events[..., 4] * DURATION_HEADS[1] + events[..., 5] + 1
    return durations


class NoteEventReader(NoteReader):
    """Decodes note events, int [6] each, one by one."""

    def __init__(self, codec: NoteCodec, max_note_seconds: float, start_step: int):
        super().__init__(1.0 / STEPS_PER_SECOND, max_note_seconds, start_step)
        self._codec = codec
        # A heap of the sounding notes' (end in seconds, pitch).
        self._ends: list[tuple[float, int]] = []

    def read(self, event: NDArray[Any]) -> list[NoteMessage]:
        self._clock += int(self._codec.event_steps(event))
        pitch, now = int(event[2]), self._time(self._clock)
        messages = []
        while self._ends and self._ends[0][0] <= now:
            messages.append(NoteMessage(*heapq.heappop(self._ends), 0))
        velocity = MIN_VELOCITY + int(event[3]) * self._codec.velocity_bin_width
        messages.append(NoteMessage(now, pitch, velocity))
        end = self._clock + int(note_durations(event))
        heapq.heappush(self._ends, (self._end_time(self._clock, end), pitch))
        return messages

    def state(self) -> dict[str, NDArray[Any]]:
        ends = np.array(self._ends, np.float64).reshape(-1, 2)
        return {"clock": np.array(self._clock), "ends": ends}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        self._clock = int(state["clock"])
        self._ends = [(time, int(pitch)) for time, pitch in state["ends"].tolist()]


class LegalNotes(EventRules):
    """Rules of legal note events: few, since an event is a whole note and always playable.

    Durations and shifts are at most about 5 s, and at most `MAX_ONSETS` notes start at a time.
    """

    def __init__(self, codec: NoteCodec, primer: NDArray[np.int32], batch_size: int):
        super().__init__(codec, primer, batch_size, MAX_ONSETS)
        heads = [np.zeros(size, np.bool_) for size in codec.head_sizes]
        # Heads are drawn independently, so only the coarse ones can be limited.
        heads[0][MAX_NOTE_STEPS // SHIFT_HEADS[1] :] = True
        heads[4][MAX_NOTE_STEPS // DURATION_HEADS[1] :] = True
        self._too_long = np.concatenate(heads)

    def forbid(self, logits: NDArray[np.float64], clock: NDArray[np.int64]) -> None:
        super().forbid(logits, clock)
        logits[:, self._too_long] = -np.inf
