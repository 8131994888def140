"""Rules of legal one-hot events.

A legal piece is one that `EventCodec.encode` can return, except for the order of events at the same
time:

- A NOTE_ON is of a pitch that is silent, a NOTE_OFF of one that sounds and was struck earlier.
- A VELOCITY changes the bin and a NOTE_ON follows at once. None sounds before the first VELOCITY.
- A shift comes after another only if that one was of full length.
- At most `MAX_ONSETS` notes start at the same time. NOTE_OFFs need no limit, since each ends a
  sounding note. So time moves on.
- A note lasts at most `MAX_NOTE_STEPS`: no shift goes past its end, and then only the NOTE_OFFs of
  notes that have reached the limit are allowed.
- Silence lasts at most `MAX_SILENCE_STEPS`: no shift goes past its end, and then a note must start.
  At the beginning a note must start at once.

In one case the ratios of probabilities change: the probability of NOTE_OFFs of silent pitches is
given to those of sounding pitches. The network predicts better that a note should end than which
notes sound, and notes without an end can accumulate: of 48 pieces of ten minutes by the shipped
`performance`, one had 38 notes at once in the mean of a minute without this, none more than 14 with
it.

bundles/README.md has what each rule brings. Without the first, 1 % of the events strike a key that
is down, and 0.3 % release one that is up. The rules of velocities and shifts cannot be heard; they
make a piece equal to what its notes encode to. The limit of onsets is reached at temperature 2.0
only, where up to 48 notes would start at once. Without its limit, a forgotten note lasts for
minutes, and silence up to 5 s. Without the last rule, a piece begins with 0.8 s of silence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from perf_rnn.events.codec import NUM_PITCHES
from perf_rnn.events.one_hot_classes import EventType
from perf_rnn.events.rules import MAX_NOTE_STEPS, MAX_ONSETS, EventRules

if TYPE_CHECKING:
    from perf_rnn.events.one_hot import EventCodec

MAX_SILENCE_STEPS = 300

_SILENT = np.iinfo(np.int64).max // 2  # The onset of a pitch that does not sound.

_SMALLEST_WEIGHT = 1e-300

# Kinds of events.
_NOTE_ON, _NOTE_OFF, _VELOCITY, _SHORT_SHIFT, _FULL_SHIFT = range(5)


class LegalEvents(EventRules):
    """The rules of a batch.

    The state of each row is `onsets` [B, 128, D], the steps at which the sounding notes of each
    pitch were struck, oldest first (only in a primer may there be several); `released`, the step of
    the last NOTE_OFF; `struck`, how many notes started since time last moved on; the velocity
    `bin`, 0 before the first; and the kind of the `last` event.
    """

    def __init__(self, codec: EventCodec, primer: NDArray[np.int32], batch_size: int):
        self._note_ons = codec.classes_of(EventType.NOTE_ON)
        self._note_offs = codec.classes_of(EventType.NOTE_OFF)
        self._shifts = codec.classes_of(EventType.TIME_SHIFT)
        self._velocities = codec.classes_of(EventType.VELOCITY)
        self._values = codec.class_values
        self._kinds = np.full(codec.num_classes, _NOTE_ON)
        self._kinds[self._note_offs] = _NOTE_OFF
        self._kinds[self._shifts] = _SHORT_SHIFT
        self._kinds[self._shifts.stop - 1] = _FULL_SHIFT
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

        bins = self._values[self._velocities]
        forbidden = np.empty(logits.shape, np.bool_)
        note_on = np.less(first_onsets, _SILENT, out=forbidden[:, self._note_ons])
        no_velocity = no_more | after_velocity | note_on.all(axis=1)
        no_loudness = velocity_bin == 0 if len(bins) else False
        note_on |= (no_more | no_loudness)[:, np.newaxis]
        note_off = forbidden[:, self._note_offs]
        np.greater_equal(first_onsets, clock[:, np.newaxis], out=note_off)
        note_off |= after_velocity[:, np.newaxis]
        longest_shift = np.where(no_shift, 0, deadline - clock)[:, np.newaxis]
        np.greater(self._values[self._shifts], longest_shift, out=forbidden[:, self._shifts])
        velocity = forbidden[:, self._velocities]
        np.equal(bins, velocity_bin[:, np.newaxis], out=velocity)
        velocity |= no_velocity[:, np.newaxis]
        due = sounds & (deadline <= clock)
        if due.any():
            forbidden[due] = True
            note_off[due] = first_onsets[due] > (clock[due] - MAX_NOTE_STEPS)[:, np.newaxis]
        _gather_releases(logits[:, self._note_offs], note_off)
        np.copyto(logits, -np.inf, where=forbidden)

    def update(self, events: NDArray[np.int64], clock: NDArray[np.int64]) -> None:
        state = self.arrays
        kinds = self._kinds[events]
        state["last"] = kinds
        (rows,) = np.nonzero(kinds == _NOTE_ON)
        state["onsets"][rows, self._values[events[rows]], 0] = clock[rows]
        state["struck"][rows] += 1
        (rows,) = np.nonzero(kinds == _NOTE_OFF)
        if len(rows):
            pitch = self._values[events[rows]]
            queue = state["onsets"][rows, pitch]
            queue[:, :-1] = queue[:, 1:]
            queue[:, -1] = _SILENT
            state["onsets"][rows, pitch] = queue
            state["released"][rows] = clock[rows]
        state["struck"][kinds >= _SHORT_SHIFT] = 0
        (rows,) = np.nonzero(kinds == _VELOCITY)
        state["bin"][rows] = self._values[events[rows]]

    def _after_primer(self, primer: NDArray[np.int32]) -> dict[str, Any]:
        """The state of a row at the end of the primer, which may hold any events."""
        sounding: list[list[int]] = [[] for _ in range(NUM_PITCHES)]
        clock = released = struck = velocity_bin = 0
        kinds = self._kinds[primer]
        for kind, value in zip(kinds, self._values[primer].tolist(), strict=True):
            if kind == _NOTE_ON:
                sounding[value].append(clock)
                struck += 1
            elif kind == _NOTE_OFF:
                del sounding[value][:1]
                released = clock
            elif kind == _VELOCITY:
                velocity_bin = value
            else:
                clock += value
                struck = 0
        onsets = np.full((NUM_PITCHES, max(1, *map(len, sounding))), _SILENT)
        for queue, steps in zip(onsets, sounding, strict=True):
            queue[: len(steps)] = steps
        if not np.isin(kinds, (_NOTE_ON, _NOTE_OFF)).any():
            released = clock - MAX_SILENCE_STEPS
        # A primer may end anywhere: its last event restricts nothing.
        last = _FULL_SHIFT
        return {
            "onsets": onsets,
            "released": released,
            "struck": struck,
            "bin": velocity_bin,
            "last": last,
        }


def _gather_releases(logits: NDArray[np.float64], forbidden: NDArray[np.bool_]) -> None:
    """Adds the probability of forbidden NOTE_OFFs to the allowed ones; logits are [B, 128]."""
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    total = weights.sum(axis=1)
    # The weights of legal NOTE_OFFs may underflow to 0; the gain must stay finite.
    legal = np.maximum((weights * ~forbidden).sum(axis=1), _SMALLEST_WEIGHT)
    logits += np.log(total / legal)[:, np.newaxis]
