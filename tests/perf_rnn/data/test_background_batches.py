import pickle

import numpy as np
import pytest

from bundles.errors import PerfRnnError
from perf_rnn.configs import get_config
from perf_rnn.data.augmentation import Augmentation
from perf_rnn.data.background_batches import BackgroundBatches
from perf_rnn.data.batches import WindowBatches
from perf_rnn.data.examples import EventRecords, EventSequence, make_example
from perf_rnn.data.tfrecord import open_writers

CONFIG = get_config("optional_multiconditioned_performance_with_dynamics")


def write_segments(path, lengths=(50, 21, 35)):
    rng = np.random.default_rng(0)
    with open_writers([str(path)]) as (writer,):
        for length in lengths:
            events = rng.integers(CONFIG.num_classes, size=length)
            writer.write(make_example(events, CONFIG).SerializeToString())
    return EventRecords(str(path), CONFIG)


class Corrupt(list):
    """Segments that cannot be read once batches are made of them."""

    def __reduce__(self):
        return Corrupt, (list(self), True)

    def __init__(self, segments, broken=False):
        super().__init__(segments)
        self.broken = broken

    def __getitem__(self, number):
        if self.broken:
            raise PerfRnnError("is corrupt")
        return super().__getitem__(number)


def test_they_are_those_of_one_process(tmp_path):
    records = write_segments(tmp_path / "a.tfrecord")
    first, second = (WindowBatches(records, 2, 8, 3, Augmentation(CONFIG)) for _ in range(2))
    for batches in (first, second):  # They go on from where they are.
        next(batches)
    background = BackgroundBatches(second)
    try:
        for _ in range(12):
            expected, batch = next(first), next(background)
            for name, array in vars(expected).items():
                np.testing.assert_array_equal(getattr(batch, name), array, err_msg=name)
    finally:
        background.close()


def test_errors_arrive():
    events = np.zeros(9, np.int32)
    segments = Corrupt([EventSequence.from_events(events, CONFIG)])
    background = BackgroundBatches(WindowBatches(segments, 1, 8, seed=0))
    with pytest.raises(PerfRnnError, match="is corrupt"):
        next(background)
    background._process.join()
    with pytest.raises(PerfRnnError, match=r"has ended \(status 0\)"):
        next(background)


def test_records_can_be_read_in_another_process(tmp_path):
    records = write_segments(tmp_path / "a.tfrecord")
    copy = pickle.loads(pickle.dumps(records))
    for number, segment in enumerate(records):
        np.testing.assert_array_equal(copy[number].events, segment.events)
        np.testing.assert_array_equal(copy[number].controls, segment.controls)
