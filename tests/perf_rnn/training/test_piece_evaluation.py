"""Evaluation of whole performances, against the same figures taken event by event."""

import pathlib

import numpy as np
import pytest

from bundles import read_bundle
from perf_rnn.configs import default_configs, get_config
from perf_rnn.data.whole_pieces import WholePiece
from perf_rnn.generation.cpu.step_network import StepNetwork
from perf_rnn.generation.sampler import log_likelihood
from perf_rnn.models import Model
from perf_rnn.network.network import network_from_model
from perf_rnn.training.piece_evaluation import (
    POSITIONS,
    PieceSums,
    bootstrap_intervals,
    figures,
    measure_pieces,
)

MAGENTA = pathlib.Path(__file__).parents[2] / "testdata" / "magenta_bundles"
OPTIONAL = "optional_multiconditioned_performance_with_dynamics"
NOTES = "performance_with_dynamics_and_note_encoding"
LENGTHS = (40, 2, 65, 23)


def make_pieces(config, lengths=LENGTHS):
    """Random events; about 0.4 s each, so that the pieces reach some positions and not others."""
    rng = np.random.default_rng(3)
    heads = config.encoding.head_sizes
    sizes = np.minimum(heads, (1, 99, 128, 32, 25, 40)) if len(heads) > 1 else heads
    return [
        WholePiece(
            f"piece {number}",
            rng.integers(sizes, size=(length, len(heads)))
            .reshape(length, *config.encoding.event_shape)
            .astype(np.int32),
        )
        for number, length in enumerate(lengths)
    ]


def predictions_one_by_one(bundle, config, piece, disabled=False):
    """Of each head of each event but the first: (seconds, label, head, NLL, whether right)."""
    controls = config.conditioning.extract(piece.events, config.codec, disabled)
    network = StepNetwork(Model(bundle, config), 1)
    ends = np.cumsum(config.encoding.head_sizes)
    found, steps = [], 0
    for at, event in enumerate(piece.events[:-1]):
        steps += int(config.codec.event_steps(event))
        logits = network.step(event[np.newaxis], controls[at + 1 : at + 2])[0].astype(np.float64)
        labels = np.atleast_1d(piece.events[at + 1])
        for head, part in enumerate(np.split(logits, ends[:-1])):
            nll = np.log(np.exp(part).sum()) - part[labels[head]]
            found.append((steps / 100, labels[head], head, nll, part.argmax() == labels[head]))
    return found


@pytest.mark.parametrize("key", default_configs)
def test_equals_one_by_one(key):
    config, bundle = get_config(key), read_bundle(MAGENTA / f"{key}.mag")
    pieces = make_pieces(config)
    network = network_from_model(Model(bundle, config))
    for disabled in (False, True) if config.conditioning.optional else (False,):
        sums = measure_pieces(network, config, pieces, disabled=disabled, batch_size=3, window=7)
        result = figures(sums)
        everything = []
        for piece, shown in zip(pieces, result["pieces"], strict=True):
            expected = predictions_one_by_one(bundle, config, piece, disabled)
            everything += expected
            assert shown["name"] == piece.name
            assert shown["events"] == len(piece.events) - 1
            nll = sum(one[3] for one in expected)
            assert shown["nll"] == pytest.approx(nll / shown["events"], abs=1e-4)
            assert shown["accuracy"] == pytest.approx(np.mean([one[4] for one in expected]))
            seconds = config.codec.num_steps(piece.events) / 100
            assert shown["seconds"] == seconds
            if seconds:
                assert shown["nll_per_second"] == pytest.approx(nll / seconds, rel=1e-5)
        heads = len(config.encoding.head_sizes)
        for number, figure in enumerate(result["positions"].values()):
            start, end = (*POSITIONS, np.inf)[number : number + 2]
            here = [one for one in everything if start <= one[0] < end]
            assert figure["events"] == len(here) / heads
            if here:
                nll = sum(one[3] for one in here) * heads / len(here)
                assert figure["nll"] == pytest.approx(nll, abs=1e-4)
        for number, (name, figure) in enumerate(result["kinds"].items()):
            here = [one for one in everything if kind_of(config, one) == (number, name)]
            assert figure["events"] == len(here)
            assert figure["nll"] == pytest.approx(np.mean([one[3] for one in here]), abs=1e-4)
            assert figure["accuracy"] == pytest.approx(np.mean([one[4] for one in here]))


def kind_of(config, prediction):
    _, label, head, _, _ = prediction
    if config.key == NOTES:
        heads = "shift_coarse shift_fine pitch velocity duration_coarse duration_fine"
        return head, heads.split()[head]
    number = int(config.codec.event(int(label)).type) - 1
    return number, ("note_on", "note_off", "shift", "velocity")[number]


def test_equals_log_likelihood_whatever_the_batch():
    config = get_config("performance_with_dynamics")
    bundle = read_bundle(MAGENTA / "performance_with_dynamics.mag")
    pieces = make_pieces(config, (30, 61, 4, 17, 50))
    expected = -log_likelihood(Model(bundle, config), [piece.events for piece in pieces])
    network = network_from_model(Model(bundle, config))
    for batch_size, window in ((1, 100), (2, 16), (64, 5)):
        sums = measure_pieces(network, config, pieces, batch_size=batch_size, window=window)
        np.testing.assert_allclose(sums.nll.sum(axis=(1, 2)), expected, rtol=1e-5)


