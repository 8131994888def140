"""note_seq's encoder and control objects as this package's encodings and controls, and back.

note_seq describes a model's inputs by objects that encode one event at a time. What they do is
found out once by asking them about every event; from then on arrays do the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import note_seq
import numpy as np
from note_seq import performance_controls
from note_seq.performance_lib import PerformanceEvent
from numpy.typing import NDArray

from bundles.errors import PerfRnnError
from perf_rnn.events.codec import Codec
from perf_rnn.events.controls import ControlSignal, NoteDensity, PitchHistogram
from perf_rnn.events.encodings import EventEncoding
from perf_rnn.events.note_events import NoteCodec
from perf_rnn.events.one_hot import EventCodec

_SUPPORTED = (
    "supported are OneHotEventSequenceEncoderDecoder and OneHotIndexEventSequenceEncoderDecoder of "
    "a PerformanceOneHotEncoding of all pitches, ModuloPerformanceEventSequenceEncoderDecoder, "
    "NotePerformanceEventSequenceEncoderDecoder, and encoders of your own with the events of one "
    "of these"
)


def encoding_of(encoder: Any) -> EventEncoding:
    """Returns what an EventSequenceEncoderDecoder does.

    Raises:
      ValueError: its events are not those of performances as they are known here, or its inputs
        depend on more than the last event.
    """
    name = type(encoder).__name__
    if isinstance(encoder, note_seq.ConditionalEventSequenceEncoderDecoder):
        raise PerfRnnError(
            f"{name}: give the encoder of the events alone, and what they are conditioned on as "
            "control_signals"
        )
    try:
        codec = _codec_of(encoder)
        events = _every_class(codec)
        objects = list(codec.to_performance(events))
        same = [encoder.class_index_to_event(index, []) for index in events.tolist()] == objects
        inputs = [encoder.events_to_input([event], 0) for event in objects]
        # The same events once more, this time after another.
        inputs_later = [encoder.events_to_input([objects[0], event], 1) for event in objects]
    except (AttributeError, IndexError, TypeError, ValueError, NotImplementedError) as error:
        raise PerfRnnError(f"{name} has other events; {_SUPPORTED}") from error
    if not same:
        raise PerfRnnError(f"{name} has other events; {_SUPPORTED}")
    if not np.array_equal(inputs, inputs_later):
        raise PerfRnnError(f"{name} looks back further than one event; {_SUPPORTED}")
    vectors = np.array(inputs, np.float32)
    for encoding in (EventEncoding(codec), EventEncoding(codec, index_input=True)):
        if np.array_equal(vectors, encoding.dense_inputs(events)):
            return encoding
    if codec.event_shape:
        raise PerfRnnError(f"{name} has other inputs for note events; {_SUPPORTED}")
    return EventEncoding(codec, vectors)


def _codec_of(encoder: Any) -> Codec:
    """The codec with an encoder's events, if there is any.

    Raises:
      ValueError: an encoder of note events has other heads than ours.
    """
    classes = encoder.num_classes
    if isinstance(classes, Sequence):
        note_codec = NoteCodec(classes[3])
        if tuple(classes) != note_codec.head_sizes:
            raise PerfRnnError(f"heads of {classes} classes")
        return note_codec
    kinds = [encoder.class_index_to_event(index, []).event_type for index in range(classes)]
    codec = EventCodec(
        kinds.count(PerformanceEvent.VELOCITY), kinds.count(PerformanceEvent.TIME_SHIFT)
    )
    if classes != codec.num_classes:
        raise PerfRnnError(f"{classes} classes")
    return codec


def _every_class(codec: Codec) -> NDArray[np.int32]:
    """Events [n, *event_shape] that have every index of every head at least once."""
    sizes = np.array(codec.head_sizes)
    indices = np.arange(sizes.max())[:, np.newaxis] % sizes
    return indices.astype(np.int32).reshape(-1, *codec.event_shape)


def encoder_of(encoding: EventEncoding) -> Any:
    """Returns the EventSequenceEncoderDecoder that does what one of the nine configs' does."""
    return encoding.codec.note_seq_encoder(
        modulo=encoding.vectors is not None, index_input=encoding.index_input
    )


class NoteSeqSignal(ControlSignal):
    """A note_seq PerformanceControlSignal of other settings than the configs' own, or a user's.

    Args:
      signal: the note_seq object; it is asked about one value and one performance at a time.
    """

    def __init__(self, signal: Any):
        self.signal = signal
        self.name = signal.name
        self.size = signal.encoder.input_size
        self.default = signal.default_value

    def validate(self, value: Any) -> Any:
        if not self.signal.validate(value):
            raise PerfRnnError(
                f"{self.name} {value!r} is none of its values: {self.signal.description}"
            )
        return value

    def extract(self, events: NDArray[Any], codec: Codec) -> NDArray[np.float64]:
        return np.array(self.signal.extract(codec.to_performance(events)), np.float64)

    def encode(self, values: Any) -> NDArray[np.float32]:
        # As it comes from `extract`, a value may be an array; note_seq's encoders take lists.
        plain = np.asarray(values).tolist()
        vectors = [self.signal.encoder.events_to_input([value], 0) for value in plain]
        return np.array(vectors, np.float32).reshape(-1, self.size)

    def _is_single(self, request: Any) -> bool:
        return not isinstance(request, list) or self.signal.validate(request)


def signal_of(signal: Any) -> ControlSignal:
    """Returns what a note_seq PerformanceControlSignal does."""
    if isinstance(signal, ControlSignal):
        return signal
    for known in (NoteDensity(), PitchHistogram()):
        # Windows and bins are all that these two objects hold besides their encoders.
        same = note_seq_signal_of(known)
        if type(signal) is type(same) and _settings(signal) == _settings(same):
            return known
    return NoteSeqSignal(signal)


def _settings(signal: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(signal).items() if name != "_encoder"}


def note_seq_signal_of(signal: ControlSignal) -> Any:
    """Returns the note_seq PerformanceControlSignal that does the same."""
    if isinstance(signal, NoteSeqSignal):
        return signal.signal
    if isinstance(signal, NoteDensity):
        return performance_controls.NoteDensityPerformanceControlSignal(
            window_size_seconds=3.0, density_bin_ranges=[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]
        )
    return performance_controls.PitchHistogramPerformanceControlSignal(window_size_seconds=5.0)
