"""Units that work on NumPy arrays but have the input and output types of Magenta's units.

A value of a declared type (a NoteSequence proto) can have an array form (NoteArrays) that is faster
to process. An ArrayPipeline is implemented on the array form only; its `transform` converts the
input and the outputs. In a DAGPipeline, two connected ArrayPipelines of the same form exchange
arrays, and the DAG converts on all other edges, so array units combine with any Pipeline.
"""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any

from pipelines import pipeline


@dataclasses.dataclass(frozen=True)
class ArrayForm:
    """The array form of a declared type.

    Attributes:
      type: the class of the array form.
      from_declared: converts a value of the declared type to the array form.
      to_declared: converts it back.
    """

    type: type
    from_declared: Callable[[Any], Any]
    to_declared: Callable[[Any], Any]


class ArrayPipeline(pipeline.Pipeline):
    """A Pipeline that works on the array form of its input.

    Its types are classes, not dicts. A subclass implements `transform_arrays`. If it overrides
    `transform` too, a DAGPipeline calls `transform`, unless the subclass sets `works_on_arrays`.

    Attributes:
      input_form: the form of the input of `transform_arrays`.
      output_form: the form of its outputs; None for the declared type.
      works_on_arrays: whether a DAGPipeline calls `transform_arrays` instead of `transform`.
    """

    input_form: ArrayForm
    output_form: ArrayForm | None = None
    works_on_arrays: Any = True  # Any: a subclass may define it as a property.

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "transform" in vars(cls) and "works_on_arrays" not in vars(cls):
            cls.works_on_arrays = False

    @abc.abstractmethod
    def transform_arrays(self, arrays: Any) -> list[Any]:
        """Processes one input in its array form.

        Args:
          arrays: a value of type `input_form.type`.

        Returns:
          A list of values of type `output_form.type`, or of the declared type if that is None.
        """

    def transform(self, input_object: Any) -> list[Any]:
        outputs = self.transform_arrays(self.input_form.from_declared(input_object))
        if self.output_form is None:
            return outputs
        return [self.output_form.to_declared(output) for output in outputs]
