"""A pipeline run by several processes, with the output of one."""

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

from bundles.errors import PerfRnnError
from perf_rnn import progress
from perf_rnn.data import tfrecord
from pipelines import pipeline as pipelines
from pipelines import statistics

# Inputs that each process is given in advance.
INPUTS_AHEAD = 4


class _Crashed(enum.Enum):
    CRASHED = enum.auto()


# What stands for the result of an input on which the process died.
CRASHED = _Crashed.CRASHED


class _Result(NamedTuple):
    """What became of an input: by output name its framed records and their number; statistics."""

    records: dict[str, tuple[bytes, int]]
    stats: list[statistics.Statistic]


def default_num_workers() -> int:
    """The number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_numbers(num_workers: int, num_shards: int) -> None:
    """Checks both numbers.

    Raises:
      ValueError: one is below 1.
    """
    if num_workers < 1:
        raise PerfRnnError(f"num_workers {num_workers} is below 1")
    if num_shards < 1:
        raise PerfRnnError(f"num_shards {num_shards} is below 1")


def run_pipeline_parallel(
    pipeline: pipelines.Pipeline,
    input_iterator: Iterable[Any],
    output_dir: str,
    output_file_base: str | None = None,
    *,
    num_workers: int | None = None,
    num_shards: int = 1,
    require_output: bool = False,
) -> dict[str, int]:
    """Runs a pipeline over inputs in several processes and writes its outputs to TFRecords.

    The files are those of `pipeline.run_pipeline_serial`, byte for byte, however many processes
    there are. An input on which a process dies is named in a warning, counted as `inputs_crashed`
    and left out; what a pipeline raises ends the run. Pipeline and inputs must be picklable.

    Args:
      pipeline: the pipeline.
      input_iterator: its inputs.
      output_dir: where the files go; made if missing.
      output_file_base: what the file names start with; nothing by default.
      num_workers: number of processes; one for each core by default.
      num_shards: into how many files each output is divided, inputs going to them in turns. More
        than one are named `<output name>-00000-of-00005.tfrecord` and so on.
      require_output: whether it is an error if there is nothing to write.

    Returns:
      How many objects were written, by output name.

    Raises:
      ValueError: an output type has no SerializeToString method, a number is below 1, or there is
        nothing to write.
      OSError: `output_dir` cannot be made, or a file in it cannot be written.
    """
    num_workers = default_num_workers() if num_workers is None else num_workers
    check_numbers(num_workers, num_shards)
    pipelines.check_serializable(pipeline)
    tfrecord.make_directory(output_dir)
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
        if require_output:
            pipelines.check_written(output_dir, written, stats)
    pipelines.log_results(pipeline, written, stats)
    return written


def shard_name(name: str, shard: int, num_shards: int) -> str:
    """Returns the file name of a shard of an output.

    >>> shard_name('eval', 0, 1), shard_name('eval', 0, 5)
    ('eval.tfrecord', 'eval-00000-of-00005.tfrecord')
    """
    return (
        f"{name}.tfrecord" if num_shards == 1 else f"{name}-{shard:05}-of-{num_shards:05}.tfrecord"
    )


def map_in_order(
    function: Callable[[Any], Any], inputs: Iterable[Any], num_workers: int
) -> Iterator[tuple[Any, Any]]:
    """Yields each input and what a function makes of it in another process, in their order.

    Where the process died of an input, `CRASHED` stands instead, and a warning names the input.
    """
    waiting: collections.deque[tuple[Any, Future[Any]]] = collections.deque()
    inputs = iter(inputs)
    pool = _pool(function, num_workers)
    try:
        while True:
            for input_object in itertools.islice(inputs, num_workers * INPUTS_AHEAD - len(waiting)):
                waiting.append((input_object, pool.submit(_call, input_object)))
            if not waiting:
                return
            try:
                result = waiting[0][1].result()
            except BrokenProcessPool:
                # Which of the inputs under way it was shows when each has a process of its own.
                pool.shutdown()
                for input_object, _ in waiting:
                    yield input_object, _call_alone(function, input_object)
                waiting.clear()
                pool = _pool(function, num_workers)
            else:
                yield waiting.popleft()[0], result
    finally:
        pool.shutdown(cancel_futures=True)


def _call_alone(function: Callable[[Any], Any], input_object: Any) -> Any:
    with _pool(function, 1) as pool:
        try:
            return pool.submit(_call, input_object).result()
        except BrokenProcessPool:
            name = getattr(input_object, "filename", "") or f"a {type(input_object).__name__}"
            logging.warning("%s: skipped: a process died of it", name)
            return CRASHED


def _pool(function: Callable[[Any], Any], num_workers: int) -> ProcessPoolExecutor:
    # A forked process has all modules at once; but TensorFlow, once awake, does not survive a fork.
    can_fork = sys.platform == "linux" and "tensorflow.python" not in sys.modules
    method = "fork" if can_fork else "spawn" if sys.platform == "win32" else "forkserver"
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        # It has the modules that are slow to import, and imported them in the light way.
        context.set_forkserver_preload(["pipelines.performance_pipeline"])
    return ProcessPoolExecutor(num_workers, context, _start, (function,))


_function: Callable[[Any], Any] | None = None  # In a worker, what it calls.


def _start(function: Callable[[Any], Any]) -> None:
    global _function
    _function = function


def _call(input_object: Any) -> Any:
    assert _function
    return _function(input_object)


class _Transform:
    """Runs a pipeline on an input; gives framed records and their number by output, statistics."""

    def __init__(self, pipeline: pipelines.Pipeline):
        self._pipeline = pipeline

    def __call__(self, input_object: Any) -> _Result:
        outputs = self._pipeline.transform(input_object)
        if not isinstance(outputs, dict):
            outputs = {pipelines.DEFAULT_OUTPUT_NAME: outputs}
        records = {}
        for name, objects in outputs.items():
            file = io.BytesIO()
            writer = tfrecord.RecordWriter(file)
            for output in objects:
                writer.write(pipelines.serialize(output))
            records[name] = (file.getvalue(), len(objects))
        return _Result(records, self._pipeline.get_stats())
