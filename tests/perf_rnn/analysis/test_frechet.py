"""The Fréchet distance, against scipy and where it is known exactly."""

import numpy as np
import pytest
from scipy import linalg

from bundles.errors import PerfRnnError
from perf_rnn.analysis.frechet import compare, frechet_distance


@pytest.mark.parametrize("seed", range(3))
def test_equals_scipy(seed):
    rng = np.random.default_rng(seed)
    first = rng.normal(size=(40, 5)) @ rng.normal(size=(5, 5))
    second = rng.gamma(2.0, size=(70, 5)) @ rng.normal(size=(5, 5))
    a, b = np.cov(first.T), np.cov(second.T)
    means = np.square(first.mean(axis=0) - second.mean(axis=0)).sum()
    expected = means + np.trace(a + b - 2 * linalg.sqrtm(a @ b).real)
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-6)


def test_known_distances():
    rng = np.random.default_rng(0)
    sample = rng.normal(size=(50, 3))
    assert frechet_distance(sample, sample) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(sample, sample + np.array([3, 0, 4])) == pytest.approx(25)
    # The spreads are 1 and 3 times as large in each feature.
    tripled = sample.mean(axis=0) + 3 * (sample - sample.mean(axis=0))
    expected = 4 * np.trace(np.cov(sample.T))
    assert frechet_distance(sample, tripled) == pytest.approx(expected)


def test_a_set_like_the_reference_is_at_its_noise_floor():
    rng = np.random.default_rng(0)
    scales = np.array([1, 100, 0.01])
    reference, like, unlike = rng.normal(size=(3, 200, 3)) * scales
    unlike[:, 1] += 100  # A spread.
    like[0, 0] = reference[0, 1] = np.nan
    pieces = [str(number // 5) for number in range(200)]
    found = compare(like[:60], reference, pieces)
    assert 0.5 * found.halves_median < found.frechet < found.halves_95_percent
    other = compare(unlike[:60], reference, pieces)
    assert other.frechet > 0.8 > other.halves_95_percent
    # Fewer parts raise the floor.
    assert compare(like[:15], reference, pieces).halves_median > 2 * found.halves_median


def test_what_cannot_be_compared():
    sample = np.random.default_rng(0).normal(size=(20, 3))
    with pytest.raises(PerfRnnError, match="3 parts are too few for a distance over 3 features"):
        compare(sample[:3], sample, ["a"] * 10 + ["b"] * 10)
    with pytest.raises(PerfRnnError, match="the same value of a feature"):
        compare(sample, sample * [1, 0, 1], ["a"] * 10 + ["b"] * 10)
    with pytest.raises(PerfRnnError, match="0 parts are too few"):
        compare(sample, sample, ["a"] * 20)
