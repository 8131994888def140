"""Infill: of several continuations, the one that leads best into the music after it.

The network plays forwards only. So several continuations are drawn, and the one is kept after which
the network finds the music that follows likeliest. In 8 held-out passages of ASAP that music took
2.364 nats per event after the 8 s that the pianist had played, 2.429 after 8 s of the network's,
and 2.370 after the best of 32 such.
"""

from collections.abc import Sequence

import numpy as np

from bundles.errors import PerfRnnError
from perf_rnn.configs import PerformanceRnnConfig
from perf_rnn.events.codec import EventIndices
from perf_rnn.generation import openings, primers
from perf_rnn.generation.sampler import Controls, log_likelihood
from perf_rnn.models import Model
from perf_rnn.notes.arrays import NoteArrays
from perf_rnn.notes.transforms import delay

CANDIDATES = 32
# So much of the music after the infill is compared.
FOLLOWING_EVENTS = 200


def following_events(rest: NoteArrays, begin: float, config: PerformanceRnnConfig) -> EventIndices:
    """Returns the first events of what is played from `begin` seconds on.

    Raises:
      PerfRnnError: the config has note events, which tell no time but from the note before.
    """
    if config.codec.whole_notes:
        raise PerfRnnError(f"infill: the note events of {config.key} cannot lead into other music")
    notes = primers.playable(rest, "the rest").take(control_changes=slice(0), pitch_bends=slice(0))
    return openings.from_notes(delay(notes, -begin), config).events[:FOLLOWING_EVENTS]


def choose(
    model: Model,
    candidates: Sequence[EventIndices],
    following: EventIndices,
    controls: Controls,
) -> EventIndices:
    """Returns the candidate after which the following events are likeliest.

    What sounds at a candidate's end is released before them.

    Args:
      model: the network.
      candidates: events of pieces, from their primer's begin, all equally long.
      following: the events after them.
      controls: as `sampler.Sampler` takes them.
    """
    release = model.config.codec.release
    before = [np.concatenate([events, release(events)]) for events in candidates]
    scores = log_likelihood(
        model,
        [np.concatenate([events, following]) for events in before],
        controls,
        skip=[len(events) for events in before],
    )
    return candidates[int(np.argmax(scores))]
