"""Performances as event indices: a vectorised codec between note arrays and event classes.

Classes, in order: NOTE_ON of pitches 0-127, NOTE_OFF of
pitches 0-127, TIME_SHIFT of 1 to 100 steps, VELOCITY of bins 1 to `num_velocity_bins`. Indices
and order are those of note-seq 0.0.5's `PerformanceOneHotEncoding`, and both directions give
what its `Performance` gives, event for event and note for note.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bundles.errors import PerfRnnError
from perf_rnn.notes.arrays import NoteArrays
from perf_rnn.notes.transforms import quantize

if TYPE_CHECKING:
    from note_seq import performance_lib

NUM_PITCHES = 128
MAX_SHIFT_STEPS = 100
STEPS_PER_SECOND = 100
NUM_VELOCITY_BINS = 32
MIN_VELOCITY = 1
MAX_VELOCITY = 127
DEFAULT_VELOCITY = 100

EventIndices = NDArray[np.int32]


class EventType(enum.IntEnum):
    """What an event does; the numbers are those of note_seq's PerformanceEvent."""

    NOTE_ON = 1
    NOTE_OFF = 2
    TIME_SHIFT = 3
    VELOCITY = 4


class Event(NamedTuple):
    """An event's type and value: a pitch, a number of steps, or a velocity bin."""

    type: EventType
    value: int


