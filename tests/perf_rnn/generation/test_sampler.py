import itertools
import pathlib

import numpy as np
import pytest

from bundles import Bundle, LstmLayer
from perf_rnn.configs import default_configs, get_config
from perf_rnn.events import rules
from perf_rnn.events.note_events import NoteCodec
from perf_rnn.generation.control_schedule import ControlSchedule
from perf_rnn.generation.cpu.tiled_matmul import has_small_kernels
from perf_rnn.generation.openings import Opening
from perf_rnn.generation.options import SamplingOptions
from perf_rnn.generation.sampler import Sampler, log_likelihood, sample_events
from perf_rnn.models import Model, load_model

BUNDLES = pathlib.Path(__file__).parent.parent.parent / "testdata" / "magenta_bundles"
PLAIN = get_config("performance")
NOTES = "performance_with_dynamics_and_note_encoding"
FREE = SamplingOptions(legal_events=False)
PRIMER = np.array([60, 300, 188], np.int32)  # A note of 45 steps.


def fixture(key):
    return load_model(BUNDLES / f"{key}.mag", key)


def primer_of(config):
    if isinstance(config.codec, NoteCodec):
        return np.array([[0, 10, 60, 20, 0, 30], [0, 5, 64, 21, 0, 20]], np.int32)
    return np.append(PRIMER, 256).astype(np.int32)


def constant_model(log_probabilities):
    """A network that predicts the same whatever it hears."""
    layer = LstmLayer(
        np.zeros((356, 4), np.float32), np.zeros((1, 4), np.float32), np.zeros(4, np.float32), 1.0
    )
    bias = np.full(356, -1e4, np.float32)
    for event, value in log_probabilities.items():
        bias[event] = value
    bundle = Bundle("performance", "", "", (layer,), np.zeros((1, 356), np.float32), bias)
    return Model(bundle, PLAIN)


@pytest.mark.parametrize("legal", [True, False])
@pytest.mark.parametrize("key", default_configs)
def test_a_piece_depends_on_its_seed_alone(key, legal):
    """It is the same alone and among 16; it is as long as asked and begins with the primer."""
    model = fixture(key)
    config = model.config
    options, primer = SamplingOptions(legal_events=legal), primer_of(config)
    seeds = [(9, i) for i in range(16)]
    num_steps = 3000 if config.codec.event_shape else 700
    together = sample_events(model, Opening(primer), num_steps, seeds, options)
    assert len({piece.tobytes() for piece in together}) == 16
    for seed, piece in zip(seeds[:3], together, strict=False):
        assert piece.dtype == np.int32
        assert piece[: len(primer)].tolist() == primer.tolist()
        # Note events cannot end with silence.
        assert config.codec.num_steps(piece) == num_steps or config.codec.event_shape
        assert config.codec.num_steps(piece) <= num_steps
        (alone,) = sample_events(model, Opening(primer), num_steps, [seed], options)
        assert alone.tolist() == piece.tolist()


@pytest.mark.parametrize("cores", [2, 4])
def test_rows_that_end_leave_the_others_as_they_are(use_cores, cores):
    """In a large batch, down to fewer rows than cores, each piece is the one that it is alone."""
    use_cores(cores)
    model = fixture("performance_with_dynamics")
    rows = 40 if has_small_kernels() else 16
    together = sample_events(model, Opening(PRIMER), 300, range(rows))
    assert len({len(piece) for piece in together}) > 8
    for seed in (0, rows - 1, int(np.argmax([len(piece) for piece in together]))):
        (alone,) = sample_events(model, Opening(PRIMER), 300, [seed])
        np.testing.assert_array_equal(alone, together[seed])


# Of each config with legal events, and without.
GOLDEN = {
    "performance": [[114, 346, 39, 338, 80, 167], [178, 338, 52, 338, 110, 148]],
    "performance_with_dynamics": [[323, 386, 17, 373, 37, 113], [203, 368, 55, 367, 126, 169]],
    "performance_with_dynamics_compact": [
        [325, 386, 20, 373, 41, 109],
        [190, 370, 54, 368, 116, 154],
    ],
    "performance_with_dynamics_and_modulo_encoding": [
        [322, 386, 19, 376, 43, 112],
        [199, 370, 57, 369, 120, 168],
    ],
    "performance_with_dynamics_and_note_encoding": [
        [[2, 73, 16, 30, 3, 16], [4, 31, 69, 1, 9, 21]],
        [[7, 73, 16, 30, 8, 16], [11, 31, 69, 1, 12, 14]],
    ],
    "density_conditioned_performance_with_dynamics": [
        [321, 386, 19, 373, 39, 115],
        [199, 368, 58, 368, 128, 167],
    ],
    "pitch_conditioned_performance_with_dynamics": [
        [321, 386, 18, 371, 43, 109],
        [191, 367, 56, 367, 120, 159],
    ],
    "multiconditioned_performance_with_dynamics": [
        [323, 386, 17, 373, 40, 109],
        [198, 368, 54, 368, 121, 164],
    ],
    "optional_multiconditioned_performance_with_dynamics": [
        [325, 386, 17, 371, 36, 106],
        [195, 368, 52, 367, 117, 163],
    ],
}


