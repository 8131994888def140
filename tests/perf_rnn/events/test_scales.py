import numpy as np
import pytest

from perf_rnn.events.scales import SCALES, scale_histogram


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("c_major", {0, 2, 4, 5, 7, 9, 11}),
        ("f_sharp_major", {6, 8, 10, 11, 1, 3, 5}),
        ("e_flat_minor", {3, 5, 6, 8, 10, 11, 1}),
        ("a_harmonic_minor", {9, 11, 0, 2, 4, 5, 8}),
        ("g_pentatonic", {7, 9, 11, 2, 4}),
        ("b_flat_blues", {10, 1, 3, 4, 5, 8}),
        ("c_whole_tone", {0, 2, 4, 6, 8, 10}),
        ("c_flat_whole_tone", {11, 1, 3, 5, 7, 9}),
        ("e_sharp_major", {5, 7, 9, 10, 0, 2, 4}),
        ("D_Chromatic", set(range(12))),
        ("C major", {0, 2, 4, 5, 7, 9, 11}),
        ("c#_minor", {1, 3, 4, 6, 8, 9, 11}),
        ("Bb minor", {10, 0, 1, 3, 5, 6, 8}),
        ("B blues", {11, 2, 4, 5, 6, 9}),
        ("bb blues", {10, 1, 3, 4, 5, 8}),
        ("F# dorian", {6, 8, 9, 11, 1, 3, 4}),
        ("F♯ Harmonic Minor", {6, 8, 9, 11, 1, 2, 5}),
        ("E-flat whole-tone", {3, 5, 7, 9, 11, 1}),
        ("a locrian", {9, 10, 0, 2, 3, 5, 7}),
    ],
)
def test_scales(name, classes):
    assert scale_histogram(name) == tuple(float(place in classes) for place in range(12))


def test_every_root_has_every_scale():
    for scale in SCALES:
        for letter, natural in zip("cdefgab", SCALES["major"], strict=True):
            for root, up in ((letter, 0), (f"{letter}_sharp", 1), (f"{letter}_flat", -1)):
                expected = np.roll(scale_histogram(f"c_{scale}"), natural + up).tolist()
                assert list(scale_histogram(f"{root}_{scale}")) == expected
