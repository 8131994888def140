"""A third representation, made here: all other rooms handle events through `Codec` alone."""

import dataclasses
import pathlib

import numpy as np
import pytest

from bundles import read_bundle
from perf_rnn.configs import get_config
from perf_rnn.data.augmentation import Augmentation
from perf_rnn.data.examples import EventRecords, EventSequence, make_example
from perf_rnn.data.tfrecord import open_writers
from perf_rnn.data.whole_pieces import WholePiece, read_whole_pieces
from perf_rnn.events.codec import Codec
from perf_rnn.events.controls import Conditioning, NoteDensity, PitchHistogram
from perf_rnn.events.encodings import EventEncoding
from perf_rnn.events.note_reader import NoteReader
from perf_rnn.events.one_hot import EventCodec
from perf_rnn.events.rules import EventRules
from perf_rnn.generation.openings import Opening
from perf_rnn.generation.options import SamplingOptions
from perf_rnn.generation.sampler import sample_events
from perf_rnn.generation.streaming import Stream
from perf_rnn.models import Model

BUNDLES = pathlib.Path(__file__).parents[2] / "testdata" / "magenta_bundles"
ONE_HOT = EventCodec(32)


def flip(events):
    """The events with their classes reversed, and back."""
    return np.asarray(387 - np.asarray(events), np.int32)


class FlippedRules(EventRules):
    def __init__(self, primer, batch_size):
        self._rules = ONE_HOT.legal_rules(flip(primer), batch_size)

    @property
    def arrays(self):
        return self._rules.arrays

    @arrays.setter
    def arrays(self, arrays):
        self._rules.arrays = arrays

    def forbid(self, logits, clock):
        self._rules.forbid(logits[:, ::-1], clock)

    def update(self, events, clock):
        self._rules.update(flip(events), clock)


class FlippedReader(NoteReader):
    def __init__(self, *arguments):
        self._reader = ONE_HOT.reader(*arguments)

    def read(self, event):
        return self._reader.read(flip(event))

    def state(self):
        return self._reader.state()

    def restore(self, state):
        self._reader.restore(state)


def takes(name):
    """A method of the codec that takes flipped events."""
    return lambda self, events, *arguments, **options: getattr(ONE_HOT, name)(
        flip(events), *arguments, **options
    )


def takes_and_returns(name):
    """A method of the codec that takes and returns flipped events."""
    return lambda self, *arguments: flip(takes(name)(self, *arguments))


class FlippedCodec(Codec):
    """One-hot events with their classes in reversed order."""

    num_velocity_bins = 32
    event_shape = ()
    whole_notes = False
    head_sizes = (388,)
    default_label = 387 - ONE_HOT.default_label
    kinds = ONE_HOT.kinds
    pitch_classes = slice(387 - 127, 388)
    timeless_classes = ONE_HOT.timeless_classes[::-1]

    note_spans = takes("note_spans")
    event_steps = takes("event_steps")
    num_steps = takes("num_steps")
    max_stretch = takes("max_stretch")
    pitches = takes("pitches")
    note_changes = takes("note_changes")
    kind_numbers = takes("kind_numbers")
    values = takes("values")
    to_performance = takes("to_performance")
    set_length = takes_and_returns("set_length")
    stretch = takes_and_returns("stretch")
    transpose = takes_and_returns("transpose")
    release = takes_and_returns("release")
    map_pitches = takes_and_returns("map_pitches")

    def encode(self, notes, start_step=0):
        return flip(ONE_HOT.encode(notes, start_step))

    def cut_long_notes(self, notes):
        return notes

    def reader(self, max_note_seconds, start_step):
        return FlippedReader(max_note_seconds, start_step)

    def from_performance(self, performance):
        return flip(ONE_HOT.from_performance(performance))

    def note_seq_encoder(self, *, modulo=False, index_input=False):
        raise NotImplementedError  # note_seq has no encoder of these events; nothing asks for one.

    def class_names(self):
        return ONE_HOT.class_names()[::-1]

    def legal_rules(self, primer, batch_size):
        return FlippedRules(primer, batch_size)


