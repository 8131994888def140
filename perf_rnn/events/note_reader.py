"""Decoding events one by one, as they are drawn, to the notes that `Codec.decode` gives."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, NamedTuple

from numpy.typing import NDArray


class Note(NamedTuple):
    """A note: MIDI numbers, and seconds from the beginning of the performance."""

    pitch: int
    velocity: int
    start_time: float
    end_time: float


class NoteReader(abc.ABC):
    """Turns one event after another into notes."""

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
    def read(self, event: NDArray[Any]) -> list[Note]:
        """Returns the notes that end with the next event, in the order in which they end."""

    @abc.abstractmethod
    def state(self) -> dict[str, NDArray[Any]]:
        """Returns all that the next notes depend on besides the next events."""

    @abc.abstractmethod
    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Goes on from a state that a reader of the same codec gave."""

    # The same floating point operations as in `notes_of_steps`, so the same notes to the last bit.

    def _times(self, start: int, end: int) -> tuple[float, float]:
        """The seconds of two steps."""
        start_time = start * self._seconds_per_step + self._offset
        return start_time, end * self._seconds_per_step + self._offset

    def _is_too_long(self, start: int, end: int) -> bool:
        start_time, end_time = self._times(start, end)
        return end_time - start_time > self._max_note_seconds

    def _note(self, pitch: int, velocity: int, start: int, end: int) -> Note:
        """The note from step `start` to step `end`, cut if too long."""
        start_time, end_time = self._times(start, end)
        if self._is_too_long(start, end):
            end_time = start_time + self._max_note_seconds
        return Note(pitch, velocity, start_time, end_time)
