"""Note arrays as MIDI files.

The bytes equal those that note_seq's midi_io writes for the same sequence, with two exceptions:
tracks without a name in the sequence get none, and each program of instrument 0 gets its own track,
whereas midi_io keeps only the notes of the last program.
"""

from __future__ import annotations

import struct
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundles.errors import PerfRnnError
from perf_rnn.notes.arrays import STANDARD_TICKS_PER_QUARTER, NoteArrays, as_arrays
from perf_rnn.notes.midi_tracks import NAME, TEXT

DEFAULT_QPM = 120.0
# Of `at_tempo`: at 120 quarter notes a minute half a millisecond is a tick, so that steps of 10 ms
# are exact.
FINE_TICKS_PER_QUARTER = 1000
MAX_TICK = 2**28 - 1  # MIDI has four times seven bits for the time between two events.

_DRUM_CHANNEL = 9
_CHANNELS = [channel for channel in range(16) if channel != _DRUM_CHANNEL]
_MAX_BEND = 8192
# Sharps of the major and the minor key of each pitch class; flats are negative.
_SHARPS = (
    (0, -5, 2, -3, 4, -1, 6, 1, -4, 3, -2, 5),
    (-3, 4, -1, 6, 1, -4, 3, -2, 5, 0, -5, 2),
)

# An event's tick, its place among the events of that tick, and its bytes.
_Event = tuple[int, int, bytes]


def at_tempo(notes: NoteArrays, qpm: float = DEFAULT_QPM) -> NoteArrays:
    """Returns notes whose times are as they were, in one tempo and in fine ticks.

    Args:
      notes: in seconds.
      qpm: quarter notes a minute.
    """
    # MIDI holds whole microseconds a quarter note; `to_midi` rounds down.
    microseconds = round(6e7 / qpm) + 1e-3
    return notes.replace(
        tempo_time=[0.0],
        tempo_qpm=[6e7 / microseconds],
        ticks_per_quarter=FINE_TICKS_PER_QUARTER,
    )


def to_midi(music: Any, text: str = "") -> bytes:
    """Returns a MIDI file of format 1: a track with tempos and signatures, one per instrument.

    Args:
      music: NoteArrays or a NoteSequence, in seconds.
      text: of a text event at the beginning, in ASCII; see `midi_facts`.

    Raises:
      PerfRnnError: MIDI cannot hold a value, such as a pitch above 127 or a time below 0.
    """
    notes = as_arrays(music)
    resolution = notes.ticks_per_quarter or STANDARD_TICKS_PER_QUARTER
    _check("ticks_per_quarter", resolution, 1, 2**15 - 1)
    clock = _Clock(notes, resolution)
    texts = [(0, -1, _meta(TEXT, text.encode("ascii")))] if text else []
    tracks = [_track([*texts, *_signatures(notes, clock), *clock.events])]
    names = dict(notes.instrument_names)
    for number, instrument in enumerate(instruments(notes)):
        is_drum = instrument[2]
        channel = _DRUM_CHANNEL if is_drum else _CHANNELS[number % len(_CHANNELS)]
        events = _instrument_events(notes, instrument, channel, clock)
        if name := names.get(instrument[0]):
            events.append((0, -1, _meta(NAME, name.encode("latin-1", "replace"))))
        tracks.append(_track(events))
    return struct.pack(">4sIHHH", b"MThd", 6, 1, len(tracks), resolution) + b"".join(tracks)


def instruments(notes: NoteArrays) -> list[tuple[int, int, bool]]:
    """Returns (instrument, program, is_drum) of each track, sorted; instrument 0 always has one."""
    found = {
        instrument
        for table in ("", "control_", "bend_")
        for instrument in zip(*(c.tolist() for c in _instrument_columns(notes, table)), strict=True)
    }
    if all(number != 0 for number, _, _ in found):
        found.add((0, 0, False))
    return sorted(found)


def _instrument_columns(notes: NoteArrays, table: str) -> list[NDArray[Any]]:
    return [getattr(notes, f"{table}{name}") for name in ("instrument", "program", "is_drum")]


class _Clock:
    """Finds the MIDI ticks of times in seconds.

    Attributes:
      events: the tempos' events.
    """

    def __init__(self, notes: NoteArrays, resolution: int):
        order = np.argsort(notes.tempo_time, kind="stable")
        self._times, qpms = notes.tempo_time[order], notes.tempo_qpm[order]
        _check("tempo_time", self._times, 0.0, sys.float_info.max)
        if self._times.min(initial=np.inf) > 0:
            self._times, qpms = np.append(0.0, self._times), np.append(DEFAULT_QPM, qpms)
        _check("tempo_qpm", qpms, 6e7 / 2**24 + 1e-6, 6e7)
        self._seconds = 60.0 / (qpms * resolution)  # Of a tick, at each tempo.
        ticks = np.cumsum(np.rint(np.diff(self._times) / self._seconds[:-1]))
        _check("tempo_time in ticks", ticks, 0, MAX_TICK)
        self._ticks = np.append(0, ticks).astype(np.int64)
        microseconds = [int(6e7 / (60.0 / (tick * resolution))) for tick in self._seconds.tolist()]
        self.events = [
            (tick, 0, _meta(0x51, tempo.to_bytes(3, "big")))
            for tick, tempo in zip(self._ticks.tolist(), microseconds, strict=True)
        ]

    def __call__(self, times: NDArray[np.float64]) -> list[int]:
        _check("time", times, 0.0, np.inf)
        tempo = np.searchsorted(self._times, times, side="right") - 1
        passed = (times - self._times[tempo]) / self._seconds[tempo]
        ticks = np.rint(self._ticks[tempo] + passed)
        _check("time in ticks", ticks, 0, MAX_TICK)
        return [*map(int, ticks.tolist())]


