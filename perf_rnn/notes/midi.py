"""Standard MIDI files as note arrays.

The rules are those of MIDI 1.0 (RP-001), extended to what common programs write. If every channel
has one track and one program, the result equals that of note-seq 0.0.5's `midi_io`, times to the
last bit.

- Formats 0 and 1 have one tempo map, from all tracks. The tracks of format 2 follow one another,
  each with its own tempos.
- All tracks share the state of a channel (of a port): a channel is one instrument, and its pedal
  holds the notes of every track. A note-off ends the open notes of its pitch in its own track; if
  there are none, it ends those in the other tracks of the channel.
- Notes without an end, and pedals that are still down, last to the end of the track.
- Invalid metadata is left out.
"""

from __future__ import annotations

import operator
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundles.errors import PerfRnnError
from perf_rnn.notes.arrays import Floats, Int64s, NoteArrays
from perf_rnn.notes.midi_tracks import (
    BEND,
    CONTROL,
    KEY,
    NAME,
    NOTE_ON,
    NUM_CHANNELS,
    PROGRAM,
    TEMPO,
    TIME,
    Messages,
    Track,
    read_tracks,
)
from perf_rnn.notes.transforms import MAX_SECONDS, SUSTAIN_CONTROL

# Ten times the largest piano performances, so that no file takes more than seconds and 400 MB.
MAX_BYTES = 1 << 22
MAX_NOTES = 500_000

# Numbers of NoteSequence.SourceInfo: of no kind, encoded as MIDI, parsed by pretty_midi.
SOURCE_INFO = (0, 3, 2)

_MODES_THAT_END_NOTES = (120, 123)  # All sound off, all notes off.
_DRUM_CHANNEL = 9
# The tables of note arrays, and their columns that are read from messages.
_TABLES = {
    "": ("start_time", "end_time", "pitch", "velocity", "program"),
    "control_": ("time", "number", "value", "program"),
    "bend_": ("time", "value", "program"),
}
# Keys and places of messages are packed into one integer, so that they can be sorted fast.
_PLACE_BITS = 26
_LAST_PLACE = (1 << _PLACE_BITS) - 1

_FRAME_RATES = {24: 24.0, 25: 25.0, 29: 30 / 1.001, 30: 30.0}
_DEFAULT_TEMPO = 500_000  # Microseconds a quarter note.


def parse_midi(data: bytes) -> NoteArrays:
    """Reads the content of a MIDI file; other bytes may come before it, as in RIFF files.

    Raises:
      PerfRnnError: it is no MIDI file, is damaged, or exceeds `MAX_SECONDS`, `MAX_NOTES` or
        `MAX_BYTES`.
    """
    if len(data) > MAX_BYTES:
        raise PerfRnnError(f"more than {MAX_BYTES} bytes")
    file_format, division, tracks = read_tracks(data)
    parts, begin_time = [], 0.0
    for together in [[track] for track in tracks] if file_format == 2 else [tracks]:
        clock = _Clock(division, together, begin_time)
        parts.append(_play(together, clock))
        begin_time = float(clock(max(track.end for track in together)))
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    names = [next(iter(_metadata_of([t], NAME, _name).values()), "") for t in tracks]
    return _note_arrays(columns, names, clock.ticks_per_quarter)


