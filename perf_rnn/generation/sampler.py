"""Sampling: a batch of performances drawn event by event from a model's network.

A tight NumPy loop: on a CPU one step of the network is a few matrix products, and everything a
framework adds around them costs more than they do. Inside `worker_threads.all_cores` they are
shared among the cores.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundles.errors import PerfRnnError
from perf_rnn.configs import PerformanceRnnConfig
from perf_rnn.events.codec import Codec, EventIndices
from perf_rnn.generation.control_schedule import ControlSchedule, check_optional, spread_index
from perf_rnn.generation.cpu.step_network import StepNetwork
from perf_rnn.generation.cpu.worker_threads import all_cores
from perf_rnn.generation.guidance import GuidedNetwork
from perf_rnn.generation.logits import RandomNumbers, Seed, draw, leave_out_improbable
from perf_rnn.generation.openings import Opening
from perf_rnn.generation.options import DEFAULT_OPTIONS, SamplingOptions
from perf_rnn.models import Model

_EVENTS_BETWEEN_REPORTS = 512

# For steps int64 [B] the control vectors float32 [B, control_size], as a ControlSchedule gives.
Controls = Callable[[NDArray[np.int64]], NDArray[np.float32]]


class Sampler:
    """Draws a batch of pieces event by event, without end; each row of the batch is a piece.

    A row depends on its own seed alone, not on the other rows. The one exception: where
    `tiled_matmul.has_small_kernels` is False, products of more than
    `tiled_matmul.MAX_INDEPENDENT_ROWS` rows are rounded differently with their number, which now
    and then changes a draw.

    Attributes:
      options: may be replaced at any time, except for legal_events.
      controls: for a conditioned model, a function from steps to control vectors; may be replaced.
      clock: int64 [B], the steps that each row has.
    """

    def __init__(
        self,
        model: Model,
        opening: Opening,
        seeds: Sequence[Seed],
        options: SamplingOptions = DEFAULT_OPTIONS,
        controls: Controls | None = None,
        num_steps: int | None = None,
    ):
        """Reads the opening.

        Args:
          model: whose network it is.
          opening: the beginning of every row.
          seeds: one for each row.
          options: how events are drawn.
          controls: at a step, the controls of the events that follow it. None: the defaults.
          num_steps: length of the piece that a list of temperatures is spread over.

        Raises:
          ValueError: temperatures are a list and `num_steps` is None; or guidance is asked for, and
            conditioning is not optional.
        """
        config, codec, read = model.config, model.config.codec, opening.read
        self.controls = controls or ControlSchedule(config.conditioning)
        self._codec = codec
        self._conditioning = config.conditioning
        self._num_steps = num_steps
        self._set_options(options)
        self._heads = _head_slices(config)
        self._random = RandomNumbers(seeds, len(self._heads))
        self._rules = codec.rules(opening.events, len(seeds), options.legal_events)

        # The rows have the opening in common. Its last event is fed when the next one is drawn, as
        # every event is, so that controls set until then hold for the next one.
        rows = np.zeros(len(seeds), np.int64)
        self._network = GuidedNetwork(model, len(rows), options.guidance)
        self._network.take(rows[:1])
        clocks = _clocks(codec, read, len(read) - len(opening.events))
        with all_cores():
            for place in range(len(read) - 1):
                now = slice(place, place + 1)
                self._network.step(read[now], self.controls(clocks[now]), options.guidance)
        self._network.take(rows)
        self._events: NDArray[Any] = read[-1:][rows]
        self.clock = clocks[-1:][rows]

    @property
    def options(self) -> SamplingOptions:
        """How events are drawn."""
        return self._options

    @options.setter
    def options(self, options: SamplingOptions) -> None:
        if options.legal_events != self._options.legal_events:
            raise PerfRnnError("legal_events cannot change within a piece")
        self._set_options(options)

    def _set_options(self, options: SamplingOptions) -> None:
        temperatures = np.array(options.temperatures, np.float64)
        # What is wrong raises here already, before anything is changed.
        _temperature_at(np.zeros(0, np.int64), temperatures, self._num_steps)
        if options.guidance != 1:
            check_optional(self._conditioning, "guidance")
        self._options, self._temperatures = options, temperatures

    def step(self) -> NDArray[np.int64]:
        """Draws the next event of every row, [B, *event_shape]; see `all_cores`."""
        self._logits, guided = self._network.step(
            self._events, self.controls(self.clock), self._options.guidance
        )
        self._temperature = _temperature_at(self.clock, self._temperatures, self._num_steps)
        choice = guided.astype(np.float64)
        self._rules.forbid(choice, self.clock)
        if self._options.legal_events and self._options.pitch_min_p:
            leave_out_improbable(choice[:, self._codec.pitch_classes], self._options.pitch_min_p)
        uniforms = self._random.next()
        drawn = [
            draw(choice[:, head], uniforms[:, i], self._temperature, self._options)
            for i, head in enumerate(self._heads)
        ]
        events = np.stack(drawn, axis=1) if self._codec.event_shape else drawn[0]
        self._rules.update(events, self.clock)
        self._events = events
        self.clock = self.clock + self._codec.event_steps(events)
        return events

    def log_probabilities(self) -> NDArray[np.float64]:
        """Returns the log-probability of each row's last drawn event, [B].

        It is the network's own at the temperature, without guidance and whatever else was left out
        of the draw.
        """
        return _log_probabilities(self._logits, self._events, self._heads, self._temperature)

    def keep(self, rows: NDArray[np.bool_]) -> None:
        """Drops the other rows; bool [B]."""
        self._take(np.flatnonzero(rows))
        self._random.keep(rows)

    def copy(self, rows: NDArray[np.int64]) -> None:
        """Makes row i a copy of row rows[i] that keeps its own random numbers; int [B]."""
        self._take(rows)

    def _take(self, rows: NDArray[np.int64]) -> None:
        self._network.take(rows)
        self._rules.take(rows)
        self._events = self._events[rows]
        self.clock = self.clock[rows]

    def state(self) -> dict[str, NDArray[Any]]:
        """Returns all that the next events depend on, except for `options` and `controls`.

        Only plain arrays: `numpy.savez(path, **sampler.state())` saves them.
        """
        return {
            "events": self._events,
            "clock": self.clock,
            **self._random.state(),
            **{f"rules_{name}": array.copy() for name, array in self._rules.arrays.items()},
            **{f"network_{i}": array for i, array in enumerate(self._network.states)},
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continues from a state that a sampler of the same model gave.

        Raises:
          ValueError: the state is of another model, or of other legal_events.
        """
        own = self.state()
        if state.keys() != own.keys() or any(
            state[f"network_{i}"].shape[1:] != part.shape[1:]
            for i, part in enumerate(self._network.states)
        ):
            raise PerfRnnError("the state is that of another model, or of other legal_events")
        self._events, self.clock = state["events"], state["clock"]
        self._random.restore(state)
        self._rules.arrays = {name: state[f"rules_{name}"].copy() for name in self._rules.arrays}
        states = [state[f"network_{i}"] for i in range(len(self._network.states))]
        self._network.restore(states, len(self.clock))


