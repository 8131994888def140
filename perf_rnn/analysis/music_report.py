"""Sets of pieces side by side: statistics, likeness to a reference set, and originality."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
from absl import logging

from bundles.errors import PerfRnnError
from perf_rnn.analysis import feature_overlap, frechet, music_statistics
from perf_rnn.analysis.originality import Originality, TrainingPassages
from perf_rnn.data.collections import PieceSet
from perf_rnn.notes.arrays import Floats, NoteArrays

# Figures that need training pieces, see `Originality`.
ORIGINALITY_UNITS = {"longest_passage": "notes", "copied_share": "share"}
# Parts that copy more than this percentage of the reference's parts do are listed as suspicious. It
# is not higher since the reference may hold a few training pieces under another name.
SUSPICIOUS_PERCENTILE = 95
# Sets whose parts differ more in length than by this factor are compared with a warning.
COMPARABLE_LENGTHS = 1.25


@dataclasses.dataclass(frozen=True)
class Part:
    """The figures of a piece, or of one of the parts that it was cut into.

    Attributes:
      piece: the piece's name.
      start, seconds: where the part starts in the piece, and how long it is.
      figures: {name: value} of `MusicStatistics` and, where there are training pieces, of
        ORIGINALITY_UNITS; NaN where the part has too few notes for one.
      originality: None without training pieces, and for a silent part.
    """

    piece: str
    start: float
    seconds: float
    figures: dict[str, float]
    originality: Originality | None


@dataclasses.dataclass(frozen=True)
class MeasuredSet:
    """The figures of a set of pieces.

    Attributes:
      path: where they are.
      counts: the fields of `ReadingCounts`.
      parts: of all pieces, in order.
      minutes: of each piece the figures of its minutes.
    """

    path: str
    counts: dict[str, int]
    parts: list[Part]
    minutes: list[list[dict[str, float]]]

    def values(self, figure: str) -> Floats:
        """Returns a figure of all parts that have it, float64[at most parts]."""
        values: Floats = np.array([part.figures[figure] for part in self.parts])
        finite: Floats = values[np.isfinite(values)]
        return finite


class TrainingSet:
    """The training pieces: their names, in order, and their passages."""

    def __init__(self, path: str, names: Collection[str] | None = None) -> None:
        """Reads the pieces of `path`.

        Args:
          path, names: see `PieceSet`.

        Raises:
          PerfRnnError, OSError: see `PieceSet`.
        """
        self.path = path
        self.names: list[str] = []
        pieces = PieceSet(path, names)

        def notes_of_pieces() -> Iterator[NoteArrays]:
            for name, notes in pieces:
                self.names.append(name)
                yield notes

        self.passages = TrainingPassages(notes_of_pieces())
        self.counts = dict(vars(pieces.counts))


def measure(
    path: str | Sequence[str],
    segment_seconds: float | None = None,
    training: TrainingSet | None = None,
    names: Collection[str] | None = None,
) -> MeasuredSet:
    """Measures the pieces of `path`.

    Args:
      path, names: see `PieceSet`.
      segment_seconds: length of the parts that pieces are cut into by `music_statistics.cut`; None
        leaves them whole.
      training: pieces that they may have been copied from.

    Raises:
      PerfRnnError, OSError: see `PieceSet`.
    """
    pieces = PieceSet(path, names)
    pieces_of_parts, parts, minutes = [], [], []
    for name, notes in pieces:
        cut = music_statistics.cut(notes, segment_seconds) if segment_seconds else [notes]
        parts += cut
        pieces_of_parts += [name] * len(cut)
        minutes.append([vars(minute) for minute in music_statistics.minutes(notes)])
    originality: list[Originality | None] = [None] * len(parts)
    if training:
        sounding = [place for place, part in enumerate(parts) if part.num_notes]
        found = training.passages.originality([parts[place] for place in sounding])
        for place, one in zip(sounding, found, strict=True):
            originality[place] = one
    return MeasuredSet(
        pieces.path,
        dict(vars(pieces.counts)),
        [
            Part(
                name,
                part.start_time_offset,
                part.total_time,
                _figures(part, one, training is not None),
                one,
            )
            for name, part, one in zip(pieces_of_parts, parts, originality, strict=True)
        ],
        minutes,
    )


def report(
    measured: MeasuredSet, reference: MeasuredSet | None, training: TrainingSet | None
) -> dict[str, Any]:
    """Returns all figures as one dictionary for JSON, with None in place of NaN.

    Returns:
      `sets`: of `input`, `reference` and `training` their path and counts. `figures`: by name the
      unit, a summary per set and, with a reference, the fields of `FeatureOverlap` or the reason
      why they cannot be computed, `not_compared`. `frechet`: with a reference, the fields of
      `FrechetComparison` or the reason likewise. `minutes`: per set the mean figures of each
      minute. `parts`: per set every part. `suspicious`: with training pieces and a reference, the
      places in `parts` of the input's that copy more than 95 % of the reference's do.
    """
    sets = {"input": measured} | ({"reference": reference} if reference else {})
    units = music_statistics.UNITS | (ORIGINALITY_UNITS if training else {})
    if reference:
        _warn_of_lengths(measured, reference)
    result: dict[str, Any] = {
        "sets": {
            key: {"path": s.path, **s.counts}
            for key, s in (sets | ({"training": training} if training else {})).items()
        },
        "figures": {
            name: {
                "unit": unit,
                **{key: _summary(s.values(name)) for key, s in sets.items()},
                **(_compare(measured, reference, name) if reference else {}),
            }
            for name, unit in units.items()
        },
        "minutes": {key: list(_minute_means(s)) for key, s in sets.items()},
        "parts": {key: [_part(part, training) for part in s.parts] for key, s in sets.items()},
    }
    if reference:
        result["frechet"] = _frechet(measured, reference)
    if training and reference:
        result["suspicious"] = _suspicious(measured, reference)
    return result


def _figures(
    part: NoteArrays, originality: Originality | None, is_sought: bool
) -> dict[str, float]:
    figures = dict(vars(music_statistics.music_statistics(part)))
    if is_sought:
        for name in ORIGINALITY_UNITS:
            figures[name] = getattr(originality, name, np.nan)
    return figures


def _compare(measured: MeasuredSet, reference: MeasuredSet, figure: str) -> dict[str, Any]:
    try:
        return vars(feature_overlap.compare(measured.values(figure), reference.values(figure)))
    except PerfRnnError as error:
        return {"not_compared": str(error)}


def _frechet(measured: MeasuredSet, reference: MeasuredSet) -> dict[str, Any]:
    own, others = (
        np.array([[part.figures[name] for name in music_statistics.UNITS] for part in s.parts])
        for s in (measured, reference)
    )
    try:
        return vars(frechet.compare(own, others, [part.piece for part in reference.parts]))
    except PerfRnnError as error:
        return {"not_compared": str(error)}


def _warn_of_lengths(measured: MeasuredSet, reference: MeasuredSet) -> None:
    lengths = [np.median([part.seconds for part in s.parts]) for s in (measured, reference)]
    if max(lengths) > COMPARABLE_LENGTHS * min(lengths):
        logging.warning(
            "Pieces of %.0f s are compared with pieces of %.0f s; ranges and repetitions grow with "
            "the length. --segment_seconds cuts both alike.",
            *lengths,
        )


def _summary(values: Floats) -> dict[str, Any]:
    """Returns a set's figures as one; the spread is their standard deviation."""
    if not len(values):
        return {"count": 0} | dict.fromkeys(("mean", "spread", "median", "min", "max"))
    return {
        "count": len(values),
        "mean": float(values.mean()),
        "spread": float(values.std()),
        "median": float(np.median(values)),
        "min": float(values.min()),
        "max": float(values.max()),
    }


