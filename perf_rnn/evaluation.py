"""Evaluation: the NLL of real performances under a network."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from perf_rnn import network as network_lib
from perf_rnn.batches import WindowBatches
from perf_rnn.metrics import Metrics, batch_sums
from perf_rnn.records import EventSequence


def evaluate(
    network: keras.Model,
    segments: Sequence[EventSequence],
    batch_size: int,
    window: int,
    carry_state: bool = True,
) -> Metrics:
    """Measures how well `network` predicts each event of `segments` from those before it.

    Args:
      network: what `build_network` made.
      segments: read by number.
      batch_size: segments played side by side.
      window: events per batch.
      carry_state: False forgets what came before each window, to measure what carrying it gives.
    """
    sizes = network_lib.layer_sizes(network)
    states = [tf.constant(state) for state in network_lib.zero_states(sizes, batch_size)]
    metrics = Metrics()

    @tf.function
    def step(states, inputs, labels, weights, keep_state):  # type: ignore[no-untyped-def]
        states = [state * keep_state[:, tf.newaxis] for state in states]
        logits, states = network([inputs, states], training=False)
        return batch_sums(logits, labels, weights), states

    for batch in WindowBatches(segments, batch_size, window):
        keep_state = batch.keep_state if carry_state else 0 * batch.keep_state
        arrays = batch.inputs, batch.labels, batch.weights, keep_state
        sums, states = step(states, *(tf.constant(array) for array in arrays))
        metrics += Metrics.from_sums(sums.numpy())
    return metrics
