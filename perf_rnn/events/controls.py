"""Control signals: quantities of the following seconds of music that a model is conditioned on.

Values, windows and encodings are those of note-seq 0.0.5's `performance_controls`, with the
settings of Magenta 2.1.4's configs. A signal is extracted from a whole performance at once, in
time linear in its length.
"""

import abc
import contextlib
import dataclasses
import math
import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundles.errors import PerfRnnError
from perf_rnn.events.codec import STEPS_PER_SECOND, Codec
from perf_rnn.events.scales import PITCH_CLASSES, SCALES, scale_histogram
from perf_rnn.literals import parse_literal


class ControlSignal(abc.ABC):
    """One quantity that conditions a model.

    Attributes:
      name: its name in flags and GeneratorOptions.
      size: length of its encoded vector.
      default: the value where none is asked for.
    """

    name: str
    size: int
    default: Any

    @abc.abstractmethod
    def validate(self, value: Any) -> Any:
        """Returns a value that a user asks for, converted to this signal's type.

        Raises:
          PerfRnnError: it is invalid; the message names the signal, the value and what is valid.
        """

    @abc.abstractmethod
    def extract(self, events: NDArray[Any], codec: Codec) -> NDArray[np.float64]:
        """Returns the value at each of a performance's L events, [L] or [L, size]."""

    @abc.abstractmethod
    def encode(self, values: Any) -> NDArray[np.float32]:
        """Returns the input of the network for each of L values, float32 [L, size]."""

    def encode_request(self, values: Any) -> NDArray[np.float32]:
        """Returns the input of the network for L values that a user asks for, float32 [L, size]."""
        return self.encode(values)

    def values(self, request: Any) -> list[Any]:
        """Returns the values of a request, which is one value or a list of values.

        Raises:
          PerfRnnError: the list is empty, or a value is not one of this signal.
        """
        if isinstance(request, np.ndarray):
            request = request.tolist()
        if self._is_single(request):
            return [self.validate(request)]
        if not request:
            raise PerfRnnError(f"{self.name} is an empty list; give a value or a list of values")
        return [self.validate(value) for value in request]

    def parse(self, text: str) -> list[Any]:
        """Returns the values that a user has written as a Python literal: one or a list of them.

        Words need no quotes.

        Raises:
          PerfRnnError: the list is empty, or the text holds anything but values of this signal.
        """
        return self.values(_literal(text))

    @abc.abstractmethod
    def _is_single(self, request: Any) -> bool:
        """Whether a request is one value rather than a list of values."""


class NoteDensity(ControlSignal):
    """Notes per second that start in the next three seconds.

    >>> NoteDensity().parse("[1, 4, 16]")
    [1.0, 4.0, 16.0]
    >>> NoteDensity().encode([3.0]).tolist()
    [[0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]]
    """

    name, size, default = "notes_per_second", 8, 15.0

    # A density's class is the number of these that it reaches.
    _edges = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
    _window_steps = 3 * STEPS_PER_SECOND

    def validate(self, value: Any) -> float:
        density = _as_float(value)
        if not 0 <= density < math.inf:
            raise PerfRnnError(
                f"{self.name} {value!r} is not a number of at least 0; "
                "give one such as 3, or a list such as [1, 4, 16]"
            )
        return density

    def extract(self, events: NDArray[Any], codec: Codec) -> NDArray[np.float64]:
        """Returns float64 [L], the note density at each of a performance's events.

        The window ends with the shift that reaches it. Near the end of the performance the notes
        are counted in what is left of it; 0 where nothing is.
        """
        starts, ends, steps = _windows(codec.event_steps(events), self._window_steps)
        place, _, is_start = codec.note_changes(events)
        onsets = np.bincount(place[is_start], minlength=len(events))
        num_notes = _running_sum(onsets)
        count = num_notes[ends] - num_notes[starts]
        seen = np.minimum(steps[ends] - steps[starts], self._window_steps)
        return np.where(seen, count * STEPS_PER_SECOND / np.maximum(seen, 1), 0.0)

    def encode(self, values: Any) -> NDArray[np.float32]:
        """Returns float32 [L, size], the one-hot class of each of L densities."""
        classes = np.searchsorted(self._edges, np.asarray(values, np.float64), side="right")
        vectors: NDArray[np.float32] = np.eye(self.size, dtype=np.float32)[classes]
        return vectors

    def encode_request(self, values: Any) -> NDArray[np.float32]:
        """Returns float32 [L, size], a mix of the two classes whose middles a density lies between.

        A class holds all densities between two powers of two: given the class of 4, a model plays
        anything from 4 to 8, and 7 on average. The geometric mean of 4 and 8 is 5.7, and only that
        density is encoded as this class alone; 4 lies halfway between this class and the one below.

        >>> NoteDensity().encode_request([4.0, 2**2.5]).round(3).tolist()[0]
        [0.0, 0.0, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0]
        """
        middles = np.append(np.log2(self._edges) - 0.5, np.log2(self._edges[-1]) + 0.5)
        with np.errstate(divide="ignore"):  # A density of 0 is below all middles.
            place = np.interp(np.log2(np.asarray(values, np.float64)), middles, range(self.size))
        # Rounded, so that a middle is one class and nothing else.
        distance = np.abs(place.round(6)[:, np.newaxis] - np.arange(self.size))
        return np.asarray(np.maximum(1 - distance, 0), np.float32)

    def _is_single(self, request: Any) -> bool:
        return not isinstance(request, (list, tuple))