@pytest.mark.parametrize("key", default_configs)
def test_golden_events(key):
    """The first events that a seed gives, with legal events and without."""
    model = fixture(key)
    config = model.config
    primer = primer_of(config)
    drawn = []
    for options in (SamplingOptions(), FREE):
        (piece,) = sample_events(model, Opening(primer), 2000, [1], options)
        count = 2 if config.codec.event_shape else 6
        drawn.append(piece[len(primer) :][:count].tolist())
    assert drawn == GOLDEN[key]


def test_events_come_as_often_as_their_probabilities_say():
    model = constant_model({60: np.log(0.5), 188: np.log(0.2), 256: np.log(0.3)})
    for temperature in (1.0, 2.0):
        options = SamplingOptions(temperature, legal_events=False)
        (piece,) = sample_events(model, Opening(PRIMER), 1500, [0], options)
        expected = np.array([0.5, 0.2, 0.3]) ** (1 / temperature)
        drawn = piece[len(PRIMER) :]
        shares = [np.mean(drawn == event) for event in (60, 188, 256)]
        np.testing.assert_allclose(shares, expected / expected.sum(), atol=0.025)


def test_legal_events_alternate_where_they_must():
    """Of one pitch, on and off take turns; the rest keeps its proportions."""
    model = constant_model({60: np.log(0.4), 188: np.log(0.1), 355: np.log(0.5)})
    (piece,) = sample_events(model, Opening(PRIMER), 60_000, [0])
    notes = piece[(piece == 60) | (piece == 188)]
    assert set(notes[0::2]) == {60}
    assert set(notes[1::2]) == {188}
    # After a shift while nothing sounds: on with 0.4 / 0.9. While it sounds: off with 0.1 / 0.6.
    silent = sounding = struck = released = 0
    is_on = False
    for before, event in itertools.pairwise(piece[3:]):
        is_on = {60: True, 188: False}.get(before, is_on)
        if before == 355:
            silent, sounding = silent + (not is_on), sounding + is_on
            struck, released = struck + (event == 60), released + (event == 188)
    # Both come earlier than by chance: silence ends after 3 s, a note after 5.
    expected_struck = 1 / sum((1 - 0.4 / 0.9) ** n for n in range(3))
    expected_released = 1 / sum((1 - 0.1 / 0.6) ** n for n in range(5))
    assert struck / silent == pytest.approx(expected_struck, abs=0.06)
    assert released / sounding == pytest.approx(expected_released, abs=0.06)


@pytest.mark.parametrize(
    ("options", "pitches"),
    [
        (SamplingOptions(), {60, 61}),
        (SamplingOptions(pitch_min_p=0.2), {60}),
        (SamplingOptions(pitch_min_p=0), {60, 61, 62}),
        (FREE, {60, 61, 62}),
    ],
)
def test_wrong_notes_are_left_out(options, pitches):
    """Pitches are compared with each other, not with what else may come."""
    likely = {60: 2.0, 61: 0.2, 62: 0.03, 188: 1.0, 189: 1.0, 190: 1.0, 256: 2.0}
    model = constant_model({event: np.log(value) for event, value in likely.items()})
    (piece,) = sample_events(model, Opening(np.array([355])), 1500, [0], options)
    # Pitches that sound already do not count, so silence is looked at only.
    sounding, struck = set(), set()
    for event in piece.tolist():
        if event < 128:
            struck |= set() if sounding else {event}
            sounding.add(event)
        else:
            sounding.discard(event - 128)
    assert struck == pitches


