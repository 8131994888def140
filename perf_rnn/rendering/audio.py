"""Sound: a sequence as a WAV file, 48 kHz, 16 bit, stereo.

A soundfont synthesiser plays it: `midirenderer`, which pip alone installs, with the soundfont that
pretty_midi ships; or FluidSynth, where its program is installed and the user names a soundfont. No
sound device is needed.

Long pieces are played in blocks, which overlap by what still sounds at the end of each and are
added up, so that memory does not grow with the piece. All blocks then get one gain.
"""

import dataclasses
import io
import os
import shutil
import subprocess
import tempfile
import wave
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from bundles.errors import PerfRnnError
from bundles.regular_files import open_regular
from perf_rnn.notes.arrays import NoteArrays, as_arrays
from perf_rnn.notes.midi_writer import instruments, to_midi
from perf_rnn.notes.transforms import apply_sustain

SAMPLE_RATE = 48000  # midirenderer's only one.
CHANNELS = 2
MAX_SOUNDFONT_BYTES = 1 << 31
# The limit of a WAV file's 32-bit sizes, 6.2 hours.
MAX_FRAMES = (2**32 - 2**10) // (2 * CHANNELS)

# The loudest sample, -1 dBFS; but very soft music is not raised by more than 30 dB.
PEAK = 10 ** (-1 / 20)
MAX_GAIN = 10 ** (30 / 20)
# midirenderer leaves out softer notes.
LOWEST_VELOCITY = 12
# A struck string falls silent within a second of its release, the room soon after.
TAIL_SECONDS = 2.0
BLOCK_SECONDS = 120.0
# Longer notes are cut, since a block is played to the end of its last note. A struck string is
# silent by then.
LONGEST_NOTE_SECONDS = 240.0

# Of 32768; FluidSynth's silence is not quite zero.
_AUDIBLE = 10
_PEDAL = 64
_VOLUME, _DEFAULT_VOLUME = 7, 100


class Synthesizer:
    """Plays MIDI with midirenderer, or FluidSynth if a soundfont is named and it is installed.

    FluidSynth reads compressed soundfonts (.sf3) too, and stands in where there is no midirenderer.
    """

    def __init__(self, soundfont: str | os.PathLike[str] | None = None):
        """Loads the soundfont and plays a note to test it.

        Args:
          soundfont: path of a soundfont (.sf2); without one, that of pretty_midi plays.

        Raises:
          OSError: the soundfont cannot be read.
          ValueError: it is not a soundfont, cannot be played or has no piano; or there is no
            synthesiser.
        """
        self._soundfont = os.path.expanduser(soundfont or default_soundfont())
        with open_regular(self._soundfont) as file:
            self._data = file.read(12)
            if self._data[:4] != b"RIFF" or self._data[8:] != b"sfbk":
                raise PerfRnnError(f"{self._soundfont}: not a soundfont (.sf2)")
            self._program = shutil.which("fluidsynth") if soundfont else None
            try:
                import midirenderer

                self._render = midirenderer.render_wave_from
            except ImportError:
                self._program = shutil.which("fluidsynth")
                if not self._program:
                    raise PerfRnnError(
                        "no synthesiser found: install midirenderer with pip, or FluidSynth"
                    ) from None
            if not self._program:
                self._data += file.read(MAX_SOUNDFONT_BYTES)
                if file.read(1):
                    raise PerfRnnError(
                        f"{self._soundfont}: more than {MAX_SOUNDFONT_BYTES} bytes; FluidSynth "
                        "plays larger soundfonts"
                    )
        zero = np.zeros(1, np.int32)
        middle_c = NoteArrays(
            start_time=np.zeros(1),
            end_time=np.full(1, 0.1),
            pitch=zero + 60,
            velocity=zero + 100,
            instrument=zero,
            program=zero,
            is_drum=zero.astype(np.bool_),
            total_time=0.1,
        )
        if np.abs(self.play(middle_c)).max() < _AUDIBLE:
            raise PerfRnnError(f"{self._soundfont}: has no piano, or cannot be read")

    def play(self, notes: NoteArrays) -> np.ndarray:
        """Returns the sound of notes and of its decay after them, int32[frames, 2]."""
        # Soundfonts differ in loudness. Where one is cut off at 16 bits, it is played again with
        # half of every MIDI volume, which is a quarter of the amplitude (General MIDI's 40 log).
        for scale in (1, 4, 16, 64):
            samples = self._play(_to_midi(notes, _DEFAULT_VOLUME / scale**0.5))
            if np.abs(samples, dtype=np.int32).max(initial=0) < 32767:
                break
        return samples.astype(np.int32) * scale

    def _play(self, midi: bytes) -> np.ndarray:
        if self._program:
            wav = self._run_program(self._program, midi)
        else:
            try:
                wav = self._render(self._data, midi)
            except RuntimeError as error:
                raise PerfRnnError(f"{self._soundfont}: cannot be played ({error})") from error
        with wave.open(io.BytesIO(wav)) as file:
            data = file.readframes(file.getnframes())
        return np.frombuffer(data, "<i2").reshape(-1, CHANNELS)

    def _run_program(self, program: str, midi: bytes) -> bytes:
        with tempfile.TemporaryDirectory() as directory:
            source, target = (os.path.join(directory, name) for name in ("a.mid", "a.wav"))
            with open(source, "wb") as file:
                file.write(midi)
            # Without the last option it plays its default in place of a soundfont it cannot read.
            options = ["-niq", "-g", "0.6", "-r", str(SAMPLE_RATE), "-O", "s16", "-T", "wav"]
            options += ["-F", target, "-o", "synth.default-soundfont="]
            command = [program, *options, os.path.abspath(self._soundfont), source]
            done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603  # No shell.
            if done.returncode or not os.path.exists(target):
                said = done.stderr.decode(errors="replace")
                raise PerfRnnError(f"{self._soundfont}: FluidSynth cannot play it ({said})")
            with open(target, "rb") as file:
                return file.read()


