"""Music files as the first unit of a pipeline."""

from __future__ import annotations

import dataclasses
import hashlib
import os

from absl import logging

from bundles.errors import PerfRnnError
from bundles.note_seq_protos import NoteSequence
from perf_rnn.notes import midi_arrays, midi_files
from perf_rnn.notes.arrays import NoteArrays, from_note_sequence
from pipelines import statistics
from pipelines.array_pipeline import ArrayForm, ArrayPipeline
from pipelines.note_sequence_pipelines import NOTE_ARRAYS


@dataclasses.dataclass(frozen=True)
class MidiFile:
    """A file of a collection.

    Attributes:
      path: where it is.
      filename: its path in the collection, with forward slashes.
      collection_name: name of the collection.
    """

    path: str
    filename: str
    collection_name: str


def find_midi_files(root_dir: str) -> list[MidiFile]:
    """Returns the MIDI files of a directory and of those in it, sorted by their path.

    Raises:
      OSError: a directory cannot be read.
      ValueError: there are none.
    """

    def fail(error: OSError) -> None:
        raise error

    root_dir = os.path.abspath(root_dir)
    collection_name = os.path.basename(root_dir)
    paths = [
        os.path.relpath(os.path.join(directory, name), root_dir).replace(os.sep, "/")
        for directory, _, names in os.walk(root_dir, onerror=fail)
        for name in names
        if name.lower().endswith(midi_files.MIDI_SUFFIXES)
    ]
    if not paths:
        raise PerfRnnError(f"{root_dir}: no file ends in {', '.join(midi_files.MIDI_SUFFIXES)}")
    return [MidiFile(os.path.join(root_dir, path), path, collection_name) for path in sorted(paths)]


def note_sequence_id(filename: str, collection_name: str, source_type: str) -> str:
    """Returns the id of a file's sequence, the same wherever the collection lies.

    >>> note_sequence_id('a/b.mid', 'songs', 'midi')
    '/id/midi/songs/51deb17655a5d7bd04b4c26e49b93b370e15e0fe'

    Args:
      filename: path in the collection, with forward slashes.
      collection_name: name of the collection.
      source_type: 'midi', 'musicxml' or 'abc'.
    """
    return f"/id/{source_type}/{collection_name}/{hashlib.sha1(filename.encode()).hexdigest()}"


def _itself(file: MidiFile) -> MidiFile:
    return file


class MidiReader(ArrayPipeline):
    """Reads MIDI files. One that cannot be read is named in a warning, counted and left out."""

    input_form = ArrayForm(MidiFile, _itself, _itself)
    output_form = NOTE_ARRAYS

    def __init__(self, name: str | None = None):
        super().__init__(MidiFile, NoteSequence, name)

    def transform_arrays(self, arrays: MidiFile) -> list[NoteArrays]:
        file, skipped = arrays, ""
        try:
            notes = [read_midi_file(file)]
        except Exception as error:  # Strangers' files make the parsers raise anything.
            logging.warning("%s: skipped: %s", file.filename, _reason(file.filename, error))
            notes, skipped = [], type(error).__name__
        counts = {"files_read": len(notes), "files_skipped": 1 - len(notes)}
        if skipped:
            counts[f"files_skipped_because_of_{skipped}"] = 1
        self._set_stats(statistics.Counter(name, count) for name, count in counts.items())
        return notes


def _reason(filename: str, error: Exception) -> str:
    """What an error says, without the name of the file."""
    if isinstance(error, ValueError):
        return str(error).removeprefix(f"{filename}: ")
    return f"{type(error).__name__}: {error}"


def read_midi_file(file: MidiFile) -> NoteArrays:
    """Reads a MIDI file, perhaps compressed with gzip, through symusic or else note_seq.

    Raises:
      ValueError: it is no MIDI file, or a damaged one.
      OSError: it cannot be read.
    """
    with open(file.path, "rb") as opened:
        data = opened.read()
    data = midi_files.unpack(data, file.filename)
    arrays = midi_arrays.read_midi(data)
    if arrays is None:
        arrays = from_note_sequence(midi_files.parse_note_sequence(data, file.filename))
    return arrays.replace(
        id=note_sequence_id(file.filename, file.collection_name, "midi"),
        filename=file.filename,
        collection_name=file.collection_name,
    )
