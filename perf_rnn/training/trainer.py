"""Training: truncated back-propagation through time over windows that carry the LSTM's state."""

import contextlib
import dataclasses
import itertools
import math
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from absl import logging

from bundles.errors import PerfRnnError
from perf_rnn import progress
from perf_rnn.configs import get_config
from perf_rnn.data.augmentation import Augmentation
from perf_rnn.data.batches import Batch, WindowBatches
from perf_rnn.data.examples import EventSequence
from perf_rnn.data.jumps import ControlJumps
from perf_rnn.hparams import HParams
from perf_rnn.models import write_run_bundle
from perf_rnn.network.network import build_network, bundle_from_network, zero_states
from perf_rnn.training import backend, checkpoints
from perf_rnn.training.interrupts import DelayedInterrupt
from perf_rnn.training.metrics import Metrics
from perf_rnn.training.run_dir import RunSettings
from perf_rnn.training.summaries import SummaryWriter


class TrainingError(PerfRnnError):
    """Training cannot start or continue; the message says why and what to do."""


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How long to train and how often to report and save.

    Attributes:
      num_training_steps: the step to stop after, counted over resumed runs; 0 trains for ever.
      summary_frequency: steps between summaries.
      checkpoint_seconds: seconds between checkpoints.
      max_seconds: stop, and save, after this time, whichever step it is.
    """

    num_training_steps: int = 0
    summary_frequency: int = 10
    checkpoint_seconds: float = 300.0
    max_seconds: float = math.inf


def learning_rate(hparams: HParams, step: int) -> float:
    """Returns the learning rate after `step` steps: `hparams` say how it rises and falls."""
    rate, warmup_steps, decay_steps = (
        hparams.learning_rate,
        hparams.warmup_steps,
        hparams.decay_steps,
    )
    if step < warmup_steps:
        first = rate / warmup_steps
        return first + (rate - first) * step / warmup_steps
    if not decay_steps:
        return rate
    return rate * 0.5 * (1 + math.cos(math.pi * min((step - warmup_steps) / decay_steps, 1)))


@contextlib.contextmanager
def python_random_seed(seed: int) -> Iterator[None]:
    """Seeds Python's `random`, from which Keras draws the seeds of initial weights and dropout.

    `keras.utils.set_random_seed` would seed NumPy too, import TensorFlow, and leave it so.
    """
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


def make_batches(
    segments: Sequence[EventSequence], settings: RunSettings, num_rows: int
) -> WindowBatches:
    """Returns the batches of a run of `settings`, but of `num_rows` rows."""
    config = get_config(settings.config)
    augment: Any = Augmentation(config) if settings.augmentation else None
    if settings.control_jumps:
        augment = ControlJumps(config, segments, augment)
    return WindowBatches(segments, num_rows, settings.window, settings.seed, augment)


class Trainer:
    """One training run: its network, optimizer, batches and checkpoints.

    Attributes:
      network: the Keras network, whose weights each step updates.
      settings: what the run is made with.
      batches: of the training data; the next one is that of the next step.
      step: training steps taken, over resumed runs.
      num_events: events trained on since the trainer was made.
      devices: what the rows of a batch are shared over.
    """

    def __init__(
        self,
        segments: Sequence[EventSequence],
        settings: RunSettings,
        train_dir: str,
        num_checkpoints: int = 10,
        dtype_policy: str = "float32",
        devices: Any = None,
    ):
        """Builds the network and restores the newest checkpoint, if there is one.

        Args:
          segments: training data, read by number.
          settings: what the run is made with.
          train_dir: directory of checkpoints and summaries.
          num_checkpoints: newest checkpoints kept; 0 keeps all.
          dtype_policy: Keras dtype policy of matrix products, `float32` or `mixed_bfloat16`.
          devices: the `Devices` of the backend's module; default: one device on TensorFlow, all
            devices on JAX.

        Raises:
          TrainingError: the rows of a batch cannot be shared evenly.
          CheckpointError: the checkpoint is damaged or does not fit.
        """
        self.settings, self.train_dir = settings, train_dir
        self.step = self.num_events = 0
        self.devices = devices or backend.load().Devices()
        self._num_checkpoints = num_checkpoints
        self._config, hparams = get_config(settings.config), settings.hparams
        if hparams.batch_size % self.devices.count:
            raise TrainingError(
                f"batch_size={hparams.batch_size} is not divisible by {self.devices.count} devices"
            )
        with self.devices.scope(), python_random_seed(settings.seed):
            self.network = build_network(self._config, hparams, dtype_policy)
            # Named, so that a checkpoint's names do not depend on how many optimizers there were.
            self._optimizer = keras.optimizers.Adam(lambda: hparams.learning_rate, name="adam")
            self._optimizer.build(self.network.trainable_variables)
            self._take_step = self.devices.compile_train_step(
                self.network,
                self._optimizer,
                self._config.encoding.head_sizes,
                hparams.clip_norm,
            )
        self.batches = make_batches(segments, settings, hparams.batch_size)
        self._in_step = False
        self._states = self.devices.share(zero_states(self.network, hparams.batch_size))
        # Where the batches were after the last complete step.
        self._position = self.batches.position
        self._restore()
        if self.devices.has_accelerators:
            self.batches.make_segments_in_background()

    def _variables(self) -> dict[str, Any]:
        """Returns the Keras variables that a checkpoint holds, by name."""
        # Keras counts the states of dropout's random numbers among variables but not weights, and
        # numbers their names through the process.
        weights = {id(weight) for weight in self.network.weights}
        seeds = [variable for variable in self.network.variables if id(variable) not in weights]
        return {
            **{f"network/{weight.path}": weight for weight in self.network.weights},
            **{f"random/{number}": state for number, state in enumerate(seeds)},
            **{f"optimizer/{variable.path}": variable for variable in self._optimizer.variables},
        }

    def _arrays(self) -> checkpoints.Arrays:
        """Returns all that a checkpoint holds."""
        names = [state.name for state in self.network.input[-1]]
        states = self.devices.gather(self._states)
        return {
            "step": np.array(self.step),
            "position": self._position,
            **{f"state/{name}": state for name, state in zip(names, states, strict=True)},
            **{
                name: keras.ops.convert_to_numpy(variable)
                for name, variable in self._variables().items()
            },
        }

    def _restore(self) -> None:
        found = checkpoints.list_checkpoints(self.train_dir)
        if not found:
            return
        arrays = checkpoints.read_checkpoint(found[-1], self._arrays())
        self.step = int(arrays["step"])
        with self.devices.scope():
            for name, variable in self._variables().items():
                variable.assign(arrays[name])
        logging.info("Continuing from step %d (%s).", self.step, found[-1])
        try:
            self.batches.seek(arrays["position"])
        except PerfRnnError as error:
            logging.warning("Other data (%s): reading starts at its beginning.", error)
            return
        self._position = self.batches.position
        states = [array for name, array in arrays.items() if name.startswith("state/")]
        self._states = self.devices.share(states)

    def save(self) -> None:
        """Writes a checkpoint, from which training continues exactly, and the network's bundle.

        Raises:
          TrainingError: a weight is not a number; nothing is written.
          OSError: a file cannot be written.
        """
        arrays = self._arrays()
        if not all(np.isfinite(weight).all() for weight in self.network.get_weights()):
            raise self._diverged("a weight", self.step)
        if not self.devices.is_main_process:
            return
        os.makedirs(self.train_dir, exist_ok=True)
        facts = {"training_steps": self.step, "hparams": self.settings.hparams.to_dict()}
        bundle = bundle_from_network(self.network, self._config, "", facts)
        # Before the checkpoint: were it after it, a run stopped between the two might never
        # write the bundle of its last step.
        write_run_bundle(self.train_dir, bundle)
        checkpoints.write_checkpoint(self.train_dir, self.step, arrays)
        checkpoints.prune_checkpoints(self.train_dir, self._num_checkpoints)

    def train_batch(self, batch: Batch) -> Metrics:
        """Takes one step and returns its metrics."""
        return Metrics.from_sums(self._train_batch(batch))

    def _train_batch(self, batch: Batch) -> Any:
        """Takes one step; returns its `batch_sums`, which the device may still be computing."""
        self._in_step = True
        rate = learning_rate(self.settings.hparams, self.step)
        keep_state = batch.keep_state if self.settings.carry_state else 0 * batch.keep_state
        shared = self.devices.share(
            [batch.inputs, batch.controls, batch.labels, batch.weights, keep_state]
        )
        sums, self._states = self._take_step(self._states, shared, batch.num_events, rate)
        self.step += 1
        self.num_events += batch.num_events
        self._position = self.batches.position
        self._in_step = False
        return sums

    def _summary_writer(self) -> contextlib.AbstractContextManager[SummaryWriter | None]:
        if self.devices.is_main_process:
            return SummaryWriter(self.train_dir)
        return contextlib.nullcontext()

    def _diverged(self, what: str, step: int) -> TrainingError:
        newest = checkpoints.list_checkpoints(self.train_dir)[-1:]
        last = f"The last checkpoint is {newest[0]}" if newest else "There is no checkpoint yet"
        return TrainingError(
            f"{what} is no longer a number at step {step}; lower learning_rate or clip_norm. {last}"
        )

    def train(
        self, schedule: Schedule, after_checkpoint: Callable[[], bool | None] | None = None
    ) -> None:
        """Trains until `schedule` ends, and saves.

        Ctrl-C or SIGTERM ends the training after the step that it arrives in, which is saved; then
        KeyboardInterrupt is raised. A second one raises it at once, without saving. Where anything
        else fails between two steps, as when a record is corrupt, the last step is saved.

        Args:
          schedule: how long, and how often to report and save.
          after_checkpoint: called after each checkpoint, to evaluate for example; on the main
            process alone. Training ends where it returns True.

        Raises:
          TrainingError: the loss is no longer a number; the last checkpoint is from before.
          KeyboardInterrupt: on Ctrl-C or SIGTERM.
        """
        total, first = schedule.num_training_steps, self.step
        steps = range(first + 1, total + 1) if total else itertools.count(first + 1)
        status: dict[str, str] = {}
        sums, since = Metrics(), time.monotonic()
        saved_step, save_time = first, since + schedule.checkpoint_seconds
        end_time = since + schedule.max_seconds
        running: list[Any] = []  # The sums of steps that have not been looked at.
        interrupt = DelayedInterrupt()
        try:
            with interrupt, self._summary_writer() as writer:
                for step in progress.show(steps, "training", status, total or None, first, "steps"):
                    running.append(self._train_batch(next(self.batches)))
                    now = time.monotonic()
                    interrupted, is_last, is_due = self.devices.any_process(
                        [interrupt.requested, step == total or now >= end_time, now >= save_time]
                    )
                    saves = interrupted or is_last or is_due
                    reports = step % schedule.summary_frequency == 0
                    # A GPU computes one step while the next is prepared here.
                    while len(running) > (0 if saves or reports else 1):
                        metrics = Metrics.from_sums(running.pop(0))
                        if not math.isfinite(metrics.nll):
                            raise self._diverged("the loss", step - len(running))
                        sums += metrics
                    if writer and reports:
                        events_per_second = sums.num_events / (time.monotonic() - since)
                        sums.write_summaries(writer, step)
                        writer.scalar("events_per_second", events_per_second, step)
                        rate = learning_rate(self.settings.hparams, step)
                        writer.scalar("learning_rate", rate, step)
                        status["loss"] = f"{sums.loss:.3f}"
                        status["events/s"] = f"{events_per_second:,.0f}"
                        sums, since = Metrics(), time.monotonic()
                    if saves:
                        started = time.monotonic()
                        self.save()
                        saved_step = step
                        if interrupted:
                            raise KeyboardInterrupt
                        ended = False
                        if after_checkpoint and self.devices.is_main_process:
                            interrupt.immediate = True
                            ended = bool(after_checkpoint())
                            interrupt.immediate = False
                        (ended,) = self.devices.any_process([ended])
                        if ended:
                            return
                        since += time.monotonic() - started
                        save_time = time.monotonic() + schedule.checkpoint_seconds
                        if is_last:
                            break
        except TrainingError:
            raise  # These weights are not worth keeping.
        except BaseException as error:
            # Within a step the weights may be of one step and the position of another; and several
            # processes would have to save together.
            is_complete = not self._in_step and self.devices.num_processes == 1
            # A second signal stops at once.
            at_once = isinstance(error, KeyboardInterrupt)
            if is_complete and self.step > saved_step and not at_once:
                self.save()
            if interrupt.requested:  # It may have ended the processes that make segments too.
                raise KeyboardInterrupt from error
            raise
