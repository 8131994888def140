"""A directory of MIDI, MusicXML and ABC files as a TFRecord of NoteSequences."""

import dataclasses
import os
from collections.abc import Iterator

from absl import logging
from note_seq import abc_parser, midi_io, musicxml_reader
from note_seq.protobuf import music_pb2

from bundles.errors import PerfRnnError
from perf_rnn import progress
from perf_rnn.data import tfrecord
from perf_rnn.notes import midi_files
from pipelines.midi_reader import note_sequence_id

# What a file is, by the end of its name (in lower case).
FORMATS = {
    ".mid": "midi",
    ".midi": "midi",
    ".xml": "musicxml",
    ".mxl": "musicxml",
    ".abc": "abc",
}


@dataclasses.dataclass
class ConversionCounts:
    """What a conversion did.

    Attributes:
      files_read: files that could be read, at least in part.
      files_skipped: files that could not.
      sequences_written: NoteSequences written.
      sequences_without_notes: those of them that hold no notes.
      abc_tunes_skipped: tunes that could not be read, in ABC files that could.
    """

    files_read: int = 0
    files_skipped: int = 0
    sequences_written: int = 0
    sequences_without_notes: int = 0
    abc_tunes_skipped: int = 0


def convert_directory(root_dir: str, output_file: str, recursive: bool = False) -> ConversionCounts:
    """Converts the files of a directory, in sorted order, to a TFRecord of NoteSequences.

    A file that cannot be read is named in a warning, counted, and left out. Each sequence gets a
    `filename` (its path below `root_dir`, with forward slashes), a `collection_name` (the name
    of `root_dir`) and an `id` made from both.

    Args:
      root_dir: the directory.
      output_file: the TFRecord; its directory is made if missing.
      recursive: whether to go into subdirectories.

    Raises:
      OSError: `root_dir` cannot be read, or `output_file` not be written.
      ValueError: `root_dir` holds no such file, or none that can be read. Nothing is written.
    """
    root_dir = os.path.abspath(root_dir)
    paths = sorted(_find_files(root_dir, recursive))
    if not paths:
        hint = "" if recursive else " (--recursive looks into its subdirectories)"
        raise PerfRnnError(f"{root_dir}: no file ends in {', '.join(FORMATS)}{hint}")
    tfrecord.make_directory(os.path.dirname(os.path.abspath(output_file)))
    counts = ConversionCounts()
    with tfrecord.open_writers([output_file]) as (writer,):
        for path in progress.show(paths, "converting", vars(counts), len(paths), unit="files"):
            try:
                sequences = list(_read_file(root_dir, path, counts))
            except Exception as error:  # Strangers' files make the parsers raise anything.
                logging.warning("%s: skipped: %s: %s", path, type(error).__name__, error)
                counts.files_skipped += 1
                continue
            counts.files_read += 1
            for sequence in sequences:
                writer.write(sequence.SerializeToString())
                counts.sequences_written += 1
                if not sequence.notes:
                    logging.warning("%s: has no notes", path)
                    counts.sequences_without_notes += 1
        if not counts.sequences_written:
            raise PerfRnnError(f"{root_dir}: none of its {len(paths)} files could be read")
    return counts


def _find_files(root_dir: str, recursive: bool) -> Iterator[str]:
    """Yields the paths below `root_dir`, with forward slashes, of files of a known format."""

    def fail(error: OSError) -> None:
        raise error

    for directory, subdirectories, names in os.walk(root_dir, onerror=fail):
        if not recursive:
            subdirectories.clear()
        for name in names:
            if os.path.splitext(name)[1].lower() in FORMATS:
                path = os.path.relpath(os.path.join(directory, name), root_dir)
                yield path.replace(os.sep, "/")


def _read_file(
    root_dir: str, path: str, counts: ConversionCounts
) -> Iterator[music_pb2.NoteSequence]:
    source_type = FORMATS[os.path.splitext(path)[1].lower()]
    full_path = os.path.join(root_dir, path)
    collection_name = os.path.basename(root_dir)
    # The text that a sequence's id is made of: the file's path, and the tune's number in ABC.
    sequences: dict[str, music_pb2.NoteSequence] = {}
    if source_type == "midi":
        with midi_files.tick_limit():
            sequences[path] = midi_io.midi_file_to_note_sequence(full_path)
    elif source_type == "musicxml":
        sequences[path] = musicxml_reader.musicxml_file_to_sequence_proto(full_path)
    else:
        tunes, errors = abc_parser.parse_abc_tunebook_file(full_path)
        if errors and not tunes:
            raise errors[0]
        for error in errors:
            logging.warning("%s: tune skipped: %s: %s", path, type(error).__name__, error)
        counts.abc_tunes_skipped += len(errors)
        sequences = {f"{path}_{number}": tune for number, tune in tunes.items()}
    for text, sequence in sequences.items():
        sequence.filename = path
        sequence.collection_name = collection_name
        sequence.id = note_sequence_id(text, collection_name, source_type)
        yield sequence
