"""Which NOTE_OFF ends which NOTE_ON."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def pair_notes(pitch: NDArray[Any], is_on: NDArray[np.bool_]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Pairs NOTE_ONs with NOTE_OFFs, first in first out within a pitch.

    Args:
      pitch, is_on: [n], the note events in order.

    Returns:
      (on, off): indices into the note events, one entry per NOTE_ON, in the order of the NOTE_OFFs;
      off is -1 for notes that are never ended, which come last.
    """
    size = len(pitch)
    if not size:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    # Pitch by pitch, each in order of time.
    order = np.argsort(pitch, kind="stable")
    on = is_on[order]
    group_start = np.flatnonzero(np.diff(pitch[order], prepend=-1))
    group = np.repeat(np.arange(len(group_start)), np.diff(group_start, append=size))

    # With +1 per on and -1 per off, a stray off is one that takes its pitch's running sum to a
    # new low below zero. Each pitch has a zero of its own, far below the sums of the one before,
    # so that one running minimum serves all pitches.
    zero = -(2 * size + 1) * group
    change = np.where(on, 1, -1)
    total = np.cumsum(change)
    balance = zero + total - (total - change)[group_start][group]
    lowest = np.minimum(np.minimum.accumulate(balance), zero)
    is_new_low = np.diff(lowest, prepend=0) < 0

    # Without the strays, the k-th on of a pitch goes with its k-th off.
    ons = np.flatnonzero(on)
    offs = np.flatnonzero(~on & ~is_new_low)
    num_offs = np.bincount(group[offs], minlength=len(group_start))
    rank = np.arange(len(ons)) - np.searchsorted(ons, group_start)[group[ons]]
    ended = rank < num_offs[group[ons]]
    off = np.full(len(ons), -1)
    off[ended] = order[offs]
    # Ended notes by the place of their off; then the hanging ones by their pitch's first event.
    out = np.lexsort((rank, np.where(ended, off, size + order[group_start[group[ons]]])))
    return order[ons][out], off[out]