class _Clock:
    """Converts ticks to seconds, with the same floating point operations as pretty_midi.

    Attributes:
      ticks_per_quarter: the resolution; for SMPTE time, the ticks in half a second.
      time, qpm: the tempos, in seconds and in quarter notes a minute.
    """

    def __init__(self, division: int, tracks: list[Track], begin_time: float):
        """Reads the tempos of all tracks, whose tick 0 is at `begin_time` seconds.

        Raises:
          PerfRnnError: the division of time is invalid.
        """
        tempos = {0: _DEFAULT_TEMPO}
        frame_rate = _FRAME_RATES.get(256 - (division >> 8), 0.0)
        if division < 0x8000:
            self.ticks_per_quarter = division
            tempos.update(_metadata_of(tracks, TEMPO, _tempo))
            scales = [60.0 / ((6e7 / tempo) * division) for tempo in tempos.values() if division]
        else:
            ticks_per_second = frame_rate * (division & 0xFF)
            self.ticks_per_quarter = round(ticks_per_second / 2)
            scales = [1 / ticks_per_second] if ticks_per_second else []
        if not scales:
            raise PerfRnnError(f"damaged: {division:#06x} is an invalid division")
        changes = [0, *(i for i in range(1, len(scales)) if scales[i] != scales[i - 1])]
        self._ticks = np.array(list(tempos), np.int64)[changes]
        self._scales = np.array(scales)[changes]
        lengths = self._scales[:-1] * np.diff(self._ticks)
        self.time = np.cumsum([begin_time, *lengths])
        self.qpm = 60.0 / (self._scales * self.ticks_per_quarter)

    def __call__(self, ticks: Any) -> Floats:
        part = np.searchsorted(self._ticks, ticks, side="right") - 1
        return np.asarray(self.time[part] + self._scales[part] * (ticks - self._ticks[part]))


def _metadata_of(tracks: list[Track], kind: int, decode: Callable[[bytes], Any]) -> dict[int, Any]:
    """Returns {tick: value} of one type, in order of time; the last value at a tick counts."""
    found = [
        (tick, value)
        for track in tracks
        for tick, its_kind, content in track.metadata
        if its_kind == kind and (value := decode(content)) is not None
    ]
    return dict(sorted(found, key=operator.itemgetter(0)))


def _tempo(content: bytes) -> int | None:
    """Microseconds a quarter note."""
    return int.from_bytes(content[:3], "big") or None if len(content) >= 3 else None


def _time_signature(content: bytes) -> tuple[int, int] | None:
    """Numerator and denominator."""
    if len(content) < 2 or not content[0] or content[1] > 30:
        return None
    return content[0], 1 << content[1]


def _key_signature(content: bytes) -> tuple[int, int] | None:
    """Tonic and mode, 0 for major and 1 for minor."""
    if len(content) < 2:
        return None
    sharps, mode = struct.unpack_from("bB", content)
    # Up a fifth for every sharp; a minor key's tonic lies a minor third below its relative's.
    return ((7 * sharps + 9 * mode) % 12, mode) if abs(sharps) <= 7 and mode <= 1 else None


def _name(content: bytes) -> str | None:
    try:
        return content.decode() or None
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _play(tracks: list[Track], clock: _Clock) -> dict[str, NDArray[Any]]:
    """Returns the columns of tracks that play together, with channels instead of instruments."""
    columns = (np.concatenate(column) for column in zip(*(t.messages for t in tracks), strict=True))
    messages = Messages(*columns)
    order = np.argsort(messages.tick, kind="stable")
    messages = Messages(*(column[order] for column in messages))
    track, _, tick, channel, kind, first, second = messages
    on, end = _pair_notes(messages)
    # At extremely fast tempos, different ticks can be at the same time in floating point.
    lasts = clock(tick[on]) < clock(end)
    on, end = on[lasts], end[lasts]
    control, bend = np.flatnonzero(kind == CONTROL), np.flatnonzero(kind == BEND)

    # Pedals that are still down at the end are lifted when the channel's last track ends.
    pedal = control[first[control] == SUSTAIN_CONTROL][::-1]
    last = pedal[np.unique(channel[pedal], return_index=True)[1]]
    down = last[second[last] >= 64]
    channel_end = np.zeros(NUM_CHANNELS, np.int64)
    np.maximum.at(channel_end, channel, messages.end)
    control_tick = np.append(tick[control], channel_end[channel[down]])
    control_value = np.append(second[control], np.zeros_like(down))
    control = np.append(control, down)

    change = np.flatnonzero(kind == PROGRAM)
    first_on = np.zeros(NUM_CHANNELS, np.int64)
    by_start = np.sort(on)[::-1]
    first_on[channel[by_start]] = by_start

    def program(place: Int64s) -> Int64s:
        """The channel's program at a message; before its first note, the program of that note."""
        place = np.maximum(place, first_on[channel[place]])
        before = _LAST_PLACE - _next(
            channel[change],
            _LAST_PLACE - change,
            channel[place],
            _LAST_PLACE - place,
            _LAST_PLACE + 1,
        )
        return np.append(first, 0)[before]

    return {
        "start_time": clock(tick[on]),
        "end_time": clock(end),
        "pitch": first[on],
        "velocity": second[on],
        "program": program(on),
        "channel": channel[on],
        "track": track[on],
        "control_time": clock(control_tick),
        "control_number": first[control],
        "control_value": control_value,
        "control_program": program(control),
        "control_channel": channel[control],
        "bend_time": clock(tick[bend]),
        "bend_value": first[bend] + (second[bend] << 7) - 8192,
        "bend_program": program(bend),
        "bend_channel": channel[bend],
    } | _tempo_and_signatures(tracks, clock)


