"""The training tool, from records to a bundle, run as its console script runs it."""

import json
import pathlib
import re
import shlex
import signal

import numpy as np
import pytest

from bundles import read_bundle, write_bundle
from perf_rnn.configs import get_config
from perf_rnn.data.examples import make_example
from perf_rnn.data.tfrecord import open_writers
from perf_rnn.hparams import HParams
from perf_rnn.models import bundle_of_run
from perf_rnn.network.network import build_network, bundle_from_network
from perf_rnn.notes.music_files import read_midi_file
from perf_rnn.training.run_dir import RunDir

TRAIN = "perf_rnn.tools.performance_rnn_train"
GENERATE = "perf_rnn.tools.performance_rnn_generate"
CONFIG = get_config("performance_with_dynamics")
HPARAMS = "--hparams=batch_size=4,rnn_layer_sizes=[8]"
NEW = ("--config=performance_with_dynamics", HPARAMS)


def write_records(path, change=lambda example: None, **options):
    rng = np.random.default_rng(0)
    with open_writers([str(path)]) as (writer,):
        for number in range(6):
            events = rng.integers(CONFIG.num_classes, size=60)
            example = make_example(
                events, CONFIG, source_id="/id/a", segment_index=number, **options
            )
            change(example)
            writer.write(example.SerializeToString())
    return path


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return write_records(tmp_path_factory.mktemp("records") / "training.tfrecord")


