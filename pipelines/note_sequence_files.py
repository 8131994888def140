"""A collection of MIDI, MusicXML and ABC files as a TFRecord of NoteSequences."""

import dataclasses
import os
from collections.abc import Iterator

from absl import logging
from note_seq import abc_parser, musicxml_reader
from note_seq.protobuf import music_pb2

from bundles.errors import PerfRnnError
from perf_rnn import progress
from perf_rnn.data import tfrecord
from perf_rnn.notes.arrays import to_note_sequence
from perf_rnn.notes.music_files import (
    MIDI_SUFFIXES,
    MusicFile,
    find_music_files,
    note_sequence_id,
)

# What a file is, by the end of its name (in lower case).
FORMATS = {
    **dict.fromkeys(MIDI_SUFFIXES, "midi"),
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


def convert_directory(source: str, output_file: str, recursive: bool = False) -> ConversionCounts:
    """Converts the files of a directory, in sorted order, to a TFRecord of NoteSequences.

    A file that cannot be read is named in a warning, counted, and left out. Each sequence gets a
    `filename` (its path in the directory, with forward slashes), a `collection_name` (the
    directory's name) and an `id` made from both.

    Args:
      source: the directory, or a zip archive, whose MIDI files are read, or a file.
      output_file: the TFRecord; its directory is made if missing.
      recursive: whether to go into subdirectories.

    Raises:
      OSError: `source` cannot be read, or `output_file` not be written.
      PerfRnnError: `source` holds no such file, or none that can be read. Nothing is written.
    """
    files = find_music_files(source, recursive, tuple(FORMATS))
    tfrecord.make_directory(os.path.dirname(os.path.abspath(output_file)))
    counts = ConversionCounts()
    with tfrecord.open_writers([output_file]) as (writer,):
        for file in progress.show(files, "converting", vars(counts), len(files), unit="files"):
            try:
                sequences = list(_read_file(file, counts))
            except (PerfRnnError, OSError) as error:
                logging.warning("skipped: %s", error)
                counts.files_skipped += 1
                continue
            counts.files_read += 1
            for sequence in sequences:
                writer.write(sequence.SerializeToString())
                counts.sequences_written += 1
                if not sequence.notes:
                    logging.warning("%s: has no notes", file.name)
                    counts.sequences_without_notes += 1
        if not counts.sequences_written:
            raise PerfRnnError(f"{source}: none of its {len(files)} files could be read")
    return counts


def _read_file(file: MusicFile, counts: ConversionCounts) -> Iterator[music_pb2.NoteSequence]:
    suffix = next(suffix for suffix in FORMATS if file.name.lower().endswith(suffix))
    source_type = FORMATS[suffix]
    if source_type == "midi":
        yield to_note_sequence(file.notes())
        return
    if file.member is not None:
        raise PerfRnnError(f"{file.name}: only MIDI is read from a zip archive; unpack it")
    # The text that a sequence's id is made of: the file's path, and the tune's number in ABC.
    sequences: dict[str, music_pb2.NoteSequence] = {}
    try:
        if source_type == "musicxml":
            sequences[file.name] = musicxml_reader.musicxml_file_to_sequence_proto(file.path)
        else:
            tunes, errors = abc_parser.parse_abc_tunebook_file(file.path)
            if errors and not tunes:
                raise errors[0]
            for error in errors:
                logging.warning("%s: tune skipped: %s: %s", file.name, type(error).__name__, error)
            counts.abc_tunes_skipped += len(errors)
            sequences = {f"{file.name}_{number}": tune for number, tune in tunes.items()}
    except Exception as error:  # note_seq's parsers of scores raise anything.
        raise PerfRnnError(f"{file.name}: {type(error).__name__}: {error}") from error
    for text, sequence in sequences.items():
        sequence.filename = file.name
        sequence.collection_name = file.collection_name
        sequence.id = note_sequence_id(text, file.collection_name, source_type)
        yield sequence
