"""What training and evaluation measure: NLL and accuracy of the next event."""

import dataclasses
import math
from typing import Any


def batch_sums(logits: Any, labels: Any, weights: Any) -> Any:
    """Returns float32 [3]: summed NLL (nats), events predicted right, events.

    Args:
      logits: float32 [batch, time, classes].
      labels: int32 [batch, time].
      weights: float32 [batch, time], 0 in padding.
    """
    import tensorflow as tf

    nll = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    right = tf.cast(tf.equal(tf.argmax(logits, axis=-1, output_type=tf.int32), labels), tf.float32)
    return tf.stack([tf.reduce_sum(values * weights) for values in (nll, right, tf.ones_like(nll))])


@dataclasses.dataclass(frozen=True)
class Metrics:
    """Sums over events, added up with `+`.

    Attributes:
      total_nll: negative log-likelihood in nats.
      num_right: events whose most probable prediction was right.
      num_events: events predicted.
    """

    total_nll: float = 0.0
    num_right: float = 0.0
    num_events: float = 0.0

    @classmethod
    def from_sums(cls, sums: Any) -> "Metrics":
        """Makes metrics of what `batch_sums` returns."""
        return cls(*(float(value) for value in sums))

    def __add__(self, other: "Metrics") -> "Metrics":
        return Metrics(
            self.total_nll + other.total_nll,
            self.num_right + other.num_right,
            self.num_events + other.num_events,
        )

    @property
    def nll(self) -> float:
        """Nats per event."""
        return self.total_nll / max(self.num_events, 1)

    @property
    def perplexity(self) -> float:
        """exp(NLL)."""
        return math.exp(min(self.nll, 700))

    @property
    def accuracy(self) -> float:
        """Share of events predicted right."""
        return self.num_right / max(self.num_events, 1)

    def write_summaries(self) -> None:
        """Writes the scalars to TensorFlow's default summary writer, at its step."""
        import tensorflow as tf

        # The loss that is minimised is the NLL; both names are what users look for.
        for name, value in (
            ("loss", self.nll),
            ("nll", self.nll),
            ("perplexity", self.perplexity),
            ("accuracy", self.accuracy),
        ):
            tf.summary.scalar(name, value)

    def to_text(self) -> dict[str, str]:
        """Returns the figures as a person reads them, by name."""
        return {
            "NLL": f"{self.nll:.4f}",
            "perplexity": f"{self.perplexity:.2f}",
            "accuracy": f"{self.accuracy:.3f}",
        }
