r"""Trains a Performance RNN, or evaluates the checkpoints that a training run writes.

Examples:
  performance_rnn_train --run_dir=run --sequence_example_file=data/training_performances.tfrecord
  performance_rnn_train --run_dir=run --sequence_example_file=data/training_performances.tfrecord \
    --warm_start_bundle_file=performance_with_dynamics --num_training_steps=500
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shlex
from typing import TYPE_CHECKING, Any

from absl import flags, logging

from bundles.errors import PerfRnnError
from perf_rnn.tools import cli

if TYPE_CHECKING:
    from perf_rnn.data.examples import EventRecords
    from perf_rnn.training.run_dir import RunDir, RunSettings

FLAGS = flags.FLAGS
flags.DEFINE_string(
    "run_dir",
    "/tmp/performance_rnn/logdir/run1",
    "The run's directory: train/ holds checkpoints and summaries, eval/ the evaluation's. An "
    "existing run continues from its newest checkpoint.",
)
flags.DEFINE_string(
    "sequence_example_file", None, "TFRecord file, or a glob of them, to train on or evaluate."
)
flags.DEFINE_string(
    "eval_sequence_example_file",
    None,
    "TFRecord file, or a glob, that a training run evaluates at each of its checkpoints.",
)
flags.DEFINE_string(
    "config",
    None,
    "Config of the model; default: the run's, or performance_with_dynamics for a new run.",
)
flags.DEFINE_string(
    "warm_start_bundle_file",
    None,
    "Bundle whose weights a run without checkpoints begins with, or the name of a shipped one.",
)
flags.DEFINE_integer(
    "num_training_steps",
    0,
    "Stop after this many steps in all; 0 trains until interrupted. With --eval: stop when a "
    "checkpoint of at least this many steps is evaluated; 0 waits for ever.",
    lower_bound=0,
)
flags.DEFINE_integer(
    "patience",
    0,
    "Stop once so many evaluations in a row have found no better network, and keep the best in "
    "RUN_DIR/best; 0: train on. It needs --eval_sequence_example_file.",
    lower_bound=0,
)
flags.DEFINE_string(
    "hparams", "", "Comma-separated name=value, such as 'batch_size=32,rnn_layer_sizes=[256,256]'."
)
flags.DEFINE_integer("window", 160, "Events that a row advances in one step.", lower_bound=1)
flags.DEFINE_enum(
    "augmentation",
    "auto",
    ["auto", "on", "off"],
    "Whether training segments are stretched and transposed, differently in each pass; auto: if "
    "the data is marked as not augmented yet. Evaluation never does it.",
)
flags.DEFINE_bool(
    "control_jumps",
    False,
    "For configs with controls: play parts of other segments before each training segment, so that "
    "the network learns to follow controls that change at once.",
)
flags.DEFINE_bool(
    "carry_state",
    True,
    "Whether the LSTM's state is carried from one window of a segment to the next.",
)
flags.DEFINE_integer(
    "seed",
    0,
    "Of the initial weights, the order of segments and their augmentation.",
    lower_bound=0,
    upper_bound=2**32 - 1,
)
flags.DEFINE_float("checkpoint_seconds", 300, "Seconds between checkpoints.", lower_bound=1)
flags.DEFINE_integer("num_checkpoints", 10, "Newest checkpoints kept; 0: all.", lower_bound=0)
flags.DEFINE_bool("eval", False, "Evaluate the run's newest checkpoint and each one after it.")
flags.DEFINE_integer("num_eval_examples", 0, "Examples evaluated; 0: all.", lower_bound=0)
flags.DEFINE_integer("summary_frequency", 10, "Steps between summaries.", lower_bound=1)
flags.DEFINE_integer(
    "sample_seconds",
    10,
    "Length of the sample that TensorBoard gets at each checkpoint, in sound and picture, with its "
    "events beside the data's; 0: none.",
    lower_bound=0,
)
flags.DEFINE_enum(
    "mixed_precision",
    "auto",
    ["auto", "off"],
    "auto: matrix products in bfloat16 where the processor has instructions for it.",
)
flags.DEFINE_enum(
    "strategy",
    "one_device",
    ["one_device", "mirrored"],
    "mirrored shares each batch over all GPUs, on TensorFlow. On JAX all devices always share it.",
)
flags.DEFINE_string("tpu", None, "Name of a TPU to train on ('local' on a TPU virtual machine).")
flags.DEFINE_string(
    "coordinator_address",
    None,
    "On JAX, for a training on several hosts: host:port of process 0. Start the same command on "
    "each of them, with a --run_dir that all can read.",
)
flags.DEFINE_integer("num_processes", None, "On JAX: how many processes train.", lower_bound=1)
flags.DEFINE_integer("process_id", None, "On JAX: the number of this process.", lower_bound=0)

_JAX_FLAGS = ("coordinator_address", "num_processes", "process_id")
_TENSORFLOW_FLAGS = ("strategy", "tpu")


def _settings(run: RunDir) -> RunSettings:
    """Returns the settings that the flags give, the rest from the run, if there is one.

    The augmentation is always the run's: what the flag asks for may depend on the data.
    """
    from perf_rnn.configs import get_config
    from perf_rnn.models import DEFAULT_CONFIG
    from perf_rnn.training.run_dir import RunSettings

    made_with = run.settings()
    config = get_config(FLAGS.config or (made_with.config if made_with else DEFAULT_CONFIG))
    hparams = (made_with.hparams if made_with else config.hparams).parse(FLAGS.hparams)
    names = "window", "carry_state", "seed", "control_jumps"
    values: dict[str, Any] = {name: FLAGS[name].value for name in names}
    if made_with:
        values |= {name: getattr(made_with, name) for name in values if not FLAGS[name].present}
        values["augmentation"] = made_with.augmentation
    if values["control_jumps"] and not config.control_size:
        raise PerfRnnError(f"--control_jumps: config {config.key} has no controls")
    return RunSettings(config=config.key, hparams=hparams, **values)


def main() -> None:
    from perf_rnn.training.run_dir import RunDir

    use = "evaluate" if FLAGS.eval else "train on"
    cli.check_given(sequence_example_file=f"the file to {use}")
    cli.check_not_empty("run_dir", "eval_sequence_example_file", "warm_start_bundle_file")
    if FLAGS.patience and not FLAGS.eval_sequence_example_file:
        raise PerfRnnError("--patience needs --eval_sequence_example_file")
    run = RunDir(FLAGS.run_dir)
    settings = _settings(run)
    if FLAGS.eval:
        _evaluate_checkpoints(run)
    else:
        run.check(settings)
        # Before the run's directory is made.
        segments = _segments(FLAGS.sequence_example_file, settings.config)
        _join_processes()
        # Process 0 alone writes.
        with contextlib.nullcontext() if FLAGS.process_id else run.locked():
            _train(run, settings, segments)


def _augmentation(run: RunDir, records: EventRecords) -> bool:
    """Returns whether a run augments `records`."""
    made_with = run.settings()
    if made_with and not FLAGS["augmentation"].present:
        wanted = made_with.augmentation
    elif FLAGS.augmentation == "auto":
        wanted = records.augmented is False
        if records.augmented is None:
            logging.warning(
                "The data does not say whether it is augmented; it is read as it is. "
                "--augmentation=on augments it."
            )
    else:
        wanted = FLAGS.augmentation == "on"
    if wanted and records.augmented:
        logging.warning("The data is augmented already, and is augmented once more.")
    return wanted


def _segments(pattern: str, config_key: str, limit: int = 0) -> Any:
    from perf_rnn.configs import get_config
    from perf_rnn.data.examples import EventRecords

    records = EventRecords(pattern, get_config(config_key))
    segments = [records[i] for i in range(min(limit, len(records)))] if limit else records
    kind = f"in format {records.example_format}"
    logging.info("%s: %d examples %s.", pattern, len(segments), kind)
    return segments


def _devices() -> Any:
    """Returns what the flags say that each batch is shared over."""
    import keras

    from perf_rnn.training import backend

    module = backend.load()
    name = keras.backend.backend()
    others = _TENSORFLOW_FLAGS if name == "jax" else _JAX_FLAGS
    for flag in others:
        if FLAGS[flag].present:
            raise PerfRnnError(f"--{flag} is of another backend than {name}, on which Keras runs")
    if name == "jax":
        return module.Devices()
    if FLAGS.tpu is not None:
        import tensorflow as tf

        try:
            resolver = tf.distribute.cluster_resolver.TPUClusterResolver.connect(FLAGS.tpu)
        except (tf.errors.OpError, ValueError, OSError) as error:
            raise PerfRnnError(f"--tpu={FLAGS.tpu}: no such TPU ({error})") from error
        return module.Devices(tf.distribute.TPUStrategy(resolver))
    return module.Devices.mirrored() if FLAGS.strategy == "mirrored" else module.Devices()


def _join_processes() -> None:
    """Connects the processes of a training on several hosts; JAX must not have been used yet."""
    given = {name: FLAGS[name].value for name in _JAX_FLAGS}
    missing = [f"--{name}" for name, value in given.items() if value is None]
    if len(missing) == len(given):
        return
    if missing:
        raise PerfRnnError(f"{' and '.join(missing)} must be given too")
    cli.load_keras()
    import keras

    if keras.backend.backend() == "jax":
        import jax

        jax.distributed.initialize(**given)


def _train(run: RunDir, settings: RunSettings, segments: EventRecords) -> None:
    settings = dataclasses.replace(settings, augmentation=_augmentation(run, segments))
    run.check(settings)
    eval_segments = None
    if FLAGS.eval_sequence_example_file:
        pattern, limit = FLAGS.eval_sequence_example_file, FLAGS.num_eval_examples
        eval_segments = _segments(pattern, settings.config, limit)
    warm_start = None
    if FLAGS.warm_start_bundle_file:
        from perf_rnn.models import load_model

        warm_start = load_model(FLAGS.warm_start_bundle_file)

    cli.load_keras()  # Takes seconds: unreadable input has been reported before.
    from perf_rnn.training import checkpoints, train_run
    from perf_rnn.training.trainer import Schedule

    devices = _devices()
    try:
        train_run.train_run(
            run,
            settings,
            segments,
            Schedule(FLAGS.num_training_steps, FLAGS.summary_frequency, FLAGS.checkpoint_seconds),
            eval_segments=eval_segments,
            patience=FLAGS.patience,
            warm_start=warm_start,
            num_checkpoints=FLAGS.num_checkpoints,
            mixed_precision=FLAGS.mixed_precision == "auto",
            devices=devices,
            sample_seconds=FLAGS.sample_seconds,
        )
    finally:
        if checkpoints.list_checkpoints(run.train_dir):
            _print_what_next(run.path)


def _print_what_next(run_dir: str) -> None:
    name = os.path.basename(os.path.abspath(run_dir))
    played = os.path.join(run_dir, "best") if FLAGS.patience else run_dir
    generate = f"perf_rnn play {shlex.quote(f'--run_dir={played}')}"
    directory, bundle_file = shlex.quote(f"generated_{name}"), shlex.quote(f"{name}.mag")
    print("To hear it, and to keep it as a bundle:")
    print(f"  {generate} --output_dir={directory} --render=wav,png,html")
    print(f"  {generate} --save_generator_bundle --bundle_file={bundle_file}")


def _evaluate_checkpoints(run: RunDir) -> None:
    """Evaluates the newest checkpoint, waits for the next one, and so on."""
    if run.settings() is None:
        logging.warning("%s: no training run here yet; waiting for one.", run.path)
    cli.load_keras()
    from perf_rnn.configs import get_config
    from perf_rnn.network.network import build_network
    from perf_rnn.training.checkpoints import new_checkpoints, restore_weights
    from perf_rnn.training.train_run import evaluate_run

    segments = evaluated = None
    for checkpoint in new_checkpoints(run.train_dir):
        # The run may have begun only now, so its settings are read here.
        settings = _settings(run)
        if made_with := run.settings():
            run.check(
                dataclasses.replace(made_with, config=settings.config, hparams=settings.hparams)
            )
        if segments is None:
            pattern, limit = FLAGS.sequence_example_file, FLAGS.num_eval_examples
            segments = _segments(pattern, settings.config, limit)
            evaluated = build_network(get_config(settings.config), settings.hparams)
        step = restore_weights(evaluated, checkpoint)
        evaluate_run(run, settings, evaluated, segments, step)
        if FLAGS.num_training_steps and step >= FLAGS.num_training_steps:
            return


def console_entry_point() -> None:
    cli.run(main)


if __name__ == "__main__":
    console_entry_point()
