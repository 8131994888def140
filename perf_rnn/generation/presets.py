"""Presets: moods as values of control signals, for models that have density and pitch histograms.

They are arguments of `generate`: `perf_rnn.generate(config, **PRESETS["stormy"])`. A list is spread
over the piece.
"""

from collections.abc import Mapping
from typing import Any

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "sparse": {"notes_per_second": 1.5, "pitch_class_histogram": "E minor"},
    "calm": {"notes_per_second": 3, "pitch_class_histogram": "F major"},
    "dreamy": {"notes_per_second": [4, 6, 4], "pitch_class_histogram": "Db lydian"},
    "dark": {"notes_per_second": [3, 6], "pitch_class_histogram": "C minor"},
    "bright": {"notes_per_second": 8, "pitch_class_histogram": "D major"},
    "lively": {"notes_per_second": 13, "pitch_class_histogram": "G major"},
    "stormy": {"notes_per_second": [16, 24, 20], "pitch_class_histogram": "D harmonic_minor"},
    "waves": {"notes_per_second": [4, 14, 4, 14], "pitch_class_histogram": "A minor"},
    "building": {"notes_per_second": [2, 4, 8, 16], "pitch_class_histogram": "C minor"},
    "fading": {"notes_per_second": [16, 8, 4, 2], "pitch_class_histogram": "Eb major"},
}
