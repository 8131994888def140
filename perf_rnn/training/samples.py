"""What a network in training sounds like so far, for TensorBoard.

`RUN_DIR/sample` gets a piece now and then, drawn with always the same seed: its sound, its piano
roll and what its events are. `RUN_DIR/data` gets what those of the training data are. To
TensorBoard the two are runs like train and eval: their shares are curves of one plot, their
histograms lie side by side.
"""

import io
import wave
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import logging
from numpy.typing import NDArray

from perf_rnn.configs import PerformanceRnnConfig
from perf_rnn.data.examples import EventSequence
from perf_rnn.events.codec import STEPS_PER_SECOND
from perf_rnn.generation.generate import GenerationOptions, generate_pieces
from perf_rnn.models import Model
from perf_rnn.notes.arrays import NoteArrays
from perf_rnn.rendering.audio import SAMPLE_RATE, Synthesizer, write_wav
from perf_rnn.rendering.piano_roll import to_png
from perf_rnn.training.run_dir import RunDir

SEED = 0

# Some 100,000 events.
_NUM_DATA_SEGMENTS = 100

_MOST_BUCKETS = 128


class SampleWriter:
    """Writes samples of a network in training, and what they are to be measured by."""

    def __init__(
        self,
        run: RunDir,
        config: PerformanceRnnConfig,
        segments: Sequence[EventSequence],
        seconds: float = 10.0,
    ):
        """Looks at the data. Where nothing here plays MIDI, samples are without sound.

        Args:
          run: where the summaries go.
          config: of the network.
          segments: training data, read by number; a hundred of them, evenly spread, stand for it.
          seconds: length of each sample.
        """
        self._run, self._config = run, config
        self._num_steps = round(seconds * STEPS_PER_SECOND)
        places = np.linspace(0, len(segments) - 1, min(_NUM_DATA_SEGMENTS, len(segments)))
        data = np.concatenate([segments[round(place)].events for place in places])
        self._data_values = config.codec.values(data)
        self._synthesizer: Synthesizer | None = None
        try:
            self._synthesizer = Synthesizer()
        except ValueError as error:
            logging.warning("Samples are without sound: %s", error)

    def write(self, network: Any, step: int) -> None:
        """Draws the sample of a Keras network that has been trained for `step` steps.

        It is the piece that `performance_rnn_generate --seed=0` plays first, with controls, if the
        model has any, at their defaults.
        """
        import tensorflow as tf
        from tensorboard.plugins.audio import metadata

        from perf_rnn.network.network import bundle_from_network

        model = Model(bundle_from_network(network, self._config), self._config)
        (piece,) = generate_pieces(model, GenerationOptions(self._num_steps, 1, SEED))
        # Not in the run's train directory: of each, TensorBoard follows one open file.
        with tf.summary.create_file_writer(self._run.sample_dir).as_default(step=step):
            png = to_png(piece.notes, title=f"{self._config.key}, step {step}")
            tf.summary.image("piano_roll", tf.io.decode_png(png)[tf.newaxis])
            if self._synthesizer:
                wav = _to_small_wav(piece.notes, self._synthesizer)
                # tf.summary.audio writes the same, but makes oneDNN complain on stderr.
                is_wav = metadata.create_summary_metadata(None, "", metadata.Encoding.Value("WAV"))
                tf.summary.write("sound", tf.constant([[wav, b""]]), metadata=is_wav)
            self._write_values(self._config.codec.values(piece.events))
        with tf.summary.create_file_writer(self._run.data_dir).as_default(step=step):
            self._write_values(self._data_values)

    def _write_values(self, values: dict[str, NDArray[Any]]) -> None:
        """Writes what events are to TensorFlow's default summary writer, at its step."""
        import tensorflow as tf

        total = sum(map(len, values.values()))
        for kind, array in values.items():
            # One for each whole number, so that none stays empty for falling between two.
            buckets = min(int(np.ptp(array)) + 1, _MOST_BUCKETS) if len(array) else 1
            tf.summary.histogram(f"events/{kind}", array, buckets=buckets)
            if not self._config.codec.whole_notes:  # A note event has a value of each kind.
                tf.summary.scalar(f"share_of_events/{kind}", len(array) / total)


def _to_small_wav(notes: NoteArrays, synthesizer: Synthesizer) -> bytes:
    """Returns a WAV, mono and at half the rate, which takes a quarter of the room."""
    file = io.BytesIO()
    write_wav(file, notes, synthesizer)
    file.seek(0)
    with wave.open(file) as wav:
        samples = np.frombuffer(wav.readframes(wav.getnframes()), "<i2")
    # Two frames of two channels become one.
    means = samples[: len(samples) // 4 * 4].reshape(-1, 4).mean(axis=1)
    small = io.BytesIO()
    with wave.open(small, "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(SAMPLE_RATE // 2)
        wav.writeframes(np.rint(means).astype("<i2").data)
    return small.getvalue()
