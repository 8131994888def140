"""Decoding one-hot events one by one, as they are drawn."""

from __future__ import annotations

import collections
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from perf_rnn.events.codec import MIN_VELOCITY, NUM_PITCHES, STEPS_PER_SECOND
from perf_rnn.events.note_reader import NoteMessage, NoteReader
from perf_rnn.events.one_hot_classes import DEFAULT_VELOCITY, EventType

if TYPE_CHECKING:
    from perf_rnn.events.one_hot import EventCodec


class EventReader(NoteReader):
    """Reads one-hot events, an index each.

    A note's start is certain once time moves on, since a note that is released at the time at which
    it was struck is dropped.
    """

    def __init__(self, codec: EventCodec, max_note_seconds: float, start_step: int):
        super().__init__(1.0 / STEPS_PER_SECOND, max_note_seconds, start_step)
        self._codec = codec
        self._velocity = DEFAULT_VELOCITY
        # Pitch and velocity of the notes struck at the current time, in order.
        self._struck: list[tuple[int, int]] = []
        # For each pitch: the steps at which its sounding notes were struck, oldest first, and the
        # number of notes that were cut before their NOTE_OFF came.
        self._sounding: list[collections.deque[int]] = [
            collections.deque() for _ in range(NUM_PITCHES)
        ]
        self._cut = [0] * NUM_PITCHES

    def read(self, event: NDArray[Any]) -> list[NoteMessage]:
        kind, value = self._codec.event(int(event))
        if kind == EventType.TIME_SHIFT:
            now = self._time(self._clock)
            starts = [NoteMessage(now, pitch, velocity) for pitch, velocity in self._struck]
            self._struck = []
            self._clock += value
            return starts + self._cut_long_notes()
        if kind == EventType.VELOCITY:
            self._velocity = MIN_VELOCITY + (value - 1) * self._codec.velocity_bin_width
        elif kind == EventType.NOTE_ON:
            self._struck.append((value, self._velocity))
            self._sounding[value].append(self._clock)
        elif self._cut[value]:
            self._cut[value] -= 1
        elif self._sounding[value]:
            start = self._sounding[value].popleft()
            if start < self._clock:
                return [NoteMessage(self._end_time(start, self._clock), value, 0)]
            self._struck.remove(next(note for note in self._struck if note[0] == value))
        return []

    def _cut_long_notes(self) -> list[NoteMessage]:
        ends = []
        for pitch, starts in enumerate(self._sounding):
            while starts and self._is_too_long(starts[0], self._clock):
                self._cut[pitch] += 1
                ends.append(NoteMessage(self._end_time(starts.popleft(), self._clock), pitch, 0))
        return sorted(ends)

    def state(self) -> dict[str, NDArray[Any]]:
        sounding = [(pitch, step) for pitch, steps in enumerate(self._sounding) for step in steps]
        return {
            "clock": np.array(self._clock),
            "velocity": np.array(self._velocity),
            "struck": np.array(self._struck, np.int64).reshape(-1, 2),
            "sounding": np.array(sounding, np.int64).reshape(-1, 2),
            "cut": np.array(self._cut),
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        self._clock, self._velocity = int(state["clock"]), int(state["velocity"])
        self._struck = [(pitch, velocity) for pitch, velocity in state["struck"].tolist()]
        self._cut = state["cut"].tolist()
        self._sounding = [collections.deque() for _ in range(NUM_PITCHES)]
        for pitch, step in state["sounding"].tolist():
            self._sounding[pitch].append(step)
