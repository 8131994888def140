"""The network's input of events and controls, and the base class of its layers."""

import functools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from perf_rnn.configs import PerformanceRnnConfig
from perf_rnn.network import recurrence


class EventInput:
    """The vector `controls ++ event`, and its product with a kernel, without forming the vector."""

    def __init__(
        self,
        head_sizes: Sequence[int],
        control_size: int,
        vectors: Sequence[Sequence[float]] | np.ndarray | None = None,
    ):
        """Takes plain numbers, so that Keras can save a layer with it.

        Args:
          head_sizes: classes of each head.
          control_size: width of the controls.
          vectors: [classes, width], the vector of each class; None: one-hot vectors of the heads'
            indices, concatenated.
        """
        self.head_sizes = tuple(head_sizes)
        self.control_size = control_size
        self.vectors = None if vectors is None else np.asarray(vectors, np.float32)

    @classmethod
    def of(cls, config: PerformanceRnnConfig) -> "EventInput":
        """Returns the input of networks of `config`."""
        encoding = config.encoding
        return cls(encoding.head_sizes, config.control_size, encoding.vectors)

    def to_dict(self) -> dict[str, Any]:
        """Returns the constructor's arguments, JSON-able."""
        vectors = None if self.vectors is None else self.vectors.tolist()
        return {
            "head_sizes": self.head_sizes,
            "control_size": self.control_size,
            "vectors": vectors,
        }

    @property
    def size(self) -> int:
        """Width of the vectors, and number of a kernel's rows."""
        width = sum(self.head_sizes) if self.vectors is None else self.vectors.shape[1]
        return self.control_size + width

    @property
    def kernel_initializer(self) -> keras.initializers.Initializer:
        """Initializer of a kernel for these inputs.

        Keras's default scale shrinks with the number of rows. The product of a one-hot vector is
        but one or a few of the rows; if these are small, the layers above hardly tell events
        apart, and training makes no progress at first. Here the products of the events with a
        column have a standard deviation of 0.5.
        """
        if self.vectors is None:
            squared_length = len(self.head_sizes)
        else:
            squared_length = np.square(self.vectors).sum(axis=1).mean()
        return keras.initializers.RandomNormal(stddev=0.5 / float(squared_length) ** 0.5)

    def times(self, inputs: Sequence[Any], kernel: Any, dtype: str) -> Any:
        """Returns the product with a kernel.

        Args:
          inputs: events, int32 [a, b, *event_shape], and controls, float32 [a, b, control_size].
          kernel: float32 [size, n], the controls' rows first.
          dtype: of the factors of a large matrix product, `float32` or `bfloat16`.

        Returns:
          float32 [a, b, n].
        """
        own = recurrence.module()
        if own is None:
            return product(self.vectors_of(inputs), kernel, dtype)
        events, controls = inputs
        table = keras.ops.convert_to_tensor(kernel)
        if self.control_size:
            control_kernel, table = table[: self.control_size], table[self.control_size :]
        if self.vectors is not None:
            table = keras.ops.matmul(self.vectors, table)
        rows = [own.look_up(table, indices) for indices in self._places(events)]
        if self.control_size:
            rows.append(keras.ops.matmul(controls, control_kernel))
        return functools.reduce(keras.ops.add, rows)

    def vectors_of(self, inputs: Sequence[Any]) -> Any:
        """Returns controls ++ the events' vectors, float32 [a, b, size]."""
        events, controls = inputs
        if self.vectors is not None:
            vectors = keras.ops.take(self.vectors, events, axis=0)
        else:
            width = sum(self.head_sizes)
            ones = [keras.ops.one_hot(indices, width) for indices in self._places(events)]
            vectors = functools.reduce(keras.ops.add, ones)
        if not self.control_size:
            return vectors
        return keras.ops.concatenate([controls, vectors], axis=-1)

    def _places(self, events: Any) -> list[Any]:
        """Returns for each head the places of the one-hot vectors' ones, or rows of `vectors`."""
        if len(self.head_sizes) == 1:
            return [events]
        firsts = np.cumsum([0, *self.head_sizes[:-1]]).tolist()
        return [events[..., head] + first for head, first in enumerate(firsts)]


class EventLayer(keras.layers.Layer):  # type: ignore[misc]  # Keras ships no types.
    """Base class of layers whose inputs may be events and controls.

    Call argument: `inputs`, float [batch, time, features], or, given an `event_input`, the list of
    events, int32 [batch, time, *event_shape], and controls, float [batch, time, control_size].
    Inputs, outputs and weights of a layer are float32 under either dtype policy.
    """

    def __init__(
        self,
        units: int,
        event_input: EventInput | None = None,
        matmul_policy: str = "float32",
        **kwargs: Any,
    ):
        """Creates the layer.

        Args:
          units: width of its outputs.
          event_input: how events and controls are read, if those are the inputs.
          matmul_policy: Keras dtype policy of matrix products, `float32` or `mixed_bfloat16`.
          **kwargs: of `keras.layers.Layer`.
        """
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.units = units
        self.event_input = event_input
        self.matmul_policy = matmul_policy
        self.kernel_initializer = (
            event_input.kernel_initializer if event_input else keras.initializers.LecunNormal()
        )

    def features(self, input_shape: Any) -> int:
        """Returns the number of a kernel's rows."""
        return self.event_input.size if self.event_input else input_shape[-1]

    def times(self, inputs: Any, kernel: Any) -> Any:
        """Returns the inputs' product with a kernel, in float32."""
        dtype = keras.DTypePolicy(self.matmul_policy).compute_dtype
        if self.event_input:
            return self.event_input.times(inputs, kernel, dtype)
        return product(inputs, kernel, dtype)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "event_input": self.event_input and self.event_input.to_dict(),
            "matmul_policy": self.matmul_policy,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "EventLayer":
        arguments = config["event_input"]
        return cls(**{**config, "event_input": arguments and EventInput(**arguments)})


def product(x: Any, kernel: Any, dtype: str) -> Any:
    """Returns x @ kernel in float32, its factors rounded to `dtype`."""
    x, kernel = keras.ops.cast(x, dtype), keras.ops.cast(kernel, dtype)
    return keras.ops.cast(keras.ops.matmul(x, kernel), "float32")