class PitchHistogram(ControlSignal):
    """How long each pitch class, from C to B, sounds in the next five seconds.

    Only the ratios count; the network is given the shares. A user may name a scale in place of 12
    numbers, see `scale_histogram`.

    >>> PitchHistogram().parse("c_major")
    [(1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0)]
    >>> len(PitchHistogram().parse("[C major, e_flat_minor, [2,0,1,0,1,1,0,1,0,1,0,1]]"))
    3
    """

    name, size, default = "pitch_class_histogram", PITCH_CLASSES, (1.0,) * PITCH_CLASSES

    _window_steps = 5 * STEPS_PER_SECOND
    # Seconds added to each class, as in note_seq.
    _prior = 0.01

    def validate(self, value: Any) -> tuple[float, ...]:
        if isinstance(value, str):
            with contextlib.suppress(KeyError):
                return scale_histogram(value)
        is_list = isinstance(value, (list, tuple, np.ndarray))
        weights = tuple(map(_as_float, value)) if is_list else ()
        if (
            len(weights) != PITCH_CLASSES
            or not all(weight >= 0 for weight in weights)
            or not 0 < sum(weights) < math.inf
        ):
            raise PerfRnnError(
                f"{self.name} {value!r} is neither 12 numbers of at least 0, not all of them 0, "
                "nor a scale such as C major, F# dorian or e_flat_minor: a root and one of "
                f"{', '.join(SCALES)}"
            )
        return weights

    def extract(self, events: NDArray[Any], codec: Codec) -> NDArray[np.float64]:
        """Returns float64 [L, 12], seconds of sound at each of a performance's events.

        A pitch sounds from a NOTE_ON to the next NOTE_OFF, however often it is struck in between;
        those already sounding are counted. The shift that reaches the window's end counts in
        full. A hundredth of a second is added to each class.
        """
        starts, ends, steps = _windows(codec.event_steps(events), self._window_steps)
        changes = _sounding_changes(*codec.note_changes(events), len(events))
        sounding = np.cumsum(changes, axis=0)
        sound = _running_sum(sounding * np.diff(steps)[:, np.newaxis])
        return self._prior + (sound[ends] - sound[starts]) / STEPS_PER_SECOND

    def encode(self, values: Any) -> NDArray[np.float32]:
        """Returns float32 [L, 12], the share of each class; even where the weights are all 0."""
        weights = np.asarray(values, np.float64).reshape(-1, PITCH_CLASSES)
        total = weights.sum(axis=1, keepdims=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = np.where(total > 0, weights / total, 1 / PITCH_CLASSES)
        return shares.astype(np.float32)

    def _is_single(self, request: Any) -> bool:
        if not isinstance(request, (list, tuple)):
            return True
        return any(isinstance(value, numbers.Number) for value in request)


@dataclasses.dataclass(frozen=True)
class Conditioning:
    """All control signals of a config, which together make its control vector.

    Attributes:
      signals: in the order of the control vector.
      optional: whether a flag, first in the vector, says that the signals are disabled.
    """

    signals: tuple[ControlSignal, ...] = ()
    optional: bool = False

    @property
    def size(self) -> int:
        """Length of the control vector; 0 for an unconditioned config."""
        return self.optional + sum(signal.size for signal in self.signals)

    def extract(
        self, events: NDArray[Any], codec: Codec, disabled: Any = False
    ) -> NDArray[np.float32]:
        """Returns the control vector at every event of a performance, float32 [L, size].

        Args:
          events: int32 [L, *event_shape].
          codec: of the events.
          disabled: whether the signals are disabled, for all events or bool [L] for each.

        Raises:
          PerfRnnError: `disabled`, and this conditioning is not optional; or there are signals,
            which are not defined on these events.
        """
        values = [signal.extract(events, codec) for signal in self.signals]
        return self.encode(values, np.broadcast_to(disabled, len(events)))

    def encode(self, values: Sequence[Any], disabled: Any = False) -> NDArray[np.float32]:
        """Returns the control vectors of given values, float32 [L, size].

        Args:
          values: for each signal a list of its L values, or of one for all L.
          disabled: whether the signals are disabled, for all L or bool [L] for each. Where they
            are, the vector is a 1 and then zeros.

        Raises:
          PerfRnnError: `disabled`, and this conditioning is not optional; or the numbers of values
            do not match.
        """
        return self.join(
            [signal.encode(part) for signal, part in zip(self.signals, values, strict=True)],
            disabled,
        )

    def join(
        self, parts: Sequence[NDArray[np.float32]], disabled: Any = False
    ) -> NDArray[np.float32]:
        """Returns the control vectors, float32 [L, size], of each signal's, [L or 1, its size].

        Raises:
          PerfRnnError: see `encode`.
        """
        flags = np.atleast_1d(np.asarray(disabled, np.bool_))
        if flags.any() and not self.optional:
            raise PerfRnnError("only a model with optional conditioning can have it disabled")
        length = np.broadcast_shapes(flags.shape, *(part.shape[:1] for part in parts))[0]
        vectors = np.zeros((length, self.size), np.float32)
        enabled = ~flags[:, np.newaxis]
        column = int(self.optional)
        if self.optional:
            vectors[:, 0] = flags
        for part in parts:
            vectors[:, column : column + part.shape[1]] = part * enabled
            column += part.shape[1]
        return vectors


def disabled_values(request: Any) -> list[bool]:
    """Returns the flags that disable conditioning, given as a bool or a list of bools.

    Raises:
      PerfRnnError: the list is empty, or holds anything but True and False.
    """
    flags = list(request) if isinstance(request, (list, tuple)) else [request]
    if not flags or not all(isinstance(flag, bool) for flag in flags):
        raise PerfRnnError(
            f"disable_conditioning {request!r} is not True or False; "
            "give one of them, or a list such as [False, True]"
        )
    return flags


def parse_disabled(text: str) -> list[bool]:
    """Returns `disabled_values` of what a user has written as a Python literal.

    >>> parse_disabled("[True, False]")
    [True, False]

    Raises:
      PerfRnnError: the list is empty, or holds anything but True and False.
    """
    return disabled_values(_literal(text))


def _windows(
    event_steps: NDArray[np.int64], window_steps: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The window ahead of every event.

    A new window begins at the first event and after each shift; all events up to the next shift
    share it.

    Args:
      event_steps: [L], the steps that each event takes.
      window_steps: length of the window.

    Returns:
      (starts, ends, steps): int64 [L], [L], [L + 1]. Event i has the window of events starts[i]
      to ends[i] - 1, up to the one that reaches `window_steps`; steps[j] are the steps before
      event j.
    """
    num_events = len(event_steps)
    steps = _running_sum(event_steps)
    place = np.arange(num_events)
    place[1:] *= event_steps[:-1] > 0
    starts = np.maximum.accumulate(place)
    ends = np.searchsorted(steps, steps[starts] + window_steps)
    return starts, np.minimum(ends, num_events), steps


def _sounding_changes(
    place: NDArray[np.int64],
    pitch: NDArray[np.int64],
    is_start: NDArray[np.bool_],
    num_events: int,
) -> NDArray[np.int64]:
    """By how much each event changes the number of sounding pitches of a class.

    Args:
      place, pitch, is_start: as `Codec.note_changes` gives them.
      num_events: L.

    Returns:
      int64 [L, 12].
    """
    changes = np.zeros((num_events, PITCH_CLASSES), np.int64)
    # Sorted by pitch, then by time: an event that differs from the one before is a change.
    order = np.argsort(pitch, kind="stable")
    sorted_on, sorted_pitch = is_start[order], pitch[order]
    was_on = np.append(False, sorted_on[:-1]) & (np.diff(sorted_pitch, prepend=-1) == 0)
    change = sorted_on.astype(np.int64) - was_on
    changes[place[order], sorted_pitch % PITCH_CLASSES] = change
    return changes


def _running_sum(values: NDArray[Any]) -> NDArray[np.int64]:
    """int64 [L + 1, ...]: the sum of what comes before each place along the first axis."""
    sums = np.zeros((len(values) + 1, *values.shape[1:]), np.int64)
    np.cumsum(values, axis=0, out=sums[1:])
    return sums


def _as_float(value: Any) -> float:
    """A number as a float; NaN for anything else."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _literal(text: str) -> Any:
    """The value of a Python literal in which bare names are strings; any other text as it is."""
    try:
        return parse_literal(text, quote_names=True)
    except ValueError:
        return text
