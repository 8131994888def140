"""Pipelines connected in a directed acyclic graph (DAG), which is itself a Pipeline.

Names and behaviour follow `magenta.pipelines.dag_pipeline` of Magenta 2.1.4. Errors in a graph are
raised when it is built, with an exception class for each kind. Differences: statistics are empty
after an error, and array units exchange arrays (`pipelines.array_pipeline`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any, TypeGuard

from bundles.errors import PerfRnnError
from pipelines import statistics
from pipelines.array_pipeline import ArrayForm, ArrayPipeline
from pipelines.pipeline import Pipeline, PipelineKey, TypeSignature


class InvalidDAGError(PerfRnnError):
    """A key or value of the graph has an invalid type."""


class TypeMismatchError(PerfRnnError):
    """The input type of a unit differs from the type of its source."""


class DuplicateNameError(PerfRnnError):
    """Two units, or two outputs, have the same name."""


class BadInputOrOutputError(PerfRnnError):
    """The graph has no input, several input types, or no output."""


class InvalidDictionaryOutputError(PerfRnnError):
    """A named DagOutput has several sources, or an unnamed one a single source."""


class NotConnectedError(PerfRnnError):
    """A unit has no input, or its output is not used."""


class BadTopologyError(PerfRnnError):
    """The graph has a cycle."""


class InvalidTransformOutputError(PerfRnnError):
    """A unit returned a value of another type than it declares."""


class DagInput:
    """The input of the graph, as a source. Two DagInputs are equal if their types are.

    Attributes:
      output_type: type of the input.
    """

    def __init__(self, type_: TypeSignature):
        self.output_type = type_

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DagInput) and self.output_type == other.output_type

    def __hash__(self) -> int:
        return hash(repr(self.output_type))

    def __repr__(self) -> str:
        return f"DagInput({self.output_type!r})"


class DagOutput:
    """An output of the graph, as a destination. Two DagOutputs are equal if their names are.

    Attributes:
      name: its name; None if the source is a dict, whose keys are the names.
      output_type, input_type: type of the output; set when the graph is built.
    """

    def __init__(self, name: str | None = None):
        self.name = name
        self.output_type: Any = None
        self.input_type: Any = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DagOutput) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"DagOutput({self.name})"


# A source in a graph whose shorthands are expanded.
Source = Pipeline | PipelineKey | DagInput
Dag = dict[Any, Any]


class DAGPipeline(Pipeline):
    """A Pipeline made of Pipelines.

    `dag` maps each destination to its source, or to {name: source} for a destination with named
    inputs. Destinations are Pipelines and DagOutputs. Sources are Pipelines, single outputs
    (`unit['name']`) and the DagInput:

        dag = {quantizer: DagInput(NoteSequence),
               extractor: quantizer,
               DagOutput('melodies'): extractor['melodies']}

    There are two shorthands: a Pipeline with a dict output can be the source of a Pipeline with an
    equal dict input, and the source of an unnamed DagOutput() is a dict or a Pipeline with a dict
    output.

    A unit runs on each object of its source. A unit with several inputs runs on their Cartesian
    product.
    """

    def __init__(self, dag: Mapping[Any, Any], pipeline_name: str = "DAGPipeline"):
        """Checks the graph and orders its units.

        Args:
          dag: {destination: source}, see above.
          pipeline_name: name in statistics and messages.

        Raises:
          InvalidDAGError: a key or value of `dag` has an invalid type.
          DuplicateNameError: two units or two outputs have the same name.
          BadInputOrOutputError: there is no DagInput, DagInputs of several types, or no output.
          InvalidDictionaryOutputError: a named DagOutput has several sources, or an unnamed one
            has a single source.
          TypeMismatchError: the input type of a unit differs from the type of its source.
          NotConnectedError: a unit has no input, or its output is not used.
          BadTopologyError: the graph has a cycle.
        """
        if not isinstance(dag, Mapping):
            raise InvalidDAGError(f"a graph is a dict {{destination: source}}, not {dag!r}")
        for destination, source in dag.items():
            _check_entry(destination, source)
        self.dag = _expand_shorthands(dag)
        self._units = [unit for unit in self.dag if isinstance(unit, Pipeline)]
        self._outputs = [output for output in self.dag if isinstance(output, DagOutput)]
        for unit in self._units:
            _check_types(unit, self.dag[unit])
        _check_names(self._units, self._outputs)

        inputs = {
            source
            for entry in self.dag.values()
            for source in _sources(entry)
            if isinstance(source, DagInput)
        }
        if len(inputs) != 1:
            raise BadInputOrOutputError(f"a graph needs one type of DagInput; found {list(inputs)}")
        if not self._outputs:
            raise BadInputOrOutputError("a graph needs a DagOutput")
        for output in self._outputs:
            output.input_type = output.output_type = self.dag[output].output_type
        self._check_connected()
        self._units = self._in_order()
        super().__init__(
            inputs.pop().output_type,
            {str(output.name): output.output_type for output in self._outputs},
            pipeline_name,
        )

    def transform(self, input_object: Any) -> dict[str, list[Any]]:
        """Runs the graph on one input.

        Args:
          input_object: an object of the input type, or in the array form of a unit that uses it.

        Returns:
          {output name: list of objects}.

        Raises:
          InvalidTransformOutputError: a unit returned a value of another type than it declares.
        """
        # After an error, `get_stats` must not return the statistics of an earlier input.
        self._set_stats([])
        results: dict[Any, dict[str | None, _Values]] = {
            DagInput(self.input_type): {
                None: _Values([input_object], self._form_of_input(input_object))
            }
        }
        stats: list[statistics.Statistic] = []
        for unit in self._units:
            results[unit] = _run_unit(unit, self._inputs_of(unit, results), stats)
        self._set_stats(stats)
        return {
            str(output.name): _select(self.dag[output], results).in_form(None)
            for output in self._outputs
        }

    def _form_of_input(self, input_object: Any) -> ArrayForm | None:
        forms = (
            unit.input_form
            for unit in self._units
            if _works_on_arrays(unit) and isinstance(self.dag[unit], DagInput)
        )
        return next((form for form in forms if isinstance(input_object, form.type)), None)

    def _inputs_of(self, unit: Pipeline, results: Mapping[Any, Any]) -> Iterable[Any]:
        """Returns the inputs of `unit`."""
        source = self.dag[unit]
        if isinstance(source, dict):
            lists = [_select(value, results).in_form(None) for value in source.values()]
            return (dict(zip(source, values, strict=True)) for values in itertools.product(*lists))
        return _select(source, results).in_form(unit.input_form if _works_on_arrays(unit) else None)

    def _check_connected(self) -> None:
        used = {_unit_of(source) for entry in self.dag.values() for source in _sources(entry)}
        for source in used:
            if isinstance(source, Pipeline) and source not in self.dag:
                raise NotConnectedError(
                    f"{source.name} is a source but has no input; add it as a destination"
                )
        for unit in self._units:
            if unit not in used:
                raise NotConnectedError(f"the output of {unit.name} is not used")

    def _in_order(self) -> list[Pipeline]:
        """Returns the units in topological order."""
        waiting = dict.fromkeys(self._units)
        ordered: list[Pipeline] = []
        while waiting:
            ready = [
                unit
                for unit in waiting
                if not any(_unit_of(source) in waiting for source in _sources(self.dag[unit]))
            ]
            if not ready:
                names = ", ".join(unit.name for unit in waiting)
                raise BadTopologyError(f"the graph has a cycle among: {names}")
            ordered += ready
            for unit in ready:
                del waiting[unit]
        return ordered


class _Values:
    """A list of objects in the form that their unit returned, converted to others on demand."""

    def __init__(self, values: list[Any], form: ArrayForm | None = None):
        self._forms: dict[ArrayForm | None, list[Any]] = {form: values}
        self._form = form

    def in_form(self, form: ArrayForm | None) -> list[Any]:
        """Returns the objects in `form`, or None for the declared type. Conversions are cached."""
        if form not in self._forms:
            if form is not None:
                self._forms[form] = list(map(form.from_declared, self.in_form(None)))
            elif self._form is not None:
                self._forms[None] = list(map(self._form.to_declared, self._forms[self._form]))
        return self._forms[form]


def _works_on_arrays(unit: Any) -> TypeGuard[ArrayPipeline]:
    return isinstance(unit, ArrayPipeline) and unit.works_on_arrays


def _exchange_arrays(source: Any, unit: Pipeline) -> bool:
    return (
        _works_on_arrays(source)
        and _works_on_arrays(unit)
        and source.named_outputs is None
        and source.output_form is unit.input_form
    )


def _run_unit(
    unit: Pipeline, inputs: Iterable[Any], stats: list[statistics.Statistic]
) -> dict[str | None, _Values]:
    """Runs `unit` on its inputs, checks and joins the outputs, appends statistics to `stats`.

    Returns:
      {output name: values}; None is the name of a single output.
    """
    form = unit.output_form if _works_on_arrays(unit) else None
    transform = unit.transform_arrays if _works_on_arrays(unit) else unit.transform
    # Where arrays are exchanged, the declared type is not looked at: it may take long to import.
    types: dict[str | None, Any] = (
        {None: form.type if form else unit.output_type}
        if unit.named_outputs is None
        else dict(unit.named_outputs.items())
    )
    joined: dict[str | None, list[Any]] = {name: [] for name in types}
    for input_object in inputs:
        outputs = transform(input_object)
        if unit.named_outputs is None:
            outputs = {None: outputs}
        elif not isinstance(outputs, dict) or outputs.keys() != types.keys():
            raise InvalidTransformOutputError(
                f"{unit.name} declares the outputs {list(types)}, but returned {outputs!r}"
            )
        for name, type_ in types.items():
            _check_values(unit, outputs[name], form.type if form else type_)
            joined[name] += outputs[name]
        stats += unit.get_stats()
    return {name: _Values(values, form) for name, values in joined.items()}


def _check_values(unit: Pipeline, values: Any, type_: type) -> None:
    if not isinstance(values, list):
        raise InvalidTransformOutputError(f"{unit.name} must return lists, but returned {values!r}")
    for value in values:
        if not isinstance(value, type_):
            raise InvalidTransformOutputError(
                f"{unit.name} declares objects of type {type_.__name__}, but returned {value!r}"
            )


def _expand_shorthands(dag: Mapping[Any, Any]) -> Dag:
    """Replaces unnamed DagOutputs by named ones, and dict outputs by their single outputs."""
    expanded: Dag = {}
    for destination, source in dag.items():
        if (
            isinstance(source, Pipeline)
            and source.named_outputs is not None
            and (isinstance(destination, DagOutput) or destination.input_type == source.output_type)
        ):
            source = {name: source[name] for name in source.named_outputs}
        if not isinstance(destination, DagOutput):
            expanded[destination] = source
            continue
        if isinstance(source, dict) != (destination.name is None):
            raise InvalidDictionaryOutputError(
                f"{destination!r}: {source!r}: an output with a single source needs a name, and "
                "an output with a dict must not have one"
            )
        named = (
            {DagOutput(name): value for name, value in source.items()}
            if isinstance(source, dict)
            else {destination: source}
        )
        for output, value in named.items():
            if output in expanded:
                raise DuplicateNameError(f"two outputs are named {output.name!r}")
            expanded[output] = value
    return expanded


def _check_entry(destination: Any, source: Any) -> None:
    if not isinstance(destination, (Pipeline, DagOutput)):
        raise InvalidDAGError(f"a destination is a Pipeline or DagOutput, not {destination!r}")
    if isinstance(source, dict) and not all(isinstance(name, str) for name in source):
        raise InvalidDAGError(f"{destination!r}: the names of sources are str, got {source!r}")
    for value in _sources(source):
        if not isinstance(value, Source):
            raise InvalidDAGError(
                f"{destination!r}: a source is a Pipeline, PipelineKey or DagInput, not {value!r}"
            )
    if isinstance(destination, DagOutput) and not isinstance(destination.name, str | None):
        raise InvalidDAGError(f"the name of an output is a str, not {destination.name!r}")


def _check_names(units: list[Pipeline], outputs: list[DagOutput]) -> None:
    seen: set[str | None] = set()
    for name in [*(unit.name for unit in units), *(output.name for output in outputs)]:
        if name in seen:
            raise DuplicateNameError(f"two parts of the graph are named {name!r}")
        seen.add(name)


def _check_types(unit: Pipeline, source: Any) -> None:
    if _exchange_arrays(source, unit):
        return
    given = (
        {name: value.output_type for name, value in source.items()}
        if isinstance(source, dict)
        else source.output_type
    )
    if given != unit.input_type:
        raise TypeMismatchError(f"{unit.name} takes {unit.input_type}, but is given {given}")


def _sources(entry: Any) -> list[Any]:
    return list(entry.values()) if isinstance(entry, dict) else [entry]


def _unit_of(source: Any) -> Any:
    return source.unit if isinstance(source, PipelineKey) else source


def _select(source: Any, results: Mapping[Any, dict[str | None, _Values]]) -> _Values:
    """Returns the values of a source."""
    return results[_unit_of(source)][source.key if isinstance(source, PipelineKey) else None]
