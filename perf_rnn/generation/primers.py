"""Primers: what a piece begins with, from pitches, a melody, a MIDI file or a NoteSequence."""

from __future__ import annotations

import numbers
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import logging
from numpy.typing import NDArray

from bundles.errors import PerfRnnError
from perf_rnn.generation.options import is_number
from perf_rnn.literals import parse_literal
from perf_rnn.notes.arrays import NoteArrays, from_note_sequence
from perf_rnn.notes.music_files import read_midi_file
from perf_rnn.notes.transforms import apply_sustain

PRIMER_VELOCITY = 100
CHORD_SECONDS = 0.5
# Melodies are in sixteenth notes at 120 quarter notes a minute.
MELODY_STEP_SECONDS = 0.125
MELODY_HOLD = -2  # Any other negative number, that is -1, ends a note.


def from_arguments(
    primer: Any, melody: Sequence[int] | str | None, max_seconds: float | None
) -> NoteArrays | None:
    """Returns the notes of the primer that arguments named primer and primer_melody ask for.

    Args:
      primer: as `from_any` takes it.
      melody: as `from_melody` takes it.
      max_seconds: how much of the beginning is taken; None: all.

    Raises:
      ValueError: both are given, or there is nothing to cut, or as `from_any` and `from_melody`.
      OSError: a file cannot be read.
    """
    if primer is not None and melody is not None:
        raise PerfRnnError("give primer or primer_melody, not both")
    notes = from_any(primer) if melody is None else from_melody(melody)
    if max_seconds is None:
        return notes
    if not (is_number(max_seconds) and max_seconds > 0):
        raise PerfRnnError(f"max_primer_seconds {max_seconds!r} is not a number above 0")
    if notes is None:
        raise PerfRnnError("max_primer_seconds is given, but no primer")
    return cut(notes, max_seconds)


def from_any(primer: Any) -> NoteArrays | None:
    """Returns the notes of a NoteSequence, of a MIDI file's path or of a list of pitches.

    They are as they sound, see `playable`. NoteArrays, and None, are returned as they are.

    Raises:
      ValueError: it is none of these; the path is a directory; the file is not MIDI; the sequence
        is quantised by its tempo; or there are no notes other than drums.
      OSError: the file cannot be read.
    """
    if primer is None or isinstance(primer, NoteArrays):
        return primer
    if isinstance(primer, str | os.PathLike):
        if os.path.isdir(primer):
            raise PerfRnnError(f"{primer}: is a directory; a primer is one MIDI file")
        return playable(read_midi_file(primer), str(primer))
    if isinstance(primer, list | tuple | np.ndarray):
        return from_pitches(primer, "primer")
    if hasattr(primer, "quantization_info"):
        return playable(from_note_sequence(primer), "the primer")
    raise PerfRnnError(
        f"a {type(primer).__name__} is no primer; give a NoteSequence, NoteArrays, the path of a "
        "MIDI file or a list of pitches"
    )


def from_pitches(
    pitches: str | Sequence[int] | NDArray[Any], name: str = "primer_pitches"
) -> NoteArrays:
    """Returns the chord of a list of MIDI pitches, or of its text '[60, 64, 67]', half a second.

    Args:
      pitches: from 0 to 127.
      name: of the argument, for messages.

    Raises:
      ValueError: it is no such list.
    """
    pitches = _parse_integers(name, pitches, 0, "[60,64,67]")
    starts = np.zeros(len(pitches))
    return _notes(pitches, starts, starts + CHORD_SECONDS)


def from_melody(melody: str | Sequence[int]) -> NoteArrays:
    """Returns the melody of a list in sixteenths, [60, -2, 62, -1], or of its text.

    A pitch from 0 to 127 strikes a note and ends the one before, -1 ends it, -2 holds it.

    Raises:
      ValueError: it is no such list, or holds no note.
    """
    events = _parse_integers("primer_melody", melody, MELODY_HOLD, "[60,-2,62,-1]")
    changes = [place for place, event in enumerate(events) if event != MELODY_HOLD]
    ends = [*changes, len(events)][1:]
    notes = [(events[a], a, b) for a, b in zip(changes, ends, strict=True) if events[a] >= 0]
    if not notes:
        raise PerfRnnError(f"primer_melody {melody!r} holds no note")
    pitches, starts, stops = zip(*notes, strict=True)
    step = MELODY_STEP_SECONDS
    notes_of_melody = _notes(pitches, np.array(starts) * step, np.array(stops) * step)
    return notes_of_melody.replace(total_time=len(events) * step)


def playable(notes: NoteArrays, name: str) -> NoteArrays:
    """Returns notes as a piano plays them: with the pedal applied, drums left out, not quantised.

    Args:
      notes: of a performance.
      name: what messages call it.

    Raises:
      ValueError: there is no note other than drums.
    """
    notes = apply_sustain(notes.unquantized())
    melodic = notes.take_notes(~notes.is_drum)
    if not melodic.num_notes:
        raise PerfRnnError(f"{name}: has no notes{' but drums' if notes.num_notes else ''}")
    if melodic.num_notes < notes.num_notes:
        dropped = notes.num_notes - melodic.num_notes
        logging.warning("%s: %d drum notes are left out of the primer.", name, dropped)
    programs = np.unique(melodic.program)
    if len(programs) > 1:
        logging.warning("%s: %d programs are played by one piano.", name, len(programs))
    return melodic


def program_of(notes: NoteArrays) -> int:
    """Returns the MIDI program of notes; 0, a piano, where there are several."""
    programs = np.unique(notes.program)
    return int(programs[0]) if len(programs) == 1 else 0


def cut(notes: NoteArrays, seconds: float) -> NoteArrays:
    """Returns the notes that start before `seconds`, ended there at the latest.

    Raises:
      ValueError: there are notes, but none starts so early.
    """
    kept = notes.take_notes(notes.start_time < seconds)
    if notes.num_notes and not kept.num_notes:
        raise PerfRnnError(f"no note of the primer starts in its first {seconds:g} s")
    return kept.replace(
        end_time=np.minimum(kept.end_time, seconds),
        total_time=min(kept.total_time, seconds),
    )


def _notes(
    pitches: Sequence[int], starts: NDArray[np.float64], ends: NDArray[np.float64]
) -> NoteArrays:
    return NoteArrays(
        start_time=starts,
        end_time=ends,
        pitch=np.array(pitches, np.int32),
        velocity=np.full(len(pitches), PRIMER_VELOCITY, np.int32),
        total_time=float(max(ends)),
    )


def _parse_integers(name: str, given: Any, lowest: int, example: str) -> list[int]:
    try:
        values = parse_literal(given) if isinstance(given, str) else given
    except ValueError:
        values = None
    if isinstance(values, np.ndarray) and values.ndim == 1:
        values = list(values)
    if (
        not isinstance(values, list | tuple)
        or not values
        or not all(isinstance(v, numbers.Integral) and not isinstance(v, bool) for v in values)
    ):
        raise PerfRnnError(f"{name} {given!r} is not a list of integers such as {example}")
    for value in values:
        if not lowest <= value <= 127:
            raise PerfRnnError(f"{name}: {value} is outside {lowest} to 127")
    return list(map(int, values))
