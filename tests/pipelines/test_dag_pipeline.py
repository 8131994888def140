import pytest

from pipelines.dag_pipeline import (
    BadInputOrOutputError,
    BadTopologyError,
    DagInput,
    DagOutput,
    DAGPipeline,
    DuplicateNameError,
    InvalidDAGError,
    InvalidDictionaryOutputError,
    InvalidTransformOutputError,
    NotConnectedError,
    TypeMismatchError,
)
from pipelines.pipeline import Pipeline
from pipelines.statistics import Counter


class Unit(Pipeline):
    """Applies a function and counts 1 under each of the given names."""

    def __init__(self, name, input_type=int, output_type=int, function=None, stats=()):
        super().__init__(input_type, output_type, name)
        self.function = function or (lambda x: [x])
        self.stats = stats

    def transform(self, input_object):
        outputs = self.function(input_object)
        self._set_stats(Counter(name, 1) for name in self.stats)
        return outputs


def number_and_text():
    return Unit(
        "number_and_text",
        int,
        {"n": int, "t": str},
        lambda x: {"n": [x, x + 1], "t": ["s", str(x)]},
    )


def join():
    return Unit(
        "join", {"n": int, "t": str}, str, lambda d: [f"{d['n']}{d['t']}"], stats=["joined"]
    )


INPUT = DagInput(int)


def stats_of(pipeline):
    return sorted(str(stat) for stat in pipeline.get_stats())


def test_inputs_and_outputs_are_equal_by_type_and_name():
    assert DagInput(int) == DagInput(int) != DagInput(str)
    assert DagOutput("a") == DagOutput("a") != DagOutput("b")
    assert DagOutput() == DagOutput()
    assert len({DagInput(int), DagInput(int), DagOutput("a"), DagOutput("a")}) == 2
    assert repr(DagInput(int)) == "DagInput(<class 'int'>)"
    assert repr(DagOutput("a")) == "DagOutput(a)"


def test_a_chain():
    double, spell = Unit("double", function=lambda x: [x, x]), Unit("spell", int, str)
    spell.function = lambda x: [f"<{x}>"]
    output = DagOutput("text")
    dag = DAGPipeline({double: INPUT, spell: double, output: spell})
    assert dag.transform(3) == {"text": ["<3>", "<3>"]}
    assert (dag.input_type, dag.output_type, dag.name) == (int, {"text": str}, "DAGPipeline")
    assert (output.input_type, output.output_type) == (str, str)


def test_the_order_of_entries_does_not_matter():
    a, b, c = Unit("a"), Unit("b", function=lambda x: [x + 1]), Unit("c")
    assert DAGPipeline({DagOutput("o"): c, c: b, b: a, a: INPUT}).transform(1) == {"o": [2]}


def test_several_outputs_and_a_source_used_twice():
    a, b = Unit("a", function=lambda x: [x + 1]), Unit("b")
    dag = DAGPipeline({a: INPUT, b: a, DagOutput("p"): a, DagOutput("q"): b, DagOutput("r"): INPUT})
    assert dag.transform(1) == {"p": [2], "q": [2], "r": [1]}


def test_named_inputs_run_over_the_cartesian_product():
    source, sink = number_and_text(), join()
    sources = {"n": source["n"], "t": source["t"]}
    dag = DAGPipeline({source: INPUT, sink: sources, DagOutput("o"): sink})
    assert dag.transform(3) == {"o": ["3s", "33", "4s", "43"]}
    assert stats_of(dag) == ["DAGPipeline_join_joined: 1"] * 4  # One for each time it ran.


def test_shorthand_dict_output_to_equal_dict_input():
    source, sink = number_and_text(), join()
    dag = DAGPipeline({source: INPUT, sink: source, DagOutput("o"): sink})
    assert dag.transform(3) == {"o": ["3s", "33", "4s", "43"]}


def test_shorthand_unnamed_output_of_a_dict():
    a, b = Unit("a"), Unit("b", function=lambda x: [-x])
    dag = DAGPipeline({a: INPUT, b: INPUT, DagOutput(): {"p": a, "q": b}, DagOutput("r"): a})
    assert dag.transform(3) == {"p": [3], "q": [-3], "r": [3]}


def test_shorthand_unnamed_output_of_a_pipeline_with_dict_output():
    source = number_and_text()
    dag = DAGPipeline({source: INPUT, DagOutput(): source})
    assert dag.transform(3) == {"n": [3, 4], "t": ["s", "3"]}
    assert dag.output_type == {"n": int, "t": str}


