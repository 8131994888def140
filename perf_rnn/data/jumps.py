"""Jumps: parts of other segments before a segment, so that controls change from one to the next.

In a recording, controls always agree with the music before them: it hardly ever turns from 2 notes
a second to 16, or from C major to F sharp major, within a second. A network that has read only
recordings follows such a request late.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from perf_rnn.configs import PerformanceRnnConfig
from perf_rnn.data.examples import EventSequence

MAX_PARTS = 4


@dataclasses.dataclass(frozen=True)
class ControlJumps:
    """Puts the beginnings of 0 to `MAX_PARTS` other segments before a segment.

    Each part is cut after one of its shifts, and the notes that still sound are released there. Up
    to the cut the controls are those of the whole segment: as when a user asks for something else,
    they tell of music that then does not come. The released notes have the controls of what
    follows. A segment whose controls are disabled stays as it is.

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
        codec, conditioning = self.config.codec, self.config.conditioning
        rng = np.random.default_rng([*seed, 1])
        num_parts = int(rng.integers(MAX_PARTS, endpoint=True))
        events = segment.events[:0]
        controls = np.empty((0, conditioning.size), np.float32)
        for part in range(num_parts + 1):
            is_last = part == num_parts
            source = segment if is_last else self.segments[int(rng.integers(len(self.segments)))]
            # With `seed` itself for the segment, as without jumps.
            added = self._copy(source, seed if is_last else [*seed, 2 + part]).events
            # Extracted before the cut; also where the source's are disabled.
            vectors = conditioning.extract(added, codec)
            ends = np.flatnonzero(codec.event_steps(added)) + 1
            if not is_last and len(ends):
                length = int(rng.choice(ends))
                added, vectors = added[:length], vectors[:length]
            released = codec.release(events)
            events = np.concatenate([events, released, added])
            controls = np.concatenate([controls, vectors[:1].repeat(len(released), 0), vectors])
        return EventSequence(events, lambda: controls)

    def _copy(self, segment: EventSequence, seed: Sequence[int]) -> EventSequence:
        return segment if self.augment is None else self.augment(segment, seed)