def test_a_network_without_time_still_ends():
    """Only notes are probable; after 256 of them, or 16 legal ones, it must move on."""
    model = constant_model(dict.fromkeys(range(128), 0.0))
    (free,) = sample_events(model, Opening(PRIMER), 200, [0], FREE)
    (legal,) = sample_events(model, Opening(PRIMER), 200, [0])
    assert PLAIN.codec.num_steps(free) == PLAIN.codec.num_steps(legal) == 200
    gap = np.diff(np.flatnonzero((free >= 256) & (free <= 355)))
    assert set(gap[1:]) == {rules.MAX_EVENTS_AT_ONE_MOMENT + 1}
    shifts = np.flatnonzero((legal >= 256) & (legal <= 355))
    assert set(np.diff(shifts)[1:]) == {rules.MAX_ONSETS + 1}


def test_temperatures_are_spread_over_the_piece():
    model = constant_model({128: np.log(0.4), 129: np.log(0.5), 355: np.log(0.1)})
    options = SamplingOptions([1.0, 0.01], legal_events=False)
    (piece,) = sample_events(model, Opening(np.array([355])), 2000, [0], options)
    late = np.cumsum(PLAIN.codec.event_steps(piece)) > 1000
    # The likeliest class only, which takes no time; so each shift is one that had to come.
    assert set(piece[late]) == {129, 355}
    assert {128, 129, 355} == set(piece[~late])


def test_controls_are_those_of_the_step_after_each_event():
    """The next event is drawn under what the schedule has at the clock by then."""
    model = fixture("density_conditioned_performance_with_dynamics")
    config = model.config
    asked = []
    schedule = ControlSchedule(config.conditioning, {"notes_per_second": [1, 30]}, 600)

    def controls(steps):
        asked.append(steps.tolist())
        return schedule(steps)

    (piece,) = sample_events(model, Opening(PRIMER), 600, [3], controls=controls)
    clock = np.cumsum(config.codec.event_steps(piece)).tolist()
    assert [step for (step,) in asked] == clock[: len(asked)]
    constant = ControlSchedule(config.conditioning, {"notes_per_second": 1})
    (other,) = sample_events(model, Opening(PRIMER), 600, [3], controls=constant)
    same = int(np.argmax(piece[: len(other)] != other[: len(piece)]))
    # The two part only once the second half has begun.
    assert clock[same - 1] >= 300


def test_what_is_asked_for_may_change_between_events():
    model = fixture("optional_multiconditioned_performance_with_dynamics")
    config = model.config
    sampler = Sampler(model, Opening(primer_of(config)), [1, 2])
    steady = Sampler(model, Opening(primer_of(config)), [1, 2])
    for _ in range(10):
        np.testing.assert_array_equal(sampler.step(), steady.step())
    sampler.controls = ControlSchedule(config.conditioning, disabled=True)
    sampler.options = SamplingOptions(temperature=1e-6)
    cold = [sampler.step().tolist() for _ in range(10)]
    assert cold != [steady.step().tolist() for _ in range(10)]
    with pytest.raises(ValueError, match="legal_events cannot change within a piece"):
        sampler.options = FREE
    with pytest.raises(ValueError, match="a list of 2 values needs a piece of known length"):
        sampler.options = SamplingOptions([1.0, 2.0])
    assert sampler.options.temperature == 1e-6  # What is refused changes nothing.


@pytest.mark.parametrize("legal", [True, False])
@pytest.mark.parametrize("key", default_configs)
def test_restored_is_uninterrupted(key, legal, tmp_path):
    model = fixture(key)
    config = model.config
    options = SamplingOptions(legal_events=legal, top_k=100)
    sampler = Sampler(model, Opening(primer_of(config)), [1, 2, 3], options)
    for _ in range(40):
        sampler.step()
    sampler.keep(np.array([True, False, True]))
    np.savez(tmp_path / "state.npz", **sampler.state())
    expected = [sampler.step().tolist() for _ in range(30)]
    clock = sampler.clock.tolist()
    other = Sampler(model, Opening(primer_of(config)[:1]), [0], options)
    for _ in range(2):  # A state serves more than once.
        other.restore(np.load(tmp_path / "state.npz", allow_pickle=False))
        assert [other.step().tolist() for _ in range(30)] == expected
        assert other.clock.tolist() == clock
    state = sampler.state()
    expected = [sampler.step().tolist() for _ in range(30)]
    sampler.restore(state)
    assert [sampler.step().tolist() for _ in range(30)] == expected


