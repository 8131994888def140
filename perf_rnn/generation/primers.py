"""Primers: what a piece begins with, from pitches, a melody, a MIDI file or a NoteSequence.

What was played is handed back as it was played; the network reads it as it sounds.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
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
from perf_rnn.notes.arrays import NoteArrays, as_arrays, concatenate
from perf_rnn.notes.music_files import read_midi_file
from perf_rnn.notes.transforms import SUSTAIN_CONTROL, apply_sustain, delay

# How much the network reads before an infill, if it is not said.
INFILL_SECONDS = 30.0

PRIMER_VELOCITY = 100
CHORD_SECONDS = 0.5
# Melodies are in sixteenth notes at 120 quarter notes a minute.
MELODY_STEP_SECONDS = 0.125
MELODY_HOLD = -2  # Any other negative number, that is -1, ends a note.


@dataclasses.dataclass(frozen=True, eq=False)
class Primer:
    """What a piece begins with: the last or first seconds of a recording, or all of it.

    Attributes:
      notes: what the network reads: as they sound, in seconds from the first one's start.
      recording: what was played until the primer's end, as it was played: not moved, and with the
        pedal as control changes.
      begin: when the primer begins in the recording, in seconds.
      rest: for an infill: what was played after it; None: the continuation is the end.
      rest_begin: when that begins in the recording, in seconds.
    """

    notes: NoteArrays
    recording: NoteArrays
    begin: float
    rest: NoteArrays | None = None
    rest_begin: float = math.inf

    @property
    def end(self) -> float:
        """When the primer ends in the recording, in seconds."""
        return self.begin + self.notes.total_time

    def join(self, continuation: NoteArrays, seconds: float) -> NoteArrays:
        """Returns the recording with a continuation, and what comes after it.

        Args:
          continuation: of one instrument, not quantised.
          seconds: from the primer's begin to the continuation's.
        """
        recording, added = self.recording, delay(continuation, self.begin + seconds)
        instrument = recording.instrument[np.argmin(recording.is_drum)]  # The first but drums.
        names = "instrument", "control_instrument", "bend_instrument"
        same = {name: np.full_like(getattr(added, name), instrument) for name in names}
        joined = concatenate(recording, added.replace(**same))
        # The rest has all tempos of the recording, the part before the primer's end only its own.
        return joined if self.rest is None else concatenate(self.rest, joined)


def from_arguments(
    primer: Any,
    melody: Sequence[int] | str | None,
    max_seconds: float | None,
    primer_from: str = "start",
    infill: Any = None,
) -> Primer | None:
    """Returns the primer that arguments ask for.

    Args:
      primer: as `from_any` takes it.
      melody: in place of a primer, as `from_melody` takes it.
      max_seconds: how much of it is taken, silence before its first note not counted; None: all.
      primer_from: 'start' or 'end': from which end it is taken.
      infill: (begin, end) of a gap in the recording, in seconds; the primer ends where it begins.

    Raises:
      ValueError: both are given, or there is nothing to cut, or as `from_any` and `from_melody`.
      OSError: a file cannot be read.
    """
    if primer is not None and melody is not None:
        raise PerfRnnError("give primer or primer_melody, not both")
    if max_seconds is not None and not (is_number(max_seconds) and max_seconds > 0):
        raise PerfRnnError(f"max_primer_seconds {max_seconds!r} is not a number above 0")
    if primer_from not in ("start", "end"):
        raise PerfRnnError(f"primer_from {primer_from!r} is neither start nor end")
    given = primer if melody is None else from_melody(melody)
    if given is None:
        if max_seconds is not None:
            raise PerfRnnError("max_primer_seconds is given, but no primer")
        if infill is not None:
            raise PerfRnnError("infill is given, but no recording in which it lies, as the primer")
        return None
    if infill is not None:
        return around_gap(given, infill, INFILL_SECONDS if max_seconds is None else max_seconds)
    return from_any(given, math.inf if max_seconds is None else max_seconds, primer_from)


def from_any(primer: Any, max_seconds: float = math.inf, primer_from: str = "start") -> Primer:
    """Returns the primer of NoteArrays, a NoteSequence, a MIDI file's path or a list of pitches.

    Args:
      primer: one of these.
      max_seconds, primer_from: as `from_arguments` takes them.

    Raises:
      ValueError: it is none of these; there is no such file, or it is not MIDI; the sequence is
        quantised by its tempo; there are no notes other than drums; or none starts in the seconds
        that are taken.
      OSError: the file cannot be read.
    """
    recording, name = _read(primer)
    notes = playable(recording, name)
    total_time = notes.total_time
    if primer_from == "end":
        notes = notes.take_notes(notes.start_time >= total_time - max_seconds)
        if not notes.num_notes:
            raise PerfRnnError(
                f"{name}: no note starts in its last {max_seconds:g} s; take more of it "
                f"(max_primer_seconds={math.ceil(2 * max_seconds)})"
            )
    begin = float(notes.start_time.min())
    notes = delay(notes.take(control_changes=slice(0), pitch_bends=slice(0)), -begin)
    recording = _until(recording, min(begin + max_seconds, total_time))
    return Primer(cut(notes, max_seconds), recording, begin)


def around_gap(primer: Any, gap: Any, max_seconds: float) -> Primer:
    """Returns the primer that ends where a gap of a recording begins, with the rest after the gap.

    Args:
      primer: as `from_any` takes it.
      gap: (begin, end) in seconds of the recording, or the text of a list of them.
      max_seconds: the primer's length, at most.

    Raises:
      ValueError: the gap is no such pair, nothing is played before or after it, or as `from_any`.
      OSError: the file cannot be read.
    """
    recording, name = _read(primer)
    with contextlib.suppress(ValueError):
        gap = parse_literal(gap) if isinstance(gap, str) else gap
    is_pair = isinstance(gap, list | tuple) and len(gap) == 2 and all(map(is_number, gap))
    if not is_pair or not 0 < gap[0] < gap[1] < math.inf:
        raise PerfRnnError(
            f"infill {gap!r} is not a begin above 0 and an end after it in seconds, such as [40,48]"
        )
    begin, end = map(float, gap)
    rest = recording.take(
        notes=recording.start_time >= end,
        control_changes=recording.control_time > end,
        pitch_bends=recording.bend_time > end,
    )
    earlier = _until(recording, begin)
    if earlier.is_drum.all():
        raise PerfRnnError(f"{name}: no note starts before {begin:g} s, where the infill begins")
    if rest.is_drum.all():
        raise PerfRnnError(
            f"{name}: no note starts after {end:g} s, where the infill ends; it has to lead into "
            "something"
        )
    before = from_any(earlier, max_seconds, "end")
    rest = concatenate(rest, _pedal_at(recording, end))
    return dataclasses.replace(before, rest=rest, rest_begin=end)


def _read(primer: Any) -> tuple[NoteArrays, str]:
    """Returns the recording that is given, and what messages call it."""
    name = "the primer"
    if isinstance(primer, str | os.PathLike):
        if not os.path.exists(primer):
            raise PerfRnnError(f"{primer}: there is no such file; a primer is a MIDI file")
        if os.path.isdir(primer):
            raise PerfRnnError(f"{primer}: is a directory; a primer is one MIDI file")
        recording, name = read_midi_file(primer), str(primer)
    elif isinstance(primer, list | tuple | np.ndarray):
        recording = from_pitches(primer, "primer")
    elif isinstance(primer, NoteArrays) or hasattr(primer, "quantization_info"):
        recording = as_arrays(primer)
    else:
        raise PerfRnnError(
            f"a {type(primer).__name__} is no primer; give a NoteSequence, NoteArrays, the path of "
            "a MIDI file or a list of pitches"
        )
    # A piece made of it is not what it was read from.
    changed: dict[str, Any] = dict.fromkeys(("id", "filename", "collection_name"), "")
    changed |= {"reference_number": 0, "source_info": (0, 0, 0)}
    # A NoteSequence may say nothing of its length.
    changed["total_time"] = max(recording.total_time, float(recording.end_time.max(initial=0.0)))
    return recording.unquantized().replace(**changed), name


def _until(recording: NoteArrays, end: float) -> NoteArrays:
    """Returns what was played before `end`; what sounds on, also by the pedal, ends there."""
    kept = recording.take(
        notes=recording.start_time < end,
        control_changes=recording.control_time <= end,
        pitch_bends=recording.bend_time <= end,
        tempos=recording.tempo_time <= end,
        time_signatures=recording.time_signature_time <= end,
        key_signatures=recording.key_signature_time <= end,
    )
    kept = kept.replace(end_time=np.minimum(kept.end_time, end), total_time=end)
    pedal = _pedal_at(kept, end)
    return concatenate(kept, pedal.replace(control_value=np.zeros_like(pedal.control_value)))


def _pedal_at(recording: NoteArrays, time: float) -> NoteArrays:
    """Returns how far down the pedals are at a time, as control changes at that time."""
    is_before = recording.control_time <= time
    pedal = np.flatnonzero((recording.control_number == SUSTAIN_CONTROL) & is_before)
    pedal = pedal[np.argsort(recording.control_time[pedal], kind="stable")][::-1]
    last = pedal[np.unique(recording.control_instrument[pedal], return_index=True)[1]]
    down = last[recording.control_value[last] > 0]
    found = recording.take(notes=slice(0), control_changes=down, pitch_bends=slice(0))
    return found.replace(control_time=np.full_like(found.control_time, time))


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
