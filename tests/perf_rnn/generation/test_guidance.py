import itertools
import pathlib

import numpy as np
import pytest

from perf_rnn import generate, stream
from perf_rnn.generation.beam_search import beam_search
from perf_rnn.generation.control_schedule import ControlSchedule
from perf_rnn.generation.cpu.step_network import StepNetwork
from perf_rnn.generation.guidance import GuidedNetwork
from perf_rnn.generation.openings import Opening
from perf_rnn.generation.options import BeamOptions, SamplingOptions
from perf_rnn.generation.sampler import Sampler, log_likelihood, sample_events
from perf_rnn.models import load_model

BUNDLES = pathlib.Path(__file__).parent.parent.parent / "testdata" / "magenta_bundles"
MODEL = load_model(BUNDLES / "optional_multiconditioned_performance_with_dynamics.mag")
CONDITIONING = MODEL.config.conditioning
OPENING = Opening(np.array([60, 300, 188], np.int32))
SPARSE = ControlSchedule(CONDITIONING, {"notes_per_second": 1, "pitch_class_histogram": "c_major"})
FREE = ControlSchedule(CONDITIONING, disabled=True)
GUIDED = SamplingOptions(guidance=2.5)


@pytest.mark.parametrize("guidances", [[1] * 6, [2.5] * 6, [1, 1, 3, 3, 1, 0]])
def test_logits(guidances):
    """Three rows under different controls, against two networks that read the same events."""
    told, free = StepNetwork(MODEL, 3), StepNetwork(MODEL, 3)
    guided = GuidedNetwork(MODEL, 3, guidances[0])
    rng = np.random.default_rng(0)
    for before, guidance in itertools.pairwise([guidances[0], *guidances]):
        if before == 1:
            free.states = told.states  # Those without the controls begin with guidance.
        events = rng.integers(388, size=3)
        controls = np.concatenate([SPARSE(np.zeros(2, int)), FREE(np.zeros(1, int))])
        expected, without = told.step(events, controls), free.step(events, FREE(np.zeros(3, int)))
        own, logits = guided.step(events, controls, guidance)
        np.testing.assert_array_equal(own, expected)
        if guidance == 1:
            np.testing.assert_array_equal(logits, expected)
        else:
            beyond = without + np.float32(guidance) * (expected - without)
            np.testing.assert_array_equal(logits, beyond)
            assert (logits[0] != expected[0]).any()
        assert len(guided.states[0]) == (3 if guidance == 1 else 6)


def test_0_is_playing_without_the_controls():
    pieces = [
        sample_events(MODEL, OPENING, 500, [1, 2], SamplingOptions(guidance=guidance), controls)
        for guidance, controls in ((0, SPARSE), (1, FREE), (2.5, FREE), (1, SPARSE))
    ]
    first, *others = ([piece.tolist() for piece in each] for each in pieces)
    assert [each == first for each in others] == [True, True, False]


def test_a_piece_depends_on_its_seed_alone():
    together = sample_events(MODEL, OPENING, 500, range(7), GUIDED, SPARSE)
    assert len({len(piece) for piece in together}) > 3  # So rows are dropped on the way.
    for seed in (0, 4):
        (alone,) = sample_events(MODEL, OPENING, 500, [seed], GUIDED, SPARSE)
        np.testing.assert_array_equal(alone, together[seed])


def test_restored_and_copied(tmp_path):
    sampler = Sampler(MODEL, OPENING, [1, 2, 3], GUIDED, SPARSE)
    for _ in range(20):
        sampler.step()
    sampler.keep(np.array([True, False, True]))
    np.savez(tmp_path / "state.npz", **sampler.state())
    expected = [sampler.step().tolist() for _ in range(20)]
    # The state of a sampler with guidance in one without, and what it would play on without it.
    other = Sampler(MODEL, OPENING, [0], controls=SPARSE)
    other.restore(np.load(tmp_path / "state.npz"))
    unguided = [other.step().tolist() for _ in range(20)]
    assert unguided != expected
    other.restore(np.load(tmp_path / "state.npz"))
    other.options = GUIDED
    assert [other.step().tolist() for _ in range(20)] == expected
    other.copy(np.array([1, 1]))
    assert all((part[0] == part[1]).all() for part in np.split(other.state()["network_0"], 2))
    other.options = SamplingOptions()
    other.restore(np.load(tmp_path / "state.npz"))
    assert [other.step().tolist() for _ in range(20)] == unguided


def test_a_stream_plays_the_piece():
    asked = {"notes_per_second": 3, "pitch_class_histogram": "c_major"}
    (piece,) = generate(MODEL, 10, seed=4, guidance=2, **asked)
    notes = sorted((note.start_time, note.pitch) for note in piece.notes)
    assert len(notes) > 20
    messages = stream(MODEL, seed=4, guidance=2, **asked)
    messages = itertools.takewhile(lambda message: message.time <= notes[19][0], messages)
    struck = sorted((message.time, message.pitch) for message in messages if message.velocity)
    assert struck[:20] == notes[:20]


def test_a_beam_keeps_what_the_network_itself_finds_likeliest():
    beam = BeamOptions(2, 2, 5)
    found = beam_search(MODEL, OPENING, [0, 1], beam, GUIDED, SPARSE, num_events=40)
    for events, score in found:
        assert score == pytest.approx(log_likelihood(MODEL, [events], SPARSE)[0], rel=1e-5)


def test_it_needs_optional_conditioning():
    model = load_model(BUNDLES / "multiconditioned_performance_with_dynamics.mag")
    line = "this model has no guidance; those of these configs have: optional_multiconditioned"
    with pytest.raises(ValueError, match=line):
        generate(model, 1, guidance=1.5)
    sampler = Sampler(model, OPENING, [0])
    with pytest.raises(ValueError, match=line):
        sampler.options = GUIDED
    assert sampler.options.guidance == 1
