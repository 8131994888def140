"""Event sequences in TFRecords of SequenceExamples: writing one, and reading any by its number.

An example is written in one of two formats:

- `sparse_one_hot`: each one-hot vector is stored as the index of its hot bit, all of a segment's
  indices in one feature, `events`, those of an event with several heads one after the other. About
  2 bytes an index. Control signals follow from the events and are computed when they are read.
- `dense_one_hot`: Magenta 2.1.4's format, L - 1 steps of `inputs` (floats: the next event's
  controls, then the event's vector) and `labels` (the next event) for L events, which Magenta's own
  trainer reads. About 4 bytes a float.

In both, the context names the config, the number of classes, the source and the segment's place
in it, whether the data was augmented, and for optional conditioning whether it is disabled;
Magenta's reader ignores the context, and its own records have none.
"""

import dataclasses
import functools
import glob
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bundles.errors import PerfRnnError
from perf_rnn.configs import PerformanceRnnConfig
from perf_rnn.data.tfrecord import RecordError, RecordFile
from perf_rnn.events.encodings import EventEncoding

EXAMPLE_FORMATS = ("sparse_one_hot", "dense_one_hot")
# Of a serialised example: half an hour of piano in dense format, or a day in the sparse one.
MAX_EXAMPLE_BYTES = 1 << 27
MAX_EVENT_INDICES = 1 << 22


@dataclasses.dataclass(frozen=True, eq=False)
class EventSequence:
    """One segment: its events, and the control vector at each.

    Attributes:
      events: int32 [length, *event_shape].
      make_controls: returns `controls`; called when they are first asked for, since augmentation
        needs only those of the augmented copy.
      disabled: for optional conditioning: whether it is off.
    """

    events: np.ndarray
    make_controls: Callable[[], np.ndarray]
    disabled: bool = False

    @functools.cached_property
    def controls(self) -> np.ndarray:
        """float32 [length, control_size], the control vector at every event.

        Its width is 0 for an unconditioned config. No network reads the first row; dense records do
        not hold it, and where a segment was read from one it is a row of zeros.
        """
        return self.make_controls()

    @classmethod
    def from_events(
        cls, events: np.ndarray, config: PerformanceRnnConfig, disabled: bool = False
    ) -> "EventSequence":
        """Makes a segment with the controls extracted from its events.

        Args:
          events: int32 [length, *event_shape].
          config: whose control signals are extracted.
          disabled: for optional conditioning: controls that say that conditioning is off.
        """
        extract = config.conditioning.extract
        return cls(events, functools.partial(extract, events, config.codec, disabled), disabled)


def make_example(
    events: np.ndarray,
    config: PerformanceRnnConfig,
    example_format: str = "sparse_one_hot",
    *,
    disabled: bool = False,
    augmented: bool = False,
    source_id: str = "",
    segment_index: int = 0,
) -> Any:
    """Returns the `tf.train.SequenceExample` of a segment, with the controls extracted from it.

    Args:
      events: int32 [length, *event_shape].
      config: of the models that will be trained on it.
      example_format: one of `EXAMPLE_FORMATS`.
      disabled: for optional conditioning: whether it is off.
      augmented: whether it is one of the copies, stretched and transposed, that a dataset has of
        each segment.
      source_id: id of the performance it was cut from, augmentation included; '' if unknown.
      segment_index: its place in that performance, from 0.

    Raises:
      PerfRnnError: `example_format` is unknown.
    """
    if example_format not in EXAMPLE_FORMATS:
        raise PerfRnnError(
            f"example format {example_format!r} is none of {', '.join(EXAMPLE_FORMATS)}"
        )
    if example_format == "sparse_one_hot":
        from bundles.tensorflow_protos import SequenceExample

        example = SequenceExample()
        feature = example.feature_lists.feature_list["events"].feature.add()
        feature.int64_list.value.extend(events.ravel().tolist())
    else:
        controls = config.conditioning.extract(events, config.codec, disabled)
        vectors = config.encoding.dense_inputs(events[:-1])
        example = make_sequence_example(np.hstack([controls[1:], vectors]), events[1:])
    context = example.context.feature
    context["config"].bytes_list.value.append(config.key.encode())
    context["num_classes"].int64_list.value.append(config.num_classes)
    context["source_id"].bytes_list.value.append(source_id.encode())
    context["segment_index"].int64_list.value.append(segment_index)
    context["augmented"].int64_list.value.append(int(augmented))
    if config.conditioning.optional:
        context["conditioning_disabled"].int64_list.value.append(int(disabled))
    return example


