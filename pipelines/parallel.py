"""Runs a pipeline in several processes; the output is that of one process."""

from __future__ import annotations

import collections
import enum
import io
import itertools
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, NamedTuple

from absl import logging

from bundles.atomic_files import make_directory, remove_temporaries
from bundles.errors import PerfRnnError
from perf_rnn import progress
from perf_rnn.data import tfrecord
from pipelines import pipeline as pipelines
from pipelines import statistics

# Inputs queued for each process.
INPUTS_AHEAD = 4


class _Crashed(enum.Enum):
    CRASHED = enum.auto()


# The result for an input that crashed its process.
CRASHED = _Crashed.CRASHED


class _Result(NamedTuple):
    """The output of one input.

    Attributes:
      records: {output name: (framed TFRecords, number of records)}.
      stats: statistics of the input.
    """

    records: dict[str, tuple[bytes, int]]
    stats: list[statistics.Statistic]


def default_num_workers() -> int:
    """Returns the number of processor cores available to this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_numbers(num_workers: int, num_shards: int) -> None:
    """Raises PerfRnnError if either number is below 1."""
    for name, number in (("num_workers", num_workers), ("num_shards", num_shards)):
        if number < 1:
            raise PerfRnnError(f"{name} {number} is below 1")


def run_pipeline_parallel(
    pipeline: pipelines.Pipeline,
    input_iterator: Iterable[Any],
    output_dir: str,
    output_file_base: str | None = None,
    *,
    num_workers: int | None = None,
    num_shards: int = 1,
    check: pipelines.Check | None = None,
) -> dict[str, int]:
    """Runs a pipeline on its inputs in several processes and writes the outputs to TFRecords.

    The files are the same as those of `pipeline.run_pipeline_serial`, for any number of processes.
    An input that crashes its process is named in a warning, counted as `inputs_crashed` and
    skipped; an exception in the pipeline ends the run. The pipeline and its inputs must be
    picklable.

    Args:
      pipeline: the pipeline.
      input_iterator: the inputs.
      output_dir: directory of the output files; created if missing.
      output_file_base: prefix of the file names; none by default.
      num_workers: number of processes; one for each core by default.
      num_shards: number of files for each output; inputs are distributed in turn. Several shards
        are named `<output name>-00000-of-00005.tfrecord` and so on.
      check: see `pipeline.run_pipeline_serial`.

    Returns:
      {output name: number of objects written}.

    Raises:
      PerfRnnError: an output type has no SerializeToString method, or a number is below 1.
      OSError: `output_dir` cannot be created, or a file in it cannot be written.
    """
    num_workers = default_num_workers() if num_workers is None else num_workers
    check_numbers(num_workers, num_shards)
    pipelines.check_serializable(pipeline)
    make_directory(output_dir)
    remove_temporaries(output_dir)
    written = dict.fromkeys(pipeline.output_type_as_dict, 0)
    names = [(name, shard) for name in written for shard in range(num_shards)]
    prefix = f"{output_file_base}_" if output_file_base else ""
    paths = [os.path.join(output_dir, prefix + shard_name(*name, num_shards)) for name in names]
    stats: list[statistics.Statistic] = []
    with tfrecord.open_writers(paths) as opened:
        writers = dict(zip(names, opened, strict=True))
        results = map_in_order(_Transform(pipeline), input_iterator, num_workers)
        for number, (_, result) in enumerate(progress.show(results, pipeline.name, written)):
            if result is CRASHED:
                result = _Result({}, [statistics.Counter(f"{pipeline.name}_inputs_crashed", 1)])
            for name, (records, count) in result.records.items():
                writers[name, number % num_shards].write_framed(records)
                written[name] += count
            stats = statistics.merge_statistics([*stats, *result.stats])
        if check:
            check(written, stats)
    pipelines.log_results(pipeline, written, stats)
    return written


def shard_name(name: str, shard: int, num_shards: int) -> str:
    """Returns the file name of one shard of an output.

    >>> shard_name('eval', 0, 1), shard_name('eval', 0, 5)
    ('eval.tfrecord', 'eval-00000-of-00005.tfrecord')
    """
    return (
        f"{name}.tfrecord" if num_shards == 1 else f"{name}-{shard:05}-of-{num_shards:05}.tfrecord"
    )


def map_in_order(
    function: Callable[[Any], Any], inputs: Iterable[Any], num_workers: int
) -> Iterator[tuple[Any, Any]]:
    """Yields (input, result of the function), computed in worker processes, in order of the inputs.

    The result is `CRASHED`, and a warning names the input, if the input crashes its process.
    """
    inputs = iter(inputs)
    queue: collections.deque[Any] = collections.deque()  # Inputs without a result yet.
    futures: collections.deque[Future[Any]] = collections.deque()  # Of the first of them.
    pool = _pool(function, num_workers)
    try:
        while True:
            queue.extend(itertools.islice(inputs, num_workers * INPUTS_AHEAD - len(queue)))
            if not queue:
                return
            try:
                for input_object in itertools.islice(queue, len(futures), None):
                    futures.append(pool.submit(_call, input_object))
                result = futures.popleft().result()
            except BrokenProcessPool:
                # A queued input crashed its worker; running each in its own process shows which.
                pool.shutdown()
                futures.clear()
                while queue:
                    yield queue[0], _call_alone(function, queue.popleft())
                pool = _pool(function, num_workers)
            else:
                yield queue.popleft(), result
    finally:
        pool.shutdown(cancel_futures=True)


def _call_alone(function: Callable[[Any], Any], input_object: Any) -> Any:
    with _pool(function, 1) as pool:
        try:
            return pool.submit(_call, input_object).result()
        except BrokenProcessPool:
            # Files and records have a name, NoteArrays and NoteSequences a filename.
            names = (getattr(input_object, attribute, "") for attribute in ("name", "filename"))
            name = next(filter(None, names), f"a {type(input_object).__name__}")
            logging.warning("%s: skipped: it crashed its process", name)
            return CRASHED


def _pool(function: Callable[[Any], Any], num_workers: int) -> ProcessPoolExecutor:
    # Forking is fastest, since all modules are loaded already, but TensorFlow's threads and locks
    # do not survive it.
    can_fork = sys.platform == "linux" and "tensorflow.python" not in sys.modules
    method = "fork" if can_fork else "spawn" if sys.platform == "win32" else "forkserver"
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        # Workers fork from a server that has imported the slow modules once.
        context.set_forkserver_preload(["pipelines.performance_pipeline"])
    if sys.platform == "win32":
        num_workers = min(num_workers, 61)  # ProcessPoolExecutor takes no more there.
    return ProcessPoolExecutor(num_workers, context, _start, (function,))


_function: Callable[[Any], Any] | None = None  # The function of this worker process.


def _start(function: Callable[[Any], Any]) -> None:
    global _function
    _function = function


def _call(input_object: Any) -> Any:
    assert _function
    return _function(input_object)


class _Transform:
    """Runs a pipeline on one input and serializes the outputs."""

    def __init__(self, pipeline: pipelines.Pipeline):
        self._pipeline = pipeline

    def __call__(self, input_object: Any) -> _Result:
        records = {}
        for name, objects in pipelines.as_dict(self._pipeline.transform(input_object)).items():
            file = io.BytesIO()
            writer = tfrecord.RecordWriter(file)
            for output in objects:
                writer.write(pipelines.serialize(output))
            records[name] = (file.getvalue(), len(objects))
        return _Result(records, statistics.merge_statistics(self._pipeline.get_stats()))
