"""Streaming: a performance without end, whose notes start and end as they are drawn."""

import collections
import math
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from bundles.errors import PerfRnnError
from perf_rnn.events.note_reader import NoteMessage
from perf_rnn.generation.control_schedule import ControlSchedule
from perf_rnn.generation.cpu.worker_threads import all_cores
from perf_rnn.generation.logits import Seed
from perf_rnn.generation.openings import Opening
from perf_rnn.generation.options import DEFAULT_OPTIONS, SamplingOptions
from perf_rnn.generation.pieces import MAX_NOTE_SECONDS
from perf_rnn.generation.sampler import Controls, Sampler
from perf_rnn.models import Model


class Stream(Iterator[NoteMessage]):
    """A performance without end: an iterator of the starts and ends of notes, in order of time.

    A live player waits until a message's time and sends it on; `velocity` is 0 where the note ends:

        begin = time.monotonic()
        for message in perf_rnn.stream():
            time.sleep(max(0.0, begin + message.time - time.monotonic()))
            port.send(mido.Message("note_on", note=message.pitch, velocity=message.velocity))

    An event is drawn when the next message is asked for, so a change of options or controls holds
    from that message on. The notes are those of the piece that `sample_events` makes of the same
    seed, the opening's included. Memory does not grow.

    A Stream holds locks of worker threads, so it cannot be pickled or copied; `state` can.

    Attributes:
      options: how events are drawn; may be replaced at any time, except for legal_events.
      controls: for a conditioned model, a function from steps to control vectors; may be replaced
        at any time.
    """

    def __init__(
        self,
        model: Model,
        opening: Opening,
        seed: Seed,
        options: SamplingOptions = DEFAULT_OPTIONS,
        controls: Controls | None = None,
        max_note_seconds: float = MAX_NOTE_SECONDS,
    ):
        """Reads the opening.

        Args:
          model, opening, options, controls: as `sampler.Sampler` takes them. There is no end to
            spread a list of temperatures over.
          seed: of the random numbers.
          max_note_seconds: longer notes are cut to it, but for those of note events, which hold
            their durations themselves.

        Raises:
          ValueError: what `Sampler` refuses, or `max_note_seconds` is not above 0.
        """
        if not max_note_seconds > 0:
            raise PerfRnnError(f"max_note_seconds {max_note_seconds} is not above 0")
        self._sampler = Sampler(model, opening, [seed], options, controls)
        self._conditioning = model.config.conditioning
        codec, start_step = model.config.codec, opening.start_step
        limit = math.inf if codec.whole_notes else max_note_seconds
        self._reader = codec.reader(limit, start_step)
        self._messages: collections.deque[NoteMessage] = collections.deque()
        for event in opening.events:
            self._messages.extend(self._reader.read(event))

    @property
    def options(self) -> SamplingOptions:
        """How events are drawn."""
        return self._sampler.options

    @options.setter
    def options(self, options: SamplingOptions) -> None:
        self._sampler.options = options

    @property
    def controls(self) -> Controls:
        """A function from steps to control vectors."""
        return self._sampler.controls

    @controls.setter
    def controls(self, controls: Controls) -> None:
        self._sampler.controls = controls

    def ask(self, *, disable_conditioning: bool | list[bool] | None = None, **values: Any) -> None:
        """Sets `controls` to constant values: `stream.ask(notes_per_second=4)`.

        Raises:
          ValueError: as `ControlSchedule` has it.
        """
        self.controls = ControlSchedule(self._conditioning, values, disabled=disable_conditioning)

    def __next__(self) -> NoteMessage:
        if not self._messages:
            with all_cores():
                while not self._messages:
                    self._messages.extend(self._reader.read(self._sampler.step()[0]))
        return self._messages.popleft()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a Stream holds locks of worker threads and cannot be pickled or copied; save its "
            "state() and restore() it in a new Stream of the same model"
        )

    def state(self) -> dict[str, NDArray[Any]]:
        """Returns all that the next messages depend on, except for `options` and `controls`.

        Only plain arrays: `numpy.savez(path, **stream.state())` saves them.
        """
        return {
            **{f"sampler_{name}": array for name, array in self._sampler.state().items()},
            **{f"reader_{name}": array for name, array in self._reader.state().items()},
            "messages": np.array(self._messages, np.float64).reshape(-1, 3),
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continues from a state that a stream of the same model gave.

        Raises:
          ValueError: the state is of another model, or of other legal_events.
        """
        if state.keys() != self.state().keys():
            raise PerfRnnError("the state is that of another model, or of other legal_events")
        parts: dict[str, dict[str, NDArray[Any]]] = {"sampler": {}, "reader": {}}
        for name, array in state.items():
            part, _, inner_name = name.partition("_")
            parts.setdefault(part, {})[inner_name] = array
        self._sampler.restore(parts["sampler"])
        self._reader.restore(parts["reader"])
        self._messages = collections.deque(
            NoteMessage(time, int(pitch), int(velocity))
            for time, pitch, velocity in state["messages"].tolist()
        )
