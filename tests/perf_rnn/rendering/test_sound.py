"""The pages' piano, as a browser renders it."""

import base64
import pathlib
import shutil
import struct

import numpy as np
import pretty_midi
import pytest
from browser import served

import perf_rnn

SOUND = pathlib.Path(perf_rnn.__file__).parent / "rendering" / "web" / "sound"
GENERAL_MIDI = pathlib.Path(pretty_midi.__file__).parent / "TimGM6mb.sf2"
PIANOS = ["piano.sf3", "piano_small.sf3", ""]

# Renders notes: play(piano) sends them to it. `levels` are those of 10 ms each, in dB.
SCRIPT = """
window.open = async (font) => {
  const {openSoundfont} = await import("/soundfont.js");
  return openSoundfont(await (await fetch(font)).arrayBuffer());
};
window.render = async (font, seconds, play, channels = 1, rate = 22050) => {
  const {createPiano} = await import("/piano.js");
  const context = new OfflineAudioContext(channels, Math.ceil(seconds * rate), rate);
  const piano = createPiano(context);
  if (font) await piano.use(await open(font));
  play(piano);
  return context.startRendering();
};
window.levels = (buffer) => {
  const samples = buffer.getChannelData(0), step = buffer.sampleRate / 100, found = [];
  for (let i = 0; i + step <= samples.length; i += step) {
    const part = samples.subarray(Math.round(i), Math.round(i + step));
    found.push(10 * Math.log10(part.reduce((sum, x) => sum + x * x, 0) / part.length + 1e-12));
  }
  return found;
};
window.read = async (bytes) => {
  const {readSoundfont} = await import("/soundfont.js");
  try {
    return readSoundfont(bytes).zones.length;
  } catch (error) {
    return error instanceof RangeError ? String(error.stack) : error.message;
  }
};
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The URL of the piano's files and of a soundfont of other make."""
    folder = tmp_path_factory.mktemp("sound")
    for file in [*SOUND.iterdir(), GENERAL_MIDI]:
        shutil.copy(file, folder)
    (folder / "index.html").write_text("<!doctype html><link rel=icon href=data:,>")
    with served(folder) as url:
        yield url


@pytest.fixture
def studio(browser, address):
    """A browser with `SCRIPT`; nothing may go wrong in it."""
    with browser.tab():
        browser.call("Page.navigate", url=address)
        browser.wait_for("Page.loadEventFired")
        browser.run(SCRIPT)
        yield browser
    assert not browser.faults()


@pytest.mark.parametrize("font", [*PIANOS, GENERAL_MIDI.name])
def test_notes_have_their_pitch(studio, font):
    """Within 10 cents, but for low strings, whose fundamentals lie below their partials."""
    keys = [45, 52, 60, 72, 84, 93]
    samples = studio.run(
        f"""(async () => {{
          const keys = {keys};
          const buffer = await render("{font}", keys.length, (piano) => keys.forEach((key, i) => {{
            piano.noteOn(i, key, 80, i);
            piano.noteOff(i, i + 0.9);
          }}), 1, 8000);
          return Array.from(buffer.getChannelData(0), (x) => Math.round(1e6 * x));
        }})()"""
    )
    cents = np.arange(-50, 51)
    for key, sound in zip(keys, np.reshape(samples, (len(keys), -1)), strict=True):
        part = sound[400:6800] * np.hanning(6400)
        hertz = 440 * 2 ** ((key - 69 + cents / 100) / 12)
        phases = np.exp(-2j * np.pi * hertz[:, None] * np.arange(len(part)) / 8000)
        found = cents[np.argmax(np.abs(phases @ part))]
        assert abs(found) <= (14 if key < 48 else 10), (key, found)


