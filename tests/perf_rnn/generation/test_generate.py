import collections
import itertools
import pathlib
import random
import subprocess
import sys

import numpy as np
import pytest
from note_seq.protobuf import music_pb2

import perf_rnn
from bundles import BundleError
from perf_rnn import models
from perf_rnn.configs import get_config
from perf_rnn.generation import generate as generation
from perf_rnn.generation import openings, primers
from perf_rnn.generation.openings import Opening
from perf_rnn.generation.options import SamplingOptions
from perf_rnn.generation.sampler import sample_events
from perf_rnn.notes.arrays import NoteArrays
from perf_rnn.notes.midi import parse_midi
from perf_rnn.notes.midi_writer import to_midi
from perf_rnn.notes.music_files import read_midi_file

ROOT = pathlib.Path(__file__).parent.parent.parent.parent
MAGENTA = ROOT / "tests" / "testdata" / "magenta_bundles"
CONFIG = get_config("performance_with_dynamics")
NOTE_CONFIG = get_config("performance_with_dynamics_and_note_encoding")
MULTI = MAGENTA / "multiconditioned_performance_with_dynamics.mag"
OPTIONAL = MAGENTA / "optional_multiconditioned_performance_with_dynamics.mag"


def fixture(key=CONFIG.key):
    return MAGENTA / f"{key}.mag"


def notes_of(sequence):
    return [(n.pitch, n.start_time, n.end_time, n.velocity) for n in sequence.notes]


def test_pieces():
    pieces = perf_rnn.generate(fixture(), 7, num_outputs=3, seed=4)
    assert [piece.total_time for piece in pieces] == [7.0] * 3
    for piece in pieces:
        assert all(0 <= n.start_time < n.end_time <= 7.0 for n in piece.notes)
        assert all(n.end_time - n.start_time <= 5.0 + 1e-9 for n in piece.notes)
        assert {n.velocity % 4 for n in piece.notes} == {1}
        assert {(n.program, n.is_drum) for n in piece.notes} == {(0, False)}
    again = perf_rnn.generate(fixture(), 7, num_outputs=2, seed=4)
    assert [notes_of(p) for p in again] == [notes_of(p) for p in pieces[:2]]
    (other,) = perf_rnn.generate(fixture(), 7, seed=5)
    assert notes_of(other) != notes_of(pieces[0])


@pytest.mark.parametrize("name", ["attention", "residual", "attention_residual"])
def test_every_stack_plays(name):
    (piece,) = perf_rnn.generate(MAGENTA / f"{name}.mag", 20, seed=1)
    assert max(n.start_time for n in piece.notes) > 15


def test_without_primer_music_begins_at_once():
    opening = openings.silence(CONFIG)
    assert (opening.lead_in.tolist(), opening.events.tolist()) == ([355], [])
    for piece in perf_rnn.generate(fixture(), 5, num_outputs=4, seed=1):
        assert min(n.start_time for n in piece.notes) == 0.0
        assert piece.total_time == 5.0
    beams = perf_rnn.generate(fixture(), 5, seed=1, beam_size=2, branch_factor=2)
    assert min(n.start_time for n in beams[0].notes) == 0.0
    assert next(perf_rnn.stream(fixture(), seed=1)).time == 0.0


def test_the_network_reads_a_second_of_silence_before_a_piece():
    """Freely drawn events are those that follow a primer of a second of silence."""
    model = models.load_model(fixture())
    options, seeds = SamplingOptions(legal_events=False), [(1, 0), (1, 1)]
    pieces = sample_events(model, openings.silence(model.config), 500, seeds, options)
    after = sample_events(model, Opening(np.array([355])), 600, seeds, options)
    assert [[355, *piece] for piece in pieces] == list(map(list, after))


def test_the_label_that_note_events_start_with_is_not_played():
    opening = openings.silence(NOTE_CONFIG)
    assert (opening.lead_in.tolist(), opening.events.shape) == ([[0, 0, 60, 0, 0, 0]], (0, 6))
    (piece,) = perf_rnn.generate(fixture(NOTE_CONFIG.key), 20, seed=1)
    assert (60, 0.0, 0.01, 1) not in notes_of(piece)


