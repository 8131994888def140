import pytest

from pipelines.pipelines_common import HashPartition, RandomPartition, make_sequence_example

NAMES = ["a", "b", "c"]


def counts(unit):
    return [str(stat) for stat in unit.get_stats()]


@pytest.mark.parametrize(
    ("number", "chosen"),
    [(0.0, "a"), (0.19, "a"), (0.2, "b"), (0.49, "b"), (0.5, "c"), (0.99, "c")],
)
def test_random_partition(number, chosen):
    unit = RandomPartition(str, NAMES, [0.2, 0.3])
    unit.rand_func = lambda: number
    assert unit.transform("x") == {name: ["x"] if name == chosen else [] for name in NAMES}
    assert counts(unit) == [
        f"RandomPartition_{name}_count: {int(name == chosen)}" for name in NAMES
    ]


def test_random_partition_draws_in_the_given_shares():
    unit = RandomPartition(int, ["a", "b"], [0.25])
    in_a = sum(len(unit.transform(0)["a"]) for _ in range(4000))
    # 1000 expected, standard deviation 27.
    assert 830 < in_a < 1170


@pytest.mark.parametrize("probabilities", [[], [0.5, 0.5, 0.0], [0.5]])
def test_partitions_need_one_probability_less_than_names(probabilities):
    with pytest.raises(ValueError, match="3 partitions need 2 probabilities"):
        RandomPartition(int, NAMES, probabilities)
    with pytest.raises(ValueError, match="3 partitions need 2 probabilities"):
        HashPartition(int, NAMES, probabilities, str)


def chosen(unit, value):
    (name,) = (name for name, values in unit.transform(value).items() if values)
    return name


def test_hash_partition_depends_on_seed_and_group_alone():
    def partition(seed):
        unit = HashPartition(str, ["a", "b"], [0.5], lambda value: value[0], seed)
        return "".join(chosen(unit, value) for value in ("p1", "q1", "r1", "s1", "t1", "p2", "q9"))

    # Pinned: another division of the same data would move evaluation pieces into training.
    assert partition(0) == "ababaab"
    assert partition(1) == "abbbaab"
    assert partition(0)[:2] == partition(0)[5:]


def test_hash_partition_keeps_to_the_shares():
    unit = HashPartition(int, ["a", "b", "c"], [0.1, 0.2], str, seed=1)
    places = [chosen(unit, value) for value in range(5000)]
    # Expected 500, 1000 and 3500; standard deviations 21, 28 and 32.
    assert [places.count(name) for name in NAMES] == [483, 1036, 3481]


def test_hash_partition_with_shares_of_nothing_and_all():
    for share, name in [(0.0, "b"), (1.0, "a")]:
        unit = HashPartition(int, ["a", "b"], [share], str)
        assert {chosen(unit, value) for value in range(200)} == {name}


def test_make_sequence_example():
    example = make_sequence_example([[0.0, 1.0], [1.0, 0.0]], [1, 0])
    lists = example.feature_lists.feature_list
    assert sorted(lists) == ["inputs", "labels"]
    assert [list(f.float_list.value) for f in lists["inputs"].feature] == [[0, 1], [1, 0]]
    assert [list(f.int64_list.value) for f in lists["labels"].feature] == [[1], [0]]
    example = make_sequence_example([[2.0], [3.0]], [(1, 2), (3, 4)])
    labels = example.feature_lists.feature_list["labels"].feature
    assert [list(f.int64_list.value) for f in labels] == [[1, 2], [3, 4]]
