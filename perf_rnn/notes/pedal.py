"""Long notes as short ones under a sustain pedal: what a pianist's hands and foot would do."""

import numpy as np
from numpy.typing import NDArray

from bundles.errors import PerfRnnError
from perf_rnn.notes.arrays import Bools, Floats, NoteArrays
from perf_rnn.notes.transforms import SUSTAIN_CONTROL

# A key is held until the next one is struck, and at least for this long.
SHORTEST_HOLD_SECONDS = 0.1
# Notes that strike together are one chord: the next key is one struck later than this.
CHORD_SECONDS = 0.05
# The pedal goes down this long after it was lifted, at the earliest, so that no note of before is
# caught.
LIFTED_SECONDS = 0.05
# The pedal is used where it holds at least this many notes, each for at least this long.
FEWEST_HELD = 2
SHORTEST_HELD_SECONDS = 0.1


def with_pedal(notes: NoteArrays) -> NoteArrays:
    """Returns notes that sound the same, with those that the sustain pedal can hold cut short.

    The pedal can be down between two releases of notes, if nothing in between ends but notes whose
    pitch is struck again. Notes that end with its lift, or with such a stroke, end where the next
    key is struck instead. `apply_sustain` gives back the notes exactly.

    Args:
      notes: in seconds, with the pedal applied, so that each lasts as long as it sounds. Drums are
        left alone, and so are instruments that have a pedal already.

    Raises:
      PerfRnnError: the notes are quantised.
    """
    if notes.is_quantized:
        raise PerfRnnError("cannot find the pedal of quantised notes; do it before quantize")
    end_time = notes.end_time.copy()
    rows: list[tuple[float, int, int, int]] = []  # Time, value, instrument, program.
    has_pedal = set(notes.control_instrument[notes.control_number == SUSTAIN_CONTROL].tolist())
    for instrument in sorted({*notes.instrument[~notes.is_drum].tolist()} - has_pedal):
        here = np.flatnonzero((notes.instrument == instrument) & ~notes.is_drum)
        here = here[np.lexsort((notes.start_time[here], notes.pitch[here]))]
        ends, presses, lifts = _play(
            notes.start_time[here], notes.end_time[here], notes.pitch[here]
        )
        end_time[here] = ends
        program = int(notes.program[here[0]])
        for times, value in ((presses, 127), (lifts, 0)):
            rows += [(time, value, instrument, program) for time in times.tolist()]
    added = np.array(sorted(rows)).reshape(-1, 4)
    count = len(added)
    columns = {
        "time": added[:, 0],
        "number": np.full(count, SUSTAIN_CONTROL),
        "value": added[:, 1],
        "instrument": added[:, 2],
        "program": added[:, 3],
        "is_drum": np.zeros(count),
    }
    return notes.replace(
        end_time=end_time,
        **{
            f"control_{name}": np.append(getattr(notes, f"control_{name}"), column)
            for name, column in columns.items()
        },
    )


def _play(start: Floats, end: Floats, pitch: NDArray[np.int32]) -> tuple[Floats, Floats, Floats]:
    """Returns when the keys of an instrument go up, and when its pedal is pressed and lifted.

    Args:
      start, end, pitch: of its notes, in order of (pitch, start).
    """
    same_pitch = np.append(pitch[1:] == pitch[:-1], False)
    struck_again = np.where(same_pitch, np.append(start[1:], np.inf), np.inf)
    # A stroke under the pedal would end a note of its pitch that still sounds, and remove one that
    # is struck at the same time.
    cut_off = (end > struck_again) | (start == struck_again)
    lifts = np.unique(np.concatenate([end[end != struck_again], struck_again[cut_off]]))
    if not len(lifts):
        return end, lifts, lifts
    # For each note the lift that it ends with or before, and the last one before its end.
    ended_by = np.searchsorted(lifts, end)
    lifted = np.append(-np.inf, lifts)[ended_by]
    strokes = np.append(np.unique(start), np.inf)
    next_stroke = strokes[np.searchsorted(strokes, start + CHORD_SECONDS, side="right")]
    up = np.maximum(np.maximum(next_stroke, start + SHORTEST_HOLD_SECONDS), lifted + LIFTED_SECONDS)
    held: Bools = up <= end - SHORTEST_HELD_SECONDS
    enough = np.bincount(ended_by[held], minlength=len(lifts)) >= FEWEST_HELD
    held &= np.append(enough, False)[ended_by]
    presses = np.full(len(lifts) + 1, np.inf)
    np.minimum.at(presses, ended_by[held], up[held])
    used = np.isfinite(presses[:-1])
    return np.where(held, up, end), presses[:-1][used], lifts[used]
