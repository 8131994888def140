"""A training run from data to checkpoints: what the tools that train have in common."""

import shlex
from collections.abc import Sequence
from typing import Any

import keras
from absl import logging

from perf_rnn import progress
from perf_rnn.configs import get_config
from perf_rnn.data.examples import EventSequence
from perf_rnn.models import Model
from perf_rnn.network.network import build_network, bundle_from_network
from perf_rnn.network.warm_start import transfer_weights
from perf_rnn.training import backend
from perf_rnn.training.best_network import BestNetwork
from perf_rnn.training.evaluation import evaluate
from perf_rnn.training.metrics import Metrics
from perf_rnn.training.run_dir import RunDir, RunSettings
from perf_rnn.training.summaries import SummaryWriter
from perf_rnn.training.trainer import Schedule, Trainer


def train_run(
    run: RunDir,
    settings: RunSettings,
    segments: Sequence[EventSequence],
    schedule: Schedule,
    *,
    eval_segments: Sequence[EventSequence] | None = None,
    patience: int = 0,
    warm_start: Model | None = None,
    num_checkpoints: int = 10,
    mixed_precision: bool = True,
    devices: Any = None,
    sample_seconds: float = 0.0,
) -> Trainer:
    """Trains a run, from its newest checkpoint if it has one, and returns its trainer at the end.

    Args:
      run: its directory, which is locked.
      settings: what it is made with; they are written to it.
      segments: training data, read by number.
      schedule: how long to train, and how often to report and save.
      eval_segments: held-out data, measured at each checkpoint; None: none.
      patience: above 0: the best network is kept in `RUN_DIR/best`, see `BestNetwork`, and training
        ends once this many evaluations in a row have found no better one. The network that a run
        begins with is measured too.
      warm_start: what a run without checkpoints begins with; None: random weights.
      num_checkpoints: newest checkpoints kept; 0: all.
      mixed_precision: whether matrix products are in bfloat16 where the processor can.
      devices: see `Trainer`.
      sample_seconds: length of the sample written at each checkpoint; 0: none.

    Raises:
      TrainingError, KeyboardInterrupt: see `Trainer.train`.
      PerfRnnError: `warm_start` does not fit the network.
    """
    config = get_config(settings.config)
    dtype_policy = backend.load().fast_dtype_policy() if mixed_precision else "float32"
    trainer = Trainer(segments, settings, run.train_dir, num_checkpoints, dtype_policy, devices)
    is_main = trainer.devices.is_main_process
    if warm_start and trainer.step == 0:
        transfer_weights(trainer.network, config, warm_start.bundle)
        logging.info("Starting from the weights of %s.", warm_start.name)
    samples = None
    if sample_seconds and is_main:
        from perf_rnn.training.samples import SampleWriter

        samples = SampleWriter(run, config, segments, sample_seconds)
    if is_main:
        run.write(settings)
    logging.info(
        "Training %s, layers %s, %s weights, dtype policy %s, with %s on %d device(s), from step "
        "%d, %s augmentation%s.",
        settings.config,
        list(settings.hparams.rnn_layer_sizes),
        f"{trainer.network.count_params():,}",
        dtype_policy,
        keras.backend.backend(),
        trainer.devices.count,
        trainer.step,
        "with" if settings.augmentation else "without",
        ", with control jumps" if settings.control_jumps else "",
    )
    logging.info("To watch it: tensorboard --logdir=%s", shlex.quote(run.path))

    best = BestNetwork(run, patience) if patience else None
    # In float32, whatever the dtype policy of the training.
    evaluated = build_network(config, settings.hparams)

    def measure() -> None:
        evaluated.set_weights(trainer.network.get_weights())
        metrics = evaluate_run(run, settings, evaluated, eval_segments or (), trainer.step)
        if best:
            facts = {"training_steps": trainer.step, "eval_nll": metrics.nll}
            bundle = bundle_from_network(evaluated, config, "", facts)
            best.offer(bundle, trainer.step, metrics.nll)

    def after_checkpoint() -> bool:
        if samples:
            samples.write(trainer.network, trainer.step)
        if eval_segments is not None:
            measure()
        return best is not None and best.is_final

    if best and is_main and not best.nlls:
        measure()
    try:
        if not (best and best.is_final):
            trainer.train(schedule, after_checkpoint)
    finally:
        trainer.batches.close()
        progress.say(f"{run.path}: at step {trainer.step}, checkpoints in {run.train_dir}")
    if best and best.is_final:
        logging.info(
            "No better network than that of step %d in %d evaluations; it is in %s.",
            best.step,
            patience,
            best.path,
        )
    return trainer


def evaluate_run(
    run: RunDir,
    settings: RunSettings,
    network: keras.Model,
    segments: Sequence[EventSequence],
    step: int,
) -> Metrics:
    """Measures a run's network at a step, writes the summaries of it and prints a line."""
    metrics = evaluate(
        network,
        get_config(settings.config),
        segments,
        settings.hparams.batch_size,
        settings.window,
        settings.carry_state,
    )
    with SummaryWriter(run.eval_dir) as writer:
        metrics.write_summaries(writer, step)
    facts = ", ".join(f"{name} {value}" for name, value in metrics.to_text().items())
    progress.say(f"Evaluation at step {step}: {facts}, over {metrics.num_events:.0f} events")
    return metrics
