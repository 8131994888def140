"""MIDI files as NoteSequence protos."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from note_seq.protobuf import music_pb2

MIDI_SUFFIXES = (".mid", ".midi")

# pretty_midi takes 25 bytes of memory for every tick of a file, and note_seq lets it go to 10^10
# ticks: one corrupt byte could end a program. This is a day of 480 ticks to the beat.
MAX_MIDI_TICKS = 10**8


def read_note_sequence(path: str) -> music_pb2.NoteSequence:
    """Reads a MIDI file.

    Raises:
      ValueError: it is no MIDI file, or a damaged one.
      OSError: it cannot be read.
    """
    from note_seq import midi_io

    with open(path, "rb") as file:
        data = file.read()
    try:
        with _tick_limit():
            return midi_io.midi_to_note_sequence(data)
    except (midi_io.MIDIConversionError, ValueError) as error:
        raise ValueError(f"{path}: is no complete MIDI file ({error})") from error


@contextlib.contextmanager
def _tick_limit() -> Iterator[None]:
    from pretty_midi import pretty_midi

    limit, pretty_midi.MAX_TICK = pretty_midi.MAX_TICK, MAX_MIDI_TICKS
    try:
        yield
    finally:
        pretty_midi.MAX_TICK = limit