def _tempo_and_signatures(tracks: list[Track], clock: _Clock) -> dict[str, NDArray[Any]]:
    times = _metadata_of(tracks, TIME, _time_signature)
    keys = _metadata_of(tracks, KEY, _key_signature)
    numerator, denominator = np.array(list(times.values()), np.int64).reshape(-1, 2).T
    key, mode = np.array(list(keys.values()), np.int64).reshape(-1, 2).T
    return {
        "tempo_time": clock.time,
        "tempo_qpm": clock.qpm,
        "time_signature_time": clock(np.array(list(times), np.int64)),
        "time_signature_numerator": numerator,
        "time_signature_denominator": denominator,
        "key_signature_time": clock(np.array(list(keys), np.int64)),
        "key_signature_key": key,
        "key_signature_mode": mode,
    }


def _pair_notes(messages: Messages) -> tuple[Int64s, Int64s]:
    """Finds the notes and where they end.

    Within a track it does what pretty_midi does: a note-off ends all open notes of its pitch that
    began before its tick. Notes that began at its very tick stay open if it ended others, and are
    dropped if not. A note-off without an open note in its track ends those of its pitch in the
    channel's other tracks. All notes off and all sound off end all notes of the channel. Both end
    only notes that began before their tick.

    Returns:
      The places of the note-ons, in order of the notes' ends, and the ticks of the ends.

    Raises:
      PerfRnnError: there are more than `MAX_NOTES`.
    """
    track, end_of_track, tick, channel, kind, first, second = messages
    size = len(tick)
    pitch_key = channel * 128 + first
    note = np.flatnonzero(kind <= NOTE_ON)
    # In order of track, channel, pitch and time.
    key, note = _sort(track[note] * NUM_CHANNELS * 128 + pitch_key[note], note)
    is_on = (kind[note] == NOTE_ON) & (second[note] > 0)
    on, off = np.flatnonzero(is_on), np.flatnonzero(~is_on)
    if len(on) > MAX_NOTES:
        raise PerfRnnError(f"more than {MAX_NOTES} notes")
    by = np.searchsorted(off, on)  # The number of the next note-off.
    # A sentinel with a key that no note has comes after the last note-off.
    off_key, off_tick = np.append(key[off], -1), np.append(tick[note[off]], 0)
    on_key, on_tick = key[on], tick[note[on]]

    is_ended = (off_key[by] == on_key) & (off_tick[by] > on_tick)
    is_at_once = (off_key[by] == on_key) & (off_tick[by] == on_tick)
    ends_some = np.bincount(by[is_ended], minlength=len(off_key)) > 0
    finds_new = np.bincount(by[is_at_once], minlength=len(off_key)) > 0
    # Notes that a note-off leaves open are ended by the next note-off. So a note-off ends notes if
    # the one before it ended notes and left new ones open, and so on, back to a note-off that ended
    # notes which began before its tick.
    is_next = np.append(False, finds_new[:-1] & (off_key[1:] == off_key[:-1]))
    goes_on = is_next & (np.diff(off_tick, prepend=0) > 0)
    number = np.arange(len(off_key))
    ends_some = np.maximum.accumulate(np.where(ends_some, number, -1)) >= np.maximum.accumulate(
        np.where(goes_on, -1, number)
    )
    is_left = is_at_once & ends_some[by]
    by += is_left
    is_ended |= is_left & (off_key[by] == on_key) & (off_tick[by] > on_tick)
    is_heard = is_ended | (off_key[by] != on_key)
    ended_by = np.where(is_ended, np.append(note[off], size)[by], size)[is_heard]
    on = note[on[is_heard]]

    follows_on = np.append(False, is_on[:-1] & (key[1:] == key[:-1]))[off]
    follows_left = (is_next & np.append(False, ends_some[:-1]))[:-1]
    stray = note[off[~(follows_on | follows_left)]]
    mode = np.flatnonzero((kind == CONTROL) & np.isin(first, _MODES_THAT_END_NOTES))
    later = np.searchsorted(tick, tick[on], side="right")
    ended_by = np.minimum(ended_by, _next(pitch_key[stray], stray, pitch_key[on], later, size))
    ended_by = np.minimum(ended_by, _next(channel[mode], mode, channel[on], later, size))

    end = np.where(ended_by < size, np.append(tick, 0)[ended_by], end_of_track[on])
    order = np.lexsort((on, ended_by))
    return on[order], end[order]