@pytest.mark.parametrize("key", [CONFIG.key, NOTE_CONFIG.key])
def test_primer_is_played_first(key):
    melody = primers.from_melody("[60, -2, 64, -1]")
    joined, alone = (
        perf_rnn.generate(fixture(key), 15, primer=melody, seed=1, output=output)[0]
        for output in ("joined", "continuation")
    )
    # As it was given, not in 32 velocities and steps of 10 ms.
    assert notes_of(joined)[:2] == [(60, 0.0, 0.25, 100), (64, 0.25, 0.375, 100)]
    # A note event goes on from the start of the last one.
    until = 0.25 if key == NOTE_CONFIG.key else 0.5
    assert (joined.total_time, alone.total_time) == (15.0, pytest.approx(15 - until))
    moved = [(pitch, start - until, end - until, v) for pitch, start, end, v in notes_of(joined)]
    np.testing.assert_allclose(moved[2:], notes_of(alone))
    assert len(alone.notes) > 3
    assert min(note.start_time for note in alone.notes) > -1e-9


@pytest.mark.parametrize("key", [CONFIG.key, NOTE_CONFIG.key])
@pytest.mark.parametrize("primer_from", ["start", "end"])
def test_a_recording_is_continued(asap_dir, key, primer_from):
    """In the MIDI file, what was played is as it was, tick by tick, with the pedal."""

    def rows(notes, which):
        columns = notes.start_time, notes.end_time, notes.pitch, notes.velocity
        return collections.Counter(
            zip(*(column[which].tolist() for column in columns), strict=True)
        )

    path = asap_dir / "Bach" / "Fugue" / "bwv_875" / "CaoJ01M.mid"
    played, model = read_midi_file(path), models.load_model(fixture(key))
    primer = primers.from_arguments(path, None, 8.0, primer_from)
    assert primer.notes.total_time <= 8
    options = generation.GenerationOptions(1200, 2, 3, primer)
    for piece in generation.generate_pieces(model, options):
        written = parse_midi(to_midi(piece.notes))
        assert written.ticks_per_quarter == played.ticks_per_quarter
        expected = rows(played, played.end_time <= primer.end)
        assert expected <= rows(written, slice(None))
        join = primer.begin + piece.primer_steps / 100
        num_played = int((played.start_time < primer.end).sum())
        assert written.num_notes == num_played + piece.continuation.num_notes
        if primer_from == "end":
            assert expected == rows(played, slice(None))
        for name in ("control_time", "control_number", "control_value"):
            before = getattr(played, name)[played.control_time <= primer.end]
            assert getattr(written, name)[: len(before)].tolist() == before.tolist()
        # The first note that was drawn is where its events say.
        drawn = piece.events[len(openings.from_notes(primer.notes, model.config).events) :]
        is_start = drawn[:, 0] >= 0 if key == NOTE_CONFIG.key else drawn < 128
        count = int(np.argmax(is_start)) + 1
        first = join + model.config.codec.event_steps(drawn[:count]).sum() / 100
        assert first == pytest.approx(join + piece.continuation.start_time.min())
        assert np.abs(written.start_time - first).min() < 0.002
        assert piece.continuation.num_notes > 1


def test_arguments_are_what_the_flags_are(asap_dir):
    midi = asap_dir / "Bach" / "Fugue" / "bwv_875" / "CaoJ01M.mid"
    for one, other in (
        ({"seconds": 4, "primer": [60, 64]}, {"num_steps": 400, "primer": np.array([60, 64])}),
        (
            {"seconds": 4, "primer": primers.from_melody("[60, -2, 62]")},
            {"num_steps": np.int64(400), "primer_melody": [np.int64(60), -2, 62]},
        ),
        (
            {"seconds": 4, "primer": primers.from_any(midi, 2.5).recording},
            {"num_steps": 400, "primer": midi, "max_primer_seconds": 2.5},
        ),
    ):
        pieces = [perf_rnn.generate(fixture(), seed=1, **asked)[0] for asked in (one, other)]
        assert pieces[0] == pieces[1]
        first = next(perf_rnn.stream(fixture(), primer=one["primer"], seed=1))
        assert first.pitch == min(pieces[0].notes, key=lambda n: (n.start_time, n.pitch)).pitch
    (piece,) = perf_rnn.generate(fixture(), seed=1)
    assert piece.total_time == 30.0


def test_a_new_seed_leaves_other_random_numbers_alone():
    random.seed(3)
    np.random.seed(3)
    states = random.getstate(), np.random.get_state()[1].tolist()
    pieces = [perf_rnn.generate(fixture(), 5)[0] for _ in range(2)]
    next(perf_rnn.stream(fixture()))
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states
    assert notes_of(pieces[0]) != notes_of(pieces[1])


