import numpy as np
import pytest

from perf_rnn.generation.logits import RandomNumbers, draw
from perf_rnn.generation.options import SamplingOptions

SHARES = np.array([0.4, 0.05, 0.3, 0.25])
ROWS = 20_000


def shares_drawn(temperature=1.0, **limits):
    """How often each class is drawn when its probability is SHARES."""
    logits = np.tile(np.log(SHARES) + 7.0, (ROWS, 1))
    uniforms = (np.arange(ROWS) + 0.5) / ROWS
    options = SamplingOptions(temperature, **limits)
    drawn = draw(logits, uniforms, np.array([temperature]), options)
    return np.bincount(drawn, minlength=len(SHARES)) / ROWS


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_classes_are_drawn_as_often_as_the_temperature_says(temperature):
    expected = SHARES ** (1 / temperature)
    expected /= expected.sum()
    np.testing.assert_allclose(shares_drawn(temperature), expected, atol=1e-4)


@pytest.mark.parametrize("temperature", [1e-3, 1e-310])
def test_tiny_temperature_takes_the_most_probable(temperature):
    assert shares_drawn(temperature).tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize(
    ("limits", "left"),
    [
        ({"top_k": 1}, [0]),
        ({"top_k": 2}, [0, 2]),
        ({"top_k": 3}, [0, 2, 3]),
        ({"top_k": 100}, [0, 1, 2, 3]),
        ({"top_p": 1e-9}, [0]),
        ({"top_p": 0.39}, [0]),
        ({"top_p": 0.41}, [0, 2]),
        ({"top_p": 0.9}, [0, 2, 3]),
        ({"top_p": 0.96}, [0, 1, 2, 3]),
        ({"top_p": 1.0}, [0, 1, 2, 3]),
        ({"min_p": 0}, [0, 1, 2, 3]),
        ({"min_p": 0.1}, [0, 1, 2, 3]),
        ({"min_p": 0.2}, [0, 2, 3]),
        ({"min_p": 0.7}, [0, 2]),
        ({"min_p": 1.0}, [0]),
        ({"top_k": 3, "min_p": 0.7}, [0, 2]),
        ({"top_k": 3, "top_p": 0.5}, [0, 2]),  # Of the three that are left, 0.4 / 0.95 is too few.
    ],
)
def test_limits_leave_the_most_probable_in_proportion(limits, left):
    expected = np.zeros(len(SHARES))
    expected[left] = SHARES[left] / SHARES[left].sum()
    np.testing.assert_allclose(shares_drawn(**limits), expected, atol=1e-4)


def test_limits_apply_after_the_temperature():
    # At 2 the shares are closer together: 0.35, 0.12, 0.30, 0.28 of 1.05.
    assert (shares_drawn(1.0, min_p=0.3) > 0).tolist() == [True, False, True, True]
    assert (shares_drawn(2.0, min_p=0.3) > 0).tolist() == [True] * 4


def test_what_is_forbidden_is_never_drawn():
    logits = np.array([[-np.inf, 0.0, -np.inf], [5.0, -np.inf, -np.inf], [-np.inf, -np.inf, -9e4]])
    for uniform in (0.0, 0.5, 1 - 2**-53):
        for limits in ({}, {"top_k": 2}, {"top_p": 0.9}, {"min_p": 0.1}):
            options = SamplingOptions(**limits)
            drawn = draw(logits, np.full(3, uniform), np.array([1.0]), options)
            assert drawn.tolist() == [1, 0, 2]


def test_rows_may_have_their_own_temperature():
    logits = np.tile(np.log(SHARES), (2, 1))
    drawn = draw(logits, np.array([0.9, 0.9]), np.array([[1e-3], [1.0]]), SamplingOptions())
    assert drawn.tolist() == [0, 3]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"temperature": 0}, "temperature 0 is not a number above 0"),
        ({"temperature": -1.0}, "temperature -1.0 is not"),
        ({"temperature": float("nan")}, "temperature nan is not"),
        ({"temperature": float("inf")}, "temperature inf is not"),
        ({"temperature": "1"}, "temperature '1' is not"),
        ({"temperature": True}, "temperature True is not"),
        ({"temperature": [1.0, 0.0]}, "temperature 0.0 is not"),
        ({"temperature": []}, "temperature is an empty list"),
        ({"top_k": 0}, "top_k 0 is not a whole number of at least 1"),
        ({"top_k": -1}, "top_k -1 is not"),
        ({"top_k": 2.5}, "top_k 2.5 is not"),
        ({"top_k": True}, "top_k True is not"),
        ({"top_p": 0}, "top_p 0 is not a number above 0 and at most 1"),
        ({"top_p": 2}, "top_p 2 is not"),
        ({"top_p": float("nan")}, "top_p nan is not"),
        ({"min_p": -0.5}, "min_p -0.5 is not a number from 0 to 1"),
        ({"min_p": "x"}, "min_p 'x' is not"),
        ({"pitch_min_p": 1.5}, "pitch_min_p 1.5 is not a number from 0 to 1"),
        ({"legal_events": "yes"}, "legal_events 'yes' is neither True nor False"),
    ],
)
def test_bad_options(values, message):
    with pytest.raises(ValueError, match=message):
        SamplingOptions(**values)


def test_random_numbers_are_those_of_each_rows_generator():
    numbers = RandomNumbers([3, (3, 1)], count=2)
    drawn = np.stack([numbers.next() for _ in range(1100)])
    assert drawn.shape == (1100, 2, 2)
    for row, seed in enumerate([3, (3, 1)]):
        expected = np.random.default_rng(seed).random((1100, 2))
        np.testing.assert_array_equal(drawn[:, row], expected)


def test_random_numbers_go_on_from_a_saved_state(tmp_path):
    numbers = RandomNumbers([3, 4, 5], count=1)
    for _ in range(700):
        numbers.next()
    numbers.keep(np.array([True, False, True]))
    np.savez(tmp_path / "state.npz", **numbers.state())
    expected = [numbers.next().tolist() for _ in range(800)]
    other = RandomNumbers([0], count=1)
    other.restore(np.load(tmp_path / "state.npz", allow_pickle=False))
    assert [other.next().tolist() for _ in range(800)] == expected
