"""What the studio records, and the files that it makes of it."""

import base64
import struct

import numpy as np
import pytest

from perf_rnn.notes.midi import parse_midi


def run(page, script: str):
    return page.run(
        "(async () => { const {createRecording, midiOfTake, wavOfTake} = await "
        f'import("/recording.js"); {script} }})()'
    )


def test_a_recorded_midi_equals_what_was_heard(studio_scripts):
    """Of both parts, with what was withdrawn, prolonged, and what is yet to come left out."""
    text = run(
        studio_scripts,
        """const {createTransport} = await import("/transport.js");
        const world = {now: 0};
        const clock = {now: () => world.now, pageOf: (x) => x, audioOf: (x) => x / 1000};
        const transport = createTransport({context: {}, clock});
        const recording = createRecording();
        transport.add(recording, "performance");
        transport.start(0.1);
        recording.begin();
        world.now += 100;
        const notes = [[0, 0.5, 60, 80], [1, 1, 62, 70], [2, 2.5, 64, 60]];
        transport.receive({type: "notes", notes, ends: [[0, 0.75], [1, 2.25]]});
        world.now += 1200;
        transport.key(40, 90);
        transport.pedal(true);
        world.now += 400;
        transport.key(40, 0);
        world.now += 100;
        transport.pedal(false);
        transport.receive({type: "cancel", from: 1.5});
        transport.receive({type: "notes", notes: [[3, 1.75, 67, 50], [4, 3, 68, 50]],
                           ends: [[1, 2], [3, 1.875]]});
        world.now += 800;
        const bytes = midiOfTake(recording.take(transport.position()));
        return btoa(String.fromCharCode(...bytes));""",
    )
    notes = parse_midi(base64.b64decode(text))
    assert notes.instrument_names == ((0, "Network"), (1, "Player"))
    columns = (notes.instrument, notes.start_time, notes.end_time, notes.pitch, notes.velocity)
    found = sorted(zip(*(column.tolist() for column in columns), strict=True))
    assert found == [
        (0, 0.5, 0.75, 60, 80),
        (0, 1.0, 2.0, 62, 70),
        (0, 1.75, 1.875, 67, 50),
        (1, pytest.approx(1.2, abs=0.01), pytest.approx(1.6, abs=0.01), 40, 90),
    ]
    assert notes.control_time.tolist() == pytest.approx([1.2, 1.7], abs=0.01)
    assert notes.control_value.tolist() == [127, 0]
    assert set(notes.control_instrument.tolist()) == {1}


def test_takes(studio_scripts):
    first, second, end, last, undone, none = run(
        studio_scripts,
        """const recording = createRecording(), none = recording.take();
        const play = (id, start, end, part = 0) => {
          recording.noteOn(id, 60 + id, 80, start, part);
          if (end) recording.noteOff(id, end);
        };
        recording.begin();
        play(0, 0, 1);
        recording.pedal(true, 1, 1);
        play(1, 2, 3, 1);
        play(2, 4);
        recording.noteOff(2, Infinity);
        const first = recording.take(5);
        recording.begin();
        play(0, 0, 1);
        play(1, 40, 41);
        play(2, 50, 52);
        play(3, 61, 62);
        const second = recording.take(51), last = recording.last(30, 60);
        const end = recording.take(51, 11);
        recording.undo(50.5);
        return [first, second, end, last, recording.take(), none];""",
    )
    rows = [
        [(note["pitch"], note["start"], note["end"], note["part"]) for note in take["notes"]]
        for take in (first, second, last, undone, none, end)
    ]
    assert rows[0] == [(60, 0, 1, 0), (61, 2, 3, 1)]
    assert first["pedal"] == [{"time": 1, "down": True, "part": 1}]
    assert rows[1] == [(60, 0, 1, 0), (61, 40, 41, 0), (62, 50, 51, 0)]
    assert second["pedal"] == []  # It was lifted between the performances.
    assert rows[2] == [(61, 0, 1, 0), (62, 10, 12, 0)]
    assert last["seconds"] == 12
    assert rows[3] == [(60, 0, 1, 0), (61, 40, 41, 0), (62, 50, 50.5, 0)]
    assert rows[4] == []
    assert rows[5] == [(61, 0, 1, 0), (62, 10, 11, 0)]


def test_memory_is_bounded(studio_scripts):
    hours, many = run(
        studio_scripts,
        """const hours = createRecording(), many = createRecording();
        for (let i = 0; i < 20000; i++) {
          hours.noteOn(i, 60, 80, i, 0);
          hours.noteOff(i, i + 0.5);
        }
        for (let i = 0; i < 250000; i++) many.noteOn(i, 60, 80, i / 1000, 0);
        return [hours, many].map((recording) => recording.take().notes.length);""",
    )
    assert 3600 <= hours <= 3700
    assert many <= 200_000


def test_a_wav_is_what_was_played(studio_scripts):
    """Also where one part of the sound is rendered after another."""
    head, kind, peaks, steps = run(
        studio_scripts,
        """const notes = [0.5, 29.5, 32].map((start, i) =>
          ({start, end: start + 1.5, pitch: 60 + i, velocity: 100, part: i % 2}));
        const {openSoundfont} = await import("/sound/soundfont.js");
        const font = openSoundfont(await (await fetch("/sound/piano.sf3")).arrayBuffer());
        const blob = await wavOfTake({notes, pedal: [], seconds: 33.5}, font);
        const bytes = await blob.arrayBuffer(), frames = new Int16Array(bytes, 44), peaks = [];
        for (let i = 0; i < frames.length; i += 882) {  // 10 ms.
          peaks.push(frames.subarray(i, i + 882).reduce((a, x) => Math.max(a, Math.abs(x)), 0));
        }
        const seam = [...frames.subarray(30 * 88200 - 400, 30 * 88200 + 400)];
        const steps = seam.slice(2).map((x, i) => Math.abs(x - seam[i]));
        const head = [...new Uint8Array(bytes, 0, 44)];
        return [head, blob.type, peaks, Math.max(...steps)];""",
    )
    assert kind == "audio/wav"
    size = len(peaks) * 882 * 2
    assert bytes(head) == b"RIFF" + struct.pack(
        "<I8sIHHIIHH4sI",
        *(36 + size, b"WAVEfmt ", 16, 1, 2, 44100, 4 * 44100, 4, 16, b"data", size),
    )
    peaks = np.array(peaks) / 32768
    assert len(peaks) == 3550
    assert peaks[:50].max() == 0
    for start in (0.5, 29.5, 32):
        place = round(100 * start)
        assert peaks[place : place + 10].max() > 0.05
        assert peaks[place + 190 : place + 240].max() < 0.01
    assert peaks.max() < 1
    assert steps < 1600  # The sound goes on over the seam at 30 s.