def _signatures(notes: NoteArrays, clock: _Clock) -> list[_Event]:
    times = notes.time_signature_time
    numerators, denominators = notes.time_signature_numerator, notes.time_signature_denominator
    if times.min(initial=np.inf) > 0:
        times = np.append(0.0, times)
        numerators, denominators = np.append(4, numerators), np.append(4, denominators)
    _check("time_signature_numerator", numerators, 0, 255)
    events = []
    for tick, numerator, denominator in zip(
        clock(times), numerators.tolist(), denominators.tolist(), strict=True
    ):
        if denominator < 1 or denominator & (denominator - 1):
            raise PerfRnnError(f"time_signature_denominator {denominator} is not a power of 2")
        # The usual values: 24 MIDI clocks to a click, and eight 32nds to a quarter note.
        data = bytes((numerator, denominator.bit_length() - 1, 24, 8))
        events.append((tick, 1, _meta(0x58, data)))
    _check("key_signature_key", notes.key_signature_key, 0, 11)
    for tick, key, mode in zip(
        clock(notes.key_signature_time),
        notes.key_signature_key.tolist(),
        notes.key_signature_mode.tolist(),
        strict=True,
    ):
        is_minor = mode == 1
        events.append((tick, 2, _meta(0x59, struct.pack("bb", _SHARPS[is_minor][key], is_minor))))
    return events


def _instrument_events(
    notes: NoteArrays, instrument: tuple[int, int, bool], channel: int, clock: _Clock
) -> list[_Event]:
    """Returns the program, pitch bends, control changes and notes, in this order at one tick.

    Within a kind, lower values come first, so a note ends before the next one of its pitch starts.
    """

    def rows(table: str, *names: str) -> list[NDArray[Any]]:
        columns = zip(_instrument_columns(notes, table), instrument, strict=True)
        here = np.logical_and.reduce([column == value for column, value in columns])
        return [getattr(notes, f"{table}{name}")[here] for name in names]

    def message(status: int, *data: int) -> bytes:
        return bytes((status | channel, *data))

    _check("program", instrument[1], 0, 127)
    events = [(0, 0, message(0xC0, instrument[1]))]
    times, bends = rows("bend_", "time", "value")
    _check("bend_value", bends, -_MAX_BEND, _MAX_BEND - 1)
    for tick, bend in zip(clock(times), (bends + _MAX_BEND).tolist(), strict=True):
        events.append((tick, 1 << 16 | bend, message(0xE0, bend & 0x7F, bend >> 7)))
    times, numbers, values = rows("control_", "time", "number", "value")
    _check("control_number", numbers, 0, 127)
    _check("control_value", values, 0, 127)
    for tick, number, value in zip(clock(times), numbers.tolist(), values.tolist(), strict=True):
        events.append((tick, 2 << 16 | number << 8 | value, message(0xB0, number, value)))
    starts, ends, pitches, velocities = rows("", "start_time", "end_time", "pitch", "velocity")
    _check("pitch", pitches, 0, 127)
    _check("velocity", velocities, 0, 127)
    for start, end, pitch, velocity in zip(
        clock(starts), clock(ends), pitches.tolist(), velocities.tolist(), strict=True
    ):
        order = 3 << 16 | pitch << 8
        events.append((start, order | velocity, message(0x90, pitch, velocity)))
        events.append((end, order, message(0x90, pitch, 0)))
    return events


def _track(events: list[_Event]) -> bytes:
    """Returns the chunk of a track: its events in order of time, and its end one tick later."""
    data = bytearray()
    before = running_status = 0
    for tick, _, event in sorted(events, key=lambda event: event[:2]):
        data += _variable_length(tick - before)
        # Running status: an equal status is left out, except after a meta event.
        data += event[1:] if event[0] == running_status else event
        running_status = event[0] if event[0] < 0xF0 else 0
        before = tick
    data += _variable_length(1) + _meta(0x2F, b"")
    return struct.pack(">4sI", b"MTrk", len(data)) + data


def _meta(kind: int, data: bytes) -> bytes:
    return bytes((0xFF, kind)) + _variable_length(len(data)) + data


def _variable_length(value: int) -> bytes:
    """Returns a number in groups of seven bits, the highest first."""
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F | 0x80)
    return bytes(reversed(groups))


def _check(name: str, values: Any, lowest: float, highest: float) -> None:
    array = np.asarray(values)
    wrong = array[~((array >= lowest) & (array <= highest))]
    if wrong.size:
        raise PerfRnnError(f"MIDI cannot hold {name} {wrong[0]}, only {lowest:g} to {highest:g}")
