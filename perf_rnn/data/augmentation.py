"""Augmentation: each pass over a segment plays it at another tempo and in another key.

One unaugmented copy is stored. Whenever a segment is read for training it is stretched by a random
factor and transposed by a random interval, little enough to leave it natural: up to 5 %, and up to
a major third (Simon & Oore, 2017). Both are done on events: no note is decoded.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from perf_rnn.configs import PerformanceRnnConfig
from perf_rnn.data.examples import EventSequence
from perf_rnn.events.codec import NUM_PITCHES, Codec, EventIndices

MIN_STRETCH, MAX_STRETCH = 0.95, 1.05
MAX_SEMITONES = 4


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Makes another copy of a segment of `config` for each seed.

    The factor is drawn evenly between `MIN_STRETCH` and `MAX_STRETCH`, the interval evenly from
    `-MAX_SEMITONES` to `MAX_SEMITONES`, both only from what the segment's events can express: no
    pitch leaves 0 to 127, and no note event's shift or duration its longest.
    """

    config: PerformanceRnnConfig

    def __call__(self, segment: EventSequence, seed: int | Sequence[int]) -> EventSequence:
        """Returns a copy that depends on the segment and the seed alone.

        Its control signals are extracted from its own events; disabled ones stay disabled.
        """
        config, codec = self.config, self.config.codec
        rng = np.random.default_rng(seed)
        longest = min(MAX_STRETCH, codec.max_stretch(segment.events))
        events = codec.stretch(segment.events, float(rng.uniform(MIN_STRETCH, longest)))
        events = codec.transpose(events, _draw_semitones(events, codec, rng))
        return EventSequence.from_events(events, config, segment.disabled)


def _draw_semitones(events: EventIndices, codec: Codec, rng: np.random.Generator) -> int:
    pitch = codec.pitches(events)
    down = min(MAX_SEMITONES, int(pitch.min(initial=NUM_PITCHES - 1)))
    up = min(MAX_SEMITONES, NUM_PITCHES - 1 - int(pitch.max(initial=0)))
    return int(rng.integers(-down, up, endpoint=True))
