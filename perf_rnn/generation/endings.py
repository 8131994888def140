"""Endings: where a piece stops, so that no chord is cut off."""

import numpy as np

from bundles.errors import PerfRnnError
from perf_rnn.events.codec import STEPS_PER_SECOND
from perf_rnn.generation.pieces import MAX_NOTE_SECONDS
from perf_rnn.notes.arrays import NoteArrays

# How many seconds after the length that was asked for a piece ends with a rest, at the latest.
SEARCH_SECONDS = 10.0

# Of each ending, the steps that the network plays on, in which it releases what sounds.
MORE_STEPS = {
    "cut": 0,
    "release": round(MAX_NOTE_SECONDS * STEPS_PER_SECOND),
    "rest": round((SEARCH_SECONDS + MAX_NOTE_SECONDS) * STEPS_PER_SECOND),
}


def check(ending: str) -> None:
    """Raises PerfRnnError if there is no such ending."""
    if ending not in MORE_STEPS:
        raise PerfRnnError(f"ending {ending!r} is not one of {', '.join(MORE_STEPS)}")


def end(notes: NoteArrays, seconds: float, ending: str) -> NoteArrays:
    """Returns a piece that was played on for `MORE_STEPS` with its ending.

    'cut' leaves it as it is. 'release' strikes no note from `seconds` on, and lets those that sound
    end by themselves. 'rest' does so at the longest pause between two strokes within
    `SEARCH_SECONDS` after `seconds`.

    >>> notes = NoteArrays(start_time=[0.0, 0.9, 1.5, 3.5, 4.0], end_time=[1.4, 1.2, 2.0, 4.0, 4.5],
    ...                    pitch=[60, 62, 64, 65, 67], velocity=[80] * 5)
    >>> end(notes, 1.0, "release").end_time, end(notes, 1.0, "rest").end_time
    (array([1.4, 1.2]), array([1.4, 1.2, 2. ]))

    Args:
      notes: in seconds.
      seconds: the length that was asked for.
      ending: one of `MORE_STEPS`.
    """
    if ending == "cut":
        return notes
    until = seconds
    if ending == "rest":
        strokes = np.unique(notes.start_time)
        later = np.flatnonzero((strokes >= seconds) & (strokes <= seconds + SEARCH_SECONDS))
        before = np.append(-np.inf, strokes)[later]
        if len(later):
            until = float(strokes[later[np.argmax(strokes[later] - np.maximum(before, 0.0))]])
    kept = notes.take_notes(notes.start_time < until)
    return kept.replace(total_time=max(seconds, float(kept.end_time.max(initial=0.0))))
