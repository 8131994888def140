"""Samples of a network in training, for TensorBoard.

At each checkpoint a piece is generated, always with the same seed. `RUN_DIR/sample` gets its sound,
its piano roll and the distributions of its events; `RUN_DIR/data` gets the distributions of the
training data's events. TensorBoard shows the two as runs like train and eval, so that their
histograms can be compared.
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
from perf_rnn.training.summaries import SummaryWriter

SEED = 0

# Some 100,000 events.
_NUM_DATA_SEGMENTS = 100

_MOST_BUCKETS = 128


class SampleWriter:
    """Writes samples of a network in training, and the training data's distributions."""

    def __init__(
        self,
        run: RunDir,
        config: PerformanceRnnConfig,
        segments: Sequence[EventSequence],
        seconds: float = 10.0,
    ):
        """Reads the data. Where no synthesizer is installed, samples are without sound.

        Args:
          run: its directories get the summaries.
          config: of the network.
          segments: training data, read by number; a hundred of them, evenly spread, are read.
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
        """Writes the sample of a Keras network that has been trained for `step` steps.

        It is the first piece of `perf_rnn play --seed=0`, with the default controls.
        """
        from perf_rnn.network.network import bundle_from_network

        model = Model(bundle_from_network(network, self._config), self._config)
        (piece,) = generate_pieces(model, GenerationOptions(self._num_steps, 1, SEED))
        # TensorBoard reads only the newest event file of a directory, so each kind has its own.
        with SummaryWriter(self._run.sample_dir) as writer:
            title = f"{self._config.key}, step {step}"
            writer.image("piano_roll", to_png(piece.notes, title=title), step)
            if self._synthesizer:
                writer.audio("sound", _to_small_wav(piece.notes, self._synthesizer), step)
            self._write_values(writer, self._config.codec.values(piece.events), step)
        with SummaryWriter(self._run.data_dir) as writer:
            self._write_values(writer, self._data_values, step)

    def _write_values(
        self, writer: SummaryWriter, values: dict[str, NDArray[Any]], step: int
    ) -> None:
        """Writes the distributions of events."""
        total = sum(map(len, values.values()))
        for kind, array in values.items():
            if len(array):
                # One bucket for each whole number, so that none is empty for lying between two.
                low, high = int(array.min()), int(array.max())
                num_buckets = min(high - low + 1, _MOST_BUCKETS)
                counts, edges = np.histogram(array, num_buckets, (low, max(high, low + 1)))
            else:
                counts, edges = np.zeros(1), np.zeros(2)
            writer.histogram(f"events/{kind}", counts, edges, step)
            if not self._config.codec.whole_notes:  # A note event has a value of each kind.
                writer.scalar(f"share_of_events/{kind}", len(array) / total, step)


def _to_small_wav(notes: NoteArrays, synthesizer: Synthesizer) -> bytes:
    """Returns a WAV file, mono and at half the sample rate, of a quarter of the size."""
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
