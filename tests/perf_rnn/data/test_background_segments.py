import multiprocessing
import os
import pickle

import numpy as np
import pytest

from bundles.errors import PerfRnnError
from perf_rnn.configs import get_config
from perf_rnn.data.augmentation import Augmentation
from perf_rnn.data.background_segments import BackgroundSegments
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


def test_batches_are_those_of_one_process(tmp_path):
    records = write_segments(tmp_path / "a.tfrecord")
    one, several = (WindowBatches(records, 2, 8, 3, Augmentation(CONFIG)) for _ in range(2))
    for batches in (one, several):  # They go on from where they are.
        next(batches)
    several.make_segments_in_background()
    for number in range(20):
        if number == 15:  # Out of order, segments are made as they are asked for.
            several.seek(one.position)
        expected, batch = next(one), next(several)
        for name, array in vars(expected).items():
            np.testing.assert_array_equal(getattr(batch, name), array, err_msg=name)
        np.testing.assert_array_equal(several.position, one.position)
    several.close()


def test_several_processes_take_turns(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    others = multiprocessing.active_children()
    segments = BackgroundSegments(make_numbered, 5)
    assert [int(segments(number).events[0]) for number in range(5, 12)] == list(range(5, 12))
    processes = [each for each in multiprocessing.active_children() if each not in others]
    assert len(processes) == 3
    segments.close()
    assert [process.exitcode for process in processes] == [0] * 3


def make_numbered(number):
    return EventSequence.from_events(np.full(9, number, np.int32), CONFIG)


def test_errors_arrive(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    segments = BackgroundSegments(raise_error, 0)
    with pytest.raises(PerfRnnError, match="segment 0 is corrupt"):
        segments(0)
    with pytest.raises(PerfRnnError, match=r"has ended \(status 0\)"):
        segments(0)


def raise_error(number):
    raise PerfRnnError(f"segment {number} is corrupt")


def test_records_can_be_read_in_another_process(tmp_path):
    records = write_segments(tmp_path / "a.tfrecord")
    copy = pickle.loads(pickle.dumps(records))
    for number, segment in enumerate(records):
        np.testing.assert_array_equal(copy[number].events, segment.events)
        np.testing.assert_array_equal(copy[number].controls, segment.controls)
