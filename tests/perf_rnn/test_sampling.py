import numpy as np
import pytest

from bundles import Bundle, LstmLayer
from perf_rnn import sampling
from perf_rnn.configs import get_config

CONFIG = get_config("performance")
CODEC = CONFIG.codec
PRIMER = np.array([60, 300, 188], np.int32)  # A note of 45 steps.


def make_bundle(seed=0, scale=0.5):
    rng = np.random.default_rng(seed)

    def weights(*shape):
        return rng.normal(scale=scale, size=shape).astype(np.float32)

    layers = tuple(
        LstmLayer(weights(inputs, 32), weights(8, 32), weights(32), forget_bias=1.0)
        for inputs in (CODEC.num_classes, 8)
    )
    return Bundle("performance", "", "", layers, weights(8, 356), weights(356))


def constant_bundle(log_probabilities):
    """A network that predicts the same whatever it hears."""
    layer = LstmLayer(
        np.zeros((356, 4), np.float32), np.zeros((1, 4), np.float32), np.zeros(4, np.float32), 1.0
    )
    bias = np.full(356, -1e4, np.float32)
    for event, value in log_probabilities.items():
        bias[event] = value
    return Bundle("performance", "", "", (layer,), np.zeros((1, 356), np.float32), bias)


def test_pieces_are_as_long_as_asked_and_begin_with_the_primer():
    pieces = sampling.sample_events(make_bundle(), CODEC, PRIMER, 500, [1, 2, 3])
    for piece in pieces:
        assert CODEC.num_steps(piece) == 500
        assert piece[:3].tolist() == PRIMER.tolist()
    assert len({tuple(piece) for piece in pieces}) == 3


def test_a_piece_depends_on_its_seed_alone():
    bundle = make_bundle()
    together = sampling.sample_events(bundle, CODEC, PRIMER, 800, [5, 6, 7, 8])
    for seed, piece in zip([5, 6, 7, 8], together, strict=True):
        (alone,) = sampling.sample_events(bundle, CODEC, PRIMER, 800, [seed])
        assert alone.tolist() == piece.tolist()


def test_events_come_as_often_as_their_probabilities_say():
    bundle = constant_bundle({60: np.log(0.5), 188: np.log(0.2), 256: np.log(0.3)})
    for temperature in (1.0, 2.0):
        (piece,) = sampling.sample_events(bundle, CODEC, PRIMER, 3000, [0], temperature)
        expected = np.array([0.5, 0.2, 0.3]) ** (1 / temperature)
        drawn = piece[len(PRIMER) :]
        shares = [np.mean(drawn == event) for event in (60, 188, 256)]
        np.testing.assert_allclose(shares, expected / expected.sum(), atol=0.02)


def test_low_temperature_takes_the_most_probable():
    bundle = constant_bundle({60: 0.0, 355: 0.1})
    for temperature in (1e-3, 1e-310):
        (piece,) = sampling.sample_events(bundle, CODEC, PRIMER, 1000, [0], temperature)
        assert set(piece[len(PRIMER) : -1]) == {355}


def test_a_network_without_time_still_ends():
    """Only notes are probable; after 256 of them it must move on."""
    (piece,) = sampling.sample_events(constant_bundle({60: 0.0}), CODEC, PRIMER, 200, [0])
    assert CODEC.num_steps(piece) == 200
    shifts = np.flatnonzero((piece >= 256) & (piece <= 355))
    # The primer's last event comes after its shift.
    assert set(np.diff(shifts)[1:]) == {sampling.MAX_EVENTS_BETWEEN_SHIFTS + 1}


@pytest.mark.parametrize("temperature", [0, -1, float("nan"), float("inf")])
def test_bad_temperature(temperature):
    with pytest.raises(ValueError, match="is not a number above 0"):
        sampling.sample_events(make_bundle(), CODEC, PRIMER, 500, [0], temperature)


def test_bad_primers_and_bundles():
    bundle = make_bundle()
    with pytest.raises(ValueError, match="the primer lasts 45 steps of 10 ms, the piece only 45"):
        sampling.sample_events(bundle, CODEC, PRIMER, 45, [0])
    with pytest.raises(ValueError, match="the primer is empty"):
        sampling.sample_events(bundle, CODEC, PRIMER[:0], 45, [0])
    dynamics = get_config("performance_with_dynamics").codec
    with pytest.raises(ValueError, match="bundle 'performance' has 356 classes, not 388"):
        sampling.sample_events(bundle, dynamics, PRIMER, 500, [0])