@pytest.fixture(scope="module")
def bundle_file(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("bundle") / "small.mag"
    network = build_network(CONFIG, HParams(rnn_layer_sizes=(8,)))
    write_bundle(path, bundle_from_network(network, CONFIG))
    return path


@pytest.fixture
def train(run_tool, records, tmp_path):
    def run(*arguments):
        return run_tool(
            TRAIN,
            f"--run_dir={tmp_path / 'run'}",
            f"--sequence_example_file={records}",
            "--window=16",
            "--sample_seconds=0",
            *arguments,
        )

    return run


@pytest.mark.slow
def test_train_resume_evaluate_export_generate(train, run_tool, records, tmp_path, summaries):
    run_dir = tmp_path / "run"
    evaluated = f"--eval_sequence_example_file={records}"
    new = [*NEW, "--summary_frequency=2", evaluated, "--sample_seconds=1"]
    ended = train(*new, "--num_training_steps=4")
    assert ended.status == 0, ended.err
    assert "oneDNN" not in ended.err
    assert "Evaluation at step 4: NLL" in ended.out
    assert "over 354 events" in ended.out

    # Settings that are not given again come from the run.
    ended = train("--num_training_steps=7", "--summary_frequency=2")
    assert ended.status == 0, ended.err
    assert f"{run_dir}: at step 7" in ended.out
    assert {step for step, _ in summaries(run_dir / "train")} == {2, 4, 6}
    assert [path.name for path in sorted(run_dir.iterdir())] == [
        "data", "eval", "lock", "run.json", "sample", "train",
    ]  # fmt: skip

    ended = train("--eval", "--num_training_steps=7", "--num_eval_examples=2")
    assert ended.status == 0, ended.err
    assert "Evaluation at step 7: NLL" in ended.out
    assert "over 118 events" in ended.out
    assert sorted({step for step, _ in summaries(run_dir / "eval")}) == [4, 7]

    mag = tmp_path / "made.mag"
    ended = run_tool(
        GENERATE,
        "--save_generator_bundle",
        f"--run_dir={run_dir}",
        f"--bundle_file={mag}",
        "--bundle_description=of a test",
    )
    assert ended.status == 0, ended.err
    bundle = read_bundle(mag)
    assert (bundle.id, bundle.bundle_description) == ("performance_with_dynamics", "of a test")
    assert bundle.extra["training_steps"] == 7
    assert bundle.layer_sizes == [8]

    pieces = []
    for source in (f"--run_dir={run_dir}", f"--bundle_file={mag}"):
        out = tmp_path / source[2:5]
        ended = run_tool(
            GENERATE,
            source,
            f"--output_dir={out}",
            "--num_outputs=2",
            "--num_steps=300",
            "--seed=3",
        )
        assert ended.status == 0, ended.err
        played = [read_midi_file(path) for path in sorted(out.glob("*.mid"))]
        pieces.append([(n.start_time.tolist(), n.pitch.tolist()) for n in played])
    assert len(pieces[0]) == 2
    assert pieces[0] == pieces[1]


def test_the_end_says_what_to_run_next(train, run_tool, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ended = train(*NEW, "--run_dir=my runs/one", "--num_training_steps=1")
    assert "tensorboard --logdir='my runs/one'" in ended.err
    commands = [shlex.split(line) for line in ended.out.splitlines() if line.startswith("  ")]
    assert [words[:2] for words in commands] == [["perf_rnn", "play"]] * 2
    small = ["--num_outputs=1", "--num_steps=200"]
    for _, _, *arguments in commands:
        assert run_tool(GENERATE, *arguments, *small).status == 0
    assert read_bundle(tmp_path / "one.mag").extra["training_steps"] == 1
    made = {path.suffix for path in (tmp_path / "generated_one").iterdir()}
    assert made == {".mid", ".wav", ".png", ".html"}


def test_a_run_with_dropout_can_be_played_and_evaluated(train, run_tool, tmp_path):
    hparams = f"{HPARAMS},dropout_keep_prob=0.9"
    ended = train(NEW[0], hparams, "--num_training_steps=2")
    assert ended.status == 0, ended.err
    ended = train("--eval", "--num_training_steps=2")
    assert "Evaluation at step 2: NLL" in ended.out, ended.err
    run, out = f"--run_dir={tmp_path / 'run'}", f"--output_dir={tmp_path / 'out'}"
    ended = run_tool(GENERATE, run, out, "--num_outputs=1", "--num_steps=200")
    assert ended.status == 0, ended.err


def test_train_on_two_devices(train):
    ended = train(*NEW, "--strategy=mirrored", "--num_training_steps=2")
    assert ended.status == 0, ended.err
    assert "on 2 device(s)" in ended.err


def test_a_start_that_fails_leaves_no_run(train, bundle_file, tmp_path):
    new = ["--config=performance_with_dynamics", "--num_training_steps=1"]
    warm = f"--warm_start_bundle_file={bundle_file}"
    ended = train(*new, warm, "--hparams=batch_size=4,rnn_layer_sizes=[7]")
    assert "give --hparams=rnn_layer_sizes=[8] or wider layers" in ended.error
    assert train(*new, warm, HPARAMS).status == 0


def test_eval_of_another_network(train):
    train("--num_training_steps=1", *NEW)
    ended = train("--eval", "--num_training_steps=1", "--hparams=rnn_layer_sizes=[9]")
    assert ended.status == 1
    assert "made with" in ended.error
    # Windows and carrying may differ: that is how their effect is measured.
    ended = train("--eval", "--num_training_steps=1", "--nocarry_state")
    assert "Evaluation at step 1" in ended.out


def forget_augmentation(example):
    del example.context.feature["augmented"]


SILENT = "The data does not say whether it is augmented"
TWICE = "The data is augmented already, and is augmented once more"


@pytest.mark.parametrize(
    ("data", "arguments", "augmentation", "warnings"),
    [
        ({}, [], True, []),
        ({}, ["--augmentation=off"], False, []),
        ({"example_format": "dense_one_hot"}, [], True, []),
        ({"augmented": True}, [], False, []),
        ({"augmented": True}, ["--augmentation=on"], True, [TWICE]),
        ({"change": forget_augmentation}, [], False, [SILENT]),
        ({"change": forget_augmentation}, ["--augmentation=on"], True, []),
    ],
)
def test_augmentation(train, tmp_path, data, arguments, augmentation, warnings):
    path = write_records(tmp_path / "data.tfrecord", **data)
    data_file = f"--sequence_example_file={path}"
    ended = train(*NEW, data_file, "--num_training_steps=1", *arguments)
    assert ended.status == 0, ended.err
    assert json.loads((tmp_path / "run/run.json").read_text())["augmentation"] is augmentation
    assert f"{'with' if augmentation else 'without'} augmentation" in ended.err
    assert [text for text in (SILENT, TWICE) if text in ended.err] == warnings


def test_a_run_keeps_its_augmentation(train, tmp_path):
    assert train(*NEW, "--num_training_steps=1", "--augmentation=off").status == 0
    ended = train("--num_training_steps=2")
    assert "at step 2" in ended.out
    assert "without augmentation" in ended.err
    # What is asked for on these data is to augment them.
    for asked in ("on", "auto"):
        ended = train("--num_training_steps=3", f"--augmentation={asked}")
        assert ended.status == 1
        assert "made with augmentation=False, not True" in ended.error
    ended = train("--eval", "--num_training_steps=2", "--augmentation=on")
    assert "over 354 events" in ended.out


def test_control_jumps_need_controls(train, tmp_path):
    ended = train(*NEW, "--control_jumps")
    assert ended.status == 1
    assert "--control_jumps: config performance_with_dynamics has no controls" in ended.error
    assert not (tmp_path / "run").exists()


def test_evaluation_of_an_augmenting_run_is_of_the_data_as_they_are(train, records, tmp_path):
    evaluated = train(*NEW, "--num_training_steps=1", f"--eval_sequence_example_file={records}")
    again = train("--eval", "--num_training_steps=1")
    lines = [re.search("Evaluation at step 1.*", ended.out)[0] for ended in (evaluated, again)]
    assert lines[0] == lines[1]
    assert "over 354 events" in lines[0]
    assert RunDir(str(tmp_path / "run")).settings().augmentation


def test_warm_start(train, bundle_file, tmp_path):
    ended = train(
        *NEW,
        "--num_training_steps=1",
        f"--warm_start_bundle_file={bundle_file}",
    )
    assert ended.status == 0, ended.err
    bundle = bundle_of_run(str(tmp_path / "run"))
    assert (bundle.id, bundle.extra["training_steps"]) == (CONFIG.id, 1)
    # One step of Adam moves a weight by the learning rate at most.
    expected = read_bundle(bundle_file).output_kernel
    np.testing.assert_allclose(bundle.output_kernel, expected, atol=0.0011)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config=performance"], "made for config 'performance_with_dynamics', not 'perform"),
        (["--config=nothing"], "unknown config 'nothing'; known: performance,"),
        (["--hparams=batch=3"], "hparams: unknown name 'batch'"),
        (["--patience=2"], "--patience needs --eval_sequence_example_file"),
        (["--hparams=attn_length=-1"], "hparams: attn_length=-1 is not supported"),
        (
            ["--config=multiconditioned_performance_with_dynamics"],
            "made for config 'performance_with_dynamics', not 'multiconditioned_performance_with",
        ),
        (["--sequence_example_file=/nowhere/*.tfrecord"], "/nowhere/*.tfrecord: no such file"),
        (["--sequence_example_file="], "--sequence_example_file is needed"),
        (["--run_dir="], "--run_dir is empty"),
        (["--eval_sequence_example_file="], "--eval_sequence_example_file is empty"),
        (["--warm_start_bundle_file=/nowhere/a.mag"], "/nowhere/a.mag: "),
        (["--warm_start_bundle_file=performance"], "give --hparams=rnn_layer_sizes=[512,512,512]"),
        (["--run_dir=/proc/nothing"], "/proc/nothing"),
    ],
)
def test_train_bad_input(train, arguments, message):
    ended = train("--num_training_steps=1", *NEW, *arguments)
    assert ended.status == 1
    assert message in ended.error


