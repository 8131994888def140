import heapq
import pathlib

import numpy as np
import pytest

from perf_rnn.configs import default_configs, get_config
from perf_rnn.events.note_events import NoteCodec
from perf_rnn.generation.beam_search import beam_search
from perf_rnn.generation.control_schedule import ControlSchedule
from perf_rnn.generation.openings import Opening
from perf_rnn.generation.options import BeamOptions, SamplingOptions
from perf_rnn.generation.sampler import Sampler, log_likelihood, sample_events
from perf_rnn.models import load_model

BUNDLES = pathlib.Path(__file__).parent.parent.parent / "testdata" / "magenta_bundles"
PRIMER = np.array([60, 300, 188, 300, 70], np.int32)
OPENING = Opening(PRIMER)
CONFIG = get_config("performance_with_dynamics")
MODEL = load_model(BUNDLES / "performance_with_dynamics.mag", CONFIG.key)
FREE = SamplingOptions(temperature=0.8, legal_events=False)


def primer_of(config):
    if isinstance(config.codec, NoteCodec):
        return np.array([[0, 10, 60, 20, 0, 30], [0, 5, 64, 21, 0, 20]], np.int32)
    return PRIMER


@pytest.mark.parametrize("steps_per_iteration", [1, 50])
@pytest.mark.parametrize("key", default_configs)
def test_without_branches_it_is_sampling(key, steps_per_iteration):
    model = load_model(BUNDLES / f"{key}.mag", key)
    primer, seeds = primer_of(model.config), [(1, 2), 3]
    sampled = sample_events(model, Opening(primer), 900, seeds)
    by_length = beam_search(
        model,
        Opening(primer),
        seeds,
        BeamOptions(steps_per_iteration=steps_per_iteration),
        num_steps=900,
    )
    assert [piece.tolist() for piece, _ in by_length] == [piece.tolist() for piece in sampled]
    sampler = Sampler(model, Opening(primer), seeds)
    drawn = np.stack([sampler.step() for _ in range(40)], axis=1)
    by_events = beam_search(
        model,
        Opening(primer),
        seeds,
        BeamOptions(steps_per_iteration=steps_per_iteration),
        num_events=len(primer) + 40,
    )
    for (piece, _), row in zip(by_events, drawn, strict=True):
        assert piece.dtype == np.int32
        assert piece.tolist() == [*primer.tolist(), *row.tolist()]


@pytest.mark.parametrize(
    ("sizes", "legal"),
    [((1, 1, 1), True), ((2, 1, 1), True), ((1, 3, 2), False), ((3, 2, 5), True)],
)
@pytest.mark.parametrize("key", default_configs)
def test_likelihoods_are_those_of_the_events(key, sizes, legal):
    model = load_model(BUNDLES / f"{key}.mag", key)
    config = model.config
    primer = primer_of(config)
    options = SamplingOptions(temperature=[0.7, 1.4], top_k=300, legal_events=legal)
    controls = None
    if config.conditioning.signals:
        names = [signal.name for signal in config.conditioning.signals]
        values = {"notes_per_second": [1, 30], "pitch_class_histogram": ["c_major", "e_minor"]}
        controls = ControlSchedule(config.conditioning, {n: values[n] for n in names}, 3000)
    found = beam_search(
        model,
        Opening(primer),
        [5, 6],
        BeamOptions(*sizes),
        options,
        controls,
        num_events=len(primer) + 23,
        num_steps=3000,
    )
    pieces, scores = zip(*found, strict=True)
    assert [len(piece) for piece in pieces] == [len(primer) + 23] * 2
    evaluated = log_likelihood(model, pieces, controls, [0.7, 1.4], num_steps=3000)
    np.testing.assert_allclose(scores, evaluated, rtol=1e-9)


