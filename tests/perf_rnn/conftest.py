"""Fixtures that several folders of tests share."""

import pathlib
from collections.abc import Callable
from typing import Any

import pytest

from perf_rnn.data.tfrecord import RecordFile


@pytest.fixture
def summaries() -> Callable[[pathlib.Path], dict[tuple[int, str], Any]]:
    """Reads a directory's event files: summaries(directory)[step, tag] is an array."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.util.tensor_util import make_ndarray

    def read(directory: pathlib.Path) -> dict[tuple[int, str], Any]:
        return {
            (event.step, value.tag): make_ndarray(value.tensor)
            for path in sorted(directory.glob("events.out.tfevents.*"))
            for event in map(Event.FromString, RecordFile(str(path)))
            for value in event.summary.value
        }

    return read
