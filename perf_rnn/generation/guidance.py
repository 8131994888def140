"""Guidance: a network's logits moved on in the direction in which its controls move them.

Classifier-free guidance (Ho & Salimans, 2022): a network with optional conditioning predicts the
next event twice, with the controls and with conditioning disabled.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perf_rnn.generation.cpu.step_network import StepNetwork
from perf_rnn.models import Model


class GuidedNetwork:
    """A model's network for a batch of rows, as `StepNetwork`, with guidance.

    With a guidance other than 1 the network has two rows for each: those with the controls, and
    after them those with conditioning disabled. Where guidance begins within a piece, the latter
    begin with the state of the former.
    """

    def __init__(self, model: Model, batch_size: int, guidance: float):
        """Starts every row at the zero state.

        Args:
          model: the network.
          batch_size: rows to start with, and the most that there will be.
          guidance: of the first step.
        """
        self._batch_size = batch_size
        self._guided = guidance != 1
        self._network = StepNetwork(model, batch_size * (1 + self._guided))

    def step(
        self, events: NDArray[Any], controls: NDArray[np.float32], guidance: float
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Takes the rows' next events and the controls for those after them.

        Args:
          events: int [batch, *event_shape].
          controls: float32 [batch, control_size].
          guidance: 1: none; 0: as if conditioning were disabled.

        Returns:
          The logits of the events after these, float32 [batch, classes of all heads]: the
          network's own for the controls, and the guided ones.
        """
        if self._guided != (guidance != 1):
            self._guided = not self._guided
            self._network.take(np.tile(np.arange(self._batch_size), 1 + self._guided))
        if not self._guided:
            logits = self._network.step(events, controls)
            return logits, logits
        free_controls = np.zeros_like(controls)
        free_controls[:, 0] = 1
        logits = self._network.step(
            np.concatenate([events, events]), np.concatenate([controls, free_controls])
        )
        told, free = np.split(logits, 2)
        return told, free + np.float32(guidance) * (told - free)

    @property
    def states(self) -> list[NDArray[np.float32]]:
        """What every row of the network remembers, see `StepNetwork.states`."""
        return self._network.states

    def restore(self, states: Sequence[NDArray[np.float32]], batch_size: int) -> None:
        """Sets `states`, which those of a network with guidance have twice `batch_size` of."""
        self._batch_size, self._guided = batch_size, len(states[0]) > batch_size
        self._network.states = states

    def take(self, rows: NDArray[np.int64]) -> None:
        """Keeps some of the rows; indices may repeat."""
        free_rows = rows[: len(rows) * self._guided] + self._batch_size
        self._network.take(np.concatenate([rows, free_rows]))
        self._batch_size = len(rows)
