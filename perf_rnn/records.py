"""Event sequences in TFRecords of SequenceExamples: writing one, and reading any by its number.

An example is written in one of two formats:

- `sparse_one_hot`: each one-hot vector is stored as the index of its hot bit, all of a segment's
  indices in one feature, `events`. About 2 bytes an event.
- `dense_one_hot`: Magenta 2.1.4's format, L - 1 steps of `inputs` (one-hot floats) and `labels`
  (the next event) for L events, which Magenta's own trainer reads. About 4 bytes a class an event.

In both, the context names the config, the number of classes, the source and the segment's place
in it; Magenta's reader ignores the context, and its own records have none.
"""

import dataclasses
import glob
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from perf_rnn.configs import PerformanceRnnConfig
from perf_rnn.record_files import RecordError, RecordFile

EXAMPLE_FORMATS = ("sparse_one_hot", "dense_one_hot")


@dataclasses.dataclass(frozen=True)
class EventSequence:
    """One segment as event indices.

    Attributes:
      events: int32 [length], event indices.
      source_id: id of the performance it was cut from, augmentation included; '' if unknown.
      segment_index: its place in that performance, from 0.
    """

    events: np.ndarray
    source_id: str = ""
    segment_index: int = 0


def make_example(
    sequence: EventSequence, config: PerformanceRnnConfig, example_format: str = "sparse_one_hot"
) -> Any:
    """Returns the `tf.train.SequenceExample` of a segment.

    Raises:
      ValueError: `example_format` is unknown.
    """
    from tensorflow.core.example import example_pb2, feature_pb2

    def integers(*values: int) -> Any:
        return feature_pb2.Feature(int64_list=feature_pb2.Int64List(value=values))

    def text(value: str) -> Any:
        return feature_pb2.Feature(bytes_list=feature_pb2.BytesList(value=[value.encode()]))

    if example_format not in EXAMPLE_FORMATS:
        raise ValueError(
            f"example format {example_format!r} is none of {', '.join(EXAMPLE_FORMATS)}"
        )
    if example_format == "sparse_one_hot":
        example = example_pb2.SequenceExample()
        events = example.feature_lists.feature_list["events"]
        events.feature.add().int64_list.value.extend(sequence.events.tolist())
    else:
        one_hot = np.eye(config.num_classes, dtype=np.float32)
        example = make_sequence_example(one_hot[sequence.events[:-1]], sequence.events[1:])
    context = example.context.feature
    context["config"].CopyFrom(text(config.key))
    context["num_classes"].CopyFrom(integers(config.num_classes))
    context["source_id"].CopyFrom(text(sequence.source_id))
    context["segment_index"].CopyFrom(integers(sequence.segment_index))
    return example


def make_sequence_example(inputs: Any, labels: Any) -> Any:
    """Returns a `tf.train.SequenceExample` with a step for every input, as Magenta writes it.

    Args:
      inputs: [steps, input size] floats.
      labels: [steps] integers, or [steps, labels per step].
    """
    from tensorflow.core.example import example_pb2

    example = example_pb2.SequenceExample()
    lists = example.feature_lists.feature_list
    for values in inputs:
        lists["inputs"].feature.add().float_list.value.extend(values)
    for label in labels:
        lists["labels"].feature.add().int64_list.value.extend(np.atleast_1d(label).tolist())
    return example


class EventRecords(Sequence[EventSequence]):
    """The examples of one or more TFRecord files, read by number and never all at once."""

    def __init__(self, pattern: str, config: PerformanceRnnConfig):
        """Finds the records of the files that `pattern` (a path or a glob) names.

        Raises:
          RecordError: no file matches, one is truncated or no TFRecord file, or all are empty.
        """
        self._config = config
        path = os.path.expanduser(pattern)
        paths = [path] if os.path.exists(path) else sorted(glob.glob(path))
        if not paths:
            raise RecordError(f"{pattern}: no such file")
        self._files = [RecordFile(path) for path in paths]
        self._ends = np.cumsum([len(file) for file in self._files])
        if not len(self):
            raise RecordError(f"{pattern}: holds no examples")

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: Any) -> Any:
        """Reads example `index`.

        Raises:
          RecordError: the record is corrupt, or made for another config.
        """
        return self._read(index)[1]

    @property
    def example_format(self) -> str:
        """The format found in the first example."""
        return self._read(0)[0]

    def _read(self, index: int) -> tuple[str, EventSequence]:
        index = range(len(self))[index]  # From the end if below 0; an IndexError if outside.
        number = int(np.searchsorted(self._ends, index, side="right"))
        file = self._files[number]
        place = int(index - self._ends[number] + len(file))
        return _parse_example(file[place], self._config, f"{file.path}: record {place}")


def _parse_example(
    data: bytes, config: PerformanceRnnConfig, name: str
) -> tuple[str, EventSequence]:
    from google.protobuf import message
    from tensorflow.core.example import example_pb2

    try:
        example = example_pb2.SequenceExample.FromString(data)
    except message.DecodeError as error:
        raise RecordError(f"{name}: not a SequenceExample") from error
    context = example.context.feature
    if "config" in context:
        made_for = b"".join(context["config"].bytes_list.value).decode(errors="replace")
        if made_for != config.key:
            raise RecordError(
                f"{name}: made for config {made_for!r}, not {config.key!r}; give the same --config"
            )
    if "num_classes" in context:
        num_classes = list(context["num_classes"].int64_list.value)
        if num_classes != [config.num_classes]:
            raise RecordError(f"{name}: num_classes is {num_classes}, not [{config.num_classes}]")
    lists = example.feature_lists.feature_list
    if "events" in lists and len(lists["events"].feature) == 1:
        example_format = "sparse_one_hot"
        events = np.array(lists["events"].feature[0].int64_list.value, np.int64)
    elif "inputs" in lists and "labels" in lists:
        example_format = "dense_one_hot"
        events = _dense_events(lists, config, name)
    else:
        raise RecordError(f"{name}: has neither `events` nor `inputs` and `labels`")
    if len(events) < 2 or events.min() < 0 or events.max() >= config.num_classes:
        raise RecordError(
            f"{name}: needs 2 or more events from 0 to {config.num_classes - 1}; "
            "is it made for another config?"
        )
    source_id = b"".join(context["source_id"].bytes_list.value) if "source_id" in context else b""
    places = context["segment_index"].int64_list.value if "segment_index" in context else []
    return example_format, EventSequence(
        events.astype(np.int32), source_id.decode(errors="replace"), places[0] if places else 0
    )


def _dense_events(lists: Any, config: PerformanceRnnConfig, name: str) -> np.ndarray:
    try:
        inputs = np.array([f.float_list.value for f in lists["inputs"].feature], np.float32)
        labels = np.array([f.int64_list.value for f in lists["labels"].feature], np.int64)
    except ValueError as error:
        raise RecordError(f"{name}: its steps differ in width") from error
    if inputs.shape != (len(labels), config.input_size) or labels.shape != (len(inputs), 1):
        raise RecordError(
            f"{name}: `inputs` {list(inputs.shape)} and `labels` {list(labels.shape)} are not "
            f"[steps, {config.input_size}] and [steps, 1] as config {config.key!r} has them"
        )
    if not (np.sort(inputs, axis=1)[:, -2:] == [0, 1]).all():
        raise RecordError(f"{name}: `inputs` are not one-hot")
    return np.concatenate([inputs.argmax(axis=1), labels[-1]])
