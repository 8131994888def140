"""Decoding events one by one, as they are drawn, to messages that start and end notes.

The notes are those that `Codec.decode` gives, to the last bit.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, NamedTuple

from numpy.typing import NDArray


class NoteMessage(NamedTuple):
    """The start or the end of a note.

    Attributes:
      time: seconds from the beginning of the performance.
      pitch: MIDI pitch.
      velocity: MIDI velocity of a note that starts; 0: the note ends, as in MIDI's note-on message.
    """

    time: float
    pitch: int
    velocity: int


class NoteReader(abc.ABC):
    """Turns one event after another into messages in order of time."""

    def __init__(self, seconds_per_step: float, max_note_seconds: float, start_step: int):
        """Starts at time 0 of the events.

        Args:
          seconds_per_step: how long a step is.
          max_note_seconds: longer notes are cut to it.
          start_step: the step of the first event.
        """
        self._seconds_per_step = seconds_per_step
        self._max_note_seconds = max_note_seconds
        self._offset = start_step * seconds_per_step
        self._clock = 0

    @abc.abstractmethod
    def read(self, event: NDArray[Any]) -> list[NoteMessage]:
        """Returns the messages that are certain once the next event is known."""

    @abc.abstractmethod
    def state(self) -> dict[str, NDArray[Any]]:
        """Returns the state, with which another reader can `restore` and continue."""

    @abc.abstractmethod
    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continues from a state that a reader of the same codec gave."""

    # The same floating point operations as in `notes_of_steps`, so the same times to the last bit.

    def _time(self, step: int) -> float:
        """The seconds of a step."""
        return step * self._seconds_per_step + self._offset

    def _end_time(self, start: int, end: int) -> float:
        """The seconds at which a note from step `start` to step `end` ends, cut if too long."""
        if self._is_too_long(start, end):
            return self._time(start) + self._max_note_seconds
        return self._time(end)

    def _is_too_long(self, start: int, end: int) -> bool:
        return self._time(end) - self._time(start) > self._max_note_seconds
