"""Beam search: of several continuations of a piece, those that the network finds likeliest.

It is the search of Magenta 2.1.4, whose branches are sampled. A beam holds `beam_size` pieces. Each
iteration copies every one of them `branch_factor` times, extends all copies by the same number of
sampled events, and keeps the `beam_size` likeliest; the best one of the last is the result. The
first iteration is as long as is needed for the others to draw `steps_per_iteration` events each.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from bundles.errors import PerfRnnError
from perf_rnn.events.codec import EventIndices
from perf_rnn.generation.cpu.worker_threads import all_cores
from perf_rnn.generation.logits import Seed
from perf_rnn.generation.openings import Opening
from perf_rnn.generation.options import DEFAULT_OPTIONS, NO_BEAM, BeamOptions, SamplingOptions
from perf_rnn.generation.sampler import Controls, Sampler, log_likelihood
from perf_rnn.models import Model


def beam_search(
    model: Model,
    opening: Opening,
    seeds: Sequence[Seed],
    beam: BeamOptions = NO_BEAM,
    options: SamplingOptions = DEFAULT_OPTIONS,
    controls: Controls | None = None,
    *,
    num_events: int | None = None,
    num_steps: int | None = None,
    on_progress: Callable[[int], object] = lambda steps: None,
    more_steps: int = 0,
) -> list[tuple[EventIndices, float]]:
    """Continues an opening once for each seed, all searches in one batch.

    With a beam of one piece and no branches the events are those of `sample_events`.

    Args:
      model, opening, seeds, options, controls: as `Sampler` takes them.
      beam: how wide the search is.
      num_events: events of each piece, opening included. None: until the best piece of the beam is
        `num_steps` long, to which it is then cut; all iterations are of equal length.
      num_steps: length of the piece in steps of 10 ms, opening included; a list of temperatures is
        spread over it.
      on_progress: called after some iterations with the steps that the slowest piece has.
      more_steps: how many steps longer than `num_steps` the piece gets.

    Returns:
      For each seed the piece's events, those of the opening included, and the log-likelihood that
      `log_likelihood` gives at the temperature. It includes that of events that were cut off.

    Raises:
      ValueError: what `Sampler` refuses; the opening is not shorter than the piece; or neither
        `num_events` nor `num_steps` is given.
    """
    codec = model.config.codec
    start_events = opening.events
    by_events = num_events is not None
    length = num_events if by_events else num_steps
    if length is None:
        raise PerfRnnError("say how long the piece is to be, by num_events or num_steps")
    count = beam.steps_per_iteration
    if not by_events:
        opening.check_shorter(codec, length)
        length += more_steps
    elif len(start_events) < length:
        count = (length - len(start_events) - 1) % beam.steps_per_iteration + 1
    else:
        raise PerfRnnError(
            f"the primer has {len(start_events)} events, the piece only {length}; "
            "shorten the primer or ask for more events"
        )

    width = beam.width
    branches = [_branch_seed(seed, branch) for seed in seeds for branch in range(width)]
    sampler = Sampler(model, opening, branches, options, controls, num_steps)
    (start,) = log_likelihood(
        model, [start_events], controls, options.temperature, num_steps, opening.lead_in
    )
    scores = np.full(len(branches), start)
    searches = np.arange(len(seeds))  # Those not finished yet; each has `width` rows.
    trace = _Trace(len(branches))
    found: dict[int, tuple[EventIndices, float]] = {}
    while len(searches):
        on_progress(int(sampler.clock.min()))
        with all_cores():
            for _ in range(count):
                trace.extend(sampler.step())
                scores = scores + sampler.log_probabilities()
        order = np.argsort(-scores.reshape(-1, width), axis=1, kind="stable")
        order += np.arange(0, len(scores), width)[:, np.newaxis]
        best = order[:, 0]
        if by_events:
            done = np.full(len(searches), len(start_events) + len(trace) == length)
        else:
            done = sampler.clock[best] >= length
        for search, row in zip(searches[done], best[done], strict=True):
            events = np.concatenate([start_events, trace.events(row)]).astype(np.int32)
            if not by_events:
                events = codec.set_length(events, length)
            found[search] = events, float(scores[row])

        # Row i continues branches[i], with the random numbers of its own place.
        rows = np.tile(order[:, : beam.beam_size], (1, beam.branch_factor)).ravel()
        sampler.copy(rows)
        going_on = np.repeat(~done, width)
        sampler.keep(going_on)
        rows = rows[going_on]
        trace.take(rows)
        scores, searches = scores[rows], searches[~done]
        count = beam.steps_per_iteration
    return [found[search] for search in range(len(seeds))]


class _Trace:
    """The events drawn by rows that are copied and dropped, stored as a tree."""

    def __init__(self, num_rows: int):
        """Starts with rows without events."""
        self._events: list[NDArray[np.int64]] = []
        self._parents: list[NDArray[np.int64]] = []  # For each of those, the rows before it.
        self._rows = np.arange(num_rows)

    def __len__(self) -> int:
        """How many events each row has."""
        return len(self._events)

    def extend(self, events: NDArray[np.int64]) -> None:
        """Takes the next event of every row."""
        self._events.append(events)
        self._parents.append(self._rows)
        self._rows = np.arange(len(events))

    def take(self, rows: NDArray[np.int64]) -> None:
        """Keeps these rows; indices may repeat."""
        self._rows = self._rows[rows]

    def events(self, row: int) -> NDArray[np.int64]:
        """Returns the events of a row, by its index when `extend` was last called."""
        drawn = []
        for events, parents in zip(reversed(self._events), reversed(self._parents), strict=True):
            drawn.append(events[row])
            row = parents[row]
        return np.array(drawn[::-1])


def _branch_seed(seed: Seed, branch: int) -> Seed:
    """The first branch draws as a sampled piece does; the others have seeds made of its own."""
    if branch == 0:
        return seed
    if isinstance(seed, np.random.SeedSequence):
        return np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, branch))
    return np.random.SeedSequence(seed, spawn_key=(branch,))
