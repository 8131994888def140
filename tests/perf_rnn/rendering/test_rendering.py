"""Rendered sound and pictures, measured."""

import base64
import io
import pathlib
import re
import shutil
import sys
import wave

import matplotlib.image
import numpy as np
import pretty_midi
import pytest
from note_seq import midi_io
from note_seq.protobuf import music_pb2

from bundles.errors import PerfRnnError
from perf_rnn import rendering
from perf_rnn.notes.arrays import from_note_sequence
from perf_rnn.notes.transforms import apply_sustain
from perf_rnn.rendering import audio, piano_roll

RATE = 48000
PEAK = 10 ** (-1 / 20)


def sequence(*notes, total_time=None, pedal=(), volume=()):
    """A NoteSequence of (start, end, pitch, velocity)."""
    made = music_pb2.NoteSequence()
    for start, end, pitch, velocity in notes:
        made.notes.add(start_time=start, end_time=end, pitch=pitch, velocity=velocity)
    for number, changes in ((64, pedal), (7, volume)):
        for time, value in changes:
            made.control_changes.add(time=time, control_number=number, control_value=value)
    made.total_time = max((n[1] for n in notes), default=0.0) if total_time is None else total_time
    return made


def samples_of(wav: bytes) -> np.ndarray:
    """The samples of a WAV, float[frames, 2], full scale 1."""
    with wave.open(io.BytesIO(wav)) as file:
        assert file.getparams()[:3] == (2, 2, RATE)
        data = file.readframes(file.getnframes())
    return np.frombuffer(data, "<i2").reshape(-1, 2) / 32768


def level(samples: np.ndarray, start=0.0, end=None) -> float:
    """RMS in dB of full scale."""
    part = samples[round(start * RATE) : None if end is None else round(end * RATE)]
    return float(10 * np.log10((part**2).mean() + 1e-12))


def levels(samples: np.ndarray, seconds=0.1) -> np.ndarray:
    """RMS in dB of full scale of one stretch after the other."""
    size = round(seconds * RATE)
    count = len(samples) // size
    return 10 * np.log10((samples[: count * size].reshape(count, -1) ** 2).mean(1) + 1e-12)


@pytest.fixture(scope="module")
def etude() -> music_pb2.NoteSequence:
    path = pathlib.Path(__file__).parent.parent.parent / "testdata/asap/Liszt"
    return midi_io.midi_file_to_note_sequence(str(next(path.rglob("*.mid"))))


@pytest.fixture(scope="module")
def etude_samples(etude):
    return samples_of(rendering.to_wav(etude))


def test_length_peak_and_loudness(etude, etude_samples):
    assert len(etude_samples) == round((etude.total_time + 2) * RATE)
    assert np.abs(etude_samples).max() == pytest.approx(PEAK, abs=1e-4)
    assert -23 < level(etude_samples) < -17
    # Both channels carry it, neither with an offset.
    assert abs(level(etude_samples[:, :1]) - level(etude_samples[:, 1:])) < 6
    assert np.abs(etude_samples.mean(0)).max() < 1e-3


def test_sound_where_there_are_notes_and_nowhere_else(etude, etude_samples):
    notes = apply_sustain(from_note_sequence(etude))
    heard = levels(etude_samples)
    # A tenth of a second that a note of some strength begins in or before, and does not end in.
    times = np.arange(len(heard)) * 0.1
    strong = notes.velocity >= 30
    start, end = notes.start_time[strong, None], notes.end_time[strong, None]
    sounding = ((start <= times) & (start > times - 0.5) & (end >= times + 0.1)).any(0)
    assert sounding.sum() > 300
    assert heard[sounding].min() > -50
    first = int(notes.start_time.min() / 0.1)
    assert first > 5
    assert heard[:first].max() < -100
    assert heard[-3:].max() < -80