def test_a_primers_only_program_is_kept():
    sequence = music_pb2.NoteSequence(total_time=0.5)
    for pitch, program in ((60, 4), (64, 4)):
        sequence.notes.add(pitch=pitch, velocity=100, start_time=0, end_time=0.5, program=program)
    (piece,) = perf_rnn.generate(fixture(), 4, primer=sequence, seed=1)
    assert {n.program for n in piece.notes} == {4}
    sequence.notes[1].program = 0
    (piece,) = perf_rnn.generate(fixture(), 4, primer=sequence, seed=1)
    assert [n.program for n in piece.notes[:2]] == [4, 0]
    assert {n.program for n in piece.notes[2:]} == {0}


@pytest.mark.parametrize("melody", ["[60]", "[60,-2,62,-2,64]", "[60,-2,-2,-2]"])
def test_a_primers_notes_are_all_released(melody):
    events = openings.from_notes(primers.from_melody(melody), CONFIG).events
    on, off = events < 128, (events >= 128) & (events < 256)
    assert sorted(events[on]) == sorted(events[off] - 128)


def test_notes_too_long_for_note_events_are_cut():
    notes = NoteArrays([0.0], [30.0], [60], [80], [0], [0], [False], total_time=30.0)
    assert openings.from_notes(notes, NOTE_CONFIG).events.tolist() == [[0, 0, 60, 19, 24, 39]]


def test_controls_change_what_is_played():
    plain, steered, again = (
        notes_of(perf_rnn.generate(MULTI, 20, seed=1, **controls)[0])
        for controls in (
            {},
            {"notes_per_second": [1, 64], "pitch_class_histogram": "c_major"},
            {"notes_per_second": 2**3.5, "pitch_class_histogram": [1] * 12},
        )
    )
    assert steered != plain
    assert again == plain  # The defaults, spelt out: 2**3.5 is the middle of the class of 15.
    disabled = perf_rnn.generate(
        OPTIONAL, 20, seed=1, disable_conditioning=True, notes_per_second=[1, 64]
    )
    assert notes_of(disabled[0]) == notes_of(
        perf_rnn.generate(OPTIONAL, 20, seed=1, disable_conditioning=True)[0]
    )


def test_options_reach_the_sampler():
    plain = notes_of(perf_rnn.generate(fixture(), 10, seed=1)[0])
    for options in (
        {"temperature": [0.5, 2.0]},
        {"top_k": 5},
        {"top_p": 0.5},
        {"min_p": 0.5},
        {"legal_events": False},
    ):
        assert notes_of(perf_rnn.generate(fixture(), 10, seed=1, **options)[0]) != plain


def test_beam_search():
    beam = {"beam_size": 2, "branch_factor": 2, "steps_per_iteration": 3}
    pieces = perf_rnn.generate(fixture(), 6, seed=1, num_outputs=2, **beam)
    assert [piece.total_time for piece in pieces] == [6.0, 6.0]
    assert max(n.start_time for n in pieces[0].notes) > 4
    assert notes_of(pieces[0]) != notes_of(perf_rnn.generate(fixture(), 6, seed=1)[0])
    (again,) = perf_rnn.generate(fixture(), 6, seed=1, **beam)
    assert notes_of(again) == notes_of(pieces[0])


@pytest.mark.parametrize("primer", [None, [60, 64]])
def test_streams_play_what_generate_does(primer):
    options = {"primer": primer, "seed": 5, "temperature": 1.1, "notes_per_second": 4}
    (piece,) = perf_rnn.generate(MULTI, 30, **options)
    stream = perf_rnn.stream(MULTI, **options)
    messages = list(itertools.takewhile(lambda message: message.time < 30, stream))
    starts = {(n.start_time, n.pitch, n.velocity) for n in piece.notes}
    ends = {(n.end_time, n.pitch, 0) for n in piece.notes if n.end_time < 30}
    if primer:  # A stream plays it in 32 velocities.
        starts = {(time, pitch, 97 if time == 0 else v) for time, pitch, v in starts}
    assert set(messages) == starts | ends
    assert len(starts) > 10


def test_a_stream_has_no_end_to_spread_a_list_over():
    with pytest.raises(ValueError, match="a list of 2 values needs a piece of known length"):
        perf_rnn.stream(fixture(), temperature=[1, 2])
    with pytest.raises(ValueError, match="seed -1 is not a whole number of at least 0"):
        perf_rnn.stream(fixture(), seed=-1)


