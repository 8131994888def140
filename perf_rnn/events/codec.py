"""`Codec`, the interface of every representation of performances as events, and what codecs share.

A codec encodes notes as events and decodes events to notes, transposes and stretches events, and
defines which events may follow and what each of the network's classes means. The rest of the
package handles events through these methods alone, so a new representation is a subclass of `Codec`
and a config that uses it.
"""

from __future__ import annotations

import abc
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bundles.errors import PerfRnnError
from perf_rnn.events.note_reader import NoteReader
from perf_rnn.events.rules import EventRules
from perf_rnn.notes.arrays import Int64s, NoteArrays
from perf_rnn.notes.transforms import to_steps

if TYPE_CHECKING:
    from note_seq import performance_lib

NUM_PITCHES = 128
STEPS_PER_SECOND = 100
NUM_VELOCITY_BINS = 32
MIN_VELOCITY = 1
MAX_VELOCITY = 127

EventIndices = NDArray[np.int32]


class Codec(abc.ABC):
    """Encodes quantised notes as events and decodes events to notes.

    L events are int32 [L, *event_shape]: one class index each, or one for each head of the network.

    Attributes:
      num_velocity_bins: number of different velocities; 0: the events have no velocities.
      event_shape: () for one index, (heads,) for one a head.
      whole_notes: whether an event is a whole note with its duration, as in note_seq's
        NotePerformance. Otherwise separate events end the notes.
    """

    num_velocity_bins: int
    event_shape: ClassVar[tuple[int, ...]]
    whole_notes: ClassVar[bool]

    @property
    @abc.abstractmethod
    def head_sizes(self) -> tuple[int, ...]:
        """Classes of each output head of a network over these events."""

    @property
    @abc.abstractmethod
    def default_label(self) -> Any:
        """The event that the network starts from where there is no primer."""

    @property
    def velocity_bin_width(self) -> int:
        """MIDI velocities per bin: 4 for 32 bins."""
        return -(-MAX_VELOCITY // self.num_velocity_bins)

    # Notes.

    @abc.abstractmethod
    def encode(self, notes: NoteArrays, start_step: int = 0) -> EventIndices:
        """Returns the events of the quantised notes that start at or after `start_step`.

        Raises:
          PerfRnnError: the notes are not quantised, or these events cannot express them.
        """

    @abc.abstractmethod
    def note_spans(
        self, events: Any
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Returns the notes of events [L, *event_shape], in the order in which they come out.

        Returns:
          (first_step, last_step, pitch, velocity): [n] each. Steps count from the first event, and
          `last_step` is above `first_step`.

        Raises:
          PerfRnnError: an index is outside its head.
        """

    def decode(
        self,
        events: Any,
        start_step: int = 0,
        *,
        max_note_duration: float | None = None,
        program: int = 0,
    ) -> NoteArrays:
        """Returns the notes of events [L, *event_shape], quantised.

        Args:
          events: as `encode` makes them, or any others of the codec's classes.
          start_step: the step of the first event.
          max_note_duration: seconds; longer notes are cut to it. None: no limit.
          program: given to every note.

        Raises:
          PerfRnnError: an index is outside its head, `max_note_duration` is not above 0, or a note
            starts before step 0.
        """
        if max_note_duration is not None and not max_note_duration > 0:
            raise PerfRnnError(f"max_note_duration {max_note_duration} is not above 0 seconds")
        first_step, last_step, pitch, velocity = self.note_spans(events)
        if len(first_step) and start_step + first_step.min() < 0:
            raise PerfRnnError(
                f"a note starts at step {start_step + first_step.min()}, before time 0"
            )
        # The same floating point operations as note_seq, so the same times to the last bit.
        seconds_per_step = 1.0 / STEPS_PER_SECOND
        start_time = first_step * seconds_per_step + start_step * seconds_per_step
        end_time = last_step * seconds_per_step + start_step * seconds_per_step
        first_step, last_step = start_step + first_step, start_step + last_step
        if max_note_duration is not None:
            too_long = end_time - start_time > max_note_duration
            end_time = np.where(too_long, start_time + max_note_duration, end_time)
            cut = np.maximum(to_steps(end_time, STEPS_PER_SECOND), first_step + 1)
            last_step = np.where(too_long, cut, last_step)
        return NoteArrays(
            start_time=start_time,
            end_time=end_time,
            pitch=pitch,
            velocity=velocity,
            program=np.full(len(pitch), program, np.int32),
            total_time=float(end_time.max(initial=0.0)),
            steps_per_second=STEPS_PER_SECOND,
            start_step=first_step,
            end_step=last_step,
            control_step=np.empty(0, np.int64),
            total_steps=int(last_step.max(initial=0)),
        )

    @abc.abstractmethod
    def cut_long_notes(self, notes: NoteArrays) -> NoteArrays:
        """Returns the quantised notes, cut to the longest duration that events can express."""

    @abc.abstractmethod
    def reader(self, max_note_seconds: float, start_step: int) -> NoteReader:
        """Returns a decoder of events one by one, as they are drawn."""

    @abc.abstractmethod
    def to_performance(
        self,
        events: Any,
        start_step: int = 0,
        *,
        steps_per_second: int = STEPS_PER_SECOND,
        program: int | None = None,
        is_drum: bool | None = None,
    ) -> performance_lib.BasePerformance:
        """Returns the events as a note_seq object."""

    @abc.abstractmethod
    def from_performance(self, performance: Any) -> EventIndices:
        """Returns the events of a note_seq object.

        Raises:
          PerfRnnError: an event is outside the codec's ranges.
        """

    @abc.abstractmethod
    def note_seq_encoder(self, *, modulo: bool = False, index_input: bool = False) -> Any:
        """Returns note_seq's EventSequenceEncoderDecoder of these events.

        Args:
          modulo: the one whose inputs are `modulo_vectors`.
          index_input: the one whose inputs are class indices.
        """

    # Time.

    @abc.abstractmethod
    def event_steps(self, events: Any) -> NDArray[np.int64]:
        """Returns by how many steps events [..., *event_shape] move time on, int64 [...]."""

    @abc.abstractmethod
    def num_steps(self, events: Any) -> int:
        """Returns the length of events [L, *event_shape] in steps."""

    @abc.abstractmethod
    def set_length(self, events: Any, steps: int) -> EventIndices:
        """Returns events [L, *event_shape] cut or, if possible, lengthened to `steps`.

        Raises:
          PerfRnnError: `steps` is negative.
        """

    @abc.abstractmethod
    def stretch(self, events: EventIndices, factor: float) -> EventIndices:
        """Returns the events of the same notes with all times multiplied by `factor`.

        A note starts and ends where it would if it were decoded, stretched and quantised, rounded
        half up, and lasts at least one step. Notes keep their order, which is that of the
        unquantised notes.

        Args:
          events: [L, *event_shape], as `encode` makes them.
          factor: above 0 and at most `max_stretch(events)`.
        """

    @abc.abstractmethod
    def max_stretch(self, events: EventIndices) -> float:
        """Returns the largest factor for which `stretch` works; infinity if there is no limit."""

    @abc.abstractmethod
    def release(self, events: EventIndices) -> EventIndices:
        """Returns the events that end the notes which events [L, *event_shape] leave sounding."""

    # Pitch.

    @abc.abstractmethod
    def pitches(self, events: EventIndices) -> NDArray[np.int32]:
        """Returns the pitches in events [L, *event_shape], int32 [n], with repetitions."""

    @abc.abstractmethod
    def transpose(self, events: EventIndices, semitones: int) -> EventIndices:
        """Returns the events with all pitches moved by `semitones`; all must stay in 0 to 127."""

    @abc.abstractmethod
    def map_pitches(self, events: EventIndices, table: NDArray[np.int32]) -> EventIndices:
        """Returns events of the same notes with pitch p moved to table[p], where two may be equal.

        One-hot events play notes of one pitch that overlap as one note.

        Args:
          events: int32 [L, *event_shape], as `encode` makes them.
          table: [128], from 0 to 127.
        """

    @abc.abstractmethod
    def note_changes(
        self, events: Any
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """Returns which events start and end notes.

        Returns:
          (place, pitch, is_start): [n] each, in order: event number `place` starts or ends a note
          of `pitch`.

        Raises:
          PerfRnnError: an event does both.
        """

    # What the network's classes mean; the classes of all heads are numbered one after another.

    @property
    @abc.abstractmethod
    def pitch_classes(self) -> slice:
        """The classes among which the pitch of a new note is drawn."""

    @property
    @abc.abstractmethod
    def kinds(self) -> tuple[str, ...]:
        """Names of the kinds of predictions: the types of events, or the network's heads."""

    @abc.abstractmethod
    def kind_numbers(self, events: EventIndices) -> NDArray[np.int64]:
        """Returns the places in `kinds` of events [L, *event_shape]: int64 [L or 1, heads]."""

    @abc.abstractmethod
    def values(self, events: Any) -> dict[str, NDArray[Any]]:
        """Returns the values in events [L, *event_shape] by name, in the order of the events."""

    @abc.abstractmethod
    def class_names(self) -> list[Hashable]:
        """Returns what each class means: equal in two codecs where it means the same."""

    @property
    @abc.abstractmethod
    def timeless_classes(self) -> NDArray[np.bool_]:
        """Bool [classes], the classes to forbid so that the next event moves time on."""

    def rules(self, primer: NDArray[np.int32], batch_size: int, legal_events: bool) -> EventRules:
        """Returns the rules that `batch_size` rows follow after `primer` [L, *event_shape].

        Args:
          legal_events: whether to allow only what a pianist can play; otherwise any event is
            allowed as long as time moves on.
        """
        if legal_events:
            return self.legal_rules(primer, batch_size)
        return EventRules(self, primer, batch_size)

    @abc.abstractmethod
    def legal_rules(self, primer: NDArray[np.int32], batch_size: int) -> EventRules:
        """Returns the rules of legal events, see `rules`."""


def check_values(what: str, values: NDArray[Any], low: int, high: int) -> None:
    """Raises a PerfRnnError that names the first value outside `low` to `high`, if any is."""
    outside = np.flatnonzero((values < low) | (values > high))
    if len(outside):
        raise PerfRnnError(
            f"{what} {values[outside[0]]} (number {outside[0]}) is outside {low} to {high}"
        )


def stretch_steps(steps: NDArray[Any], factor: float) -> NDArray[np.int64]:
    """Returns the steps after all times are multiplied by `factor`."""
    # The floating point operations of decoding, stretching and quantising, so the same steps.
    return to_steps(steps * (1.0 / STEPS_PER_SECOND) * factor, STEPS_PER_SECOND)


def encoding_order(notes: NoteArrays, start_step: int) -> Int64s:
    """Returns the indices of the notes that start at or after a step, by start time and pitch.

    Raises:
      PerfRnnError: the notes are not quantised.
    """
    if notes.start_step is None:
        raise PerfRnnError("notes are not quantised; quantize them first")
    order = np.lexsort((notes.pitch, notes.start_time))
    return order[notes.start_step[order] >= start_step]
