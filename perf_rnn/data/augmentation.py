"""Augmentation: each pass over a segment plays it at another tempo and in another key.

One unaugmented copy is stored. Whenever a segment is read for training it is stretched by a random
factor and transposed by a random interval, little enough to leave it natural: up to 5 %, and up to
a major third (Simon & Oore, 2017). Both are done on events: no note is decoded.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from perf_rnn.configs import PerformanceRnnConfig
from perf_rnn.data.examples import EventSequence
from perf_rnn.events.note_events import (
    MAX_DURATION_STEPS,
    MAX_NOTE_SHIFT_STEPS,
    NoteCodec,
    join_heads,
    note_durations,
)
from perf_rnn.events.one_hot import (
    NUM_PITCHES,
    STEPS_PER_SECOND,
    EventCodec,
    EventIndices,
    EventType,
    pair_notes,
)

MIN_STRETCH, MAX_STRETCH = 0.95, 1.05
MAX_SEMITONES = 4


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Makes another copy of a segment of `config` for each seed.

    The factor is drawn evenly between `MIN_STRETCH` and `MAX_STRETCH`, the interval evenly from
    `-MAX_SEMITONES` to `MAX_SEMITONES`. Of both, only what the segment's events can express is
    drawn from: no pitch leaves 0 to 127, and no note event's shift or duration its longest.
    """

    config: PerformanceRnnConfig

    def __call__(self, segment: EventSequence, seed: int | Sequence[int]) -> EventSequence:
        """Returns a copy that depends on the segment and the seed alone.

        Its control signals are what its own events show; disabled ones stay disabled.
        """
        config, codec = self.config, self.config.codec
        rng = np.random.default_rng(seed)
        events = stretch(segment.events, codec, _draw_factor(segment.events, codec, rng))
        events = transpose(events, codec, _draw_semitones(events, codec, rng))
        # The first control vector is none of dense records', so it is the last that is looked at.
        disabled = config.conditioning.optional and bool(segment.controls[-1, 0])
        return EventSequence.from_events(
            events, config, disabled, segment.source_id, segment.segment_index
        )


def transpose(events: EventIndices, codec: EventCodec | NoteCodec, semitones: int) -> EventIndices:
    """Returns the events with all pitches moved by `semitones`.

    Args:
      events: int32 [length, *event_shape].
      codec: of the events.
      semitones: so few that no pitch leaves 0 to 127.
    """
    moved = events.copy()
    if isinstance(codec, NoteCodec):
        moved[:, 2] += semitones
    else:
        moved[events < 2 * NUM_PITCHES] += semitones
    return moved


def stretch(events: EventIndices, codec: EventCodec | NoteCodec, factor: float) -> EventIndices:
    """Returns the events of the same notes with all times multiplied by `factor`.

    A note starts and ends where it would if it were decoded, stretched and quantised, rounded half
    up, and lasts at least one step. Notes keep their order, which is that of the unquantised notes,
    and a step's events the order that `EventCodec.encode` gives them. Silence at the end is
    stretched too, and notes that never end, in a segment that was cut, stay so.

    Args:
      events: int32 [length, *event_shape], as `encode` makes them.
      codec: of the events.
      factor: above 0; with a `NoteCodec` so small that no shift or duration exceeds its longest.
    """
    if isinstance(codec, NoteCodec):
        return _stretch_note_events(events, codec, factor)
    event_steps = codec.event_steps(events)
    time = np.cumsum(event_steps)
    length = _stretched(time[-1:], factor)
    is_shift = event_steps > 0
    events, time = events[~is_shift], time[~is_shift]
    step = _stretched(time, factor)

    if factor < 1:  # Only then steps can become one.
        step, order = _in_order_anew(events, time, step)
        events, step = events[order], step[order]
    return _with_shifts(events, step, length, codec)


