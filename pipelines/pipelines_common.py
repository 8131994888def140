"""Units of general use: partitions, and the SequenceExample that models are trained on."""

import abc
import bisect
import hashlib
import itertools
import random
from collections.abc import Callable, Sequence
from typing import Any

from bundles.errors import PerfRnnError
from perf_rnn.data.examples import make_sequence_example
from pipelines import pipeline, statistics

__all__ = ["HashPartition", "RandomPartition", "make_sequence_example"]


class _Partition(pipeline.Pipeline):
    """Sends every input to one of several named outputs, on chance."""

    def __init__(
        self,
        type_: type,
        partition_names: Sequence[str],
        partition_probabilities: Sequence[float],
        name: str | None = None,
    ):
        """Sets up the partitions.

        Args:
          type_: type of the inputs.
          partition_names: names of the n outputs.
          partition_probabilities: the share of each but the last, which gets the rest.
          name: name in statistics and messages.

        Raises:
          ValueError: there are not n - 1 probabilities.
        """
        super().__init__(type_, dict.fromkeys(partition_names, type_), name)
        if len(partition_probabilities) != len(partition_names) - 1:
            raise PerfRnnError(
                f"{len(partition_names)} partitions need {len(partition_names) - 1} probabilities, "
                f"got {len(partition_probabilities)}"
            )
        self._names = list(partition_names)
        self._cumulative = list(itertools.accumulate(partition_probabilities))

    def transform(self, input_object: Any) -> dict[str, list[Any]]:
        chosen = self._choose(input_object)
        self._set_stats(
            statistics.Counter(f"{name}_count", int(name == chosen)) for name in self._names
        )
        return {name: [input_object] if name == chosen else [] for name in self._names}

    @abc.abstractmethod
    def _choose(self, input_object: Any) -> str:
        """Names the output that the input goes to."""

    def _at(self, number: float) -> str:
        """Names the output in whose share a number from [0, 1) lies."""
        return self._names[bisect.bisect_right(self._cumulative, number)]


class RandomPartition(_Partition):
    """Sends every input to one of several named outputs at random.

    Attributes:
      rand_func: draws a number in [0, 1) for each input; may be replaced.
    """

    def __init__(
        self,
        type_: type,
        partition_names: Sequence[str],
        partition_probabilities: Sequence[float],
    ):
        super().__init__(type_, partition_names, partition_probabilities)
        self.rand_func: Callable[[], float] = random.random

    def _choose(self, input_object: Any) -> str:
        return self._at(self.rand_func())


class HashPartition(_Partition):
    """Sends every input to one of several named outputs by a seeded hash of its group.

    Inputs of one group share an output, and an input's place depends on nothing but the seed and
    its group: not on the other inputs, their order, or how many workers run.
    """

    def __init__(
        self,
        type_: type,
        partition_names: Sequence[str],
        partition_probabilities: Sequence[float],
        group_key: Callable[[Any], str],
        seed: int = 0,
        name: str | None = None,
    ):
        """Sets up the partitions.

        Args:
          type_: type of the inputs.
          partition_names: names of the n outputs.
          partition_probabilities: the share of each but the last, which gets the rest. Shares are
            of the groups, and of the inputs only as far as groups are equally large.
          group_key: names the group of an input.
          seed: another seed is another partition.
          name: name in statistics and messages.

        Raises:
          ValueError: there are not n - 1 probabilities.
        """
        super().__init__(type_, partition_names, partition_probabilities, name)
        self._group_key = group_key
        self._seed = seed

    def partition_of(self, group: str) -> str:
        """Returns the name of the output that the inputs of a group go to."""
        digest = hashlib.blake2b(f"{self._seed}/{group}".encode(), digest_size=8).digest()
        # 53 bits: what a float holds exactly, so that the quotient stays below 1.
        return self._at((int.from_bytes(digest, "big") >> 11) / 2**53)

    def _choose(self, input_object: Any) -> str:
        return self.partition_of(self._group_key(input_object))
