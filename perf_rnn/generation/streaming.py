"""Streaming: a performance without end, note by note as they are decided."""

import collections
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bundles import Bundle
from bundles.errors import PerfRnnError
from perf_rnn.configs import PerformanceRnnConfig
from perf_rnn.events.note_events import NoteCodec
from perf_rnn.events.one_hot import (
    DEFAULT_VELOCITY,
    MIN_VELOCITY,
    NUM_PITCHES,
    STEPS_PER_SECOND,
    EventCodec,
    EventType,
)
from perf_rnn.generation.control_schedule import ControlSchedule
from perf_rnn.generation.cpu.worker_threads import all_cores
from perf_rnn.generation.sampler import (
    DEFAULT_OPTIONS,
    Controls,
    Sampler,
    SamplingOptions,
    Seed,
)

Queue = collections.deque[tuple[int, int]]

_SECONDS_PER_STEP = 1.0 / STEPS_PER_SECOND


class Note(NamedTuple):
    """A note: MIDI numbers, and seconds from the beginning of the performance."""

    pitch: int
    velocity: int
    start_time: float
    end_time: float


class Stream(Iterator[Note]):
    """A performance that goes on for ever: iterating draws events until a note is decided.

    A note is decided when its release is drawn, or when it has sounded as long as it may; so notes
    come in the order in which they end, and those of note events, which hold both ends, in that of
    their starts. They are the notes of the piece that `sample_events` makes of the same seed, the
    primer's included. What is remembered does not grow.

        notes = Stream(bundle, config, primer, seed=1)
        for note in notes:
            play(note)
            notes.options = SamplingOptions(temperature=1.1)

    Attributes:
      options: how events are drawn; may be replaced at any time, but for legal_events.
      controls: what a conditioned model is asked for; may be replaced at any time.
    """

    def __init__(
        self,
        bundle: Bundle,
        config: PerformanceRnnConfig,
        primer: NDArray[np.int32],
        seed: Seed,
        options: SamplingOptions = DEFAULT_OPTIONS,
        controls: Controls | None = None,
        max_note_seconds: float = 5.0,
        start_step: int = 0,
        num_unheard: int = 0,
    ):
        """Reads the primer.

        Args:
          bundle, config, primer, options, controls, num_unheard: as `sampler.Sampler` takes them.
            There is no end to spread a list of temperatures over.
          seed: of the random numbers.
          max_note_seconds: longer notes are cut to it.
          start_step: when the primer's first event that is heard is, in steps of 10 ms.

        Raises:
          ValueError: what `Sampler` refuses, or `max_note_seconds` is not above 0.
        """
        if not max_note_seconds > 0:
            raise PerfRnnError(f"max_note_seconds {max_note_seconds} is not above 0")
        self._sampler = Sampler(
            bundle, config, primer, [seed], options, controls, num_unheard=num_unheard
        )
        self._conditioning = config.conditioning
        codec = config.codec
        self._reader: _EventReader | _NoteEventReader = (
            _EventReader(codec, max_note_seconds, start_step)
            if isinstance(codec, EventCodec)
            else _NoteEventReader(codec, max_note_seconds, start_step)
        )
        self._decided: collections.deque[Note] = collections.deque()
        for event in primer[num_unheard:]:
            self._decided.extend(self._reader.read(event))

    @property
    def options(self) -> SamplingOptions:
        """How events are drawn."""
        return self._sampler.options

    @options.setter
    def options(self, options: SamplingOptions) -> None:
        self._sampler.options = options

    @property
    def controls(self) -> Controls:
        """What a conditioned model is asked for."""
        return self._sampler.controls

    @controls.setter
    def controls(self, controls: Controls) -> None:
        self._sampler.controls = controls

    def ask(self, *, disable_conditioning: bool | list[bool] | None = None, **values: Any) -> None:
        """Replaces `controls` by what is asked for: `stream.ask(notes_per_second=4)`.

        Raises:
          ValueError: as `ControlSchedule` has it.
        """
        self.controls = ControlSchedule(self._conditioning, values, disabled=disable_conditioning)

    @property
    def seconds(self) -> float:
        """The length of what has been drawn; notes that end before then have been decided."""
        return float(self._sampler.clock[0] * _SECONDS_PER_STEP)

    def __next__(self) -> Note:
        if not self._decided:
            with all_cores():
                while not self._decided:
                    self._decided.extend(self._reader.read(self._sampler.step()[0]))
        return self._decided.popleft()

    def state(self) -> dict[str, NDArray[Any]]:
        """Returns all that the next notes depend on, but for `options` and `controls`.

        Only plain arrays: `numpy.savez(path, **stream.state())` saves them.
        """
        return {
            **{f"sampler_{name}": array for name, array in self._sampler.state().items()},
            **{f"reader_{name}": array for name, array in self._reader.state().items()},
            "decided": np.array(self._decided, np.float64).reshape(-1, len(Note._fields)),
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Goes on from a state that a stream of the same bundle and config gave.

        Raises:
          ValueError: it is a state of something else.
        """
        if state.keys() != self.state().keys():
            raise PerfRnnError("the state is that of another model, or of other legal_events")
        parts: dict[str, dict[str, NDArray[Any]]] = {"sampler": {}, "reader": {}}
        for name, array in state.items():
            part, _, inner_name = name.partition("_")
            parts.setdefault(part, {})[inner_name] = array
        self._sampler.restore(parts["sampler"])
        self._reader.restore(parts["reader"])
        self._decided = collections.deque(
            Note(int(pitch), int(velocity), start, end)
            for pitch, velocity, start, end in state["decided"].tolist()
        )


class _Reader:
    """Turns events into notes as the codecs' `decode` does, but one by one."""

    def __init__(self, max_note_seconds: float, start_step: int):
        self._max_note_seconds = max_note_seconds
        self._offset = start_step * _SECONDS_PER_STEP
        self._clock = 0

    # The same floating point operations as in the codecs, so the same notes to the last bit.

    def _times(self, start: int, end: int) -> tuple[float, float]:
        """The seconds of two steps."""
        start_time = start * _SECONDS_PER_STEP + self._offset
        return start_time, end * _SECONDS_PER_STEP + self._offset

    def _is_too_long(self, start: int, end: int) -> bool:
        start_time, end_time = self._times(start, end)
        return end_time - start_time > self._max_note_seconds

    def _note(self, pitch: int, velocity: int, start: int, end: int) -> Note:
        """The note from step `start` to step `end`, cut if too long."""
        start_time, end_time = self._times(start, end)
        if self._is_too_long(start, end):
            end_time = start_time + self._max_note_seconds
        return Note(pitch, velocity, start_time, end_time)


class _NoteEventReader(_Reader):
    """Reads note events, int [6] each."""

    def __init__(self, codec: NoteCodec, max_note_seconds: float, start_step: int):
        super().__init__(max_note_seconds, start_step)
        self._codec = codec

    def read(self, event: NDArray[Any]) -> list[Note]:
        """Returns the note of the next event."""
        shift = int(self._codec.event_steps(event))
        self._clock += shift
        end = self._clock + self._codec.num_steps(event[np.newaxis]) - shift
        velocity = MIN_VELOCITY + int(event[3]) * self._codec.velocity_bin_width
        return [self._note(int(event[2]), velocity, self._clock, end)]

    def state(self) -> dict[str, NDArray[Any]]:
        return {"clock": np.array(self._clock)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        self._clock = int(state["clock"])


class _EventReader(_Reader):
    """Reads one-hot events, an index each."""

    def __init__(self, codec: EventCodec, max_note_seconds: float, start_step: int):
        super().__init__(max_note_seconds, start_step)
        self._codec = codec
        self._velocity = DEFAULT_VELOCITY
        # Of each pitch the notes that sound, as (velocity, step), oldest first; and how many were
        # cut before them, whose releases are still to come.
        self._sounding: list[Queue] = [collections.deque() for _ in range(NUM_PITCHES)]
        self._cut = [0] * NUM_PITCHES

    def read(self, event: NDArray[Any]) -> list[Note]:
        """Returns the notes that the next event decides, in the order in which they end."""
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
