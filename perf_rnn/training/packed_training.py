"""A packed training on the machine that it was packed for.

The machine may be rented for minutes and be a new one each time, so the training first compares a
result with one from where it was packed, fits its number of steps to the time, and keeps what it
has learnt in small files as it goes.
"""

import bz2
import dataclasses
import io
import math
import os
import pathlib
import shutil
import tempfile
import time
from collections.abc import Sequence

from absl import logging

from bundles.errors import PerfRnnError
from bundles.npz_files import read_npz
from bundles.regular_files import read_json
from perf_rnn import progress
from perf_rnn.configs import get_config
from perf_rnn.data.examples import EventRecords, EventSequence
from perf_rnn.hparams import HParams
from perf_rnn.models import bundle_of_run, copy_run_bundle
from perf_rnn.network.network import build_network, bundle_from_network
from perf_rnn.network.warm_start import transfer_weights
from perf_rnn.training import backend
from perf_rnn.training.evaluation import compile_scores, evaluate
from perf_rnn.training.packing import DATA, check_no_decay, evaluation_rows, first_nll
from perf_rnn.training.run_dir import RunDir, RunSettings
from perf_rnn.training.summaries import SummaryWriter
from perf_rnn.training.trainer import Schedule, Trainer, python_random_seed

MEASURED_SECONDS = 20.0
CHECKPOINT_SECONDS = 30.0
EVALUATION_SECONDS = 120.0

# A GPU rounds the factors of float32 products to 10 bits.
_NLL_TOLERANCE = 0.01


@dataclasses.dataclass(frozen=True)
class Plan:
    """How a training fits a time.

    Attributes:
      num_steps: steps still to take.
      evaluation_interval: seconds between evaluations.
      reserved_seconds: kept for what comes after the last step.
    """

    num_steps: int
    evaluation_interval: float
    reserved_seconds: float


def make_plan(seconds: float, steps_per_second: float, evaluation_seconds: float) -> Plan:
    """Returns what can be done in `seconds`.

    Args:
      seconds: until the training must have ended.
      steps_per_second: as measured, checkpoints included.
      evaluation_seconds: what one evaluation takes.

    Raises:
      PerfRnnError: that is less than ten steps.
    """
    # The last checkpoint and evaluation come after the last step.
    reserved = 10 + 2 * evaluation_seconds
    interval = max(EVALUATION_SECONDS, 20 * evaluation_seconds)
    evaluations = max(seconds - reserved, 0) // interval
    training = seconds - reserved - evaluations * evaluation_seconds
    # Two in a hundred steps less, as a machine may become slower.
    num_steps = math.floor(0.98 * training * steps_per_second)
    if num_steps < 10:
        raise PerfRnnError(
            f"{max(seconds, 0):.0f} s are left, too few for ten steps; give more time"
        )
    return Plan(num_steps, interval, reserved)


