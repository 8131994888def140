"""Performances of the engine: the piece of a seed, and what a person plays in it."""

import pathlib

import numpy as np
import pytest
from note_seq.protobuf import music_pb2

import perf_rnn
from perf_rnn.models import load_model
from perf_rnn.studio import model_file

BUNDLES = pathlib.Path(__file__).parents[2] / "testdata" / "magenta_bundles"
DYNAMICS = "performance_with_dynamics"
NOTES = "performance_with_dynamics_and_note_encoding"
DENSITY = "density_conditioned_performance_with_dynamics"
MODELS = (DYNAMICS, NOTES, DENSITY)
SETTINGS = {
    "temperature": 1.0,
    "top_p": 1.0,
    "min_p": 0.0,
    "pitch_min_p": 0.05,
    "loudness": 0.0,
    "density": None,
    "pitch_classes": None,
    "pause": 1.0,
    "split": None,
}
PRIMER = [(0.0, 0.5, 60, 80), (0.5, 1.0, 64, 90), (0.5, 2.0, 55, 40)]
SPLIT = 64
# (pressed, released, pitch, velocity); one key is struck twice, one is held long.
KEYS = [(1 + 0.4 * n, 1.3 + 0.4 * n, 64 + 3 * n % 20, 30 + 5 * n) for n in range(16)]
KEYS += [(2.03, 3.5, 90, 77), (3.505, 3.51, 90, 70), (4.0, 10.5, 100, 60)]


def play(model=DYNAMICS, mode="alone", actions=(), seconds=12, primer=None, seed=3, **settings):
    options = {"seed": seed, "mode": mode, "primer": primer, "settings": {**SETTINGS, **settings}}
    return {
        "do": "performed",
        "model": f"{model}.model",
        "options": options,
        "actions": sorted(actions, key=lambda action: action["at"]),
        "seconds": seconds,
    }


def act(at, method, *values):
    return {"at": at, "method": method, "values": values}


def press(keys):
    """Keys arrive a moment after they are touched."""
    for start, end, pitch, velocity in keys:
        yield act(start + 0.015, "key", start, pitch, velocity)
        yield act(end + 0.015, "key", end, pitch, 0)


JOBS = {
    "alone": play(),
    "alone, whole notes": play(NOTES),
    "primer": play(primer=PRIMER),
    "primer, whole notes": play(NOTES, primer=PRIMER),
    "controls": play(DENSITY, density=3.0),
    "same settings again": play(actions=[act(5, "set", SETTINGS)]),
    "other settings": play(actions=[act(5, "set", {**SETTINGS, "temperature": 0.5})]),
    "other controls": play(DENSITY, actions=[act(5, "set", {**SETTINGS, "density": 3.0})]),
    "undo": play(actions=[act(9, "undo", 4)]),
    "long": play(seconds=70),
    "duet": play(mode="duet", actions=press(KEYS), split=SPLIT),
    "tap": play(mode="tap", actions=press(KEYS[:10])),
    "response": play(mode="response", actions=press(KEYS[:5])),
    "response, whole notes": play(NOTES, mode="response", actions=press(KEYS[:5])),
    "pedal": play(
        mode="response", actions=[*press(KEYS[:1]), act(1.1, "pedal", 1.1, True),
                                  act(4, "pedal", 4, False)],
    ),
    "all modes": play(
        actions=[*press(KEYS), act(2, "setMode", "duet"), act(4, "setMode", "tap"),
                 act(5, "setMode", "response"), act(8, "setMode", "duet"), act(9, "undo", 3),
                 act(10, "set", {**SETTINGS, "loudness": 1.0}), act(14, "setMode", "alone")],
        seconds=18,
    ),
    "loud": play(loudness=1.0),
    "soft": play(loudness=-1.0),
    "c major": play(pitch_classes=[1, 0, 1, 0, 1, 1, 0, 1, 0, 1, 0, 1]),
    "dense": play(density=20.0),
    "sparse": play(density=2.0),
}  # fmt: skip


@pytest.fixture(scope="module")
def results(folder, run_in_node):
    for name in MODELS:
        model = load_model(BUNDLES / f"{name}.mag")
        (folder / f"{name}.model").write_bytes(model_file.encode_model(model, "float32"))
    return dict(zip(JOBS, run_in_node(folder, list(JOBS.values())), strict=True))


def started(result, until=9.0):
    """(start, pitch, velocity) of the notes."""
    notes = [(note["start"], note["pitch"], note["velocity"]) for note in result["notes"]]
    return sorted(note for note in notes if note[0] < until)


def ended(result, until=9.0):
    """(start, end, pitch, velocity) of the notes that end before some seconds."""
    notes = [note for note in result["notes"] if note["end"] is not None and note["end"] < until]
    return sorted((n["start"], n["end"], n["pitch"], n["velocity"]) for n in notes)


@pytest.mark.parametrize(
    ("name", "model", "primer", "controls"),
    [
        ("alone", DYNAMICS, None, {}),
        ("alone, whole notes", NOTES, None, {}),
        ("primer", DYNAMICS, PRIMER, {}),
        ("primer, whole notes", NOTES, PRIMER, {}),
        ("controls", DENSITY, None, {"notes_per_second": 3.0}),
    ],
)
def test_a_seed_gives_the_piece_that_python_makes(results, name, model, primer, controls):
    sequence = None
    begin = 0.0
    if primer:
        sequence = music_pb2.NoteSequence()
        for start, end, pitch, velocity in primer:
            sequence.notes.add(start_time=start, end_time=end, pitch=pitch, velocity=velocity)
        # Where the network continues: note events have no end but the last note's start.
        begin = 0.5 if model == NOTES else 2.0
    (piece,) = perf_rnn.generate(
        str(BUNDLES / f"{model}.mag"), 20.0, seed=3, primer=sequence, **controls
    )
    notes = list(piece.notes)[len(primer or []) :]
    expected = [(n.start_time - begin, n.end_time - begin, n.pitch, n.velocity) for n in notes]
    expected = sorted(note for note in expected if note[1] < 9.0)
    assert len(expected) > 3
    np.testing.assert_allclose(ended(results[name]), expected, atol=1e-6)
