"""Training: truncated back-propagation through time over windows that carry the LSTM's state."""

import dataclasses
import itertools
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from bundles.errors import PerfRnnError
from perf_rnn import progress
from perf_rnn.configs import get_config
from perf_rnn.data.augmentation import Augmentation
from perf_rnn.data.batches import Batch, WindowBatches
from perf_rnn.data.examples import EventSequence
from perf_rnn.hparams import HParams
from perf_rnn.network.network import build_network, zero_states
from perf_rnn.training import run_dir
from perf_rnn.training.metrics import Metrics, batch_sums
from perf_rnn.training.run_dir import RunSettings


class TrainingError(PerfRnnError):
    """Training cannot start or go on; the message says why and what to do."""


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How long to train and how often to report and save.

    Attributes:
      num_training_steps: the step to stop after, counted over resumed runs; 0 trains for ever.
      summary_frequency: steps between summaries.
      checkpoint_seconds: seconds between checkpoints.
    """

    num_training_steps: int = 0
    summary_frequency: int = 10
    checkpoint_seconds: float = 300.0


def make_optimizer(hparams: HParams) -> keras.optimizers.Optimizer:
    """Adam, its learning rate rising in a line, then constant or falling along a cosine."""
    rate, warmup_steps = hparams.learning_rate, hparams.warmup_steps
    schedule = keras.optimizers.schedules.CosineDecay(
        rate / max(warmup_steps, 1),
        max(hparams.decay_steps, 1),
        alpha=0.0 if hparams.decay_steps else 1.0,  # What is left at the end.
        warmup_target=rate if warmup_steps else None,
        warmup_steps=warmup_steps,
    )
    return keras.optimizers.Adam(schedule)


def mirrored_strategy() -> tf.distribute.Strategy:
    """Returns the strategy that shares a batch over all GPUs, or over virtual CPUs without one."""
    gpus = tf.config.list_logical_devices("GPU")
    if gpus:
        return tf.distribute.MirroredStrategy([device.name for device in gpus])
    # On CPUs the default, collective operations, breaks down at a process's second strategy.
    cpus = tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy(
        [device.name for device in cpus], tf.distribute.ReductionToOneDevice()
    )


def make_train_step(
    network: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    head_sizes: Sequence[int],
    clip_norm: float,
) -> Callable[..., Any]:
    """Returns one replica's train step, to run under the current tf.distribute strategy.

    The step is a function of (states, inputs, controls, labels, weights, keep_state, num_events);
    it updates the network and returns (sums, states). The gradient is that of `Metrics.loss` over
    `num_events`, the whole batch's events to predict, whichever replica they are on; it is clipped
    per variable.
    """

    def step(
        states: Any,
        inputs: Any,
        controls: Any,
        labels: Any,
        weights: Any,
        keep_state: Any,
        num_events: Any,
    ) -> Any:
        with tf.GradientTape() as tape:
            states = [state * keep_state[:, tf.newaxis] for state in states]
            logits, states = network([inputs, controls, states], training=True)
            sums = batch_sums(logits, labels, weights, head_sizes)
            loss = sums[0] / (num_events * len(head_sizes))
        gradients = tape.gradient(loss, network.trainable_variables)
        context = tf.distribute.get_replica_context()
        replicas = context.num_replicas_in_sync
        if replicas > 1:  # Clipping wants the whole gradient.
            gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        # The optimiser sums over replicas once more.
        gradients = [tf.clip_by_norm(gradient, clip_norm) / replicas for gradient in gradients]
        optimizer.apply(gradients, network.trainable_variables)
        return sums, states

    return step


class Trainer:
    """One training run: its network, optimiser, batches and checkpoints."""

    def __init__(
        self,
        segments: Sequence[EventSequence],
        settings: RunSettings,
        train_dir: str,
        num_checkpoints: int = 10,
        products: str = "float32",
        strategy: tf.distribute.Strategy | None = None,
    ):
        """Builds the network and goes on from the newest checkpoint, if there is one.

        Args:
          segments: training data, read by number.
          settings: what the run is made with.
          train_dir: where checkpoints and summaries are.
          num_checkpoints: newest checkpoints kept; 0 keeps all.
          products: dtype policy of matrix products.
          strategy: where to compute; default: this process's one device.

        Raises:
          TrainingError: the rows cannot be shared evenly.
          ValueError: the checkpoint is damaged or does not fit.
        """
        self.settings, self.train_dir = settings, train_dir
        self.strategy = strategy or tf.distribute.get_strategy()
        config, hparams = get_config(settings.config), settings.hparams
        replicas = self.strategy.num_replicas_in_sync
        if hparams.batch_size % replicas:
            raise TrainingError(
                f"batch_size={hparams.batch_size} is not divisible by {replicas} replicas"
            )
        self._rows = hparams.batch_size // replicas
        keras.utils.set_random_seed(settings.seed)
        with self.strategy.scope():
            self.network = build_network(config, hparams, products)
            self.optimizer = make_optimizer(hparams)
            self.optimizer.build(self.network.trainable_variables)
            self._step = make_train_step(
                self.network, self.optimizer, config.encoding.head_sizes, hparams.clip_norm
            )
        self.batches = WindowBatches(
            segments,
            hparams.batch_size,
            settings.window,
            settings.seed,
            Augmentation(config) if settings.augmentation else None,
        )
        self._zero_states = zero_states(self.network, hparams.batch_size)
        self._states = self._distribute(self._zero_states)
        self.step = tf.Variable(0, dtype=tf.int64)
        # Where the batches stood after the last step: they may have moved on when one fails.
        self._reached = self.batches.position
        self._position = tf.Variable(self._reached)
        self._saved_states = [tf.Variable(state) for state in self._zero_states]
        # Keras counts the states of dropout's random numbers among variables but not weights.
        weights = {id(weight) for weight in self.network.weights}
        random = [v.value for v in self.network.variables if id(v) not in weights]
        self._manager = tf.train.CheckpointManager(
            tf.train.Checkpoint(
                network=self.network,
                optimizer=self.optimizer,
                step=self.step,
                position=self._position,
                states=self._saved_states,
                random=random,
            ),
            train_dir,
            max_to_keep=num_checkpoints or None,
        )
        self._restore()

    def _restore(self) -> None:
        newest = self._manager.latest_checkpoint
        if newest is None:
            return
        run_dir.restore(self._manager.checkpoint, newest)
        logging.info("Going on from step %d (%s).", self.step.numpy(), newest)
        try:
            self.batches.seek(self._position.numpy())
        except ValueError as error:
            logging.warning("Other data (%s): it is read from its beginning.", error)
            return
        self._reached = self.batches.position
        self._states = self._distribute([state.numpy() for state in self._saved_states])

    def save(self) -> str:
        """Writes a checkpoint from which training goes on exactly; returns its path.

        Raises:
          TrainingError: a weight is not a number; nothing is written.
        """
        if not all(np.isfinite(weight).all() for weight in self.network.get_weights()):
            raise self._diverged("a weight")
        self._position.assign(self._reached)
        for variable, state in zip(self._saved_states, self._states, strict=True):
            variable.assign(tf.concat(self.strategy.experimental_local_results(state), axis=0))
        return self._manager.save(checkpoint_number=self.step.numpy())

    def _distribute(self, values: Sequence[np.ndarray]) -> list[Any]:
        """Gives each replica its rows of each value."""

        def share(value: np.ndarray) -> Any:
            def rows(context: Any) -> Any:
                first = context.replica_id_in_sync_group * self._rows
                return tf.constant(value[first : first + self._rows])

            return self.strategy.experimental_distribute_values_from_function(rows)

        return [share(value) for value in values]

    @tf.function
    def _distributed_step(self, states: Any, batch: Any, num_events: Any) -> Any:
        sums, states = self.strategy.run(self._step, args=(states, *batch, num_events))
        return self.strategy.reduce(tf.distribute.ReduceOp.SUM, sums, axis=None), states

    def train_batch(self, batch: Batch) -> Metrics:
        """Takes one step and returns its metrics."""
        keep_state = batch.keep_state if self.settings.carry_state else 0 * batch.keep_state
        shared = self._distribute(
            [batch.inputs, batch.controls, batch.labels, batch.weights, keep_state]
        )
        num_events = tf.constant(batch.num_events, tf.float32)
        sums, self._states = self._distributed_step(self._states, shared, num_events)
        self.step.assign_add(1)
        self._reached = self.batches.position
        return Metrics.from_sums(sums.numpy())

    def _diverged(self, what: str) -> TrainingError:
        return TrainingError(
            f"{what} is no longer a number at step {self.step.numpy()}; lower learning_rate or "
            f"clip_norm. The last checkpoint is {self._manager.latest_checkpoint}"
        )

    def train(self, schedule: Schedule, after_checkpoint: Callable[[], None] | None = None) -> None:
        """Trains until `schedule` ends or an interrupt; what was reached is saved either way.

        Args:
          schedule: how long, and how often to report and save.
          after_checkpoint: called after each checkpoint, to evaluate for example.

        Raises:
          TrainingError: the loss is no longer a number; the last checkpoint is from before.
        """
        total, first = schedule.num_training_steps, int(self.step.numpy())
        steps = range(first + 1, total + 1) if total else itertools.count(first + 1)
        status: dict[str, str] = {}
        saved_step, save_time = first, time.monotonic() + schedule.checkpoint_seconds
        sums, since = Metrics(), time.monotonic()
        writer = tf.summary.create_file_writer(self.train_dir)
        try:
            for step in progress.show(steps, "training", status, total or None, first, "steps"):
                metrics = self.train_batch(next(self.batches))
                if not math.isfinite(metrics.nll):
                    raise self._diverged("the loss")
                sums += metrics
                if step % schedule.summary_frequency == 0:
                    rate = sums.num_events / (time.monotonic() - since)
                    with writer.as_default(step=step):
                        sums.write_summaries()
                        tf.summary.scalar("events_per_second", rate)
                        tf.summary.scalar("learning_rate", self.optimizer.learning_rate)
                    status.update({"loss": f"{sums.loss:.3f}", "events/s": f"{rate:,.0f}"})
                    sums, since = Metrics(), time.monotonic()
                if step == total or time.monotonic() >= save_time:
                    started = time.monotonic()
                    self.save()
                    saved_step = step
                    if after_checkpoint:
                        after_checkpoint()
                    since += time.monotonic() - started
                    save_time = time.monotonic() + schedule.checkpoint_seconds
        except TrainingError:
            raise  # These weights are not worth keeping.
        except BaseException:
            if int(self.step.numpy()) > saved_step:
                self.save()
            raise
        finally:
            writer.close()
