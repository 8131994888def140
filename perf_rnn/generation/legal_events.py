"""Which events may come next: what no piano could play is not drawn.

Rules forbid events by setting their logits to minus infinity before anything is drawn, so what
remains keeps its proportions. They follow a batch of rows, one piece each, and look only at the
events of each row.

With legal events a piece of one-hot events is one that `EventCodec.encode` could have written, the
order of events at one moment apart:

- A NOTE_ON is of a pitch that is silent, a NOTE_OFF of one that sounds and was struck earlier.
- A VELOCITY changes the bin and a NOTE_ON follows at once. None sounds before the first VELOCITY.
- A shift comes after another only if that one was of full length.
- At most `MAX_ONSETS` notes start at one moment; in 150 performances of ASAP it was never more
  than 9. NOTE_OFFs need no limit, for each leaves one note less to end. So time cannot stand still.
- A note is released after `MAX_NOTE_STEPS`: no shift goes past that moment, and then nothing but
  the NOTE_OFFs of the notes due may come, one after another.
- Silence lasts `MAX_SILENCE_STEPS` at most: no shift goes past that moment, and then a note is due.
  Where nothing has been heard yet one is due at once.

One case is not left to proportion: what the network gives to NOTE_OFFs of silent pitches goes to
those of sounding ones. It knows better that a note should end than which ones sound, and notes
that nobody ends pile up: in pieces of a minute at temperature 1 by the first shipped bundle, 6.1
notes sounded at once instead of 9.3 (human: 3.8).

A note event holds a whole note, and most of this cannot go wrong. Legal ones have no duration or
shift above some 5 s, and at most `MAX_ONSETS` notes start at one moment.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from perf_rnn.events.note_events import DURATION_HEADS, SHIFT_HEADS, NoteCodec
from perf_rnn.events.one_hot import NUM_PITCHES, EventCodec

MAX_ONSETS = 16
MAX_NOTE_STEPS = 500
MAX_SILENCE_STEPS = 300

# Without legal events, the one rule: a network that goes on for ever without moving on in time
# would never fill its piece. After this many events it must.
MAX_EVENTS_AT_ONE_MOMENT = 256

_SILENT = np.iinfo(np.int64).max // 2  # The onset of a pitch that does not sound.

_NOTE_ONS, _NOTE_OFFS = slice(NUM_PITCHES), slice(NUM_PITCHES, 2 * NUM_PITCHES)
# Kinds of events.
_NOTE_ON, _NOTE_OFF, _VELOCITY, _SHORT_SHIFT, _FULL_SHIFT = range(5)


class FreeEvents:
    """Any event may come, but time must go on at last. Also the base of the other rules.

    Attributes:
      arrays: what is known of the rows, by name: [B, ...] each.
    """

    def __init__(
        self,
        codec: EventCodec | NoteCodec,
        primer: NDArray[np.int32],
        batch_size: int,
        limit: int = MAX_EVENTS_AT_ONE_MOMENT,
    ):
        """Starts `batch_size` rows at the end of `primer`, events [L, *event_shape]."""
        self._codec = codec
        self._limit = limit
        moved = np.flatnonzero(codec.event_steps(primer))
        stalled = len(primer) - 1 - moved[-1] if len(moved) else len(primer)
        self.arrays = {"stalled": np.full(batch_size, stalled)}
        if isinstance(codec, EventCodec):
            self._standing_still = codec.event_steps(np.arange(codec.num_classes)) == 0
        else:
            # Of the two heads of a shift it is enough to keep one from 0.
            self._standing_still = np.zeros(sum(codec.head_sizes), np.bool_)
            self._standing_still[SHIFT_HEADS[0]] = True

    def forbid(self, logits: NDArray[np.float64], clock: NDArray[np.int64]) -> None:
        """Sets the logits [B, classes] of what may not come next to minus infinity.

        Args:
          logits: all heads', one after another; changed in place.
          clock: [B], the steps that each row has.
        """
        at_limit = self.arrays["stalled"] >= self._limit
        if at_limit.any():
            logits[np.ix_(at_limit, self._standing_still)] = -np.inf

    def update(self, events: NDArray[np.int64], clock: NDArray[np.int64]) -> None:
        """Takes the rows' next events [B, *event_shape]; `clock` [B] is the steps before them."""
        stalled = self.arrays["stalled"]
        self.arrays["stalled"] = np.where(self._codec.event_steps(events), 0, stalled + 1)

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> None:
        """Goes on with these rows, in this order; they may repeat."""
        self.arrays = {name: array[rows] for name, array in self.arrays.items()}


