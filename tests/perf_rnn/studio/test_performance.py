"""Performances of the engine: the piece of a seed, and what the player plays in it."""

import pathlib

import numpy as np
import pytest
from note_seq.protobuf import music_pb2

import perf_rnn
from perf_rnn.events.one_hot_classes import EventType
from perf_rnn.models import load_model
from perf_rnn.studio import model_file

BUNDLES = pathlib.Path(__file__).parents[2] / "testdata" / "magenta_bundles"
DYNAMICS = "performance_with_dynamics"
NOTES = "performance_with_dynamics_and_note_encoding"
DENSITY = "density_conditioned_performance_with_dynamics"
OPTIONAL = "optional_multiconditioned_performance_with_dynamics"
MODELS = (DYNAMICS, NOTES, DENSITY, OPTIONAL)
C_MAJOR = [1, 0, 1, 0, 1, 1, 0, 1, 0, 1, 0, 1]
ASKED = {"notes_per_second": 3.0, "pitch_class_histogram": C_MAJOR}
SETTINGS = {
    "temperature": 1.0,
    "top_p": 1.0,
    "min_p": 0.0,
    "pitch_min_p": 0.05,
    "loudness": 0.0,
    "guidance": 1.0,
    "notes_per_second": None,
    "pitch_class_histogram": None,
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
    "controls": play(DENSITY, notes_per_second=3.0),
    "densities": play(DENSITY, notes_per_second=[3.0, 12.0], seconds=22),
    "guidance": play(OPTIONAL, guidance=2.0, **ASKED),
    "guidance later": play(
        OPTIONAL,
        actions=[act(at, "set", {**SETTINGS, **ASKED, "guidance": value})
                 for at, value in ((3, 2.0), (5, 1.0), (7, 2.0))] + [act(11, "undo", 4)],
        **ASKED,
    ),
    "guidance in a duet": play(
        OPTIONAL, mode="duet", actions=[*press(KEYS), act(8, "undo", 4)], guidance=2.0, **ASKED,
    ),
    "guidance without controls": play(OPTIONAL, guidance=2.0),
    "same settings again": play(actions=[act(5, "set", SETTINGS)]),
    "other settings": play(actions=[act(5, "set", {**SETTINGS, "temperature": 0.5})]),
    "other controls": play(DENSITY, actions=[act(5, "set", {**SETTINGS, "notes_per_second": 3.0})]),
    "undo": play(actions=[act(9, "undo", 4)]),
    "long": play(seconds=70),
    "duet": play(mode="duet", actions=press(KEYS), split=SPLIT),
    "tap": play(mode="tap", actions=press(KEYS[:10])),
    "response": play(mode="response", actions=press(KEYS[:5])),
    "response, whole notes": play(NOTES, mode="response", actions=press(KEYS[:5])),
    "interrupted": play(mode="response", actions=press([*KEYS[:5], (5.0, 5.2, 70, 60)]), pause=0.6),
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
    "c major": play(pitch_class_histogram=C_MAJOR),
    "dense": play(notes_per_second=20.0),
    "sparse": play(notes_per_second=2.0),
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
    ("name", "controls"),
    [
        ("alone", {}),
        ("alone, whole notes", {}),
        ("primer", {}),
        ("primer, whole notes", {}),
        ("controls", {"notes_per_second": 3.0}),
        ("densities", {"notes_per_second": [3.0, 12.0]}),
        ("guidance", {**ASKED, "guidance": 2.0}),
    ],
)
def test_a_seed_gives_the_piece_that_python_makes(results, name, controls):
    model, primer = JOBS[name]["model"].removesuffix(".model"), JOBS[name]["options"]["primer"]
    until = JOBS[name]["seconds"] - 3.0
    sequence = None
    if primer:
        sequence = music_pb2.NoteSequence(total_time=2.0)
        for start, end, pitch, velocity in primer:
            sequence.notes.add(start_time=start, end_time=end, pitch=pitch, velocity=velocity)
    (piece,) = perf_rnn.generate(
        str(BUNDLES / f"{model}.mag"),
        20.0,
        seed=3,
        primer=sequence,
        output="continuation",
        **controls,
    )
    expected = [(n.start_time, n.end_time, n.pitch, n.velocity) for n in piece.notes]
    expected = sorted(note for note in expected if note[1] < until)
    assert len(expected) > 3
    np.testing.assert_allclose(ended(results[name], until), expected, atol=1e-6)


def test_settings_hold_for_what_has_not_begun(results):
    alone = results["alone"]
    again = results["same settings again"]
    assert again["cancelled"] == 1
    assert ended(again) == ended(alone)  # The same random numbers are drawn.
    other = results["other settings"]
    assert started(other, 5.05) == started(alone, 5.05)
    assert started(other) != started(alone)
    # The controls that the network reads are those of now: the same piece again, but for them.
    alone, other = results["controls"], results["other controls"]
    assert started(other) != started(alone)


def test_undo_goes_back_and_on_with_other_notes(results):
    alone, undone = results["alone"], results["undo"]
    assert started(undone, 4.0) == started(alone, 4.0)
    assert started(undone, 7.0) != started(alone, 7.0)
    assert started(undone, 7.0)[-1][0] > 6.0