def _minute_means(measured: MeasuredSet) -> Iterator[dict[str, Any]]:
    """Yields of each minute how many pieces have it, and each figure's mean over them."""
    for minute in range(max(map(len, measured.minutes))):
        there = [piece[minute] for piece in measured.minutes if len(piece) > minute]
        means: dict[str, Any] = {"minute": minute + 1, "pieces": len(there)}
        for name in music_statistics.UNITS:
            values = np.array([figures[name] for figures in there])
            means[name] = _summary(values[np.isfinite(values)])["mean"]
        yield means


def _part(part: Part, training: TrainingSet | None) -> dict[str, Any]:
    fields: dict[str, Any] = {"piece": part.piece, "start": part.start, "seconds": part.seconds}
    for name, value in part.figures.items():
        fields[name] = value if np.isfinite(value) else None
    if training and part.originality:
        where = dataclasses.asdict(part.originality)
        where["training_piece"] = training.names[part.originality.training_piece]
        fields["passage"] = {k: v for k, v in where.items() if k not in ORIGINALITY_UNITS}
    return fields


def _suspicious(measured: MeasuredSet, reference: MeasuredSet) -> list[int]:
    limits = {
        name: np.percentile(reference.values(name), SUSPICIOUS_PERCENTILE)
        for name in ORIGINALITY_UNITS
    }
    return [
        place
        for place, part in enumerate(measured.parts)
        if any(part.figures[name] > limit for name, limit in limits.items())
    ]
