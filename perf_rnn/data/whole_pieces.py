"""Whole performances as events, from MIDI, NoteSequences or the segments of SequenceExamples."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from absl import logging

from bundles import light_imports
from bundles.errors import PerfRnnError
from perf_rnn import progress
from perf_rnn.configs import PerformanceRnnConfig
from perf_rnn.data.collections import PieceSet
from perf_rnn.data.examples import EventRecords
from perf_rnn.data.tfrecord import RecordError, RecordFile
from perf_rnn.events.note_events import (
    MAX_DURATION_STEPS,
    MAX_NOTE_SHIFT_STEPS,
    SHIFT_HEADS,
    NoteCodec,
)
from perf_rnn.events.one_hot import STEPS_PER_SECOND, EventCodec, EventIndices
from perf_rnn.notes.arrays import NoteArrays
from perf_rnn.notes.midi_files import MIDI_SUFFIXES
from perf_rnn.notes.transforms import quantize

# The length of the segments that performance_rnn_create_dataset cuts performances into.
SEGMENT_STEPS = 30 * STEPS_PER_SECOND


@dataclasses.dataclass(frozen=True, eq=False)
class WholePiece:
    """One performance from its beginning to its end.

    Attributes:
      name: as `PieceSet` has it, or the source id of its segments.
      events: int32 [length, *event_shape], at least two.
    """

    name: str
    events: EventIndices


@dataclasses.dataclass(frozen=True, eq=False)
class WholePieces:
    """The performances of a data set. An event takes 4 bytes here, or 24 in note encoding.

    Attributes:
      path: where they are.
      kind: what is there: 'MIDI', 'NoteSequences' or 'SequenceExamples'.
      pieces: one or more.
      left_out: why pieces are left out -> how many.
    """

    path: str
    kind: str
    pieces: list[WholePiece]
    left_out: Mapping[str, int]


def read_whole_pieces(
    path: str, config: PerformanceRnnConfig, names: Collection[str] | None = None
) -> WholePieces:
    """Reads performances whole.

    MIDI files and NoteSequences are encoded from beginning to end, with the sustain pedal applied
    and drums left out. In note encoding, notes of more than 10 s are cut to it, and a piece with
    more than 10 s between two onsets is left out.

    The segments of SequenceExamples are put together in order, where they name the performance
    they were cut from: see `join_segments`. One that names none, as Magenta's own, is a piece.

    Args:
      path: a directory of MIDI files, one of them, a TFRecord of NoteSequences, or a TFRecord of
        SequenceExamples in either format or a glob of such.
      config: whose events are made; SequenceExamples must hold them.
      names: of MIDI files or NoteSequences, see `PieceSet`.

    Raises:
      OSError: `path` cannot be read.
      ValueError: it holds nothing of the kind, or no piece of two or more events, or names are
        given for SequenceExamples.
    """
    if not os.path.exists(path) or _holds_examples(path):
        kind, left_out = "SequenceExamples", {"too_short": 0}
        records = EventRecords(path, config)
        if names is not None:
            raise PerfRnnError(f"{path}: SequenceExamples are not divided by file names")
        pieces = _from_records(records, config)
    else:
        is_midi = os.path.isdir(path) or path.lower().endswith(MIDI_SUFFIXES)
        kind = "MIDI" if is_midi else "NoteSequences"
        pieces, left_out = _from_notes(PieceSet(path, names), config)
    usable = [piece for piece in pieces if len(piece.events) > 1]
    left_out["too_short"] = len(pieces) - len(usable)
    if not usable:
        raise PerfRnnError(f"{path}: no piece in it has two events to predict one from the other")
    return WholePieces(path, kind, usable, left_out)


def _holds_examples(path: str) -> bool:
    """Whether a file begins with a SequenceExample. A NoteSequence has no feature lists."""
    from google.protobuf.message import DecodeError

    if os.path.isdir(path) or path.lower().endswith(MIDI_SUFFIXES):
        return False
    records = RecordFile(path)
    if not len(records):
        raise RecordError(f"{path}: holds neither NoteSequences nor SequenceExamples")
    example_pb2 = light_imports.import_module("tensorflow.core.example.example_pb2")
    try:
        return bool(example_pb2.SequenceExample.FromString(records[0]).feature_lists.feature_list)
    except DecodeError:
        return False


def _from_notes(
    piece_set: PieceSet, config: PerformanceRnnConfig
) -> tuple[list[WholePiece], dict[str, int]]:
    """Returns the pieces, and how many are left out by reason."""
    pieces, not_encodable = [], 0
    for piece in piece_set:
        try:
            pieces.append(WholePiece(piece.name, _encode(piece.notes, config)))
        except ValueError as error:
            logging.warning("Skipped %s of %s: %s", piece.name, piece_set.path, error)
            not_encodable += 1
    counts = piece_set.counts
    return pieces, {
        "damaged": counts.damaged,
        "without_notes": counts.without_notes,
        "not_encodable": not_encodable,
    }


def _encode(notes: NoteArrays, config: PerformanceRnnConfig) -> EventIndices:
    notes = quantize(notes, STEPS_PER_SECOND)
    if isinstance(config.codec, NoteCodec):
        start, end = np.asarray(notes.start_step), np.asarray(notes.end_step)
        notes = notes.replace(end_step=np.minimum(end, start + MAX_DURATION_STEPS))
    return config.codec.encode(notes)


def _from_records(records: EventRecords, config: PerformanceRnnConfig) -> list[WholePiece]:
    # Of each performance its segments by their index, performances in order of appearance.
    performances: dict[str, dict[int, np.ndarray]] = {}
    status: dict[str, Any] = {}
    numbers = progress.show(range(len(records)), "reading", status, len(records), unit="examples")
    for number in numbers:
        segment = records[number]
        name = segment.source_id or f"record {number}"
        segments = performances.setdefault(name, {})
        known = segments.setdefault(segment.segment_index, segment.events)
        # Under optional conditioning each segment is there twice, with its controls and without.
        if not np.array_equal(known, segment.events):
            raise RecordError(
                f"segment {segment.segment_index} of {name} is there twice, and differs; give the "
                "records of one data set"
            )
        status["pieces"] = len(performances)
    return [
        WholePiece(name, join_segments([segments[index] for index in sorted(segments)], config))
        for name, segments in performances.items()
    ]


def join_segments(segments: Sequence[np.ndarray], config: PerformanceRnnConfig) -> EventIndices:
    """Puts segments of 30 s together to the performance that they were cut from.

    What a segment lacks of its 30 s and what the next one begins with become shifts as if there
    had been no cut, and a velocity that holds already is left out. The cuts still show in notes
    held over them, which end there. A segment that was dropped for its few events is missing with
    its time. In note encoding, a shift of more than 10 s becomes one of 10 s.

    >>> from perf_rnn.configs import get_config
    >>> config = get_config("performance")
    >>> joined = join_segments([[255 + 70, 60, 255 + 50, 188], [255 + 90, 64]], config)
    >>> joined[4:].tolist() == [255 + 100] * 29 + [255 + 70, 64]
    True

    Args:
      segments: their events, int32 [length, *event_shape] each, in order.
      config: of the events.

    Returns:
      int32 [length, *event_shape].
    """
    codec = config.codec
    parts = []
    clock = 0
    for number, segment in enumerate(segments):
        # A note of no length at a segment's very end makes it a step longer than the others.
        silence = max(0, number * SEGMENT_STEPS - clock)
        if isinstance(codec, NoteCodec):
            part = _delay_notes(segment, codec, silence)
        else:
            part = _delay(segment, codec, silence)
        parts.append(part)
        clock += int(codec.event_steps(part).sum())
    joined = np.concatenate(parts)
    if isinstance(codec, NoteCodec):
        return joined
    velocities = np.flatnonzero(joined >= codec.num_classes - codec.num_velocity_bins)
    holds_already = np.flatnonzero(np.diff(joined[velocities]) == 0) + 1
    return np.delete(joined, velocities[holds_already])


def _delay(events: Any, codec: EventCodec, steps: int) -> EventIndices:
    """The events, `steps` later."""
    shifts = codec.event_steps(events)
    first = int(np.argmin(np.append(shifts, 0) > 0))  # The first that is no shift.
    silence = codec.set_length([], steps + int(shifts[:first].sum()))
    return np.concatenate([silence, np.asarray(events[first:], np.int32)])


def _delay_notes(events: Any, codec: NoteCodec, steps: int) -> EventIndices:
    """The note events, `steps` later as far as a shift can say."""
    delayed = np.array(events, np.int32)
    shift = min(int(codec.event_steps(delayed[0])) + steps, MAX_NOTE_SHIFT_STEPS)
    delayed[0, :2] = divmod(shift, SHIFT_HEADS[1])
    return delayed
