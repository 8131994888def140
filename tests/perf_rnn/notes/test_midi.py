"""MIDI files as musicians mean them, and sound ones as note_seq reads them."""

import dataclasses
import json
import pathlib
import random
import struct

import numpy as np
import pytest
from note_seq import midi_io

from bundles.errors import PerfRnnError
from perf_rnn.notes import midi as midi_module
from perf_rnn.notes.arrays import NoteArrays, from_note_sequence
from perf_rnn.notes.midi import parse_midi
from perf_rnn.notes.transforms import apply_sustain

FOUND_IN_THE_WILD = pathlib.Path(__file__).parents[2] / "testdata" / "music_files"
EXPECTED = json.loads((FOUND_IN_THE_WILD / "expected.json").read_text())
MIDI_NAMES = [name for name in EXPECTED if name.endswith((".mid", ".kar"))]

END = (0, [0xFF, 0x2F, 0])
PEDAL_DOWN, PEDAL_UP = [0xB0, 64, 127], [0xB0, 64, 0]


def variable(number):
    parts = [number & 127]
    while number := number >> 7:
        parts.insert(0, number & 127 | 128)
    return bytes(parts)


def chunk(*events):
    body = b"".join(variable(delta) + bytes(message) for delta, message in events)
    return b"MTrk" + struct.pack(">I", len(body)) + body


def midi(*tracks, resolution=480, file_format=1):
    header = struct.pack(">IHHH", 6, file_format, len(tracks), resolution)
    return b"MThd" + header + b"".join(chunk(*track) for track in tracks)


def on(pitch, velocity=64, channel=0):
    return [0x90 | channel, pitch, velocity]


def off(pitch, channel=0):
    return [0x80 | channel, pitch, 0]


def note(pitch=60, channel=0):
    return [(0, on(pitch, channel=channel)), (480, off(pitch, channel))]


def meta(kind, *content):
    return [0xFF, kind, len(content), *content]


def tempo(*value):
    return meta(0x51, *value)


def heard(data):
    """The notes with the pedal applied: [(pitch, start, end)], in seconds."""
    notes = apply_sustain(parse_midi(data))
    rows = zip(notes.pitch, notes.start_time, notes.end_time, strict=True)
    return sorted((int(pitch), float(start), float(end)) for pitch, start, end in rows)


def fields(arrays):
    values = {field.name: getattr(arrays, field.name) for field in dataclasses.fields(NoteArrays)}
    return {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for name, value in values.items()
    }


def by_note_seq(data):
    return from_note_sequence(midi_io.midi_to_note_sequence(data))


@pytest.mark.parametrize("name", MIDI_NAMES)
def test_files_found_in_the_wild(name):
    data = (FOUND_IN_THE_WILD / name).read_bytes()
    if EXPECTED[name] == "refused":
        with pytest.raises(PerfRnnError):
            parse_midi(data)
    else:
        expected = sorted(map(tuple, EXPECTED[name]))
        np.testing.assert_allclose(heard(data), expected, rtol=0, atol=1e-9)


AS_NOTE_SEQ = {
    "ties": [(0, on(60)), (0, on(64)), (0, on(55)), (9, off(64)), (0, off(55)), (0, off(60)), END],
    "no notes": [END],
    "repeated": [*note(), *note(), END],
    "of no length": [(0, on(60)), (0, off(60)), *note(62), END],
    "program": [(0, [0xC0, 5]), *note(), END],
    "program after controls": [(0, [0xB0, 10, 9]), (0, [0xC0, 5]), *note(), END],
    "drums": [*note(channel=9), END],
    "controls": [(0, [0xB0, 64, 9]), (0, [0xB0, 10, 9]), *note(), (3, [0xB0, 64, 0]), END],
    "controls elsewhere": [(0, [0xB1, 64, 9]), *note(), END],
    "bends": [(0, [0xE0, 1, 2]), *note(), (0, [0xE0, 0, 64]), END],
    "channels": [*note(channel=3), *note(61, 1), (0, [0xB1, 7, 9]), *note(62, 3), END],
    "overlap": [(0, on(60)), (5, on(60)), (5, off(60)), (5, off(60)), END],
    "running status of one byte": [
        (0, [0xC0, 4]),
        (0, [5]),
        (0, [0xFF, 1, 0]),
        (0, [6]),
        *note(),
        END,
    ],
    "aftertouch": [(0, [0xD0, 4]), (0, [5]), *note(), (0, [0xA0, 60, 4]), (0, [60, 3]), END],
    "tempos": [
        *[(delta, tempo(1, 2, value)) for delta, value in [(0, 3), (9, 3), (9, 4), (9, 5)]],
        *note(),
        END,
    ],
    "signatures": [
        *[(1, meta(0x59, sharps & 255, mode)) for sharps in range(-7, 8) for mode in (0, 1)],
        (5, meta(0x58, 6, 3, 24, 8)),
        *note(),
        END,
    ],
    "name": [(0, meta(3, 0xE9, 65)), *note(), END],
    "name of no use": [(0, meta(3)), *note(), END],
    "SysEx": [(0, [0xF0, 3, 1, 2, 0xF7]), (9, meta(1, 65)), *note(), END],
    "long delta": [(2**21, on(60)), (2**21, off(60)), END],
}


