"""performance_rnn_statistics, run as its console script runs it."""

import json
import shutil

import numpy as np
import pytest
from note_seq import midi_io
from note_seq.protobuf import music_pb2

from perf_rnn.analysis.music_statistics import UNITS

TOOL = "perf_rnn.tools.performance_rnn_statistics"


def write_midi(path, start, pitch, velocity=80, length=0.2):
    """Writes notes; each velocity and length (in seconds) is one number for all or one for each."""
    sequence = music_pb2.NoteSequence(ticks_per_quarter=220)
    for time, number, loudness, seconds in zip(
        *np.broadcast_arrays(np.asarray(start, float), pitch, velocity, length), strict=True
    ):
        sequence.notes.add(
            start_time=time, end_time=time + seconds, pitch=int(number), velocity=int(loudness)
        )
    sequence.total_time = float(max(start)) + 0.2
    midi_io.sequence_proto_to_midi_file(sequence, str(path))


@pytest.fixture
def pieces(tmp_path):
    """Five pieces of 20 s, of random notes; the last holds 30 notes of the etude."""
    directory = tmp_path / "pieces"
    directory.mkdir()
    rng = np.random.default_rng(0)
    for number in range(5):
        start = np.sort(rng.uniform(0, 20, size=100 + 20 * number))
        write_midi(directory / f"{number}.mid", start, rng.integers(40, 90, size=len(start)))
    return directory


def test_statistics_of_a_directory(run_tool, pieces, tmp_path):
    output = tmp_path / "made" / "figures.json"
    ended = run_tool(TOOL, f"--input={pieces}", f"--output_file={output}")
    assert ended.status == 0, ended.err
    assert f"input: {pieces}: 5 pieces\n" in ended.out
    assert f"Wrote {output}" in ended.out
    result = json.loads(output.read_text())
    assert result["sets"] == {
        "input": {"path": str(pieces), "pieces": 5, "damaged": 0, "without_notes": 0}
    }
    assert result["figures"].keys() == UNITS.keys()
    densities = [part["note_density"] for part in result["parts"]["input"]]
    summary = result["figures"]["note_density"]
    assert summary["unit"] == "1/s"
    assert summary["input"]["count"] == 5
    assert summary["input"]["mean"] == pytest.approx(np.mean(densities))
    assert summary["input"]["spread"] == pytest.approx(np.std(densities))
    assert summary["input"]["min"] == min(densities)
    shown = f"{np.mean(densities):.3f} ± {np.std(densities):.3f}"
    assert ["note", "density", "(1/s)", *shown.split()] in map(str.split, ended.out.splitlines())
    assert [part["piece"] for part in result["parts"]["input"]] == [f"{i}.mid" for i in range(5)]
    assert result["minutes"] == {"input": []}
    assert "suspicious" not in result


def test_reference_and_segments(run_tool, pieces, asap_dir, tmp_path):
    output = tmp_path / "figures.json"
    ended = run_tool(
        TOOL,
        f"--input={pieces}",
        f"--reference={asap_dir}",
        "--segment_seconds=20",
        f"--output_file={output}",
    )
    assert ended.status == 0, ended.err
    assert f"reference: {asap_dir}: 3 pieces in 14 parts\n" in ended.out
    result = json.loads(output.read_text())
    assert len(result["parts"]["reference"]) == 14
    assert [part["start"] for part in result["parts"]["reference"][:3]] == [0.0, 20.0, 40.0]
    density = result["figures"]["note_density"]
    assert 0 < density["overlap"] < 1
    assert density["divergence"] > 0
    assert density["reference"]["count"] == 14
    # All notes of the pieces are equally loud.
    velocity = result["figures"]["velocity_mean"]
    assert velocity["not_compared"] == "all pieces of the set have the value 80"
    assert "overlap" not in velocity
    assert "all pieces of the set have the value 80" in ended.out
    assert "too few for a distance over" in result["frechet"]["not_compared"]
    assert f"No Fréchet distance: {result['frechet']['not_compared']}" in ended.out
    assert [minute["pieces"] for minute in result["minutes"]["reference"]] == [3, 2]
    assert result["minutes"]["reference"][0]["note_density"] == pytest.approx(8.637, abs=0.001)


