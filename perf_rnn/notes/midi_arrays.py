"""MIDI files straight into note arrays, through symusic: some hundred times faster than note_seq.

The notes and all that goes with them are those that note_seq.midi_io of note-seq 0.0.5 (which
reads with pretty_midi and mido) finds, times equal to the last bit; only notes of one instrument
that end at the same tick may stand in another order, which no event depends on. symusic reads some
things otherwise than pretty_midi and forgives what mido refuses. Whatever could show such a
difference is left to note_seq: `read_midi` then returns None. What is left of that: aftertouch with
a damaged value, which mido refuses, is forgiven.
"""

from __future__ import annotations

import dataclasses
import re
import struct
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perf_rnn.notes.arrays import Floats, Int64s, NoteArrays
from perf_rnn.notes.midi_files import MAX_MIDI_TICKS

# Numbers of NoteSequence.SourceInfo: of no kind, encoded as MIDI, parsed by pretty_midi.
SOURCE_INFO = (0, 3, 2)

_HEADER = struct.Struct(">4sIHHH")
_CHUNK = struct.Struct(">4sI")
_END_OF_TRACK = b"\xff\x2f\x00"
_NAME = b"\xff\x03"
_NOTE_STATUS = re.compile(rb"[\x80-\x9f]")
_LONG_DELTA = re.compile(rb"[\x80-\xff]{2,}[\x00-\x7f]")  # Of three bytes or more.

# What takes the place of a track's end, T being its tick: at T an empty text; at T + 1, on every
# channel, a note-off for every pitch; from T + 2 to T + 3 a note on every channel. So symusic shows
# the notes that were left open, the program that each channel had in the end, what T is, and that
# it read so far.
_AT_END = (
    b"\xff\x01\x00\x01"
    + b"\x00".join(
        bytes((0x80 | channel, pitch, 0)) for channel in range(16) for pitch in range(128)
    )
    + b"\x01"
    + b"\x00".join(bytes((0x90 | channel, 0, 1)) for channel in range(16))
    + b"\x01"
    + b"\x00".join(bytes((0x80 | channel, 0, 0)) for channel in range(16))
    + b"\x00"
    + _END_OF_TRACK
)

# A whole SysEx message of less than 128 bytes, a meta event of less than 128, and another's status.
_SYSEX = re.compile(rb"\xf0([\x00-\x7f])([\x00-\x7f]*\xf7)")
_META = re.compile(rb"[\x80-\xef]{0,3}[\x00-\x7f]\xff[\x00-\x7f]([\x00-\x7f])")
_STATUS = re.compile(rb"[\x80-\xef]{0,3}[\x00-\x7f](?:[\x80-\xf0]|\xff\x2f)")

# A key signature; the number of its flats is a byte above 248.
_KEY = re.compile(rb"\xff\x59\x02[\xf9-\xff][\x00\x01]")
_KEY_OF_C = b"\xff\x59\x02\x00\x00"

# Meta events of a length or value that mido refuses, and system messages, which both read in their
# own ways. These bytes may stand for something harmless too; then note_seq reads it, only slower.
_DOUBTFUL = re.compile(
    rb"[\xf0-\xfe]|\xff(?:"
    rb"\x00(?!\x02)|\x20(?!\x01)|\x21(?!\x01)|\x2f(?!\x00)|\x51(?!\x03)|\x59(?!\x02)"
    rb"|\x54(?!\x05[\x00-\x7f])|\x58(?!\x04[\x01-\xff][\x00-\x1e]))",
    re.DOTALL,
)


class _InDoubt(Exception):
    """The file holds something that symusic and pretty_midi may read differently."""


@dataclasses.dataclass(frozen=True)
class _Track:
    """What symusic read in one track, in ticks, notes in order of their ends.

    Attributes:
      score: its meta events.
      instrument: its one instrument; None without notes.
      name: of the track.
      start, end, pitch, velocity: the notes.
      last_tick: where it ends.
    """

    score: Any
    instrument: Any
    name: str
    start: Int64s
    end: Int64s
    pitch: NDArray[Any]
    velocity: NDArray[Any]
    last_tick: int


def read_midi(data: bytes) -> NoteArrays | None:
    """Reads the content of a MIDI file, or returns None where note_seq has to decide.

    None is returned for damaged files, and for sound ones with what is rare in piano music: several
    channels in a track, notes of one pitch that overlap, a change of program, SysEx.
    """
    try:
        resolution, chunks = _chunks(data)
        tracks = [_read_track(chunk, resolution) for chunk in chunks]
        return _note_arrays(resolution, tracks)
    except _InDoubt:
        return None


