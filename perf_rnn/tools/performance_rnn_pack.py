r"""Packs a training into a directory, for a machine that has JAX and no Internet.

On that machine, run.sh of the directory trains for as long as --minutes says.

Examples:
  performance_rnn_pack --pack_dir=packed --hparams=batch_size=512 \
    --sequence_example_file=data/training_performances.tfrecord \
    --eval_sequence_example_file=data/eval_performances.tfrecord
  performance_rnn_pack --pack_dir=packed --minutes=10
"""

import os
import time
from collections.abc import Sequence

from absl import flags

from bundles.errors import PerfRnnError
from perf_rnn.tools import cli

FLAGS = flags.FLAGS
flags.DEFINE_string("pack_dir", None, "The directory: a new one, or with --minutes a packed one.")
flags.DEFINE_string("config", "performance_with_dynamics", "Config of the model.")
flags.DEFINE_string("sequence_example_file", None, "TFRecord file, or a glob, to train on.")
flags.DEFINE_string("eval_sequence_example_file", None, "TFRecord file, or a glob, to evaluate.")
flags.DEFINE_string(
    "hparams",
    "",
    "As for perf_rnn train, without decay_steps. With --minutes: changes to those packed.",
)
flags.DEFINE_integer("window", 160, "Events that a row advances in one step.", lower_bound=1)
flags.DEFINE_integer(
    "seed",
    0,
    "Of the initial weights, the order of segments and their augmentation.",
    lower_bound=0,
    upper_bound=2**32 - 1,
)
flags.DEFINE_string(
    "warm_start_bundle_file", None, "Bundle to begin with, or the name of a shipped one."
)
flags.DEFINE_float(
    "minutes",
    None,
    "Train what is packed, within this time. run.sh gives this flag and the next on.",
    lower_bound=0,
)
flags.DEFINE_string("output_dir", "out", "With --minutes: gets weights and summaries.")
flags.DEFINE_string(
    "start_dir",
    None,
    "With --minutes: --output_dir of an earlier training, whose network this one begins with.",
)
flags.DEFINE_enum(
    "weights_dtype",
    "float32",
    ["float32", "float16"],
    "With --minutes: of the weights that are written.",
)


# What only a pack is made with, and what only its training is told.
_PACKING = (
    *("config", "sequence_example_file", "eval_sequence_example_file"),
    *("warm_start_bundle_file", "window", "seed"),
)
_TRAINING = ("output_dir", "start_dir", "weights_dtype")


def _check_absent(names: Sequence[str], hint: str) -> None:
    given = [f"--{name}" for name in names if FLAGS[name].present]
    if given:
        raise PerfRnnError(f"{', '.join(given)}: {hint}")


def _pack() -> None:
    if os.path.exists(os.path.join(os.path.expanduser(FLAGS.pack_dir), "pack.json")):
        raise PerfRnnError("--minutes is needed: how long to train what is packed there")
    _check_absent(_TRAINING, "for the training of a pack, with --minutes")
    cli.check_given(
        sequence_example_file="the file to train on",
        eval_sequence_example_file="the file to evaluate",
    )
    cli.check_not_empty("warm_start_bundle_file")
    directory = os.path.expanduser(FLAGS.pack_dir)
    cli.check_new("pack_dir", directory)
    from perf_rnn.configs import get_config
    from perf_rnn.data.examples import EventRecords
    from perf_rnn.models import load_model
    from perf_rnn.training.run_dir import RunSettings

    config = get_config(FLAGS.config)
    training = EventRecords(FLAGS.sequence_example_file, config)
    evaluation = EventRecords(FLAGS.eval_sequence_example_file, config)
    warm_start = None
    if FLAGS.warm_start_bundle_file:
        warm_start = load_model(FLAGS.warm_start_bundle_file)
    settings = RunSettings(
        config.key,
        config.hparams.parse(FLAGS.hparams),
        FLAGS.window,
        carry_state=True,
        seed=FLAGS.seed,
        augmentation=training.augmented is False,
    )
    cli.load_keras()
    from perf_rnn.training.packing import write_pack

    write_pack(directory, settings, training, evaluation, warm_start)
    sizes = [
        os.path.getsize(os.path.join(folder, name))
        for folder, _, names in os.walk(directory)
        for name in names
    ]
    print(f"Wrote {directory}: {sum(sizes) / 2**20:.1f} MiB")
    name = os.path.basename(os.path.abspath(directory))
    print(f"On the other machine: {name}/run.sh --minutes=10 --output_dir=out")


def _train() -> None:
    end = time.monotonic() + 60 * FLAGS.minutes
    _check_absent(_PACKING, "a pack holds that already")
    output_dir = os.path.expanduser(FLAGS.output_dir)
    cli.check_new("output_dir", os.path.join(output_dir, "run.json"))
    cli.load_keras()
    import keras

    if keras.backend.backend() == "jax":
        import jax

        devices = ", ".join(f"{device.platform} {device.device_kind}" for device in jax.devices())
        print(f"JAX {jax.__version__}, Keras {keras.__version__}, on: {devices}", flush=True)
    from perf_rnn.training.packed_training import PackedTraining

    pack_dir = os.path.expanduser(FLAGS.pack_dir)
    PackedTraining(
        pack_dir,
        output_dir,
        end - time.monotonic(),
        FLAGS.hparams,
        FLAGS.start_dir,
        FLAGS.weights_dtype,
    ).run()
    print(f"The results are in {output_dir}. Where perf_rnn is installed, this makes a bundle:")
    print(
        f"  perf_rnn play --run_dir={output_dir} --save_generator_bundle --bundle_file=trained.mag"
    )


def main() -> None:
    cli.check_given(pack_dir="the directory to make, or with --minutes a packed one")
    cli.check_not_empty("output_dir", "start_dir")
    if FLAGS.minutes is None:
        _pack()
    else:
        _train()


def console_entry_point() -> None:
    cli.run(main)


if __name__ == "__main__":
    console_entry_point()
