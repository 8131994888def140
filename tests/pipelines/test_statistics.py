import math

import pytest

from pipelines.statistics import (
    Counter,
    Histogram,
    MergeStatisticsError,
    log_statistics_list,
    merge_statistics,
)


def test_counter_counts_merges_and_prints():
    counter = Counter("notes", start_value=2)
    counter.increment()
    counter.increment(4)
    counter.merge_from(Counter("notes", 3))
    assert counter.count == 10
    assert str(counter) == "notes: 10"


def test_histogram_puts_every_value_in_its_bucket():
    histogram = Histogram("lengths", [5, 1, 3])
    for value in (-1, 1, 3, 4.5, 9):
        histogram.increment(value)
    histogram.increment(5, inc=2)
    assert histogram.buckets == [-math.inf, 1, 3, 5]
    assert histogram.counters == {-math.inf: 1, 1: 1, 3: 2, 5: 3}
    assert str(histogram) == "lengths:\n  [-inf,1): 1\n  [1,3): 1\n  [3,5): 2\n  [5,inf): 3"


def test_histogram_prints_empty_buckets_when_verbose():
    histogram = Histogram("lengths", [1, 5], verbose_pretty_print=True)
    histogram.increment(3)
    assert str(histogram) == "lengths:\n  [-inf,1): 0\n  [1,5): 1\n  [5,inf): 0"


def test_histograms_merge():
    first, second = Histogram("lengths", [1, 5]), Histogram("lengths", [1, 5])
    first.increment(0)
    second.increment(0)
    second.increment(7, inc=3)
    first.merge_from(second)
    assert first.counters == {-math.inf: 2, 1: 0, 5: 3}
    assert second.counters == {-math.inf: 1, 1: 0, 5: 3}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Counter("a"), Counter("b")),
        (Counter("a"), Histogram("a", [1])),
        (Histogram("a", [1]), Histogram("a", [2])),
    ],
    ids=["names", "kinds", "buckets"],
)
def test_merging_what_differs_fails(first, second):
    with pytest.raises(MergeStatisticsError):
        first.merge_from(second)
    with pytest.raises(MergeStatisticsError):
        merge_statistics([second, Counter(second.name), first, Histogram(second.name, [9])])


@pytest.mark.parametrize("stat", [Counter("a"), Histogram("a", [1])], ids=["counter", "histogram"])
def test_only_a_statistic_merges_into_a_statistic(stat):
    with pytest.raises(MergeStatisticsError, match="'a': cannot merge a int into a "):
        stat.merge_from(3)


def test_the_message_about_buckets_shows_both():
    with pytest.raises(
        MergeStatisticsError,
        match=r"do not match. Expected \[-inf, 1, 5\], got \[-inf, 2\]$",
    ):
        Histogram("lengths", [1, 5]).merge_from(Histogram("lengths", [2]))


def test_statistics_are_equal_by_class_name_and_counts():
    assert Counter("a", 2) == Counter("a", 2)
    assert Counter("a", 2) not in (Counter("b", 2), Counter("a", 1), Histogram("a", [2]), "a: 2")
    first, second = Histogram("a", [1]), Histogram("a", [1])
    assert first == second
    second.increment(1)
    assert first != second


def test_copies_are_independent():
    counter, histogram = Counter("c", 1), Histogram("h", [1])
    counter.copy().increment()
    histogram.copy().increment(2)
    assert counter.count == 1
    assert histogram.counters == {-math.inf: 0, 1: 0}


def test_merge_statistics_adds_up_by_name_and_leaves_its_arguments_alone():
    stats = [Counter("b", 1), Counter("a", 2), Counter("b", 3)]
    assert [str(stat) for stat in merge_statistics(stats)] == ["b: 4", "a: 2"]
    assert [stat.count for stat in stats] == [1, 2, 3]
    assert merge_statistics([]) == []


def test_log_statistics_list_sorts_by_name():
    lines = []
    log_statistics_list([Counter("b", 1), Counter("a", 2)], lines.append)
    assert lines == ["a: 2", "b: 1"]