def test_a_dag_in_a_dag_nests_its_stats():
    inner_unit = Unit("unit", function=lambda x: [x, x], stats=["n"])
    inner = DAGPipeline({inner_unit: INPUT, DagOutput("o"): inner_unit}, "Inner")
    after = Unit("after", stats=["n", "m"])
    outer = DAGPipeline({inner: INPUT, after: inner["o"], DagOutput("p"): after}, "Outer")
    assert outer.transform(1) == {"p": [1, 1]}
    after_stats = ["Outer_after_m: 1"] * 2 + ["Outer_after_n: 1"] * 2
    assert stats_of(outer) == ["Outer_Inner_unit_n: 1", *after_stats]


def test_units_without_inputs_do_not_run_and_report_nothing():
    def fail_if_run(x):
        raise AssertionError("ran")

    even = Unit("even", function=lambda x: [] if x % 2 else [x])
    after = Unit("after", stats=["n"])
    both = Unit("both", {"a": int, "b": int}, int, fail_if_run, stats=["n"])
    dag = DAGPipeline(
        {
            even: INPUT,
            after: even,
            both: {"a": even, "b": INPUT},
            DagOutput(): {"o": after, "p": both},
        }
    )
    assert dag.transform(1) == {"o": [], "p": []}
    assert stats_of(dag) == []
    both.function = lambda d: [d["a"] + d["b"]]
    assert dag.transform(2) == {"o": [2], "p": [4]}
    dag.transform(1)
    assert stats_of(dag) == []


