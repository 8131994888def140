"""Measures how a bundle with optional conditioning follows its controls, and how fast.

    python -m benchmarks.steering BUNDLE [--guidance=1,2] [--pieces=20] [--seconds=30] [--presets]

Prints a table with a column for each guidance, and one for pieces with conditioning disabled:
notes a second and the share of notes in a scale, over whole pieces; and the same before and after a
switch in their middle. With --presets, instead, what each preset plays at the first guidance.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np

import bundles
import perf_rnn
from perf_rnn.events.controls import PitchHistogram
from perf_rnn.generation.presets import PRESETS

DENSITIES = (1, 4, 16)
SCALES = ("c_major", "f_sharp_major", "c_whole_tone")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("bundle")
    parser.add_argument("--guidance", default="1")
    parser.add_argument("--pieces", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--presets", action="store_true")
    arguments = parser.parse_args()
    bundle = bundles.read_bundle(arguments.bundle)
    guidances = [float(guidance) for guidance in arguments.guidance.split(",")]
    seconds, middle = arguments.seconds, arguments.seconds / 2

    def play(**options: object) -> list:
        return perf_rnn.generate(bundle, seconds, num_outputs=arguments.pieces, seed=0, **options)

    if arguments.presets:
        print("|preset|asks for|notes a second, in each quarter|in the scale|\n|---|---|---|---|")
        for name, preset in PRESETS.items():
            pieces = play(guidance=guidances[0], **preset)
            quarters = [_rates(pieces, i * seconds / 4, (i + 1) * seconds / 4) for i in range(4)]
            density, scale = preset.values()
            rates = ", ".join(f"{quarter.mean():.1f}" for quarter in quarters)
            print(f"|{name}|{density}, {scale}|{rates}|{_share(pieces, scale, 0, seconds)}|")
        return
    free = play(disable_conditioning=True)

    def row(asked: str, measure: Callable[[list], str], pieces: list[list]) -> None:
        print(f"|{asked}|" + "|".join(map(measure, [free, *pieces])) + "|", flush=True)

    print(f"{arguments.pieces} pieces of {seconds:g} s each, at temperature 1.0\n")
    print("|asked for|disabled|" + "|".join(f"guidance {g:g}" for g in guidances) + "|")
    print("|---" * (2 + len(guidances)) + "|")
    for density in DENSITIES:
        pieces = [play(notes_per_second=density, guidance=guidance) for guidance in guidances]
        row(f"{density} notes/s", lambda p: _density(p, 0, seconds), pieces)
    for scale in SCALES:
        pieces = [play(pitch_class_histogram=scale, guidance=guidance) for guidance in guidances]
        row(scale, lambda p, scale=scale: _share(p, scale, 0, seconds), pieces)

    start = time.monotonic()
    pieces = [play(notes_per_second=[2, 16], guidance=guidance) for guidance in guidances]
    row("2, then 16: last 5 s before", lambda p: _density(p, middle - 5, middle), pieces)
    for begin, end in ((0, 1), (1, 2), (0, 2), (2, 3), (3, 4), (4, 5), (5, 10), (10, middle)):
        row(
            f"{begin:g} to {end:g} s after",
            lambda p, a=begin, b=end: _density(p, middle + a, middle + b),
            pieces,
        )
    asked = ["c_major", "f_sharp_major"]
    pieces = [play(pitch_class_histogram=asked, guidance=guidance) for guidance in guidances]
    row("C, then F sharp major: in C before", lambda p: _share(p, asked[0], 0, middle), pieces)
    for begin, end in ((0, 1), (1, 2), (2, 3), (0, 3), (3, 6), (6, middle)):
        row(
            f"in F sharp, {begin:g} to {end:g} s after",
            lambda p, a=begin, b=end: _share(p, asked[1], middle + a, middle + b),
            pieces,
        )
    print(f"\nThe switches took {time.monotonic() - start:.0f} s.")


def _rates(pieces: list, begin: float, end: float) -> np.ndarray:
    counts = [sum(begin <= note.start_time < end for note in piece.notes) for piece in pieces]
    return np.array(counts) / (end - begin)


def _density(pieces: list, begin: float, end: float) -> str:
    rates = _rates(pieces, begin, end)
    return f"{rates.mean():.1f} ({rates.min():.1f} to {rates.max():.1f})"


def _share(pieces: list, scale: str, begin: float, end: float) -> str:
    """The share of the notes of all pieces that start then."""
    in_scale = np.array(PitchHistogram().validate(scale)) > 0
    notes = [note for piece in pieces for note in piece.notes if begin <= note.start_time < end]
    return f"{np.mean([in_scale[note.pitch % 12] for note in notes]):.1%}"


if __name__ == "__main__":
    main()
