"""The classes of one-hot events, in order: note on, note off, time shift, velocity.

Indices and order are those of note-seq 0.0.5's `PerformanceOneHotEncoding`: NOTE_ON of pitches 0 to
127, NOTE_OFF of pitches 0 to 127, TIME_SHIFT of 1 to `max_shift_steps` steps, VELOCITY of bins 1 to
`num_velocity_bins`.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bundles.errors import PerfRnnError
from perf_rnn.events.codec import MAX_VELOCITY, NUM_PITCHES

MAX_SHIFT_STEPS = 100
DEFAULT_VELOCITY = 100  # Of notes before the first VELOCITY.


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
class EventClasses:
    """Which event has which index.

    >>> classes = EventClasses(num_velocity_bins=32)
    >>> classes.num_classes, classes.event(60), classes.event_index(EventType.VELOCITY, 25)
    (388, Event(type=<EventType.NOTE_ON: 1>, value=60), 380)

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

    # An event index is its base plus its value.
    @property
    def shift_base(self) -> int:
        """A TIME_SHIFT's index minus its steps."""
        return 2 * NUM_PITCHES - 1

    @property
    def velocity_base(self) -> int:
        """A VELOCITY's index minus its bin."""
        return self.shift_base + self.max_shift_steps

    @functools.cached_property
    def _ranges(self) -> dict[int, tuple[int, int, int]]:
        """Event type -> (base, lowest value, highest value), in class order."""
        return {
            EventType.NOTE_ON: (0, 0, NUM_PITCHES - 1),
            EventType.NOTE_OFF: (NUM_PITCHES, 0, NUM_PITCHES - 1),
            EventType.TIME_SHIFT: (self.shift_base, 1, self.max_shift_steps),
            EventType.VELOCITY: (self.velocity_base, 1, self.num_velocity_bins),
        }

    def event_index(self, event_type: int, value: int) -> int:
        """The class of an event.

        Raises:
          PerfRnnError: the type is unknown, or the value is outside the type's range.
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
          PerfRnnError: the index is outside 0 to num_classes - 1.
        """
        for event_type, (base, low, high) in self._ranges.items():
            if base + low <= index <= base + high:
                return Event(EventType(event_type), index - base)
        raise PerfRnnError(f"event index {index} is outside 0 to {self.num_classes - 1}")

    def classes_of(self, event_type: EventType) -> slice:
        """The classes of a type."""
        base, low, high = self._ranges[event_type]
        return slice(base + low, base + high + 1)

    @functools.cached_property
    def class_types(self) -> NDArray[np.int64]:
        """int64 [num_classes]: the type of each class."""
        return np.array([self.event(index).type for index in range(self.num_classes)], np.int64)

    @functools.cached_property
    def class_values(self) -> NDArray[np.int64]:
        """int64 [num_classes]: the value of each class."""
        return np.array([self.event(index).value for index in range(self.num_classes)], np.int64)

    @functools.cached_property
    def class_steps(self) -> NDArray[np.int64]:
        """int64 [num_classes]: by how many steps each class moves time on."""
        return np.where(self.class_types == EventType.TIME_SHIFT, self.class_values, 0)
