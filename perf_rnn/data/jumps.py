"""Jumps: parts of other segments before a segment, so that controls change from one to the next.

In a recording, controls always agree with the music before them: it hardly ever turns from 2 notes
a second to 16, or from C major to F sharp major, within a second. A network that has read only
recordings follows such a request late.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perf_rnn.configs import PerformanceRnnConfig
from perf_rnn.data.examples import EventSequence
from perf_rnn.events.codec import NUM_PITCHES, EventIndices
from perf_rnn.events.scales import PITCH_CLASSES, SCALES

MAX_PARTS = 4
# How many of the parts are moved into one of these scales, which recordings hardly ever keep to.
SHARE_IN_SCALES = 0.25
RARE_SCALES = ("pentatonic", "blues", "whole_tone")


@dataclasses.dataclass(frozen=True)
class ControlJumps:
    """Puts the beginnings of 0 to `MAX_PARTS` other segments before a segment.

    Each part is cut after one of its shifts, and the notes that still sound are released there. Up
    to the cut the controls are those of the whole segment: as when a user asks for something else,
    they tell of music that then does not come. The released notes have the controls of what
    follows. Some parts have each pitch moved to the nearest of a scale that only a user asks for.
    A segment whose controls are disabled stays as it is.

    Attributes:
      config: one with control signals.
      segments: those that the parts are drawn from.
      augment: as `WindowBatches` takes it: makes the copies that are joined; None: the segments
        themselves are.
    """

    config: PerformanceRnnConfig
    segments: Sequence[EventSequence]
    augment: Callable[[EventSequence, Sequence[int]], EventSequence] | None = None

    def __call__(self, segment: EventSequence, seed: Sequence[int]) -> EventSequence:
        """Returns a segment that depends on the segments and the seed alone."""
        if segment.disabled:
            return self._copy(segment, seed)
        codec = self.config.codec
        rng = np.random.default_rng([*seed, 1])
        num_parts = int(rng.integers(MAX_PARTS, endpoint=True))
        parts = [self._part([*seed, 2 + number], rng) for number in range(num_parts)]
        parts.append(self._with_controls(self._copy(segment, seed).events))
        events, controls = parts[0]
        for added, vectors in parts[1:]:
            released = codec.release(events)
            events = np.concatenate([events, released, added])
            controls = np.concatenate([controls, vectors[:1].repeat(len(released), 0), vectors])
        return EventSequence(events, controls.copy)

    def _part(self, seed: Sequence[int], rng: np.random.Generator) -> tuple[Any, Any]:
        """Draws a part: its events and controls."""
        codec = self.config.codec
        events = self._copy(self.segments[int(rng.integers(len(self.segments)))], seed).events
        if rng.random() < SHARE_IN_SCALES:
            root, scale = int(rng.integers(PITCH_CLASSES)), str(rng.choice(RARE_SCALES))
            events = codec.map_pitches(events, _nearest_pitches(root, scale))
        events, controls = self._with_controls(events)
        ends = np.flatnonzero(codec.event_steps(events)) + 1
        length = int(rng.choice(ends)) if len(ends) else len(events)
        return events[:length], controls[:length]

    def _with_controls(self, events: EventIndices) -> tuple[Any, Any]:
        return events, self.config.conditioning.extract(events, self.config.codec)

    def _copy(self, segment: EventSequence, seed: Sequence[int]) -> EventSequence:
        return segment if self.augment is None else self.augment(segment, seed)


@functools.cache
def _nearest_pitches(root: int, scale: str) -> NDArray[np.int32]:
    """For each pitch the nearest that is in the scale, the lower of two, int32 [128]."""
    pitches = np.arange(NUM_PITCHES, dtype=np.int32)
    in_scale = pitches[np.isin((pitches - root) % PITCH_CLASSES, SCALES[scale])]
    nearest: NDArray[np.int32] = in_scale[np.abs(pitches[:, np.newaxis] - in_scale).argmin(axis=1)]
    return nearest
