"""The tracks of a Standard MIDI file (RP-001): from bytes to channel messages.

The reader accepts more than the standard allows, since some programs write it: a wrong length of a
track whose end is marked, running status that continues after metadata and SysEx, and padded
numbers. A file with a truncated or an invalid event counts as damaged.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bundles.errors import PerfRnnError
from perf_rnn.notes.arrays import Int64s

NUM_CHANNELS = 256 * 16  # Of all ports.

# Kinds of channel messages, the upper half of their status.
NOTE_ON, CONTROL, PROGRAM, BEND = 0x9, 0xB, 0xC, 0xE
# Types of metadata.
TEXT, NAME, PORT, END, TEMPO, TIME, KEY = 0x01, 0x03, 0x21, 0x2F, 0x51, 0x58, 0x59

_SYSEX, _ESCAPE, _META = 0xF0, 0xF7, 0xFF
_END_OF_TRACK = b"\xff\x2f\x00"
# Data bytes of the other system messages that have any: time code, song position, song number.
_SYSTEM_DATA_BYTES = {0xF1: 1, 0xF2: 2, 0xF3: 1}

_HEADER = struct.Struct(">HHH")
_CHUNK = struct.Struct(">4sI")
MAX_TRACKS = 4096

# A number of variable length has 28 bits; some programs write zeros before them.
_MAX_NUMBER = (1 << 28) - 1
_MAX_NUMBER_BYTES = 16

# By the first byte after the delta time: how many bytes the event has, or 0 if that takes a closer
# look. A data byte is taken for a message of two data bytes under running status.
_MESSAGE_BYTES = np.repeat(np.array([2, 3, 0, 3, 0], np.uint8), [0x80, 0x40, 0x20, 0x10, 0x10])


class Messages(NamedTuple):
    """Channel messages in order of time, int64[n] each.

    Attributes:
      track: the number of its track.
      end: the last tick of its track.
      tick: when.
      channel: the channel plus 16 times the port.
      kind: the upper half of the status.
      first, second: the data bytes; `second` means nothing where there is one.
    """

    track: Int64s
    end: Int64s
    tick: Int64s
    channel: Int64s
    kind: Int64s
    first: Int64s
    second: Int64s


class Track(NamedTuple):
    """One track: its messages, the (tick, type, content) of its metadata, and its last tick."""

    messages: Messages
    metadata: list[tuple[int, int, bytes]]
    end: int


def read_tracks(data: bytes) -> tuple[int, int, list[Track]]:
    """Reads the header and the tracks of a MIDI file; other bytes may come before it, as in RIFF.

    Returns:
      The format, the division of time, and as many tracks as the header announces; all tracks if
      it announces none.

    Raises:
      PerfRnnError: it is no MIDI file, or is damaged.
    """
    if not data:
        raise PerfRnnError("empty")
    begin = data.find(b"MThd")
    if begin < 0:
        raise PerfRnnError("not a MIDI file (no MThd header)")
    begin += _CHUNK.size
    if len(data) < begin + _HEADER.size:
        raise PerfRnnError("damaged: cut off in its header")
    file_format, num_tracks, division = _HEADER.unpack_from(data, begin)
    tracks: list[Track] = []
    for chunk in itertools.islice(_chunks(data, begin), num_tracks or None):
        if len(tracks) == MAX_TRACKS:
            raise PerfRnnError(f"more than {MAX_TRACKS} tracks")
        try:
            tracks.append(_read_track(len(tracks), chunk))
        except ValueError as error:
            raise PerfRnnError(f"damaged: track {len(tracks)} has {error}") from None
    if not tracks:
        raise PerfRnnError("damaged: it has no tracks")
    return file_format, division, tracks


def _chunks(data: bytes, begin: int) -> Iterator[bytes]:
    """Yields the content of each track."""
    place = data.find(b"MTrk", begin)
    while place >= 0:
        begin = place + _CHUNK.size
        if begin > len(data):
            raise PerfRnnError("damaged: cut off in the header of a track")
        end = begin + _CHUNK.unpack_from(data, place)[1]
        place = end if data.startswith(b"MTrk", end) else -1
        if end != len(data) and end != place:
            # Another chunk follows, or the length is wrong.
            place = data.find(b"MTrk", begin)
            limit = len(data) if place < 0 else place
            has_end = data.find(_END_OF_TRACK, begin, limit) >= 0
            end = limit if has_end else min(end, limit)
        yield data[begin:end]


def _read_track(number: int, chunk: bytes) -> Track:
    """Reads one track.

    Raises:
      ValueError: what is wrong in it.
    """
    try:
        begins, metadata = _find_events(chunk)
    except IndexError:
        raise ValueError("an event that is cut off") from None
    # Two zeros are appended, so that looking ahead stays within the array.
    content = np.frombuffer(chunk + bytes(2), np.uint8)
    delta, place = _read_numbers(content, begins)
    tick = np.cumsum(delta)
    meta_tick = tick[np.searchsorted(begins, [begin for begin, _, _ in metadata])].tolist()
    ports = [(begin, value[0]) for begin, kind, value in metadata if kind == PORT and value]
    end = int(tick[-1]) if len(tick) else 0

    status = content[place]
    is_message = status < _SYSEX
    has_status = is_message & (status >= 0x80)
    status_at = np.maximum.accumulate(np.where(has_status, np.arange(len(status)), -1))
    place = (place + has_status)[is_message]
    if (status_at[is_message] < 0).any():
        raise ValueError("a message without a status")
    status = status[status_at[is_message]]
    kind = status >> 4
    first = content[place]
    second = np.where(kind >> 1 == PROGRAM >> 1, 0, content[place + 1])
    if ((first | second) >= 0x80).any():
        raise ValueError("a data byte above 127")
    port_of = np.searchsorted([begin for begin, _ in ports], begins[is_message], side="right")
    port = np.array([0, *(value for _, value in ports)])[port_of]
    messages = Messages(
        np.full(len(kind), number),
        np.full(len(kind), end),
        tick[is_message],
        port * 16 + (status & 0xF),
        kind.astype(np.int64),
        first.astype(np.int64),
        second.astype(np.int64),
    )
    timed = [(when, *event[1:]) for when, event in zip(meta_tick, metadata, strict=True)]
    return Track(messages, timed, end)


def _find_events(chunk: bytes) -> tuple[Int64s, list[tuple[int, int, bytes]]]:
    """Finds where the events of a track begin, and the (beginning, type, content) of metadata.

    The length that an event would have is computed for every byte at once, as if an event began
    there. The loop over the events then only adds up these lengths, which makes it fast.

    Raises:
      IndexError: the last event is cut off.
      ValueError: a delta time has too many bytes.
    """
    end = len(chunk)
    content = np.frombuffer(chunk + bytes(4), np.uint8)
    more = (content >= 0x80).view(np.uint8)
    # Whether a number continues after this byte, after the next one, and so on.
    more_0, more_1, more_2, more_3 = (more[ahead : end + ahead] for ahead in range(4))
    delta_bytes = 1 + more_0 * (1 + more_1 * (1 + more_2))
    message_bytes = _MESSAGE_BYTES[content[np.arange(end) + delta_bytes]]
    is_simple = (message_bytes > 0) & ((more_0 & more_1 & more_2 & more_3) == 0)
    leaps = ((delta_bytes + message_bytes) * is_simple).tobytes() + bytes(8)

    is_begin = bytearray(end + 8)
    metadata: list[tuple[int, int, bytes]] = []
    data_bytes = 2  # Of a message under running status.
    place = 0
    while True:
        if data_bytes == 2:
            while leap := leaps[place]:
                is_begin[place] = 1
                place += leap
        if place >= end:
            break
        begin = place
        is_begin[begin] = 1
        while chunk[place] >= 0x80:
            place += 1
        place += 1
        if place - begin > _MAX_NUMBER_BYTES:
            raise ValueError("a delta time that is too long")
        status = chunk[place]
        place += 1
        if status < 0x80:
            place += data_bytes - 1
        elif status < _SYSEX:
            data_bytes = 1 if status >> 5 == PROGRAM >> 1 else 2
            place += data_bytes
        elif status in (_META, _SYSEX, _ESCAPE):
            kind = -1
            if status == _META:
                kind = chunk[place]
                place += 1
            size = 0
            while (byte := chunk[place]) >= 0x80:
                size = min(size << 7 | byte & 0x7F, end)
                place += 1
            size = size << 7 | byte
            place += 1 + size
            if kind in (TEXT, NAME, PORT, TEMPO, TIME, KEY) and place <= end:
                metadata.append((begin, kind, chunk[place - size : place]))
            if kind == END:
                break
        else:
            place += _SYSTEM_DATA_BYTES.get(status, 0)
    if place > end:
        raise IndexError
    return np.flatnonzero(np.frombuffer(is_begin, np.uint8)), metadata


def _read_numbers(content: NDArray[np.uint8], places: Int64s) -> tuple[Int64s, Int64s]:
    """Reads the numbers of variable length that begin at some places; returns them and their ends.

    Raises:
      ValueError: one is too large.
    """
    places = places.copy()
    byte = content[places]
    values = (byte & 0x7F).astype(np.int64)
    unfinished = np.flatnonzero(byte >= 0x80)
    while len(unfinished):
        places[unfinished] += 1
        byte = content[places[unfinished]]
        values[unfinished] = values[unfinished] << 7 | byte & 0x7F
        if values[unfinished].max() > _MAX_NUMBER:
            raise ValueError("a delta time that is too long")
        unfinished = unfinished[byte >= 0x80]
    return values, places + 1