@pytest.mark.parametrize("font", PIANOS[:2])
def test_loudness_rises_evenly(studio, font):
    """From velocity to velocity, and without leaps between neighbouring keys."""
    levels = np.array(
        studio.run(
            f"""(async () => {{
              const found = [];
              for (const velocity of [52, 53, 84, 85]) {{
                const buffer = await render("{font}", 44, (piano) => {{
                  for (let key = 21; key <= 108; key++) {{
                    piano.noteOn(key, key, velocity, (key - 21) / 2);
                    piano.noteOff(key, (key - 21) / 2 + 0.3);
                  }}
                }}, 2, 24000);
                const sides = [0, 1].map((side) => buffer.getChannelData(side));
                found.push(Array.from({{length: 88}}, (_, i) => {{
                  let sum = 0;
                  for (const side of sides) {{
                    for (const x of side.subarray(i * 12000, i * 12000 + 7200)) sum += x * x;
                  }}
                  return 10 * Math.log10(sum / 14400);
                }}));
              }}
              return found;
            }})()"""
        )
    )
    assert np.abs(np.diff(levels, axis=1)).max() < 3
    steps = np.diff(levels, axis=0)
    assert steps.min() > -0.5  # Where one layer ends and the next begins.
    assert steps[1].min() > 5
    assert levels[2].max() < -12
    assert levels[2].min() > -45


@pytest.mark.parametrize("font", [*PIANOS, GENERAL_MIDI.name])
def test_many_loud_notes_do_not_clip(studio, font):
    peak, mean, late = studio.run(
        f"""(async () => {{
          const buffer = await render("{font}", 1, (piano) => {{
            for (let i = 0; i < 20; i++) piano.noteOn(i, 30 + 3 * i, 127, 0.1);
          }}, 2, 44100);
          const all = [...buffer.getChannelData(0), ...buffer.getChannelData(1)];
          const peak = all.reduce((a, x) => Math.max(a, Math.abs(x)), 0);
          const first = all.findIndex((x) => Math.abs(x) > 0.02 * peak) / 44100;
          return [peak, all.reduce((a, x) => a + x, 0) / all.length, first - 0.1];
        }})()"""
    )
    assert 0.4 < peak < 1
    assert abs(mean) < 0.005
    assert 0 < late < 0.012  # 6 ms of it are the limiter's.


def test_keys_and_pedal_end_notes(studio):
    held, released, pedal, other, cancelled, late, struck, taken_back = studio.run(
        """Promise.all([
          (piano) => {},
          (piano) => piano.noteOff("a", 0.5),
          (piano) => {
            piano.noteOff("a", 0.5);
            piano.pedal(true, 0.3, 1);
            piano.pedal(false, 1.0, 1);
          },
          (piano) => {
            piano.pedal(true, 0.3, 0);
            piano.noteOff("a", 0.5);
          },
          (piano) => piano.cancel("a"),
          (piano) => {
            piano.noteOff("a", 0.2);
            piano.noteOff("a", Infinity);
            piano.noteOff("a", 0.5);
          },
          (piano) => piano.noteOn("b", 60, 1, 0.6, 0),
          (piano) => {
            piano.noteOn("b", 60, 80, 0.6, 0);
            piano.cancel("b");
          },
        ].map(async (rest) => levels(await render("piano.sf3", 1.5, (piano) => {
          piano.noteOn("a", 60, 80, 0.1, 1);
          rest(piano);
        }))))"""
    )
    for levels in (held, released, pedal, other, late):
        assert max(levels[:10]) < -100
        assert levels[12:48] == pytest.approx(held[12:48], abs=0.2)
    assert max(cancelled) < -100
    assert released[75] < held[75] - 20  # A damper takes a quarter of a second.
    assert max(released[130:]) < -90
    assert other == pytest.approx(released, abs=0.2)
    assert late == pytest.approx(released, abs=0.2)
    # A string that is struck anew stops, unless that stroke is taken back.
    assert struck[85] < held[85] - 20
    assert taken_back == pytest.approx(held, abs=0.2)
    assert pedal[55:98] == pytest.approx(held[55:98], abs=0.2)
    assert pedal[125] < held[125] - 20


