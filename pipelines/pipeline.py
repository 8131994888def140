"""Pipelines: composable units of data processing with declared types and statistics.

Names and behaviour follow `magenta.pipelines.pipeline` of Magenta 2.1.4, so that pipelines written
for it run here. Differences: a pipeline with a single output can be run and loaded too (its output
is named `dataset`), output files are written atomically, and long runs show their progress.
"""

from __future__ import annotations

import abc
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from absl import logging

from bundles.atomic_files import make_directory
from bundles.errors import PerfRnnError
from bundles.regular_files import read_regular
from perf_rnn import progress
from perf_rnn.data import tfrecord
from pipelines import statistics

# Output name of a pipeline with a single output.
DEFAULT_OUTPUT_NAME = "dataset"
MAX_FILE_BYTES = 1 << 30  # Of the files that `file_iterator` reads.

TypeSignature = type | Mapping[str, type]
# Called with {output name: number of objects} and the statistics of a run.
Check = Callable[[Mapping[str, int], list[statistics.Statistic]], None]


class InvalidTypeSignatureError(PerfRnnError):
    """A type signature is neither a class nor a dict {str: class}."""


class InvalidStatisticsError(PerfRnnError):
    """The statistics are not an iterable of Statistic objects."""


class PipelineKey:
    """One output of a pipeline with several outputs: `unit[key]`.

    Attributes:
      unit: the pipeline.
      key: name of the output.
      output_type: type of the output.
    """

    def __init__(self, unit: Pipeline, key: str):
        """Selects output `key` of `unit`.

        Raises:
          PerfRnnError: `unit` is not a Pipeline.
          KeyError: `unit` has no output of that name, or a single unnamed one.
        """
        if not isinstance(unit, Pipeline):
            raise PerfRnnError(f"only a Pipeline has outputs to select, not {unit!r}")
        outputs = unit.named_outputs
        if outputs is None:
            raise KeyError(f"{key!r}: {unit.name} has a single, unnamed output")
        if key not in outputs:
            raise KeyError(f"{key!r}: {unit.name} has the outputs {sorted(outputs)}")
        self.unit = unit
        self.key = key
        self.output_type = outputs[key]

    def __repr__(self) -> str:
        return f"PipelineKey({self.unit!r}, {self.key})"


class Pipeline(abc.ABC):
    """A unit that turns one input object into a list of output objects.

    A subclass implements `transform` and may report statistics with `_set_stats`. An input or
    output type is a class, or a dict {name: class} for several inputs or outputs.
    """

    def __init__(
        self, input_type: TypeSignature, output_type: TypeSignature, name: str | None = None
    ):
        """Declares the types.

        Args:
          input_type: type of the input of `transform`: a class, or {name: class}.
          output_type: type of the objects in the lists that `transform` returns: a class, or
            {name: class}.
          name: name in statistics and messages; the name of the class by default.

        Raises:
          InvalidTypeSignatureError: a type is neither a class nor a dict {str: class}.
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
    def named_outputs(self) -> Mapping[str, type] | None:
        """The output types by name; None for a single output."""
        return self._output_type if isinstance(self._output_type, dict) else None

    @property
    def output_type_as_dict(self) -> Mapping[str, type]:
        """The output types by name; a single output is named `dataset`."""
        return as_dict(self.output_type)

    @property
    def name(self) -> str:
        return self._name

    @abc.abstractmethod
    def transform(self, input_object: Any) -> Any:
        """Processes one input.

        Args:
          input_object: an object of the input type, or {name: object} if the type is a dict.

        Returns:
          A list of objects of the output type, or {name: list} if the type is a dict.
        """

    def get_stats(self) -> list[statistics.Statistic]:
        """Returns copies of the last `transform`'s statistics, named `<pipeline name>_<name>`."""
        copies = [stat.copy() for stat in self._stats]
        for stat in copies:
            stat.name = f"{self._name}_{stat.name}"
        return copies

    def _set_stats(self, stats: Iterable[statistics.Statistic]) -> None:
        """Sets the statistics that `get_stats` returns.

        Raises:
          InvalidStatisticsError: `stats` is not an iterable of Statistic objects.
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
      extension: extension of the files to read, with or without the dot, in any case; None for
        all files.
      recurse: whether to read subdirectories too.

    Raises:
      PerfRnnError: `extension` is '', or a file is no regular one or of more than a GiB.
      OSError: a directory or file cannot be read.
    """
    if extension is not None:
        extension = "." + extension.lstrip(".").lower()
        if extension == ".":
            raise PerfRnnError("extension is empty; use None for all files")
    for entry in sorted(os.scandir(root_dir), key=lambda entry: entry.name):
        if entry.is_dir():
            if recurse:
                yield from file_iterator(entry.path, extension, recurse)
        elif extension is None or entry.name.lower().endswith(extension):
            yield read_regular(entry.path, MAX_FILE_BYTES)