def test_a_set_is_like_itself(run_tool, asap_dir, tmp_path):
    output = tmp_path / "figures.json"
    run_tool(
        TOOL,
        f"--input={asap_dir}",
        f"--reference={asap_dir}",
        "--segment_seconds=10",
        f"--output_file={output}",
    )
    for name, figure in json.loads(output.read_text())["figures"].items():
        assert figure["overlap"] > 0.85, name
        assert figure["divergence"] < 0.15, name


def test_distance_of_all_features(run_tool, tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "pieces").mkdir()
    for number in range(8):
        write_midi(
            tmp_path / f"pieces/{number}.mid",
            np.sort(rng.uniform(0, 20, size=120)),
            rng.normal(60, 3, size=120).astype(int),
            rng.integers(30, 100, size=120),
            rng.uniform(0.1, 0.4, size=120),
        )
    output = tmp_path / "figures.json"
    both = (f"--input={tmp_path / 'pieces'}", f"--reference={tmp_path / 'pieces'}")
    ended = run_tool(TOOL, *both, "--segment_seconds=4", f"--output_file={output}")
    found = json.loads(output.read_text())["frechet"]
    assert found["frechet"] == pytest.approx(0, abs=1e-6)
    assert 0 < found["halves_median"] < found["halves_95_percent"]
    shown = f"0.00; halves of the reference are {found['halves_median']:.2f} apart"
    assert f"Fréchet distance over all features but passages: {shown}" in ended.out


def test_a_split_divides_reference_and_training(run_tool, pieces, asap_dir, tmp_path):
    (tmp_path / "split.csv").write_text(
        "split,midi_filename\n"
        "train,Bach/Fugue/bwv_875/CaoJ01M.mid\n"
        "train,Bach/Fugue/bwv_875/gone.mid\n"
        "test,Bach/Fugue/bwv_875/Ahfat01M.mid\n"
        "validation,Liszt/Transcendental_Etudes/1/LuoJ05M.mid\n"
    )
    ended = run_tool(
        TOOL,
        f"--input={pieces}",
        f"--reference={asap_dir}",
        f"--training={asap_dir}",
        f"--split_csv={tmp_path / 'split.csv'}",
    )
    assert ended.status == 0, ended.err
    table = tmp_path / "split.csv"
    assert f"reference: {asap_dir} (validation, test of {table}): 2 pieces\n" in ended.out
    assert f"training: {asap_dir} (train of {table}): 1 piece\n" in ended.out
    assert f"{asap_dir}: Bach/Fugue/bwv_875/gone.mid (and 0 more asked for)" in ended.err
    assert f"input: {pieces}: 5 pieces\n" in ended.out


def test_lengths_that_differ_are_warned_of(run_tool, pieces, asap_dir):
    ended = run_tool(TOOL, f"--input={pieces}", f"--reference={asap_dir}")
    assert ended.status == 0
    assert "--segment_seconds cuts both alike" in ended.err


def test_a_copy_is_caught(run_tool, pieces, asap_dir, tmp_path):
    etude = midi_io.midi_file_to_note_sequence(str(next(asap_dir.rglob("LuoJ05M.mid"))))
    notes = sorted(etude.notes, key=lambda note: (note.start_time, note.pitch))[100:160]
    start = np.array([note.start_time for note in notes])
    write_midi(pieces / "copy.mid", (start - start[0]) * 1.05, [note.pitch + 5 for note in notes])
    output = tmp_path / "figures.json"
    ended = run_tool(
        TOOL,
        f"--input={pieces}",
        f"--reference={next(asap_dir.rglob('CaoJ01M.mid'))}",
        f"--training={asap_dir / 'Liszt'}",
        "--segment_seconds=20",
        f"--output_file={output}",
    )
    assert ended.status == 0, ended.err
    result = json.loads(output.read_text())
    copy = result["parts"]["input"][5]
    assert copy["piece"] == "copy.mid"
    assert copy["longest_passage"] == 60
    assert copy["copied_share"] == 1.0
    assert copy["passage"] == {
        "start_time": pytest.approx(0.0, abs=0.05),
        "training_piece": "Transcendental_Etudes/1/LuoJ05M.mid",
        "training_time": pytest.approx(start[0], abs=0.05),
        "transposition": 5,
    }
    assert 5 in result["suspicious"]
    assert "60 notes of copy.mid from 0.0 s, in Transcendental_Etudes/1/LuoJ05M.mid" in ended.out
    assert f"{len(result['suspicious'])} of the 6 parts copy more, " in ended.out
    assert result["sets"]["training"]["pieces"] == 1
    assert result["figures"]["longest_passage"]["input"]["max"] == 60


