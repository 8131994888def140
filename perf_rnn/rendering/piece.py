"""A piece of music with its facts, shown in notebooks with sound and piano roll."""

import base64
import dataclasses
import html
import os
from collections.abc import Mapping, Sequence

from bundles.atomic_files import atomic_write
from bundles.errors import PerfRnnError
from perf_rnn.notes.arrays import NoteArrays, as_arrays
from perf_rnn.notes.midi import MAX_BYTES
from perf_rnn.notes.midi_facts import Fact, facts_text, read_facts
from perf_rnn.notes.midi_writer import to_midi
from perf_rnn.notes.music_files import MusicFile, find_music_files
from perf_rnn.rendering import audio, piano_roll


@dataclasses.dataclass(frozen=True, eq=False)
class Piece:
    """A piece of music and facts about it; a notebook shows it with its sound and piano roll.

    Attributes:
      notes: NoteArrays; a NoteSequence, not quantised relative to a tempo, is converted.
      name: what it is called; its files get this name, which may hold folders ('a/b').
      facts: such as seed, temperature, bundle id and NLL, by name.
      primer_seconds: the length of the primer at its beginning.
      midi: bytes of its MIDI file; made from the notes if not given.
      path: its MIDI file, if it has one; a page drops the piece once that file is deleted.
    """

    notes: NoteArrays
    name: str = "piece"
    facts: Mapping[str, Fact] = dataclasses.field(default_factory=dict)
    primer_seconds: float = 0.0
    midi: bytes = b""
    path: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "notes", as_arrays(self.notes))
        if not self.midi:
            object.__setattr__(self, "midi", to_midi(self.notes))

    @property
    def seconds(self) -> float:
        """How long it is: its total time, or the end of its last note."""
        return max(self.notes.total_time, float(self.notes.end_time.max(initial=0.0)))

    def _repr_html_(self) -> str:
        """Returns the piece as HTML that needs no other file: player, picture, MIDI to download.

        It holds the sound as WAV: 0.25 MB a second.
        """
        try:
            wav = _data_url("audio/wav", audio.to_wav(self.notes))
            player = f'<audio controls src="{wav}"></audio>'
        except ValueError as error:  # No synthesiser here; the picture can be had all the same.
            player = f"<em>No sound: {html.escape(str(error))}</em>"
        png = _data_url("image/png", piano_roll.to_png(self.notes, self.primer_seconds))
        midi = _data_url("audio/midi", self.midi)
        name = html.escape(self.name)
        facts = "".join(
            f" · {html.escape(key)} {html.escape(str(value))}" for key, value in self.facts.items()
        )
        return (
            f'<figure style="margin:0"><figcaption><b>{name}</b>{facts}</figcaption>{player} '
            f'<a download="{name}.mid" href="{midi}">MIDI</a><br>'
            f'<img style="max-width:100%" alt="piano roll of {name}" src="{png}"></figure>'
        )


def write_piece(
    path: str, notes: NoteArrays, facts: Mapping[str, Fact], primer_seconds: float = 0.0
) -> Piece:
    """Writes notes as a MIDI file that says how they were made, and returns them as a piece.

    Args:
      path: of the file; the piece is named as it is.
      notes: of the piece, in seconds.
      facts: how they were made.
      primer_seconds: the length of the primer at their beginning.

    Raises:
      OSError: the file cannot be written.
      PerfRnnError: MIDI cannot hold a value.
    """
    midi = to_midi(notes, facts_text(facts))
    atomic_write(path, midi)
    name = os.path.splitext(os.path.basename(path))[0]
    return Piece(notes, name, facts, primer_seconds, midi, path)


def find_midi_files(sources: str | Sequence[str], recursive: bool = False) -> dict[str, MusicFile]:
    """Returns the MIDI files of a directory or zip archive, or one file, by piece name.

    The name is the path below the directory, with forward slashes and without its suffix.

    Args:
      sources: path of a directory, an archive or a file, or several of them.
      recursive: whether to look into subdirectories.

    Raises:
      OSError: there is no such file or directory, or it cannot be read.
      PerfRnnError: it holds no MIDI file, or two whose names differ in their suffix only.
    """
    files: dict[str, MusicFile] = {}
    for source in [sources] if isinstance(sources, str) else sources:
        for file in find_music_files(source, recursive):
            name = _without_suffix(file.name)
            if name in files:
                raise PerfRnnError(
                    f"{files[name]} and {file} would share their output files; rename one"
                )
            files[name] = file
    return files


def _without_suffix(path: str) -> str:
    if path.lower().endswith(".gz"):
        path = path[: -len(".gz")]
    return os.path.splitext(path)[0]


def read_piece(
    file: MusicFile | str | os.PathLike[str],
    name: str = "",
    facts: Mapping[str, Fact] | None = None,
) -> Piece:
    """Reads a MIDI file, perhaps compressed with gzip.

    Args:
      file: the file or its path.
      name: of the piece; that of the file without its suffix if not given.
      facts: what is known of the piece, beside what the file says of how it was made.

    Raises:
      OSError: it cannot be read.
      PerfRnnError: it is not a MIDI file, or a damaged one.
    """
    if not isinstance(file, MusicFile):
        file = MusicFile(os.fspath(file), os.path.basename(file), "")
    notes = file.notes()
    content = file.content(MAX_BYTES)
    midi = content[content.index(b"MThd") :]  # A RIFF header may come before it.
    facts = {**read_facts(midi), **(facts or {})}
    return Piece(notes, name or _without_suffix(file.name), facts, 0.0, midi, file.path)


def _data_url(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"