def tf_record_iterator(tfrecord_file: str, proto: Any) -> Iterator[Any]:
    """Yields the messages of type `proto` (a protobuf message class) in a TFRecord file.

    Raises:
      OSError: the file cannot be read.
      PerfRnnError: the file is not a TFRecord file, or is truncated or corrupt, or a record is
        not a message of that type. The error names the file.
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
    check: Check | None = None,
) -> dict[str, int]:
    """Runs a pipeline on its inputs in this process and writes the outputs to TFRecords.

    Each output is written to `<output_dir>/[<output_file_base>_]<output name>.tfrecord`. The files
    are renamed from temporary names when all are complete; after an error, existing files are
    unchanged. The statistics are logged at level DEBUG.

    Args:
      pipeline: the pipeline.
      input_iterator: the inputs.
      output_dir: directory of the output files; created if missing.
      output_file_base: prefix of the file names; none by default.
      check: called before the files are renamed; if it raises, existing files are unchanged.

    Returns:
      {output name: number of objects written}.

    Raises:
      PerfRnnError: an output type has no SerializeToString method.
      OSError: `output_dir` cannot be created, or a file in it cannot be written.
    """
    check_serializable(pipeline)
    make_directory(output_dir)
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
        if check:
            check(written, stats)
    return written


def load_pipeline(pipeline: Pipeline, input_iterator: Iterable[Any]) -> dict[str, list[Any]]:
    """Runs a pipeline on its inputs and returns {output name: list of objects}.

    The statistics are logged at level DEBUG.
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
    """Yields the outputs of each input by name, updates `counts` and `stats`, and logs them."""
    for input_object in progress.show(inputs, pipeline.name, counts):
        outputs = as_dict(pipeline.transform(input_object))
        stats[:] = statistics.merge_statistics([*stats, *pipeline.get_stats()])
        yield outputs
        for name, objects in outputs.items():
            counts[name] += len(objects)
    log_results(pipeline, counts, stats)


def log_results(
    pipeline: Pipeline, counts: Mapping[str, int], stats: Iterable[statistics.Statistic]
) -> None:
    """Logs the number of objects of each output, and the statistics."""
    for name, count in counts.items():
        logging.debug("%s: %d objects of output %s", pipeline.name, count, name)
    statistics.log_statistics_list(stats, logging.debug)


def check_serializable(pipeline: Pipeline) -> None:
    """Raises PerfRnnError if an output type of a pipeline has no SerializeToString method."""
    for name, type_ in pipeline.output_type_as_dict.items():
        if not hasattr(type_, "SerializeToString"):
            raise PerfRnnError(
                f"output {name!r} of {pipeline.name} cannot be written to a TFRecord: "
                f"{type_.__name__} has no SerializeToString method"
            )


def serialize(output: Any) -> bytes:
    """Returns the bytes of an output; equal outputs have equal bytes."""
    from google.protobuf import message

    # By default the order of a proto's map entries differs from process to process.
    deterministic = {"deterministic": True} if isinstance(output, message.Message) else {}
    data: bytes = output.SerializeToString(**deterministic)
    return data


def as_dict(value: Any) -> dict[str, Any]:
    """Returns a dict as it is, and anything else as the single output of a pipeline."""
    return value if isinstance(value, dict) else {DEFAULT_OUTPUT_NAME: value}


def _check_type_signature(signature: Any, what: str) -> None:
    types = signature.values() if isinstance(signature, dict) else [signature]
    names = signature if isinstance(signature, dict) else ()
    if not all(isinstance(name, str) for name in names) or not all(
        isinstance(type_, type) for type_ in types
    ):
        raise InvalidTypeSignatureError(
            f"{what} must be a class or a dict {{str: class}}, got {signature!r}"
        )