BASE = get_config("performance_with_dynamics")
FLIPPED = dataclasses.replace(BASE, key="flipped", encoding=EventEncoding(FlippedCodec()))


@pytest.fixture(scope="module")
def pieces(request):
    folder = request.config.rootpath / "tests/testdata/asap/Bach"
    base, flipped = (read_whole_pieces(str(folder), config).pieces for config in (BASE, FLIPPED))
    for one, other in zip(base, flipped, strict=True):
        np.testing.assert_array_equal(other.events, flip(one.events))
    return base


def flipped_bundle(bundle):
    first, *others = bundle.layers
    kernel = np.concatenate([first.kernel[:388][::-1], first.kernel[388:]])
    return dataclasses.replace(
        bundle,
        layers=(dataclasses.replace(first, kernel=kernel), *others),
        output_kernel=bundle.output_kernel[:, ::-1],
        output_bias=bundle.output_bias[::-1],
    )


def test_augmentation(pieces):
    events = pieces[0].events
    one, other = (
        Augmentation(config)(EventSequence.from_events(own, config), seed=3)
        for config, own in ((BASE, events), (FLIPPED, flip(events)))
    )
    np.testing.assert_array_equal(other.events, flip(one.events))


def test_controls(pieces):
    events = pieces[0].events
    conditioning = Conditioning((NoteDensity(), PitchHistogram()))
    np.testing.assert_array_equal(
        conditioning.extract(flip(events), FlippedCodec()), conditioning.extract(events, ONE_HOT)
    )


@pytest.mark.parametrize("example_format", ["sparse_one_hot", "dense_one_hot"])
def test_records(tmp_path, pieces, example_format):
    events = flip(pieces[0].events[:200])
    path = str(tmp_path / "flipped.tfrecord")
    with open_writers([path]) as (writer,):
        writer.write(make_example(events, FLIPPED, example_format).SerializeToString())
    np.testing.assert_array_equal(EventRecords(path, FLIPPED)[0].events, events)


@pytest.mark.parametrize("legal", [True, False])
def test_sampling_and_streaming(legal):
    # The most probable event is drawn, since the order of classes matters to random draws.
    options = SamplingOptions(top_k=1, legal_events=legal, pitch_min_p=0.01)
    bundle = read_bundle(BUNDLES / "performance_with_dynamics.mag")
    primer = np.array([380, 60, 305, 188], np.int32)
    model, opening = Model(bundle, BASE), Opening(primer)
    other_model, other_opening = Model(flipped_bundle(bundle), FLIPPED), Opening(flip(primer))
    (events,) = sample_events(model, opening, 1000, [0], options)
    (flipped,) = sample_events(other_model, other_opening, 1000, [0], options)
    np.testing.assert_array_equal(flipped, flip(events))
    assert len(events) > 20

    streams = (
        Stream(model, opening, 0, options),
        Stream(other_model, other_opening, 0, options),
    )
    for _ in range(5 if legal else 1):
        one, other = map(next, streams)
        assert one == other


def test_warm_start_and_evaluation(pieces):
    from perf_rnn.network.network import build_network, bundle_from_network
    from perf_rnn.network.warm_start import transfer_weights
    from perf_rnn.training.piece_evaluation import figures, measure_pieces

    bundle = read_bundle(BUNDLES / "performance_with_dynamics.mag")
    hparams = dataclasses.replace(BASE.hparams, rnn_layer_sizes=bundle.layer_sizes)
    results = []
    for config in (BASE, FLIPPED):
        network = build_network(config, hparams)
        transfer_weights(network, config, bundle)
        own = [
            WholePiece(piece.name, piece.events if config is BASE else flip(piece.events))
            for piece in pieces
        ]
        results.append(figures(measure_pieces(network, config, own)))
    moved = bundle_from_network(network, FLIPPED)
    np.testing.assert_array_equal(moved.output_bias, bundle.output_bias[::-1])
    for kind, figure in results[0]["kinds"].items():
        assert results[1]["kinds"][kind]["events"] == figure["events"]
        assert results[1]["kinds"][kind]["nll"] == pytest.approx(figure["nll"], abs=1e-4)
