"""MIDI files as NoteSequence protos."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from bundles.errors import PerfRnnError

if TYPE_CHECKING:
    from note_seq.protobuf import music_pb2

# What a MIDI file's name ends in, in lower case.
MIDI_SUFFIXES = (".mid", ".midi", ".mid.gz", ".midi.gz")

MAX_MIDI_BYTES = 10**8

# pretty_midi takes 25 bytes of memory for every tick of a file, and note_seq lets it go to 10^10
# ticks: one corrupt byte could end a program. This takes 0.8 GB: 8 hours of 480 ticks to the beat.
MAX_MIDI_TICKS = 3 * 10**7


def read_note_sequence(path: str) -> music_pb2.NoteSequence:
    """Reads a MIDI file, perhaps compressed with gzip.

    Raises:
      ValueError: it is no MIDI file, or a damaged one.
      OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        return parse_note_sequence(unpack(file.read(), path), path)


def unpack(data: bytes, name: str) -> bytes:
    """Unpacks a file's content if it is compressed with gzip; `name` is what errors call it.

    No more is unpacked than any piece of music needs: a bomb must not fill the memory.

    Raises:
      ValueError: it is damaged, or unpacks to more than `MAX_MIDI_BYTES`.
    """
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        unpacked = zlib.decompressobj(zlib.MAX_WBITS | 16)
        content = unpacked.decompress(data, MAX_MIDI_BYTES)
    except zlib.error as error:
        raise PerfRnnError(f"{name}: is no complete gzip file ({error})") from error
    if not unpacked.eof:
        raise PerfRnnError(
            f"{name}: is no complete gzip file, or holds more than {MAX_MIDI_BYTES} bytes"
        )
    return content


def parse_note_sequence(data: bytes, name: str) -> music_pb2.NoteSequence:
    """Reads the content of a MIDI file; `name` is what errors call it.

    Raises:
      ValueError: it is no MIDI file, or a damaged one.
    """
    if not data.startswith(b"MThd"):
        what = "does not begin as one" if data else "is empty"
        raise PerfRnnError(f"{name}: is no MIDI file: it {what}")
    from note_seq import midi_io

    try:
        with tick_limit():
            return midi_io.midi_to_note_sequence(data)
    except (midi_io.MIDIConversionError, ValueError) as error:
        raise PerfRnnError(f"{name}: is no complete MIDI file ({error})") from error


@contextlib.contextmanager
def tick_limit() -> Iterator[None]:
    """While this lasts, note_seq takes files of `MAX_MIDI_TICKS` at most."""
    from pretty_midi import pretty_midi

    limit, pretty_midi.MAX_TICK = pretty_midi.MAX_TICK, MAX_MIDI_TICKS
    try:
        yield
    finally:
        pretty_midi.MAX_TICK = limit
