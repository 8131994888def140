"""The train step on TensorFlow, on one device or shared over several by tf.distribute."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from perf_rnn.training.metrics import batch_sums


class Devices:
    """The devices that share the rows of each batch.

    Attributes:
      count: how many there are.
      num_processes: how many processes they belong to: one.
      is_main_process: whether this process writes the run's files.
      has_accelerators: whether they are GPUs or TPUs.
    """

    num_processes = 1
    is_main_process = True

    def __init__(self, strategy: tf.distribute.Strategy | None = None):
        """Takes the devices of a strategy; None: this process's one device."""
        self._strategy = strategy or tf.distribute.get_strategy()
        self.count: int = self._strategy.num_replicas_in_sync
        self.has_accelerators = any(map(tf.config.list_logical_devices, ("GPU", "TPU")))

    @classmethod
    def mirrored(cls) -> "Devices":
        """Returns all GPUs, or all virtual CPUs where there is no GPU."""
        gpus = tf.config.list_logical_devices("GPU")
        if gpus:
            return cls(tf.distribute.MirroredStrategy([device.name for device in gpus]))
        cpus = [device.name for device in tf.config.list_logical_devices("CPU")]
        # On CPUs the default, collective operations, fails for a process's second strategy.
        return cls(tf.distribute.MirroredStrategy(cpus, tf.distribute.ReductionToOneDevice()))

    def scope(self) -> AbstractContextManager[Any]:
        """Returns the context in which variables must be made and assigned."""
        scope: AbstractContextManager[Any] = self._strategy.scope()
        return scope

    def share(self, arrays: Sequence[NDArray[Any]]) -> list[Any]:
        """Gives each device an equal share of the rows of each array."""

        def shared(array: NDArray[Any]) -> Any:
            rows = len(array) // self.count

            def share_of(context: Any) -> Any:
                first = context.replica_id_in_sync_group * rows
                return tf.constant(array[first : first + rows])

            return self._strategy.experimental_distribute_values_from_function(share_of)

        return [shared(array) for array in arrays]

    def gather(self, values: Sequence[Any]) -> list[NDArray[Any]]:
        """Returns the arrays whose rows were shared."""
        return [
            np.concatenate(
                [np.asarray(part) for part in self._strategy.experimental_local_results(value)]
            )
            for value in values
        ]

    def any_process(self, flags: Sequence[bool]) -> Sequence[bool]:
        """Returns for each flag whether it is True in any process: there is only this one."""
        return flags

    def compile_train_step(
        self,
        network: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        head_sizes: Sequence[int],
        clip_norm: float,
    ) -> Callable[..., tuple[Any, list[Any]]]:
        """Returns the train step, a function of (states, batch, num_events, learning_rate).

        `states` and `batch`, the five arrays of `Batch`, are what `share` returns, and `num_events`
        is the number of events to predict in the whole batch. The step updates the network and
        returns (sums, states): the batch's `batch_sums`, float32 [4], and the new states.

        The gradient is that of `Metrics.loss` over the whole batch; each variable's is clipped.
        """

        def step(states: Any, batch: Any, num_events: Any, learning_rate: Any) -> Any:
            optimizer.learning_rate = lambda: learning_rate  # Called by `apply`, below.
            inputs, controls, labels, weights, keep_state = batch
            with tf.GradientTape() as tape:
                states = [state * keep_state[:, tf.newaxis] for state in states]
                logits, states = network([inputs, controls, states], training=True)
                sums = batch_sums(logits, labels, weights, head_sizes)
                loss = sums[0] / (num_events * len(head_sizes))
            gradients = tape.gradient(loss, network.trainable_variables)
            if self.count > 1:  # Clipping needs the whole gradient.
                context = tf.distribute.get_replica_context()
                gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
            # The optimizer sums over replicas once more.
            gradients = [
                tf.clip_by_norm(gradient, clip_norm) / self.count for gradient in gradients
            ]
            optimizer.apply(gradients, network.trainable_variables)
            return sums, states

        def distributed(states: Any, batch: Any, num_events: Any, learning_rate: Any) -> Any:
            arguments = states, batch, num_events, learning_rate
            sums, states = self._strategy.run(step, args=arguments)
            return self._strategy.reduce(tf.distribute.ReduceOp.SUM, sums, axis=None), states

        compiled = tf.function(distributed)

        def take_step(
            states: list[Any], batch: list[Any], num_events: int, learning_rate: float
        ) -> tuple[Any, list[Any]]:
            numbers = (tf.constant(number, tf.float32) for number in (num_events, learning_rate))
            sums, states = compiled(states, batch, *numbers)
            return sums, states

        return take_step


def compile_forward(network: keras.Model, function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles a function of a network in inference mode.

    Args:
      network: what `build_network` made.
      function: of the network, as a function of its inputs, and of arrays; made of keras.ops.

    Returns:
      The function of the arrays, with the network's weights at the time of each call.
    """

    def forward(inputs: Any) -> Any:
        return network(inputs, training=False)

    return tf.function(lambda *arrays: function(forward, *arrays))  # type: ignore[no-any-return]


def fast_dtype_policy() -> str:
    """Returns the Keras dtype policy with which this machine takes matrix products fastest.

    That is `mixed_bfloat16` where the processor has instructions for it, else `float32`.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
        fast = all(detail.get("compute_capability", (0, 0)) >= (8, 0) for detail in details)
    elif tf.config.list_logical_devices("TPU"):
        fast = True
    else:
        fast = any(name in _cpu_features() for name in ("avx512_bf16", "amx_bf16"))
    return "mixed_bfloat16" if fast else "float32"


def _cpu_features() -> set[str]:
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            return set(file.read().split())
    except FileNotFoundError:  # Only Linux has it.
        return set()
