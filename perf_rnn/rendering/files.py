"""Pieces as files: sound, PNG and a page, beside one another in a directory."""

import os
from collections.abc import Sequence

from bundles.atomic_files import atomic_open, atomic_write, make_directory, remove_temporaries
from bundles.errors import PerfRnnError
from perf_rnn.rendering import audio, page, piano_roll
from perf_rnn.rendering.piece import Piece

SOUND_FORMATS = ("wav", "flac", "ogg")
FORMATS = (*SOUND_FORMATS, "png", "html")
DEFAULT_FORMATS = ("wav", "png", "html")


def parse_formats(text: str) -> tuple[str, ...]:
    """Returns the formats that a text such as 'wav,png' names, in the order of FORMATS.

    >>> parse_formats("png, wav"), parse_formats("")
    (('wav', 'png'), ())

    Raises:
      ValueError: it names something else.
    """
    asked = [name.strip().lower() for name in text.split(",") if name.strip()]
    for name in asked:
        if name not in FORMATS:
            raise PerfRnnError(f"--render={text}: {name!r} is not one of {', '.join(FORMATS)}")
    return tuple(name for name in FORMATS if name in asked)


class Renderer:
    """Writes pieces into a directory, one by one, each file in one atomic write.

    A piece NAME becomes NAME.wav and the like, and NAME.png; the page, index.html, shows all
    pieces, those of an earlier page in that directory included, see `page.update_page`.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        formats: Sequence[str] = DEFAULT_FORMATS,
        soundfont: str | os.PathLike[str] | None = None,
    ):
        """Makes the directory and loads the soundfont.

        Args:
          output_dir: the directory; it is made if missing.
          formats: some of FORMATS.
          soundfont: see `audio.Synthesizer`.

        Raises:
          OSError: the directory cannot be made, or the soundfont not be read.
          ValueError: no sound can be made, as `audio.Synthesizer` says; or the directory has an
            index.html that is not a page of pieces.
        """
        self._output_dir = os.fspath(output_dir)
        self._formats = formats
        self._sounds = [name for name in SOUND_FORMATS if name in formats]
        self._synthesizer = audio.Synthesizer(soundfont) if self._sounds else None
        self._page = os.path.join(self._output_dir, page.PAGE_NAME)
        make_directory(self._output_dir or ".")
        remove_temporaries(self._output_dir or ".")
        self._entries: list[page.Entry] = []
        if "html" in formats and os.path.exists(self._page):
            page.read_entries(self._page)

    def add(self, piece: Piece) -> list[str]:
        """Writes a piece's sound and PNG and keeps it for the page; returns the files' paths.

        Raises:
          OSError: a file cannot be written.
          ValueError: the piece is too long for a WAV file.
        """
        path = os.path.join(self._output_dir, piece.name)
        if self._synthesizer or "png" in self._formats:
            make_directory(os.path.dirname(path) or ".")
        written = []
        if self._synthesizer:
            for name in self._sounds:
                with atomic_open(f"{path}.{name}") as file:
                    try:
                        audio.write_sound(file, piece.notes, self._synthesizer, name)
                    except ValueError as error:
                        raise PerfRnnError(f"{path}.{name}: {error}") from error
                written.append(f"{path}.{name}")
        if "png" in self._formats:
            png = piano_roll.to_png(piece.notes, piece.primer_seconds, piece.name)
            atomic_write(f"{path}.png", png)
            written.append(f"{path}.png")
        if "html" in self._formats:
            self._entries.append(page.make_entry(piece, self._output_dir))
        return written

    def finish(self, title: str = "") -> list[str]:
        """Writes the page, if there is to be one; returns its path, or nothing.

        Raises:
          OSError: it cannot be read or written.
          ValueError: it is not a page of pieces.
        """
        if "html" not in self._formats:
            return []
        page.update_page(self._page, self._entries, title)
        return [self._page]