class LegalNotes(FreeEvents):
    """Rules of legal note events."""

    def __init__(self, codec: NoteCodec, primer: NDArray[np.int32], batch_size: int):
        super().__init__(codec, primer, batch_size, MAX_ONSETS)
        heads = [np.zeros(size, np.bool_) for size in codec.head_sizes]
        # Heads are drawn on their own, so only the coarse ones can be limited.
        heads[0][MAX_NOTE_STEPS // SHIFT_HEADS[1] :] = True
        heads[4][MAX_NOTE_STEPS // DURATION_HEADS[1] :] = True
        self._too_long = np.concatenate(heads)

    def forbid(self, logits: NDArray[np.float64], clock: NDArray[np.int64]) -> None:
        super().forbid(logits, clock)
        logits[:, self._too_long] = -np.inf


class LegalEvents(FreeEvents):
    """Rules of legal one-hot events.

    Of each row it knows `onsets` [B, 128, D], the steps at which the sounding notes of each pitch
    were struck, oldest first (only in a primer may there be several); `released`, the step of the
    last NOTE_OFF; `struck`, how many notes started since time last went on; the velocity `bin`,
    0 before the first; and the kind of the `last` event.
    """

    def __init__(self, codec: EventCodec, primer: NDArray[np.int32], batch_size: int):
        self._steps = codec.event_steps(np.arange(codec.num_classes))
        shifts = np.flatnonzero(self._steps)
        self._shift_steps = self._steps[shifts]
        self._bins = np.arange(1, codec.num_velocity_bins + 1)
        # The classes of each type stand together.
        self._shifts = slice(shifts[0], shifts[-1] + 1)
        self._velocities = slice(shifts[-1] + 1, codec.num_classes)
        self._kinds = np.full(codec.num_classes, _NOTE_ON)
        self._kinds[_NOTE_OFFS] = _NOTE_OFF
        self._kinds[self._shifts] = _SHORT_SHIFT
        self._kinds[shifts[-1]] = _FULL_SHIFT
        self._kinds[self._velocities] = _VELOCITY
        self.arrays = {
            name: np.stack([value] * batch_size)
            for name, value in self._after_primer(primer).items()
        }

    def forbid(self, logits: NDArray[np.float64], clock: NDArray[np.int64]) -> None:
        state = self.arrays
        first_onsets, last, velocity_bin = state["onsets"][:, :, 0], state["last"], state["bin"]
        oldest = first_onsets.min(axis=1)
        sounds = oldest < _SILENT
        deadline = np.where(sounds, oldest + MAX_NOTE_STEPS, state["released"] + MAX_SILENCE_STEPS)
        after_velocity = last == _VELOCITY
        no_shift = after_velocity | (last == _SHORT_SHIFT)
        no_more = (state["struck"] >= MAX_ONSETS) & ~after_velocity

        forbidden = np.empty(logits.shape, np.bool_)
        note_on = np.less(first_onsets, _SILENT, out=forbidden[:, _NOTE_ONS])
        no_velocity = no_more | after_velocity | note_on.all(axis=1)
        no_loudness = velocity_bin == 0 if len(self._bins) else False
        note_on |= (no_more | no_loudness)[:, np.newaxis]
        note_off = forbidden[:, _NOTE_OFFS]
        np.greater_equal(first_onsets, clock[:, np.newaxis], out=note_off)
        note_off |= after_velocity[:, np.newaxis]
        longest_shift = np.where(no_shift, 0, deadline - clock)[:, np.newaxis]
        np.greater(self._shift_steps, longest_shift, out=forbidden[:, self._shifts])
        velocity = forbidden[:, self._velocities]
        np.equal(self._bins, velocity_bin[:, np.newaxis], out=velocity)
        velocity |= no_velocity[:, np.newaxis]
        due = sounds & (deadline <= clock)
        if due.any():
            forbidden[due] = True
            note_off[due] = first_onsets[due] > (clock[due] - MAX_NOTE_STEPS)[:, np.newaxis]
        _gather_releases(logits[:, _NOTE_OFFS], note_off)
        np.copyto(logits, -np.inf, where=forbidden)

    def update(self, events: NDArray[np.int64], clock: NDArray[np.int64]) -> None:
        state = self.arrays
        kinds = self._kinds[events]
        state["last"] = kinds
        (rows,) = np.nonzero(kinds == _NOTE_ON)
        state["onsets"][rows, events[rows], 0] = clock[rows]
        state["struck"][rows] += 1
        (rows,) = np.nonzero(kinds == _NOTE_OFF)
        if len(rows):
            pitch = events[rows] - NUM_PITCHES
            queue = state["onsets"][rows, pitch]
            queue[:, :-1] = queue[:, 1:]
            queue[:, -1] = _SILENT
            state["onsets"][rows, pitch] = queue
            state["released"][rows] = clock[rows]
        state["struck"][kinds >= _SHORT_SHIFT] = 0
        (rows,) = np.nonzero(kinds == _VELOCITY)
        state["bin"][rows] = events[rows] - self._velocities.start + 1

    def _after_primer(self, primer: NDArray[np.int32]) -> dict[str, Any]:
        """What is known of a row at the end of the primer, which may hold anything."""
        sounding: list[list[int]] = [[] for _ in range(NUM_PITCHES)]
        clock = released = struck = velocity_bin = 0
        for event in primer.tolist():
            kind = self._kinds[event]
            if kind == _NOTE_ON:
                sounding[event].append(clock)
                struck += 1
            elif kind == _NOTE_OFF:
                del sounding[event - NUM_PITCHES][:1]
                released = clock
            elif kind == _VELOCITY:
                velocity_bin = event - self._velocities.start + 1
            else:
                clock += int(self._steps[event])
                struck = 0
        onsets = np.full((NUM_PITCHES, max(1, *map(len, sounding))), _SILENT)
        for queue, steps in zip(onsets, sounding, strict=True):
            queue[: len(steps)] = steps
        if not (primer < 2 * NUM_PITCHES).any():
            released = clock - MAX_SILENCE_STEPS
        # Where a primer ends is up to who made it: its last event restricts nothing.
        last = _FULL_SHIFT
        return {
            "onsets": onsets,
            "released": released,
            "struck": struck,
            "bin": velocity_bin,
            "last": last,
        }


def _gather_releases(logits: NDArray[np.float64], forbidden: NDArray[np.bool_]) -> None:
    """Raises the logits [B, 128] of NOTE_OFFs by what the forbidden ones among them had."""
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    total = weights.sum(axis=1)
    legal = (weights * ~forbidden).sum(axis=1)
    gain = np.log(total / np.where(legal > 0, legal, total))
    logits += gain[:, np.newaxis]


def new_rules(
    codec: EventCodec | NoteCodec, primer: NDArray[np.int32], batch_size: int, legal_events: bool
) -> FreeEvents:
    """Returns the rules of `batch_size` rows at the end of `primer`, events [L, *event_shape]."""
    if not legal_events:
        return FreeEvents(codec, primer, batch_size)
    if isinstance(codec, EventCodec):
        return LegalEvents(codec, primer, batch_size)
    return LegalNotes(codec, primer, batch_size)
