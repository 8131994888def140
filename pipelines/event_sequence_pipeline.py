"""Encodes note_seq's event sequences with note_seq's encoders."""

from typing import Any

from bundles.tensorflow_protos import SequenceExample
from pipelines import pipeline, pipelines_common


class EncoderPipeline(pipeline.Pipeline):
    """Encodes event sequences as SequenceExamples with `inputs` and `labels`."""

    def __init__(self, input_type: type, encoder_decoder: Any, name: str | None = None):
        """Sets the encoder.

        Args:
          input_type: class of the event sequences, such as `note_seq.Melody`.
          encoder_decoder: a `note_seq.EventSequenceEncoderDecoder`.
          name: name in statistics and messages.
        """
        super().__init__(input_type, SequenceExample, name)
        self._encoder_decoder = encoder_decoder

    def transform(self, input_object: Any) -> list[Any]:
        inputs, labels = self._encoder_decoder.encode(input_object)
        return [pipelines_common.make_sequence_example(inputs, labels)]
