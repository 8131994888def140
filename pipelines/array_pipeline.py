"""Units that work on NumPy arrays and, to the outside, take and give what Magenta's do.

A value of a declared type (a NoteSequence proto) can have a second form that is cheaper to work on
(NoteArrays). An ArrayPipeline is written against that form alone. Called by a user, it converts at
both ends. Inside a DAGPipeline two ArrayPipelines that share a form exchange it as it is, and the
DAG converts at every other edge, so that any Pipeline can stand anywhere.
"""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any

from pipelines import pipeline


@dataclasses.dataclass(frozen=True)
class ArrayForm:
    """How values of one declared type travel between units that work on arrays.

    Attributes:
      type: the class of the array form.
      from_declared: turns a value of the declared type into one of `type`.
      to_declared: turns it back.
    """

    type: type
    from_declared: Callable[[Any], Any]
    to_declared: Callable[[Any], Any]


class ArrayPipeline(pipeline.Pipeline):
    """A Pipeline that works on the array form of its input, and perhaps gives one of its outputs.

    Its types are classes, not dicts. A subclass implements `transform_arrays`. If it overrides
    `transform` as well, its `transform` is what runs everywhere, on values of the declared type,
    unless it says otherwise.

    Attributes:
      input_form: the form `transform_arrays` takes.
      output_form: the form it returns a list of; None for the declared type itself.
      works_on_arrays: whether a DAGPipeline may call `transform_arrays`.
    """

    input_form: ArrayForm
    output_form: ArrayForm | None = None
    works_on_arrays: Any = True  # Any, so that a subclass may make it a property.

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
          A list of values of type `output_form.type`, or of the declared type without a form.
        """

    def transform(self, input_object: Any) -> list[Any]:
        outputs = self.transform_arrays(self.input_form.from_declared(input_object))
        if self.output_form is None:
            return outputs
        return [self.output_form.to_declared(output) for output in outputs]
