"""Statistics of a piece of music: density, dynamics, polyphony, rhythm, pitch, silence.

Times are rounded to steps of 10 ms, the resolution of a model's events.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from bundles.errors import PerfRnnError
from perf_rnn.events.codec import STEPS_PER_SECOND
from perf_rnn.notes.arrays import Int32s, Int64s, NoteArrays
from perf_rnn.notes.transforms import quantize, split

SECONDS_PER_MINUTE = 60.0
# Pianists spread the notes of a chord; onsets at most so many steps apart are one chord.
CHORD_STEPS = 3
# The length of the runs of notes that are searched for repetitions.
NGRAM_NOTES = 4


def _statistic(unit: str) -> float:
    field: float = dataclasses.field(metadata={"unit": unit})
    return field


@dataclasses.dataclass(frozen=True)
class MusicStatistics:
    """Statistics of a piece or of a part of one; NaN if there are too few notes for a statistic.

    Spreads are standard deviations with the divisor n.

    Attributes:
      note_density: notes per second.
      velocity_mean, velocity_spread: of the notes' velocities.
      velocity_range: the highest velocity minus the lowest.
      polyphony: notes sounding at once, on average over the time when any does.
      note_length_mean, note_length_spread, longest_note: how long notes sound, the pedal included.
      onset_interval_mean, onset_interval_spread: time from one onset to the next; notes of one
        step share an onset.
      pitch_range: semitones from lowest to highest.
      pitch_class_entropy: of the notes' pitch classes; log2(12) = 3.58 if all twelve are as many.
      repeated_ngrams: share of the runs of 4 notes, in `played_order`, whose pitches were played
        before in the same order.
      silence: share of the time when nothing sounds.
      longest_silence: the longest such time, the one before the first note included.
    """

    note_density: float = _statistic("1/s")
    velocity_mean: float = _statistic("MIDI")
    velocity_spread: float = _statistic("MIDI")
    velocity_range: float = _statistic("MIDI")
    polyphony: float = _statistic("notes")
    note_length_mean: float = _statistic("s")
    note_length_spread: float = _statistic("s")
    longest_note: float = _statistic("s")
    onset_interval_mean: float = _statistic("s")
    onset_interval_spread: float = _statistic("s")
    pitch_range: float = _statistic("semitones")
    pitch_class_entropy: float = _statistic("bits")
    repeated_ngrams: float = _statistic("share")
    silence: float = _statistic("share")
    longest_silence: float = _statistic("s")


# {name: unit} of every statistic.
UNITS: dict[str, str] = {
    field.name: field.metadata["unit"] for field in dataclasses.fields(MusicStatistics)
}


def music_statistics(notes: NoteArrays) -> MusicStatistics:
    """Measures the time from 0 to `notes.total_time`, or to the end of the last note.

    >>> scale = NoteArrays(start_time=[0, 0.5, 1], end_time=[0.5, 1, 1.5], pitch=[60, 62, 64],
    ...                    velocity=[70, 80, 90], total_time=2.0)
    >>> measured = music_statistics(scale)
    >>> measured.note_density, measured.silence, measured.pitch_range
    (1.5, 0.25, 4.0)

    Args:
      notes: not quantised.

    Raises:
      PerfRnnError: the notes are quantised, start before time 0, or last no time at all.
    """
    if notes.is_quantized:
        raise PerfRnnError("quantised notes cannot be measured; give those before quantize")
    quantized = quantize(notes, STEPS_PER_SECOND)
    if not quantized.total_steps:
        raise PerfRnnError("there is nothing to measure: no notes, and a total_time of 0")
    assert quantized.start_step is not None
    assert quantized.end_step is not None
    start, end = quantized.start_step, quantized.end_step
    silences = _silences(start, end, quantized.total_steps)
    total, silent = quantized.total_steps, int(silences.sum())
    lengths = (end - start) / STEPS_PER_SECOND
    intervals = np.diff(np.unique(start)) / STEPS_PER_SECOND
    velocity, pitch = notes.velocity, notes.pitch
    nan = math.nan
    return MusicStatistics(
        note_density=notes.num_notes * STEPS_PER_SECOND / total,
        velocity_mean=float(velocity.mean()) if len(velocity) else nan,
        velocity_spread=float(velocity.std()) if len(velocity) else nan,
        velocity_range=float(np.ptp(velocity)) if len(velocity) else nan,
        polyphony=float((end - start).sum() / (total - silent)) if len(start) else nan,
        note_length_mean=float(lengths.mean()) if len(lengths) else nan,
        note_length_spread=float(lengths.std()) if len(lengths) else nan,
        longest_note=float(lengths.max()) if len(lengths) else nan,
        onset_interval_mean=float(intervals.mean()) if len(intervals) else nan,
        onset_interval_spread=float(intervals.std()) if len(intervals) else nan,
        pitch_range=float(np.ptp(pitch)) if len(pitch) else nan,
        pitch_class_entropy=_entropy(np.bincount(pitch % 12)) if len(pitch) else nan,
        repeated_ngrams=_repeated_share(pitch[played_order(start, pitch)]),
        silence=silent / total,
        longest_silence=int(silences.max()) / STEPS_PER_SECOND,
    )


def played_order(start_step: Int64s, pitch: Int32s) -> Int64s:
    """Orders notes by chord, and within a chord from the lowest up.

    A chord lasts as long as each onset follows the one before within 30 ms. Two performances of
    one piece so give nearly the same order, which that of their exact onsets does not.

    >>> played_order(np.array([0, 2, 50, 54]), np.array([64, 60, 72, 71])).tolist()
    [1, 0, 2, 3]

    Returns:
      The notes' indices, int64[n].
    """
    by_time = np.argsort(start_step, kind="stable")
    chord = np.append(0, np.cumsum(np.diff(start_step[by_time]) > CHORD_STEPS))[: len(by_time)]
    order: Int64s = by_time[np.lexsort((pitch[by_time], chord))]
    return order


def cut(notes: NoteArrays, seconds: float) -> list[NoteArrays]:
    """Cuts a piece into parts of equal length, for statistics that depend on it.

    A note belongs to the part that it starts in and ends with it at the latest. What is left at
    the end is kept if it is at least half as long as the others, or if there are no others. Parts
    may be silent.

    Args:
      notes: not quantised; their `total_time` is the piece's length.
      seconds: of a part.

    Raises:
      PerfRnnError: the notes are quantised, or `seconds` is not above 0.
    """
    parts = [
        part.replace(total_time=min(seconds, notes.total_time - part.start_time_offset))
        for part in split(notes, seconds)
    ]
    if len(parts) > 1 and parts[-1].total_time < seconds / 2:
        parts.pop()
    return parts


def minutes(notes: NoteArrays) -> list[MusicStatistics]:
    """Measures each minute of a piece, to see whether it changes as it goes on.

    A minute that the piece does not half fill does not count.
    """
    count = int(notes.total_time / SECONDS_PER_MINUTE + 0.5)
    return [music_statistics(part) for part in cut(notes, SECONDS_PER_MINUTE)[:count]]


def _silences(start: Int64s, end: Int64s, total: int) -> Int64s:
    """The steps from when all notes so far have ended to the next note, or to the end."""
    order = np.argsort(start, kind="stable")
    silent_from = np.append(0, np.maximum.accumulate(end[order]))
    silences: Int64s = np.maximum(np.append(start[order], total) - silent_from, 0)
    return silences


def _entropy(counts: Int64s) -> float:
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log2(share)).sum()) + 0.0  # Not -0.0.


def _repeated_share(pitch: np.ndarray) -> float:
    if len(pitch) < NGRAM_NOTES:
        return math.nan
    ngrams = np.lib.stride_tricks.sliding_window_view(pitch, NGRAM_NOTES)
    return 1.0 - len(np.unique(ngrams, axis=0)) / len(ngrams)