def test_run_made_with_other_hparams(train, tmp_path):
    train("--num_training_steps=1", *NEW)
    made = sorted((tmp_path / "run" / "train").iterdir())
    ended = train("--num_training_steps=2", "--hparams=batch_size=4,rnn_layer_sizes=[9]")
    assert ended.status == 1
    assert "made with rnn_layer_sizes=[8], not [9]" in ended.error
    ended = train("--num_training_steps=2", "--config=performance")
    assert "made with" in ended.error or "made for config" in ended.error
    assert sorted((tmp_path / "run" / "train").iterdir()) == made


def test_no_directory_is_made_for_data_that_cannot_be_read(train, tmp_path):
    (tmp_path / "text").write_text("neither records nor music")
    ended = train(*NEW, f"--sequence_example_file={tmp_path / 'text'}")
    assert "text: is no uncompressed TFRecord file" in ended.error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(train, tmp_path, monkeypatch, number):
    """What a scheduler sends, or Ctrl-C, within a step."""
    from perf_rnn.training.trainer import Trainer

    original = Trainer._train_batch

    def interrupted(trainer, batch):
        if trainer.step == 2:
            signal.raise_signal(number)
        return original(trainer, batch)

    monkeypatch.setattr(Trainer, "_train_batch", interrupted)
    ended = train(*NEW)
    assert ended.status == 130
    assert ended.error == "ERROR: interrupted"
    assert f"{tmp_path / 'run'}: at step 3" in ended.out
    assert bundle_of_run(str(tmp_path / "run")).extra["training_steps"] == 3


def test_two_trainings_in_one_directory(train, tmp_path):
    with RunDir(str(tmp_path / "run")).locked():
        ended = train(*NEW)
    assert ended.status == 1
    assert "another training is using this directory" in ended.error
