"""performance_rnn_learn, from MIDI files to a bundle and its pieces."""

import json
import shutil

import pytest

from bundles import read_bundle
from perf_rnn.notes.midi_facts import read_facts

LEARN = "pipelines.tools.performance_rnn_learn"
TINY = (
    "--from_scratch",
    "--hparams=batch_size=4,rnn_layer_sizes=[8],learning_rate=0.01",
    "--window=32",
    "--num_outputs=2",
    "--patience=2",
)


@pytest.fixture
def learn(run_tool, tmp_path):
    return lambda *arguments: run_tool(LEARN, f"--output_dir={tmp_path / 'mine'}", *arguments)


@pytest.mark.slow
def test_from_midi_to_music(learn, asap_dir, tmp_path, monkeypatch):
    mine = tmp_path / "mine"

    # Interrupted after its first evaluation.
    def interrupt(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("perf_rnn.training.trainer.Trainer.train", interrupt)
        ended = learn(asap_dir, *TINY)
    assert (ended.status, ended.error) == (130, "ERROR: interrupted")
    assert "1 of 3: making the dataset of 3 files; single files are held out" in ended.out
    assert "Evaluation at step 0: NLL" in ended.out
    assert f"perf_rnn play --run_dir={mine / 'run'}/best" in ended.out
    made = (mine / "data" / "training_performances.tfrecord").stat().st_mtime_ns

    # The same command goes on.
    ended = learn(asap_dir, *TINY, "--num_training_steps=4")
    assert ended.status == 0, ended.err
    assert f"1 of 3: the dataset is in {mine / 'data'}" in ended.out
    assert (mine / "data" / "training_performances.tfrecord").stat().st_mtime_ns == made
    assert "Evaluation at step 0" not in ended.out
    nlls = json.loads((mine / "run" / "best" / "nll.json").read_text())
    assert list(nlls) == ["0", "4"]
    assert nlls["4"] < nlls["0"]
    assert "at step 4, the best of 2 evaluations." in ended.out

    bundle = read_bundle(mine / "mine.mag")
    assert bundle.bundle_description == "Trained on the MIDI files of asap."
    assert bundle.extra["training_steps"] == 4
    assert bundle.extra["eval_nll"] == pytest.approx(nlls["4"])
    pieces = sorted((mine / "samples").glob("*.mid"))
    assert [read_facts(path.read_bytes())["number"] for path in pieces] == [1, 2]
    assert "mine_2" in (mine / "samples" / "index.html").read_text(encoding="utf-8")

    # Once it is finished, the same command changes nothing; without the page it makes that again.
    def changed():
        return {path: path.stat().st_mtime_ns for path in mine.rglob("*") if path.is_file()}

    before = changed()
    ended = learn(asap_dir, *TINY, "--num_training_steps=4")
    assert f"{mine / 'mine.mag'} is there, and nothing has changed since." in ended.out
    assert changed() == before
    (mine / "samples" / "index.html").unlink()
    ended = learn(asap_dir, *TINY, "--num_training_steps=4")
    assert f"3 of 3: writing {mine / 'mine.mag'}" in ended.out
    assert (mine / "samples" / "index.html").exists()

    # Other data, or another network, are not mixed with what is there.
    ended = learn(asap_dir / "Bach", *TINY)
    assert ended.error.endswith("give another --output_dir")
    ended = learn(asap_dir, *TINY, "--window=16")
    assert "this run was made with window=32, not 16" in ended.error


def test_other_files_are_not_mixed_with_the_dataset(learn, asap_dir, tmp_path, monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr("perf_rnn.tools.cli.load_keras", interrupt)
    source, data_dir = tmp_path / "midi", tmp_path / "mine" / "data"
    shutil.copytree(asap_dir, source)
    assert "making the dataset of 3 files" in learn(source, *TINY).out
    assert f"1 of 3: the dataset is in {data_dir}\n" in learn(source, *TINY).out
    # As many files, with the same names.
    first, second, _ = sorted(source.rglob("*.mid"))
    saved = second.read_bytes()
    shutil.copy(first, second)
    assert learn(source, *TINY).error == (
        f"ERROR: {data_dir}: made from 3 files that are not those 3 in {source}; to learn from "
        "these give another --output_dir"
    )
    shutil.copy(first, source / "new.mid")
    assert "made from 3 files that are not those 4" in learn(source, *TINY).error
    second.write_bytes(saved)
    (source / "new.mid").unlink()
    assert learn(source, *TINY, "--eval_ratio=0.5").error == (
        f"ERROR: {data_dir}: made with eval_ratio=0.1, not 0.5. Give the same values or another "
        "--output_dir"
    )


def test_a_dataset_of_too_few_files_leaves_nothing(learn, asap_dir, tmp_path, monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr("perf_rnn.tools.cli.load_keras", interrupt)
    source, mine = tmp_path / "midi", tmp_path / "mine"
    source.mkdir()
    first, second, _ = sorted(asap_dir.rglob("*.mid"))
    for name in ("a.mid", "b.mid"):  # The same notes stay on one side.
        shutil.copy(first, source / name)
    assert learn(source, *TINY).error.startswith(f"ERROR: {source}: too few performances")
    assert list(mine.iterdir()) == []
    shutil.copy(second, source / "c.mid")
    assert learn(source, *TINY).error == "ERROR: interrupted"
    assert len(list((mine / "data").iterdir())) == 4


@pytest.mark.parametrize(
    ("there", "message"),
    [
        ("mine.mag", "mine.mag: is there already; give another --output_dir"),
        ("data/split.csv", "data: is a directory that is not empty; remove it, or give another"),
    ],
)
def test_what_is_not_its_own_is_not_replaced(learn, asap_dir, tmp_path, there, message):
    path = tmp_path / "mine" / there
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    assert learn(asap_dir, *TINY).error.startswith(f"ERROR: {tmp_path / 'mine'}/{message}")
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--input is needed: a directory or zip archive of MIDI files"),
        (["/nowhere"], "/nowhere: No such file or directory"),
        (["{asap}", "--eval_ratio=0"], "--eval_ratio=0.0 is not between 0 and 1"),
        (["{asap}", "--config=jazz"], "unknown config 'jazz'"),
        (
            ["{asap}", "--config=density_conditioned_performance_with_dynamics"],
            "optional_multiconditioned_performance_with_dynamics, performance, "
            "performance_with_dynamics, performance_with_dynamics_large; or give --from_scratch",
        ),
        (["{asap}/Liszt"], "Liszt: too few performances to hold one out and train on others"),
    ],
)
def test_bad_input(learn, asap_dir, tmp_path, arguments, message):
    ended = learn(*(argument.format(asap=asap_dir) for argument in arguments))
    assert ended.status == 1
    assert message in ended.error
    assert not (tmp_path / "mine").exists()
