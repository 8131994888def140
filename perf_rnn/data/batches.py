"""Batches of windows: each row plays one segment after another, window by window."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from bundles.errors import PerfRnnError
from perf_rnn.data.background_segments import BackgroundSegments
from perf_rnn.data.examples import EventSequence


@dataclasses.dataclass(frozen=True)
class Batch:
    """The input of one training or evaluation step.

    Attributes:
      inputs: int32 [batch, window, *event_shape], events.
      controls: float32 [batch, window, control_size], the controls of the event after each.
      labels: int32 [batch, window, *event_shape], the event after each.
      weights: float32 [batch, window], 1 where there is an event to predict, 0 in padding.
      keep_state: float32 [batch], 0 where a segment begins and the state must be zero, else 1.
    """

    inputs: np.ndarray
    controls: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    keep_state: np.ndarray

    @property
    def num_events(self) -> int:
        """Events to predict."""
        return int(self.weights.sum())


@dataclasses.dataclass
class SegmentOrder:
    """The order in which a training reads its segments: shuffled anew for each of endless passes.

    Attributes:
      segments: one or more, read by number.
      seed: of the order; None: one pass, in the order of `segments`.
      augment: as in `WindowBatches`.
    """

    segments: Sequence[EventSequence]
    seed: int | None
    augment: Callable[[EventSequence, Sequence[int]], EventSequence] | None
    _shuffled: tuple[int, np.ndarray] = dataclasses.field(default=(-1, np.empty(0)), init=False)

    def __call__(self, count: int) -> EventSequence:
        """Returns the segment that is read after `count` others."""
        if self.seed is None:
            return self.segments[count]
        epoch, place = divmod(count, len(self.segments))
        if epoch != self._shuffled[0]:
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self.segments))
            self._shuffled = epoch, order
        number = int(self._shuffled[1][place])
        segment = self.segments[number]
        if self.augment is None:
            return segment
        # Not 0: that would be the seed of the pass's order.
        return self.augment(segment, [self.seed, epoch, number + 1])


class WindowBatches:
    """Cuts segments into windows that follow each other in their row of the batch.

    A row that has finished its segment takes the next one that no row has taken. The position is a
    small array, so that a training run can resume exactly where it was stopped.
    """

    def __init__(
        self,
        segments: Sequence[EventSequence],
        batch_size: int,
        window: int,
        seed: int | None = None,
        augment: Callable[[EventSequence, Sequence[int]], EventSequence] | None = None,
    ):
        """Starts at the first segment.

        Args:
          segments: one or more, read by number, one at a time.
          batch_size: rows.
          window: events a row advances in one batch.
          seed: shuffles the segments anew for each of endless passes; None makes one pass in
            order, after which rows without a segment are padding.
          augment: with a seed: returns the copy of a segment that a pass trains on, given a seed
            that depends on `seed`, pass and segment alone.
        """
        self.window = window
        self._num_segments = len(segments)
        self._is_endless = seed is not None
        self._segment: Callable[[int], EventSequence] = SegmentOrder(segments, seed, augment)
        self._next = 0  # Counts the segments taken, over all passes.
        # Of each row: which segment it took, by that count (-1: none), and where its window starts.
        self._taken = np.full(batch_size, -1, np.int64)
        self._start = np.zeros(batch_size, np.int64)
        first = segments[0]
        self._nothing = EventSequence(first.events[:0], first.controls[:0].copy)
        self._playing = [self._nothing] * batch_size

    def make_segments_in_background(self) -> None:
        """Lets other processes make the segments, until `close`.

        The function that augments them must be picklable.
        """
        self._segment = BackgroundSegments(self._segment, self._next)

    def close(self) -> None:
        """Ends the processes that make segments, if there are any; no batch can be read then."""
        if isinstance(self._segment, BackgroundSegments):
            self._segment.close()

    @property
    def position(self) -> np.ndarray:
        """Number of segments, and how far each row is: int64 [2 + 2 * batch]."""
        return np.concatenate([[self._num_segments, self._next], self._taken, self._start])

    def seek(self, position: np.ndarray) -> None:
        """Resumes at a `position` of batches of the same segments, size, window and seed.

        Raises:
          PerfRnnError: the position is of another number of segments.
        """
        if position[0] != self._num_segments:
            raise PerfRnnError(f"{self._num_segments} examples, where there were {position[0]}")
        self._next = int(position[1])
        self._taken, self._start = np.split(np.array(position[2:], np.int64), 2)
        for row, taken in enumerate(self._taken):
            if taken >= 0:
                self._playing[row] = self._segment(int(taken))

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        batch, window = len(self._taken), self.window
        keep_state = np.ones(batch, np.float32)
        for row in range(batch):
            if self._start[row] >= len(self._playing[row].events) - 1:
                self._take_segment(row)
                keep_state[row] = 0
        if all(playing is self._nothing for playing in self._playing):
            raise StopIteration
        event_shape = self._nothing.events.shape[1:]
        spans = np.zeros((batch, window + 1, *event_shape), np.int32)
        controls = np.zeros((batch, window, self._nothing.controls.shape[1]), np.float32)
        weights = np.zeros((batch, window), np.float32)
        for row, (playing, start) in enumerate(zip(self._playing, self._start, strict=True)):
            span = playing.events[start : start + window + 1]
            spans[row, : len(span)] = span
            steps = max(len(span) - 1, 0)
            controls[row, :steps] = playing.controls[start + 1 : start + 1 + steps]
            weights[row, :steps] = 1
        self._start += window
        return Batch(spans[:, :-1], controls, spans[:, 1:], weights, keep_state)

    def _take_segment(self, row: int) -> None:
        self._start[row] = 0
        if not self._is_endless and self._next >= self._num_segments:
            self._taken[row] = -1
            self._playing[row] = self._nothing
            return
        self._taken[row] = self._next
        self._playing[row] = self._segment(self._next)
        self._next += 1