@pytest.mark.parametrize("key", ["performance_with_dynamics", NOTES])
def test_breakdowns_add_up(key):
    config, bundle = get_config(key), read_bundle(MAGENTA / f"{key}.mag")
    result = figures(
        measure_pieces(network_from_model(Model(bundle, config)), config, make_pieces(config))
    )
    whole = result["all"]
    assert whole["events"] == sum(LENGTHS) - len(LENGTHS)
    assert whole["perplexity"] == pytest.approx(np.exp(whole["nll"]))
    total = whole["nll"] * whole["events"]
    for name in ("kinds", "positions"):
        parts = [part for part in result[name].values() if part["events"]]
        assert sum(part["nll"] * part["events"] for part in parts) == pytest.approx(total)
    assert sum(part["nll"] * part["events"] for part in result["pieces"]) == pytest.approx(total)
    kinds = result["kinds"].values()
    assert sum(k["nll_per_second"] for k in kinds) == pytest.approx(whole["nll_per_second"])
    assert sum(p["seconds"] for p in result["positions"].values()) == pytest.approx(
        whole["seconds"]
    )
    if key == NOTES:
        assert sum(kind["nll"] for kind in kinds) == pytest.approx(whole["nll"])
        assert "not_velocity" not in result
    else:
        assert sum(kind["events"] for kind in kinds) == whole["events"]
        velocity = result["kinds"]["velocity"]
        others = result["not_velocity"]
        assert others["events"] == whole["events"] - velocity["events"]
        assert others["nll"] * others["events"] + velocity["nll"] * velocity["events"] == (
            pytest.approx(total)
        )


def sums_of(nll, events):
    """Sums of pieces with one kind of events, all in the first ten seconds, of 5 s each."""
    nll, events = np.array(nll, float), np.array(events, float)
    shape = (len(nll), len(POSITIONS), 1)
    tables = np.zeros((2, *shape))
    tables[:, :, 0, 0] = nll, events
    seconds = np.zeros(shape[:2])
    seconds[:, 0] = 5
    names = [f"{number}" for number in range(len(nll))]
    return PieceSums(names, ("note_on",), 1, tables[0], tables[1] * 0.25, tables[1], seconds)


def test_figures_and_intervals():
    result = figures(sums_of([20, 44, 30, 18, 60], [10, 20, 10, 10, 20]), seed=1)
    assert result["all"] == {
        "events": 70,
        "seconds": 25.0,
        "nll": pytest.approx(172 / 70),
        "perplexity": pytest.approx(np.exp(172 / 70)),
        "accuracy": 0.25,
        "nll_per_second": pytest.approx(172 / 25),
        "nll_interval": pytest.approx([2, 20 / 7], abs=1e-12),
    }
    assert list(result["positions"]) == [
        "0 to 10 s",
        "10 to 30 s",
        "30 to 60 s",
        "60 to 120 s",
        "120 to 300 s",
        "300 to the end",
    ]
    assert result["positions"]["0 to 10 s"] == result["all"] == result["kinds"]["note_on"]
    assert set(result["positions"]["10 to 30 s"].values()) == {0, None}


def test_pieces_of_a_group_are_drawn_as_one():
    sums = sums_of([20, 44, 30, 18, 60], [10, 20, 10, 10, 20])
    grouped = figures(sums, groups=["a", "b", "a", "c", "b"])["all"]
    merged = figures(sums_of([50, 104, 18], [20, 40, 10]))["all"]
    assert grouped["nll_interval"] == merged["nll_interval"]
    assert figures(sums, groups=["a"] * 5)["all"]["nll_interval"] is None


def test_intervals_of_few_pieces():
    counts = np.array([[10.0, 10, 0], [10, 0, 0], [10, 10, 10]])
    first, second, third = bootstrap_intervals(counts * [[1], [2], [3]], counts, seed=0)
    assert first == [1.0, 3.0]
    assert second == [1.0, 3.0]
    assert third is None


def test_interval_is_that_of_the_mean():
    """Where pieces are many and as long, it is the mean plus and minus 1.96 standard errors."""
    means = np.random.default_rng(0).normal(2.0, 0.3, size=400)
    (interval,) = bootstrap_intervals(means[:, np.newaxis] * 100, np.full((400, 1), 100.0), 0)
    error = 1.96 * means.std() / 20
    assert interval == pytest.approx([means.mean() - error, means.mean() + error], abs=0.002)


def test_predictions_that_are_not_finite():
    config = get_config("performance")
    network = network_from_model(Model(read_bundle(MAGENTA / "performance.mag"), config))
    kernel, bias = network.get_layer("logits").get_weights()
    network.get_layer("logits").set_weights([kernel * np.nan, bias])
    with pytest.raises(ValueError, match="predictions are not finite"):
        measure_pieces(network, config, make_pieces(config))


def test_interval_with_a_seed():
    rng = np.random.default_rng(5)
    counts = rng.integers(100, 1000, size=(30, 1)).astype(float)
    totals = counts * rng.normal(2.0, 0.5, size=(30, 1))
    (interval,) = bootstrap_intervals(totals, counts, seed=0)
    assert interval == pytest.approx([1.5294118401783132, 1.8466058831696166], abs=1e-9)
    assert bootstrap_intervals(totals, counts, seed=0) == [interval]
    assert bootstrap_intervals(totals, counts, seed=1) != [interval]
