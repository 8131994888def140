"""Evaluation: the NLL of real performances under a network."""

from collections.abc import Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from perf_rnn.configs import PerformanceRnnConfig
from perf_rnn.data.batches import Batch, WindowBatches
from perf_rnn.data.examples import EventSequence
from perf_rnn.network.network import zero_states
from perf_rnn.training.metrics import Metrics, event_scores


def evaluate(
    network: keras.Model,
    config: PerformanceRnnConfig,
    segments: Sequence[EventSequence],
    batch_size: int,
    window: int,
    carry_state: bool = True,
) -> Metrics:
    """Measures how well `network` predicts each event of `segments` from those before it.

    Args:
      network: what `build_network` made.
      config: the config it was made for.
      segments: read by number.
      batch_size: segments played side by side.
      window: events per batch.
      carry_state: False forgets what came before each window, to measure what carrying it gives.
    """
    metrics = Metrics()
    batches = WindowBatches(segments, batch_size, window)
    for batch, nll, right in score_windows(network, config, batches, batch_size, carry_state):
        weights = batch.weights[..., np.newaxis]
        metrics += Metrics(
            float((nll * weights).sum(dtype=np.float64)),
            float((right * weights).sum(dtype=np.float64)),
            batch.num_events,
            batch.num_events * nll.shape[-1],
        )
    return metrics


def score_windows(
    network: keras.Model,
    config: PerformanceRnnConfig,
    batches: WindowBatches,
    batch_size: int,
    carry_state: bool = True,
) -> Iterator[tuple[Batch, np.ndarray, np.ndarray]]:
    """Yields each batch with its `event_scores`, float32 [batch, window, heads], padding included.

    The arguments are those of `evaluate`; `batches` are of `batch_size` rows.
    """
    states = [tf.constant(state) for state in zero_states(network, batch_size)]

    @tf.function
    def step(states, inputs, controls, labels, keep_state):  # type: ignore[no-untyped-def]
        states = [state * keep_state[:, tf.newaxis] for state in states]
        logits, states = network([inputs, controls, states], training=False)
        return event_scores(logits, labels, config.encoding.head_sizes), states

    for batch in batches:
        keep_state = batch.keep_state if carry_state else 0 * batch.keep_state
        arrays = batch.inputs, batch.controls, batch.labels, keep_state
        (nll, right), states = step(states, *(tf.constant(array) for array in arrays))
        yield batch, nll.numpy(), right.numpy()
