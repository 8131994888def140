"""note_seq's encoder and control objects as this package's encodings and controls, and back.

note_seq describes a model's inputs by objects that encode one event at a time; here arrays do.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import note_seq
import numpy as np
from note_seq import performance_controls
from note_seq.performance_lib import PerformanceEvent
from numpy.typing import NDArray

from bundles.errors import PerfRnnError
from perf_rnn.events.codec import Codec
from perf_rnn.events.controls import ControlSignal, NoteDensity, PitchHistogram
from perf_rnn.events.encodings import EventEncoding, modulo_vectors
from perf_rnn.events.note_events import NoteCodec
from perf_rnn.events.one_hot import EventCodec

_OF_ONE_HOT_EVENTS: dict[type, Callable[[EventCodec], EventEncoding]] = {
    note_seq.OneHotEventSequenceEncoderDecoder: EventEncoding,
    note_seq.OneHotIndexEventSequenceEncoderDecoder: functools.partial(
        EventEncoding, index_input=True
    ),
    note_seq.ModuloPerformanceEventSequenceEncoderDecoder: lambda codec: EventEncoding(
        codec, modulo_vectors(codec)
    ),
}


def encoding_of(encoder: Any) -> EventEncoding:
    """Returns what an EventSequenceEncoderDecoder does.

    Raises:
      ValueError: it is not one of note_seq's encoders of performances, or not of all pitches.
    """
    kind = type(encoder)
    if kind is note_seq.NotePerformanceEventSequenceEncoderDecoder:
        note_codec = NoteCodec(encoder.num_classes[3])
        if tuple(encoder.num_classes) == note_codec.head_sizes:
            return EventEncoding(note_codec)
    if kind in _OF_ONE_HOT_EVENTS:
        one_hot = encoder._one_hot_encoding
        if type(one_hot) is note_seq.PerformanceOneHotEncoding:
            highest = {kind: high for kind, _, high in one_hot._event_ranges}
            codec = EventCodec(
                highest.get(PerformanceEvent.VELOCITY, 0), highest[PerformanceEvent.TIME_SHIFT]
            )
            if one_hot.num_classes == codec.num_classes:
                return _OF_ONE_HOT_EVENTS[kind](codec)
    raise PerfRnnError(
        f"{kind.__name__}: not an encoder of performances known here; give note_seq's "
        "OneHotEventSequenceEncoderDecoder or OneHotIndexEventSequenceEncoderDecoder of a "
        "PerformanceOneHotEncoding of all pitches, ModuloPerformanceEventSequenceEncoderDecoder or "
        "NotePerformanceEventSequenceEncoderDecoder with its default steps and pitches; give what "
        "events are conditioned on as control_signals"
    )


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
