"""Makes training and evaluation examples for Performance RNN from MIDI files or NoteSequences."""

import glob
import os

from absl import flags

from bundles.errors import PerfRnnError
from perf_rnn.configs import get_config
from perf_rnn.data.examples import EXAMPLE_FORMATS
from perf_rnn.tools import cli

FLAGS = flags.FLAGS

flags.DEFINE_string(
    "input",
    None,
    "Directory or zip archive of MIDI files, to its depths, one MIDI file, or a TFRecord of "
    "NoteSequences, of which a glob names several.",
)
flags.DEFINE_string(
    "output_dir",
    None,
    "Directory for training_performances.tfrecord, eval_performances.tfrecord, and split.csv, "
    "which says of each file in which of the two it is.",
)
flags.DEFINE_string("config", "performance", "Config whose examples are made.")
flags.DEFINE_float("eval_ratio", 0.1, "Share of the data for evaluation, from 0 to 1.")
flags.DEFINE_enum(
    "partition_by",
    "sequence",
    ["sequence", "folder"],
    "What stays on one side of the division: a sequence, or all those of a folder.",
)
flags.DEFINE_string(
    "split_csv",
    None,
    "CSV with the columns split (train, validation, test) and midi_filename, as MAESTRO's or one "
    "that this tool wrote, that divides the files instead.",
)
flags.DEFINE_list(
    "eval_splits",
    ["validation", "test"],
    "Splits of --split_csv for evaluation; what is neither in these nor in train is left out.",
)
flags.DEFINE_integer("seed", 0, "Another seed gives another division.")
flags.DEFINE_enum(
    "augmentation",
    "off",
    ["on", "off"],
    "on stores 45 stretched and transposed copies of training data, much as Magenta's tool does; "
    "off one copy, which training stretches and transposes anew in each pass.",
)
flags.DEFINE_enum(
    "example_format",
    "sparse_one_hot",
    EXAMPLE_FORMATS,
    "How one-hot vectors are stored: as indices, or as the floats that Magenta's trainer reads.",
)
flags.DEFINE_integer("min_events", 32, "Segments of fewer events are dropped.")
flags.DEFINE_integer("max_events", None, "Segments are cut to so many events; all by default.")
flags.DEFINE_integer("num_workers", None, "Processes that work; one for each core by default.")
flags.DEFINE_integer("num_shards", 1, "Files that each of the two outputs is divided into.")
flags.DEFINE_enum(
    "runner", "local", ["local", "beam"], "What runs it: processes here, or Apache Beam."
)


def main() -> None:
    if not FLAGS.input or not FLAGS.output_dir:
        raise PerfRnnError("--input and --output_dir are both needed")

    if not 0 <= FLAGS.eval_ratio <= 1:
        raise PerfRnnError(f"--eval_ratio={FLAGS.eval_ratio} is not between 0 and 1")
    config = get_config(FLAGS.config)
    from pipelines import performance_dataset

    written = performance_dataset.create_dataset(
        os.path.expanduser(FLAGS.input),
        os.path.expanduser(FLAGS.output_dir),
        config,
        FLAGS.min_events,
        FLAGS.max_events,
        FLAGS.eval_ratio,
        seed=FLAGS.seed,
        split_csv=FLAGS.split_csv and os.path.expanduser(FLAGS.split_csv),
        eval_splits=FLAGS.eval_splits,
        num_workers=FLAGS.num_workers,
        num_shards=FLAGS.num_shards,
        runner=FLAGS.runner,
        partition_by=FLAGS.partition_by,
        augmentation=FLAGS.augmentation == "on",
        example_format=FLAGS.example_format,
    )
    for path, count in written.items():
        size = sum(map(os.path.getsize, glob.glob(path)))
        print(f"Wrote {path}: {count} examples, {size / 1e6:.1f} MB")
    print(f"Wrote {os.path.join(FLAGS.output_dir, performance_dataset.SPLIT_CSV)}")


def console_entry_point() -> None:
    cli.run(main)


if __name__ == "__main__":
    console_entry_point()
