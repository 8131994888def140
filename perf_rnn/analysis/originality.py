"""How much of a piece occurs in the training pieces, note for note.

A passage is the pitches of successive notes in `played_order`, compared by their intervals, so that
transposing a passage, playing it faster or slower, or spreading its chords does not hide it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from bundles.errors import PerfRnnError
from perf_rnn.analysis.music_statistics import played_order
from perf_rnn.events.codec import STEPS_PER_SECOND
from perf_rnn.notes.arrays import Int64s, NoteArrays
from perf_rnn.notes.transforms import quantize

# Shorter passages occur in much music: scales, trills, broken chords, cadences.
COPIED_NOTES = 16

UInt64s = NDArray[np.uint64]


@dataclasses.dataclass(frozen=True)
class Originality:
    """What a piece shares with the training pieces.

    Attributes:
      longest_passage: notes of its longest passage that also occurs in a training piece; 1 if they
        share no interval.
      start_time: when that passage starts in the piece, seconds; of several, the first.
      training_piece: number of the first training piece that it occurs in.
      training_time: when it starts there, seconds.
      transposition: semitones it lies above the training piece.
      copied_share: share of the piece's notes that belong to any passage of 16 or more notes that
        occurs in a training piece. A copy with a wrong note here and there has a short longest
        passage, but a large share.
    """

    longest_passage: int
    start_time: float
    training_piece: int
    training_time: float
    transposition: int
    copied_share: float


class TrainingPassages:
    """All passages of the training pieces, to find those of other pieces among them.

    Passages are compared by 64-bit hashes of their intervals: even among millions of notes the
    chance that a search takes two different ones for the same is below 10^-5. A search takes a few
    passes over the training notes for every different answer, and memory for some numbers per note.
    """

    def __init__(self, pieces: Iterable[NoteArrays]) -> None:
        """Reads the training pieces one after another; they need not be in memory together.

        Raises:
          PerfRnnError: there is no piece, or one has no notes or is quantised.
        """
        self._training = _Notes(pieces, "training piece", seed=0)

    def originality(self, pieces: Sequence[NoteArrays]) -> list[Originality]:
        """Finds the longest passage of each piece that occurs in a training piece.

        Args:
          pieces: not quantised, each with at least one note.

        Raises:
          PerfRnnError: there is no piece, or one has no notes or is quantised.
        """
        training, notes = self._training, _Notes(pieces, "piece", seed=1)
        num_pieces = len(notes.bounds) - 1
        # Of each piece: intervals of the longest passage so far, its note, and that in training.
        intervals = np.zeros(num_pieces, np.int64)
        here = notes.bounds[:-1].copy()
        there = np.zeros(num_pieces, np.int64)

        def search(which: Int64s, found: int, missing: int) -> None:
            """Narrows down pieces that share `found` intervals with training but not `missing`."""
            if not len(which) or missing - found < 2:
                return
            middle = (found + missing) // 2
            at, training_at = _common(notes, training, middle)
            owners, first = np.unique(notes.piece[at], return_index=True)
            longer = np.isin(owners, which)
            owners, first = owners[longer], first[longer]
            intervals[owners] = middle
            here[owners], there[owners] = at[first], training_at[first]
            search(owners, middle, missing)
            search(np.setdiff1d(which, owners), found, middle)

        longest = int(np.diff(notes.bounds).max())
        search(np.arange(num_pieces, dtype=np.int64), 0, longest)
        transposition = notes.pitch[here] - training.pitch[there]
        training_piece = training.piece[there]
        copied = _copied_shares(notes, training)
        return [
            Originality(
                longest_passage=int(intervals[piece]) + 1,
                start_time=float(notes.step[here[piece]]) / STEPS_PER_SECOND,
                training_piece=int(training_piece[piece]),
                training_time=float(training.step[there[piece]]) / STEPS_PER_SECOND,
                transposition=int(transposition[piece]),
                copied_share=float(copied[piece]),
            )
            for piece in range(num_pieces)
        ]


# Any odd number will do; this one's bits are well mixed (2^64 divided by the golden ratio).
_BASE = 0x9E3779B97F4A7C15


class _Notes:
    """Pieces' notes in played order, one after another, with hashes of all their passages.

    Attributes:
      bounds: int64[pieces + 1], where each piece's notes begin and end.
      piece: int64[n], the piece each note is of.
      pitch: int32[n].
      step: int64[n], onsets.
    """

    def __init__(self, pieces: Iterable[NoteArrays], what: str, seed: int) -> None:
        pitches, steps = [], []
        for number, notes in enumerate(pieces):
            if not notes.num_notes:
                raise PerfRnnError(f"{what} {number} has no notes")
            if notes.is_quantized:
                raise PerfRnnError(f"{what} {number} is quantised; give it unquantised")
            step = quantize(notes, STEPS_PER_SECOND).start_step
            assert step is not None
            order = played_order(step, notes.pitch)
            pitches.append(notes.pitch[order])
            steps.append(step[order])
        if not pitches:
            raise PerfRnnError(f"there is no {what}")
        sizes = [len(pitch) for pitch in pitches]
        self.bounds = np.append(0, np.cumsum(sizes))
        self.piece = np.repeat(np.arange(len(sizes), dtype=np.int64), sizes)
        self.pitch = np.concatenate(pitches)
        self.step = np.concatenate(steps)
        self._prefix, self._shift = self._hashes(seed)

    def _hashes(self, seed: int) -> tuple[UInt64s, UInt64s]:
        """Prefix sums of hash terms, uint64[n + 1], and what brings a window's to place 0.

        Note i stands for its interval to note i + 1, a random number per interval, times _BASE^i
        modulo 2^64. The last note of a piece stands for an interval of its own that occurs nowhere
        else, so no passage goes on into the next piece.
        """
        numbers = np.random.default_rng(2).integers(2**64, size=255, dtype=np.uint64)
        values = numbers[np.append(np.diff(self.pitch), 0) + 127]
        ends = np.random.default_rng([3, seed]).integers(
            2**64, size=len(self.bounds) - 1, dtype=np.uint64
        )
        values[self.bounds[1:] - 1] = ends
        powers = _powers(_BASE, len(values))
        prefix = np.append(np.uint64(0), np.cumsum(values * powers))
        return prefix, _powers(pow(_BASE, -1, 2**64), len(values))

    def hashes(self, intervals: int) -> UInt64s:
        """A number for every run of `intervals` intervals, by its first note."""
        sums = self._prefix[intervals:] - self._prefix[:-intervals]
        return sums * self._shift[: len(sums)]


def _powers(base: int, count: int) -> UInt64s:
    factors = np.full(count, base, np.uint64)
    factors[:1] = 1
    return np.cumprod(factors, dtype=np.uint64)


def _common(notes: _Notes, training: _Notes, intervals: int) -> tuple[Int64s, Int64s]:
    """The runs of `intervals` intervals that both have.

    Returns:
      The first notes of all such runs in `notes`, ascending, and for each the first note of its
      first occurrence in `training`.
    """
    wanted, offered = notes.hashes(intervals), training.hashes(intervals)
    # Most of what is offered is not wanted: a look at the upper 24 bits saves sorting it.
    is_wanted = np.zeros(1 << 24, np.bool_)
    is_wanted[wanted >> np.uint64(40)] = True
    candidates = np.flatnonzero(is_wanted[offered >> np.uint64(40)])
    if not len(candidates):
        return candidates, candidates
    values, first = np.unique(offered[candidates], return_index=True)
    place = np.minimum(np.searchsorted(values, wanted), len(values) - 1)
    at = np.flatnonzero(values[place] == wanted)
    return at, candidates[first[place[at]]]


def _copied_shares(notes: _Notes, training: _Notes) -> NDArray[np.float64]:
    """The share of each piece's notes in passages of COPIED_NOTES notes that training has."""
    change = np.zeros(len(notes.pitch) + 1, np.int64)
    at, _ = _common(notes, training, COPIED_NOTES - 1)
    change[at] += 1
    change[at + COPIED_NOTES] -= 1
    copied = (np.cumsum(change[:-1]) > 0).astype(np.int64)
    return np.add.reduceat(copied, notes.bounds[:-1]) / np.diff(notes.bounds)