def sample_events(
    model: Model,
    opening: Opening,
    num_steps: int,
    seeds: Sequence[Seed],
    options: SamplingOptions = DEFAULT_OPTIONS,
    controls: Controls | None = None,
    on_progress: Callable[[int], object] = lambda steps: None,
    more_steps: int = 0,
) -> list[EventIndices]:
    """Continues an opening once for each seed until each piece is `num_steps` long.

    Args:
      model, opening, seeds, options, controls: as `Sampler` takes them.
      num_steps: length of the pieces, opening included (10 ms each).
      more_steps: how many steps longer they get. Temperatures are not spread over these.
      on_progress: called now and then with the steps that the slowest piece has.

    Returns:
      For each seed its piece's events, those of the opening included, cut to exactly this length.

    Raises:
      ValueError: what `Sampler` refuses, or the opening is not shorter than the piece.
    """
    codec = model.config.codec
    opening.check_shorter(codec, num_steps)
    sampler = Sampler(model, opening, seeds, options, controls, num_steps)
    length = num_steps + more_steps
    rows = np.arange(len(seeds))  # The pieces not finished yet.
    drawn: list[EventIndices] = []  # For each step of the loop, the events of all pieces.
    with all_cores():
        while len(rows):
            if len(drawn) % _EVENTS_BETWEEN_REPORTS == 0:
                on_progress(int(sampler.clock.min()))
            column = np.full((len(seeds), *codec.event_shape), -1, np.int32)
            column[rows] = sampler.step()
            drawn.append(column)
            going_on = sampler.clock < length
            if not going_on.all():
                rows = rows[going_on]
                sampler.keep(going_on)
    pieces = []
    for row in np.stack(drawn, axis=1):
        is_drawn = row.reshape(len(row), -1)[:, 0] >= 0
        events = np.concatenate([opening.events, row[is_drawn]])
        pieces.append(codec.set_length(events, length))
    return pieces


