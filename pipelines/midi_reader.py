"""MIDI files as the first unit of a pipeline."""

from __future__ import annotations

from absl import logging

from bundles.errors import PerfRnnError
from bundles.note_seq_protos import NoteSequence
from perf_rnn.notes.arrays import NoteArrays
from perf_rnn.notes.music_files import MusicFile
from pipelines import statistics
from pipelines.array_pipeline import ArrayForm, ArrayPipeline
from pipelines.note_sequence_pipelines import NOTE_ARRAYS


def _itself(file: MusicFile) -> MusicFile:
    return file


class MidiReader(ArrayPipeline):
    """Reads MIDI files. One that cannot be read is named in a warning, counted and left out."""

    input_form = ArrayForm(MusicFile, _itself, _itself)
    output_form = NOTE_ARRAYS

    def __init__(self, name: str | None = None):
        super().__init__(MusicFile, NoteSequence, name)

    def transform_arrays(self, arrays: MusicFile) -> list[NoteArrays]:
        try:
            notes = [arrays.notes()]
        except (PerfRnnError, OSError) as error:
            logging.warning("skipped: %s", error)
            notes = []
        counts = {"files_read": len(notes), "files_skipped": 1 - len(notes)}
        self._set_stats(statistics.Counter(name, count) for name, count in counts.items())
        return notes