@dataclasses.dataclass(frozen=True)
class EventCodec:
    """Encodes quantised notes as event indices and decodes event indices to notes.

    >>> codec = EventCodec(num_velocity_bins=32)
    >>> codec.num_classes, codec.default_label
    (388, 355)
    >>> notes = codec.decode([355 + 25, 60, 256 + 49, 128 + 60])
    >>> notes.pitch.tolist(), notes.velocity.tolist(), notes.end_time.tolist()
    ([60], [97], [0.5])
    >>> codec.encode(notes).tolist()
    [380, 60, 305, 188]

    Attributes:
      num_velocity_bins: 0 (no VELOCITY events) to 127.
      max_shift_steps: the longest TIME_SHIFT in steps.
    """

    num_velocity_bins: int
    max_shift_steps: int = MAX_SHIFT_STEPS

    def __post_init__(self) -> None:
        if not 0 <= self.num_velocity_bins <= MAX_VELOCITY:
            raise PerfRnnError(
                f"num_velocity_bins {self.num_velocity_bins} is outside 0 to {MAX_VELOCITY}"
            )
        if self.max_shift_steps < 1:
            raise PerfRnnError(f"max_shift_steps {self.max_shift_steps} is below 1")

    @property
    def num_classes(self) -> int:
        """The number of event classes."""
        return 2 * NUM_PITCHES + self.max_shift_steps + self.num_velocity_bins

    event_shape: ClassVar[tuple[int, ...]] = ()

    @property
    def head_sizes(self) -> tuple[int, ...]:
        """Classes of each output head of a network over these events: there is one head."""
        return (self.num_classes,)

    @property
    def default_label(self) -> int:
        """The event index of the longest shift: the label that stands for nothing happening."""
        return self._shift_base + self.max_shift_steps

    @property
    def velocity_bin_width(self) -> int:
        """MIDI velocities per bin: 4 for 32 bins."""
        return -(-MAX_VELOCITY // self.num_velocity_bins)

    # An event index is its base plus its value.
    @property
    def _shift_base(self) -> int:
        return 2 * NUM_PITCHES - 1

    @property
    def _velocity_base(self) -> int:
        return self._shift_base + self.max_shift_steps

    @functools.cached_property
    def _ranges(self) -> dict[int, tuple[int, int, int]]:
        """Event type -> (base, lowest value, highest value), in class order."""
        return {
            EventType.NOTE_ON: (0, 0, NUM_PITCHES - 1),
            EventType.NOTE_OFF: (NUM_PITCHES, 0, NUM_PITCHES - 1),
            EventType.TIME_SHIFT: (self._shift_base, 1, self.max_shift_steps),
            EventType.VELOCITY: (self._velocity_base, 1, self.num_velocity_bins),
        }

    def event_index(self, event_type: int, value: int) -> int:
        """The class of an event.

        Raises:
          ValueError: the type is unknown, or the value is outside the type's range.
        """
        if event_type not in self._ranges:
            types = ", ".join(f"{known.value} {known.name}" for known in EventType)
            raise PerfRnnError(f"event type {event_type} is none of {types}")
        base, low, high = self._ranges[event_type]
        if not low <= value <= high:
            allowed = f"is outside {low} to {high}" if high else "in a codec without velocity bins"
            raise PerfRnnError(f"{EventType(event_type).name} value {value} {allowed}")
        return base + value

    def event(self, index: int) -> Event:
        """The event of a class.

        Raises:
          ValueError: the index is outside 0 to num_classes - 1.
        """
        for event_type, (base, low, high) in self._ranges.items():
            if base + low <= index <= base + high:
                return Event(EventType(event_type), index - base)
        raise PerfRnnError(f"event index {index} is outside 0 to {self.num_classes - 1}")

    def encode(self, notes: NoteArrays, start_step: int = 0) -> EventIndices:
        """The events of the notes that start at or after `start_step`.

        Notes are taken in order of (start_time, pitch), events in order of (step, note, off after
        on). A VELOCITY precedes a NOTE_ON whose bin differs from the last one.

        Args:
          notes: quantised notes of all instruments.
          start_step: the step the first shift counts from.

        Returns:
          int32[L] event indices.

        Raises:
          ValueError: the notes are not quantised, or a pitch or velocity is outside MIDI's range.
        """
        if notes.start_step is None or notes.end_step is None:
            raise PerfRnnError("notes are not quantised; call note_transforms.quantize first")
        order = np.lexsort((notes.pitch, notes.start_time))
        order = order[notes.start_step[order] >= start_step]
        num_notes = len(order)
        if not num_notes:
            return np.empty(0, np.int32)
        pitch = notes.pitch[order].astype(np.int64)
        check_values("pitch", pitch, 0, NUM_PITCHES - 1)

        # One integer sorts by (step, note, off after on) and gives all three back.
        keys = np.empty((num_notes, 2), np.int64)
        keys[:, 0] = notes.start_step[order]
        keys[:, 1] = notes.end_step[order]
        keys = (keys * (2 * num_notes)).ravel() + np.arange(2 * num_notes)
        keys.sort()
        step, half = np.divmod(keys, 2 * num_notes)
        note, is_off = half >> 1, half & 1

        gap = np.diff(np.maximum(step, start_step), prepend=start_step)
        # A gap of exactly max_shift_steps is one shift, hence the - 1.
        full_shifts = (gap - 1) // self.max_shift_steps
        num_shifts = full_shifts + 1
        has_velocity = np.zeros(2 * num_notes, np.int64)
        if self.num_velocity_bins:
            velocity = notes.velocity[order]
            check_values("velocity", velocity, MIN_VELOCITY, MAX_VELOCITY)
            bins = ((velocity - MIN_VELOCITY) // self.velocity_bin_width + 1)[note]
            onsets = np.flatnonzero(is_off == 0)
            has_velocity[onsets] = np.diff(bins[onsets], prepend=0) != 0

        # Where each note's own event lands; its shifts and its VELOCITY come right before it.
        position = np.cumsum(num_shifts + has_velocity + 1) - 1
        events = np.full(position[-1] + 1, self.default_label, np.int32)
        events[position] = pitch[note] + NUM_PITCHES * is_off
        shifted = np.flatnonzero(num_shifts)
        last_shift = gap[shifted] - full_shifts[shifted] * self.max_shift_steps
        events[position[shifted] - has_velocity[shifted] - 1] = self._shift_base + last_shift
        if self.num_velocity_bins:
            changed = np.flatnonzero(has_velocity)
            events[position[changed] - 1] = self._velocity_base + bins[changed]
        return events

    def decode(
        self,
        events: Sequence[int] | NDArray[Any],
        start_step: int = 0,
        *,
        steps_per_second: int = STEPS_PER_SECOND,
        velocity: int = DEFAULT_VELOCITY,
        max_note_duration: float | None = None,
        instrument: int = 0,
        program: int = 0,
        is_drum: bool = False,
    ) -> NoteArrays:
        """The notes that event indices play, quantised, in the order their NOTE_OFFs come.

        A NOTE_OFF ends the oldest sounding note of its pitch. One that finds none is ignored, and
        so are notes of no duration. Notes never ended end at the last step; they follow the
        others, ordered by when their pitch was first named.

        Args:
          events: [L] event indices.
          start_step: the step of the first event.
          steps_per_second: how long a step is.
          velocity: the MIDI velocity of notes before the first VELOCITY event.
          max_note_duration: seconds; longer notes are cut to it. None: no limit.
          instrument, program, is_drum: given to every note.

        Raises:
          ValueError: an event index is outside 0 to num_classes - 1, `velocity` is outside 1 to
            127, or `max_note_duration` is not above 0.
        """
        events = self._check_indices(events)
        if not MIN_VELOCITY <= velocity <= MAX_VELOCITY:
            raise PerfRnnError(f"velocity {velocity} is outside {MIN_VELOCITY} to {MAX_VELOCITY}")
        shifts = self.event_steps(events)
        total_steps = int(shifts.sum())

        is_note = events < 2 * NUM_PITCHES
        pitch = events[is_note] % NUM_PITCHES
        is_on = events[is_note] < NUM_PITCHES
        step = np.cumsum(shifts)[is_note]
        on, off = pair_notes(pitch, is_on)
        is_hanging = off < 0
        first_step = step[on]
        last_step = np.where(is_hanging, total_steps, step[off])

        is_velocity = events > self._velocity_base
        velocities = np.full(len(events) + 1, velocity, np.int32)
        bins = events[is_velocity] - self._velocity_base
        if self.num_velocity_bins:
            velocities[1 : len(bins) + 1] = MIN_VELOCITY + (bins - 1) * self.velocity_bin_width
        note_velocity = velocities[np.cumsum(is_velocity)[is_note]][on]

        keep = last_step > first_step
        return notes_of_steps(
            first_step[keep],
            last_step[keep],
            pitch[on[keep]],
            note_velocity[keep],
            start_step=start_step,
            steps_per_second=steps_per_second,
            max_note_duration=max_note_duration,
            instrument=instrument,
            program=program,
            is_drum=is_drum,
        )

    @functools.cached_property
    def _class_steps(self) -> NDArray[np.int64]:
        """int64[num_classes]: the steps that each class takes."""
        steps = np.zeros(self.num_classes, np.int64)
        steps[self._shift_base + 1 : self._velocity_base + 1] = range(1, self.max_shift_steps + 1)
        return steps

    def event_steps(self, events: Any) -> NDArray[np.int64]:
        """The steps that each event takes, int64 of the events' shape: 0 unless it is a shift."""
        return self._class_steps[events]

    def num_steps(self, events: Sequence[int] | NDArray[Any]) -> int:
        """The steps that all shifts add up to."""
        return int(self.event_steps(self._check_indices(events)).sum())

    def set_length(self, events: Sequence[int] | NDArray[Any], steps: int) -> EventIndices:
        """The events made exactly `steps` long.

        Lengthening grows a last shift below the maximum and then appends shifts. Shortening
        removes what follows `steps`; events at that very step stay.

        Raises:
          ValueError: `steps` is negative.
        """
        if steps < 0:
            raise PerfRnnError(f"length of {steps} steps is below 0")
        events = self._check_indices(events)
        shifts = self.event_steps(events)
        ends = np.cumsum(shifts)
        missing = steps - (int(ends[-1]) if len(ends) else 0)
        if missing < 0:
            first_past = int(np.searchsorted(ends, steps, side="right"))
            rest = steps - int(ends[first_past] - shifts[first_past])
            return np.concatenate([events[:first_past], self._make_shifts(rest)])
        if len(events) and shifts[-1] > 0:
            grown = min(missing, self.max_shift_steps - int(shifts[-1]))
            events = np.append(events[:-1], np.int32(events[-1] + grown))
            missing -= grown
        return np.concatenate([events, self._make_shifts(missing)])

    def to_performance(
        self,
        events: Sequence[int] | NDArray[Any],
        start_step: int = 0,
        *,
        steps_per_second: int = STEPS_PER_SECOND,
        program: int | None = None,
        is_drum: bool | None = None,
    ) -> performance_lib.Performance:
        """The events as a note_seq Performance."""
        from note_seq import performance_lib

        performance = performance_lib.Performance(
            steps_per_second=steps_per_second,
            start_step=start_step,
            num_velocity_bins=self.num_velocity_bins,
            max_shift_steps=self.max_shift_steps,
            program=program,
            is_drum=is_drum,
        )
        indices = self._check_indices(events).tolist()
        # PerformanceEvents cannot change, so one object serves every occurrence of a class.
        event_objects = {
            index: performance_lib.PerformanceEvent(*map(int, self.event(index)))
            for index in set(indices)
        }
        for index in indices:
            performance.append(event_objects[index])
        return performance

    def from_performance(self, performance: performance_lib.Performance) -> EventIndices:
        """The event indices of a note_seq Performance.

        Raises:
          ValueError: an event is outside the codec's ranges.
        """
        return np.fromiter(
            (self.event_index(event.event_type, event.event_value) for event in performance),
            np.int32,
            len(performance),
        )

    def _check_indices(self, events: Sequence[int] | NDArray[Any]) -> EventIndices:
        array = np.asarray(events)
        if array.size == 0:
            array = array.astype(np.int32)
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise PerfRnnError(
                f"expected [L] integer event indices, got {array.dtype} of shape {array.shape}"
            )
        check_values("event index", array, 0, self.num_classes - 1)
        return array.astype(np.int32, copy=False)

    def _make_shifts(self, steps: int) -> EventIndices:
        full, rest = divmod(steps, self.max_shift_steps)
        shifts = [self.max_shift_steps] * full + [rest] * (rest > 0)
        return np.array(shifts, np.int32) + np.int32(self._shift_base)


def check_values(what: str, values: NDArray[Any], low: int, high: int) -> None:
    """Raises a ValueError that names the first of the values outside `low` to `high`, if any."""
    outside = np.flatnonzero((values < low) | (values > high))
    if len(outside):
        raise PerfRnnError(
            f"{what} {values[outside[0]]} (number {outside[0]}) is outside {low} to {high}"
        )


def notes_of_steps(
    first_step: NDArray[Any],
    last_step: NDArray[Any],
    pitch: NDArray[Any],
    velocity: NDArray[Any],
    *,
    start_step: int,
    steps_per_second: int,
    max_note_duration: float | None,
    instrument: int,
    program: int,
    is_drum: bool,
) -> NoteArrays:
    """Notes that last from a step to another, counted from `start_step`; see `EventCodec.decode`.

    Raises:
      ValueError: `max_note_duration` is not above 0.
    """
    if max_note_duration is not None and not max_note_duration > 0:
        raise PerfRnnError(f"max_note_duration {max_note_duration} is not above 0 seconds")
    # The same floating point operations as note_seq, so the same times to the last bit.
    seconds_per_step = 1.0 / steps_per_second
    start_time = first_step * seconds_per_step + start_step * seconds_per_step
    end_time = last_step * seconds_per_step + start_step * seconds_per_step
    if max_note_duration is not None:
        too_long = end_time - start_time > max_note_duration
        end_time = np.where(too_long, start_time + max_note_duration, end_time)
    num_notes = len(pitch)
    notes = NoteArrays(
        start_time=start_time,
        end_time=end_time,
        pitch=pitch,
        velocity=velocity,
        instrument=np.full(num_notes, instrument, np.int32),
        program=np.full(num_notes, program, np.int32),
        is_drum=np.full(num_notes, is_drum),
        total_time=float(end_time.max(initial=0.0)),
    )
    return quantize(notes, steps_per_second)


def pair_notes(pitch: NDArray[Any], is_on: NDArray[np.bool_]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Pairs NOTE_ONs with NOTE_OFFs, first in first out within a pitch.

    Args:
      pitch, is_on: [n], the note events in order.

    Returns:
      (on, off): indices into the note events, one entry per NOTE_ON, in the order in which the
      notes come out; off is -1 for notes that are never ended.
    """
    size = len(pitch)
    if not size:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    # Pitch by pitch, each in order of time.
    order = np.argsort(pitch, kind="stable")
    on = is_on[order]
    group_start = np.flatnonzero(np.diff(pitch[order], prepend=-1))
    group = np.repeat(np.arange(len(group_start)), np.diff(group_start, append=size))

    # With +1 per on and -1 per off, a stray off is one that takes its pitch's running sum to a
    # new low below zero. Each pitch has a zero of its own, far below the sums of the one before,
    # so that one running minimum serves all pitches.
    zero = -(2 * size + 1) * group
    change = np.where(on, 1, -1)
    total = np.cumsum(change)
    balance = zero + total - (total - change)[group_start][group]
    lowest = np.minimum(np.minimum.accumulate(balance), zero)
    is_new_low = np.diff(lowest, prepend=0) < 0

    # Without the strays, the k-th on of a pitch goes with its k-th off.
    ons = np.flatnonzero(on)
    offs = np.flatnonzero(~on & ~is_new_low)
    num_offs = np.bincount(group[offs], minlength=len(group_start))
    rank = np.arange(len(ons)) - np.searchsorted(ons, group_start)[group[ons]]
    ended = rank < num_offs[group[ons]]
    off = np.full(len(ons), -1)
    off[ended] = order[offs]
    # Ended notes by the place of their off; then the hanging ones by their pitch's first event.
    out = np.lexsort((rank, np.where(ended, off, size + order[group_start[group[ons]]])))
    return order[ons][out], off[out]
