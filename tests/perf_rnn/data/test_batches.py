import itertools

import numpy as np
import pytest

from bundles.errors import PerfRnnError
from perf_rnn.data.batches import WindowBatches
from perf_rnn.data.examples import EventSequence


def segment_of(events):
    """A segment whose controls are two columns: the event, and minus it."""
    return EventSequence(events, lambda: np.stack([events, -events], axis=1).astype(np.float32))


def segments_of(*lengths):
    """Segments whose events tell segment and place: 1000 * number + place."""
    events = [
        1000 * number + np.arange(length, dtype=np.int32) for number, length in enumerate(lengths)
    ]
    return [segment_of(e) for e in events]


def test_one_pass_literally():
    batches = list(WindowBatches(segments_of(6, 3, 4), batch_size=2, window=2))
    assert [b.inputs.tolist() for b in batches] == [
        [[0, 1], [1000, 1001]],
        [[2, 3], [2000, 2001]],
        [[4, 5], [2002, 2003]],
    ]
    assert [b.labels.tolist() for b in batches] == [
        [[1, 2], [1001, 1002]],
        [[3, 4], [2001, 2002]],
        [[5, 0], [2003, 0]],
    ]
    # The controls of the event to predict.
    assert [b.controls[..., 0].tolist() for b in batches] == [b.labels.tolist() for b in batches]
    assert [b.controls[..., 1].tolist() for b in batches] == [(-b.labels).tolist() for b in batches]
    assert [b.weights.tolist() for b in batches] == [
        [[1, 1], [1, 1]],
        [[1, 1], [1, 1]],
        [[1, 0], [1, 0]],
    ]
    assert [b.keep_state.tolist() for b in batches] == [[0, 0], [1, 0], [1, 1]]
    assert [b.num_events for b in batches] == [4, 4, 2]


@pytest.mark.parametrize("window", [1, 7, 64])
@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_a_pass_predicts_every_event_but_the_first_once(batch_size, window):
    segments = segments_of(40, 2, 64, 65, 129, 33)
    seen = []
    for batch in WindowBatches(segments, batch_size, window):
        assert batch.inputs.shape == batch.labels.shape == (batch_size, window)
        seen += batch.labels[batch.weights > 0].tolist()
    assert sorted(seen) == sorted(e for s in segments for e in s.events[1:].tolist())


def test_windows_of_a_segment_follow_each_other_in_their_row():
    playing = {}
    for batch in itertools.islice(WindowBatches(segments_of(50, 21, 35), 2, 8, seed=3), 40):
        for row in range(2):
            first = int(batch.inputs[row, 0])
            if batch.keep_state[row]:
                assert first == playing[row]
            else:
                assert first % 1000 == 0
            playing[row] = int(batch.labels[row, -1])


def test_each_pass_has_every_segment_in_another_order():
    batches = WindowBatches(segments_of(*[5] * 10), batch_size=1, window=4, seed=0)
    order = [int(next(batches).inputs[0, 0]) // 1000 for _ in range(30)]
    passes = [order[:10], order[10:20], order[20:]]
    assert [sorted(p) for p in passes] == [list(range(10))] * 3
    assert passes[0] != passes[1] != passes[2]


def test_events_of_several_heads_without_controls():
    events = np.arange(5 * 6, dtype=np.int32).reshape(5, 6)
    segments = [EventSequence(events, lambda: np.zeros((5, 0), np.float32))]
    batches = list(WindowBatches(segments, batch_size=2, window=3))
    assert [batch.inputs.shape for batch in batches] == [(2, 3, 6)] * 2
    assert [batch.controls.shape for batch in batches] == [(2, 3, 0)] * 2
    np.testing.assert_array_equal(batches[0].inputs[0], events[:3])
    np.testing.assert_array_equal(batches[0].labels[0], events[1:4])
    np.testing.assert_array_equal(batches[1].inputs[0], [events[3], events[4], [0] * 6])
    np.testing.assert_array_equal(batches[1].labels[0], [events[4], [0] * 6, [0] * 6])
    assert [batch.weights.tolist() for batch in batches] == [
        [[1, 1, 1], [0, 0, 0]],
        [[1, 0, 0], [0, 0, 0]],
    ]


def test_another_seed_gives_another_order():
    orders = []
    for seed in (0, 1):
        batches = WindowBatches(segments_of(*[5] * 10), 1, 4, seed)
        orders.append([int(next(batches).inputs[0, 0]) for _ in range(10)])
    assert orders[0] != orders[1]


def played(batches, count):
    """The first event of each segment in the order they begin, for `count` batches."""
    return [
        int(batch.inputs[row, 0])
        for batch in itertools.islice(batches, count)
        for row in np.flatnonzero(batch.keep_state == 0)
    ]


def named_by_seed(segment, seed):
    """Puts the seed's three numbers and the segment's own into each event."""
    run, epoch, number = seed
    events = segment.events // 1000 + 10 * number + 1000 * epoch + 100_000 * run
    return EventSequence(events.astype(np.int32), segment.make_controls)


def test_augmentation_goes_by_seed_pass_and_segment():
    options = {"window": 4, "seed": 7, "augment": named_by_seed}
    for batch_size in (1, 2, 5):
        names = played(WindowBatches(segments_of(*[5] * 10), batch_size, **options), 30)[:30]
        for epoch in range(3):
            expected = {700_000 + 1000 * epoch + 10 * (n + 1) + n for n in range(10)}
            assert set(names[10 * epoch : 10 * epoch + 10]) == expected


def augmented(segment, seed):
    """Another length and other events for each seed."""
    length = int(np.random.default_rng(seed).integers(5, 60))
    events = np.random.default_rng(seed).integers(1000, size=length).astype(np.int32)
    return segment_of(events)


@pytest.mark.parametrize("augment", [None, augmented])
def test_seek_goes_on_exactly(augment):
    segments = segments_of(50, 21, 35, 2, 90)
    batches, resumed = (WindowBatches(segments, 3, 8, seed=5, augment=augment) for _ in range(2))
    for _ in range(17):
        next(batches)
    resumed.seek(batches.position)
    for a, b in itertools.islice(zip(batches, resumed, strict=False), 30):
        for name in ("inputs", "controls", "labels", "weights", "keep_state"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_seek_refuses_the_position_of_other_segments():
    position = WindowBatches(segments_of(5, 5, 5), 2, 4, seed=1).position
    with pytest.raises(PerfRnnError, match="2 examples, where there were 3"):
        WindowBatches(segments_of(5, 5), 2, 4, seed=1).seek(position)


def test_a_position_is_a_copy():
    """A checkpoint holds it while the batches go on."""
    batches = WindowBatches(segments_of(50, 21), 2, 8, seed=5)
    next(batches)
    position = batches.position
    kept = position.copy()
    next(batches)
    np.testing.assert_array_equal(position, kept)
    batches.seek(position)
    next(batches)
    np.testing.assert_array_equal(position, kept)


def test_without_a_seed_there_is_no_augmentation():
    batches = WindowBatches(segments_of(5, 5), 1, 4, augment=named_by_seed)
    assert played(batches, 2) == [0, 1000]
