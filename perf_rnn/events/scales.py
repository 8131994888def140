"""Musical scales by name."""

import re

PITCH_CLASSES = 12

# Semitones above the root. Minor is the natural one, pentatonic the major one.
SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "harmonic_minor": (0, 2, 3, 5, 7, 8, 11),
    "melodic_minor": (0, 2, 3, 5, 7, 9, 11),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "lydian": (0, 2, 4, 6, 7, 9, 11),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "locrian": (0, 1, 3, 5, 6, 8, 10),
    "pentatonic": (0, 2, 4, 7, 9),
    "blues": (0, 3, 5, 6, 7, 10),
    "whole_tone": (0, 2, 4, 6, 8, 10),
    "chromatic": tuple(range(PITCH_CLASSES)),
}
_NOTES = dict(zip("cdefgab", SCALES["major"], strict=True))
_ACCIDENTALS = {"": 0, "#": 1, "sharp": 1, "b": -1, "flat": -1}
_SCALE_NAME = re.compile(r"([a-g])(#|b|[ _-]?sharp|[ _-]?flat)?[ _-]+(.+)")


def scale_histogram(name: str) -> tuple[float, ...]:
    """Returns 1 for each pitch class, from C to B, that is in a scale, and 0 for the others.

    >>> scale_histogram("Bb minor") == scale_histogram("b_flat_minor")
    True

    Args:
      name: a root and one of `SCALES`, as in 'C major', 'c#_minor', 'F# dorian' or 'e_flat_blues'.

    Raises:
      KeyError: there is no such scale.
    """
    found = _SCALE_NAME.fullmatch(name.strip().lower().replace("♯", "#").replace("♭", "b"))
    if not found:
        raise KeyError(name)
    letter, accidental, scale = found.groups(default="")
    root = _NOTES[letter] + _ACCIDENTALS[accidental.strip(" _-")]
    semitones = SCALES[re.sub("[ _-]+", "_", scale)]
    return tuple(
        float((pitch - root) % PITCH_CLASSES in semitones) for pitch in range(PITCH_CLASSES)
    )
