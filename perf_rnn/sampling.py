"""Sampling: a batch of performances drawn event by event from a bundle's network.

A tight NumPy loop: on a CPU one step of the network is a few matrix products, and everything a
framework adds around them costs more than they do.
"""

from collections.abc import Callable, Sequence

import numpy as np
import threadpoolctl

from bundles import Bundle
from perf_rnn.events import EventCodec

# Nobody strikes more notes at one moment. A network that goes on for ever without a TIME_SHIFT
# would never fill its piece; after this many events it is given only shifts to choose from.
MAX_EVENTS_BETWEEN_SHIFTS = 256

# Random numbers are drawn from each row's generator this many at a time.
_DRAWS = 512


class StepNetwork:
    """A bundle's network, one event at a time for a batch of rows, with the state it carries."""

    def __init__(self, bundle: Bundle, batch_size: int):
        """Starts every row at the zero state."""
        first, *others = bundle.layers
        # A one-hot input times the kernel is a row of it.
        self._event_rows = first.kernel + first.keras_bias
        self._first = first.recurrent_kernel
        self._others = [
            (np.concatenate([layer.kernel, layer.recurrent_kernel]), layer.keras_bias)
            for layer in others
        ]
        self._output = bundle.output_kernel, bundle.output_bias
        self.states = [
            [np.zeros((batch_size, units), np.float32) for _ in ("hidden", "cell")]
            for units in bundle.layer_sizes
        ]

    def step(self, events: np.ndarray) -> np.ndarray:
        """Takes the rows' next events, int [batch]; returns logits, float32 [batch, classes]."""
        states = iter(self.states)
        state = next(states)
        x = _lstm_step(self._event_rows[events] + state[0] @ self._first, state)
        for (kernel, bias), state in zip(self._others, states, strict=True):
            x = _lstm_step(np.concatenate([x, state[0]], axis=1) @ kernel + bias, state)
        kernel, bias = self._output
        return x @ kernel + bias

    def keep(self, rows: np.ndarray) -> None:
        """Drops the other rows; bool [batch]."""
        self.states = [[part[rows] for part in state] for state in self.states]


def _lstm_step(gates: np.ndarray, state: list[np.ndarray]) -> np.ndarray:
    """Updates `state` (hidden, cell) from the gates' sums, in Keras's order; returns hidden."""
    units = gates.shape[1] // 4
    # sigmoid(x) = (1 + tanh(x / 2)) / 2: one call of tanh serves all four gates.
    gates[:, : 2 * units] *= 0.5
    gates[:, 3 * units :] *= 0.5
    np.tanh(gates, out=gates)
    i, f, candidate, o = np.split(gates, 4, axis=1)
    cell = 0.5 * (f + 1) * state[1] + 0.5 * (i + 1) * candidate
    state[:] = 0.5 * (o + 1) * np.tanh(cell), cell
    return state[0]


# One step's products are too small to share among threads, which wait for each other at every one
# of them: 50 times slower where another program keeps a core busy.
@threadpoolctl.threadpool_limits.wrap(limits=1, user_api="blas")
def sample_events(
    bundle: Bundle,
    codec: EventCodec,
    primer: np.ndarray,
    num_steps: int,
    seeds: Sequence[int | Sequence[int]],
    temperature: float = 1.0,
    on_progress: Callable[[int], object] = lambda steps: None,
) -> list[np.ndarray]:
    """Continues `primer` once for each seed until each piece is `num_steps` long.

    A row's draws come from its own seed alone, so a piece does not depend on the others, but for
    the rounding of the network's products, which differs in the last bits with their number.

    Args:
      bundle: the network.
      codec: of the events that the network was trained on.
      primer: event indices [length], at least one.
      num_steps: length of the pieces, primer included (10 ms each).
      seeds: one for each piece.
      temperature: logits are divided by it; below 1 safer, above 1 wilder.
      on_progress: called now and then with the steps that the slowest piece has.

    Returns:
      For each seed its events, primer included, cut to exactly `num_steps`.

    Raises:
      ValueError: the temperature is not above 0, the primer empty or not shorter than the piece,
        or the bundle's classes are not the codec's.
    """
    if not 0 < temperature < np.inf:
        raise ValueError(f"temperature {temperature} is not a number above 0")
    if bundle.num_classes != codec.num_classes:
        raise ValueError(
            f"bundle {bundle.id!r} has {bundle.num_classes} classes, not {codec.num_classes}"
        )
    if not len(primer):
        raise ValueError("the primer is empty")
    primer_steps = codec.num_steps(primer)
    if primer_steps >= num_steps:
        raise ValueError(
            f"the primer lasts {primer_steps} steps of 10 ms, the piece only {num_steps}; "
            "shorten the primer or ask for more steps"
        )
    steps_of_class = np.array([codec.num_steps([index]) for index in range(codec.num_classes)])
    is_shift = steps_of_class > 0
    generators = [np.random.default_rng(seed) for seed in seeds]
    rows = np.arange(len(seeds))  # The pieces not finished yet.
    network = StepNetwork(bundle, len(rows))
    for event in primer:
        logits = network.step(np.full(len(rows), event))
    clock = np.full(len(rows), primer_steps)
    since_shift = np.zeros(len(rows), np.int64)
    drawn: list[np.ndarray] = []  # For each step of the loop, the events of all pieces.
    uniforms = np.empty((len(rows), _DRAWS))

    while len(rows):
        if len(drawn) % _DRAWS == 0:
            uniforms = np.stack([generators[row].random(_DRAWS) for row in rows])
            on_progress(int(clock.min()))
        choice = logits.astype(np.float64)
        choice[np.ix_(since_shift >= MAX_EVENTS_BETWEEN_SHIFTS, ~is_shift)] = -np.inf
        # Where the temperature is tiny, all but the largest go to minus infinity, as they should.
        with np.errstate(over="ignore"):
            choice = (choice - choice.max(axis=1, keepdims=True)) / temperature
        cumulated = np.exp(choice).cumsum(axis=1)
        threshold = uniforms[:, len(drawn) % _DRAWS] * cumulated[:, -1]
        events = (cumulated > threshold[:, np.newaxis]).argmax(axis=1)
        column = np.full(len(seeds), -1, np.int32)
        column[rows] = events
        drawn.append(column)
        clock += steps_of_class[events]
        since_shift = np.where(is_shift[events], 0, since_shift + 1)
        going_on = clock < num_steps
        if not going_on.all():
            rows, clock, since_shift = rows[going_on], clock[going_on], since_shift[going_on]
            uniforms, events = uniforms[going_on], events[going_on]
            network.keep(going_on)
        if len(rows):
            logits = network.step(events)

    table = np.stack(drawn, axis=1)
    return [codec.set_length(np.concatenate([primer, row[row >= 0]]), num_steps) for row in table]
