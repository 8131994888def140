"""Creates training and evaluation examples for Performance RNN from MIDI or NoteSequences.

Examples:
  performance_rnn_create_dataset my_midi --output_dir=data
  performance_rnn_create_dataset maestro.zip --output_dir=data --split_csv=maestro-v3.0.0.csv
"""

import glob
import os

from absl import flags

from bundles.errors import PerfRnnError
from perf_rnn.configs import get_config
from perf_rnn.data.examples import EXAMPLE_FORMATS
from perf_rnn.models import DEFAULT_CONFIG
from perf_rnn.tools import cli

FLAGS = flags.FLAGS

flags.DEFINE_string(
    "input",
    None,
    "Directory (with subdirectories) or zip archive of MIDI files, one MIDI file, or TFRecords of "
    "NoteSequences (path or glob). It may also stand without the flag.",
)
flags.DEFINE_string(
    "output_dir",
    None,
    "Output directory for training_performances.tfrecord, eval_performances.tfrecord and "
    "split.csv, which lists the side of each file.",
)
flags.DEFINE_string("config", DEFAULT_CONFIG, "Config of the examples.")
flags.DEFINE_float(
    "eval_ratio", 0.1, "Share of files or folders held out for evaluation, from 0 to 1."
)
flags.DEFINE_enum(
    "partition_by",
    "sequence",
    ["sequence", "folder"],
    "Divide single sequences, or whole folders. Use one folder per composition, and dozens of "
    "folders.",
)
flags.DEFINE_string(
    "split_csv",
    None,
    "CSV with the columns split (train, validation, test) and midi_filename, such as MAESTRO's or "
    "an earlier split.csv, to use as the division.",
)
flags.DEFINE_list(
    "eval_splits",
    ["validation", "test"],
    "Splits of --split_csv for evaluation; splits other than these and train are left out.",
)
flags.DEFINE_integer("seed", 0, "Seed of the division.")
flags.DEFINE_enum(
    "augmentation",
    "off",
    ["on", "off"],
    "on stores 45 stretched and transposed copies of the training data, similar to Magenta; off "
    "stores one copy, which training stretches and transposes randomly in each epoch.",
)
flags.DEFINE_enum(
    "example_format",
    "sparse_one_hot",
    EXAMPLE_FORMATS,
    "Format of the one-hot vectors: indices, or floats as in Magenta.",
)
flags.DEFINE_integer("min_events", 32, "Segments with fewer events are dropped.")
flags.DEFINE_integer(
    "max_events", None, "Segments are truncated to this number of events; no limit by default."
)
flags.DEFINE_integer("num_workers", None, "Number of processes; one for each core by default.")
flags.DEFINE_integer("num_shards", 1, "Number of files of each output.")
flags.DEFINE_enum(
    "runner", "local", ["local", "beam"], "Run in local processes, or with Apache Beam."
)
flags.DEFINE_bool("overwrite", False, cli.OVERWRITE)


def main() -> None:
    cli.check_given(
        input="a directory or zip archive of MIDI files, one MIDI file, or TFRecords of "
        "NoteSequences",
        output_dir="the directory for the examples",
    )
    cli.check_not_empty("split_csv")
    if not 0 <= FLAGS.eval_ratio <= 1:
        raise PerfRnnError(f"--eval_ratio={FLAGS.eval_ratio} is not between 0 and 1")
    config = get_config(FLAGS.config)
    from pipelines import performance_dataset

    output_dir = os.path.expanduser(FLAGS.output_dir)
    earlier = performance_dataset.files_in(output_dir)
    cli.check_new("output_dir", *earlier)
    written = performance_dataset.create_dataset(
        os.path.expanduser(FLAGS.input),
        output_dir,
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
    # Shards of another number would be read beside these.
    for path in set(earlier) - set(performance_dataset.files_in(output_dir, FLAGS.num_shards)):
        os.remove(path)
    for path, count in written.items():
        size = sum(map(os.path.getsize, glob.glob(path)))
        print(f"Wrote {path}: {count} examples, {size / 1e6:.2f} MB")
    print(f"Wrote {os.path.join(output_dir, performance_dataset.SPLIT_CSV)}")


def console_entry_point() -> None:
    cli.run(main, "input")


if __name__ == "__main__":
    console_entry_point()
