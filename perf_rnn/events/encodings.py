"""Event encodings: how events become the network's inputs, and the classes of its outputs.

The four encodings are those of Magenta 2.1.4's Performance RNN configs.
"""

import dataclasses
import functools
from typing import Any

import numpy as np

from bundles.errors import PerfRnnError
from perf_rnn.events.codec import NUM_PITCHES, Codec, EventIndices
from perf_rnn.events.one_hot import EventCodec

# A dense input, float32, that differs by more than this from every event's vector is an error. The
# two closest modulo vectors are 0.04 apart.
_DENSE_TOLERANCE = 1e-4


@dataclasses.dataclass(frozen=True, eq=False)
class EventEncoding:
    """How one event, or an array of them, is given to the network.

    Arrays of L events are int32 [L, *event_shape], see `Codec`.

    >>> compact = EventEncoding(EventCodec(num_velocity_bins=32), index_input=True)
    >>> compact.width, compact.input_vectors([60, 188]).nonzero()[1].tolist()
    (388, [60, 188])
    >>> compact.dense_inputs([60, 188]).tolist()
    [[60.0], [188.0]]

    Attributes:
      codec: between notes and events.
      vectors: float32 [classes, width], the input vector of each class; None: the one-hot vectors
        of the event's indices, concatenated.
      index_input: whether Magenta's dense format holds the class index in place of the vector
        ("compact"). The network sees the same vector either way.
    """

    codec: Codec
    vectors: np.ndarray | None = None
    index_input: bool = False

    @property
    def head_sizes(self) -> tuple[int, ...]:
        """Classes of each head: the network predicts one of each for the next event."""
        return self.codec.head_sizes

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one event in an array of events: () for an index, (6,) for one a head."""
        return self.codec.event_shape

    @property
    def width(self) -> int:
        """Length of the vector that the network sees of one event."""
        return sum(self.head_sizes) if self.vectors is None else self.vectors.shape[1]

    @property
    def dense_width(self) -> int:
        """Length of what Magenta's dense format holds of one event."""
        return 1 if self.index_input else self.width

    @functools.cached_property
    def offsets(self) -> np.ndarray:
        """int32 [*event_shape]: the place of each head's first class in the one-hot vector."""
        first = np.cumsum([0, *self.head_sizes[:-1]]).astype(np.int32)
        return first.reshape(self.event_shape)

    def input_vectors(self, events: Any) -> np.ndarray:
        """Returns float32 [..., width] for events [..., *event_shape]."""
        events = np.asarray(events)
        if self.vectors is not None:
            looked_up: np.ndarray = self.vectors[events]
            return looked_up
        places = events + self.offsets
        if not self.event_shape:
            places = places[..., np.newaxis]
        vectors = np.zeros((*places.shape[:-1], self.width), np.float32)
        np.put_along_axis(vectors, places, 1, axis=-1)
        return vectors

    def dense_inputs(self, events: Any) -> np.ndarray:
        """What Magenta's dense format holds of events [L, *event_shape]: float32 [L, dense_width].

        Its records hold these for all events but the last.
        """
        if self.index_input:
            return np.asarray(events, np.float32)[..., np.newaxis]
        return self.input_vectors(events)

    def events_from_dense(self, inputs: Any) -> EventIndices:
        """The events, int32 [L, *event_shape], of dense inputs [L, dense_width].

        Raises:
          PerfRnnError: the width is wrong, or a vector belongs to no event.
        """
        inputs = np.asarray(inputs, np.float32)
        if inputs.ndim != 2 or inputs.shape[1] != self.dense_width:
            raise PerfRnnError(
                f"expected dense inputs of shape [L, {self.dense_width}], got {inputs.shape}"
            )
        with np.errstate(invalid="ignore"):  # NaN and infinity belong to no event.
            events = self._nearest_events(inputs)
            is_close = np.abs(self.dense_inputs(events) - inputs) <= _DENSE_TOLERANCE
        unknown = np.flatnonzero(~is_close.all(axis=1))
        if len(unknown):
            raise PerfRnnError(f"dense input {unknown[0]} belongs to no event")
        return events

    def _nearest_events(self, inputs: np.ndarray) -> EventIndices:
        """The events whose dense inputs are closest to the given ones."""
        if self.index_input:
            classes = sum(self.head_sizes)
            nearest = np.clip(np.nan_to_num(np.rint(inputs[:, 0])), 0, classes - 1)
        elif self.vectors is not None:
            lengths = np.square(self.vectors).sum(axis=1)
            nearest = np.argmax(inputs @ self.vectors.T - lengths / 2, axis=1)
        else:
            heads = np.split(inputs, np.cumsum(self.head_sizes)[:-1], axis=1)
            nearest = np.stack([head.argmax(axis=1) for head in heads], axis=1)
            nearest = nearest.reshape(-1, *self.event_shape)
        return np.asarray(nearest, np.int32)


def modulo_vectors(codec: EventCodec) -> np.ndarray:
    """Returns float32 [classes, 16]: Magenta 2.1.4's modulo encoding of each event class.

    Pitches and values are points on circles, so that close ones have close vectors. Each event
    type has a block of its own, zero for the other types: 1, then cosine and sine. NOTE_ON and
    NOTE_OFF have two circles, of the pitch (144 to a circle) and of its pitch class; TIME_SHIFT
    and VELOCITY have one, of their values. Without velocity bins, [classes, 13].
    """
    pitch = np.arange(NUM_PITCHES)
    pitch_block = np.hstack([_circle(pitch, 144), _circle(pitch, 12)[:, 1:]])
    blocks = [pitch_block, pitch_block]
    for size in filter(None, (codec.max_shift_steps, codec.num_velocity_bins)):
        blocks.append(_circle(np.arange(size), size))
    vectors = np.zeros((codec.num_classes, sum(block.shape[1] for block in blocks)), np.float32)
    row = column = 0
    for block in blocks:
        vectors[row : row + len(block), column : column + block.shape[1]] = block
        row, column = row + len(block), column + block.shape[1]
    return vectors


def _circle(values: np.ndarray, size: int) -> np.ndarray:
    """float64 [n, 3]: 1, and the cosine and sine of each value on a circle of `size`."""
    angle = (values % size) * 2.0 * np.pi / size
    return np.stack([np.ones(len(values)), np.cos(angle), np.sin(angle)], axis=1)
