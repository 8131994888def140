"""Statistics of pipelines: counters and histograms that can be merged and logged."""

from __future__ import annotations

import abc
import bisect
import copy
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from absl import logging

from bundles.errors import PerfRnnError


class MergeStatisticsError(PerfRnnError):
    """Statistics with different names, classes or buckets cannot be merged."""


class Statistic(abc.ABC):
    """A named statistic of processed data."""

    def __init__(self, name: str):
        self.name = name

    def merge_from(self, other: Statistic) -> None:
        """Adds the counts of `other`.

        Raises:
          MergeStatisticsError: `other` has another name, or is not of the same class.
        """
        if type(self) is not type(other):
            raise MergeStatisticsError(
                f"{self.name!r}: cannot merge a {type(other).__name__} into a {type(self).__name__}"
            )
        if self.name != other.name:
            raise MergeStatisticsError(f"cannot merge {other.name!r} into {self.name!r}")
        self._merge_from(other)

    def copy(self) -> Statistic:
        """Returns an independent copy."""
        return copy.deepcopy(self)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    @abc.abstractmethod
    def _merge_from(self, other: Any) -> None:
        """Adds the counts of `other`, which has the same class and name."""

    @abc.abstractmethod
    def _pretty_print(self, name: str) -> str:
        """Returns the statistic as text, with the label `name`."""

    def __str__(self) -> str:
        return self._pretty_print(self.name)


class Counter(Statistic):
    """Counts occurrences.

    >>> counter = Counter('notes')
    >>> counter.increment(3)
    >>> print(counter)
    notes: 3
    """

    def __init__(self, name: str, start_value: int = 0):
        super().__init__(name)
        self.count = start_value

    def increment(self, inc: int = 1) -> None:
        self.count += inc

    def copy(self) -> Counter:
        return Counter(self.name, self.count)

    def _merge_from(self, other: Counter) -> None:
        self.count += other.count

    def _pretty_print(self, name: str) -> str:
        return f"{name}: {self.count}"


class Histogram(Statistic):
    """Counts values in buckets; bucket i contains buckets[i] <= value < buckets[i + 1].

    The first bucket starts at -inf and the last one has no upper bound.

    >>> histogram = Histogram('seconds', [5, 10])
    >>> histogram.increment(7.5)
    >>> print(histogram)
    seconds:
      [5,10): 1
    """

    def __init__(self, name: str, buckets: Sequence[float], verbose_pretty_print: bool = False):
        """Sets all counts to 0.

        Args:
          name: name of this statistic.
          buckets: lower bounds, in any order.
          verbose_pretty_print: whether to print empty buckets.
        """
        super().__init__(name)
        self.buckets = [-math.inf, *sorted(set(buckets) - {-math.inf})]
        self.counters = dict.fromkeys(self.buckets, 0)
        self.verbose_pretty_print = verbose_pretty_print

    def increment(self, value: float, inc: int = 1) -> None:
        """Adds `inc` to the bucket of `value`."""
        self.counters[self.buckets[bisect.bisect_right(self.buckets, value) - 1]] += inc

    def copy(self) -> Histogram:
        other = copy.copy(self)
        other.counters = dict(self.counters)
        return other

    def _merge_from(self, other: Histogram) -> None:
        if self.buckets != other.buckets:
            raise MergeStatisticsError(
                f"{self.name!r}: Histogram buckets do not match. "
                f"Expected {self.buckets}, got {other.buckets}"
            )
        for bucket, count in other.counters.items():
            self.counters[bucket] += count

    def _pretty_print(self, name: str) -> str:
        ends = [*self.buckets[1:], math.inf]
        lines = [
            f"  [{start:g},{end:g}): {self.counters[start]}"
            for start, end in zip(self.buckets, ends, strict=True)
            if self.counters[start] or self.verbose_pretty_print
        ]
        return "\n".join([f"{name}:", *lines])


def merge_statistics(stats_list: Iterable[Statistic]) -> list[Statistic]:
    """Returns one merged statistic for each name; the arguments are unchanged.

    Raises:
      MergeStatisticsError: statistics with the same name have different classes or buckets.
    """
    merged: dict[str, Statistic] = {}
    for stat in stats_list:
        if stat.name in merged:
            merged[stat.name].merge_from(stat)
        else:
            merged[stat.name] = stat.copy()
    return list(merged.values())


def log_statistics_list(
    stats_list: Iterable[Statistic], logger_fn: Callable[[str], object] = logging.info
) -> None:
    """Logs every statistic with `logger_fn`, sorted by name."""
    for stat in sorted(stats_list, key=lambda stat: stat.name):
        logger_fn(str(stat))
