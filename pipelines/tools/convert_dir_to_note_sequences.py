"""Converts a directory of MIDI, MusicXML and ABC files to a TFRecord of NoteSequences.

Examples:
  convert_dir_to_note_sequences my_midi --output_file=notesequences.tfrecord
  convert_dir_to_note_sequences my_scores --recursive --output_file=notesequences.tfrecord
"""

import os

from absl import flags

from perf_rnn.tools import cli

FLAGS = flags.FLAGS

flags.DEFINE_string(
    "input_dir",
    None,
    "Directory of the files to convert, a zip archive of MIDI files, or a file. It may also "
    "stand without the flag.",
)
flags.DEFINE_string("output_file", None, "Output TFRecord of NoteSequences.")
flags.DEFINE_bool("recursive", False, "Whether to convert subdirectories too.")
flags.DEFINE_bool("overwrite", False, cli.OVERWRITE)


def main() -> None:
    cli.check_given(
        input_dir="the directory of the files to convert",
        output_file="the TFRecord of NoteSequences to write",
    )

    from pipelines import note_sequence_files

    output_file = str(cli.output_file())
    counts = note_sequence_files.convert_directory(
        os.path.expanduser(FLAGS.input_dir), output_file, FLAGS.recursive
    )
    for name, count in vars(counts).items():
        print(f"{name}: {count}")
    print(f"Wrote {output_file}")


def console_entry_point() -> None:
    cli.run(main, "input_dir")


if __name__ == "__main__":
    console_entry_point()
