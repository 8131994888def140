"""Evaluation: the NLL of real performances under a network."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from perf_rnn.batches import WindowBatches
from perf_rnn.configs import PerformanceRnnConfig
from perf_rnn.metrics import Metrics, batch_sums
from perf_rnn.network import zero_states
from perf_rnn.records import EventSequence


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
    states = [tf.constant(state) for state in zero_states(network, batch_size)]
    metrics = Metrics()

    @tf.function
    def step(states, inputs, controls, labels, weights, keep_state):  # type: ignore[no-untyped-def]
        states = [state * keep_state[:, tf.newaxis] for state in states]
        logits, states = network([inputs, controls, states], training=False)
        return batch_sums(logits, labels, weights, config.encoding.head_sizes), states

    for batch in WindowBatches(segments, batch_size, window):
        keep_state = batch.keep_state if carry_state else 0 * batch.keep_state
        arrays = batch.inputs, batch.controls, batch.labels, batch.weights, keep_state
        sums, states = step(states, *(tf.constant(array) for array in arrays))
        metrics += Metrics.from_sums(sums.numpy())
    return metrics
