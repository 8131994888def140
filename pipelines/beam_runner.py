"""A pipeline run by Apache Beam, on one machine or on a cluster."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics, MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions

from perf_rnn.data import tfrecord
from pipelines import pipeline as pipelines
from pipelines import statistics

# What counts outputs among Beam's metrics; statistics have the pipeline's name as namespace.
OUTPUTS = "outputs"


def run_pipeline_beam(
    pipeline: pipelines.Pipeline,
    input_iterator: Iterable[Any],
    output_dir: str,
    output_file_base: str | None = None,
    *,
    num_workers: int | None = None,
    num_shards: int = 1,
    require_output: bool = False,
    options: PipelineOptions | None = None,
) -> dict[str, int]:
    """Runs a pipeline over inputs with Beam and writes its outputs to TFRecords.

    The records are those of `parallel.run_pipeline_parallel`, in another order. Counters become
    Beam metrics in the namespace of the pipeline's name; histograms are not kept.

    Args:
      pipeline, input_iterator, output_dir, output_file_base, num_shards, require_output: as there.
      num_workers: number of processes of Beam's own local runner.
      options: Beam's options, which choose the runner; its local one by default.

    Returns:
      How many objects were written, by output name.

    Raises:
      ValueError: as there.
      OSError: `output_dir` cannot be made.
    """
    pipelines.check_serializable(pipeline)
    tfrecord.make_directory(output_dir)
    prefix = f"{output_file_base}_" if output_file_base else ""
    names = list(pipeline.output_type_as_dict)
    if options is None:
        options = PipelineOptions(
            runner="DirectRunner",
            direct_num_workers=num_workers or 1,
            direct_running_mode="multi_processing" if (num_workers or 1) > 1 else "in_memory",
        )
    run = beam.Pipeline(options=options)
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
    result = run.run()
    result.wait_until_finish()
    written = {name: _count(result, OUTPUTS, name) for name in names}
    counters = result.metrics().query(MetricsFilter().with_namespace(pipeline.name))["counters"]
    stats = [statistics.Counter(counter.key.metric.name, counter.result) for counter in counters]
    pipelines.log_results(pipeline, written, statistics.merge_statistics(stats))
    if require_output:
        pipelines.check_written(output_dir, written, stats)
    return written


def _count(result: Any, namespace: str, name: str) -> int:
    found = result.metrics().query(MetricsFilter().with_namespace(namespace).with_name(name))
    return sum(counter.result for counter in found["counters"])


class _Transform(beam.DoFn):
    """Runs a pipeline on each input; its outputs are tagged with their names."""

    def __init__(self, pipeline: pipelines.Pipeline):
        self._pipeline = pipeline

    def process(self, element: Any) -> Iterator[Any]:
        outputs = self._pipeline.transform(element)
        if not isinstance(outputs, dict):
            outputs = {pipelines.DEFAULT_OUTPUT_NAME: outputs}
        for stat in self._pipeline.get_stats():
            if isinstance(stat, statistics.Counter):
                Metrics.counter(self._pipeline.name, stat.name).inc(stat.count)
        for name, objects in outputs.items():
            Metrics.counter(OUTPUTS, name).inc(len(objects))
            for output in objects:
                yield beam.pvalue.TaggedOutput(name, pipelines.serialize(output))