def test_voices_are_bounded_and_panic_ends_them(studio):
    """Whether notes are new or repeated, most of them have ended."""
    most, after = studio.run(
        """(async () => {
          const {createPiano} = await import("/piano.js");
          const sources = new Set(), start = AudioBufferSourceNode.prototype.start;
          AudioBufferSourceNode.prototype.start = function (...all) {
            sources.add(this);
            this.addEventListener("ended", () => sources.delete(this));
            return start.apply(this, all);
          };
          const context = new OfflineAudioContext(1, 48000 * 3, 24000);
          const piano = createPiano(context);
          await piano.use(await open("piano.sf3"));
          for (let i = 0; i < 400; i++) piano.noteOn(i, 21 + (7 * i) % 88, 60, i / 200);
          let most;
          context.suspend(2.2).then(() => {
            most = sources.size;
            piano.panic();
            context.resume();
          });
          const rendered = levels(await context.startRendering());
          AudioBufferSourceNode.prototype.start = start;
          return [most, rendered.slice(250)];
        })()"""
    )
    assert 40 < most <= 70
    assert max(after) < -90


def test_damaged_soundfonts_are_refused(studio):
    """Cut off or changed at any place, they are read or give one line, and take no time."""
    results = studio.run(
        """(async () => {
          const whole = await (await fetch("piano_small.sf3")).arrayBuffer(), found = [];
          for (let i = 1; i < 60; i++) found.push(await read(whole.slice(0, i * i)));
          for (let i = 1; i < 60; i++) found.push(await read(whole.slice(0, -i * i)));
          // After the samples come the tables: change each of their bytes.
          const tables = whole.byteLength - 4500;
          for (let at = tables; at < whole.byteLength; at += 7) {
            const copy = new Uint8Array(whole.slice(0));
            copy[at] ^= 0xff;
            found.push(await read(copy.buffer));
          }
          found.push(await read(new ArrayBuffer(0)), await read(whole));
          return found;
        })()"""
    )
    assert results.pop() == 88
    lines = {result for result in results if isinstance(result, str)}
    assert all(line.startswith("the soundfont cannot be used: ") for line in lines)
    assert len(lines) >= 7
    assert sum(isinstance(result, str) for result in results) > 150


def soundfont(num_outer: int, num_zones: int, generators_a_zone: int) -> bytes:
    """A soundfont without samples: the outer zones of its preset all have one instrument."""

    def chunk(name: bytes, *records: bytes) -> bytes:
        data = b"".join(records)
        return name + struct.pack("<I", len(data)) + data

    bags = [struct.pack("<HH", i * generators_a_zone, 0) for i in range(num_zones + 1)]
    data = b"sfbk" + b"".join(
        [
            chunk(b"phdr", *(struct.pack("<24xH12x", bag) for bag in (0, num_outer))),
            chunk(b"pbag", *(struct.pack("<HH", i, 0) for i in range(num_outer + 1))),
            chunk(b"pgen", struct.pack("<HH", 41, 0) * (num_outer + 1)),
            chunk(b"inst", *(struct.pack("<20xH", bag) for bag in (0, num_zones))),
            chunk(b"ibag", *bags),
            chunk(b"igen", bytes(4) * (num_zones * generators_a_zone + 1)),
            chunk(b"shdr", bytes(2 * 46)),
        ]
    )
    return b"RIFF" + struct.pack("<I", len(data)) + data


@pytest.mark.parametrize(
    ("sizes", "reason"),
    [
        ((65534, 65534, 0), "more than 4096 zones"),
        ((2000, 1, 65534), "a zone of more than 256 generators"),
        ((1000, 1, 256), "its piano has no notes"),
    ],
)
def test_zones_without_samples_take_no_time(studio, sizes, reason):
    text = base64.b64encode(soundfont(*sizes)).decode()
    line = studio.run(f"fetch('data:;base64,{text}').then((x) => x.arrayBuffer()).then(read)")
    assert line == f"the soundfont cannot be used: {reason}"


def test_samples_that_cannot_be_decoded_are_told_and_replaced(studio):
    line, level = studio.run(
        """(async () => {
          const {createPiano} = await import("/piano.js");
          const {openSoundfont} = await import("/soundfont.js");
          const bytes = await (await fetch("piano_small.sf3")).arrayBuffer();
          new Uint8Array(bytes, 200, 120000).fill(0);
          const context = new OfflineAudioContext(1, 22050, 22050), piano = createPiano(context);
          const line = await piano.use(openSoundfont(bytes)).catch((error) => error.message);
          piano.noteOn(1, 60, 80, 0);
          return [line, levels(await context.startRendering())[20]];
        })()"""
    )
    assert line == "the soundfont cannot be used: this browser cannot decode its samples"
    assert level > -35
