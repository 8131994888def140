"""Overlap and divergence of two sets, against scipy and where they are known exactly."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate
from scipy import stats as scipy_stats

from perf_rnn.analysis.feature_overlap import compare, overlap_and_divergence


def with_scipy(first, second):
    """Overlap and divergence by numerical integration of scipy's kernel estimates."""
    p, q = scipy_stats.gaussian_kde(first), scipy_stats.gaussian_kde(second)
    margin = 6 * max(np.std(first), np.std(second))
    low, high = min(*first, *second) - margin, max(*first, *second) + margin
    points = np.linspace(low, high, 40001)
    in_p, in_q = p(points), q(points)
    overlap = integrate.simpson(np.minimum(in_p, in_q), x=points)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(in_p > 1e-200, in_p * np.log(in_p / in_q), 0.0)
    return overlap, integrate.simpson(terms, x=points)


@pytest.mark.parametrize("seed", range(4))
def test_equal_scipy(seed):
    rng = np.random.default_rng(seed)
    first = rng.gamma(2.0, size=150)
    second = rng.gamma(2.0 + seed, size=220) * 1.3
    expected = with_scipy(first, second)
    assert overlap_and_divergence(first, second) == pytest.approx(expected, rel=0.01, abs=0.002)


def test_two_normal_distributions():
    quantiles = scipy_stats.norm.ppf((np.arange(20000) + 0.5) / 20000)
    # Kernels widen them a little: by n^(-1/5) = 0.14 standard deviations.
    deviation = math.sqrt(1 + 20000**-0.4)
    overlap, divergence = overlap_and_divergence(quantiles, quantiles + 1)
    shift = 1 / deviation
    assert overlap == pytest.approx(2 * scipy_stats.norm.cdf(-shift / 2), abs=0.002)
    assert divergence == pytest.approx(shift**2 / 2, rel=0.01)


def test_distances_are_those_within_and_across():
    values, reference = [1.0, 2.0, 4.0, 4.5], [0.0, 3.0, 10.0]
    own = [abs(a - b) for a, b in itertools.combinations(values, 2)]
    theirs = [abs(a - b) for a, b in itertools.combinations(reference, 2)]
    across = [abs(a - b) for a, b in itertools.product(values, reference)]
    found = compare(values, reference)
    assert (found.overlap, found.divergence) == pytest.approx(
        with_scipy(own, across), rel=0.01, abs=0.002
    )
    assert (found.reference_overlap, found.reference_divergence) == pytest.approx(
        with_scipy(theirs, across), rel=0.01, abs=0.002
    )


def test_equal_samples():
    sample = np.random.default_rng(0).normal(size=50)
    assert overlap_and_divergence(sample, sample[::-1]) == pytest.approx((1.0, 0.0))


def test_samples_that_never_meet():
    sample = np.linspace(0, 1, 50)
    overlap, divergence = overlap_and_divergence(sample, sample + 1000)
    assert overlap == pytest.approx(0.0)
    assert 100 < divergence < math.inf


def test_sets_alike_moved_collapsed_and_scattered():
    rng = np.random.default_rng(0)
    human = rng.normal(10, 2, size=300)
    alike = compare(rng.normal(10, 2, size=100), human)
    assert alike.overlap > 0.9
    assert alike.divergence < 0.05
    moved = compare(rng.normal(16, 2, size=100), human)
    assert max(moved.overlap, moved.reference_overlap) < 0.5
    collapsed = compare(rng.normal(10, 0.2, size=100), human)
    assert collapsed.overlap < 0.3
    # Distances to far-flung pieces are like those between them, but not like those between humans.
    scattered = compare(rng.normal(10, 8, size=100), human)
    assert scattered.overlap > 0.8
    assert scattered.reference_overlap < 0.6


finite = st.lists(st.integers(-50, 50), min_size=3, max_size=20).filter(lambda v: len(set(v)) > 1)


@settings(max_examples=20, deadline=None)
@given(finite, finite, st.sampled_from([0.5, 4.0, 1e6]), st.integers(-100, 100))
def test_unit_and_zero_do_not_matter(values, reference, scale, shift):
    values, reference = np.array(values, float), np.array(reference, float)
    before = vars(compare(values, reference))
    after = vars(compare((values + shift) * scale, (reference + shift) * scale))
    assert after == pytest.approx(before, rel=1e-6, abs=1e-6)
    assert 0 <= before["overlap"] <= 1 + 1e-9
    assert 0 <= before["divergence"] < math.inf


@pytest.mark.parametrize(
    ("values", "reference", "message"),
    [
        ([1.0, 2.0], [1.0, 2.0, 3.0], r"the set has 2 piece\(s\), too few"),
        ([1.0, 2.0, 3.0], [], r"the reference has 0 piece\(s\), too few"),
        ([4.0, 4.0, 4.0], [1.0, 2.0, 3.0], "all pieces of the set have the value 4"),
        ([1.0, 2.0, 3.0], [0.5] * 9, "all pieces of the reference have the value 0.5"),
        ([1.0, math.nan, 3.0], [1.0, 2.0, 3.0], "the set has a value that is not finite"),
    ],
)
def test_sets_without_distances(values, reference, message):
    with pytest.raises(ValueError, match=message):
        compare(values, reference)


def test_samples_without_spread():
    with pytest.raises(ValueError, match="no density"):
        overlap_and_divergence(np.ones(5), np.arange(5.0))
