"""What training and evaluation measure: NLL and accuracy of the next event."""

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from perf_rnn.training.summaries import SummaryWriter


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
    from keras import ops

    nll, right = [], []
    labels = ops.reshape(labels, (*labels.shape[:2], len(head_sizes)))
    for head, end in enumerate(itertools.accumulate(head_sizes)):
        part, label = logits[..., end - head_sizes[head] : end], labels[..., head]
        nll.append(ops.sparse_categorical_crossentropy(label, part, from_logits=True))
        best = ops.cast(ops.argmax(part, axis=-1), "int32")
        right.append(ops.cast(ops.equal(best, label), "float32"))
    return ops.stack(nll, axis=-1), ops.stack(right, axis=-1)


def batch_sums(logits: Any, labels: Any, weights: Any, head_sizes: Sequence[int]) -> Any:
    """Returns float32 [4], the sums that `Metrics` holds, over a batch.

    Args:
      logits, labels, head_sizes: as in `event_scores`.
      weights: float32 [batch, time], 0 in padding.
    """
    from keras import ops

    nll, right = event_scores(logits, labels, head_sizes)
    events = ops.sum(weights)
    weights = ops.expand_dims(weights, -1)
    return ops.stack(
        [ops.sum(nll * weights), ops.sum(right * weights), events, events * len(head_sizes)]
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
        """Makes metrics of what `batch_sums` returns; waits until it is computed."""
        return cls(*map(float, np.asarray(sums)))

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

    def write_summaries(self, writer: "SummaryWriter", step: int) -> None:
        """Writes the figures as scalars."""
        for name in ("loss", "nll", "perplexity", "accuracy"):
            writer.scalar(name, getattr(self, name), step)

    def to_text(self) -> dict[str, str]:
        """Returns the figures as a person reads them, by name."""
        return {
            "NLL": f"{self.nll:.4f}",
            "perplexity": f"{self.perplexity:.2f}",
            "accuracy": f"{self.accuracy:.3f}",
        }
