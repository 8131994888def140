"""Pipelines: units of data processing that declare their types, keep statistics and compose.

Names and behaviour follow `magenta.pipelines.pipeline` of Magenta 2.1.4, so that pipelines written
for it run here. Where it differs: a pipeline with a single output can be run and loaded too (its
output is named `dataset`), output files appear whole or not at all, and long runs show progress.
"""

from __future__ import annotations

import abc
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from absl import logging

from bundles.errors import PerfRnnError
from perf_rnn import progress
from perf_rnn.data import tfrecord
from pipelines import statistics

# The name of what a pipeline with a single output yields.
DEFAULT_OUTPUT_NAME = "dataset"

TypeSignature = type | Mapping[str, type]


class InvalidTypeSignatureError(PerfRnnError):
    """A type signature is neither a class nor a dict from str to class."""


class InvalidStatisticsError(PerfRnnError):
    """Statistics are not iterable, or not Statistics."""


class PipelineKey:
    """One output of a pipeline that has several: `unit[key]`.

    Attributes:
      unit: the pipeline.
      key: name of one of its outputs.
      output_type: type of that output.
    """

    def __init__(self, unit: Pipeline, key: str):
        """Names output `key` of `unit`.

        Raises:
          ValueError: `unit` is not a Pipeline.
          KeyError: `unit` has no output of that name, or a single unnamed one.
        """
        if not isinstance(unit, Pipeline):
            raise PerfRnnError(f"an output can only be taken of a Pipeline, not of {unit!r}")
        if not isinstance(unit.output_type, dict):
            raise KeyError(f"{key!r}: {unit.name} has a single, unnamed output")
        if key not in unit.output_type:
            raise KeyError(f"{key!r}: {unit.name} has the outputs {sorted(unit.output_type)}")
        self.unit = unit
        self.key = key
        self.output_type = unit.output_type[key]

    def __repr__(self) -> str:
        return f"PipelineKey({self.unit!r}, {self.key})"


class Pipeline(abc.ABC):
    """A unit that turns one input object into a list of output objects.

    A subclass implements `transform`, and may report what it did through `_set_stats`. Types are
    either a class (one input or output) or a dict from name to class (several).
    """

    def __init__(
        self, input_type: TypeSignature, output_type: TypeSignature, name: str | None = None
    ):
        """Declares the types.

        Args:
          input_type: what `transform` takes: a class, or {name: class} for a dict of objects.
          output_type: what `transform` returns lists of: a class, or {name: class}.
          name: name in statistics and messages; the class's by default.

        Raises:
          InvalidTypeSignatureError: a type is neither a class nor a dict from str to class.
        """
        _check_type_signature(input_type, "input_type")
        _check_type_signature(output_type, "output_type")
        self._input_type = input_type
        self._output_type = output_type
        self._name = type(self).__name__ if name is None else name
        self._stats: list[statistics.Statistic] = []

    def __getitem__(self, key: str) -> PipelineKey:
        return PipelineKey(self, key)

    @property
    def input_type(self) -> TypeSignature:
        return self._input_type

    @property
    def output_type(self) -> TypeSignature:
        return self._output_type

    @property
    def output_type_as_dict(self) -> Mapping[str, type]:
        """The output types by name; a single output is named `dataset`."""
        return _as_dict(self._output_type)

    @property
    def name(self) -> str:
        return self._name

    @abc.abstractmethod
    def transform(self, input_object: Any) -> Any:
        """Processes one input.

        Args:
          input_object: an object of the input type, or {name: object} if that is a dict.

        Returns:
          A list of objects of the output type, or {name: list} if that is a dict.
        """

    def get_stats(self) -> list[statistics.Statistic]:
        """Returns copies of what the last `transform` counted, named `<pipeline name>_<name>`."""
        copies = [stat.copy() for stat in self._stats]
        for stat in copies:
            stat.name = f"{self._name}_{stat.name}"
        return copies

    def _set_stats(self, stats: Iterable[statistics.Statistic]) -> None:
        """Sets what `get_stats` returns.

        Raises:
          InvalidStatisticsError: `stats` is not iterable, or holds anything but Statistics.
        """
        if not isinstance(stats, Iterable):
            raise InvalidStatisticsError(
                f"{self._name}: statistics must be iterable, got {stats!r}"
            )
        stats = list(stats)
        for stat in stats:
            if not isinstance(stat, statistics.Statistic):
                raise InvalidStatisticsError(f"{self._name}: {stat!r} is not a Statistic")
        self._stats = stats


def file_iterator(
    root_dir: str, extension: str | None = None, recurse: bool = True
) -> Iterator[bytes]:
    """Yields the contents of the files in a directory, in sorted order.

    Args:
      root_dir: the directory.
      extension: only files whose name ends so, with or without the dot, whatever the case; any
        file if None.
      recurse: whether to go into subdirectories.

    Raises:
      ValueError: `extension` is ''.
      OSError: a directory or file cannot be read.
    """
    if extension is not None:
        extension = "." + extension.lstrip(".").lower()
        if extension == ".":
            raise PerfRnnError("extension is empty; give None for files of any name")
    for entry in sorted(os.scandir(root_dir), key=lambda entry: entry.name):
        if entry.is_dir():
            if recurse:
                yield from file_iterator(entry.path, extension, recurse)
        elif extension is None or entry.name.lower().endswith(extension):
            with open(entry.path, "rb") as file:
                yield file.read()


