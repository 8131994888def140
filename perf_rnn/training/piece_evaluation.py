"""Evaluation of whole performances: what they cost a model, and where.

The state is carried from the first event of a performance to its last. The first is not predicted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bundles.errors import PerfRnnError
from perf_rnn import progress
from perf_rnn.configs import PerformanceRnnConfig
from perf_rnn.data.batches import WindowBatches
from perf_rnn.data.examples import EventSequence
from perf_rnn.data.whole_pieces import WholePiece
from perf_rnn.events.codec import STEPS_PER_SECOND
from perf_rnn.training.metrics import Metrics

if TYPE_CHECKING:
    import keras

# Where the parts of a piece begin that are measured apart, in seconds.
POSITIONS = (0, 10, 30, 60, 120, 300)

# Of the bootstrap. Its interval holds 95 % of what the resamples give.
NUM_RESAMPLES = 10000
INTERVAL = (0.025, 0.975)
# Counts of resampled pieces held at a time.
_RESAMPLED_AT_ONCE = 10**6


@dataclasses.dataclass(frozen=True, eq=False)
class PieceSums:
    """What the predictions of each piece's events add up to.

    Attributes:
      names: of the pieces.
      kinds: of events, or in note encoding the heads that predict a part of each event.
      num_heads: predictions per event.
      nll: float64 [pieces, positions, kinds], in nats.
      num_right: float64, the same shape: predictions whose most probable class was right.
      num_predictions: float64, the same shape.
      seconds: float64 [pieces, positions], how much of a piece lies in each.
    """

    names: list[str]
    kinds: tuple[str, ...]
    num_heads: int
    nll: NDArray[np.float64]
    num_right: NDArray[np.float64]
    num_predictions: NDArray[np.float64]
    seconds: NDArray[np.float64]


def measure_pieces(
    network: keras.Model,
    config: PerformanceRnnConfig,
    pieces: Sequence[WholePiece],
    *,
    disabled: bool = False,
    batch_size: int = 64,
    window: int = 256,
) -> PieceSums:
    """Measures how well a network predicts each event of pieces from all those before it.

    The time is linear in the events. Beside the pieces, memory is needed for one batch of windows
    and for the controls of the pieces being played.

    Args:
      network: what `build_network` made.
      config: the config it was made for.
      pieces: one or more, of this config's events. Control signals are what they show.
      disabled: for optional conditioning: says instead that there are no controls.
      batch_size: pieces played side by side, at most.
      window: events per batch.

    Raises:
      ValueError: the network's predictions are not finite.
    """
    # TensorFlow takes long to import; what the tools print of a result does not need it.
    from perf_rnn.training.evaluation import score_windows

    # Those that go on longest come first, so that rows end together.
    lengths = np.array([len(piece.events) for piece in pieces])
    order = np.argsort(-lengths, kind="stable")
    played = _Played([pieces[place] for place in order], config, disabled)
    # More rows would not end sooner than the one with the longest piece.
    batch_size = min(batch_size, -(-int(lengths.sum()) // int(lengths.max())))
    batches = WindowBatches(played, batch_size, window)
    kinds = config.codec.kinds
    shape = (len(pieces), len(POSITIONS), len(kinds))
    table = {name: np.zeros(shape) for name in ("nll", "num_right", "num_predictions")}
    clock = np.zeros(batch_size, np.int64)  # Of each row, the steps before its window.
    starts = np.array(POSITIONS) * STEPS_PER_SECOND
    total = int(lengths.sum()) - len(pieces)
    status = {"events": f"0 of {total}"}
    done = 0
    scored = score_windows(network, config, batches, batch_size)
    for batch, nll, right in progress.show(scored, "evaluating", status, unit="batches"):
        rows, places = np.nonzero(batch.weights)
        if not np.isfinite(nll[rows, places]).all():
            raise PerfRnnError("the network's predictions are not finite: weights too large")
        # An event stands where those before it have brought the music.
        clock[batch.keep_state == 0] = 0
        times = clock[:, np.newaxis] + np.cumsum(config.codec.event_steps(batch.inputs), axis=1)
        clock = times[:, -1]
        taken = batches.position[2 : 2 + batch_size]  # Which piece each row plays.
        piece = order[taken[rows]]
        position = np.searchsorted(starts, times[rows, places], side="right") - 1
        kind = config.codec.kind_numbers(batch.labels[rows, places])
        cells = piece[:, np.newaxis], position[:, np.newaxis], kind
        np.add.at(table["nll"], cells, nll[rows, places])
        np.add.at(table["num_right"], cells, right[rows, places])
        np.add.at(table["num_predictions"], cells, 1)
        done += len(rows)
        status["events"] = f"{done} of {total}"
    seconds = [config.codec.num_steps(piece.events) / STEPS_PER_SECOND for piece in pieces]
    ends = np.append(POSITIONS[1:], np.inf)
    return PieceSums(
        names=[piece.name for piece in pieces],
        kinds=kinds,
        num_heads=len(config.encoding.head_sizes),
        seconds=np.clip(np.array(seconds)[:, np.newaxis], POSITIONS, ends) - POSITIONS,
        **table,
    )


class _Played(Sequence[EventSequence]):
    """The pieces with their controls, which are made when a piece is played."""

    def __init__(self, pieces: Sequence[WholePiece], config: PerformanceRnnConfig, disabled: bool):
        self._pieces, self._config, self._disabled = pieces, config, disabled

    def __len__(self) -> int:
        return len(self._pieces)

    def __getitem__(self, index: Any) -> Any:
        events = self._pieces[index].events
        return EventSequence.from_events(events, self._config, self._disabled)


def figures(sums: PieceSums, seed: int = 0, groups: Sequence[str] | None = None) -> dict[str, Any]:
    """Returns what the sums come to, as JSON can hold it.

    A figure is {events, seconds, nll, nll_interval, perplexity, accuracy, nll_per_second}: `nll` is
    the mean over all events, in nats, and `nll_interval` the ends of its 95 % interval, see
    `bootstrap_intervals`. Where there are no events or seconds, what they would tell is None.

    Args:
      sums: of one or more pieces.
      seed: of the bootstrap.
      groups: of each piece the group that is drawn as one, such as the recordings of a composition,
        which are alike; None: each piece by itself.

    Returns:
      `all`: the figure of all events.
      `kinds`: of each kind, by its name. What is per second adds up to that of all, and in note
      encoding, where each event has a prediction of each kind, so does what is per event.
      `not_velocity`: of all kinds but velocity, where that is a kind of events: those that the
      config without dynamics has too. They are told from all classes, and a VELOCITY gives away
      that a NOTE_ON follows, so this is not quite the NLL of a model without dynamics.
      `positions`: of the parts of pieces, by where they lie.
      `pieces`: of each piece, with its `name`, without an interval, and with `kinds`: nats per
      event of each kind.
    """
    everywhere, all_kinds = slice(None), list(range(len(sums.kinds)))
    cells: dict[tuple[str, ...], _Cells] = {("all",): _Cells(sums, everywhere, all_kinds)}
    for number, name in enumerate(sums.kinds):
        cells["kinds", name] = _Cells(sums, everywhere, [number])
    if sums.num_heads == 1 and "velocity" in sums.kinds:
        others = [number for number in all_kinds if sums.kinds[number] != "velocity"]
        cells["not_velocity",] = _Cells(sums, everywhere, others)
    ends = *(f"{end} s" for end in POSITIONS[1:]), "the end"
    for number, (start, end) in enumerate(zip(POSITIONS, ends, strict=True)):
        cells["positions", f"{start} to {end}"] = _Cells(sums, slice(number, number + 1), all_kinds)

    drawn, group = np.unique(groups or range(len(sums.names)), return_inverse=True)
    totals, counts = np.zeros((2, len(drawn), len(cells)))
    np.add.at(totals, group, np.stack([part.nll for part in cells.values()], axis=1))
    np.add.at(counts, group, np.stack([part.num_events for part in cells.values()], axis=1))
    intervals = bootstrap_intervals(totals, counts, seed)
    result: dict[str, Any] = {}
    for (path, part), interval in zip(cells.items(), intervals, strict=True):
        *above, name = path
        place = result
        for key in above:
            place = place.setdefault(key, {})
        place[name] = part.figure(everywhere) | {"nll_interval": interval}
    result["pieces"] = [
        {
            "name": name,
            **cells["all",].figure(slice(number, number + 1)),
            "kinds": {
                kind: cells["kinds", kind].figure(slice(number, number + 1))["nll"]
                for kind in sums.kinds
            },
        }
        for number, name in enumerate(sums.names)
    ]
    return result


class _Cells:
    """The sums over some positions and kinds, each float64 [pieces]."""

    def __init__(self, sums: PieceSums, positions: slice, kinds: list[int]):
        def total(table: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.asarray(table[:, positions][:, :, kinds].sum(axis=(1, 2)))

        self.nll, self.num_right = total(sums.nll), total(sums.num_right)
        self.num_predictions = total(sums.num_predictions)
        # One kind is one prediction of an event, be it one of several heads' or the only one.
        self.num_events = self.num_predictions / (sums.num_heads if len(kinds) > 1 else 1)
        self.seconds = sums.seconds[:, positions].sum(axis=1)

    def figure(self, pieces: slice) -> dict[str, Any]:
        nll, num_right, num_events, num_predictions, seconds = (
            float(values[pieces].sum())
            for values in (
                self.nll,
                self.num_right,
                self.num_events,
                self.num_predictions,
                self.seconds,
            )
        )
        metrics = Metrics(nll, num_right, num_events, num_predictions)
        return {
            "events": round(num_events),
            "seconds": round(seconds, 2),
            "nll": metrics.nll if num_events else None,
            "perplexity": metrics.perplexity if num_events else None,
            "accuracy": metrics.accuracy if num_events else None,
            "nll_per_second": nll / seconds if seconds else None,
        }


def bootstrap_intervals(
    totals: NDArray[np.float64], counts: NDArray[np.float64], seed: int
) -> list[list[float] | None]:
    """Returns how far the ratio of two sums over pieces would vary with other pieces.

    The pieces are drawn anew, as many, each as often as it happens, `NUM_RESAMPLES` times; what
    lies between the 2.5th and the 97.5th percentile of the ratios is the interval.

    >>> nll, events = np.array([[190.0], [210.0], [260.0]]), np.full((3, 1), 100.0)
    >>> bootstrap_intervals(nll, events, seed=0)
    [[1.9, 2.6]]

    Args:
      totals, counts: float64 [pieces, n], what n ratios are of.
      seed: of the drawing.

    Returns:
      For each ratio the interval's ends, or None where fewer than two pieces have a count.
    """
    pieces = len(totals)
    rng = np.random.default_rng(seed)
    at_once = max(1, _RESAMPLED_AT_ONCE // pieces)
    ratios = []
    for done in range(0, NUM_RESAMPLES, at_once):
        size = min(at_once, NUM_RESAMPLES - done)
        times = rng.multinomial(pieces, np.full(pieces, 1 / pieces), size)
        with np.errstate(invalid="ignore"):
            ratios.append((times @ totals) / (times @ counts))
    enough = (counts > 0).sum(axis=0) > 1
    ends = np.full((2, totals.shape[1]), np.nan)
    # A resample without any of the few pieces that have a count has no ratio.
    ends[:, enough] = np.nanquantile(np.concatenate(ratios)[:, enough], INTERVAL, axis=0)
    return [pair if known else None for pair, known in zip(ends.T.tolist(), enough, strict=True)]
