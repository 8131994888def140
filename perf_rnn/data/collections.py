"""Sets of pieces with the pedal applied, from MIDI files or a TFRecord of NoteSequences."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Collection, Iterator, Sequence

from absl import logging

from bundles.errors import PerfRnnError
from perf_rnn import progress
from perf_rnn.data.tfrecord import RecordFile
from perf_rnn.notes.arrays import NoteArrays, parse_note_sequence
from perf_rnn.notes.music_files import find_music_files, is_music
from perf_rnn.notes.transforms import MAX_SECONDS, apply_sustain


@dataclasses.dataclass
class ReadingCounts:
    """What became of a set's pieces.

    Attributes:
      pieces: those read.
      damaged: those left out because they cannot be read.
      without_notes: those left out because they hold no notes, or none but drums.
    """

    pieces: int = 0
    damaged: int = 0
    without_notes: int = 0


class PieceSet:
    """The pieces of a directory or zip archive of MIDI files, of a MIDI file or of a TFRecord.

    Attributes:
      path: where they are; several paths are joined by commas.
      kind: what is there: 'MIDI' or 'NoteSequences'.
      counts: what became of the pieces iterated over so far.
    """

    def __init__(self, path: str | Sequence[str], names: Collection[str] | None = None) -> None:
        """Finds the pieces; in a directory or archive also those of subdirectories, sorted by name.

        Args:
          path: of a directory, a zip archive, a MIDI file or a TFRecord, or several of these.
          names: only pieces of these names are read; None: all pieces.

        Raises:
          OSError: `path` cannot be read.
          PerfRnnError: it holds no pieces or none of `names`, or is neither MIDI nor an intact
            TFRecord.
        """
        paths = [path] if isinstance(path, str) else path
        self.path = ", ".join(paths)
        self.kind = "MIDI" if is_music(paths[0]) else "NoteSequences"
        self.counts = ReadingCounts()
        self._names = names
        # What messages call each piece, and what reads it.
        self._sources: list[tuple[str, Callable[[], NoteArrays]]] = []
        for each in paths:
            self._sources += _sources(each, names)

    def __iter__(self) -> Iterator[tuple[str, NoteArrays]]:
        """Yields the name and the notes of each piece; a warning names each that is left out.

        The name is a MIDI file's path in its set, or the filename or id that a NoteSequence
        carries. The notes, at least one, are in seconds, with the sustain pedal applied and drums
        left out. The piece lasts from time 0 to the end of its last note, whatever the file says.

        Raises:
          PerfRnnError: none is left.
        """
        self.counts = counts = ReadingCounts()
        for name, read in progress.show(
            self._sources, f"reading {self.path}", vars(counts), len(self._sources), unit="pieces"
        ):
            try:
                notes = _as_they_sound(read())
            except (PerfRnnError, OSError) as error:
                logging.warning("Skipped %s of %s: %s", name, self.path, error)
                counts.damaged += 1
                continue
            name = notes.filename or notes.id or name
            if self._names is not None and name not in self._names:
                continue
            if not notes.num_notes:
                logging.warning("Skipped %s of %s: it has no notes", name, self.path)
                counts.without_notes += 1
                continue
            counts.pieces += 1
            yield name, notes
        if not counts.pieces:
            asked = "" if self._names is None else " of the names asked for"
            raise PerfRnnError(
                f"{self.path}: no piece in it{asked} can be used: {counts.damaged} damaged, "
                f"{counts.without_notes} without notes"
            )


def _sources(
    path: str, names: Collection[str] | None
) -> list[tuple[str, Callable[[], NoteArrays]]]:
    """Returns what messages call each piece of a path, and what reads it; see `PieceSet`."""
    if is_music(path):
        files = find_music_files(path)
        if names and set(names).isdisjoint(file.name for file in files):
            raise PerfRnnError(
                f"{path}: none of the {len(names)} files that the split names is in it; give "
                "the folder that the split was made from"
            )
        if missing := sorted(set(names or ()) - {file.name for file in files}):
            logging.warning(
                "%s: %s (and %d more asked for) is not in it; names are paths below it",
                path,
                missing[0],
                len(missing) - 1,
            )
        return [(file.name, file.notes) for file in files if names is None or file.name in names]
    records = RecordFile(path)
    if not len(records):
        raise PerfRnnError(f"{path}: holds no NoteSequences")
    return [
        (f"record {number}", functools.partial(_read_record, records, number))
        for number in range(len(records))
    ]


def _as_they_sound(notes: NoteArrays) -> NoteArrays:
    notes = apply_sustain(notes)
    notes = notes.take_notes(~notes.is_drum)
    total_time = float(notes.end_time.max(initial=0.0))
    if notes.start_time.min(initial=0.0) < 0 or total_time > MAX_SECONDS:
        raise PerfRnnError(f"it has notes outside 0 to {MAX_SECONDS:.0f} s")
    return notes.replace(total_time=total_time)


def _read_record(records: RecordFile, number: int) -> NoteArrays:
    return parse_note_sequence(records[number], f"record {number}")