def test_a_config_that_no_bundle_is_shipped_for():
    with pytest.raises(BundleError, match="there is no shipped bundle 'pitch_conditioned_p"):
        perf_rnn.generate("pitch_conditioned_performance_with_dynamics")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seconds": 0}, "seconds 0 is not a number from 0.02 to 604800"),
        ({"seconds": float("nan")}, "seconds nan is not a number from 0.02"),
        ({"seconds": 0.01}, "seconds 0.01 is not a number from 0.02"),
        ({"seconds": "5"}, "seconds '5' is not a number from 0.02"),
        ({"num_steps": 500}, "seconds=5 and num_steps=500: give one of them"),
        ({"seconds": None, "num_steps": 1.5}, "num_steps 1.5 is not a whole number of at least 2"),
        ({"seed": 1.5}, "seed 1.5 is not a whole number"),
        ({"primer": [60.5]}, r"primer \[60.5\] is not a list of integers such as \[60,64,67\]"),
        ({"primer": [60], "primer_melody": [60]}, "give primer or primer_melody, not both"),
        ({"primer_melody": [-1]}, r"primer_melody \[-1\] holds no note"),
        ({"max_primer_seconds": 2}, "max_primer_seconds is given, but no primer"),
        ({"primer": [60], "max_primer_seconds": "2"}, "max_primer_seconds '2' is not a number abo"),
        ({"config_or_bundle": 5}, "a int is no model; give a config's key"),
        ({"num_outputs": 0}, "num_outputs 0 is not a whole number of at least 1"),
        ({"temperature": 0.0}, "temperature 0.0 is not a number above 0"),
        ({"beam_size": 0}, "beam_size 0 is not a whole number of at least 1"),
        (
            {"seconds": 0.4, "primer": [60]},
            r"lasts 0\.5 s, .* 0\.4 s; .* \(max_primer_seconds=0\.2\) .* \(seconds=1\)",
        ),
        ({"notes_per_second": 4}, "has no notes_per_second; those of these configs have: density_"),
        (
            {"disable_conditioning": True},
            "has no disable_conditioning; .*: optional_multicondition",
        ),
        ({"second": 4}, "^there is no argument 'second'; perhaps seconds$"),
        ({"tempo": 4}, "no argument 'tempo'; controls are notes_per_second, pitch_class_histogram"),
        ({"config_or_bundle": MULTI, "notes_per_second": -5}, "notes_per_second -5 is not a numbe"),
    ],
)
def test_bad_values(values, message):
    with pytest.raises(ValueError, match=message):
        perf_rnn.generate(**{"config_or_bundle": fixture(), "seconds": 5, **values})


def test_nll_is_that_of_the_generated_part():
    options = generation.GenerationOptions(
        1000, 2, 5, primers.from_any([60, 64]), controls={"notes_per_second": [2, 8]}
    )
    plain, measured = (
        generation.generate_pieces(models.load_model(MULTI), options, with_nll=with_nll)
        for with_nll in (False, True)
    )
    assert [piece.nll for piece in plain] == [None, None]
    assert [piece.events.tolist() for piece in plain] == [p.events.tolist() for p in measured]
    # Of a network with random weights: about that of 388 classes that are equally probable.
    assert [piece.nll for piece in measured] == pytest.approx([np.log(388)] * 2, abs=0.3)


def test_progress_is_told():
    told: list[int] = []
    options = generation.GenerationOptions(2000, 1, 0)
    generation.generate_pieces(models.load_model(fixture()), options, on_progress=told.append)
    assert told[0] == 0
    assert told == sorted(told)
    assert np.all(np.array(told) < 2000)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1.5", 1.5), (" [0.8, 1.2] ", [0.8, 1.2]), ("[1]", [1.0]), ("1e-3", 0.001)],
)
def test_temperatures_that_users_write(text, value):
    assert generation.parse_temperature(text) == value
    SamplingOptions(generation.parse_temperature(text))


@pytest.mark.parametrize("text", ["", "warm", "nan", "1,2", "[1", "[[1]]"])
def test_what_is_no_temperature(text):
    with pytest.raises(ValueError, match="is neither a number nor a list such as"):
        generation.parse_temperature(text)


def test_import_is_light():
    code = (
        "import sys, perf_rnn; "
        "assert not {'numpy', 'tensorflow', 'keras', 'note_seq'} & sys.modules.keys(); "
        "assert 'perf_rnn.generation.generate' not in sys.modules; "
        "perf_rnn.generate; "
        "assert not {'tensorflow', 'keras', 'note_seq'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        perf_rnn.nothing  # noqa: B018