def test_silent_parts(run_tool, tmp_path):
    write_midi(tmp_path / "gap.mid", [0.0, 0.2, 25.0], [60, 62, 64])
    output = tmp_path / "figures.json"
    ended = run_tool(
        TOOL,
        f"--input={tmp_path / 'gap.mid'}",
        f"--training={tmp_path / 'gap.mid'}",
        "--segment_seconds=10",
        f"--output_file={output}",
    )
    assert ended.status == 0, ended.err
    first, silent, last = json.loads(output.read_text())["parts"]["input"]
    assert (first["longest_passage"], last["longest_passage"]) == (2, 1)
    assert (silent["silence"], silent["polyphony"], silent["longest_passage"]) == (1.0, None, None)
    assert "passage" not in silent


def test_minutes_are_shown(run_tool, tmp_path):
    write_midi(tmp_path / "a.mid", np.arange(0, 125, 0.5), [60] * 250)
    ended = run_tool(TOOL, f"--input={tmp_path}")
    lines = ended.out.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("minute"))
    assert [line.split()[:3] for line in lines[at + 1 :]] == [
        ["1", "1", "2.000"],
        ["2", "1", "2.000"],
    ]


def test_damaged_files_are_counted(run_tool, pieces, asap_dir):
    (pieces / "bad.mid").write_bytes(b"bad")
    shutil.copy(next(asap_dir.rglob("LuoJ05M.mid")), pieces / "good.mid")
    ended = run_tool(TOOL, f"--input={pieces}")
    assert ended.status == 0
    assert f"Skipped bad.mid of {pieces}" in ended.err
    assert f"input: {pieces}: 6 pieces, 1 damaged left out\n" in ended.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--input is needed"),
        (["--input=/nowhere/pieces.mid"], "/nowhere/pieces.mid: No such file"),
        (["--input=/nowhere/pieces"], "/nowhere/pieces: No such file"),
        (["--input={tmp}"], "{tmp}: no file ends in .mid, .midi"),
        (["--input={pieces}", "--reference={tmp}"], "{tmp}: no file ends in"),
        (["--input={pieces}", "--training={tmp}"], "{tmp}: no file ends in"),
        (["--input={pieces}", "--training="], "--training is empty"),
        (["--input={pieces}", "--split_csv="], "--split_csv is empty"),
        (["--input={pieces}", "--split_csv=x.csv"], "--split_csv divides --reference and "),
        (
            ["--input={pieces}", "--training={pieces}", "--split_csv={tmp}/x.csv"],
            "{tmp}/x.csv: No such file",
        ),
        (["--input={pieces}", "--segment_seconds=0"], "--segment_seconds=0.0 must be 1 or more"),
        (["--input={pieces}", "--segment_seconds=1e-300"], "--segment_seconds=1e-300 must be"),
        (["--input={pieces}", "--segment_seconds=nan"], "--segment_seconds=nan must be"),
        (["--input={pieces}", "--output_file={tmp}"], "{tmp}: is a directory, not a file"),
        (["--input={pieces}", "--output_file=/proc/x/y.json"], "/proc/x"),
    ],
)
def test_bad_input(run_tool, pieces, tmp_path, arguments, message):
    (tmp_path / "bare").mkdir()
    names = {"pieces": pieces, "tmp": tmp_path / "bare"}
    ended = run_tool(TOOL, *(argument.format(**names) for argument in arguments))
    assert ended.status == 1
    assert message.format(**names) in ended.error