@pytest.mark.parametrize("events", AS_NOTE_SEQ.values(), ids=AS_NOTE_SEQ)
def test_reads_what_note_seq_reads(events):
    assert fields(parse_midi(midi(events))) == fields(by_note_seq(midi(events)))


def test_tracks_of_one_channel_each_equal_note_seq():
    tracks = [(0, tempo(1, 2, 3)), END], [*note(channel=2), END], [*note(40), *note(30, 5), END]
    arrays = parse_midi(midi(*tracks))
    assert fields(arrays) == fields(by_note_seq(midi(*tracks)))
    assert arrays.instrument.tolist() == [0, 1, 2]


def test_real_performances_equal_note_seq(asap_dir):
    for path in asap_dir.rglob("*.mid"):
        data = path.read_bytes()
        assert fields(parse_midi(data)) == fields(by_note_seq(data))


def test_pairs_notes_as_note_seq_does():
    generator = random.Random(0)
    for _ in range(150):
        messages = [on(60), on(61), off(60), off(61)]
        events = [
            (generator.choice([0, 0, 1, 2]), generator.choice(messages))
            for _ in range(generator.randrange(2, 16))
        ]
        # Notes left open note_seq does not know.
        events += [(1, off(60)), (0, off(61)), END]
        assert fields(parse_midi(midi(events))) == fields(by_note_seq(midi(events)))


