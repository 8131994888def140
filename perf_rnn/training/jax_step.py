"""The train step on JAX, each batch shared over all devices of all processes."""

import contextlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from numpy.typing import NDArray

from perf_rnn.training.metrics import batch_sums


class Devices:
    """The devices that share the rows of each batch, in all processes of `jax.distributed`.

    Attributes:
      count: how many there are.
      num_processes: how many processes they belong to.
      is_main_process: whether this process writes the run's files.
      has_accelerators: whether they are GPUs or TPUs.
    """

    def __init__(self, devices: Sequence[Any] | None = None):
        """Takes devices; None: all that there are."""
        devices = jax.devices() if devices is None else devices
        self.count = len(devices)
        self.num_processes: int = jax.process_count()
        self.is_main_process: bool = jax.process_index() == 0
        self.has_accelerators = all(device.platform != "cpu" for device in devices)
        self._mesh = Mesh(np.array(devices), ("rows",))
        self._shared = NamedSharding(self._mesh, P("rows"))
        self._replicated = NamedSharding(self._mesh, P())

    def scope(self) -> AbstractContextManager[Any]:
        """Returns the context in which variables must be made and assigned: none is needed."""
        return contextlib.nullcontext()

    def share(self, arrays: Sequence[NDArray[Any]]) -> list[Any]:
        """Gives each device an equal share of the rows of each array.

        Every process has the whole arrays, and its devices take their rows from those.
        """
        return [self._place(array, self._shared) for array in arrays]

    def gather(self, values: Sequence[Any]) -> list[NDArray[Any]]:
        """Returns the arrays whose rows were shared, whole in every process."""
        if self.num_processes > 1:
            values = multihost_utils.process_allgather(list(values), tiled=True)
        return [np.asarray(value) for value in values]

    def any_process(self, flags: Sequence[bool]) -> Sequence[bool]:
        """Returns for each flag whether it is True in any process; all of them must call this."""
        if self.num_processes == 1:
            return flags
        gathered = multihost_utils.process_allgather(np.array(flags))
        return [bool(flag) for flag in np.any(gathered, axis=0)]

    def _place(self, value: Any, sharding: NamedSharding) -> Any:
        if isinstance(value, jax.Array) and value.sharding == sharding:
            return value
        array = np.asarray(value)
        return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])

    def compile_train_step(
        self,
        network: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        head_sizes: Sequence[int],
        clip_norm: float,
    ) -> Callable[..., tuple[Any, list[Any]]]:
        """Returns the train step, as in `tensorflow_step`; its results may not be computed yet."""

        def step(
            variables: Any, states: Any, batch: Any, num_events: Any, learning_rate: Any
        ) -> Any:
            """Computes on one device's rows."""
            optimizer.learning_rate = lambda: learning_rate  # Called by `stateless_apply`, below.
            weights, random, optimizer_variables = variables
            inputs, controls, labels, label_weights, keep_state = batch
            states = [state * keep_state[:, None] for state in states]
            # Each device draws its own dropout: a state is a seed and a counter.
            device = jnp.stack([jax.lax.axis_index("rows"), 0])
            own_random = [state + device.astype(state.dtype) for state in random]

            def loss(weights: Any) -> Any:
                (logits, new_states), new_random = network.stateless_call(
                    weights, own_random, [inputs, controls, states], training=True
                )
                sums = batch_sums(logits, labels, label_weights, head_sizes)
                return sums[0] / (num_events * len(head_sizes)), (sums, new_states, new_random)

            gradients, (sums, states, random) = jax.grad(loss, has_aux=True)(weights)
            # Clipping needs the whole gradient.
            gradients, sums = jax.lax.psum((gradients, sums), "rows")
            norms = [jnp.sqrt(jnp.sum(jnp.square(gradient))) for gradient in gradients]
            gradients = [
                gradient * (clip_norm / jnp.maximum(norm, clip_norm))
                for gradient, norm in zip(gradients, norms, strict=True)
            ]
            weights, optimizer_variables = optimizer.stateless_apply(
                optimizer_variables, gradients, weights
            )
            random = [state - device.astype(state.dtype) for state in random]
            return sums, (weights, random, optimizer_variables), states

        compiled = jax.jit(
            jax.shard_map(
                step,
                mesh=self._mesh,
                in_specs=(P(), P("rows"), P("rows"), P(), P()),
                out_specs=(P(), P(), P("rows")),
                # Gradients of replicated weights are summed above, not by JAX.
                check_vma=False,
            ),
            donate_argnums=(0, 1),
        )
        kept = [
            network.trainable_variables,
            network.non_trainable_variables,
            optimizer.variables,
        ]

        def take_step(
            states: list[Any], batch: list[Any], num_events: int, learning_rate: float
        ) -> tuple[Any, list[Any]]:
            values = [
                [self._place(variable.value, self._replicated) for variable in variables]
                for variables in kept
            ]
            numbers = np.float32(num_events), np.float32(learning_rate)
            sums, new_values, states = compiled(values, states, batch, *numbers)
            for variables, new in zip(kept, new_values, strict=True):
                for variable, value in zip(variables, new, strict=True):
                    variable.assign(value)
            return sums, states

        return take_step


def compile_forward(network: keras.Model, function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles a function of a network in inference mode, as in `tensorflow_step`."""

    @jax.jit  # type: ignore[untyped-decorator]  # mypy skips JAX's types.
    def compiled(weights: Any, others: Any, *arrays: Any) -> Any:
        def forward(inputs: Any) -> Any:
            return network.stateless_call(weights, others, inputs, training=False)[0]

        return function(forward, *arrays)

    def call(*arrays: Any) -> Any:
        return compiled(
            [variable.value for variable in network.trainable_variables],
            [variable.value for variable in network.non_trainable_variables],
            *arrays,
        )

    return call


def fast_dtype_policy() -> str:
    """Returns the Keras dtype policy with which these devices take matrix products fastest.

    That is `mixed_bfloat16` on TPUs and on NVIDIA's GPUs from the A100 and H100 on.
    """
    fast = all(map(_has_bfloat16, jax.devices()))
    return "mixed_bfloat16" if fast else "float32"


def _has_bfloat16(device: Any) -> bool:
    if device.platform == "gpu":
        # "9.0" of an H100; another form on GPUs of other makers.
        generation = str(getattr(device, "compute_capability", "")).partition(".")[0]
        return generation.isdigit() and int(generation) >= 8
    return bool(device.platform == "tpu")
