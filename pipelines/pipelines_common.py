"""General units: partitions, and the SequenceExample for training."""

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
    """Sends every input to one of several named outputs."""

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
          PerfRnnError: there are not n - 1 probabilities.
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
        """Returns the name of the output for an input."""

    def _at(self, number: float) -> str:
        """Returns the name of the output whose share contains a number in [0, 1)."""
        return self._names[bisect.bisect_right(self._cumulative, number)]


class RandomPartition(_Partition):
    """Sends every input to one of several named outputs at random.

    Attributes:
      rand_func: returns a number in [0, 1) for each input; can be replaced.
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

    All inputs of a group have the same output. The output depends on the seed and the group alone:
    not on the other inputs, their order or the number of workers.
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
          partition_probabilities: the share of each but the last, which gets the rest. These are
            shares of the groups, not of the inputs.
          group_key: returns the name of an input's group.
          seed: seed of the hash.
          name: name in statistics and messages.

        Raises:
          PerfRnnError: there are not n - 1 probabilities.
        """
        super().__init__(type_, partition_names, partition_probabilities, name)
        self._group_key = group_key
        self._seed = seed

    def partition_of(self, group: str) -> str:
        """Returns the name of the output for a group."""
        return self._at(self._hash(group))

    def _hash(self, group: str) -> float:
        """Returns the hash of a group as a number in [0, 1)."""
        digest = hashlib.blake2b(f"{self._seed}/{group}".encode(), digest_size=8).digest()
        # A float holds 53 bits exactly, so the quotient is below 1.
        return (int.from_bytes(digest, "big") >> 11) / 2**53

    def _choose(self, input_object: Any) -> str:
        return self.partition_of(self._group_key(input_object))