SECOND = 960  # Ticks.
RULES = {
    # Tracks, and the notes heard.
    "a note-off in another track": (
        [[(0, on(60)), END], [(SECOND, off(60)), END]],
        [(60, 0, 1)],
    ),
    "each hand ends its own note": (
        [
            [(0, on(60)), (SECOND, off(60)), END],
            [(0, on(60)), (2 * SECOND, off(60)), END],
        ],
        [(60, 0, 1), (60, 0, 2)],
    ),
    "a note-off in another track and one in its own": (
        [[(0, on(60)), (2 * SECOND, off(60)), END], [(SECOND, off(60)), END]],
        [(60, 0, 1)],
    ),
    "one pedal for two tracks": (
        [
            [(0, PEDAL_DOWN), (2 * SECOND, PEDAL_UP), END],
            [(0, on(60)), (SECOND, off(60)), END],
            [(0, on(40)), (SECOND, off(40)), END],
        ],
        [(40, 0, 2), (60, 0, 2)],
    ),
    "no pedal on another channel or port": (
        [
            [(0, PEDAL_DOWN), *note(), (3 * SECOND // 2, PEDAL_UP), END],
            [*note(40, 1), END],
            [(0, meta(0x21, 1)), *note(30), END],
        ],
        [(30, 0, 0.5), (40, 0, 0.5), (60, 0, 2)],
    ),
    "no note-off on another port": (
        [[(0, on(60)), (SECOND, off(60)), END], [(0, meta(0x21, 1)), (9, off(60)), END]],
        [(60, 0, 1)],
    ),
    "a pedal over a change of program": (
        [[(0, PEDAL_DOWN), *note(), (0, [0xC0, 5]), *note(62), (SECOND, PEDAL_UP), END]],
        [(60, 0, 2), (62, 0.5, 2)],
    ),
    "a pedal never lifted, and a later end in another track": (
        [[(0, PEDAL_DOWN), END], [*note(), (3 * SECOND // 2, END[1])]],
        [(60, 0, 2)],
    ),
    "all notes off in another track": (
        [
            [(0, on(60)), (0, on(61, channel=1)), (SECOND, END[1])],
            [(SECOND // 2, [0xB0, 123, 0]), END],
        ],
        [(60, 0, 0.5), (61, 0, 1)],
    ),
    "all sound off": (
        [[(0, on(60)), (SECOND, [0xB0, 120, 0]), (0, on(60)), (SECOND, off(60)), END]],
        [(60, 0, 1), (60, 1, 2)],
    ),
    "all notes off as the piece begins": (
        [[(0, on(60)), (SECOND, off(60)), END], [(0, [0xB0, 123, 0]), END]],
        [(60, 0, 1)],
    ),
    "tempos from all tracks, the last of those at one tick": (
        [
            [(0, tempo(1, 0, 0)), *note(), END],
            [(0, tempo(15, 66, 64)), (240, tempo(7, 161, 32)), END],
        ],
        [(60, 0, 0.75)],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("tracks", "expected"), RULES.values(), ids=RULES)
def test_state_of_channels(tracks, expected):
    np.testing.assert_allclose(heard(midi(*tracks)), expected, rtol=0, atol=1e-12)


def test_format_2_plays_one_track_after_another():
    first = [(0, PEDAL_DOWN), (0, on(60)), (SECOND, off(60)), (SECOND, END[1])]
    second = [(0, tempo(15, 66, 64)), (0, meta(0x58, 3, 2, 24, 8)), *note(), (0, on(61)), END]
    data = midi(first, second, [*note(62), END], file_format=2)
    assert heard(data) == [(60, 0, 2), (60, 2, 3), (62, 3, 3.5)]
    arrays = parse_midi(data)
    assert arrays.tempo_time.tolist() == [0, 2, 3]
    assert arrays.tempo_qpm.tolist() == [120, 60, 120]
    assert arrays.time_signature_time.tolist() == [2]
    # The pedal goes up with the end of its track.
    assert arrays.control_time.tolist() == [0, 2]


def test_frames_of_film_divide_time_whatever_the_tempo():
    events = [(0, tempo(1, 0, 0)), (0, on(60)), (2997, off(60)), END]
    for rate, ticks, seconds in ((25, 40, 2.997), (29, 100, 0.999999), (30, 100, 0.999)):
        data = midi(events, resolution=(256 - rate) << 8 | ticks)
        assert heard(data)[0][2] == pytest.approx(seconds, abs=1e-12)
        assert parse_midi(data).tempo_qpm == pytest.approx(120, abs=0.1)


def test_the_program_is_the_one_that_a_note_begins_with():
    arrays = parse_midi(midi([(0, on(60)), (9, [0xC0, 5]), (0, off(60)), *note(), END]))
    assert arrays.program.tolist() == [0, 5]
    assert arrays.instrument.tolist() == [0, 0]


NO_SENSE = {
    "key": meta(0x59, 8, 0),
    "mode": meta(0x59, 0, 2),
    "short key": meta(0x59, 1),
    "time in 0 parts": meta(0x58, 0, 2, 24, 8),
    "time in parts too small": meta(0x58, 4, 31, 24, 8),
    "no time": meta(0x58),
    "tempo of 0": tempo(0, 0, 0),
    "short tempo": tempo(1, 1),
    "port": meta(0x21),
    "unknown": meta(0x60, 1, 2),
    "SysEx above 127": [0xF0, 2, 200, 0xF7],
    "real time": [0xF8],
    "song position": [0xF2, 1, 2],
    "padded": [0xFF, 1, 0x80, 0x80, 2, 65, 65],
}  # fmt: skip


@pytest.mark.parametrize("message", NO_SENSE.values(), ids=NO_SENSE)
def test_metadata_of_no_sense_is_left_out(message):
    arrays = parse_midi(midi([(0, message), *note(), (0, message), END]))
    assert fields(arrays) == fields(parse_midi(midi([*note(), END])))


def test_signatures_of_other_tracks_and_of_odd_length():
    arrays = parse_midi(
        midi([*note(), END], [(0, meta(0x58, 3, 3)), (0, meta(0x59, 0xFD, 1, 0)), END])
    )
    assert arrays.time_signature_numerator.tolist() == [3]
    assert arrays.time_signature_denominator.tolist() == [8]
    # Three flats and minor: C minor.
    assert (arrays.key_signature_key.tolist(), arrays.key_signature_mode.tolist()) == ([0], [1])


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"Fl\xc3\xbcgel", "Flügel"),
        (b"Fl\xfcgel", "Flügel"),
        (b"a\0b", "a\0b"),
        (b"\x83\x73", "\x83s"),
    ],
)
def test_names_in_any_encoding(content, name):
    arrays = parse_midi(midi([(0, meta(3, *content)), *note(), END]))
    assert arrays.instrument_names == ((0, name),)


WHOLE = midi([(0, meta(1)), *note(), END])


@pytest.mark.parametrize(
    "data",
    [
        b"\0" * 128 + WHOLE,
        WHOLE + b"\r\n\0\0TAG",
        WHOLE + b"XFKM\0\0\0\4abcd",
        WHOLE.replace(b"MTrk", b"XFIH\0\0\0\4abcdMTrk"),
        WHOLE.replace(b"\0\0\0\6", b"\0\0\0\x08").replace(b"MTrk", b"\0\0MTrk"),
        # Lengths: too small, too large, and by far.
        *(WHOLE.replace(struct.pack(">I", 17), struct.pack(">I", n)) for n in (9, 13, 21, 1 << 31)),
        midi([(0, meta(1)), *note()]),
        midi([(0, meta(1)), *note()]) + b"\0\0",
        WHOLE.replace(b"\0\0\0\1\1\xe0", b"\0\0\0\0\1\xe0"),
        WHOLE.replace(b"\0\0\0\1\1\xe0", b"\0\0\0\7\1\xe0"),
    ],
)
def test_what_surrounds_the_events_does_not_matter(data):
    assert heard(data) == [(60, 0, 0.5)]


def test_a_wrong_length_does_not_reach_into_the_next_track():
    data = midi([*note(60), END], [*note(62), END])
    length = struct.pack(">I", 13)
    assert data.count(length) == 2
    for wrong in (3, 9, 15, 99):
        changed = data.replace(length, struct.pack(">I", wrong), 1)
        assert heard(changed) == [(60, 0, 0.5), (62, 0, 0.5)]


REFUSED = {
    "empty": (b"", "empty"),
    "no MIDI": (b"hello", r"not a MIDI file \(no MThd header\)"),
    "half a header": (WHOLE[:12], "damaged: cut off in its header"),
    "no tracks": (midi(), "damaged: it has no tracks"),
    "half a track header": (WHOLE[:20], "damaged: cut off in the header of a track"),
    "cut off": (WHOLE[:-7], "damaged: track 0 has an event that is cut off"),
    "division of 0": (midi([*note(), END], resolution=0), "damaged: 0x0000 is an invalid division"),
    "no such frames": (midi([END], resolution=0x9028), "damaged: 0x9028 is an invalid division"),
    "frames of 0 ticks": (midi([END], resolution=0xE700), "damaged: 0xe700 is an invalid division"),
    "a data byte": (
        midi([END], [(0, [0xB0, 64, 200]), END]),
        "damaged: track 1 has a data byte above 127",
    ),
    "no status": (midi([(0, [60, 64]), END]), "damaged: track 0 has a message without a status"),
    "a long delta": (
        midi([(1 << 28, on(60)), END]),
        "damaged: track 0 has a delta time that is too long",
    ),
    "padding without end": (
        b"MThd" + struct.pack(">IHHH", 6, 0, 1, 480) + b"MTrk\0\0\0\x40" + b"\x80" * 64,
        "damaged: track 0 has an event that is cut off",
    ),
    "long padding": (
        midi([(0, [0x80] * 20), END]).replace(b"\0\x80", b"\x80\x80"),
        "damaged: track 0 has a delta time that is too long|cut off",
    ),
    "years": (midi([(0, on(60)), (1 << 27, off(60)), END]), "lasts more than a day"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "message"), REFUSED.values(), ids=REFUSED)
def test_refuses_with_the_cause(data, message):
    with pytest.raises(PerfRnnError, match=f"^{message}$"):
        parse_midi(data)


def test_limits(monkeypatch):
    monkeypatch.setattr(midi_module, "MAX_BYTES", len(WHOLE) - 1)
    with pytest.raises(PerfRnnError, match=f"more than {len(WHOLE) - 1} bytes"):
        parse_midi(WHOLE)
    monkeypatch.undo()
    monkeypatch.setattr(midi_module, "MAX_NOTES", 1)
    with pytest.raises(PerfRnnError, match="more than 1 notes"):
        parse_midi(midi([*note(), *note(), END]))
    many = b"MThd" + struct.pack(">IHHH", 6, 1, 0, 480) + b"MTrk\0\0\0\0" * 5000
    with pytest.raises(PerfRnnError, match="more than 4096 tracks"):
        parse_midi(many)


def test_many_ticks_are_no_matter():
    # A piece of an hour at 32,767 ticks to the quarter.
    data = midi([(200_000_000, on(60)), (36_000_000, off(60)), END], resolution=32767)
    assert parse_midi(data).total_time == pytest.approx(236e6 / 65534)


def test_mutated_files_are_read_or_refused(asap_dir):
    original = min((path.read_bytes() for path in asap_dir.rglob("*.mid")), key=len)
    generator = random.Random(0)
    outcomes = []
    for _ in range(200):
        data = bytearray(original)
        for _ in range(generator.choice([1, 5])):
            data[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
        try:
            outcomes.append(parse_midi(bytes(data)).num_notes > 0)
        except PerfRnnError:
            outcomes.append(False)
    assert 20 < outcomes.count(True) < 180
