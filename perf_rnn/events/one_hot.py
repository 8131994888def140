"""Performances as one-hot events: a vectorised codec between note arrays and event indices.

The classes are those of `one_hot_classes`. Both directions give what note-seq 0.0.5's `Performance`
gives, event for event and note for note.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bundles.errors import PerfRnnError
from perf_rnn.events.codec import (
    MAX_VELOCITY,
    MIN_VELOCITY,
    NUM_PITCHES,
    STEPS_PER_SECOND,
    Codec,
    EventIndices,
    check_values,
    encoding_order,
)
from perf_rnn.events.one_hot_classes import DEFAULT_VELOCITY, EventClasses, EventType
from perf_rnn.events.one_hot_reader import EventReader
from perf_rnn.events.one_hot_rules import LegalEvents
from perf_rnn.events.one_hot_stretch import stretch
from perf_rnn.events.pairing import pair_notes
from perf_rnn.notes.arrays import NoteArrays

if TYPE_CHECKING:
    from note_seq import performance_lib

_KINDS = {
    "note_on": EventType.NOTE_ON,
    "note_off": EventType.NOTE_OFF,
    "shift": EventType.TIME_SHIFT,
    "velocity": EventType.VELOCITY,
}


@dataclasses.dataclass(frozen=True)
class EventCodec(EventClasses, Codec):
    """Encodes quantised notes as event indices and decodes event indices to notes.

    >>> codec = EventCodec(num_velocity_bins=32)
    >>> codec.num_classes, codec.default_label
    (388, 355)
    >>> notes = codec.decode([355 + 25, 60, 256 + 49, 128 + 60])
    >>> notes.pitch.tolist(), notes.velocity.tolist(), notes.end_time.tolist()
    ([60], [97], [0.5])
    >>> codec.encode(notes).tolist()
    [380, 60, 305, 188]
    """

    event_shape: ClassVar[tuple[int, ...]] = ()
    whole_notes: ClassVar[bool] = False

    @property
    def head_sizes(self) -> tuple[int, ...]:
        """The classes of the one head."""
        return (self.num_classes,)

    @property
    def default_label(self) -> int:
        """The longest shift."""
        return self.shift_base + self.max_shift_steps

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
          PerfRnnError: the notes are not quantised, or a pitch or velocity is outside MIDI's range.
        """
        order = encoding_order(notes, start_step)
        num_notes = len(order)
        if not num_notes:
            return np.empty(0, np.int32)
        pitch = notes.pitch[order].astype(np.int64)
        check_values("pitch", pitch, 0, NUM_PITCHES - 1)

        # One integer sorts by (step, note, off after on) and gives all three back.
        keys = np.empty((num_notes, 2), np.int64)
        keys[:, 0] = np.asarray(notes.start_step)[order]
        keys[:, 1] = np.asarray(notes.end_step)[order]
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
        events[position[shifted] - has_velocity[shifted] - 1] = self.shift_base + last_shift
        if self.num_velocity_bins:
            changed = np.flatnonzero(has_velocity)
            events[position[changed] - 1] = self.velocity_base + bins[changed]
        return events

    def note_spans(
        self, events: Sequence[int] | NDArray[Any]
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
        """The notes in the order in which their NOTE_OFFs come.

        A NOTE_OFF ends the oldest sounding note of its pitch. A NOTE_OFF without such a note is
        ignored, and so are notes of no duration. Notes that are never ended end at the last step;
        they follow the others, ordered by the first event of their pitch.
        """
        events = self._check_indices(events)
        shifts = self.event_steps(events)
        is_note = events < 2 * NUM_PITCHES
        pitch = events[is_note] % NUM_PITCHES
        step = np.cumsum(shifts)[is_note]
        on, off = pair_notes(pitch, events[is_note] < NUM_PITCHES)
        first_step = step[on]
        last_step = np.where(off < 0, shifts.sum(), step[off])

        is_velocity = events > self.velocity_base
        velocities = np.full(len(events) + 1, DEFAULT_VELOCITY, np.int32)
        bins = events[is_velocity] - self.velocity_base
        if self.num_velocity_bins:
            velocities[1 : len(bins) + 1] = MIN_VELOCITY + (bins - 1) * self.velocity_bin_width
        velocity = velocities[np.cumsum(is_velocity)[is_note]][on]

        keep = last_step > first_step
        return first_step[keep], last_step[keep], pitch[on[keep]], velocity[keep]

    def event_steps(self, events: Any) -> NDArray[np.int64]:
        """By how many steps each event moves time on, int64 of the events' shape."""
        steps: NDArray[np.int64] = self.class_steps[events]
        return steps

    def num_steps(self, events: Sequence[int] | NDArray[Any]) -> int:
        """The steps that all shifts add up to."""
        return int(self.event_steps(self._check_indices(events)).sum())

    def set_length(self, events: Sequence[int] | NDArray[Any], steps: int) -> EventIndices:
        """The events made exactly `steps` long.

        Lengthening grows a last shift below the maximum and then appends shifts. Shortening
        removes what follows `steps`; events at that very step stay.

        Raises:
          PerfRnnError: `steps` is negative.
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
          PerfRnnError: an event is outside the codec's ranges.
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
        full, rest = divmod(int(steps), self.max_shift_steps)
        shifts = [self.max_shift_steps] * full + [rest] * (rest > 0)
        return np.array(shifts, np.int32) + np.int32(self.shift_base)

    def cut_long_notes(self, notes: NoteArrays) -> NoteArrays:
        """The notes as they are: shifts add up to any duration."""
        return notes

    def reader(self, max_note_seconds: float, start_step: int) -> EventReader:
        return EventReader(self, max_note_seconds, start_step)

    def note_seq_encoder(self, *, modulo: bool = False, index_input: bool = False) -> Any:
        import note_seq

        sizes = {
            "num_velocity_bins": self.num_velocity_bins,
            "max_shift_steps": self.max_shift_steps,
        }
        if modulo:
            return note_seq.ModuloPerformanceEventSequenceEncoderDecoder(**sizes)
        one_hot = note_seq.PerformanceOneHotEncoding(**sizes)
        if index_input:
            return note_seq.OneHotIndexEventSequenceEncoderDecoder(one_hot)
        return note_seq.OneHotEventSequenceEncoderDecoder(one_hot)

    def stretch(self, events: EventIndices, factor: float) -> EventIndices:
        """The events of the same notes with all times multiplied by `factor`.

        See `Codec.stretch`. The events of a step are in the order of `encode`. Silence at the end
        is stretched too, and notes without an end, as in a segment that was cut, stay without one.
        """
        return stretch(events, self, factor)

    def max_stretch(self, events: EventIndices) -> float:
        return math.inf

    def release(self, events: EventIndices) -> EventIndices:
        """The NOTE_OFFs, lowest pitch first."""
        _, pitch, is_on = self.note_changes(events)
        on, off = pair_notes(pitch, is_on)
        return np.sort(pitch[on[off < 0]] + NUM_PITCHES).astype(np.int32)

    def pitches(self, events: EventIndices) -> NDArray[np.int32]:
        return events[events < 2 * NUM_PITCHES] % NUM_PITCHES

    def transpose(self, events: EventIndices, semitones: int) -> EventIndices:
        moved = events.copy()
        moved[events < 2 * NUM_PITCHES] += semitones
        return moved

    def map_pitches(self, events: EventIndices, table: NDArray[np.int32]) -> EventIndices:
        """See `Codec.map_pitches`. A VELOCITY stays where a NOTE_ON follows at once."""
        place, pitch, is_on = self.note_changes(events)
        moved = events.copy()
        moved[place] = table[pitch] + NUM_PITCHES * ~is_on
        # Of each pitch, in order of time: how many of its notes sound after the event.
        order = np.argsort(table[pitch], kind="stable")
        change = np.where(is_on, 1, -1)[order]
        sounding = np.cumsum(change)
        begins = np.diff(table[pitch][order], prepend=-1) != 0
        sounding -= (sounding - change)[begins][np.cumsum(begins) - 1]
        keep = np.ones(len(events), np.bool_)
        keep[place[order]] = sounding == (change > 0)
        moved = moved[keep]
        is_velocity = moved > self.velocity_base
        is_followed = np.append(moved[1:] < NUM_PITCHES, False)
        kept: EventIndices = moved[~is_velocity | is_followed]
        return kept

    def note_changes(
        self, events: Any
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        events = np.asarray(events, np.int64)
        place = np.flatnonzero(events < 2 * NUM_PITCHES)
        return place, events[place] % NUM_PITCHES, events[place] < NUM_PITCHES

    @property
    def pitch_classes(self) -> slice:
        """The NOTE_ONs."""
        return self.classes_of(EventType.NOTE_ON)

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(kind for kind in _KINDS if kind != "velocity" or self.num_velocity_bins)

    def kind_numbers(self, events: EventIndices) -> NDArray[np.int64]:
        numbers: NDArray[np.int64] = self._class_kinds[events][:, np.newaxis]
        return numbers

    @functools.cached_property
    def _class_kinds(self) -> NDArray[np.int64]:
        """int64 [num_classes]: each class's place in `kinds`."""
        types = [_KINDS[kind] for kind in self.kinds]
        return np.array([types.index(EventType(number)) for number in self.class_types.tolist()])

    def values(self, events: Any) -> dict[str, NDArray[Any]]:
        """Pitches of `note_on` and `note_off`, steps of `shift`, bins of `velocity`.

        >>> values = EventCodec(num_velocity_bins=32).values([355 + 25, 60, 256 + 49, 128 + 60])
        >>> {kind: array.tolist() for kind, array in values.items()}
        {'note_on': [60], 'note_off': [60], 'shift': [50], 'velocity': [25]}
        """
        events = np.asarray(events)
        types, values = self.class_types[events], self.class_values[events]
        return {kind: values[types == _KINDS[kind]] for kind in self.kinds}

    def class_names(self) -> list[Hashable]:
        """("event", index), or ("velocity", number of bins, bin from 0)."""
        bins = self.num_velocity_bins
        velocities = [("velocity", bins, index) for index in range(bins)]
        return [*(("event", index) for index in range(self.num_classes - bins)), *velocities]

    @functools.cached_property
    def timeless_classes(self) -> NDArray[np.bool_]:
        """All but the shifts."""
        return np.equal(self.class_steps, 0)

    def legal_rules(self, primer: NDArray[np.int32], batch_size: int) -> LegalEvents:
        """The rules of `one_hot_rules`."""
        return LegalEvents(self, primer, batch_size)
