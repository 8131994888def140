import copy
import dataclasses
import itertools
import pathlib
import pickle

import numpy as np
import pytest

from perf_rnn.configs import default_configs, get_config
from perf_rnn.events.note_events import NoteCodec
from perf_rnn.generation.control_schedule import ControlSchedule
from perf_rnn.generation.openings import Opening
from perf_rnn.generation.options import SamplingOptions
from perf_rnn.generation.sampler import sample_events
from perf_rnn.generation.streaming import Stream
from perf_rnn.models import load_model

BUNDLES = pathlib.Path(__file__).parent.parent.parent / "testdata" / "magenta_bundles"
OPTIONAL = "optional_multiconditioned_performance_with_dynamics"
FREE = SamplingOptions(legal_events=False)


def fixture(key):
    config = get_config(key)
    primer = [60, 64, 300, 60, 270, 60, 188]  # Overlapping notes of one pitch.
    if isinstance(config.codec, NoteCodec):
        primer = [[0, 10, 60, 20, 0, 30], [0, 5, 64, 21, 0, 20]]
    return load_model(BUNDLES / f"{key}.mag", key), Opening(np.array(primer, np.int32))


def messages_of(notes):
    """The starts and ends of notes, in order of time."""
    columns = notes.start_time, notes.end_time, notes.pitch, notes.velocity
    rows = list(zip(*(column.tolist() for column in columns), strict=True))
    starts = [(start, pitch, velocity) for start, _, pitch, velocity in rows]
    return sorted([*starts, *((end, pitch, 0) for _, end, pitch, _ in rows)])


@pytest.mark.parametrize("legal", [True, False])
@pytest.mark.parametrize("key", default_configs)
def test_streamed_is_the_batchs_piece(key, legal):
    """The same starts and ends to the last bit, in order of time, up to the piece's end."""
    model, opening = fixture(key)
    codec = model.config.codec
    options = SamplingOptions(legal_events=legal)
    num_steps, start_step, longest = 20_000 if codec.whole_notes else 3000, 37, 2.0
    opening = dataclasses.replace(opening, start_step=start_step)
    (piece,) = sample_events(model, opening, num_steps, [4], options)
    # Note events hold their durations themselves.
    limit = None if codec.whole_notes else longest
    end = (num_steps + start_step) / 100
    # At its end, notes are cut that go on in the stream.
    expected = [
        message
        for message in messages_of(codec.decode(piece, start_step, max_note_duration=limit))
        if message[0] < end
    ]
    stream = Stream(model, opening, 4, options, None, longest)
    streamed = list(itertools.takewhile(lambda message: message.time < end, stream))
    times = [message.time for message in streamed]
    assert times == sorted(times)
    assert sorted(streamed) == expected
    assert len(streamed) > 40


def test_notes_that_are_never_released_are_cut():
    """Their releases, should they come, end none of the notes after them."""
    model, _ = fixture("performance")
    primer = [60, *[355] * 6, 60, 261, 188, 261, 188, 355]
    stream = Stream(model, Opening(np.array(primer, np.int32)), 0, FREE, max_note_seconds=4.0)
    assert list(itertools.islice(stream, 4)) == [
        (0.0, 60, 100),
        (4.0, 60, 0),
        (6.0, 60, 100),
        (6.12, 60, 0),
    ]


def test_a_note_released_when_it_is_struck_is_none():
    model, _ = fixture("performance")
    primer = np.array([60, 64, 188, 265, 192, 355], np.int32)
    stream = Stream(model, Opening(primer), 0, FREE)
    assert list(itertools.islice(stream, 2)) == [(0.0, 64, 100), (0.1, 64, 0)]


def test_a_message_comes_before_what_follows_is_drawn():
    """What is yet to come has no part in it, so a player gets it in time."""
    model, opening = fixture("performance")
    stream = Stream(model, opening, 0)
    for _ in range(300):
        message = next(stream)
        if not stream._messages:
            # Time has just moved on, by a second at most.
            assert stream._sampler.clock[0] / 100 - message.time <= 1.0


def test_it_cannot_be_pickled():
    model, opening = fixture("performance")
    stream = Stream(model, opening, 0)
    for copy_of in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match=r"save its state\(\) and restore\(\) it in a new St"):
            copy_of(stream)


@pytest.mark.parametrize("legal", [True, False])
@pytest.mark.parametrize("key", default_configs)
def test_restored_is_uninterrupted(key, legal, tmp_path):
    model, opening = fixture(key)
    options = SamplingOptions(legal_events=legal)
    stream = Stream(model, opening, 1, options)
    for _ in range(30):
        next(stream)
    np.savez(tmp_path / "state.npz", **stream.state())
    expected = list(itertools.islice(stream, 50))
    other = Stream(model, Opening(opening.events[:1]), 2, options)
    other.restore(np.load(tmp_path / "state.npz", allow_pickle=False))
    found = list(itertools.islice(other, 50))
    assert found == expected
    assert [type(value) for value in found[0]] == [float, int, int]


def test_what_is_remembered_does_not_grow():
    model, opening = fixture("performance")
    for options in (SamplingOptions(), FREE):
        stream = Stream(model, opening, 1, options)
        sizes = []
        for _ in range(6):
            for _ in range(100):
                next(stream)
            sizes.append(sum(array.nbytes for array in stream.state().values()))
        # All but the notes of the last 5 s has a fixed size.
        assert max(sizes) - min(sizes) < 24 * 500
        assert max(sizes) < 20_000


def test_temperature_and_controls_change_while_it_plays():
    model, opening = fixture(OPTIONAL)
    stream, steady = (Stream(model, opening, 1) for _ in range(2))
    first = list(itertools.islice(stream, 10))
    assert first == list(itertools.islice(steady, 10))
    stream.ask(notes_per_second=2, pitch_class_histogram="c_major")
    asked = stream.controls(np.array([5]))
    expected = ControlSchedule(
        model.config.conditioning, {"notes_per_second": 2, "pitch_class_histogram": "c_major"}
    )
    np.testing.assert_array_equal(asked, expected(np.array([5])))
    stream.options = SamplingOptions(temperature=0.01)
    assert list(itertools.islice(stream, 10)) != list(itertools.islice(steady, 10))
    stream.ask(disable_conditioning=True)
    assert stream.controls(np.array([0])).tolist() == [[1.0] + [0.0] * 20]
    stream.controls = ControlSchedule(model.config.conditioning)
    assert stream.options == SamplingOptions(temperature=0.01)


def test_bad_requests():
    model, opening = fixture("performance_with_dynamics")
    with pytest.raises(ValueError, match="max_note_seconds 0 is not above 0"):
        Stream(model, opening, 1, max_note_seconds=0)
    with pytest.raises(ValueError, match="a list of 2 values needs a piece of known length"):
        Stream(model, opening, 1, SamplingOptions([1.0, 2.0]))
    stream = Stream(model, opening, 1)
    with pytest.raises(ValueError, match="this model has no notes_per_second; those of these"):
        stream.ask(notes_per_second=4)
    other = Stream(model, opening, 1, FREE)
    with pytest.raises(ValueError, match="the state is that of another model, or of other"):
        stream.restore(other.state())
