import math

import numpy as np
import pytest

from perf_rnn.training.metrics import Metrics, batch_sums


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


@pytest.mark.parametrize("head_sizes", [(7,), (3, 1, 4)])
def test_sums_against_numpy(head_sizes):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 5, sum(head_sizes))).astype(np.float32)
    labels = rng.integers(head_sizes, size=(2, 5, len(head_sizes))).astype(np.int32)
    weights = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], np.float32)
    nll = right = 0.0
    for head, part in enumerate(np.split(logits, np.cumsum(head_sizes)[:-1], axis=-1)):
        label = labels[..., head]
        log_probability = np.take_along_axis(log_softmax(part), label[..., np.newaxis], axis=-1)
        nll -= (log_probability[..., 0] * weights).sum()
        right += ((part.argmax(axis=-1) == label) * weights).sum()
    # An event of one head has no axis for it.
    shaped = labels if len(head_sizes) > 1 else labels[..., 0]
    sums = np.asarray(batch_sums(logits, shaped, weights, head_sizes))
    np.testing.assert_allclose(sums, [nll, right, 8, 8 * len(head_sizes)], rtol=1e-5)


def test_metrics():
    metrics = Metrics(6.0, 3.0, 4.0, 12.0) + Metrics(6.0, 3.0, 2.0, 6.0)
    assert metrics == Metrics(12.0, 6.0, 6.0, 18.0)
    assert metrics.nll == 2
    assert metrics.loss == pytest.approx(2 / 3)
    assert metrics.perplexity == pytest.approx(math.e**2)
    assert metrics.accuracy == pytest.approx(1 / 3)
    assert metrics.to_text() == {"NLL": "2.0000", "perplexity": "7.39", "accuracy": "0.333"}


def test_nothing_measured():
    assert (Metrics().nll, Metrics().loss, Metrics().accuracy) == (0, 0, 0)
