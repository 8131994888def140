"""Which events may come next, so that pieces can be played on a piano.

Rules forbid events by setting their logits to minus infinity before an event is drawn; the ratios
of the other probabilities stay. They apply to a batch of rows, one piece each, and depend only on
each row's own events. `EventRules` applies to every representation; the rules of legal events are
in the modules of their codecs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from perf_rnn.events.codec import Codec

# Limits of legal events. In 150 performances of ASAP at most 9 notes start at the same time.
MAX_ONSETS = 16
MAX_NOTE_STEPS = 500

# After this many events at the same time, time must move on, even if illegal events are allowed;
# otherwise a network that repeats itself would never finish its piece.
MAX_EVENTS_AT_ONE_MOMENT = 256


class EventRules:
    """Allows any event as long as time moves on; the base class of the rules of legal events.

    Attributes:
      arrays: the state of the rows, by name: [B, ...] each.
    """

    def __init__(
        self,
        codec: Codec,
        primer: NDArray[np.int32],
        batch_size: int,
        limit: int = MAX_EVENTS_AT_ONE_MOMENT,
    ):
        """Starts `batch_size` rows at the end of `primer`, events [L, *event_shape].

        Args:
          limit: how many events in a row may be at the same time.
        """
        self._codec = codec
        self._limit = limit
        moved = np.flatnonzero(codec.event_steps(primer))
        stalled = len(primer) - 1 - moved[-1] if len(moved) else len(primer)
        self.arrays = {"stalled": np.full(batch_size, stalled)}

    def forbid(self, logits: NDArray[np.float64], clock: NDArray[np.int64]) -> None:
        """Sets the logits [B, classes] of forbidden events to minus infinity.

        Args:
          logits: all heads', one after another; changed in place.
          clock: [B], the steps that each row has.
        """
        at_limit = self.arrays["stalled"] >= self._limit
        if at_limit.any():
            logits[np.ix_(at_limit, self._codec.timeless_classes)] = -np.inf

    def update(self, events: NDArray[np.int64], clock: NDArray[np.int64]) -> None:
        """Takes the rows' next events [B, *event_shape]; `clock` [B] is the steps before them."""
        stalled = self.arrays["stalled"]
        self.arrays["stalled"] = np.where(self._codec.event_steps(events), 0, stalled + 1)

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> None:
        """Continues with these rows, in this order; a row may be given several times."""
        self.arrays = {name: array[rows] for name, array in self.arrays.items()}
