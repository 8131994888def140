"""How alike two sets of pieces are in a feature such as note density: overlap and KL divergence.

The method is that of L.-C. Yang and A. Lerch, "On the evaluation of generative models in music",
Neural Computing and Applications 32 (2020): not the values themselves are compared but the
distances between them, those between the pieces of one set (intra-set) with those between the
pieces of one set and the pieces of the other (inter-set), each as a density that Gaussian kernels
make of them. Two sets from one distribution give an overlap near 1 and a divergence near 0.

Unlike the authors' program mgeval, a distance between two pieces counts once, both densities are
taken at the same points, and the tails beyond the outermost distances count: so equal densities
give exactly 1 and 0.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike

from bundles.errors import PerfRnnError
from perf_rnn.notes.arrays import Floats

GRID_POINTS = 4096
# Kernels are cut off after so many bandwidths; that leaves out 6e-5 of their area.
TAIL_BANDWIDTHS = 4.0


@dataclasses.dataclass(frozen=True)
class FeatureOverlap:
    """How alike a set is to a reference set in one feature.

    Attributes:
      overlap: area that the densities of the set's own distances and of those to the reference
        have in common: 1 for equal densities, 0 for densities that never meet. It is low for a set
        that lies elsewhere than the reference or is less varied.
      divergence: Kullback-Leibler divergence of the first density from the second, in nats.
      reference_overlap, reference_divergence: the same with the reference's own distances in place
        of the set's. The overlap is low for a set that lies elsewhere or is more varied.
    """

    overlap: float
    divergence: float
    reference_overlap: float
    reference_divergence: float


def compare(values: ArrayLike, reference: ArrayLike) -> FeatureOverlap:
    """Compares a feature's values in the pieces of a set with those of a reference set.

    Args:
      values: one number per piece.
      reference: likewise; there may be more of them or fewer.

    Raises:
      PerfRnnError: a set has fewer than three pieces, its pieces all have the same value, or a
        value is not finite.
    """
    own = _checked(values, "the set")
    others = _checked(reference, "the reference")
    between_own = _intra_set_distances(own)
    between_others = _intra_set_distances(others)
    across = np.abs(own[:, np.newaxis] - others).ravel()
    overlap, divergence = overlap_and_divergence(between_own, across)
    return FeatureOverlap(overlap, divergence, *overlap_and_divergence(between_others, across))


def overlap_and_divergence(first: Floats, second: Floats) -> tuple[float, float]:
    """Compares the densities of two samples.

    The densities are Gaussian kernel estimates with Scott's bandwidth: the sample's standard
    deviation times n^(-1/5).

    Args:
      first, second: float64[n] and float64[m].

    Returns:
      The area they have in common, and the Kullback-Leibler divergence of `first` from `second`
      in nats; a density of `second` below the smallest float counts as that, so it is finite.

    Raises:
      PerfRnnError: the numbers of a sample are all the same, which leaves no bandwidth.
    """
    bandwidths = [_bandwidth(sample) for sample in (first, second)]
    tail = TAIL_BANDWIDTHS * max(bandwidths)
    low = min(first.min(), second.min()) - tail
    high = max(first.max(), second.max()) + tail
    p, q = (
        _density(sample, bandwidth, low, high)
        for sample, bandwidth in zip((first, second), bandwidths, strict=True)
    )
    where = p > 0
    q_there = np.maximum(q[where], np.finfo(np.float64).tiny)
    divergence = float((p[where] * np.log(p[where] / q_there)).sum())
    # Rounding could take a divergence of 0 below it.
    return float(np.minimum(p, q).sum()), max(divergence, 0.0)


def _checked(values: ArrayLike, name: str) -> Floats:
    array = np.asarray(values, np.float64)
    if not np.isfinite(array).all():
        raise PerfRnnError(f"{name} has a value that is not finite")
    if len(array) < 3:
        raise PerfRnnError(f"{name} has {len(array)} piece(s), too few for a density of distances")
    if np.ptp(array) == 0:
        raise PerfRnnError(f"all pieces of {name} have the value {array[0]:g}")
    return array


def _intra_set_distances(values: Floats) -> Floats:
    """The distance of every two pieces, float64[n (n - 1) / 2]."""
    ordered = np.sort(values)
    return np.concatenate([ordered[i + 1 :] - ordered[i] for i in range(len(ordered))])


def _bandwidth(sample: Floats) -> float:
    bandwidth = float(sample.std(ddof=1)) * len(sample) ** -0.2 if len(sample) > 1 else 0.0
    if not bandwidth > 0:
        raise PerfRnnError("the numbers are all the same, or there is only one: no density")
    return bandwidth


def _density(sample: Floats, bandwidth: float, low: float, high: float) -> Floats:
    """The kernel estimate at GRID_POINTS points from `low` to `high`, scaled to a sum of 1.

    Each number is divided between the two points beside it, so that one convolution adds up the
    kernels of however many numbers.
    """
    step = (high - low) / (GRID_POINTS - 1)
    place = (sample - low) / step
    left = np.minimum(place.astype(np.int64), GRID_POINTS - 2)
    right_share = place - left
    weights = np.bincount(left, 1 - right_share, GRID_POINTS)
    weights += np.bincount(left + 1, right_share, GRID_POINTS)
    offset = np.arange(1 - GRID_POINTS, GRID_POINTS) * step / bandwidth
    density: Floats = np.convolve(weights, np.exp(-0.5 * offset**2), "valid")
    density /= density.sum()
    return density