class PackedTraining:
    """A packed training: what it trains on and with, and where its results go."""

    def __init__(
        self,
        pack_dir: str,
        output_dir: str,
        seconds: float,
        hparams: str = "",
        start_dir: str | None = None,
        weights_dtype: str = "float32",
    ):
        """Reads the settings and the data.

        Args:
          pack_dir: what `write_pack` made.
          output_dir: which gets `run.json`, `train/` with the weights in parts and the training's
            summaries, and `eval/` with the evaluation's.
          seconds: from now until it must have ended.
          hparams: changes to those that were packed, in the syntax of `HParams.parse`.
          start_dir: the `output_dir` of an earlier training, to begin with its network; None: with
            the packed one. Layers may be wider than that network's, see `transfer_weights`.
          weights_dtype: of the weights that are written, `float32` or `float16`.

        Raises:
          PerfRnnError: the pack is damaged, `start_dir` holds no network, or hparams are bad.
          OSError: a file cannot be read or written.
        """
        self._end = time.monotonic() + seconds
        self._pack_dir = pathlib.Path(pack_dir)
        try:
            pack = read_json(self._pack_dir / "pack.json")
            packed = HParams.from_dict(pack["settings"]["hparams"])
            self._settings = RunSettings(**{**pack["settings"], "hparams": packed})
            self._first_nll = float(pack["first_nll"])
        except (ValueError, KeyError, TypeError) as error:
            raise PerfRnnError(f"{pack_dir}: is not a packed training ({error})") from error
        self._config = get_config(self._settings.config)
        self._hparams, self._weights_dtype = packed.parse(hparams), weights_dtype
        check_no_decay(self._hparams)
        self._start_bundle = bundle_of_run(start_dir) if start_dir else None
        weights = bz2.decompress((self._pack_dir / "start.npz.bz2").read_bytes())
        self._segments, self._held_out = (self._read(name) for name in DATA)
        # In float32, whatever the dtype policy of the training.
        self._evaluated = build_network(self._config, packed)
        self._evaluated.set_weights(list(read_npz(io.BytesIO(weights)).values()))
        self._scores = compile_scores(self._evaluated, self._config)
        self._output = RunDir(output_dir)
        os.makedirs(self._output.train_dir, exist_ok=True)

    def _read(self, name: str) -> Sequence[EventSequence]:
        """Returns all segments of a data set: read once, they are augmented faster."""
        with (
            bz2.open(self._pack_dir / f"{name}.tfrecord.bz2") as packed,
            tempfile.NamedTemporaryFile(suffix=".tfrecord") as unpacked,
        ):
            shutil.copyfileobj(packed, unpacked)
            unpacked.flush()
            return list(EventRecords(unpacked.name, self._config))

    def run(self) -> None:
        """Trains, and evaluates the result.

        Raises:
          PerfRnnError: a result is not the one from where it was packed, the network to begin with
            does not fit, or the time is too short.
          OSError: a file cannot be written.
        """
        self._check()
        self._make_start()
        with (
            tempfile.TemporaryDirectory() as directory,
            SummaryWriter(self._output.eval_dir) as writer,
        ):
            started = time.monotonic()
            self._evaluate(writer)
            evaluation_seconds = time.monotonic() - started
            trainer = self._start_training(directory)
            started, first_step, first_event = time.monotonic(), trainer.step, trainer.num_events
            trainer.train(Schedule(max_seconds=MEASURED_SECONDS))
            seconds = time.monotonic() - started
            steps_per_second = (trainer.step - first_step) / seconds
            events_per_second = (trainer.num_events - first_event) / seconds
            seconds_left = self._end - time.monotonic()
            plan = make_plan(seconds_left, steps_per_second, evaluation_seconds)
            num_events = plan.num_steps * events_per_second / steps_per_second
            passes = num_events / sum(len(segment.events) - 1 for segment in self._segments)
            evaluations = "one evaluation, at the end"
            if plan.evaluation_interval < seconds_left - plan.reserved_seconds:
                evaluations = f"an evaluation every {plan.evaluation_interval:.0f} s"
            progress.say(
                f"{events_per_second:,.0f} events a second; in the {seconds_left:.0f} s that are "
                f"left: {plan.num_steps} steps, {num_events:,.0f} events, {passes:.1f} passes; "
                f"{evaluations}"
            )
            self._train(trainer, plan, writer)

    def _check(self) -> None:
        """Compares a result of this machine with that of the one where the training was packed."""
        nll = first_nll(self._evaluated, self._segments, self._settings, self._scores)
        progress.say(
            f"NLL of the first batch: {nll:.5f} here, {self._first_nll:.5f} where it was packed"
        )
        if not abs(nll - self._first_nll) < _NLL_TOLERANCE:
            raise PerfRnnError("the NLL of the first batch is another one here: nothing is trained")

    def _make_start(self) -> None:
        """Makes the network to begin with, where it is not the packed one."""
        if self._start_bundle or self._hparams != self._settings.hparams:
            packed = bundle_from_network(self._evaluated, self._config)
            self._settings = dataclasses.replace(self._settings, hparams=self._hparams)
            with python_random_seed(self._settings.seed):
                self._evaluated = build_network(self._config, self._hparams)
            transfer_weights(self._evaluated, self._config, self._start_bundle or packed)
            self._scores = compile_scores(self._evaluated, self._config)

    def _start_training(self, directory: str) -> Trainer:
        """Returns a trainer that has taken two steps, and so is compiled.

        Where they fail in the fastest dtype policy, it is float32.
        """
        policies = list(dict.fromkeys([backend.load().fast_dtype_policy(), "float32"]))
        for dtype_policy in policies:
            train_dir = os.path.join(directory, dtype_policy)
            started = time.monotonic()
            try:
                trainer = Trainer(self._segments, self._settings, train_dir, 1, dtype_policy)
                trainer.network.set_weights(self._evaluated.get_weights())
                trainer.train(Schedule(num_training_steps=2))
            except Exception as error:
                # A GPU's compiler may fail in ways that no processor showed.
                if dtype_policy == policies[-1]:
                    raise
                logging.warning("The dtype policy %s fails: %s", dtype_policy, error)
            else:
                seconds = time.monotonic() - started
                progress.say(f"Dtype policy {dtype_policy}, compiled in {seconds:.0f} s")
                return trainer
        raise AssertionError  # The loop returns or raises.

    def _train(self, trainer: Trainer, plan: Plan, writer: SummaryWriter) -> None:
        first_step, total = trainer.step, trainer.step + plan.num_steps
        end = self._end - plan.reserved_seconds
        started = last_evaluation = time.monotonic()
        self._decay_until(trainer, total)

        def after_checkpoint() -> None:
            nonlocal last_evaluation
            # On a machine that has become slower the time ends the training, before its last step.
            now = time.monotonic()
            steps_per_second = (trainer.step - first_step) / (now - started)
            steps_left = math.floor(steps_per_second * max(end - now, 0))
            self._decay_until(trainer, min(total, trainer.step + steps_left))
            copy_run_bundle(trainer.train_dir, self._output.train_dir, self._weights_dtype)
            # The newest file, of these steps.
            summaries = max(pathlib.Path(trainer.train_dir).glob("events.*"))
            shutil.copy(summaries, self._output.train_dir)
            if time.monotonic() >= last_evaluation + plan.evaluation_interval:
                self._evaluate(writer, trainer)
                last_evaluation = time.monotonic()

        trainer.train(
            Schedule(
                total,
                max(plan.num_steps // 500, 1),
                CHECKPOINT_SECONDS,
                end - started,
            ),
            after_checkpoint,
        )
        self._evaluate(writer, trainer)

    def _decay_until(self, trainer: Trainer, step: int) -> None:
        """Lets the learning rate fall to zero at a step."""
        hparams = trainer.settings.hparams
        hparams = dataclasses.replace(hparams, decay_steps=max(step - hparams.warmup_steps, 1))
        trainer.settings = dataclasses.replace(trainer.settings, hparams=hparams)
        self._output.write(trainer.settings)

    def _evaluate(self, writer: SummaryWriter, trainer: Trainer | None = None) -> None:
        """Evaluates the network in training; without a trainer the one that it begins with."""
        if trainer:
            self._evaluated.set_weights(trainer.network.get_weights())
        metrics = evaluate(
            self._evaluated,
            self._config,
            self._held_out,
            evaluation_rows(self._settings.hparams),
            self._settings.window,
            self._settings.carry_state,
            self._scores,
        )
        step = trainer.step if trainer else 0
        metrics.write_summaries(writer, step)
        progress.say(
            f"Evaluation at step {step}: NLL {metrics.nll:.4f} over {metrics.num_events:.0f} events"
        )
