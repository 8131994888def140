"""Measures how a conditioned bundle follows its controls: what was asked for against what came.

    python -m benchmarks.steering BUNDLE [--pieces=20] [--seconds=30]

Prints, for each requested density, the notes per second of the pieces, and for each requested
scale the share of their notes that are in it. What an unconditioned model would do stands beside
both: the same model with conditioning disabled, or with `--unconditioned=BUNDLE` that one.
"""

import argparse

import numpy as np

import bundles
import perf_rnn
from perf_rnn.events.controls import PitchHistogram

DENSITIES = (1, 4, 16)
SCALES = ("c_major", "f_sharp_major", "c_whole_tone")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("bundle")
    parser.add_argument("--unconditioned")
    parser.add_argument("--pieces", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=30)
    arguments = parser.parse_args()
    conditioned = bundles.read_bundle(arguments.bundle)

    def play(bundle: bundles.Bundle = conditioned, **controls: object) -> list:
        return perf_rnn.generate(
            bundle, arguments.seconds, num_outputs=arguments.pieces, seed=0, **controls
        )

    free = (
        play(bundles.read_bundle(arguments.unconditioned))
        if arguments.unconditioned
        else play(disable_conditioning=True)
    )
    print(f"{arguments.pieces} pieces of {arguments.seconds:g} s each, at temperature 1.0\n")
    print("|asked for (notes/s)|mean|standard deviation|lowest|highest|\n|---|---|---|---|---|")
    for density in (None, *DENSITIES):
        pieces = free if density is None else play(notes_per_second=density)
        rates = [len(piece.notes) / arguments.seconds for piece in pieces]
        figures = (np.mean(rates), np.std(rates), min(rates), max(rates))
        print(f"|{density or 'unconditioned'}|" + "|".join(f"{x:.1f}" for x in figures) + "|")
    print("\n|asked for|share of notes in it|unconditioned|lowest|highest|\n|---|---|---|---|---|")
    for scale in SCALES:
        pieces = play(pitch_class_histogram=scale)
        shares, free_shares = ([_share(piece, scale) for piece in p] for p in (pieces, free))
        figures = (np.mean(shares), np.mean(free_shares), min(shares), max(shares))
        print(f"|{scale}|" + "|".join(f"{x:.1%}" for x in figures) + "|")


def _share(piece: object, scale: str) -> float:
    in_scale = np.array(PitchHistogram().validate(scale)) > 0
    return float(np.mean([in_scale[note.pitch % 12] for note in piece.notes]))


if __name__ == "__main__":
    main()