def tf_record_iterator(tfrecord_file: str, proto: Any) -> Iterator[Any]:
    """Yields the messages of type `proto` (a protobuf message class) in a TFRecord file.

    Raises:
      OSError: the file cannot be read.
      ValueError: the file is no TFRecord file, is truncated or corrupt, or a record in it is not
        a message of that type. The message names the file.
    """
    from google.protobuf import message

    for number, record in enumerate(tfrecord.RecordFile(tfrecord_file)):
        try:
            yield proto.FromString(record)
        except message.DecodeError as error:
            raise PerfRnnError(
                f"{tfrecord_file}: record {number} is not a {proto.__name__}"
            ) from error


def run_pipeline_serial(
    pipeline: Pipeline,
    input_iterator: Iterable[Any],
    output_dir: str,
    output_file_base: str | None = None,
    *,
    require_output: bool = False,
) -> dict[str, int]:
    """Runs a pipeline over inputs, one after the other, and writes its outputs to TFRecords.

    Each output goes to `<output_dir>/[<output_file_base>_]<output name>.tfrecord`. The files are
    written under temporary names and get their own when all of them are complete; when anything
    fails, files already there stay as they were. The statistics are logged at the end.

    Args:
      pipeline: the pipeline.
      input_iterator: its inputs.
      output_dir: where the files go; made if missing.
      output_file_base: what the file names start with; nothing by default.
      require_output: whether it is an error if there is nothing to write.

    Returns:
      How many objects were written, by output name.

    Raises:
      ValueError: an output type has no SerializeToString method, or there is nothing to write.
      OSError: `output_dir` cannot be made, or a file in it cannot be written.
    """
    check_serializable(pipeline)
    tfrecord.make_directory(output_dir)
    prefix = f"{output_file_base}_" if output_file_base else ""
    written = dict.fromkeys(pipeline.output_type_as_dict, 0)
    paths = [os.path.join(output_dir, f"{prefix}{name}.tfrecord") for name in written]
    with tfrecord.open_writers(paths) as opened:
        writers = dict(zip(written, opened, strict=True))
        stats: list[statistics.Statistic] = []
        for outputs in _transform_all(pipeline, input_iterator, written, stats):
            for name, objects in outputs.items():
                for output in objects:
                    writers[name].write(serialize(output))
        if require_output:
            check_written(output_dir, written, stats)
    return written


def load_pipeline(pipeline: Pipeline, input_iterator: Iterable[Any]) -> dict[str, list[Any]]:
    """Runs a pipeline over inputs and returns all its outputs: {output name: list of objects}.

    The statistics are logged at the end.
    """
    loaded: dict[str, list[Any]] = {name: [] for name in pipeline.output_type_as_dict}
    counts = dict.fromkeys(loaded, 0)
    for outputs in _transform_all(pipeline, input_iterator, counts, []):
        for name, objects in outputs.items():
            loaded[name].extend(objects)
    return loaded


def _transform_all(
    pipeline: Pipeline,
    inputs: Iterable[Any],
    counts: dict[str, int],
    stats: list[statistics.Statistic],
) -> Iterator[Mapping[str, list[Any]]]:
    """Yields the outputs of each input by name, adds to `counts` and `stats`, and logs them."""
    for input_object in progress.show(inputs, pipeline.name, counts):
        outputs = _as_dict(pipeline.transform(input_object))
        stats[:] = statistics.merge_statistics([*stats, *pipeline.get_stats()])
        yield outputs
        for name, objects in outputs.items():
            counts[name] += len(objects)
    log_results(pipeline, counts, stats)


def log_results(
    pipeline: Pipeline, counts: Mapping[str, int], stats: Iterable[statistics.Statistic]
) -> None:
    """Logs how many objects each output had, and what was counted."""
    for name, count in counts.items():
        logging.info("%s: %d objects of output %s", pipeline.name, count, name)
    statistics.log_statistics_list(stats)


def check_written(
    output_dir: str, written: Mapping[str, int], stats: Iterable[statistics.Statistic]
) -> None:
    """Checks that some output was written.

    Raises:
      ValueError: none was; it says what `stats` counted as left out.
    """
    if any(written.values()):
        return
    reasons = [
        str(stat)
        for stat in stats
        if isinstance(stat, statistics.Counter)
        and stat.count
        and re.search("skipped|discarded|crashed|not_in_the_table", stat.name)
    ]
    shown = f" ({', '.join(reasons)})" if reasons else ""
    raise PerfRnnError(f"nothing to write to {output_dir}: every input was discarded{shown}")


def check_serializable(pipeline: Pipeline) -> None:
    """Checks that a pipeline's outputs can be written to TFRecords.

    Raises:
      ValueError: an output type has no SerializeToString method.
    """
    for name, type_ in pipeline.output_type_as_dict.items():
        if not hasattr(type_, "SerializeToString"):
            raise PerfRnnError(
                f"output {name!r} of {pipeline.name} cannot be written to a TFRecord: "
                f"{type_.__name__} has no SerializeToString method"
            )


def serialize(output: Any) -> bytes:
    """Returns the bytes of an output, the same ones for equal outputs."""
    from google.protobuf import message

    # Protos order their maps anew in every process; the same inputs should give the same file.
    deterministic = {"deterministic": True} if isinstance(output, message.Message) else {}
    return output.SerializeToString(**deterministic)


def _as_dict(value: Any) -> Any:
    return value if isinstance(value, dict) else {DEFAULT_OUTPUT_NAME: value}


def _check_type_signature(signature: Any, what: str) -> None:
    types = signature.values() if isinstance(signature, dict) else [signature]
    names = signature if isinstance(signature, dict) else ()
    if not all(isinstance(name, str) for name in names) or not all(
        isinstance(type_, type) for type_ in types
    ):
        raise InvalidTypeSignatureError(
            f"{what} must be a class or a dict from str to class, got {signature!r}"
        )
