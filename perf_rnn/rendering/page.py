"""A page of pieces: one HTML file that draws, plays and sorts them and needs no Internet.

It holds each piece once as packed notes, which it draws and plays, and once as the MIDI file to
download; where a WAV of the piece lies beside the page, it plays that. The page's own piano takes
0.2 MB, 500 pieces of 30 s a few more.
"""

import base64
import contextlib
import dataclasses
import hashlib
import html
import importlib.resources
import json
import numbers
import os
import re
import string
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from absl import logging

from bundles.atomic_files import atomic_write
from bundles.errors import PerfRnnError
from bundles.regular_files import read_regular
from perf_rnn.notes.midi_facts import Fact
from perf_rnn.notes.transforms import apply_sustain
from perf_rnn.rendering.piano_roll import pedal_spans
from perf_rnn.rendering.piece import Piece

PAGE_NAME = "index.html"
MAX_PAGE_BYTES = 1 << 28  # Twenty thousand pieces of 30 s.

_DATA_START = '<script type="application/json" id="data">'
_DATA_END = "</script>"
_STYLES = ("base.css", "page.css")
_SCRIPTS = ("sound/soundfont.js", "sound/synthesized.js", "sound/piano.js", "page.js")
_SOUNDFONT = "sound/piano_small.sf3"
# How modules name what they share; in one script they need not.
_MODULE_LINES = re.compile(r"^(import|export) \{.*;\n", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Entry:
    """A piece as the page holds it.

    Attributes:
      name: of the piece.
      seconds: its length.
      num_notes: how many notes it has.
      primer: the length of its primer, in seconds.
      facts: what is known of it, by name.
      notes: the notes in order of start, as `_pack_notes` packs them.
      pedal: when the sustain pedal is down: base64 of little-endian float32 [number, 2], begin and
        end in seconds.
      midi: base64 of its MIDI file.
      wav: the URL of its WAV file relative to the page; None if there was none.
      file: the path of its MIDI file, relative to the page if it can be; None if there is none.
    """

    name: str
    seconds: float
    num_notes: int
    primer: float
    facts: Mapping[str, Fact]
    notes: str
    pedal: str
    midi: str
    wav: str | None
    file: str | None


def write_page(path: str | os.PathLike[str], pieces: Iterable[Piece], title: str = "") -> None:
    """Writes a page of pieces; it plays `<name of piece>.wav` where that lies beside it.

    Args:
      path: the HTML file; one that is there is replaced.
      pieces: what it shows.
      title: its heading; the name of its directory if not given.

    Raises:
      OSError: the file cannot be written.
    """
    _write_entries(path, [make_entry(piece, os.path.dirname(path)) for piece in pieces], title)


def update_page(path: str | os.PathLike[str], entries: Iterable[Entry], title: str = "") -> None:
    """Adds entries to a page, which is made if missing, under a lock against other runs.

    An entry replaces the one of its name and, if it is the same music, takes over its facts.
    Entries whose MIDI file has been deleted are removed.

    Raises:
      OSError: the file cannot be read or written.
      ValueError: it is not such a page.
    """
    directory = os.path.dirname(os.path.abspath(path))
    with _locked(directory):
        known = {entry.name: entry for entry in read_entries(path)} if os.path.exists(path) else {}
        deleted = [
            name
            for name, entry in known.items()
            if entry.file and not os.path.exists(os.path.join(directory, entry.file))
        ]
        if deleted:
            logging.warning("%s: removed, as their MIDI files are: %s", path, ", ".join(deleted))
        shown = {name: entry for name, entry in known.items() if name not in deleted}
        for entry in entries:
            before = known.get(entry.name)
            if before and before.midi == entry.midi:
                facts = {**before.facts, **entry.facts}
                primer = entry.primer or before.primer
                entry = dataclasses.replace(entry, facts=facts, primer=primer)
            shown[entry.name] = entry
        _write_entries(path, list(shown.values()), title)


@contextlib.contextmanager
def _locked(directory: str) -> Iterator[None]:
    """Waits until no other process holds the lock of a directory, and holds it."""
    try:
        import fcntl
    except ImportError:  # Windows; there two runs at once may lose entries.
        yield
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # A file system without locks, such as some NFS.
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def make_entry(piece: Piece, directory: str | os.PathLike[str]) -> Entry:
    """Returns a piece as a page in `directory` holds it."""
    wav = f"{piece.name}.wav"
    seconds = max(piece.seconds, 0.1)
    pedal = np.array(pedal_spans(piece.notes, seconds)).reshape(-1, 2)
    return Entry(
        name=piece.name,
        seconds=seconds,
        num_notes=piece.notes.num_notes,
        primer=piece.primer_seconds,
        facts={name: _plain(value) for name, value in piece.facts.items()},
        notes=_pack_notes(piece),
        pedal=_base64(pedal.cumsum(axis=1).astype("<f4").tobytes()),
        midi=_base64(piece.midi),
        # A name may hold bytes that are not UTF-8.
        wav=urllib.parse.quote(os.fsencode(wav))
        if os.path.exists(os.path.join(directory, wav))
        else None,
        file=_relative(piece.path, directory or ".") if piece.path else None,
    )


def _relative(path: str, directory: str | os.PathLike[str]) -> str:
    try:
        return os.path.relpath(path, directory)
    except ValueError:  # They are on different drives of Windows.
        return os.path.abspath(path)


def _pack_notes(piece: Piece) -> str:
    """Returns base64 of a piece's notes: six columns, one after another, notes in order of start.

    These are, little-endian: start, end (the key goes up) and release (the sound ends, later if the
    pedal is down) as float32, in seconds; pitch, velocity and whether it is a drum as uint8.
    """
    notes = piece.notes.unquantized()
    notes = notes.take_notes(np.argsort(notes.start_time, kind="stable"))
    # apply_sustain removes some notes; the velocity tells which it keeps.
    sustained = apply_sustain(notes.replace(velocity=np.arange(notes.num_notes)))
    kept = notes.take_notes(sustained.velocity)
    times = (kept.start_time, kept.end_time, sustained.end_time)
    numbers = (kept.pitch, kept.velocity, kept.is_drum)
    columns = [column.astype("<f4") for column in times]
    columns += [column.astype(np.uint8) for column in numbers]
    return _base64(b"".join(column.tobytes() for column in columns))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


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
    """Returns the entries of a page.

    Raises:
      OSError: the file cannot be read.
      ValueError: it is not a page that this module wrote.
    """
    try:
        page = read_regular(path, MAX_PAGE_BYTES).decode(errors="replace")
        entries = json.loads(page.partition(_DATA_START)[2].partition(_DATA_END)[0])
        if not isinstance(entries, list):
            raise TypeError("no list")
        return [_entry(fields) for fields in entries]
    except (ValueError, TypeError, RecursionError):
        raise PerfRnnError(
            f"{path}: not a page that this version of perf_rnn wrote, so it is left as it is; move "
            "it away or choose another directory"
        ) from None


def _entry(fields: Mapping[str, Any]) -> Entry:
    """Makes an entry; raises TypeError where it is none."""
    types: dict[str, Any] = dict.fromkeys(("seconds", "num_notes", "primer"), int | float)
    types |= {"facts": dict, "wav": str | None, "file": str | None}
    entry = Entry(**fields)
    for name, value in vars(entry).items():
        if not isinstance(value, types.get(name, str)):
            raise TypeError(f"{name} is a {type(value).__name__}")
    return entry


def _write_entries(path: str | os.PathLike[str], entries: Sequence[Entry], title: str) -> None:
    """Writes a page of entries in one atomic write; see `write_page`."""
    files = importlib.resources.files("perf_rnn.rendering") / "web"
    script = "\n".join((files / name).read_text(encoding="utf-8") for name in _SCRIPTS)
    script = _MODULE_LINES.sub("", script)
    style = "\n".join((files / name).read_text(encoding="utf-8") for name in _STYLES)
    # Nothing but this script and this style runs, whatever the pieces' names hold, and nothing is
    # fetched but the WAV files beside the page.
    policy = (
        f"default-src 'none'; script-src {_source(script)}; style-src {_source(style)}; "
        "media-src 'self' file:; base-uri 'none'; form-action 'none'"
    )
    # Within a script element '<' is all that could end it.
    fields = [dataclasses.asdict(entry) for entry in entries]
    data = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    title = title or os.path.basename(os.path.dirname(os.path.abspath(path))) or "perf_rnn"
    page = string.Template((files / "page.html").read_text(encoding="utf-8")).substitute(
        policy=policy,
        title=html.escape(title),
        style=style,
        data=data,
        script=script,
        soundfont=_base64((files / _SOUNDFONT).read_bytes()),
    )
    # Names of files may hold bytes that are not UTF-8.
    atomic_write(path, page.encode("utf-8", errors="backslashreplace"))


def _source(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
