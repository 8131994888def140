"""Cuts the pianos of the studio and of the page from the Salamander Grand Piano.

    for v in 4 9 14; do npm pack @audio-samples/piano-velocity$v; done   # then unpack each to v$v/
    python docs/build_piano.py FOLDER

writes `piano.sf3` (three layers of velocity, every third key) and `piano_small.sf3` (one layer,
every sixth key). Both are SoundFonts whose samples are compressed, as in MuseScore's SF3, but as
MP3, the one such format that every browser decodes. Needs SciPy and soundfile.
"""

import io
import pathlib
import struct
import sys

import numpy as np
import scipy.signal
import soundfile

NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
KEYS = range(21, 109, 3)
OUT = pathlib.Path(__file__).parent.parent / "perf_rnn/rendering/web/sound"
COPYRIGHT = "Salamander Grand Piano V3 by Alexander Holm, CC BY 3.0; cut and compressed"
COMPRESSED_MONO = 0x11  # The type of a sample in SF3.
# Generators of a zone.
KEY_RANGE, VELOCITY_RANGE, INSTRUMENT, RELEASE, ATTENUATION = 43, 44, 41, 38, 48
SAMPLE, ROOT_KEY = 53, 58
LEVEL_SECONDS = 0.3  # What of a note tells its loudness.
MOST_STRETCH = 8  # Cents that the treble may be sharp.


def read_note(folder: pathlib.Path, layer: int, key: int) -> tuple[np.ndarray, int]:
    """Returns a note in mono, from 2 ms before it begins to sound, and its rate."""
    name = f"{NAMES[key % 12]}{key // 12 - 1}v{layer}.ogg"
    stereo, rate = soundfile.read(folder / f"v{layer}" / "package" / "audio" / name)
    # The microphone where it is louder: the sum of both cancels partials, by up to 13 dB.
    mono = stereo[:, np.argmax(np.square(stereo[:rate]).sum(axis=0))]
    begin = np.argmax(np.abs(mono) > 0.02 * np.abs(mono).max()) - rate // 500
    return mono[max(begin, 0) :], rate


def level(sound: np.ndarray, rate: int) -> float:
    """Returns how loud a note begins, in dB."""
    return float(10 * np.log10(np.mean(sound[: round(LEVEL_SECONDS * rate)] ** 2)))