def log_likelihood(
    model: Model,
    pieces: Sequence[EventIndices],
    controls: Controls | None = None,
    temperature: float | list[float] | tuple[float, ...] = 1.0,
    num_steps: int | None = None,
    lead_in: EventIndices | None = None,
    skip: Sequence[int] | None = None,
) -> NDArray[np.float64]:
    """Returns the log-likelihood of each piece's events, float64 [pieces].

    The first event that the network reads is not predicted: that of the lead-in, or of the piece.

    Args:
      model, controls: as `Sampler` takes them.
      pieces: their events, int32 [length, *event_shape], of any lengths.
      temperature: logits are divided by it; or a list, spread over `num_steps`.
      num_steps: length of the pieces, needed for a list of temperatures only.
      lead_in: what the network reads before each, as `Opening` has it.
      skip: how many of each piece's first events are read, but not counted; None: all are counted.

    Raises:
      ValueError: a piece without a lead-in has no event, or a temperature is out of range.
    """
    config = model.config
    temperatures = np.array(SamplingOptions(temperature).temperatures, np.float64)
    if lead_in is not None:
        pieces = [np.concatenate([lead_in, piece]) for piece in pieces]
    if not all(map(len, pieces)):
        raise PerfRnnError("a piece without events has no likelihood")
    heads = _head_slices(config)
    lengths = np.array([len(piece) for piece in pieces])
    order = np.argsort(-lengths, kind="stable")  # Those that go on longest come first.
    events = np.zeros((len(pieces), lengths.max(initial=0), *config.codec.event_shape), np.int32)
    for row, piece in enumerate(order):
        events[row, : lengths[piece]] = pieces[piece]
    clocks = _clocks(config.codec, events.swapaxes(0, 1), 0 if lead_in is None else len(lead_in)).T
    controls = controls or ControlSchedule(config.conditioning)
    network = StepNetwork(model, len(pieces))
    total = np.zeros(len(pieces))
    first = np.zeros(len(pieces), np.int64)  # Of the events that are counted.
    if skip is not None:
        first = np.array(skip)[order] + (0 if lead_in is None else len(lead_in))
    going_on = len(pieces)
    with all_cores():
        for place in range(events.shape[1] - 1):
            still = int((lengths > place + 1).sum())
            if still < going_on:
                network.take(np.arange(still))
            going_on = still
            clock = clocks[:going_on, place]
            logits = network.step(events[:going_on, place], controls(clock))
            of_events = _log_probabilities(
                logits,
                events[:going_on, place + 1],
                heads,
                _temperature_at(clock, temperatures, num_steps),
            )
            total[order[:going_on]] += np.where(first[:going_on] <= place + 1, of_events, 0.0)
    return total


def _clocks(codec: Codec, events: NDArray[Any], len_lead_in: int) -> NDArray[np.int64]:
    """The steps that pieces have after each of the events [L, ...] that the network reads."""
    steps = codec.event_steps(events)
    steps[:len_lead_in] = 0
    return np.cumsum(steps, axis=0)


def _temperature_at(
    clock: NDArray[np.int64], temperatures: NDArray[np.float64], num_steps: int | None
) -> NDArray[np.float64]:
    """The temperatures spread over a piece, at steps [B]: [B, 1], or [1] if there is but one."""
    if len(temperatures) == 1:
        return temperatures
    return temperatures[spread_index(clock, len(temperatures), num_steps), np.newaxis]


def _log_probabilities(
    logits: NDArray[np.float32],
    events: NDArray[Any],
    heads: Sequence[slice],
    temperature: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The log-probabilities of events [B, *event_shape], float64 [B], summed over the heads."""
    indices = events.reshape(len(events), -1)
    total = np.zeros(len(events))
    for head, index in zip(heads, indices.T, strict=True):
        scaled = logits[:, head].astype(np.float64) / temperature
        scaled -= scaled.max(axis=1, keepdims=True)
        total += scaled[np.arange(len(index)), index] - np.log(np.exp(scaled).sum(axis=1))
    return total


def _head_slices(config: PerformanceRnnConfig) -> list[slice]:
    sizes = config.encoding.head_sizes
    ends = np.cumsum(sizes).tolist()
    return [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]