FORGETS = ("long", "primer", "primer, whole notes")  # Not all that was read is in the entries.


@pytest.mark.parametrize("name", [name for name in JOBS if name not in FORGETS])
def test_the_network_has_read_what_stands(results, name):
    """However often the stream went back: as if just these events had ever been read."""
    assert results[name]["difference"] < 1e-5


@pytest.mark.parametrize("name", ["guidance", "guidance later", "guidance in a duet"])
def test_the_state_without_controls_has_read_what_stands(results, name):
    """However often guidance was turned on and off: as if it were never told the controls."""
    assert results[name]["freeDifference"] < 1e-5


def test_guidance_costs_nothing_without_controls(results):
    assert results["guidance without controls"]["freeDifference"] is None


@pytest.mark.parametrize("name", [name for name, job in JOBS.items() if NOTES not in job["model"]])
def test_all_events_are_legal(results, name):
    model = load_model(BUNDLES / JOBS[name]["model"].replace(".model", ".mag"))
    codec = model.config.codec
    entries = results[name]["entries"]
    assert entries
    rules = codec.legal_rules(np.zeros(0, np.int32), 1)
    clock = np.zeros(1, np.int64)
    if name == "long":  # Its first events are forgotten.
        assert entries[0]["step"] > 3500
        return
    if JOBS[name]["options"]["primer"]:
        return
    for entry in entries:
        event = np.array(entry["event"])
        logits = np.zeros((1, codec.num_classes))
        rules.forbid(logits, clock)
        assert logits[0, event] > -np.inf, (entry, codec.event(int(event[0])))
        rules.update(event, clock)
        clock += codec.event_steps(event)


def held_in(result):
    """(step, pitch) of the notes of the player that the network has read."""
    codec = load_model(BUNDLES / f"{DYNAMICS}.mag").config.codec
    events = [(e["step"], codec.event(e["event"][0])) for e in result["entries"] if e["isHeld"]]
    return [(step, event.value) for step, event in events if event.type == EventType.NOTE_ON]


def test_a_duet(results):
    """The network reads the keys where they were pressed, and plays below them, not too much."""
    duet = results["duet"]
    pressed = sorted((int(100 * start + 0.5), pitch) for start, _, pitch, _ in KEYS)
    assert held_in(duet) == pressed
    notes = started(duet, 12.0)
    assert len(notes) > 12
    assert all(pitch < SPLIT for _, pitch, _ in notes)
    starts = np.array([start for start, _, _ in notes])
    assert max(((starts >= start) & (starts < start + 1)).sum() for start in starts) <= 16
    assert duet["late"] == 0


def test_tapping(results):
    """Each key is answered at its time and with its loudness, for as long as it is held."""
    tapped = ended(results["tap"], 12.0)
    for start, end, _, velocity in KEYS[:10]:
        chord = [note for note in tapped if note[0] == pytest.approx(start)]
        assert 1 <= len(chord) <= 5
        assert all(note[1] == pytest.approx(end) and note[3] == velocity for note in chord)
    assert len({note[0] for note in tapped}) == 10


@pytest.mark.parametrize("name", ["response", "response, whole notes"])
def test_a_response_comes_after_a_pause(results, name):
    notes = results[name]["notes"]
    last = max(end for _, end, _, _ in KEYS[:5])
    starts = [note["start"] for note in notes]
    assert notes
    assert last + 1.0 <= min(starts) < last + 6.0
    assert max(starts) <= last + 1.0 + 3.2  # As long as the shortest response, and the last wait.
    assert all(note["end"] is not None for note in notes)


def test_a_response_ends_when_the_player_plays(results):
    notes = results["interrupted"]["notes"]
    first = [note for note in notes if note["start"] < 5.1]
    assert first
    assert all(note["end"] <= 5.1 for note in first)
    assert min(note["start"] for note in notes if note not in first) >= 5.8


def test_the_pedal_holds_notes(results):
    result = results["pedal"]
    codec = load_model(BUNDLES / f"{DYNAMICS}.mag").config.codec
    releases = [e["step"] for e in result["entries"] if codec.event(e["event"][0])[0] == 2]
    assert releases[0] == 400
    assert min(note["start"] for note in result["notes"]) >= 5.0


def test_memory_is_bounded(results):
    long = results["long"]
    steps = [entry["step"] for entry in long["entries"]]
    assert 3800 < min(steps) <= 4000 < max(steps)
    assert long["snapshots"] < len(steps) / 2


def test_biases_change_what_is_played(results):
    velocities = {name: np.mean([v for _, _, v in started(results[name])]) for name in JOBS}
    assert velocities["soft"] < velocities["alone"] - 10 < velocities["loud"] - 30
    in_scale = np.mean(
        [pitch % 12 in (0, 2, 4, 5, 7, 9, 11) for _, pitch, _ in started(results["c major"])]
    )
    assert in_scale > 0.95
    counts = {name: len(started(results[name])) / 9 for name in ("sparse", "dense")}
    assert counts["sparse"] < 4
    assert counts["dense"] > 8
