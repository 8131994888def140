"""How far a set of pieces is from a reference set, as one figure over all features.

The Fréchet distance (M. Heusel et al., "GANs trained by a two time-scale update rule converge to a
local Nash equilibrium", 2017) between the normal distributions with the means and covariances of
the two sets' features: here those of `MusicStatistics`, in units of the reference's spread, and the
distance squared, as usual. It grows as a set gets smaller, so it means something only beside what
halves of the reference give at that size.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from bundles.errors import PerfRnnError
from perf_rnn.notes.arrays import Floats

NUM_HALVINGS = 50


@dataclasses.dataclass(frozen=True)
class FrechetComparison:
    """How far a set is from a reference set.

    Attributes:
      frechet: the distance.
      halves_median, halves_95_percent: the noise floor: the median, and what 95 % stay below, of
        the distances between one half of the reference's pieces and as many parts of the other
        half as the set has, the pieces divided at random `NUM_HALVINGS` times.
    """

    frechet: float
    halves_median: float
    halves_95_percent: float


def compare(
    values: Floats, reference: Floats, reference_pieces: Sequence[str]
) -> FrechetComparison:
    """Compares the features of a set's parts with those of a reference set.

    Args:
      values: float64 [parts, features]; parts with a NaN are left out.
      reference: float64 [parts of the reference, features], likewise.
      reference_pieces: the piece of each part of the reference. All parts of a piece are in the
        same half.

    Raises:
      PerfRnnError: a set has no more parts than there are features, or the reference too few
        pieces to halve it, or all its parts have the same value of a feature.
    """
    pieces = np.asarray(reference_pieces)[np.isfinite(reference).all(axis=1)]
    values, reference = (array[np.isfinite(array).all(axis=1)] for array in (values, reference))
    spread = reference.std(axis=0) if len(reference) else np.zeros(0)
    if not (spread > 0).all():
        raise PerfRnnError("all parts of the reference have the same value of a feature")
    values, reference = values / spread, reference / spread
    distance = frechet_distance(values, reference)
    rng = np.random.default_rng(0)
    names = np.unique(pieces)
    distances = []
    for _ in range(NUM_HALVINGS):
        in_first = np.isin(pieces, rng.permutation(names)[: len(names) // 2])
        first, second = reference[in_first], reference[~in_first]
        size = min(len(values), len(first))
        distances.append(frechet_distance(rng.permutation(first)[:size], second))
    return FrechetComparison(
        distance, float(np.median(distances)), float(np.percentile(distances, 95))
    )


def frechet_distance(first: Floats, second: Floats) -> float:
    """Returns the squared Fréchet distance of the normal distributions fitted to two samples.

    Args:
      first, second: float64 [n, features] and [m, features].

    Raises:
      PerfRnnError: a sample has no more numbers than features.
    """
    for sample in (first, second):
        if len(sample) <= sample.shape[1]:
            raise PerfRnnError(
                f"{len(sample)} parts are too few for a distance over {sample.shape[1]} features"
            )
    covariances = [np.cov(sample, rowvar=False) for sample in (first, second)]
    # The trace of the root of the covariances' product is that of a symmetric matrix.
    eigenvalues, vectors = np.linalg.eigh(covariances[0])
    root = vectors * np.sqrt(np.maximum(eigenvalues, 0)) @ vectors.T
    common = np.linalg.eigvalsh(root @ covariances[1] @ root)
    distance = np.square(first.mean(axis=0) - second.mean(axis=0)).sum()
    distance += np.trace(covariances[0]) + np.trace(covariances[1])
    return float(max(distance - 2 * np.sqrt(np.maximum(common, 0)).sum(), 0.0))