def make_sequence_example(inputs: Any, labels: Any) -> Any:
    """Returns a `tf.train.SequenceExample` with a step for every input, as Magenta writes it.

    Args:
      inputs: [steps, input size] floats.
      labels: [steps] integers, or [steps, labels per step].
    """
    from bundles.tensorflow_protos import SequenceExample

    example = SequenceExample()
    lists = example.feature_lists.feature_list
    if len(inputs):
        vectors = np.ascontiguousarray(inputs, "<f4")
        lists["inputs"].feature.add().float_list.value.extend(vectors[0])
        # The bytes of all steps begin like those that protobuf writes for the first. Writing them
        # as one array takes a twentieth of the time of adding float by float to messages.
        begin = np.frombuffer(lists["inputs"].SerializeToString(), np.uint8)[: -vectors[0].nbytes]
        following = np.empty((len(vectors) - 1, len(begin) + vectors[0].nbytes), np.uint8)
        following[:, : len(begin)] = begin
        following[:, len(begin) :] = vectors[1:].view(np.uint8)
        lists["inputs"].MergeFromString(following.tobytes())
    for label in labels:
        lists["labels"].feature.add().int64_list.value.extend(np.atleast_1d(label).tolist())
    return example


class EventRecords(Sequence[EventSequence]):
    """The examples of one or more TFRecord files, read by number and never all at once."""

    def __init__(self, pattern: str, config: PerformanceRnnConfig):
        """Finds the records of the files that `pattern` (a path or a glob) names.

        Raises:
          RecordError: no file matches, one is truncated or no TFRecord file, or all are empty.
          OSError: a file cannot be read.
        """
        self._config = config
        path = os.path.expanduser(pattern)
        paths = [path] if os.path.exists(path) else sorted(glob.glob(path))
        if not paths:
            raise RecordError(f"{pattern}: no such file")
        if os.path.isdir(path):
            raise RecordError(
                f"{pattern}: is a directory; give a TFRecord that perf_rnn dataset made"
            )
        self._files = [RecordFile(path) for path in paths]
        self._ends = np.cumsum([len(file) for file in self._files])
        if not len(self):
            raise RecordError(
                f"{pattern}: holds no examples; make the records from more performances, or "
                "divide them otherwise"
            )

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: Any) -> Any:
        """Reads example `index`.

        Raises:
          RecordError: the record is corrupt, or made for another config.
        """
        return self._read(index)[1]

    @property
    def paths(self) -> list[str]:
        """The files."""
        return [file.path for file in self._files]

    @property
    def example_format(self) -> str:
        """The format found in the first example."""
        return self._read(0)[0]

    @property
    def augmented(self) -> bool | None:
        """Whether the data is augmented, according to each file's first example.

        True if any file is augmented; otherwise None if it is unknown for a file.
        """
        found = []
        for file in self._files:
            if len(file):
                name = f"{file.path}: record 0"
                found.append(_flag(_example(file[0], name).context.feature, "augmented", name))
        return True if True in found else None if None in found else False

    def _read(self, index: int) -> tuple[str, EventSequence]:
        index = range(len(self))[index]  # From the end if below 0; an IndexError if outside.
        number = int(np.searchsorted(self._ends, index, side="right"))
        file = self._files[number]
        place = int(index - self._ends[number] + len(file))
        return _parse_example(file[place], self._config, f"{file.path}: record {place}")