def _sort(key: Int64s, place: Int64s) -> tuple[Int64s, Int64s]:
    """Sorts pairs by key, then place. NumPy sorts numbers many times faster than pairs."""
    both = np.sort(key << _PLACE_BITS | place)
    return both >> _PLACE_BITS, both & _LAST_PLACE


def _next(key: Int64s, place: Int64s, of_key: Int64s, of_place: Int64s, none: int) -> Int64s:
    """The first place of each key at or after a given place; `none` if there is no such place."""
    both = np.append(np.sort(key << _PLACE_BITS | place), -1)
    found = both[np.searchsorted(both[:-1], of_key << _PLACE_BITS | of_place)]
    return np.where(found >> _PLACE_BITS == of_key, found & _LAST_PLACE, none)


def _note_arrays(columns: dict[str, Any], names: list[str], ticks_per_quarter: int) -> NoteArrays:
    """Makes instruments of the channels that have notes, in order of track and of notes' ends.

    Args:
      columns: see `_play`.
      names: of the tracks.
      ticks_per_quarter: the resolution.

    Raises:
      PerfRnnError: it lasts more than `MAX_SECONDS`.
    """
    in_tracks = np.argsort(columns["track"], kind="stable")
    channels, first = np.unique(columns["channel"][in_tracks], return_index=True)
    instrument = np.full(NUM_CHANNELS, -1)
    instrument[channels[np.argsort(first)]] = np.arange(len(channels))
    track_of_instrument = columns.pop("track")[in_tracks[np.sort(first)]].tolist()
    for table, names_of_columns in _TABLES.items():
        channel = columns.pop(f"{table}channel")
        rows = np.argsort(instrument[channel], kind="stable")
        rows = rows[instrument[channel[rows]] >= 0]
        for name in names_of_columns:
            columns[table + name] = columns[table + name][rows]
        columns[f"{table}instrument"] = instrument[channel[rows]]
        columns[f"{table}is_drum"] = channel[rows] % 16 == _DRUM_CHANNEL
    total_time = float(columns["end_time"].max(initial=0.0))
    if (
        max(columns[f"{x}time"].max(initial=total_time) for x in ("control_", "bend_"))
        > MAX_SECONDS
    ):
        raise PerfRnnError("lasts more than a day")
    return NoteArrays(
        **columns,
        total_time=total_time,
        ticks_per_quarter=ticks_per_quarter,
        instrument_names=tuple(
            (number, names[t]) for number, t in enumerate(track_of_instrument) if names[t]
        ),
        source_info=SOURCE_INFO,
    )