def test_states_of_something_else():
    model = fixture("performance_with_dynamics")
    sampler = Sampler(model, Opening(PRIMER), [1])
    for other in (
        Sampler(model, Opening(PRIMER), [1], FREE),
        Sampler(
            fixture("performance_with_dynamics_and_note_encoding"),
            Opening(np.zeros((1, 6), int)),
            [1],
        ),
        Sampler(constant_model({}), Opening(PRIMER), [1]),
    ):
        with pytest.raises(ValueError, match="the state is that of another model, or of other"):
            sampler.restore(other.state())


def test_copied_rows_keep_their_own_random_numbers():
    model = fixture("performance_with_dynamics")
    sampler = Sampler(model, Opening(PRIMER), [1, 2, 3])
    for _ in range(5):
        sampler.step()
    sampler.copy(np.array([1, 1, 1]))
    assert len(set(sampler.clock)) == 1
    states = sampler.state()
    assert all((states[f"network_{i}"] == states[f"network_{i}"][0]).all() for i in range(4))
    drawn = np.stack([sampler.step() for _ in range(5)])
    assert len({tuple(row) for row in drawn.T}) == 3


@pytest.mark.parametrize("key", default_configs)
def test_log_likelihood_is_that_of_magentas_softmax(key):
    """Over a real performance of 200 events, under its own controls."""
    model = fixture(key)
    config = model.config
    data = np.load(BUNDLES / f"{key}.npz")
    if config.codec.event_shape:
        shift, pitch, velocity_bin, duration = data["events"][0, :, 1]
        first = [*divmod(shift, 77), pitch, velocity_bin - 1, *divmod(duration - 1, 40)]
        softmaxes = [data[f"softmax_{head}"] for head in range(6)]
    else:
        first = config.codec.event_index(*data["events"][0])
        softmaxes = [data["softmax"]]
    labels = data["labels"]
    expected = sum(
        np.log(softmax[np.arange(len(labels)), chosen]).sum()
        for softmax, chosen in zip(softmaxes, labels.reshape(len(labels), -1).T, strict=True)
    )
    vectors = iter(data["inputs"][:, : config.control_size])
    (found,) = log_likelihood(
        model, [np.array([first, *labels], np.int32)], lambda steps: next(vectors)[None]
    )
    assert found == pytest.approx(expected, rel=1e-6)


def test_log_likelihoods_of_pieces_of_different_lengths():
    model = fixture("density_conditioned_performance_with_dynamics")
    (piece,) = sample_events(model, Opening(PRIMER), 2000, [0])
    pieces = [piece[:7], piece, piece[:1], piece[3:90]]
    alone = [log_likelihood(model, [each])[0] for each in pieces]
    assert log_likelihood(model, pieces).tolist() == alone
    assert alone[2] == 0


@pytest.mark.parametrize("temperature", [1.0, 0.7, [0.5, 2.0]])
def test_log_probabilities_of_draws_are_those_of_the_piece(temperature):
    model = fixture("performance_with_dynamics_and_note_encoding")
    config = model.config
    primer = primer_of(config)[:1]
    sampler = Sampler(model, Opening(primer), [4, 5], SamplingOptions(temperature), None, 900)
    drawn, total = [], np.zeros(2)
    while (sampler.clock < 900).any():
        drawn.append(sampler.step())
        total += sampler.log_probabilities()
    pieces = [np.concatenate([primer, row]) for row in np.stack(drawn, axis=1)]
    found = log_likelihood(model, pieces, temperature=temperature, num_steps=900)
    np.testing.assert_allclose(found, total, rtol=1e-12)


def test_progress_is_told():
    model = constant_model({128: 0.0, 257: -1.0})
    told = []
    sample_events(model, Opening(PRIMER), 2000, [1, 2], FREE, on_progress=told.append)
    assert told[0] == 45
    assert len(told) >= 4
    assert told == sorted(told)
    assert told[-1] < 2000


def test_bad_primers_and_bundles():
    model = constant_model({})
    with pytest.raises(ValueError, match=r"the primer lasts 0\.45 s, the piece only 0\.45 s"):
        sample_events(model, Opening(PRIMER), 45, [0])
    with pytest.raises(ValueError, match="the primer is empty"):
        Opening(PRIMER[:0])
    dynamics = get_config("performance_with_dynamics")
    with pytest.raises(ValueError, match="'performance' reads inputs of 356 numbers; the config"):
        Model(model.bundle, dynamics)
    with pytest.raises(ValueError, match="temperature -1 is not a number above 0"):
        log_likelihood(model, [PRIMER], temperature=-1)
    with pytest.raises(ValueError, match="a piece without events has no likelihood"):
        log_likelihood(model, [PRIMER, PRIMER[:0]])
