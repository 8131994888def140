"""From NoteSequences to the SequenceExamples that a Performance RNN is trained on.

Names and behaviour follow `magenta.pipelines.performance_pipeline` of Magenta 2.1.4.
Where it differs: the partition is a seeded hash, performances are not cut at 512 events, they
are stretched and transposed only on request, by a whole major third each way, and every discard is
counted.
"""

from __future__ import annotations

from typing import Any

from bundles.errors import PerfRnnError
from bundles.note_seq_protos import NoteSequence
from bundles.tensorflow_protos import SequenceExample
from perf_rnn.configs import PerformanceRnnConfig
from perf_rnn.data import examples as records
from perf_rnn.events.codec import STEPS_PER_SECOND
from pipelines import dag_pipeline, pipeline
from pipelines import note_sequence_pipelines as units
from pipelines.array_pipeline import ArrayPipeline
from pipelines.partitions import PARTITION_KEYS, SequencePartition
from pipelines.performance_extraction import (
    EVENT_ARRAYS,
    SEGMENT_SECONDS,
    EventArrays,
    PerformanceExtractor,
    extract_performances,
)

__all__ = ["EncoderPipeline", "PerformanceExtractor", "extract_performances", "get_pipeline"]

# Small enough changes to leave a performance natural: tempo by up to 5 %, pitch by up to a major
# third (Simon & Oore, 2017).
STRETCH_FACTORS = (0.95, 0.975, 1.0, 1.025, 1.05)
TRANSPOSITION_RANGE = tuple(range(-4, 5))


class EncoderPipeline(ArrayPipeline):
    """Turns performances into SequenceExamples for one config.

    Under optional conditioning each becomes two: with its control signals, and with none.
    """

    input_form = EVENT_ARRAYS

    def __init__(
        self,
        config: PerformanceRnnConfig,
        name: str | None,
        *,
        example_format: str = "sparse_one_hot",
        augmented: bool = False,
    ):
        """Sets what is written.

        Args:
          config: whose events the examples hold.
          name: name in statistics and messages.
          example_format: one of `perf_rnn.data.examples.EXAMPLE_FORMATS`.
          augmented: whether the performances were stretched and transposed.
        """
        from note_seq import performance_lib

        super().__init__(performance_lib.BasePerformance, SequenceExample, name)
        self._config = config
        self._example_format = example_format
        self._augmented = augmented

    def transform_arrays(self, arrays: EventArrays) -> list[Any]:
        config, events = self._config, arrays.events
        if type(arrays.codec) is not type(config.codec):
            raise PerfRnnError(
                f"config {config.key} takes the events of {type(config.codec).__name__}, not those "
                f"of {type(arrays.codec).__name__}"
            )
        by_head = events.reshape(-1, len(config.codec.head_sizes))
        outside = by_head >= config.codec.head_sizes
        if outside.any():
            raise PerfRnnError(
                f"event index {by_head[outside][0]} is outside config {config.key}, which has "
                f"{', '.join(map(str, config.codec.head_sizes))} classes"
            )
        return [
            records.make_example(
                events,
                config,
                self._example_format,
                disabled=disabled,
                augmented=self._augmented,
                source_id=arrays.source_id,
                segment_index=arrays.segment_index,
            )
            for disabled in ((False, True) if config.conditioning.optional else (False,))
        ]


def get_pipeline(
    config: PerformanceRnnConfig,
    min_events: int,
    max_events: int | None,
    eval_ratio: float,
    *,
    seed: int = 0,
    partition_by: str = "sequence",
    augmentation: bool = False,
    example_format: str = "sparse_one_hot",
    reader: pipeline.Pipeline | None = None,
    partition: pipeline.Pipeline | None = None,
) -> dag_pipeline.DAGPipeline:
    """Returns the pipeline from NoteSequences to training and evaluation examples.

    Sequences are first divided, so that no two copies of one are on both sides. Then the pedal is
    applied, training data is stretched, all is cut into segments of 30 s and quantised to 10 ms,
    training data is transposed, and what is left becomes performances and examples.

    Args:
      config: whose examples are made.
      min_events: shorter performances are discarded; at least 2, an event and the next.
      max_events: longer performances are cut to it; None keeps every event.
      eval_ratio: share for evaluation, from 0 to 1.
      seed: another seed gives another division.
      partition_by: 'sequence' divides sequences one by one; 'folder' keeps those of one folder,
        such as recordings of one piece, on one side.
      augmentation: whether training data is stretched and transposed here, into many copies,
        instead of while it is read for training (`perf_rnn.augmentation`).
      example_format: one of `perf_rnn.data.examples.EXAMPLE_FORMATS`.
      reader: what makes NoteSequences of the pipeline's inputs, such as a
        `midi_reader.MidiReader`; None where they are NoteSequences.
      partition: divides the sequences, instead of eval_ratio, seed and partition_by, into
        `partitions.SIDES`.

    Raises:
      ValueError: an argument is outside what is listed here.
    """
    if min_events < 2:
        raise PerfRnnError(f"min_events {min_events} is below 2: there is no next event to learn")
    if max_events is not None and max_events < min_events:
        raise PerfRnnError(
            f"max_events {max_events} is below min_events {min_events}: nothing would be left"
        )
    if not 0 <= eval_ratio <= 1:
        raise PerfRnnError(f"eval_ratio {eval_ratio} is not between 0 and 1")
    if partition_by not in PARTITION_KEYS:
        raise PerfRnnError(f"partition_by {partition_by!r} is none of {', '.join(PARTITION_KEYS)}")
    if example_format not in records.EXAMPLE_FORMATS:
        raise PerfRnnError(
            f"example_format {example_format!r} is none of {', '.join(records.EXAMPLE_FORMATS)}"
        )
    partition = partition or SequencePartition(eval_ratio, seed, partition_by)
    dag: dict[Any, Any] = {partition: reader or dag_pipeline.DagInput(NoteSequence)}
    if reader:
        dag[reader] = dag_pipeline.DagInput(reader.input_type)
    for mode in ("eval", "training"):
        augment = augmentation and mode == "training"
        chain = [
            units.NoteFilter(f"NoteFilter_{mode}"),
            units.SustainPipeline(f"SustainPipeline_{mode}"),
            units.StretchPipeline(
                STRETCH_FACTORS if augment else (1.0,), f"StretchPipeline_{mode}"
            ),
            units.Splitter(SEGMENT_SECONDS, f"Splitter_{mode}"),
            units.Quantizer(steps_per_second=STEPS_PER_SECOND, name=f"Quantizer_{mode}"),
            units.TranspositionPipeline(
                TRANSPOSITION_RANGE if augment else (0,), name=f"TranspositionPipeline_{mode}"
            ),
            PerformanceExtractor(
                min_events,
                max_events,
                config.codec.num_velocity_bins,
                note_performance=config.codec.whole_notes,
                name=f"PerformanceExtractor_{mode}",
            ),
            EncoderPipeline(
                config,
                f"EncoderPipeline_{mode}",
                example_format=example_format,
                augmented=augment,
            ),
            dag_pipeline.DagOutput(f"{mode}_performances"),
        ]
        source: Any = partition[f"{mode}_performances"]
        for unit in chain:
            dag[unit] = source
            source = unit
    return dag_pipeline.DAGPipeline(dag)
