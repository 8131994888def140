"""A page of pieces: one HTML file that draws, plays and sorts them and needs no network.

It holds each piece once, as its MIDI file, which it reads, draws and plays with a small piano of
its own; where a WAV of the piece lies beside the page, it plays that. Nothing is embedded twice, so
500 pieces of 30 s are a few megabytes.
"""

import base64
import hashlib
import html
import importlib.resources
import json
import numbers
import os
import string
import urllib.parse
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from bundles.errors import PerfRnnError
from bundles.whole_files import written_whole
from perf_rnn.rendering.piece import Fact, Piece

# A piece as the page holds it, see `make_entry`.
Entry = dict[str, Any]

PAGE_NAME = "index.html"

_DATA_START = '<script type="application/json" id="data">'
_DATA_END = "</script>"
_SCRIPTS = ("midi.js", "piano.js", "page.js")


def write_page(path: str | os.PathLike[str], pieces: Iterable[Piece], title: str = "") -> None:
    """Writes a page of pieces; where `<piece's name>.wav` lies beside it, that is what it plays.

    Args:
      path: the HTML file; one that is there is replaced.
      pieces: what it shows.
      title: its heading; the name of its directory if not given.

    Raises:
      OSError: the file cannot be written.
    """
    write_entries(path, [make_entry(piece, os.path.dirname(path)) for piece in pieces], title)


def make_entry(piece: Piece, directory: str | os.PathLike[str]) -> Entry:
    """Returns a piece as a page in `directory` holds it."""
    wav = f"{piece.name}.wav"
    return {
        "name": piece.name,
        "seconds": max(piece.seconds, 0.1),
        "notes": len(piece.sequence.notes),
        "primer": piece.primer_seconds,
        "facts": {name: _plain(value) for name, value in piece.facts.items()},
        "midi": base64.b64encode(piece.midi).decode(),
        "wav": urllib.parse.quote(wav) if os.path.exists(os.path.join(directory, wav)) else None,
    }


def _plain(value: Fact) -> Fact:
    """Returns a fact as JSON can hold it: a number, so that it sorts as one, or text.

    >>> _plain(np.float32(0.5)), _plain(float("nan")), _plain([0.9, 1.1])
    (0.5, 'nan', '0.9, 1.1')
    """
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, numbers.Real) and not isinstance(value, bool) and np.isfinite(value):
        return float(value)
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def read_entries(path: str | os.PathLike[str]) -> list[Entry]:
    """Returns what a page written by `write_entries` holds.

    Raises:
      OSError: the file cannot be read.
      ValueError: it is no such page.
    """
    with open(path, encoding="utf-8", errors="replace") as file:
        _, start, rest = file.read().partition(_DATA_START)
    try:
        return json.loads(rest.partition(_DATA_END)[0]) if start else _refuse(path)
    except json.JSONDecodeError:
        return _refuse(path)


def _refuse(path: object) -> Any:
    raise PerfRnnError(
        f"{path}: is no page of pieces, so it is left as it is; choose another directory"
    )


def write_entries(path: str | os.PathLike[str], entries: Sequence[Entry], title: str = "") -> None:
    """Writes a page of entries, whole or not at all; see `write_page`."""
    files = importlib.resources.files("perf_rnn.rendering") / "web"
    script = "\n".join((files / name).read_text(encoding="utf-8") for name in _SCRIPTS)
    style = (files / "page.css").read_text(encoding="utf-8")
    # Nothing but this script and this style runs, whatever the pieces' names hold, and nothing is
    # fetched but the WAV files beside the page.
    policy = (
        f"default-src 'none'; script-src {_source(script)}; style-src {_source(style)}; "
        "media-src 'self' file:; base-uri 'none'; form-action 'none'"
    )
    # Within a script element '<' is all that could end it.
    data = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    title = title or os.path.basename(os.path.dirname(os.path.abspath(path))) or "perf_rnn"
    page = string.Template((files / "page.html").read_text(encoding="utf-8")).substitute(
        policy=policy, title=html.escape(title), style=style, data=data, script=script
    )
    with written_whole(path) as temporary:
        # Names of files may hold bytes that are no text.
        temporary.write_bytes(page.encode("utf-8", errors="backslashreplace"))


def _source(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
