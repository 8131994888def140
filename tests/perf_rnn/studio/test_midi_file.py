"""The page's MIDI files, beside those of perf_rnn.notes."""

import base64
import pathlib
import struct

import numpy as np
import pytest

from bundles.errors import PerfRnnError
from perf_rnn.notes.arrays import NoteArrays
from perf_rnn.notes.midi import parse_midi
from perf_rnn.notes.midi_writer import to_midi
from perf_rnn.notes.transforms import apply_sustain

TESTDATA = pathlib.Path(__file__).parents[2] / "testdata"
FILES = sorted(
    path
    for folder in ("asap", "music_files")
    for path in (TESTDATA / folder).rglob("*")
    if path.suffix in (".mid", ".kar", ".midi")
)

# Reads MIDI files given in base64: songs, or the line that says what is wrong.
SCRIPT = """
window.readAll = async (files) => {
  const {readMidi, sustained} = await import("/midi_file.js");
  return files.map((file) => {
    const bytes = Uint8Array.from(atob(file), (letter) => letter.charCodeAt(0));
    try {
      const song = readMidi(bytes);
      return {...song, sustained: sustained(song)};
    } catch (error) {
      return error.constructor === Error ? error.message : error.stack;
    }
  });
};
"""


@pytest.fixture
def read(studio_scripts):
    studio_scripts.run(SCRIPT)

    def read(files: list[bytes]) -> list:
        texts = [base64.b64encode(data).decode() for data in files]
        return studio_scripts.run(f"readAll({texts})")

    return read


def midi(*tracks: bytes, division: int = 100) -> bytes:
    header = struct.pack(">4sIHHH", b"MThd", 6, min(len(tracks) - 1, 1), len(tracks), division)
    ends = (track + b"\0\xff\x2f\0" for track in tracks)
    return header + b"".join(struct.pack(">4sI", b"MTrk", len(t)) + t for t in ends)


def random_tracks(seed: int) -> bytes:
    """Tracks of few pitches and channels, so that notes meet in all ways."""
    random = np.random.default_rng(seed)
    tracks = []
    for _ in range(3):
        data = b""
        for _ in range(120):
            channel = random.integers(2)
            kind = random.choice([0x80, 0x90, 0x90, 0x90, 0xB0])
            number = random.choice([64, 64, 123, 7]) if kind == 0xB0 else random.integers(60, 63)
            data += bytes([random.integers(3), kind | channel, number, random.integers(128)])
        tracks.append(data)
    return midi(*tracks)


def in_python(data: bytes) -> NoteArrays | str:
    """The notes of a file, or what is wrong with it."""
    try:
        return parse_midi(data)
    except PerfRnnError as error:
        return str(error)


def assert_same(song: dict, notes: NoteArrays) -> None:
    keys = ("start", "end", "pitch", "velocity")
    found = sorted(tuple(note[key] for key in keys) for note in song["notes"])
    columns = (notes.start_time, notes.end_time, notes.pitch, notes.velocity)
    assert found == sorted(zip(*(c.tolist() for c in columns), strict=True))
    assert len({note["channel"] for note in song["notes"]}) == len(set(notes.instrument.tolist()))
    is_pedal = notes.control_number == 64
    pedal = zip(notes.control_time[is_pedal], notes.control_value[is_pedal] >= 64, strict=True)
    assert sorted((p["time"], p["down"]) for p in song["pedal"]) == sorted(
        (float(time), bool(down)) for time, down in pedal
    )
    held = apply_sustain(notes)
    held = held.take_notes(~held.is_drum)
    columns = (held.start_time, held.end_time, held.pitch)
    found = sorted(tuple(n[k] for k in ("start", "end", "pitch")) for n in song["sustained"])
    assert found == sorted(zip(*(c.tolist() for c in columns), strict=True))
    assert song["seconds"] == notes.total_time


def test_it_reads_what_python_reads(read):
    files = [path.read_bytes() for path in FILES] + [random_tracks(seed) for seed in range(15)]
    assert len(files) > 60
    expected = [in_python(data) for data in files]
    assert sum(isinstance(notes, NoteArrays) for notes in expected) > 55
    for song, notes in zip(read(files), expected, strict=True):
        if isinstance(notes, str):
            assert song == notes
        else:
            assert_same(song, notes)


def test_python_reads_what_it_writes(studio_scripts):
    text = studio_scripts.run(
        """(async () => {
          const {writeMidi} = await import("/midi_file.js");
          const note = (start, end, pitch, velocity) => ({start, end, pitch, velocity});
          const bytes = writeMidi([
            {name: "Network", notes: [note(0.5, 1.25, 60, 80), note(1.25, 200.001, 60, 1)],
             pedal: []},
            {name: "Player \\u00e9\\u4e00", notes: [note(0, 0, 0, 127), note(1, 2, 127, 64)],
             pedal: [{time: 0.25, down: true}, {time: 2, down: false}]},
          ]);
          return btoa(String.fromCharCode(...bytes));
        })()"""
    )
    notes = parse_midi(base64.b64decode(text))
    assert notes.num_notes == 4
    found = zip(notes.instrument, notes.start_time, notes.end_time, notes.pitch, notes.velocity,
                strict=True)  # fmt: skip
    assert [(i, pytest.approx(s), pytest.approx(e), p, v) for i, s, e, p, v in sorted(found)] == [
        (0, 0.5, 1.25, 60, 80), (0, 1.25, 200.001, 60, 1),
        (1, 0.0, 0.001, 0, 127), (1, 1.0, 2.0, 127, 64),
    ]  # fmt: skip
    assert notes.instrument_names == ((0, "Network"), (1, "Player éÿ"))
    assert notes.tempo_qpm.tolist() == [120]
    assert notes.control_time.tolist() == pytest.approx([0.25, 2])
    assert notes.control_value.tolist() == [127, 0]
    assert notes.control_instrument.tolist() == [1, 1]


def test_files_of_strangers_take_no_time(read):
    """Cut off or changed at any place, files give what Python gives, or a line as it does."""
    whole = next(path for path in FILES if path.name == "pedal_two_hands.mid").read_bytes()
    random = np.random.default_rng(0)
    files = [whole[:size] for size in range(0, len(whole), 3)]
    for _ in range(100):
        changed = bytearray(whole)
        changed[random.integers(14, len(whole))] = random.integers(256)
        files.append(bytes(changed))
    # As many notes as fit, all at once, and as many ends that find none of them.
    many = b"\0\x90" + b"\x3c\x40\0" * 100_000
    files.append(midi(many[:-1], b"\0\x80" + (b"\x3c\x40\0" * 100_000)[:-1]))
    # Each track claims to end in the tail, where no other begins.
    lengths = range(12 * 4000, 0, -12)
    tracks = [struct.pack(">4sI", b"MTrk", length) + b"\0\xff\x2f\0" for length in lengths]
    head = struct.pack(">4sIHHH", b"MThd", 6, 1, len(tracks), 100)
    files.append(head + b"".join(tracks) + b"M" * 4_000_000)
    files += [b"", b"MThd", bytes(5_000_000), midi(many + many)]
    for song, data in zip(read(files), files, strict=True):
        notes = in_python(data)
        if isinstance(notes, str):  # Of several faults, either may be named.
            assert song.partition(" has ")[0] == notes.partition(" has ")[0]
        else:
            assert len(song["notes"]) == notes.num_notes


def test_a_written_file_is_read_the_same(read):
    data = next(path for path in FILES if "Bach" in str(path)).read_bytes()
    (song,) = read([to_midi(parse_midi(data))])
    assert len(song["notes"]) == parse_midi(data).num_notes