def search_one_by_one(num_events, seed, beam_size, branch_factor, steps_per_iteration):
    """The same search over Python lists: every row is a Sampler of its own."""
    rows = beam_size * branch_factor
    missing = num_events - len(PRIMER)
    seeds = [
        seed if not row else np.random.SeedSequence(seed, spawn_key=(row,)) for row in range(rows)
    ]
    randoms = [np.random.default_rng(each).random(missing) for each in seeds]
    beam = [PRIMER.tolist()] * beam_size
    count = (missing - 1) % steps_per_iteration + 1
    used = 0
    while True:
        branches = beam * branch_factor
        for row, random in enumerate(randoms):
            for number in range(used, used + count):
                branches[row] = [*branches[row], pick(branches[row], random[number])]
        used += count
        count = steps_per_iteration
        pieces = list(map(np.array, branches))
        scores = log_likelihood(MODEL, pieces, temperature=0.8).tolist()
        best = heapq.nlargest(beam_size, range(rows), key=scores.__getitem__)
        if used == missing:
            return branches[best[0]], scores[best[0]]
        beam = [branches[row] for row in best]


def pick(events, random):
    """The event that a random number draws after others."""
    sampler = Sampler(MODEL, Opening(np.array(events, np.int32)), [0], FREE)
    sampler._random.next = lambda: np.array([[random]])
    return int(sampler.step()[0])


@pytest.mark.parametrize("sizes", [(2, 2, 1), (1, 4, 3), (3, 1, 2), (2, 3, 4)])
def test_it_is_the_search_of_one_row_after_another(sizes):
    expected, expected_score = search_one_by_one(len(PRIMER) + 11, 8, *sizes)
    others = [3, 8, 9]  # Other searches in the batch do not matter.
    found = beam_search(
        MODEL, OPENING, others, BeamOptions(*sizes), FREE, num_events=len(PRIMER) + 11
    )
    events, likelihood = found[1]
    assert events.tolist() == expected
    # More than 16 rows are rounded differently.
    assert likelihood == pytest.approx(expected_score, rel=1e-6)
    assert len({events.tobytes() for events, _ in found}) == 3


def test_more_branches_find_likelier_pieces():
    seeds = range(6)
    means = [
        np.mean([s for _, s in beam_search(MODEL, OPENING, seeds, beam, FREE, num_events=80)])
        for beam in (BeamOptions(), BeamOptions(2, 2, 2), BeamOptions(4, 4, 1))
    ]
    assert means == sorted(means)
    assert means[2] - means[0] > 20


def test_pieces_end_where_the_best_of_the_beam_is_long_enough():
    told = []
    found = beam_search(
        MODEL,
        OPENING,
        [1, 2, 3],
        BeamOptions(2, 2, 5),
        num_steps=900,
        on_progress=told.append,
    )
    for events, _ in found:
        assert CONFIG.codec.num_steps(events) == 900
        assert events[: len(PRIMER)].tolist() == PRIMER.tolist()
    ((alone, _),) = beam_search(MODEL, OPENING, [3], BeamOptions(2, 2, 5), num_steps=900)
    assert alone.tolist() == found[2][0].tolist()
    assert told[0] == 90
    assert len(told) > 5


def test_seeds_of_branches():
    """A SeedSequence has branches as the number that it is made of has."""
    beam = BeamOptions(2, 2, 1)
    ((one, _),) = beam_search(MODEL, OPENING, [7], beam, FREE, num_events=30)
    sequence = np.random.SeedSequence(7)
    ((other, _),) = beam_search(MODEL, OPENING, [sequence], beam, FREE, num_events=30)
    assert one.tolist() == other.tolist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_events": 5}, "the primer has 5 events, the piece only 5"),
        ({}, "say how long the piece is to be, by num_events or num_steps"),
        ({"num_steps": 90}, "the primer lasts 0.9 s, the piece only 0.9 s; take less of"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        beam_search(MODEL, OPENING, [0], **arguments)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"beam_size": 0}, "beam_size 0 is not a whole number of at least 1"),
        ({"branch_factor": -1}, "branch_factor -1 is not"),
        ({"steps_per_iteration": True}, "steps_per_iteration True is not"),
        ({"beam_size": 1.5}, "beam_size 1.5 is not"),
    ],
)
def test_bad_sizes(sizes, message):
    with pytest.raises(ValueError, match=message):
        BeamOptions(**sizes)
    assert BeamOptions(np.int64(2), np.int32(3)).width == 6