def _in_order_anew(
    events: EventIndices, time: NDArray[np.int64], step: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Gives each note a step at least, and each step its events in `encode`'s order.

    A step's events are ordered by note, a note's NOTE_OFF after its NOTE_ON.

    Args:
      events: int32 [n], none of them a shift.
      time: [n], the step at which each came.
      step: [n], the step at which each is to come.

    Returns:
      (step, order): [n], [n].
    """
    is_on = events < NUM_PITCHES
    notes = np.flatnonzero(events < 2 * NUM_PITCHES)
    on, off = pair_notes(events[notes] % NUM_PITCHES, is_on[notes])
    on, off = notes[on[off >= 0]], notes[off[off >= 0]]
    step[off] = np.maximum(step[off], step[on] + (time[off] > time[on]))

    # A VELOCITY goes with the next NOTE_ON; a NOTE_OFF without a note stays behind the last one.
    number = np.cumsum(is_on)
    place = 2 * number + (events >= NUM_PITCHES)
    place[events >= 2 * NUM_PITCHES] += 1
    place[off] = 2 * number[on] + 1
    return step, np.argsort(step * (2 * len(events) + 3) + place, kind="stable")


def _stretch_note_events(events: EventIndices, codec: NoteCodec, factor: float) -> EventIndices:
    start = np.cumsum(codec.event_steps(events))
    new_start = _stretched(start, factor)
    new_end = np.maximum(_stretched(start + note_durations(events), factor), new_start + 1)
    shift = np.diff(new_start, prepend=0)
    return join_heads(shift, events[:, 2], events[:, 3], new_end - new_start)


def _stretched(steps: NDArray[np.int64], factor: float) -> NDArray[np.int64]:
    # The floating point operations of decoding, stretching and quantising, so the same steps.
    seconds = steps * (1.0 / STEPS_PER_SECOND) * factor
    return (seconds * STEPS_PER_SECOND + 0.5).astype(np.int64)


def _with_shifts(
    events: EventIndices, step: NDArray[np.int64], length: NDArray[np.int64], codec: EventCodec
) -> EventIndices:
    """Returns the events with the shifts between them, and after them up to `length`.

    Args:
      events: int32 [n], none of them a shift.
      step: [n], when each comes, in order.
      length: [1], in steps.
      codec: of the events.
    """
    ends = np.append(step, length)
    ends[-1] = ends.max()
    gap = np.diff(ends, prepend=0)
    # The longest shift as often as it fits, then the rest: a gap of just the longest is one shift.
    full_shifts = (gap - 1) // codec.max_shift_steps
    position = np.cumsum(full_shifts + 2) - 1
    laid_out = np.full(position[-1], codec.default_label, np.int32)
    laid_out[position[:-1]] = events
    shifted = np.flatnonzero(gap)
    rest = gap[shifted] - full_shifts[shifted] * codec.max_shift_steps
    laid_out[position[shifted] - 1] = codec.event_index(EventType.TIME_SHIFT, 1) + rest - 1
    return laid_out


def _draw_factor(
    events: EventIndices, codec: EventCodec | NoteCodec, rng: np.random.Generator
) -> float:
    longest = MAX_STRETCH
    if isinstance(codec, NoteCodec):
        # Rounding its start and its end makes a length of steps longer by one at most.
        shift, duration = codec.event_steps(events).max(), note_durations(events).max()
        longest = min(
            longest,
            (MAX_NOTE_SHIFT_STEPS - 1) / max(shift, 1),
            (MAX_DURATION_STEPS - 1) / duration,
        )
    return float(rng.uniform(MIN_STRETCH, longest))


def _draw_semitones(
    events: EventIndices, codec: EventCodec | NoteCodec, rng: np.random.Generator
) -> int:
    if isinstance(codec, NoteCodec):
        pitch = events[:, 2]
    else:
        pitch = events[events < 2 * NUM_PITCHES] % NUM_PITCHES
    down = min(MAX_SEMITONES, int(pitch.min(initial=NUM_PITCHES - 1)))
    up = min(MAX_SEMITONES, NUM_PITCHES - 1 - int(pitch.max(initial=0)))
    return int(rng.integers(-down, up, endpoint=True))
