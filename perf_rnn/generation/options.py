"""Options: how events are drawn, and how wide a beam search is."""

import dataclasses
import math
import numbers
from typing import Any

from bundles.errors import PerfRnnError


@dataclasses.dataclass(frozen=True)
class SamplingOptions:
    """How events are drawn.

    The limits apply to each head of the network, in the order given here, after illegal events are
    left out and the temperature is applied. None: no limit.

    Attributes:
      temperature: logits are divided by it; below 1 safer, above 1 wilder. Or a list of them,
        spread evenly over the piece.
      top_k: choose among this many most probable classes only.
      top_p: choose among the fewest classes that together have this probability.
      min_p: choose among classes at least this share as probable as the most probable one; 0: all.
      legal_events: leave out what no piano could play, see `perf_rnn.events.rules`. False, and
        no limits: what Magenta 2.1.4 does.
      pitch_min_p: with legal events, strike only pitches at least this share as probable as the
        most probable one, before the temperature; 0: all. What is left out are mostly wrong
        notes, and once a network has read some of its own it plays ever more densely: without
        this, 14 notes a second after three minutes instead of 11 by the first shipped bundle. In
        pieces of ten minutes, this value came closest to the density and polyphony of human ones.
      guidance: for a model with optional conditioning: how far the logits go from those without
        the controls in the direction of those with them; 1: exactly to these, above 1 beyond, at
        two passes of the network an event. See `perf_rnn.generation.guidance`.

    Raises:
      ValueError: a value is out of range.
    """

    temperature: float | list[float] | tuple[float, ...] = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    legal_events: bool = True
    pitch_min_p: float = 0.05
    guidance: float = 1.0

    def __post_init__(self) -> None:
        values = self.temperatures
        if not values:
            raise PerfRnnError(
                "temperature is an empty list; give a number above 0 or a list of them"
            )
        for value in values:
            if not is_number(value) or not 0 < value < math.inf:
                raise PerfRnnError(f"temperature {value!r} is not a number above 0")
        if self.top_k is not None:
            check_count("top_k", self.top_k, 1)
        if self.top_p is not None and not (is_number(self.top_p) and 0 < self.top_p <= 1):
            raise PerfRnnError(f"top_p {self.top_p!r} is not a number above 0 and at most 1")
        for name in ("min_p", "pitch_min_p"):
            value = getattr(self, name)
            if value is not None and not (is_number(value) and 0 <= value <= 1):
                raise PerfRnnError(f"{name} {value!r} is not a number from 0 to 1")
        if not (is_number(self.guidance) and 0 <= self.guidance < math.inf):
            raise PerfRnnError(f"guidance {self.guidance!r} is not a number of at least 0")
        if not isinstance(self.legal_events, bool):
            raise PerfRnnError(f"legal_events {self.legal_events!r} is neither True nor False")

    @property
    def temperatures(self) -> list[float]:
        """The temperature as a list."""
        if isinstance(self.temperature, list | tuple):
            return list(self.temperature)
        return [self.temperature]


@dataclasses.dataclass(frozen=True)
class BeamOptions:
    """How wide a beam search is; the names are Magenta's.

    Attributes:
      beam_size: pieces kept after each iteration.
      branch_factor: ways in which each of them is continued.
      steps_per_iteration: events drawn between one choice and the next. These steps are events, as
        in Magenta, not times.

    Raises:
      ValueError: a value is not a whole number of at least 1.
    """

    beam_size: int = 1
    branch_factor: int = 1
    steps_per_iteration: int = 1

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            check_count(name, value, 1)

    @property
    def width(self) -> int:
        """Pieces among which each iteration chooses; 1: there is no choice."""
        return self.beam_size * self.branch_factor


def is_number(value: Any) -> bool:
    """Whether a value is a real number, Python's or NumPy's, and not a bool."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def check_count(name: str, value: Any, lowest: int) -> None:
    """Raises ValueError if a named value is not a whole number of at least `lowest`."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < lowest:
        raise PerfRnnError(f"{name} {value!r} is not a whole number of at least {lowest}")


DEFAULT_OPTIONS = SamplingOptions()
NO_BEAM = BeamOptions()