def to_wav(music: Any, soundfont: str | os.PathLike[str] | None = None) -> bytes:
    """Returns a NoteSequence as the bytes of a WAV file, see `write_wav`.

    Args:
      music, soundfont: see `write_wav` and `Synthesizer`.

    Raises:
      OSError, ValueError: see there.
    """
    file = io.BytesIO()
    write_wav(file, music, Synthesizer(soundfont))
    return file.getvalue()


def write_wav(file: BinaryIO, music: Any, synthesizer: Synthesizer) -> None:
    """Plays a NoteSequence into an open binary file as WAV.

    It lasts as long as the sequence, or its last note, and two seconds more, in which the sound
    dies away. The loudest sample is at -1 dBFS. Notes are cut after four minutes. Without notes it
    is silence.

    Raises:
      ValueError: the sequence is quantised relative to its tempo, or too long for a WAV file.
    """
    notes = apply_sustain(as_arrays(music).unquantized())
    seconds = max(notes.total_time, notes.end_time.max(initial=0.0)) + TAIL_SECONDS
    num_frames = round(seconds * SAMPLE_RATE)
    if num_frames > MAX_FRAMES:
        raise PerfRnnError(
            f"{seconds / 3600:.1f} hours are too long for a WAV file, which holds "
            f"{MAX_FRAMES / SAMPLE_RATE / 3600:.1f}"
        )
    with (
        tempfile.SpooledTemporaryFile(max_size=2**26) as spool,
        wave.open(file, "wb") as wav,
    ):
        wav.setnchannels(CHANNELS)
        wav.setsampwidth(2)
        wav.setframerate(SAMPLE_RATE)
        wav.setnframes(num_frames)
        loudest = 0
        for samples in _play(notes, num_frames, synthesizer):
            loudest = max(loudest, int(np.abs(samples).max(initial=0)))
            spool.write(samples.data)
        gain = min(MAX_GAIN, PEAK * 32767 / max(loudest, 1))
        spool.seek(0)
        while data := spool.read(2**22):
            wav.writeframesraw(np.rint(np.frombuffer(data, np.int32) * gain).astype("<i2").data)


def write_sound(file: BinaryIO, music: Any, synthesizer: Synthesizer, sound_format: str) -> None:
    """Does what `write_wav` does, in the format wav, flac or ogg (Vorbis)."""
    if sound_format == "wav":
        write_wav(file, music, synthesizer)
        return
    import soundfile

    with tempfile.TemporaryFile() as wav:
        write_wav(wav, music, synthesizer)
        wav.seek(0)
        target = soundfile.SoundFile(file, "w", SAMPLE_RATE, CHANNELS, format=sound_format.upper())
        with soundfile.SoundFile(wav) as source, target:
            for block in source.blocks(2**14, dtype="int16"):
                target.write(block)


