"""Decoding one-hot events one by one, as they are drawn."""

from __future__ import annotations

import collections
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from perf_rnn.events.codec import MIN_VELOCITY, NUM_PITCHES, STEPS_PER_SECOND
from perf_rnn.events.note_reader import Note, NoteReader
from perf_rnn.events.one_hot_classes import EventType

if TYPE_CHECKING:
    from perf_rnn.events.one_hot import EventCodec

Queue = collections.deque[tuple[int, int]]


class EventReader(NoteReader):
    """Reads one-hot events, an index each."""

    def __init__(
        self, codec: EventCodec, max_note_seconds: float, start_step: int, default_velocity: int
    ):
        super().__init__(1.0 / STEPS_PER_SECOND, max_note_seconds, start_step)
        self._codec = codec
        self._velocity = default_velocity
        # Of each pitch the notes that sound, as (velocity, step), oldest first; and how many were
        # cut before them, whose releases are still to come.
        self._sounding: list[Queue] = [collections.deque() for _ in range(NUM_PITCHES)]
        self._cut = [0] * NUM_PITCHES

    def read(self, event: NDArray[Any]) -> list[Note]:
        kind, value = self._codec.event(int(event))
        if kind == EventType.TIME_SHIFT:
            self._clock += value
            return self._cut_long_notes()
        if kind == EventType.VELOCITY:
            self._velocity = MIN_VELOCITY + (value - 1) * self._codec.velocity_bin_width
        elif kind == EventType.NOTE_ON:
            self._sounding[value].append((self._velocity, self._clock))
        elif self._cut[value]:
            self._cut[value] -= 1
        elif self._sounding[value]:
            velocity, start = self._sounding[value].popleft()
            if start < self._clock:
                return [self._note(value, velocity, start, self._clock)]
        return []

    def _cut_long_notes(self) -> list[Note]:
        notes = []
        for pitch, queue in enumerate(self._sounding):
            while queue and self._is_too_long(queue[0][1], self._clock):
                velocity, start = queue.popleft()
                self._cut[pitch] += 1
                notes.append(self._note(pitch, velocity, start, self._clock))
        return sorted(notes, key=lambda note: note.end_time)

    def state(self) -> dict[str, NDArray[Any]]:
        rows = [(pitch, *note) for pitch, queue in enumerate(self._sounding) for note in queue]
        return {
            "clock": np.array(self._clock),
            "velocity": np.array(self._velocity),
            "sounding": np.array(rows, np.int64).reshape(-1, 3),
            "cut": np.array(self._cut),
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        self._clock, self._velocity = int(state["clock"]), int(state["velocity"])
        self._cut = state["cut"].tolist()
        self._sounding = [collections.deque() for _ in range(NUM_PITCHES)]
        for pitch, velocity, start in state["sounding"].tolist():
            self._sounding[pitch].append((velocity, start))
