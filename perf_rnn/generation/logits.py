"""Draws: how one class of each row is drawn from the network's logits."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perf_rnn.generation.options import SamplingOptions

Seed = int | Sequence[int] | np.random.SeedSequence

# Random numbers are drawn from each row's generator for this many events at a time.
_BLOCK = 512


class RandomNumbers:
    """Uniform random numbers, of each row from its own generator."""

    def __init__(self, seeds: Sequence[Seed], count: int):
        """Seeds the rows; `count` numbers at a time."""
        self._generators = [np.random.default_rng(seed) for seed in seeds]
        self._block = np.empty((len(seeds), _BLOCK, count))
        self._used = _BLOCK

    def next(self) -> NDArray[np.float64]:
        """Returns the rows' next numbers, [B, count]."""
        if self._used == _BLOCK:
            shape = self._block.shape[1:]
            self._block = np.stack([generator.random(shape) for generator in self._generators])
            self._used = 0
        self._used += 1
        return self._block[:, self._used - 1]

    def keep(self, rows: NDArray[np.bool_]) -> None:
        """Drops the other rows."""
        self._generators = [self._generators[row] for row in np.flatnonzero(rows)]
        self._block = self._block[rows]

    def state(self) -> dict[str, NDArray[Any]]:
        words = []
        for generator in self._generators:
            numbers_of_128_bits = generator.bit_generator.state["state"].values()
            words.append([word for n in numbers_of_128_bits for word in divmod(n, 1 << 64)])
        return {
            "generators": np.array(words, np.uint64),
            "random": self._block,
            "random_used": np.array(self._used),
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        self._block, self._used = state["random"], int(state["random_used"])
        self._generators = []
        for words in state["generators"].tolist():
            generator = np.random.default_rng(0)
            position, increment = (high << 64 | low for high, low in (words[:2], words[2:]))
            generator.bit_generator.state = {
                **generator.bit_generator.state,
                "state": {"state": position, "inc": increment},
            }
            self._generators.append(generator)


def leave_out_improbable(logits: NDArray[np.float64], share: float) -> None:
    """Sets the logits [B, n] of less than a share of the most probable one to minus infinity."""
    lowest = logits.max(axis=1, keepdims=True) + np.log(share)
    np.copyto(logits, -np.inf, where=logits < lowest)


def draw(
    choice: NDArray[np.float64],
    uniforms: NDArray[np.float64],
    temperature: NDArray[np.float64],
    options: SamplingOptions,
) -> NDArray[np.int64]:
    """Draws a class for each row, [B], from logits [B, classes] and a random number for each."""
    # Where the temperature is tiny, all but the largest go to minus infinity, as they should.
    with np.errstate(over="ignore"):
        choice = (choice - choice.max(axis=1, keepdims=True)) / temperature
    weights = np.exp(choice)
    if options.top_k is not None and options.top_k < weights.shape[1]:
        lowest = np.partition(weights, -options.top_k, axis=1)[:, -options.top_k]
        weights[weights < lowest[:, np.newaxis]] = 0
    if options.top_p is not None:
        falling = -np.sort(-weights, axis=1)
        before = falling.cumsum(axis=1) - falling
        needed = (before < options.top_p * weights.sum(axis=1, keepdims=True)).sum(axis=1)
        lowest = falling[np.arange(len(falling)), np.maximum(needed, 1) - 1]
        weights[weights < lowest[:, np.newaxis]] = 0
    if options.min_p:
        weights[weights < options.min_p] = 0  # The most probable one weighs 1.
    cumulated = weights.cumsum(axis=1)
    threshold = uniforms * cumulated[:, -1]
    drawn: NDArray[np.int64] = (cumulated > threshold[:, np.newaxis]).argmax(axis=1)
    return drawn
