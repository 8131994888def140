"""What training and evaluation measure: NLL and accuracy of the next event."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any


def event_scores(logits: Any, labels: Any, head_sizes: Sequence[int]) -> tuple[Any, Any]:
    """Returns how well each head of each event was predicted.

    The heads of an event are independent given the events before it, so its NLL is their sum.

    Args:
      logits: float32 [batch, time, classes of all heads].
      labels: int32 [batch, time], or [batch, time, heads] with several.
      head_sizes: classes of each head.

    Returns:
      (nll, right): float32 [batch, time, heads]; the NLL in nats, and 1 where the most probable
      class was right, else 0.
    """
    import tensorflow as tf

    nll, right = [], []
    labels = tf.reshape(labels, [*labels.shape[:2], len(head_sizes)])
    for head, part in enumerate(tf.split(logits, list(head_sizes), axis=-1)):
        label = labels[..., head]
        nll.append(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=label, logits=part))
        best = tf.argmax(part, axis=-1, output_type=tf.int32)
        right.append(tf.cast(tf.equal(best, label), tf.float32))
    return tf.stack(nll, axis=-1), tf.stack(right, axis=-1)


def batch_sums(logits: Any, labels: Any, weights: Any, head_sizes: Sequence[int]) -> Any:
    """Returns float32 [4]: what `Metrics` adds up, over a batch.

    Args:
      logits, labels, head_sizes: as `event_scores` takes them.
      weights: float32 [batch, time], 0 in padding.
    """
    import tensorflow as tf

    nll, right = event_scores(logits, labels, head_sizes)
    events = tf.reduce_sum(weights)
    return tf.stack(
        [
            tf.reduce_sum(nll * weights[..., tf.newaxis]),
            tf.reduce_sum(right * weights[..., tf.newaxis]),
            events,
            events * len(head_sizes),
        ]
    )


@dataclasses.dataclass(frozen=True)
class Metrics:
    """Sums over events, added up with `+`.

    Attributes:
      total_nll: negative log-likelihood in nats.
      num_right: predictions whose most probable class was right.
      num_events: events predicted.
      num_predictions: the same, times the heads of an event.
    """

    total_nll: float = 0.0
    num_right: float = 0.0
    num_events: float = 0.0
    num_predictions: float = 0.0

    @classmethod
    def from_sums(cls, sums: Any) -> "Metrics":
        """Makes metrics of what `batch_sums` returns."""
        return cls(*(float(value) for value in sums))

    def __add__(self, other: "Metrics") -> "Metrics":
        return Metrics(
            self.total_nll + other.total_nll,
            self.num_right + other.num_right,
            self.num_events + other.num_events,
            self.num_predictions + other.num_predictions,
        )

    @property
    def nll(self) -> float:
        """Nats per event: minus the log-probability of an event, all its heads together."""
        return self.total_nll / max(self.num_events, 1)

    @property
    def loss(self) -> float:
        """Nats per prediction, what training minimises; for one head the NLL.

        With several heads it is their mean, as in Magenta 2.1.4, so that `clip_norm` means what it
        does there.
        """
        return self.total_nll / max(self.num_predictions, 1)

    @property
    def perplexity(self) -> float:
        """exp(NLL)."""
        return math.exp(min(self.nll, 700))

    @property
    def accuracy(self) -> float:
        """Share of predictions that were right."""
        return self.num_right / max(self.num_predictions, 1)

    def write_summaries(self) -> None:
        """Writes the scalars to TensorFlow's default summary writer, at its step."""
        import tensorflow as tf

        for name in ("loss", "nll", "perplexity", "accuracy"):
            tf.summary.scalar(name, getattr(self, name))

    def to_text(self) -> dict[str, str]:
        """Returns the figures as a person reads them, by name."""
        return {
            "NLL": f"{self.nll:.4f}",
            "perplexity": f"{self.perplexity:.2f}",
            "accuracy": f"{self.accuracy:.3f}",
        }