def _play(notes: NoteArrays, num_frames: int, synthesizer: Synthesizer) -> Iterator[np.ndarray]:
    """Yields the sound, int32[frames, 2], block by block, `num_frames` in all."""
    overlap = np.zeros((0, CHANNELS), np.int32)
    block_frames = round(BLOCK_SECONDS * SAMPLE_RATE)
    for first in range(0, num_frames, block_frames):
        block = _notes_between(notes, first / SAMPLE_RATE, (first + block_frames) / SAMPLE_RATE)
        samples = synthesizer.play(block) if block.num_notes else overlap[:0]
        length = min(block_frames, num_frames - first)
        total = np.zeros((max(length, len(samples), len(overlap)), CHANNELS), np.int32)
        total[: len(samples)] = samples
        total[: len(overlap)] += overlap
        yield total[:length]
        overlap = total[length:]


def _notes_between(notes: NoteArrays, start: float, end: float) -> NoteArrays:
    """Returns the notes struck in [start, end), from `start` on, under the controls of that time.

    Pedals are left out: the notes already last as long as the pedal holds them.
    """
    block = notes.take_notes((notes.start_time >= start) & (notes.start_time < end))
    ends = np.minimum(block.end_time, block.start_time + LONGEST_NOTE_SECONDS)
    total = ends.max(initial=start) - start
    columns: dict[str, Any] = {
        "start_time": block.start_time - start,
        "end_time": ends - start,
        "velocity": np.maximum(block.velocity, LOWEST_VELOCITY),
        # Times are in seconds; one tempo keeps them exact to the MIDI tick.
        "tempo_time": np.zeros(0),
        "tempo_qpm": np.zeros(0),
        "total_time": total,
    }
    for table, value in (("control", "control_number"), ("bend", None)):
        names = [
            field.name
            for field in dataclasses.fields(notes)
            if field.name.startswith(f"{table}_") and field.name != "control_step"
        ]
        time = getattr(notes, f"{table}_time")
        keys = getattr(notes, f"{table}_instrument") * 128
        if value:
            keys = keys + getattr(notes, value)
        rows = np.flatnonzero(time < start + total)
        rows = rows[np.argsort(time[rows], kind="stable")]
        # Of the events before the block, only the last of a kind still has an effect.
        before = rows[time[rows] <= start]
        last = {int(keys[row]): int(row) for row in before}
        rows = np.array([*last.values(), *rows[len(before) :]], np.int64)
        if value:
            rows = rows[notes.control_number[rows] != _PEDAL]
        columns |= {name: getattr(notes, name)[rows] for name in names}
        columns[f"{table}_time"] = np.maximum(time[rows] - start, 0.0)
    return block.replace(control_step=None, **columns)


def _to_midi(notes: NoteArrays, volume: float) -> bytes:
    """Returns the MIDI file of notes and a tail, all volumes changed by volume / 100."""
    columns = ("time", "number", "value", "instrument", "program", "is_drum")
    controls = {name: getattr(notes, f"control_{name}") for name in columns}
    is_volume = controls["number"] == _VOLUME
    scaled = np.rint(controls["value"] * volume / _DEFAULT_VOLUME)
    controls["value"] = np.where(is_volume, scaled, controls["value"])
    rows = [*zip(*(column.tolist() for column in controls.values()), strict=True)]
    set_at_start = {row[3:] for row in rows if row[:2] == (0.0, _VOLUME)}
    for instrument in instruments(notes):
        if instrument not in set_at_start:
            rows.append((0.0, _VOLUME, round(volume), *instrument))
        # Without an event there the synthesiser would stop at the end of the last note.
        rows.append((notes.total_time + TAIL_SECONDS, _PEDAL, 0, *instrument))
    added = dict(zip((f"control_{name}" for name in columns), zip(*rows, strict=True), strict=True))
    return to_midi(notes.replace(**added))


def default_soundfont() -> str:
    """Returns the path of the soundfont that pretty_midi ships, TimGM6mb."""
    import pretty_midi

    return os.path.join(os.path.dirname(pretty_midi.__file__), "TimGM6mb.sf2")
