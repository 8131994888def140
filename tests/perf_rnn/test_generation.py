import keras
import numpy as np
import pytest

from bundles import Bundle
from perf_rnn import generation, primers
from perf_rnn.configs import get_config
from perf_rnn.network import build_network, bundle_from_network

CONFIG = get_config("performance_with_dynamics")


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    keras.utils.set_random_seed(0)
    return bundle_from_network(build_network(CONFIG.num_classes, [16]), CONFIG)


def notes_of(sequence):
    return [(n.pitch, n.start_time, n.end_time, n.velocity) for n in sequence.notes]


def test_pieces(bundle):
    pieces = generation.generate(bundle, CONFIG, 700, num_outputs=3, seed=4)
    assert [piece.total_time for piece in pieces] == [7.0] * 3
    for piece in pieces:
        assert all(0 <= n.start_time < n.end_time <= 7.0 for n in piece.notes)
        assert all(n.end_time - n.start_time <= 5.0 + 1e-9 for n in piece.notes)
        assert {n.velocity % 4 for n in piece.notes} <= {0, 1}
    again = generation.generate(bundle, CONFIG, 700, num_outputs=2, seed=4)
    assert [notes_of(p) for p in again] == [notes_of(p) for p in pieces[:2]]
    other = generation.generate(bundle, CONFIG, 700, seed=5)
    assert notes_of(other[0]) != notes_of(pieces[0])


def test_without_primer_a_second_of_silence_comes_first():
    assert generation.encode_primer(None, CONFIG, 3000).tolist() == [355]
    assert generation.encode_primer(None, CONFIG, 50).tolist() == [304]


def test_primer_is_played_first(bundle):
    primer = primers.from_melody("[60, -2, 64, -1]")
    (piece,) = generation.generate(bundle, CONFIG, 500, primer=primer)
    played = [note for note in notes_of(piece) if note[1] < 0.5]
    # Velocity 100 falls into bin 25, which plays 97.
    assert (60, 0.0, 0.25, 97) in played
    assert any(n[0] == 64 and n[1] == 0.25 and n[3] == 97 for n in played)
    events = generation.encode_primer(primer, CONFIG, 500)
    assert CONFIG.codec.num_steps(events) == 50


@pytest.mark.parametrize("melody", ["[60]", "[60,-2,62,-2,64]", "[60,-2,-2,-2]"])
def test_a_primers_notes_are_all_released(melody):
    events = generation.encode_primer(primers.from_melody(melody), CONFIG, 500)
    on, off = events < 128, (events >= 128) & (events < 256)
    assert sorted(events[on]) == sorted(events[off] - 128)


def test_config_of_bundle(bundle):
    assert generation.config_of_bundle(bundle) is CONFIG
    plain = get_config("performance")
    wrong = bundle_from_network(build_network(388, [4]), plain)
    with pytest.raises(
        ValueError, match="bundle id 'performance' with 388 classes and 388 inputs is none of"
    ):
        generation.config_of_bundle(wrong)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_steps": 1}, "num_steps 1 is below 2"),
        ({"num_outputs": 0}, "num_outputs 0 is below 1"),
        ({"temperature": 0.0}, "temperature 0.0 is not a number above 0"),
        ({"num_steps": 40, "primer": primers.from_pitches("[60]")}, "the primer lasts 50 steps"),
    ],
)
def test_bad_values(bundle, values, message):
    with pytest.raises(ValueError, match=message):
        generation.generate(bundle, CONFIG, **{"num_steps": 500, **values})


def test_progress_is_told(bundle):
    told: list[int] = []
    generation.generate(bundle, CONFIG, 700, on_progress=told.append)
    assert told[0] == 100
    assert told == sorted(told)
    assert np.all(np.array(told) < 700)
