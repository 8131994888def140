"""The pipeline from NoteSequences to SequenceExamples for training Performance RNN.

Names and behaviour follow `magenta.pipelines.performance_pipeline` of Magenta 2.1.4. Differences:
the partition is a seeded hash, performances are not truncated to 512 events, augmentation is
optional and transposes by up to 4 semitones each way, and everything discarded is counted.
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
    performance_type,
)

__all__ = ["EncoderPipeline", "PerformanceExtractor", "extract_performances", "get_pipeline"]

# Tempo changes of up to 5 %, transpositions of up to a major third (Simon & Oore, 2017).
STRETCH_FACTORS = (0.95, 0.975, 1.0, 1.025, 1.05)
TRANSPOSITION_RANGE = tuple(range(-4, 5))


class PerformanceEncoder(ArrayPipeline):
    """Encodes performances as SequenceExamples of one config.

    With optional conditioning each gives two examples: one with its control signals, and one with
    conditioning disabled.
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
        """Sets the config and format.

        Args:
          config: config of the examples.
          name: name in statistics and messages.
          example_format: one of `perf_rnn.data.examples.EXAMPLE_FORMATS`.
          augmented: whether the performances were stretched and transposed.
        """
        super().__init__(EventArrays, SequenceExample, name)
        self._config = config
        self._example_format = example_format
        self._augmented = augmented

    @property
    def input_type(self) -> type:
        return performance_type()

    def transform_arrays(self, arrays: EventArrays) -> list[Any]:
        config, events = self._config, arrays.events
        if type(arrays.codec) is not type(config.codec):
            raise PerfRnnError(
                f"config {config.key} needs events of {type(config.codec).__name__}, not of "
                f"{type(arrays.codec).__name__}"
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


EncoderPipeline = PerformanceEncoder  # Magenta's name.


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

    Sequences are partitioned first, so that all copies of a sequence are on one side. Then sustain
    is applied, training data is stretched, everything is split into segments of 30 s and quantised
    to 10 ms, training data is transposed, and performances are extracted and encoded.

    Args:
      config: config of the examples.
      min_events: segments with fewer events are discarded; at least 2 (an input and its label).
      max_events: segments with more events are truncated; None for no limit.
      eval_ratio: share for evaluation, from 0 to 1.
      seed: seed of the division.
      partition_by: 'sequence' divides single sequences; 'folder' keeps the sequences of a folder,
        such as recordings of one composition, on one side.
      augmentation: whether to store stretched and transposed copies of training data. Otherwise
        training can augment it while reading (`perf_rnn.data.augmentation`).
      example_format: one of `perf_rnn.data.examples.EXAMPLE_FORMATS`.
      reader: a first unit that turns the inputs into NoteSequences, such as a
        `midi_reader.MidiReader`; None if the inputs are NoteSequences.
      partition: a unit with the outputs `partitions.SIDES` that replaces the division by
        `eval_ratio`, `seed` and `partition_by`.

    Raises:
      PerfRnnError: an argument is invalid.
    """
    if min_events < 2:
        raise PerfRnnError(f"min_events {min_events} is below 2: an example needs a next event")
    if max_events is not None and max_events < min_events:
        raise PerfRnnError(
            f"max_events {max_events} is below min_events {min_events}: no segment would remain"
        )
    if not 0 <= eval_ratio <= 1:
        raise PerfRnnError(f"eval_ratio {eval_ratio} is not between 0 and 1")
    if partition_by not in PARTITION_KEYS:
        keys = ", ".join(PARTITION_KEYS)
        raise PerfRnnError(f"partition_by {partition_by!r} is not one of {keys}")
    if example_format not in records.EXAMPLE_FORMATS:
        raise PerfRnnError(
            f"example_format {example_format!r} is not one of {', '.join(records.EXAMPLE_FORMATS)}"
        )
    partition = partition or SequencePartition(eval_ratio, seed, partition_by)
    dag: dict[Any, Any] = {partition: reader or dag_pipeline.DagInput(NoteSequence)}
    if reader:
        dag[reader] = dag_pipeline.DagInput(reader.input_type)
    for mode in ("eval", "training"):
        augment = augmentation and mode == "training"
        stretch = units.StretchPipeline(STRETCH_FACTORS, f"StretchPipeline_{mode}")
        transpose = units.TranspositionPipeline(
            TRANSPOSITION_RANGE, name=f"TranspositionPipeline_{mode}"
        )
        chain: list[Any] = [
            units.NoteFilter(f"NoteFilter_{mode}"),
            units.SustainPipeline(f"SustainPipeline_{mode}"),
            *([stretch] if augment else []),
            units.Splitter(SEGMENT_SECONDS, f"Splitter_{mode}"),
            units.Quantizer(steps_per_second=STEPS_PER_SECOND, name=f"Quantizer_{mode}"),
            *([transpose] if augment else []),
            PerformanceExtractor(
                min_events, max_events, config.codec, f"PerformanceExtractor_{mode}"
            ),
            PerformanceEncoder(
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
