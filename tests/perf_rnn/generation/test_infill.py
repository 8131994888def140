import collections
import pathlib

import numpy as np
import pytest

import perf_rnn
from perf_rnn.generation import generate as generation
from perf_rnn.generation import infill, primers
from perf_rnn.generation.control_schedule import ControlSchedule
from perf_rnn.generation.openings import Opening
from perf_rnn.generation.sampler import log_likelihood, sample_events
from perf_rnn.models import load_model
from perf_rnn.notes.arrays import NoteArrays
from perf_rnn.notes.midi import parse_midi
from perf_rnn.notes.midi_writer import to_midi
from perf_rnn.notes.music_files import read_midi_file

BUNDLES = pathlib.Path(__file__).parent.parent.parent / "testdata" / "magenta_bundles"
MODEL = load_model(BUNDLES / "performance_with_dynamics.mag")
ALWAYS = ControlSchedule(MODEL.config.conditioning)


@pytest.fixture
def fugue(asap_dir):
    return asap_dir / "Bach" / "Fugue" / "bwv_875" / "CaoJ01M.mid"


def rows(notes, which):
    columns = notes.start_time, notes.end_time, notes.pitch, notes.velocity
    return collections.Counter(zip(*(column[which].tolist() for column in columns), strict=True))


def test_only_the_gap_is_played_anew(fugue, monkeypatch):
    """In the MIDI file, what was played around it is as it was, tick by tick."""
    monkeypatch.setattr(infill, "CANDIDATES", 3)
    played = read_midi_file(fugue)
    begin, end = 40.0, 47.5
    primer = primers.from_arguments(fugue, None, 5, infill=[begin, end])
    assert primer.notes.total_time <= 5
    assert primer.end == pytest.approx(begin)
    num_steps = generation.length_in_steps(None, None, primer)
    options = generation.GenerationOptions(num_steps, 2, 3, primer)
    pieces = generation.generate_pieces(MODEL, options)
    assert pieces[0].events.tolist() != pieces[1].events.tolist()
    outside = (played.end_time <= begin) | (played.start_time >= end)
    for piece in pieces:
        written = parse_midi(to_midi(piece.notes))
        assert rows(played, outside) <= rows(written, slice(None))
        is_cut = ~outside & (played.start_time < begin)
        num_kept = int(outside.sum() + is_cut.sum())
        assert written.num_notes == num_kept + piece.continuation.num_notes
        added = piece.continuation.start_time + primer.begin + piece.primer_steps / 100
        ends = piece.continuation.end_time + primer.begin + piece.primer_steps / 100
        assert begin - 0.01 <= added.min() <= ends.max() <= end
        assert written.tempo_qpm.tolist() == played.tempo_qpm.tolist()
        assert piece.notes.total_time == played.total_time


def test_the_pedal_around_the_gap():
    notes = NoteArrays(
        start_time=[0.0, 1.0, 2.0, 3.0],
        end_time=[0.5, 1.5, 2.5, 3.5],
        pitch=[60, 62, 64, 65],
        velocity=[50] * 4,
        control_time=[0.2, 2.2, 3.2],
        control_number=[64, 64, 64],
        control_value=[127, 90, 0],
        total_time=4.0,
    )
    primer = primers.around_gap(notes, "[1.2, 2.9]", 30)
    joined = primer.join(NoteArrays([0.1], [0.3], [70], [30], total_time=1.7), 1.2)
    order = np.argsort(joined.control_time)
    pedal = zip(joined.control_time[order], joined.control_value[order], strict=True)
    assert list(pedal) == [(0.2, 127), (1.2, 0), (2.9, 90), (3.2, 0)]
    order = np.argsort(joined.start_time)
    assert joined.pitch[order].tolist() == [60, 62, 70, 65]
    assert joined.end_time[order].tolist() == pytest.approx([0.5, 1.2, 1.5, 3.5])
    assert joined.total_time == 4.0


def test_the_candidate_that_leads_into_what_follows_is_chosen():
    candidates = sample_events(MODEL, Opening(np.array([60, 300, 188], np.int32)), 300, range(5))
    following = np.array([380, 72, 310, 200, 67], np.int32)
    scores = []
    for events in candidates:
        before = np.concatenate([events, MODEL.config.codec.release(events)])
        whole = np.concatenate([before, following])
        (alone, together) = log_likelihood(MODEL, [before, whole])
        scores.append(together - alone)
        (after,) = log_likelihood(MODEL, [whole], skip=[len(before)])
        assert after == pytest.approx(together - alone)
    chosen = infill.choose(MODEL, candidates, following, ALWAYS)
    assert chosen is candidates[int(np.argmax(scores))]


def test_skipped_events_with_a_lead_in():
    pieces, lead_in = [np.array([60, 300, 188, 310], np.int32)], np.array([355], np.int32)
    first = log_likelihood(MODEL, [pieces[0][:1]], lead_in=lead_in)
    whole = log_likelihood(MODEL, pieces, lead_in=lead_in)
    assert log_likelihood(MODEL, pieces, lead_in=lead_in, skip=[1]) == pytest.approx(whole - first)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"infill": [40, 30]}, r"infill \[40, 30\] is not a begin above 0 and an end after it"),
        ({"infill": "40"}, r"infill 40 is not a begin"),
        ({"infill": "[40,"}, r"infill '\[40,' is not a begin"),
        ({"infill": [0, 30]}, r"infill \[0, 30\] is not"),
        ({"infill": [40, 500]}, "no note starts after 500 s, where the infill ends"),
        ({"infill": [0.001, 48]}, "no note starts before 0.001 s, where the infill begins"),
        ({"infill": [40, 48], "seconds": 9}, "infill is as long as it says; leave out seconds=9"),
        (
            {"infill": [40, 48], "ending": "rest"},
            "infill ends where it says; leave out ending=rest",
        ),
        (
            {"infill": [40, 48], "primer": None},
            "infill is given, but no recording in which it lies, as the primer",
        ),
    ],
)
def test_bad_arguments(fugue, arguments, message):
    with pytest.raises(ValueError, match=message):
        perf_rnn.generate(MODEL, **{"primer": fugue, **arguments})


def test_note_events_cannot_be_led_into_other_music(fugue):
    bundle = BUNDLES / "performance_with_dynamics_and_note_encoding.mag"
    with pytest.raises(ValueError, match="infill: the note events of performance_with"):
        perf_rnn.generate(bundle, primer=fugue, infill=[40, 48])
