import numpy as np
import pytest

from perf_rnn.configs import get_config
from perf_rnn.events.controls import Conditioning
from perf_rnn.generation.control_schedule import ControlSchedule, spread_index

DENSITY = get_config("density_conditioned_performance_with_dynamics").conditioning
PITCH = get_config("pitch_conditioned_performance_with_dynamics").conditioning
BOTH = get_config("multiconditioned_performance_with_dynamics").conditioning
OPTIONAL = get_config("optional_multiconditioned_performance_with_dynamics").conditioning
C_MAJOR = [1, 0, 1, 0, 1, 1, 0, 1, 0, 1, 0, 1]


@pytest.mark.parametrize("num_steps", [1, 2, 7, 100, 3001])
@pytest.mark.parametrize("counts", [(1, 1, 1), (2, 3, 1), (5, 7, 2), (4, 4, 4)])
def test_every_list_is_spread_evenly(num_steps, counts):
    """At each step it is what each list holds at min(step * count // num_steps, count - 1)."""
    rng = np.random.default_rng(0)
    densities = rng.uniform(0, 40, counts[0]).tolist()
    histograms = rng.uniform(0, 1, (counts[1], 12)).tolist()
    flags = (rng.random(counts[2]) < 0.5).tolist()
    values = {"notes_per_second": densities, "pitch_class_histogram": histograms}
    schedule = ControlSchedule(OPTIONAL, values, num_steps, flags)
    steps = np.arange(num_steps + 50)

    def chosen(items):
        return [items[min(step * len(items) // num_steps, len(items) - 1)] for step in steps]

    parts = [
        signal.encode_request(chosen(each))
        for signal, each in zip(OPTIONAL.signals, (densities, histograms), strict=True)
    ]
    expected = OPTIONAL.join(parts, chosen(flags))
    vectors = schedule(steps)
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, expected)
    assert schedule(steps[:0]).shape == (0, 21)


def test_signals_not_asked_for_have_their_defaults():
    vectors = ControlSchedule(BOTH, {"notes_per_second": 2**1.5})(np.array([0, 10**9]))
    expected = BOTH.encode([[3.0] * 2, [(1.0,) * 12] * 2])
    np.testing.assert_array_equal(vectors, expected)
    (vector,) = ControlSchedule(OPTIONAL)(np.array([5]))
    # Enabled, the class of 15 notes a second as Magenta has it, all pitch classes alike.
    np.testing.assert_allclose(vector, [0, 0, 0, 0, 0, 1, 0, 0, 0] + [1 / 12] * 12)


def test_one_histogram_is_not_a_list_of_values():
    (vector,) = ControlSchedule(PITCH, {"pitch_class_histogram": C_MAJOR})(np.array([0]))
    np.testing.assert_allclose(vector, np.array(C_MAJOR) / 7)
    named = ControlSchedule(PITCH, {"pitch_class_histogram": ["c_major", "d_major"]}, 100)
    np.testing.assert_allclose(named(np.array([49]))[0], np.array(C_MAJOR) / 7)
    np.testing.assert_allclose(named(np.array([50]))[0], np.roll(C_MAJOR, 2) / 7)


def test_disabled_is_a_one_and_zeros():
    schedule = ControlSchedule(OPTIONAL, num_steps=100, disabled=[True, False])
    assert schedule(np.array([0])).tolist() == [[1.0] + [0.0] * 20]
    assert schedule(np.array([99]))[0, 0] == 0


def test_an_unconditioned_model_has_no_controls():
    assert ControlSchedule(Conditioning())(np.arange(4)).shape == (4, 0)


WITH_DENSITY = (
    "density_conditioned_performance_with_dynamics, multiconditioned_performance_with_dynamics, "
    "optional_multiconditioned_performance_with_dynamics"
)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (Conditioning(), {"notes_per_second": 4}),
            f"this model has no notes_per_second; those of these configs have: {WITH_DENSITY}; "
            "a bundle is shipped for config=optional_multiconditioned_performance_with_dynamics$",
        ),
        (
            (PITCH, {"notes_per_second": 4}),
            "this model has no notes_per_second; those of these configs have",
        ),
        (
            (BOTH, {}, None, True),
            "this model has no disable_conditioning; those of these configs have: "
            "optional_multiconditioned_performance_with_dynamics; a bundle is shipped for config",
        ),
        (
            (DENSITY, {"loudness": 4}),
            "there is no control 'loudness'; known: notes_per_second, pitch_class_histogram, "
            "disable_conditioning$",
        ),
        ((DENSITY, {"notes_per_second": -5}), "notes_per_second -5"),
        ((DENSITY, {"notes_per_second": "fast"}), "notes_per_second 'fast'"),
        ((DENSITY, {"notes_per_second": []}), "notes_per_second is an empty list"),
        ((PITCH, {"pitch_class_histogram": [1] * 11}), "is neither 12 numbers of at least 0"),
        ((PITCH, {"pitch_class_histogram": [0] * 12}), "not all of them 0"),
        ((DENSITY, {"notes_per_second": [1, 2]}), "a list of 2 values needs a piece of known"),
        ((DENSITY, {"notes_per_second": [1, 2]}, 0), "num_steps 0 is not above 0"),
        ((OPTIONAL, {}, 100, "no"), "disable_conditioning 'no'"),
        ((OPTIONAL, {}, 100, []), "disable_conditioning"),
    ],
)
def test_bad_requests(arguments, message):
    with pytest.raises(ValueError, match=message):
        ControlSchedule(*arguments)


def test_a_single_value_needs_no_length():
    assert spread_index(np.array([0, 10**12]), 1, None).tolist() == [0, 0]