def test_a_pitch_and_its_length():
    heard = samples_of(rendering.to_wav(sequence((0.5, 1.5, 69, 100))))
    assert len(heard) == 3.5 * RATE
    spectrum = np.abs(np.fft.rfft(heard[RATE // 2 : 3 * RATE // 2, 0]))
    assert np.argmax(spectrum) == pytest.approx(440, abs=2)
    assert level(heard, 0, 0.49) < -100
    assert level(heard, 0.5, 1.5) > -20
    assert level(heard, 2.5) < -60


def test_the_pedal_holds_notes():
    note = (0.0, 0.3, 48, 100)
    without = samples_of(rendering.to_wav(sequence(note, total_time=4)))
    held = samples_of(rendering.to_wav(sequence(note, total_time=4, pedal=[(0.1, 127), (3.5, 0)])))
    assert level(without, 2, 3) < -80
    assert level(held, 2, 3) > -40


def test_dynamics():
    heard = samples_of(rendering.to_wav(sequence((0, 1, 60, 30), (2, 3, 60, 60), (4, 5, 60, 120))))
    soft, medium, loud = (level(heard, time, time + 1) for time in (0, 2, 4))
    assert 8 < medium - soft < 20
    assert 8 < loud - medium < 20


def test_the_softest_note_sounds_and_stays_soft():
    heard = samples_of(rendering.to_wav(sequence((0, 1, 60, 1))))
    assert 0.005 < np.abs(heard).max() < 0.05


def test_no_notes_are_silence():
    heard = samples_of(rendering.to_wav(sequence(total_time=3)))
    assert heard.shape == (5 * RATE, 2)
    assert not heard.any()


def test_blocks_make_one_piece(etude, etude_samples, monkeypatch):
    monkeypatch.setattr(audio, "BLOCK_SECONDS", 7.0)
    in_blocks = samples_of(rendering.to_wav(etude))
    assert in_blocks.shape == etude_samples.shape
    whole, parts = levels(etude_samples), levels(in_blocks)
    loud = whole > -50
    assert loud.mean() > 0.8
    assert np.abs(whole - parts)[loud].max() < 4
    assert np.abs(whole - parts)[loud].mean() < 0.5


def test_a_block_has_the_controls_of_its_time():
    made = sequence(
        (0, 1, 60, 5), (5, 7, 62, 90), (9, 9000, 64, 80),
        volume=[(0, 90), (2, 50), (5.5, 70)], pedal=[(0, 127)],
    )  # fmt: skip
    block = audio._notes_between(from_note_sequence(made), 4.0, 8.0)
    assert block.pitch.tolist() == [62]
    assert (block.start_time.tolist(), block.end_time.tolist()) == ([1.0], [3.0])
    assert block.control_number.tolist() == [7, 7]
    assert block.control_value.tolist() == [50, 70]
    assert block.control_time.tolist() == [0.0, 1.5]
    assert audio._notes_between(from_note_sequence(made), 0, 4).velocity.tolist() == [12]
    assert audio._notes_between(from_note_sequence(made), 8.0, 12.0).end_time.tolist() == [241.0]


def test_a_loud_soundfont_is_played_softer_and_raised_again(monkeypatch):
    volumes = []

    def play(synthesizer, midi):
        file = pretty_midi.PrettyMIDI(io.BytesIO(midi))
        volume = next(c.value for c in file.instruments[0].control_changes if c.number == 7)
        volumes.append(volume)
        sound = np.array([[100000, -100]]) * (volume / 100) ** 2
        return np.clip(sound, -32768, 32767).astype(np.int16)

    monkeypatch.setattr(audio.Synthesizer, "_play", play)
    played = audio.Synthesizer().play(from_note_sequence(sequence((0, 1, 60, 90))))
    assert volumes[-2:] == [100, 50]
    assert played.tolist() == [[100000, -100]]


def test_too_long_for_a_wav():
    with pytest.raises(ValueError, match=r"^7\.0 hours are too long for a WAV file, .* 6\.2$"):
        rendering.to_wav(sequence((0, 1, 60, 80), total_time=7 * 3600))


def test_soundfonts_that_are_none(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(FileNotFoundError):
        audio.Synthesizer(tmp_path / "missing.sf2")
    text = tmp_path / "text.sf2"
    text.write_text("no soundfont")
    with pytest.raises(ValueError, match=r"text\.sf2: not a soundfont"):
        audio.Synthesizer(text)
    cut = tmp_path / "cut.sf2"
    cut.write_bytes(pathlib.Path(audio.default_soundfont()).read_bytes()[:100000])
    with pytest.raises(ValueError, match=r"cut\.sf2: cannot be played"):
        audio.Synthesizer(cut)


def test_no_synthesiser(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setitem(sys.modules, "midirenderer", None)
    with pytest.raises(ValueError, match="install midirenderer with pip, or FluidSynth"):
        audio.Synthesizer()
    shown = rendering.Piece(sequence((0, 1, 60, 80)))._repr_html_()
    assert "No sound: no synthesiser found" in shown
    assert "data:image/png" in shown


@pytest.mark.skipif(not shutil.which("fluidsynth"), reason="FluidSynth is not installed")
def test_fluidsynth_plays_named_soundfonts(etude, etude_samples, tmp_path):
    heard = samples_of(rendering.to_wav(etude, audio.default_soundfont()))
    assert heard.shape == etude_samples.shape
    assert not np.array_equal(heard, etude_samples)
    ours, theirs = levels(etude_samples), levels(heard)
    loud = ours > -50
    assert np.corrcoef(ours[loud], theirs[loud])[0, 1] > 0.95
    assert np.abs(ours - theirs)[loud].mean() < 2
    cut = tmp_path / "cut.sf2"
    cut.write_bytes(pathlib.Path(audio.default_soundfont()).read_bytes()[:100000])
    with pytest.raises(ValueError, match=r"cut\.sf2: "):
        audio.Synthesizer(cut)


def pixels_of(png: bytes) -> np.ndarray:
    """The pixels of a PNG, float[height, width, 3]."""
    return matplotlib.image.imread(io.BytesIO(png))[..., :3]


def is_colored(pixels: np.ndarray) -> np.ndarray:
    return np.ptp(pixels, axis=-1) > 0.25


def test_a_note_is_where_it_should_be():
    # 30 pitches of 16 pixels, 46 to 75, and 4 s on 1390 pixels, from (85, 75) on.
    pixels = pixels_of(rendering.to_png(sequence((1, 2, 60, 100), total_time=4)))
    assert pixels.shape == (75 + 480 + 65, 1600, 3)
    left, right, middle = round(85 + 1390 / 4), round(85 + 1390 / 2), round(75 + 15.5 * 16)
    note = pixels[middle - 5 : middle + 6, left + 3 : right - 3]
    color = piano_roll._GENERATED_COLORS((100 - 1) / 126)[:3]
    assert np.abs(note - color).max() < 0.02
    colored = is_colored(pixels[:, :1480])  # The rest is the colour bar.
    inside = colored[middle - 8 : middle + 8, left - 1 : right + 2].sum()
    assert inside == pytest.approx(13.4 * 347, rel=0.08)
    assert colored.sum() == inside


def test_colour_is_velocity_and_the_primer_is_grey():
    notes = [(0, 1, 60, 80), (1, 2, 60, 20), (2, 3, 60, 80), (3, 4, 60, 120)]
    pixels = pixels_of(rendering.to_png(sequence(*notes), primer_seconds=1))
    primer, soft, medium, loud = (
        pixels[round(75 + 15.5 * 16), round(85 + 1390 * time / 4)] for time in (0.5, 1.5, 2.5, 3.5)
    )
    assert np.ptp(primer) < 0.02
    assert primer.mean() < 0.7
    brightness = [color @ [0.3, 0.6, 0.1] for color in (soft, medium, loud)]
    assert brightness[0] > brightness[1] + 0.2
    assert brightness[1] > brightness[2] + 0.15
    # The primer's ground is bluish, that after it white.
    ground = round(75 + 16.5 * 16)  # B3, a white key
    assert pixels[ground, 200, 2] - pixels[ground, 200, 0] > 0.05
    assert pixels[ground, 800].tolist() == [1, 1, 1]


def test_the_pedal_is_a_strip_below():
    pressed = sequence((0, 4, 60, 80), pedal=[(1, 127), (2, 0)])
    pixels = pixels_of(rendering.to_png(pressed))
    strip = np.abs(pixels - np.array([0x8F, 0xB0, 0xBD]) / 255).max(-1) < 0.02
    rows, columns = np.nonzero(strip)
    assert (columns.min(), columns.max()) == pytest.approx((85 + 1390 / 4, 85 + 1390 / 2), abs=2)
    assert rows.min() > 75 + 480
    assert strip.sum() == pytest.approx(8 * 347, rel=0.15)


@pytest.mark.parametrize(("seconds", "rows"), [(5, 1), (30, 1), (46, 2), (300, 10), (3 * 3600, 12)])
def test_long_pieces_take_rows_up_to_twelve(seconds, rows):
    notes = [(seconds * i / 2000, seconds * (i + 1) / 2000, 40 + i % 50, 64) for i in range(2000)]
    pixels = pixels_of(rendering.to_png(sequence(*notes)))
    height = 54 * 9 if rows == 1 else rows * 54 * 4
    assert pixels.shape[:2] == (75 + height + 35 * (rows - 1) + 65, 1600)
    # Every row shows notes from its beginning to its end, the last as far as the piece goes.
    for row in range(rows - 1):
        top = 75 + row * (54 * 4 + 35)
        columns = np.flatnonzero(is_colored(pixels[top : top + 216, 85:1475]).any(0))
        assert columns[0] < 10
        assert columns[-1] > 1380


def test_no_notes_say_so():
    pixels = pixels_of(rendering.to_png(sequence(total_time=30)))
    words = pixels[280:350, 700:860]
    assert (words.max(-1) < 0.4).sum() > 50
    assert not is_colored(pixels[:, :1480]).any()


def test_titles_are_text(recwarn):
    rendering.to_png(sequence((0, 1, 60, 80)), title="50$ for a_b^2 \\frac $\n 夜想曲.mid")
    assert not [str(warning.message) for warning in recwarn]


def test_a_piece_in_a_notebook():
    made = sequence((0, 1, 60, 80))
    piece = rendering.Piece(made, "<i>nocturne</i>", {"seed": 7, "<b>": '"&'}, primer_seconds=0.5)
    shown = piece._repr_html_()
    assert "<i>" not in shown
    assert "&lt;i&gt;nocturne&lt;/i&gt;</b> · seed 7 · &lt;b&gt; &quot;&amp;<" in shown
    data = dict(re.findall(r'"data:([\w/]+);base64,([^"]+)"', shown))
    assert base64.b64decode(data["audio/wav"]) == rendering.to_wav(made)
    assert base64.b64decode(data["image/png"]) == rendering.to_png(made, 0.5)
    midi = midi_io.midi_to_note_sequence(base64.b64decode(data["audio/midi"]))
    assert [(n.start_time, n.end_time, n.pitch, n.velocity) for n in midi.notes] == [(0, 1, 60, 80)]
    assert not re.search(r"https?://", shown)


@pytest.mark.parametrize("render", [rendering.to_midi, rendering.to_wav, rendering.to_png])
def test_what_is_no_piece_is_refused(render):
    with pytest.raises(PerfRnnError, match=r"a list is no piece of music; give a NoteSequence or"):
        render([music_pb2.NoteSequence()])