def stretch(sound: np.ndarray, rate: int, key: int) -> int:
    """Returns by how many cents a note is sharper than in equal temperament."""
    cents = np.arange(-80, 81)
    hertz = 440 * 2 ** ((key - 69 + cents / 100) / 12)
    part = sound[rate // 10 : rate // 10 + rate]
    part = part * np.hanning(len(part))
    phases = np.exp(-2j * np.pi * hertz[:, None] * np.arange(len(part)) / rate)
    return int(cents[np.argmax(np.abs(phases @ part))])


def cut(sound: np.ndarray, rate: int, key: int, to_rate: int, scale: float) -> np.ndarray:
    """Returns a note at another rate, as long as it is heard and at most `scale` times 9 to 1 s."""
    seconds = scale * min(9.0, 7.0 * 2 ** ((45 - key) / 22))
    sound = scipy.signal.resample_poly(sound, to_rate, rate)
    quiet = scipy.signal.fftconvolve(sound**2, np.ones(to_rate // 10) / (to_rate // 10), "same")
    heard = np.flatnonzero(quiet > quiet.max() * 10**-5.5)[-1]
    sound = sound[: min(round(seconds * to_rate), heard)]
    fade = len(sound) // 3  # The last third falls by 50 dB more.
    sound[-fade:] *= 10 ** (-2.5 * np.linspace(0, 1, fade) ** 1.5)
    return sound


def encode(sound: np.ndarray, rate: int, compression: float) -> bytes:
    file = io.BytesIO()
    soundfile.write(
        file, sound, rate, format="MP3", subtype="MPEG_LAYER_III",
        bitrate_mode="VARIABLE", compression_level=compression,
    )  # fmt: skip
    return file.getvalue()


def soundfont(name: str, zones: list[tuple], samples: list[tuple[bytes, int, int, int]]) -> bytes:
    """Returns a SoundFont of one preset.

    Args:
      name: of the preset.
      zones: (lowest key, highest key, lowest velocity, highest velocity, dB to lower it by,
        sample) each.
      samples: (MP3 data, rate, key, cents to raise its pitch by) each.
    """

    def chunk(kind: bytes, data: bytes) -> bytes:
        return kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)

    def text(value: str) -> bytes:
        return value.encode() + bytes(2 - len(value) % 2)

    generators, bags = b"", b""
    for low, high, soft, loud, lower, sample in zones:
        bags += struct.pack("<HH", len(generators) // 4, 0)
        root = samples[sample][2]
        for kind, value in (
            (KEY_RANGE, low | high << 8),
            (VELOCITY_RANGE, soft | loud << 8),
            # Dampers: timecents; low strings take longer.
            (RELEASE, round(1200 * np.log2(1.4 if root < 48 else 0.9)) & 0xFFFF),
            (ATTENUATION, round(10 * lower / 0.4)),  # Players take 0.4 of it.
            (ROOT_KEY, root),
            (SAMPLE, sample),
        ):
            generators += struct.pack("<HH", kind, value)
    bags += struct.pack("<HH", len(generators) // 4, 0)
    headers, pool = b"", b""
    for number, (data, rate, key, cents) in enumerate(samples):
        start, end = len(pool), len(pool) + len(data)
        fields = (f"{number}".encode(), start, end, 0, 0, rate, key, cents, 0, COMPRESSED_MONO)
        headers += struct.pack("<20s5IBbHH", *fields)
        pool += data
    headers += struct.pack("<20s5IBbHH", b"EOS", 0, 0, 0, 0, 0, 0, 0, 0, 0)
    label = name.encode()
    hydra = (
        (b"phdr", struct.pack("<20sHHHIII", label, 0, 0, 0, 0, 0, 0)
         + struct.pack("<20sHHHIII", b"EOP", 0, 0, 1, 0, 0, 0)),
        (b"pbag", struct.pack("<4H", 0, 0, 1, 0)),
        (b"pmod", bytes(10)),
        (b"pgen", struct.pack("<HH", INSTRUMENT, 0) + bytes(4)),
        (b"inst", struct.pack("<20sH", label, 0) + struct.pack("<20sH", b"EOI", len(zones))),
        (b"ibag", bags),
        (b"imod", bytes(10)),
        (b"igen", generators + bytes(4)),
        (b"shdr", headers),
    )  # fmt: skip
    info = chunk(b"ifil", struct.pack("<HH", 3, 1)) + chunk(b"INAM", text(name))
    info += chunk(b"ICOP", text(COPYRIGHT))
    lists = [(b"INFO", info), (b"sdta", chunk(b"smpl", pool))]
    lists.append((b"pdta", b"".join(chunk(*part) for part in hydra)))
    return chunk(b"RIFF", b"sfbk" + b"".join(chunk(b"LIST", kind + data) for kind, data in lists))


def build(folder, name, layers, step, seconds_scale, rates, compression) -> bytes:
    """Returns a piano.

    Args:
      folder: has the unpacked packages.
      name: of the preset.
      layers: {highest velocity: number of the layer}.
      step: how many keys apart the samples are.
      seconds_scale: see `cut`.
      rates: of the keys below 60, and above, in Hz.
      compression: of MP3, 0 to 1.
    """
    keys = [key for key in KEYS if (key - KEYS[0]) % step == 0]
    notes = {(key, n): read_note(folder, n, key) for key in keys for n in layers.values()}
    # All layers of a key begin at one level, which changes smoothly along the keyboard; velocity
    # then makes a note louder or softer.
    middle = list(layers.values())[len(layers) // 2]
    levels = [level(*notes[key, middle]) for key in keys]
    curve = np.polynomial.Polynomial.fit(keys, levels, 3)
    zones, samples, soft = [], [], 0
    for loud, number in layers.items():
        for key in keys:
            sound, rate = notes[key, number]
            # Low strings are heard by their partials, and stay as they were tuned.
            sharp = stretch(sound, rate, key) if key >= 60 else 0
            to_rate = rates[key >= 60]
            sound = cut(sound, rate, key, to_rate, seconds_scale)
            low = 21 if key == keys[0] else key - (step - 1) // 2
            high = 108 if key == keys[-1] else key + step // 2
            loudest = max(curve(k) for k in range(low, high + 1))
            sound *= 10 ** ((loudest - curve(60) - 24 - level(sound, to_rate)) / 20)
            if np.abs(sound).max() >= 1:
                raise SystemExit(f"{key}: too loud")
            for k in range(low, high + 1):
                ends = (0 if k == 21 else k, 127 if k == 108 else k)
                zones.append((*ends, soft, loud, loudest - curve(k), len(samples)))
            data = encode(sound, to_rate, compression)
            samples.append((data, to_rate, key, min(0, MOST_STRETCH - sharp)))
        soft = loud + 1
    return soundfont(name, zones, samples)


def main() -> None:
    folder = pathlib.Path(sys.argv[1])
    name = "Salamander Grand"
    layers = {52: 4, 84: 9, 127: 14}
    large = build(folder, name, layers, 3, 1.0, (24000, 32000), 0.3)
    small = build(folder, name, {127: 9}, 6, 0.6, (24000, 24000), 0.5)
    (OUT / "piano.sf3").write_bytes(large)
    (OUT / "piano_small.sf3").write_bytes(small)
    print(len(large), len(small))


if __name__ == "__main__":
    main()
