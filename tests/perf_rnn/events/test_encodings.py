"""Event encodings against note_seq's encoders, and Magenta's dense inputs read back."""

import numpy as np
import pytest
from note_seq import performance_encoder_decoder
from note_seq.encoder_decoder import OneHotEventSequenceEncoderDecoder

from perf_rnn.events.encodings import EventEncoding, modulo_vectors
from perf_rnn.events.note_events import NoteCodec
from perf_rnn.events.one_hot import EventCodec

CODEC = EventCodec(32)
ONE_HOT = EventEncoding(CODEC)
COMPACT = EventEncoding(CODEC, index_input=True)
MODULO = EventEncoding(CODEC, modulo_vectors(CODEC))
NOTE = EventEncoding(NoteCodec(32))
NOTE_EVENTS = [[0, 0, 60, 0, 0, 0], [12, 76, 127, 31, 24, 39], [3, 5, 0, 7, 1, 12]]


def every_event(codec):
    return list(codec.to_performance(np.arange(codec.num_classes)))


@pytest.mark.parametrize("codec", [CODEC, EventCodec(0), EventCodec(5, max_shift_steps=7)])
def test_modulo_vectors_equal_note_seq(codec):
    theirs = performance_encoder_decoder.ModuloPerformanceEventSequenceEncoderDecoder(
        codec.num_velocity_bins, codec.max_shift_steps
    )
    events = every_event(codec)
    expected = [theirs.events_to_input(events, place) for place in range(len(events))]
    vectors = modulo_vectors(codec)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, expected, rtol=0, atol=1e-7)


def test_modulo_vectors_by_hand():
    vectors = modulo_vectors(CODEC)
    assert vectors.shape == (388, 16)
    half = np.sqrt(0.5)
    by_hand = {
        0: {0: 1, 1: 1, 3: 1},  # NOTE_ON of pitch 0: both circles start at their cosine's 1
        128 + 18: {5: 1, 6: half, 7: half, 8: -1},  # NOTE_OFF of 18: an eighth, and a half round
        355: {10: 1, 11: np.cos(np.pi / 50), 12: -np.sin(np.pi / 50)},  # a shift of 100
        356 + 8: {13: 1, 15: 1},  # VELOCITY 9 of 32: a quarter round
    }
    for event, values in by_hand.items():
        expected = np.zeros(16)
        expected[list(values)] = list(values.values())
        np.testing.assert_allclose(vectors[event], expected, atol=1e-7)


def test_one_hot_equals_note_seq():
    theirs = OneHotEventSequenceEncoderDecoder(
        performance_encoder_decoder.PerformanceOneHotEncoding(32)
    )
    events = every_event(CODEC)
    expected = [theirs.events_to_input(events, place) for place in range(len(events))]
    for encoding in (ONE_HOT, COMPACT):
        vectors = encoding.input_vectors(np.arange(388))
        assert vectors.dtype == np.float32
        np.testing.assert_array_equal(vectors, expected)


def test_note_inputs_equal_note_seq():
    theirs = performance_encoder_decoder.NotePerformanceEventSequenceEncoderDecoder(32)
    events = list(NOTE.codec.to_performance(NOTE_EVENTS))
    expected = [theirs.events_to_input(events, place) for place in range(len(events))]
    np.testing.assert_array_equal(NOTE.input_vectors(NOTE_EVENTS), expected)
    assert [theirs.events_to_label(events, place) for place in range(3)] == [
        tuple(event) for event in NOTE_EVENTS
    ]


def test_offsets():
    assert (ONE_HOT.offsets.shape, ONE_HOT.offsets.tolist()) == ((), 0)
    assert NOTE.offsets.tolist() == [0, 13, 90, 218, 250, 275]
    assert NOTE.offsets.dtype == np.int32


@pytest.mark.parametrize(
    ("encoding", "width", "dense_width"),
    [(ONE_HOT, 388, 388), (COMPACT, 388, 1), (MODULO, 16, 16), (NOTE, 315, 315)],
    ids=["one-hot", "compact", "modulo", "note"],
)
class TestEveryEncoding:
    def events(self, encoding):
        if encoding.event_shape:
            return np.array(NOTE_EVENTS, np.int32)
        return np.arange(388, dtype=np.int32)

    def test_batches(self, encoding, width, dense_width):
        events = self.events(encoding)
        assert (encoding.width, encoding.dense_width) == (width, dense_width)
        vectors = encoding.input_vectors(events)
        assert vectors.shape == (len(events), width)
        batch = np.stack([events, events[::-1]])
        assert encoding.input_vectors(batch).tolist() == np.stack([vectors, vectors[::-1]]).tolist()
        assert encoding.input_vectors(events[1]).tolist() == vectors[1].tolist()

    def test_dense_there_and_back(self, encoding, width, dense_width):
        events = self.events(encoding)
        dense = encoding.dense_inputs(events)
        assert dense.shape == (len(events), dense_width)
        back = encoding.events_from_dense(dense)
        assert back.dtype == np.int32
        np.testing.assert_array_equal(back, events)

    def test_no_dense_inputs(self, encoding, width, dense_width):
        back = encoding.events_from_dense(np.zeros((0, dense_width)))
        assert back.shape == (0, *encoding.event_shape)

    @pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, -0.5, 1e30])
    def test_dense_input_of_no_event(self, encoding, width, dense_width, wrong):
        dense = encoding.dense_inputs(self.events(encoding))
        dense[2, 0] = wrong
        with pytest.raises(ValueError, match="dense input 2 belongs to no event"):
            encoding.events_from_dense(dense)

    def test_dense_width(self, encoding, width, dense_width):
        expected = rf"shape \[L, {dense_width}\], got \(3, {dense_width + 1}\)"
        with pytest.raises(ValueError, match=expected):
            encoding.events_from_dense(np.zeros((3, dense_width + 1)))


@pytest.mark.parametrize(
    ("encoding", "ones"),
    [(ONE_HOT, []), (ONE_HOT, [5, 9]), (NOTE, [0, 13, 90, 218, 250]), (NOTE, [0, 1, 13, 90, 218])],
)
def test_vector_that_is_not_one_hot(encoding, ones):
    dense = np.zeros((1, encoding.width))
    dense[0, ones] = 1
    with pytest.raises(ValueError, match="dense input 0 belongs to no event"):
        encoding.events_from_dense(dense)


@pytest.mark.parametrize("index", [-1, 388, 59.5])
def test_compact_index_of_no_class(index):
    with pytest.raises(ValueError, match="dense input 1 belongs to no event"):
        COMPACT.events_from_dense([[60], [index]])