def _parse_example(
    data: bytes, config: PerformanceRnnConfig, name: str
) -> tuple[str, EventSequence]:
    example = _example(data, name)
    context = example.context.feature
    if "config" in context:
        made_for = b"".join(context["config"].bytes_list.value).decode(errors="replace")
        if made_for != config.key:
            raise RecordError(
                f"{name}: made for config {made_for!r}, not {config.key!r}; give that config, or "
                "records of this one"
            )
    if "num_classes" in context:
        num_classes = list(context["num_classes"].int64_list.value)
        if num_classes != [config.num_classes]:
            raise RecordError(f"{name}: num_classes is {num_classes}, not [{config.num_classes}]")
    lists = example.feature_lists.feature_list
    if "events" in lists and len(lists["events"].feature) == 1:
        values = lists["events"].feature[0].int64_list.value
        if len(values) > MAX_EVENT_INDICES:
            raise RecordError(f"{name}: more than {MAX_EVENT_INDICES} integers")
        indices = np.array(values, np.int64)
        events = _checked_events(indices, config.encoding, name)
        if len(events) < 2:
            raise RecordError(f"{name}: needs 2 or more events, has {len(events)}")
        disabled = config.conditioning.optional and _flag(context, "conditioning_disabled", name)
        if disabled is None:
            raise RecordError(f"{name}: does not say whether its conditioning is disabled")
        return "sparse_one_hot", EventSequence.from_events(events, config, disabled)
    if "inputs" in lists and "labels" in lists:
        events, controls = _parse_dense(lists, config, name)
        # The first row is not stored.
        disabled = config.conditioning.optional and bool(controls[-1, 0])
        return "dense_one_hot", EventSequence(events, controls.copy, disabled)
    raise RecordError(f"{name}: has neither `events` nor `inputs` and `labels`")


def _example(data: bytes, name: str) -> Any:
    from google.protobuf import message

    from bundles.tensorflow_protos import SequenceExample

    if len(data) > MAX_EXAMPLE_BYTES:
        raise RecordError(f"{name}: more than {MAX_EXAMPLE_BYTES} bytes")
    try:
        return SequenceExample.FromString(data)
    except message.DecodeError as error:
        raise RecordError(
            f"{name}: not a SequenceExample, such as perf_rnn dataset makes"
        ) from error


def _flag(context: Any, feature: str, name: str) -> bool | None:
    """Returns a feature of 0 or 1 as a bool, None where the context lacks it."""
    if feature not in context:
        return None
    values = list(context[feature].int64_list.value)
    if values not in ([0], [1]):
        raise RecordError(f"{name}: {feature} is {values}, neither [0] nor [1]")
    return values == [1]


def _checked_events(indices: np.ndarray, encoding: EventEncoding, name: str) -> np.ndarray:
    """Returns int32 [length, *event_shape] of as many integers [n] or [length, heads]."""
    if indices.size % len(encoding.head_sizes):
        raise RecordError(
            f"{name}: {indices.size} integers are not {len(encoding.head_sizes)} for each event"
        )
    by_head = indices.reshape(-1, len(encoding.head_sizes))
    for head, size in enumerate(encoding.head_sizes):
        outside = by_head[(by_head[:, head] < 0) | (by_head[:, head] >= size), head]
        if len(outside):
            raise RecordError(
                f"{name}: event index {outside[0]} is outside 0 to {size - 1}; "
                "is it made for another config?"
            )
    return by_head.reshape(-1, *encoding.event_shape).astype(np.int32)


def _parse_dense(
    lists: Any, config: PerformanceRnnConfig, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Returns (events, controls)."""
    input_size, num_heads = config.dense_input_size, len(config.encoding.head_sizes)
    steps = max(len(lists["inputs"].feature), len(lists["labels"].feature))
    # Of empty steps a record may hold millions.
    if steps * input_size > lists["inputs"].ByteSize():
        raise RecordError(
            f"{name}: {steps} steps are not of {input_size} `inputs` each, as config "
            f"{config.key!r} has them"
        )
    try:
        inputs = np.array([f.float_list.value for f in lists["inputs"].feature], np.float32)
        labels = np.array([f.int64_list.value for f in lists["labels"].feature], np.int64)
    except ValueError as error:
        raise RecordError(f"{name}: its steps differ in width") from error
    if inputs.shape != (len(labels), input_size) or labels.shape != (len(inputs), num_heads):
        raise RecordError(
            f"{name}: `inputs` {list(inputs.shape)} and `labels` {list(labels.shape)} are not "
            f"[steps, {input_size}] and [steps, {num_heads}] as config {config.key!r} has them"
        )
    controls, vectors = np.split(inputs, [config.control_size], axis=1)
    if not np.isfinite(controls).all():
        raise RecordError(f"{name}: `inputs` hold control signals that are not finite")
    try:
        events = config.encoding.events_from_dense(vectors)
    except PerfRnnError as error:
        raise RecordError(f"{name}: `inputs`: {error}") from error
    following = _checked_events(labels, config.encoding, name)
    if (events[1:] != following[:-1]).any():
        raise RecordError(f"{name}: `labels` are not the events that follow in `inputs`")
    return np.concatenate([events, following[-1:]]), np.pad(controls, ((1, 0), (0, 0)))
