"""Whole performances as events, from MIDI files or a TFRecord of NoteSequences."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence

from absl import logging

from bundles.errors import PerfRnnError
from perf_rnn.configs import PerformanceRnnConfig
from perf_rnn.data.collections import PieceSet
from perf_rnn.events.codec import STEPS_PER_SECOND, EventIndices
from perf_rnn.notes.transforms import quantize


@dataclasses.dataclass(frozen=True, eq=False)
class WholePiece:
    """One performance from its beginning to its end.

    Attributes:
      name: its name in the `PieceSet`.
      events: int32 [length, *event_shape], at least two.
    """

    name: str
    events: EventIndices


@dataclasses.dataclass(frozen=True, eq=False)
class WholePieces:
    """The performances of a data set. An event takes 4 bytes here, or 24 in note encoding.

    Attributes:
      path: where they are.
      kind: what is there: 'MIDI' or 'NoteSequences'.
      pieces: one or more.
      left_out: {reason: how many pieces were left out for it}.
    """

    path: str
    kind: str
    pieces: list[WholePiece]
    left_out: Mapping[str, int]


def read_whole_pieces(
    path: str | Sequence[str], config: PerformanceRnnConfig, names: Collection[str] | None = None
) -> WholePieces:
    """Reads performances whole, with the sustain pedal applied and without drums.

    In note encoding, notes of more than 10 s are cut to it, and a piece with more than 10 s between
    two onsets is left out.

    Args:
      path, names: see `PieceSet`.
      config: whose events are made.

    Raises:
      OSError: `path` cannot be read.
      PerfRnnError: it holds nothing of the kind, or no piece of two or more events.
    """
    piece_set = PieceSet(path, names)
    pieces, not_encodable, too_short = [], 0, 0
    for name, notes in piece_set:
        try:
            quantized = quantize(notes, STEPS_PER_SECOND)
            events = config.codec.encode(config.codec.cut_long_notes(quantized))
        except PerfRnnError as error:
            logging.warning("Skipped %s of %s: %s", name, piece_set.path, error)
            not_encodable += 1
            continue
        if len(events) > 1:
            pieces.append(WholePiece(name, events))
        else:
            too_short += 1
    if not pieces:
        raise PerfRnnError(
            f"{piece_set.path}: no piece in it has two events to predict one from the other"
        )
    left_out = {
        "damaged": piece_set.counts.damaged,
        "without_notes": piece_set.counts.without_notes,
        "not_encodable": not_encodable,
        "too_short": too_short,
    }
    return WholePieces(piece_set.path, piece_set.kind, pieces, left_out)
