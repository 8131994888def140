"""Evaluation: the NLL of real performances under a network."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from perf_rnn.configs import PerformanceRnnConfig
from perf_rnn.data.batches import Batch, WindowBatches
from perf_rnn.data.examples import EventSequence
from perf_rnn.network.network import zero_states
from perf_rnn.training import backend
from perf_rnn.training.metrics import Metrics, event_scores

Scores = Callable[..., Any]


def evaluate(
    network: keras.Model,
    config: PerformanceRnnConfig,
    segments: Sequence[EventSequence],
    batch_size: int,
    window: int,
    carry_state: bool = True,
    scores: Scores | None = None,
) -> Metrics:
    """Measures how well `network` predicts each event of `segments` from those before it.

    Args:
      network: what `build_network` made.
      config: the config it was made for.
      segments: read by number.
      batch_size: segments played side by side.
      window: events per batch.
      carry_state: False forgets what came before each window, to measure what carrying it gives.
      scores: `compile_scores(network, config)`, where the network is evaluated more than once.
    """
    metrics = Metrics()
    batches = WindowBatches(segments, batch_size, window)
    scored = score_windows(network, config, batches, batch_size, carry_state, scores)
    for batch, nll, right in scored:
        weights = batch.weights[..., np.newaxis]
        metrics += Metrics(
            float((nll * weights).sum(dtype=np.float64)),
            float((right * weights).sum(dtype=np.float64)),
            batch.num_events,
            batch.num_events * nll.shape[-1],
        )
    return metrics


def compile_scores(network: keras.Model, config: PerformanceRnnConfig) -> Scores:
    """Compiles what `score_windows` does with a batch.

    Args:
      network, config: as in `evaluate`.

    Returns:
      A function of a batch's inputs, controls, labels and `keep_state` and of the network's states.
      Its results are the batch's `event_scores` and the new states.
    """

    def scores(forward, inputs, controls, labels, keep_state, states):  # type: ignore[no-untyped-def]
        states = [state * keep_state[:, None] for state in states]
        logits, states = forward([inputs, controls, states])
        return event_scores(logits, labels, config.encoding.head_sizes), states

    compiled: Scores = backend.load().compile_forward(network, scores)
    return compiled


def score_windows(
    network: keras.Model,
    config: PerformanceRnnConfig,
    batches: WindowBatches,
    batch_size: int,
    carry_state: bool = True,
    scores: Scores | None = None,
) -> Iterator[tuple[Batch, np.ndarray, np.ndarray]]:
    """Yields each batch with its `event_scores`, float32 [batch, window, heads], padding included.

    The arguments are those of `evaluate`; `batches` are of `batch_size` rows.
    """
    compiled = scores or compile_scores(network, config)
    to_tensor = keras.ops.convert_to_tensor
    states = [to_tensor(state) for state in zero_states(network, batch_size)]
    for batch in batches:
        keep_state = batch.keep_state if carry_state else 0 * batch.keep_state
        arrays = batch.inputs, batch.controls, batch.labels, keep_state
        (nll, right), states = compiled(*map(to_tensor, arrays), states)
        yield batch, np.asarray(nll), np.asarray(right)
