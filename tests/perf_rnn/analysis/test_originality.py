"""Passages that stand in training pieces: by hand, by brute force, and planted in real music."""

import dataclasses
import pathlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perf_rnn.analysis.music_statistics import played_order
from perf_rnn.analysis.originality import Originality, TrainingPassages
from perf_rnn.notes.arrays import NoteArrays
from perf_rnn.notes.music_files import read_midi_file
from perf_rnn.notes.transforms import apply_sustain, quantize, stretch, transpose

ASAP = pathlib.Path(__file__).parents[2] / "testdata" / "asap"


def notes_of(start, pitch):
    count = len(pitch)
    start = np.asarray(start, float)
    return NoteArrays(
        start_time=start,
        end_time=start + 0.1,
        pitch=pitch,
        velocity=[80] * count,
        total_time=float(max(start, default=0.0)) + 0.1,
    )


def melody(pitches):
    """Notes every 0.25 s."""
    return notes_of(np.arange(len(pitches)) / 4, pitches)


def in_order(notes):
    """Onset steps and pitches as passages have them."""
    step = quantize(notes, 100).start_step
    order = played_order(step, notes.pitch)
    return step[order], notes.pitch[order].tolist()


@pytest.fixture(scope="module")
def human():
    """Three real performances: two of a fugue by Bach, one of an etude by Liszt."""
    return [apply_sustain(read_midi_file(path)) for path in sorted(ASAP.rglob("*.mid"))]


def test_by_hand():
    training = [melody([60, 61, 60]), melody([48, 50, 52, 53, 55, 57, 59, 60, 48])]
    # From the second note on, six notes of the scale, a fifth higher; then it goes elsewhere.
    piece = melody([80, 57, 59, 60, 62, 64, 66, 50])
    found = TrainingPassages(training).originality([piece])
    assert found == [Originality(6, 0.25, 1, 0.25, 7, 0.0)]


def test_a_training_piece_is_not_original(human):
    for number, found in enumerate(TrainingPassages(human).originality(human)):
        first = float(in_order(human[number])[0][0]) / 100
        expected = (human[number].num_notes, first, number, first, 0, 1.0)
        assert dataclasses.astuple(found) == expected


def test_nothing_shared():
    training = TrainingPassages([melody([60, 62, 64])])
    assert training.originality([melody([60, 61, 60]), melody([60])]) == [
        Originality(1, 0.0, 0, 0.0, 0, 0.0),
        Originality(1, 0.0, 0, 0.0, 0, 0.0),
    ]


def test_no_passage_goes_on_into_the_next_piece():
    scale = [60, 62, 64, 65, 67, 69, 71, 72]
    halves = TrainingPassages([melody(scale[:4]), melody(scale[4:])])
    assert halves.originality([melody(scale)])[0].longest_passage == 4
    whole = TrainingPassages([melody(scale)])
    found = whole.originality([melody(scale[:4]), melody(scale[4:])])
    assert [one.longest_passage for one in found] == [4, 4]


def test_spread_chords_are_the_same_chords():
    training = TrainingPassages([notes_of([0, 0, 0, 1, 1, 2], [60, 64, 67, 62, 65, 59])])
    spread = notes_of([0.02, 0.0, 0.05, 0.97, 1.0, 2.1], [60, 64, 67, 65, 62, 59])
    assert training.originality([spread])[0].longest_passage == 6
    arpeggio = notes_of([0.2, 0.0, 0.5, 0.7, 1.0, 2.1], [60, 64, 67, 65, 62, 59])
    assert training.originality([arpeggio])[0].longest_passage < 6


@pytest.mark.parametrize("length", [2, 15, 16, 40, 300])
def test_planted_passage_is_found(human, length):
    """A passage of a training piece, transposed and pasted between other notes."""
    step, pitch = in_order(human[2])
    begin = 200
    # Well apart, so that the chords stay as they are.
    copied = np.array(pitch[begin : begin + length]) + 3
    # The notes around it stand at intervals that nobody plays.
    piece = melody([*[127, 0] * 30, *copied.tolist(), *[127, 0] * 30])
    found = TrainingPassages(human).originality([piece])[0]
    assert found.longest_passage == length
    assert found.start_time == 15.0
    if length > 2:
        assert (found.training_piece, found.transposition) == (2, 3)
        assert found.training_time == step[begin] / 100
    share = length / (length + 120) if length >= 16 else 0.0
    assert found.copied_share == pytest.approx(share)


@pytest.mark.parametrize(("every", "longest", "share"), [(40, 40, 1), (20, 20, 1), (10, 10, 0)])
def test_a_copy_with_wrong_notes(human, every, longest, share):
    """Runs of `every` right notes with a wrong one between them."""
    pitch = np.array(in_order(human[2])[1][:400])
    pitch[every :: every + 1] = np.tile([0, 127], 200)[: len(pitch[every :: every + 1])]
    found = TrainingPassages(human).originality([melody(pitch.tolist())])[0]
    assert found.longest_passage == longest
    right = np.delete(np.arange(400), np.s_[every :: every + 1]).size / 400
    assert found.copied_share == pytest.approx(share * right, abs=16 / 400)


def test_another_performance_is_recognised(human):
    one, other, etude = human
    found = TrainingPassages([one]).originality([other, etude])
    assert found[0].longest_passage == 246
    assert found[0].copied_share == pytest.approx(762 / 799)
    assert (found[1].longest_passage, found[1].copied_share) == (7, 0.0)


pieces = st.lists(st.lists(st.integers(60, 63), min_size=1, max_size=25), min_size=1, max_size=4)


def brute_force(piece, training):
    """The longest passage by comparing every pair of places, note by note."""
    best = (1, 0, 0, 0)
    for number, other in enumerate(training):
        for i in range(len(piece)):
            for j in range(len(other)):
                length = 1
                for a, b in zip(piece[i + 1 :], other[j + 1 :], strict=False):
                    if a - piece[i] != b - other[j]:
                        break
                    length += 1
                best = max(best, (length, -i, -number, -j))
    return best


@settings(max_examples=80, deadline=None)
@given(pieces, pieces, st.integers(-20, 20))
def test_equal_brute_force(query, training, semitones):
    passages = TrainingPassages(map(melody, training))
    for piece, found in zip(query, passages.originality(list(map(melody, query))), strict=True):
        length, i, number, j = brute_force(piece, training)
        assert found.longest_passage == length
        if length > 1:
            place = (found.start_time, found.training_piece, found.training_time)
            assert place == (-i / 4, -number, -j / 4)
            assert found.transposition == piece[-i] - training[-number][-j]
    moved = passages.originality([transpose(melody(piece), semitones) for piece in query])
    still = passages.originality(list(map(melody, query)))
    assert [one.longest_passage for one in moved] == [one.longest_passage for one in still]


def test_tempo_does_not_hide_a_copy(human):
    faster = stretch(human[2], 0.95)
    found = TrainingPassages(human).originality([faster])[0]
    assert found.longest_passage > 100
    assert found.copied_share > 0.9


@pytest.mark.parametrize(
    ("training", "query", "message"),
    [
        ([], [melody([60])], "there is no training piece"),
        ([melody([60])], [], "there is no piece"),
        ([melody([60]), notes_of([], [])], [melody([60])], "training piece 1 has no notes"),
        ([melody([60])], [notes_of([], [])], "piece 0 has no notes"),
        ([melody([60])], [quantize(melody([60]), 100)], "piece 0 is quantised"),
    ],
)
def test_bad_pieces(training, query, message):
    with pytest.raises(ValueError, match=message):
        TrainingPassages(training).originality(query)
