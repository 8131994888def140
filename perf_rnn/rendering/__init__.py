"""Rendering: MIDI files, WAV, piano rolls, notebooks, and pages of pieces."""

from perf_rnn.notes.midi_writer import to_midi
from perf_rnn.rendering.audio import to_wav
from perf_rnn.rendering.files import FORMATS, Renderer, parse_formats
from perf_rnn.rendering.page import write_page
from perf_rnn.rendering.piano_roll import to_png
from perf_rnn.rendering.piece import Piece, find_midi_files, read_piece, write_piece

__all__ = [
    "FORMATS",
    "Piece",
    "Renderer",
    "find_midi_files",
    "parse_formats",
    "read_piece",
    "to_midi",
    "to_png",
    "to_wav",
    "write_page",
    "write_piece",
]
