"""symusic's reading of MIDI against note_seq's, on real files and on odd and damaged ones."""

import dataclasses
import random
import struct

import numpy as np
import pytest
from note_seq import midi_io

from perf_rnn.notes.arrays import NoteArrays, from_note_sequence
from perf_rnn.notes.midi_arrays import read_midi
from perf_rnn.notes.midi_files import tick_limit

END = (0, [0xFF, 0x2F, 0])


def variable(number):
    parts = [number & 127]
    while number := number >> 7:
        parts.insert(0, number & 127 | 128)
    return bytes(parts)


def midi(*tracks, resolution=480):
    data = b"MThd" + struct.pack(">IHHH", 6, 1, len(tracks), resolution)
    for track in tracks:
        body = b"".join(variable(delta) + bytes(message) for delta, message in track)
        data += b"MTrk" + struct.pack(">I", len(body)) + body
    return data


def on(pitch, velocity=64, channel=0):
    return [0x90 | channel, pitch, velocity]


def off(pitch, channel=0):
    return [0x80 | channel, pitch, 0]


def note(pitch=60, channel=0):
    return [(0, on(pitch, channel=channel)), (50, off(pitch, channel))]


def tempo(*value):
    return [0xFF, 0x51, 3, *value]


def fields(arrays):
    """All that arrays hold, the notes of an instrument that end together in order of pitch."""
    order = np.lexsort((arrays.velocity, arrays.pitch, arrays.start_time, arrays.end_time))
    arrays = arrays.take_notes(order[np.argsort(arrays.instrument[order], kind="stable")])
    values = {field.name: getattr(arrays, field.name) for field in dataclasses.fields(NoteArrays)}
    return {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for name, value in values.items()
    }


def by_note_seq(data):
    with tick_limit():
        return from_note_sequence(midi_io.midi_to_note_sequence(data))


READ = {
    "ties": [(0, on(60)), (0, on(64)), (0, on(55)), (9, off(64)), (0, off(55)), (0, off(60)), END],
    "no notes": [END],
    "repeated": [*note(), *note(), END],
    "of no length": [(0, on(60)), (0, off(60)), *note(62), END],
    "left open": [*note(), (0, on(60)), (9, on(61)), END],
    "program": [(0, [0xC0, 5]), *note(), END],
    "drums": [*note(channel=9), END],
    "controls": [(0, [0xB0, 64, 9]), (0, [0xB0, 10, 9]), *note(), (3, [0xB0, 64, 0]), END],
    "controls elsewhere": [(0, [0xB1, 64, 9]), *note(), END],
    "bends": [(0, [0xE0, 1, 2]), *note(), (0, [0xE0, 0, 64]), END],
    "tempos": [
        *[(delta, tempo(1, 2, value)) for delta, value in [(0, 3), (9, 3), (9, 4), (9, 5)]],
        *note(),
        END,
    ],
    "signatures": [
        *[(1, [0xFF, 0x59, 2, sharps & 255, mode]) for sharps in range(-7, 8) for mode in (0, 1)],
        (5, [0xFF, 0x58, 4, 6, 3, 24, 8]),
        *note(),
        END,
    ],
    "name": [(0, [0xFF, 3, 2, 0xE9, 65]), *note(), END],
    "name of no use": [(0, [0xFF, 3, 0]), *note(), END],
    "SysEx": [(0, [0xF0, 3, 1, 2, 0xF7]), (9, [0xFF, 1, 1, 65]), *note(), END],
}

LEFT_TO_NOTE_SEQ = {
    "tempos at once": [(0, tempo(1, 2, 3)), (0, tempo(1, 2, 4)), *note(), END],
    "overlap": [(0, on(60)), (5, on(60)), (5, off(60)), (5, off(60)), END],
    "at once": [(0, on(60, 9)), (0, on(60)), (5, off(60)), END],
    "two channels": [*note(), *note(61, 1), END],
    "two programs": [(0, [0xC0, 1]), *note(), (0, [0xC0, 2]), *note(), END],
    "program of an end": [(0, on(60)), (0, [0xC0, 2]), (5, off(60)), END],
    "late name": [*note(), (0, [0xFF, 3, 1, 65]), END],
    "two names": [(0, [0xFF, 3, 1, 66]), (0, [0xFF, 3, 1, 65]), *note(), END],
    "no end": note(),
    "after the end": [*note(), END, *note(), END],
    "running status after SysEx": [(0, on(60)), (0, [0xF0, 2, 1, 0xF7]), (5, [1, 60]), END],
}

REFUSED = {
    "tempo of 0": [(0, tempo(0, 0, 0)), *note(), END],
    "short tempo": [(0, [0xFF, 0x51, 2, 1, 1]), *note(), END],
    "no such key": [(0, [0xFF, 0x59, 2, 9, 0]), *note(), END],
    "time in 0 parts": [(0, [0xFF, 0x58, 4, 0, 2, 24, 8]), *note(), END],
    "data above 127": [(0, [0xB0, 64, 200]), *note(), END],
    "SysEx above 127": [(0, [0xF0, 2, 200, 0xF7]), *note(), END],
    "no status": [(0, [60, 64]), *note(), END],
    "too long": [*note(), (30_000_000, [0xFF, 1, 0]), END],
    # 32 bits lose 2^32 ticks of this note's length, and show one of 50.
    "overflow": [(0, on(60)), *[(2**28 - 1, [0xFF, 1, 0])] * 16, (66, off(60)), END],
    "empty": [],
}


@pytest.mark.parametrize("events", READ.values(), ids=READ)
def test_reads_what_note_seq_reads(events):
    data = midi(events)
    assert fields(read_midi(data)) == fields(by_note_seq(data))


def test_tempos_of_the_first_track_alone_count():
    tracks = [(0, tempo(1, 2, 3)), END], [(0, tempo(9, 9, 9)), *note(), END], [*note(40), END]
    arrays = read_midi(midi(*tracks))
    assert fields(arrays) == fields(by_note_seq(midi(*tracks)))
    assert arrays.instrument.tolist() == [0, 1]


@pytest.mark.parametrize("events", [*LEFT_TO_NOTE_SEQ.values(), *REFUSED.values()])
def test_leaves_to_note_seq_what_may_differ(events):
    assert read_midi(midi(events)) is None


@pytest.mark.parametrize("events", REFUSED.values(), ids=REFUSED)
def test_note_seq_refuses_it(events):
    with pytest.raises((midi_io.MIDIConversionError, ValueError)):
        by_note_seq(midi(events))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"RIFF" + midi([*note(), END]),
        midi([*note(), END])[:-1],
        midi([*note(), END]) + b"x",
        midi([*note(), END], resolution=0),
        midi([*note(), END], resolution=0xE728),
        midi(),
    ],
)
def test_leaves_damaged_files_to_note_seq(data):
    assert read_midi(data) is None


def test_real_performances(asap_dir):
    for path in asap_dir.rglob("*.mid"):
        data = path.read_bytes()
        assert fields(read_midi(data)) == fields(by_note_seq(data))


def test_mutated_files_are_read_alike_or_left_to_note_seq(asap_dir):
    original = min((path.read_bytes() for path in asap_dir.rglob("*.mid")), key=len)
    generator = random.Random(0)
    outcomes = []
    for _ in range(60):
        data = bytearray(original)
        data[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
        arrays = read_midi(bytes(data))
        outcomes.append(arrays is not None)
        if arrays is not None:
            assert fields(arrays) == fields(by_note_seq(bytes(data)))
    assert outcomes.count(True) >= 10
