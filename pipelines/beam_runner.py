"""Runs a pipeline with Apache Beam, on one machine or on a cluster."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.metrics.metric import Metrics, MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.transforms.environments import SubprocessSDKEnvironment

from bundles.atomic_files import make_directory
from pipelines import pipeline as pipelines
from pipelines import statistics

# Metrics namespace of the output counts; statistics use the name of the pipeline.
OUTPUTS = "outputs"


def run_pipeline_beam(
    pipeline: pipelines.Pipeline,
    input_iterator: Iterable[Any],
    output_dir: str,
    output_file_base: str | None = None,
    *,
    num_workers: int | None = None,
    num_shards: int = 1,
    check: pipelines.Check | None = None,
    options: PipelineOptions | None = None,
) -> dict[str, int]:
    """Runs a pipeline on its inputs with Beam and writes the outputs to TFRecords.

    The records are those of `parallel.run_pipeline_parallel`, in another order. Counters become
    Beam metrics in the namespace of the pipeline's name; histograms are not kept. Unlike there, an
    input that crashes its process (not one that raises) ends the run or is retried, as the
    runner decides.

    Args:
      pipeline, input_iterator, output_dir, output_file_base, num_shards: see
        `parallel.run_pipeline_parallel`.
      num_workers: number of processes of Beam's local runner; 1 by default.
      check: called when the files are written.
      options: Beam's options, including the runner; Beam's local runner by default.

    Returns:
      {output name: number of objects written}.

    Raises:
      PerfRnnError: an output type has no SerializeToString method.
      OSError: `output_dir` cannot be created.
    """
    pipelines.check_serializable(pipeline)
    make_directory(output_dir)
    prefix = f"{output_file_base}_" if output_file_base else ""
    names = list(pipeline.output_type_as_dict)
    runner = None if options else _local_runner(num_workers or 1)
    options = options or PipelineOptions(
        direct_num_workers=num_workers or 1,
        direct_running_mode=None,  # The runner's environment decides.
    )
    run = beam.Pipeline(runner, options)
    outputs = (
        run
        | beam.Create(list(input_iterator), reshuffle=True)
        | beam.ParDo(_Transform(pipeline)).with_outputs(*names)
    )
    for name in names:
        _ = outputs[name] | f"Write {name}" >> beam.io.WriteToTFRecord(
            os.path.join(output_dir, prefix + name),
            file_name_suffix=".tfrecord",
            num_shards=num_shards,
            shard_name_template="" if num_shards == 1 else None,
        )
    result: Any = run.run()
    result.wait_until_finish()
    written = {name: _count(result, OUTPUTS, name) for name in names}
    counters = result.metrics().query(MetricsFilter().with_namespace(pipeline.name))["counters"]
    stats = statistics.merge_statistics(
        statistics.Counter(counter.key.metric.name, counter.result) for counter in counters
    )
    pipelines.log_results(pipeline, written, stats)
    if check:
        check(written, stats)
    return written


def _local_runner(num_workers: int) -> FnApiRunner:
    """Returns Beam's local runner, with worker processes if there are several workers."""
    if num_workers == 1:
        return FnApiRunner()
    # `direct_running_mode="multi_processing"` would give a shell this command without quotes: with
    # a space in the interpreter's path no worker starts, and Beam waits for them for minutes.
    command = f"{shlex.quote(sys.executable)} -m apache_beam.runners.worker.sdk_worker_main"
    return FnApiRunner(SubprocessSDKEnvironment.from_command_string(command))


def _count(result: Any, namespace: str, name: str) -> int:
    found = result.metrics().query(MetricsFilter().with_namespace(namespace).with_name(name))
    return sum(counter.result for counter in found["counters"])


class _Transform(beam.DoFn):
    """Runs a pipeline on each input and tags the outputs with their names."""

    def __init__(self, pipeline: pipelines.Pipeline):
        self._pipeline = pipeline

    def process(self, element: Any) -> Iterator[Any]:
        outputs = pipelines.as_dict(self._pipeline.transform(element))
        for stat in self._pipeline.get_stats():
            if isinstance(stat, statistics.Counter):
                Metrics.counter(self._pipeline.name, stat.name).inc(stat.count)
        for name, objects in outputs.items():
            Metrics.counter(OUTPUTS, name).inc(len(objects))
            for output in objects:
                yield beam.pvalue.TaggedOutput(name, pipelines.serialize(output))
