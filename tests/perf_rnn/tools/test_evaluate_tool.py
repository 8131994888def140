"""performance_rnn_evaluate, run as its console script runs it."""

import json
import math
import pathlib
import shutil

import numpy as np
import pytest

from perf_rnn.configs import get_config
from perf_rnn.data.examples import make_example
from perf_rnn.data.tfrecord import open_writers
from perf_rnn.data.whole_pieces import read_whole_pieces
from perf_rnn.generation.sampler import log_likelihood
from perf_rnn.models import load_model, write_run_bundle
from perf_rnn.network.network import build_network, bundle_from_network
from perf_rnn.training.run_dir import RunDir, RunSettings

TOOL = "perf_rnn.tools.performance_rnn_evaluate"
MAGENTA = pathlib.Path(__file__).parents[2] / "testdata" / "magenta_bundles"
DYNAMICS = "performance_with_dynamics"
OPTIONAL = f"optional_multiconditioned_{DYNAMICS}"


@pytest.fixture
def fugue(asap_dir):
    """Two recordings of a short fugue."""
    return asap_dir / "Bach" / "Fugue" / "bwv_875"


def write_records(path, examples):
    with open_writers([str(path)]) as (writer,):
        for example in examples:
            writer.write(example.SerializeToString())
    return path


def figures_of(run_tool, tmp_path, *arguments):
    output = tmp_path / "made" / "figures.json"
    ended = run_tool(TOOL, *arguments, f"--output_file={output}", "--overwrite")
    assert ended.status == 0, ended.err
    assert f"Wrote {output}\n" in ended.out
    return json.loads(output.read_text()), ended


def test_midi_directory(run_tool, fugue, tmp_path):
    bundle_file = MAGENTA / f"{DYNAMICS}.mag"
    result, ended = figures_of(
        run_tool, tmp_path, f"--bundle_file={bundle_file}", f"--input={fugue}"
    )
    assert result["model"] == {"name": str(bundle_file), "config": DYNAMICS, "layers": [32, 24]}
    assert result["input"] == {
        "path": str(fugue),
        "split_csv": None,
        "kind": "MIDI",
        "pieces": 2,
        "left_out": {"damaged": 0, "without_notes": 0, "not_encodable": 0, "too_short": 0},
    }
    assert result["interval"] == {
        "share": 0.95,
        "resamples": 10000,
        "seed": 0,
        "resampled": 2,
        "resampled_by": "sequence",
    }
    assert list(result["results"]) == ["unconditioned"]
    figures = result["results"]["unconditioned"]

    config = get_config(DYNAMICS)
    pieces = [piece.events for piece in read_whole_pieces(str(fugue), config).pieces]
    nll = -log_likelihood(load_model(bundle_file), pieces)
    events = np.array([len(piece) - 1 for piece in pieces])
    seconds = np.array([config.codec.num_steps(piece) for piece in pieces]) / 100
    whole = figures["all"]
    assert whole["events"] == events.sum()
    assert whole["nll"] == pytest.approx(nll.sum() / events.sum(), abs=1e-4)
    assert whole["perplexity"] == pytest.approx(math.exp(whole["nll"]))
    assert whole["nll_per_second"] == pytest.approx(nll.sum() / seconds.sum(), rel=1e-4)
    assert whole["nll_interval"] == pytest.approx(sorted(nll / events), abs=1e-4)
    names = [piece["name"] for piece in figures["pieces"]]
    assert names == ["Ahfat01M.mid", "CaoJ01M.mid"]
    assert [piece["nll"] for piece in figures["pieces"]] == pytest.approx(nll / events, abs=1e-4)

    lines = [line.split() for line in ended.out.splitlines()]
    low, high = (f"{end:.3f}" for end in whole["nll_interval"])
    row = ["all", "events", f"{whole['events']:,}", f"{whole['nll']:.4f}", low, "to", high]
    assert row in [line[:7] for line in lines]
    kinds = [" ".join(line[:2]) for line in lines if line[:1] == ["note"]]
    assert kinds == ["note on", "note off"]
    assert ["300", "to", "the", "end", "0", "-", "-", "-", "-", "-"] in lines


def test_a_training_run(run_tool, fugue, tmp_path):
    config = get_config("performance")
    hparams = config.hparams.parse("rnn_layer_sizes=[8]")
    network = build_network(config, hparams)
    run = RunDir(str(tmp_path / "run"))
    run.write(RunSettings("performance", hparams, window=160, carry_state=True, seed=0))
    write_run_bundle(run.train_dir, bundle_from_network(network, config))
    result, _ = figures_of(run_tool, tmp_path, f"--run_dir={run.path}", f"--input={fugue}")
    assert result["model"] == {"name": run.path, "config": "performance", "layers": [8]}
    # It has learnt nothing yet.
    nll = result["results"]["unconditioned"]["all"]["nll"]
    assert nll == pytest.approx(math.log(356), abs=0.05)


def test_optional_conditioning_is_measured_on_and_off(run_tool, fugue, tmp_path):
    result, ended = figures_of(
        run_tool, tmp_path, f"--bundle_file={MAGENTA / OPTIONAL}.mag", f"--input={fugue}"
    )
    controlled, off = result["results"].values()
    assert list(result["results"]) == ["with extracted controls", "conditioning off"]
    assert controlled["all"]["events"] == off["all"]["events"]
    assert controlled["all"]["nll"] != pytest.approx(off["all"]["nll"], abs=1e-3)
    assert "\nwith extracted controls " in ended.out
    assert "\nconditioning off " in ended.out