def test_stats_are_empty_after_a_failure():
    def fail_at_zero(x):
        return [1 // x]

    before, unit = Unit("before", stats=["n"]), Unit("unit", function=fail_at_zero)
    dag = DAGPipeline({before: INPUT, unit: before, DagOutput("o"): unit})
    dag.transform(1)
    assert stats_of(dag) == ["DAGPipeline_before_n: 1"]
    with pytest.raises(ZeroDivisionError):
        dag.transform(0)
    assert stats_of(dag) == []


def case(error, build):
    return pytest.param(error, build, id=f"{error.__name__}-{build.__name__}")


def no_dict(a, b, c):
    return [a]


def text_as_destination(a, b, c):
    return {a: INPUT, "b": a, DagOutput("o"): a}


def input_as_destination(a, b, c):
    return {a: INPUT, INPUT: a, DagOutput("o"): a}


def text_as_source(a, b, c):
    return {a: "input", DagOutput("o"): a}


def class_as_source(a, b, c):
    return {a: int, DagOutput("o"): a}


def output_as_source(a, b, c):
    return {a: INPUT, b: DagOutput("o"), DagOutput("o"): a}


def numbered_sources(a, b, c):
    return {Unit("d", {"x": int}): {1: INPUT}, DagOutput("o"): a}


def nested_sources(a, b, c):
    d = Unit("d", {"x": int})
    return {d: {"x": {"y": INPUT}}, DagOutput("o"): d}


def units_of_one_name(a, b, c):
    second = Unit("a")
    return {a: INPUT, second: a, DagOutput("o"): second}


def unit_and_output_of_one_name(a, b, c):
    return {a: INPUT, DagOutput("a"): a}


def outputs_of_one_name(a, b, c):
    return {a: INPUT, b: INPUT, DagOutput("o"): a, DagOutput(): {"o": b}}


def no_input(a, b, c):
    return {a: b, b: a, DagOutput("o"): a}


def inputs_of_two_types(a, b, c):
    d = Unit("d", str, str)
    return {a: INPUT, d: DagInput(str), DagOutput("o"): a, DagOutput("p"): d}


def no_output(a, b, c):
    return {a: INPUT}


def empty(a, b, c):
    return {}


def unnamed_output_of_one(a, b, c):
    return {a: INPUT, DagOutput(): a}


def unnamed_output_of_key(a, b, c):
    source = number_and_text()
    return {source: INPUT, DagOutput(): source["n"]}


def named_output_of_dict(a, b, c):
    return {a: INPUT, b: INPUT, DagOutput("o"): {"p": a, "q": b}}


def named_output_of_dict_unit(a, b, c):
    source = number_and_text()
    return {source: INPUT, DagOutput("o"): source}


def other_type(a, b, c):
    d = Unit("d", str)
    return {d: INPUT, DagOutput("o"): d}


def other_type_between_units_of_one_name(a, b, c):
    second = Unit("a", str)
    return {a: INPUT, second: a, DagOutput("o"): second}


def other_type_in_dict(a, b, c):
    sink = join()
    return {sink: {"n": INPUT, "t": INPUT}, DagOutput("o"): sink}


def missing_name(a, b, c):
    sink = join()
    return {sink: {"n": INPUT}, DagOutput("o"): sink}


def extra_name(a, b, c):
    d = Unit("d", {"x": int})
    return {d: {"x": INPUT, "y": INPUT}, DagOutput("o"): d}


def dict_for_single_input(a, b, c):
    return {a: {"x": INPUT}, DagOutput("o"): a}


def dict_unit_for_single_input(a, b, c):
    source = number_and_text()
    return {source: INPUT, a: source, DagOutput("o"): a}


def dict_unit_for_other_dict(a, b, c):
    source, d = number_and_text(), Unit("d", {"n": int})
    return {source: INPUT, d: source, DagOutput("o"): d}


def source_without_input(a, b, c):
    return {a: INPUT, c: b, DagOutput("o"): c}


def key_of_unit_without_input(a, b, c):
    return {a: INPUT, DagOutput("o"): a, DagOutput("p"): number_and_text()["n"]}


def output_not_used(a, b, c):
    return {a: INPUT, b: a, DagOutput("o"): a}


def cycle(a, b, c):
    return {a: INPUT, b: c, c: b, DagOutput("o"): a}


def cycle_with_input(a, b, c):
    d = Unit("d", {"x": int, "y": int})
    return {d: {"x": INPUT, "y": b}, b: d, DagOutput("o"): b}


def unit_from_itself(a, b, c):
    d = Unit("d", {"x": int, "y": int})
    return {d: {"x": INPUT, "y": d}, DagOutput("o"): d}


@pytest.mark.parametrize(
    ("error", "build"),
    [
        case(InvalidDAGError, no_dict),
        case(InvalidDAGError, text_as_destination),
        case(InvalidDAGError, input_as_destination),
        case(InvalidDAGError, text_as_source),
        case(InvalidDAGError, class_as_source),
        case(InvalidDAGError, output_as_source),
        case(InvalidDAGError, numbered_sources),
        case(InvalidDAGError, nested_sources),
        case(DuplicateNameError, units_of_one_name),
        case(DuplicateNameError, unit_and_output_of_one_name),
        case(DuplicateNameError, outputs_of_one_name),
        case(BadInputOrOutputError, no_input),
        case(BadInputOrOutputError, inputs_of_two_types),
        case(BadInputOrOutputError, no_output),
        case(BadInputOrOutputError, empty),
        case(InvalidDictionaryOutputError, unnamed_output_of_one),
        case(InvalidDictionaryOutputError, unnamed_output_of_key),
        case(InvalidDictionaryOutputError, named_output_of_dict),
        case(InvalidDictionaryOutputError, named_output_of_dict_unit),
        case(TypeMismatchError, other_type),
        case(TypeMismatchError, other_type_between_units_of_one_name),
        case(TypeMismatchError, other_type_in_dict),
        case(TypeMismatchError, missing_name),
        case(TypeMismatchError, extra_name),
        case(TypeMismatchError, dict_for_single_input),
        case(TypeMismatchError, dict_unit_for_single_input),
        case(TypeMismatchError, dict_unit_for_other_dict),
        case(NotConnectedError, source_without_input),
        case(NotConnectedError, key_of_unit_without_input),
        case(NotConnectedError, output_not_used),
        case(BadTopologyError, cycle),
        case(BadTopologyError, cycle_with_input),
        case(BadTopologyError, unit_from_itself),
    ],
)
def test_faults_are_found_when_the_graph_is_built(error, build):
    with pytest.raises(error):
        DAGPipeline(build(Unit("a"), Unit("b"), Unit("c")))


@pytest.mark.parametrize(
    ("output_type", "outputs"),
    [
        (int, 3),
        (int, (3,)),
        (int, None),
        (int, ["3"]),
        (int, {"n": [3]}),
        ({"n": int}, [3]),
        ({"n": int}, {"m": [3]}),
        ({"n": int}, {"n": [3], "m": [3]}),
        ({"n": int}, {"n": 3}),
        ({"n": int}, {"n": ["3"]}),
    ],
)
def test_units_must_return_what_they_declare(output_type, outputs):
    unit = Unit("unit", int, output_type, lambda x: outputs)
    source = unit["n"] if isinstance(output_type, dict) else unit
    dag = DAGPipeline({unit: INPUT, DagOutput("o"): source})
    with pytest.raises(InvalidTransformOutputError, match="unit"):
        dag.transform(3)
