import itertools
import pathlib

import numpy as np
import pytest

import perf_rnn
from bundles.errors import PerfRnnError

MAGENTA = pathlib.Path(__file__).parent.parent.parent / "testdata" / "magenta_bundles"
BUNDLE = MAGENTA / "performance_with_dynamics.mag"


def play(ending, **options):
    pieces = perf_rnn.generate(BUNDLE, 10, num_outputs=3, seed=2, ending=ending, **options)
    return [
        (np.array([(n.start_time, n.end_time, n.pitch, n.velocity) for n in p.notes]), p.total_time)
        for p in pieces
    ]


@pytest.mark.parametrize("options", [{}, {"temperature": [0.9, 1.1]}])
def test_release(options):
    for (cut, seconds), (notes, total) in zip(
        play("cut", **options), play("release", **options), strict=True
    ):
        assert seconds == 10.0
        assert total == max(10.0, notes[:, 1].max()) <= 15.0
        # The same notes, but for the ends of those that were cut off.
        cut, notes = (piece[np.lexsort(piece.T[[2, 0]])] for piece in (cut, notes))
        cut = cut[cut[:, 0] < 10.0]
        assert (notes[:, [0, 2, 3]] == cut[:, [0, 2, 3]]).all()
        was_cut = cut[:, 1] == 10.0
        assert (notes[~was_cut] == cut[~was_cut]).all()
        assert (notes[was_cut, 1] >= 10.0).all()
    assert total > 10.0


def test_beam_search():
    for notes, total in play("release", beam_size=2):
        assert notes[:, 0].max() < 10.0
        assert total == max(10.0, notes[:, 1].max())


def test_rest():
    pieces = perf_rnn.generate(BUNDLE, 25, num_outputs=3, seed=2)
    for piece, (notes, total) in zip(pieces, play("rest"), strict=True):
        longer = np.array([(n.start_time, n.end_time) for n in piece.notes])
        strokes = np.unique(longer[longer[:, 0] <= 20.0][:, 0])
        gaps = {
            after: after - before for before, after in itertools.pairwise(strokes) if after >= 10
        }
        end = max(gaps, key=gaps.get)
        assert notes[:, 0].tolist() == longer[longer[:, 0] < end][:, 0].tolist()
        assert total == max(10.0, notes[:, 1].max())


def test_no_such_ending():
    with pytest.raises(PerfRnnError, match="ending 'fade' is not one of cut, release, rest"):
        perf_rnn.generate(BUNDLE, 10, ending="fade")
