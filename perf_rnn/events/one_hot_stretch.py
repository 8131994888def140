"""Stretching one-hot events in time without decoding them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from perf_rnn.events.codec import NUM_PITCHES, EventIndices, stretch_steps
from perf_rnn.events.pairing import pair_notes

if TYPE_CHECKING:
    from perf_rnn.events.one_hot import EventCodec


def stretch(events: EventIndices, codec: EventCodec, factor: float) -> EventIndices:
    """Returns what `EventCodec.stretch` does."""
    event_steps = codec.event_steps(events)
    time = np.cumsum(event_steps)
    length = stretch_steps(time[-1:], factor)
    is_shift = event_steps > 0
    events, time = events[~is_shift], time[~is_shift]
    step = stretch_steps(time, factor)

    if factor < 1:  # Only then can two steps become one.
        step, order = _restored_order(events, time, step)
        events, step = events[order], step[order]
    return _with_shifts(events, step, length, codec)


def _restored_order(
    events: EventIndices, time: NDArray[np.int64], step: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Gives each note at least one step, and the events of each step `encode`'s order.

    A step's events are ordered by note, a note's NOTE_OFF after its NOTE_ON.

    Args:
      events: int32 [n], without shifts.
      time: [n], the step of each event before stretching.
      step: [n], the step of each event after it.

    Returns:
      (step, order): [n], [n].
    """
    is_on = events < NUM_PITCHES
    notes = np.flatnonzero(events < 2 * NUM_PITCHES)
    on, off = pair_notes(events[notes] % NUM_PITCHES, is_on[notes])
    on, off = notes[on[off >= 0]], notes[off[off >= 0]]
    step[off] = np.maximum(step[off], step[on] + (time[off] > time[on]))

    # A VELOCITY stays before the next NOTE_ON, a NOTE_OFF without a note after the NOTE_ON before.
    number = np.cumsum(is_on)
    place = 2 * number + (events >= NUM_PITCHES)
    place[events >= 2 * NUM_PITCHES] += 1
    place[off] = 2 * number[on] + 1
    return step, np.argsort(step * (2 * len(events) + 3) + place, kind="stable")


def _with_shifts(
    events: EventIndices,
    step: NDArray[np.int64],
    length: NDArray[np.int64],
    codec: EventCodec,
) -> EventIndices:
    """Returns the events with the shifts between them, and after them up to `length`.

    Args:
      events: int32 [n], without shifts.
      step: [n], the step of each event, in order.
      length: [1], in steps.
      codec: of the events.
    """
    longest = codec.max_shift_steps
    ends = np.append(step, length)
    ends[-1] = ends.max()
    gap = np.diff(ends, prepend=0)
    # The longest shift as often as it fits, then the rest: a gap of just the longest is one shift.
    full_shifts = (gap - 1) // longest
    position = np.cumsum(full_shifts + 2) - 1
    result = np.full(position[-1], codec.shift_base + longest, np.int32)
    result[position[:-1]] = events
    shifted = np.flatnonzero(gap)
    rest = gap[shifted] - full_shifts[shifted] * longest
    result[position[shifted] - 1] = codec.shift_base + rest
    return result