def _chunks(data: bytes) -> tuple[int, list[bytes]]:
    """Returns the ticks of a quarter note, and the bytes of each track."""
    _require(len(data) >= _HEADER.size)
    magic, length, _, num_tracks, resolution = _HEADER.unpack_from(data)
    _require((magic, length) == (b"MThd", 6) and num_tracks > 0 and 0 < resolution < 0x8000)
    chunks, place = [], _HEADER.size
    while place + _CHUNK.size <= len(data):
        magic, length = _CHUNK.unpack_from(data, place)
        begin, place = place + _CHUNK.size, place + _CHUNK.size + length
        _require(magic == b"MTrk" and place <= len(data))
        chunks.append(data[begin:place])
    _require(place == len(data) and len(chunks) == num_tracks)
    return resolution, chunks


def _read_track(chunk: bytes, resolution: int) -> _Track:
    from symusic import Score

    _require(chunk.endswith(_END_OF_TRACK))
    _require(not _DOUBTFUL.search(_KEY.sub(_KEY_OF_C, _SYSEX.sub(_nothing_if_whole, chunk))))
    # Where a channel's program changes twice, symusic does not show what lies between.
    _require(all(chunk.count(0xC0 | channel) <= 1 for channel in range(16)))
    # symusic counts ticks in 32 bits. Any other event takes 3 bytes, and less than 2^14 ticks.
    long_deltas = sum(1 << 7 * min(len(delta), 5) for delta in _LONG_DELTA.findall(chunk))
    _require(long_deltas + (len(chunk) // 3 << 14) < 1 << 32)
    body = chunk.removesuffix(_END_OF_TRACK) + _AT_END
    alone = _HEADER.pack(b"MThd", 6, 0, 1, resolution)
    try:
        score: Any = Score.from_midi(alone + _CHUNK.pack(b"MTrk", len(body)) + body, ttype="tick")
    except RuntimeError as error:  # symusic's only kind, for all that it refuses.
        raise _InDoubt from error
    _require(all(abs(key.key) <= 7 and key.tonality in (0, 1) for key in score.key_signatures))
    # symusic sorts by time, and does not always keep the order of what comes at once.
    for events in (score.tempos, score.time_signatures, score.key_signatures):
        _require(len({event.time for event in events}) == len(events))
    # More would be a channel with two programs.
    _require(len(score.tracks) == 16)
    instruments = [track for track in score.tracks if len(track.notes) > 1]
    _require(len(instruments) <= 1)
    instrument = (instruments or score.tracks)[0]
    notes = instrument.notes.numpy()
    at_end = int(notes["time"].argmax())
    last_tick = int(notes["time"][at_end]) - 2
    keep = np.arange(len(notes["time"])) != at_end
    start = notes["time"][keep].astype(np.int64)
    end = start + notes["duration"][keep]
    pitch, velocity = notes["pitch"][keep], notes["velocity"][keep]
    _require_no_overlap(start, end, pitch)
    _require(0 <= last_tick < MAX_MIDI_TICKS)
    # pretty_midi knows no notes that were left open, and none without length.
    closed = np.flatnonzero((start < end) & (end <= last_tick))
    order = closed[np.argsort(end[closed], kind="stable")]
    return _Track(
        score,
        instrument if len(order) else None,
        _track_name(chunk),
        start[order],
        end[order],
        pitch[order],
        velocity[order],
        last_tick,
    )


def _nothing_if_whole(sysex: re.Match[bytes]) -> bytes:
    """Takes a SysEx message out if it is sound, and what follows it has a status of its own.

    What running status means after SysEx is another thing to each.
    """
    length, content = sysex.groups()
    place = sysex.end()
    while not _STATUS.match(sysex.string, place):
        meta = _META.match(sysex.string, place)
        if not meta:
            return sysex[0]
        place = meta.end() + meta[1][0]
    return b"" if len(content) == length[0] else sysex[0]


def _require_no_overlap(start: Int64s, end: Int64s, pitch: NDArray[Any]) -> None:
    """Where notes of one pitch overlap, pretty_midi ends all of them at once, symusic the first."""
    order = np.lexsort((start, pitch))
    start, end, pitch = start[order], end[order], pitch[order]
    too_early = (start[1:] < end[:-1]) | (start[1:] == start[:-1])
    _require(not ((pitch[1:] == pitch[:-1]) & too_early).any())


def _track_name(chunk: bytes) -> str:
    """The track's name, in Latin-1 as pretty_midi reads it."""
    place = chunk.find(_NAME)
    if place < 0:
        return ""
    length = chunk[place + 2]
    name = chunk[place + 3 : place + 3 + length]
    # An instrument has the name that came before its first note ended.
    _require(chunk.count(_NAME) == 1 and length < 0x80 and not _NOTE_STATUS.search(chunk, 0, place))
    return name.decode("latin-1")


def _note_arrays(resolution: int, tracks: list[_Track]) -> NoteArrays:
    seconds = _Clock(resolution, tracks[0].score.tempos)
    playing = [track for track in tracks if track.instrument is not None]

    def joined(values: Callable[[_Track], Any]) -> NDArray[Any]:
        return np.concatenate([np.empty(0, np.int64), *map(values, playing)])

    def per_event(values: Callable[[_Track], Any], sizes: list[int]) -> NDArray[Any]:
        return np.repeat([values(track) for track in playing], sizes)

    controls = [track.instrument.controls.numpy() for track in playing]
    bends = [track.instrument.pitch_bends.numpy() for track in playing]
    start_time, end_time = seconds(joined(lambda t: t.start)), seconds(joined(lambda t: t.end))
    # The shortest tempos let time stand still, which pretty_midi refuses.
    _require(bool((start_time < end_time).all()))
    columns: dict[str, Any] = {}
    for prefix, sizes in (
        ("", [len(track.start) for track in playing]),
        ("control_", [len(control["time"]) for control in controls]),
        ("bend_", [len(bend["time"]) for bend in bends]),
    ):
        columns[f"{prefix}instrument"] = np.repeat(np.arange(len(playing)), sizes)
        columns[f"{prefix}program"] = per_event(lambda t: t.instrument.program, sizes)
        columns[f"{prefix}is_drum"] = per_event(lambda t: t.instrument.is_drum, sizes)
    none: dict[str, Any] = dict.fromkeys(("time", "number", "value"), np.empty(0, np.int64))
    score = tracks[0].score
    keys, times = score.key_signatures, score.time_signatures
    return NoteArrays(
        **columns,
        start_time=start_time,
        end_time=end_time,
        pitch=joined(lambda t: t.pitch),
        velocity=joined(lambda t: t.velocity),
        control_time=seconds(np.concatenate([c["time"] for c in [none, *controls]])),
        control_number=np.concatenate([c["number"] for c in [none, *controls]]),
        control_value=np.concatenate([c["value"] for c in [none, *controls]]),
        bend_time=seconds(np.concatenate([b["time"] for b in [none, *bends]])),
        bend_value=np.concatenate([b["value"] for b in [none, *bends]]),
        tempo_time=seconds.tempo_time,
        tempo_qpm=seconds.tempo_qpm,
        time_signature_time=seconds(np.array([t.time for t in times], np.int64)),
        time_signature_numerator=np.array([t.numerator for t in times], np.int32),
        time_signature_denominator=np.array([t.denominator for t in times], np.int32),
        key_signature_time=seconds(np.array([k.time for k in keys], np.int64)),
        # Up a fifth for every sharp; a minor key's tonic lies a minor third below its relative's.
        key_signature_key=np.array([(7 * k.key + 9 * k.tonality) % 12 for k in keys], np.int32),
        key_signature_mode=np.array([k.tonality for k in keys], np.int32),
        total_time=float(end_time.max(initial=0.0)),
        ticks_per_quarter=resolution,
        instrument_names=tuple(
            (number, track.name) for number, track in enumerate(playing) if track.name
        ),
        source_info=SOURCE_INFO,
    )


class _Clock:
    """Seconds of ticks, by the tempos of the first track, in pretty_midi's floating point steps.

    Attributes:
      tempo_time, tempo_qpm: the tempos, in seconds and in quarter notes a minute.
    """

    def __init__(self, resolution: int, tempos: Iterable[Any]):
        ticks, scales = [0], [60.0 / (120.0 * resolution)]
        for tempo in tempos:
            _require(tempo.mspq > 0)
            scale = 60.0 / ((6e7 / tempo.mspq) * resolution)
            if tempo.time == 0:
                ticks, scales = [0], [scale]
            elif scale != scales[-1]:
                ticks.append(tempo.time)
                scales.append(scale)
        begin = [0.0]
        for index, scale in enumerate(scales[:-1]):
            begin.append(begin[-1] + scale * (ticks[index + 1] - ticks[index]))
        self._ticks = np.array(ticks, np.int64)
        self._scales, self._begin = np.array(scales), np.array(begin)
        self.tempo_time = self._begin
        self.tempo_qpm = 60.0 / (self._scales * resolution)

    def __call__(self, ticks: NDArray[Any]) -> Floats:
        part = np.searchsorted(self._ticks, ticks, side="right") - 1
        return self._begin[part] + self._scales[part] * (ticks - self._ticks[part])


def _require(condition: bool) -> None:
    if not condition:
        raise _InDoubt