def test_resampled_by_folder(run_tool, asap_dir, tmp_path):
    model = f"--bundle_file={MAGENTA / DYNAMICS}.mag"
    result, ended = figures_of(
        run_tool, tmp_path, model, f"--input={asap_dir}", "--resample_by=folder"
    )
    assert result["interval"]["resampled"] == 2
    assert "intervals by drawing the 2 folders anew" in ended.out
    low, high = result["results"]["unconditioned"]["all"]["nll_interval"]
    *fugue, etude = result["results"]["unconditioned"]["pieces"]
    assert [piece["name"].split("/")[0] for piece in (*fugue, etude)] == ["Bach", "Bach", "Liszt"]
    folder = sum(p["nll"] * p["events"] for p in fugue) / sum(p["events"] for p in fugue)
    assert [low, high] == pytest.approx(sorted([folder, etude["nll"]]))


def test_only_what_a_split_holds_out(run_tool, fugue, tmp_path):
    table = tmp_path / "split.csv"
    table.write_text("split,midi_filename\ntrain,CaoJ01M.mid\nvalidation,Ahfat01M.mid\n")
    model = f"--bundle_file={MAGENTA / DYNAMICS}.mag"
    part, _ = figures_of(run_tool, tmp_path, model, f"--input={fugue}", f"--split_csv={table}")
    alone, _ = figures_of(run_tool, tmp_path, model, f"--input={fugue / 'Ahfat01M.mid'}")
    assert part["input"]["pieces"] == 1
    assert part["input"]["split_csv"] == str(table)
    assert part["results"] == alone["results"]


def test_damaged_files_are_named_and_counted(run_tool, fugue, tmp_path):
    directory = shutil.copytree(fugue, tmp_path / "pieces")
    (directory / "bad.mid").write_bytes(b"bad")
    ended = run_tool(TOOL, f"--bundle_file={MAGENTA / DYNAMICS}.mag", f"--input={directory}")
    assert ended.status == 0
    assert f"Skipped bad.mid of {directory}" in ended.err
    assert f"{directory}: MIDI, 2 pieces, 1 damaged left out\n" in ended.out


@pytest.fixture
def bad(tmp_path):
    """Paths of what cannot be used, by name."""
    made = tmp_path / "bad"
    (made / "empty").mkdir(parents=True)
    (made / "noise").write_bytes(b"noise" * 20)
    (made / "none").write_bytes(b"")
    (made / "bad.mid").write_bytes(b"bad")
    events = np.array([60, 355, 188], np.int32)
    (made / "train").write_text("split,midi_filename\ntrain,CaoJ01M.mid\n")
    (made / "other").write_text("split,midi_filename\ntest,other.mid\n")
    example = make_example(events, get_config("performance"), source_id="/id/a")
    write_records(made / "examples", [example])
    return made


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--input is needed"),
        (["--input={bad}/empty"], "{bad}/empty: no file ends in .mid, .midi"),
        (["--input={bad}/nowhere"], "{bad}/nowhere: No such file"),
        (["--input={bad}/nowhere.mid"], "{bad}/nowhere.mid: No such file"),
        (["--input={bad}/noise"], "{bad}/noise: is no uncompressed TFRecord file"),
        (["--input={bad}/none"], "{bad}/none: holds no NoteSequences"),
        (["--input={bad}/bad.mid"], "{bad}/bad.mid: no piece in it can be used: 1 damaged"),
        (["--input={bad}/examples"], "{bad}/examples: no piece in it can be used: 1 damaged"),
        (["--input={midi}", "--resample_by=phrase"], "resample_by"),
        (["--input={midi}", "--split_csv={bad}/train"], "{bad}/train: no file in it is of split v"),
        (
            ["--input={midi}", "--split_csv={bad}/other"],
            "none of the 1 files that the split names is in it; give",
        ),
        (["--input={bad}/nowhere", "--split_csv={bad}/other"], "{bad}/nowhere: No such file"),
        (
            ["--input={midi}", "--bundle_file={bad}/x.mag"],
            "{bad}/x.mag: no such file, nor a shipped bundle",
        ),
        (["--input={midi}", "--bundle_file={bad}/noise"], "{bad}/noise"),
        (["--input={midi}", "--bundle_file="], "--bundle_file is empty"),
        (["--input={midi}", "--run_dir={bad}/empty"], "no train/model.npz of a training run here"),
        (["--input={midi}", "--run_dir=/x", "--bundle_file=/y"], "not both"),
        (["--input={midi}", "--config=jazz"], "unknown config 'jazz'"),
        (["--input={midi}", "--config=performance", "--bundle_file={dynamics}"], "is asked for"),
        (["--input={midi}", "--output_file={bad}"], "{bad}: is a directory, not a file"),
        (["--input={midi}", "--output_file=/proc/x/y.json"], "/proc/x"),
    ],
)
def test_bad_input(run_tool, fugue, bad, arguments, message):
    names = {
        "bad": bad,
        "midi": fugue,
        "dynamics": MAGENTA / f"{DYNAMICS}.mag",
        "optional": MAGENTA / f"{OPTIONAL}.mag",
        "plain": MAGENTA / "performance.mag",
    }
    if not any("bundle_file" in a or "run_dir" in a or "config" in a for a in arguments):
        arguments = [*arguments, "--bundle_file={dynamics}"]
    ended = run_tool(TOOL, *(argument.format(**names) for argument in arguments))
    assert ended.status == 1
    assert message.format(**names) in ended.error
    assert len([line for line in ended.err.splitlines() if line.startswith("ERROR")]) == 1
