"""A TFRecord of NoteSequences as the training and evaluation examples of a config."""

import os
from collections.abc import Iterator
from typing import Any

from absl import logging
from note_seq.protobuf import music_pb2

from perf_rnn.configs import PerformanceRnnConfig
from pipelines import performance_pipeline, pipeline


def create_dataset(
    input_file: str,
    output_dir: str,
    config: PerformanceRnnConfig,
    min_events: int,
    max_events: int | None,
    eval_ratio: float,
    **options: Any,
) -> dict[str, int]:
    """Makes `{training,eval}_performances.tfrecord` and logs what was counted on the way.

    Args:
      input_file: TFRecord of NoteSequences.
      output_dir: where the two files go; made if missing.
      config, min_events, max_events, eval_ratio, options: see `performance_pipeline.get_pipeline`.

    Returns:
      {path: number of examples} of the two files.

    Raises:
      ValueError: a value makes no sense, `input_file` is no intact TFRecord of NoteSequences, or
        no example could be made of it. Files already in `output_dir` stay as they were.
      OSError: a file cannot be read or written.
    """
    examples = pipeline.run_pipeline_serial(
        performance_pipeline.get_pipeline(config, min_events, max_events, eval_ratio, **options),
        _note_sequences(input_file),
        output_dir,
        require_output=True,
    )
    for name, count in examples.items():
        if not count:
            logging.warning(
                "%s holds no examples: all that there is fell to the other side. Another --seed or "
                "--eval_ratio divides otherwise; --partition_by=folder wants many folders.",
                name,
            )
    return {os.path.join(output_dir, f"{name}.tfrecord"): n for name, n in examples.items()}


def _note_sequences(path: str) -> Iterator[music_pb2.NoteSequence]:
    number = -1
    sequences = pipeline.tf_record_iterator(path, music_pb2.NoteSequence)
    for number, sequence in enumerate(sequences):
        # Protos carry no name of their type: a tf.train example parses as a NoteSequence, its first
        # message, which starts with the tag "\n", as the id or the filename.
        if (sequence.id or sequence.filename).startswith("\n"):
            raise ValueError(f"{path}: record {number} is not a NoteSequence")
        yield sequence
    if number < 0:
        raise ValueError(f"{path}: holds no NoteSequences")
