"""The tools from records to music, run as their console scripts run them."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf
from note_seq import midi_io

from bundles import read_bundle, write_bundle
from perf_rnn.configs import get_config
from perf_rnn.network import build_network, bundle_from_network
from perf_rnn.records import EventSequence, make_example
from perf_rnn.run_dir import RunDir

TRAIN = "perf_rnn.tools.performance_rnn_train"
GENERATE = "perf_rnn.tools.performance_rnn_generate"
CONFIG = get_config("performance_with_dynamics")
HPARAMS = "--hparams=batch_size=4,rnn_layer_sizes=[8]"


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("records") / "training.tfrecord"
    rng = np.random.default_rng(0)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for number in range(6):
            events = rng.integers(CONFIG.num_classes, size=60)
            example = make_example(EventSequence(events, "/id/a", number), CONFIG)
            writer.write(example.SerializeToString())
    return path


@pytest.fixture(scope="module")
def bundle_file(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("bundle") / "small.mag"
    write_bundle(path, bundle_from_network(build_network(CONFIG.num_classes, [8]), CONFIG))
    return path


@pytest.fixture
def train(run_tool, records, tmp_path):
    def run(*arguments):
        return run_tool(
            TRAIN,
            f"--run_dir={tmp_path / 'run'}",
            f"--sequence_example_file={records}",
            "--window=16",
            *arguments,
        )

    return run


@pytest.fixture
def generate(run_tool, bundle_file, tmp_path):
    def run(*arguments, bundle=True):
        return run_tool(
            GENERATE,
            f"--output_dir={tmp_path / 'out'}",
            *([f"--bundle_file={bundle_file}"] if bundle else []),
            *arguments,
        )

    return run


def summaries(directory):
    return {
        (event.step, value.tag): tf.make_ndarray(value.tensor).item()
        for path in sorted(directory.glob("events.out.tfevents.*"))
        for event in tf.compat.v1.train.summary_iterator(str(path))
        for value in event.summary.value
    }


def test_train_resume_evaluate_export_generate(train, run_tool, records, tmp_path):
    run_dir = tmp_path / "run"
    new = ["--config=performance_with_dynamics", HPARAMS, "--summary_frequency=2"]
    ended = train(*new, "--num_training_steps=4", f"--eval_sequence_example_file={records}")
    assert ended.status == 0, ended.err
    assert "Evaluation at step 4: NLL" in ended.out
    assert "over 354 events" in ended.out

    # Settings that are not given again come from the run.
    ended = train("--num_training_steps=7", "--summary_frequency=2")
    assert ended.status == 0, ended.err
    assert f"{run_dir}: at step 7" in ended.out
    assert {step for step, _ in summaries(run_dir / "train")} == {2, 4, 6}

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
        pieces.append([path.read_bytes() for path in sorted(out.glob("*.mid"))])
    assert len(pieces[0]) == 2
    assert pieces[0] == pieces[1]


def test_a_run_with_dropout_can_be_played_and_evaluated(train, generate, tmp_path):
    hparams = f"{HPARAMS},dropout_keep_prob=0.9"
    ended = train("--config=performance_with_dynamics", hparams, "--num_training_steps=2")
    assert ended.status == 0, ended.err
    ended = train("--eval", "--num_training_steps=2")
    assert "Evaluation at step 2: NLL" in ended.out, ended.err
    run = f"--run_dir={tmp_path / 'run'}"
    assert generate(run, "--num_outputs=1", "--num_steps=200", bundle=False).status == 0


def test_train_on_two_devices(train):
    new = ["--config=performance_with_dynamics", HPARAMS, "--strategy=mirrored"]
    ended = train(*new, "--num_training_steps=2")
    assert ended.status == 0, ended.err
    assert "on 2 device(s)" in ended.err


def test_a_start_that_fails_leaves_no_run(train, bundle_file, tmp_path):
    new = ["--config=performance_with_dynamics", "--num_training_steps=1"]
    warm = f"--warm_start_bundle_file={bundle_file}"
    ended = train(*new, warm, "--hparams=batch_size=4,rnn_layer_sizes=[9]")
    assert "give --hparams=rnn_layer_sizes=[8]" in ended.error
    assert train(*new, warm, HPARAMS).status == 0


def test_eval_of_another_network(train):
    train("--num_training_steps=1", "--config=performance_with_dynamics", HPARAMS)
    ended = train("--eval", "--num_training_steps=1", "--hparams=rnn_layer_sizes=[9]")
    assert ended.status == 1
    assert "made with" in ended.error
    # Windows and carrying may differ: that is how their effect is measured.
    ended = train("--eval", "--num_training_steps=1", "--nocarry_state")
    assert "Evaluation at step 1" in ended.out


def test_warm_start(train, bundle_file, tmp_path):
    ended = train(
        "--config=performance_with_dynamics",
        HPARAMS,
        "--num_training_steps=1",
        f"--warm_start_bundle_file={bundle_file}",
    )
    assert ended.status == 0, ended.err
    network, config, step = RunDir(str(tmp_path / "run")).load_network()
    assert (config, step) == (CONFIG, 1)
    kernel = network.get_weights()[-2]
    # One step of Adam moves a weight by the learning rate at most.
    np.testing.assert_allclose(kernel, read_bundle(bundle_file).output_kernel, atol=0.0011)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config=performance"], "made for config 'performance_with_dynamics', not 'perform"),
        (["--config=nothing"], "unknown config 'nothing'; known: performance,"),
        (["--hparams=batch=3"], "hparams: unknown name 'batch'"),
        (["--sequence_example_file=/nowhere/*.tfrecord"], "/nowhere/*.tfrecord: no such file"),
        (["--sequence_example_file="], "--sequence_example_file is needed"),
        (["--warm_start_bundle_file=/nowhere/a.mag"], "/nowhere/a.mag: "),
        (["--run_dir=/proc/nothing"], "/proc/nothing"),
    ],
)
def test_train_bad_input(train, arguments, message):
    ended = train(
        "--num_training_steps=1", "--config=performance_with_dynamics", HPARAMS, *arguments
    )
    assert ended.status == 1
    assert message in ended.error


def test_run_made_with_other_hparams(train, tmp_path):
    train("--num_training_steps=1", "--config=performance_with_dynamics", HPARAMS)
    made = sorted((tmp_path / "run" / "train").iterdir())
    ended = train("--num_training_steps=2", "--hparams=batch_size=4,rnn_layer_sizes=[9]")
    assert ended.status == 1
    assert "made with rnn_layer_sizes=[8], not [9]" in ended.error
    ended = train("--num_training_steps=2", "--config=performance")
    assert "made with" in ended.error or "made for config" in ended.error
    assert sorted((tmp_path / "run" / "train").iterdir()) == made


@pytest.mark.parametrize(
    ("primer", "pitches"),
    [
        ("--primer_pitches=[60,64,67]", [60, 64, 67]),
        ("--primer_melody=[72,-2,-2,-2]", [72]),
        ("--primer_midi={midi}", None),
    ],
)
def test_generate_with_primer(generate, asap_dir, tmp_path, primer, pitches):
    midi = asap_dir / "Liszt" / "Transcendental_Etudes" / "1" / "LuoJ05M.mid"
    ended = generate(
        primer.format(midi=midi), "--num_outputs=10", "--num_steps=6000", "--temperature=0.9"
    )
    assert ended.status == 0, ended.err
    files = sorted((tmp_path / "out").iterdir())
    assert [path.name[-7:] for path in files] == [f"_{i:02d}.mid" for i in range(1, 11)]
    assert all(f"{path}: " in ended.out for path in files)
    played = midi_io.midi_file_to_note_sequence(str(files[0]))
    if pitches is None:
        human = midi_io.midi_file_to_note_sequence(str(midi))
        pitches = [note.pitch for note in sorted(human.notes, key=lambda n: n.start_time)[:1]]
    first = [n.pitch for n in sorted(played.notes, key=lambda n: (n.start_time, n.pitch))]
    assert first[: len(pitches)] == pitches


def test_two_runs_in_a_second_keep_their_files(generate, tmp_path):
    for _ in range(3):
        # As a script written for Magenta may call it.
        assert generate("--num_outputs=2", "--num_steps=100", "--beam_size=1", HPARAMS).status == 0
    assert len(list((tmp_path / "out").iterdir())) == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--temperature=0"], "temperature 0.0 is not a number above 0"),
        (["--temperature=-1"], "temperature -1.0 is not a number above 0"),
        (["--temperature=nan"], "temperature nan is not a number above 0"),
        (["--primer_pitches=sixty"], "primer_pitches 'sixty' is not a list of integers"),
        (["--primer_melody=[60,500]"], "primer_melody: 500 is outside -2 to 127"),
        (["--primer_midi=/nowhere/a.mid"], "/nowhere/a.mid: No such file or directory"),
        (["--primer_pitches=[60]", "--num_steps=40"], "the primer lasts 50 steps of 10 ms, the"),
        (["--config=performance"], "the model's config is performance_with_dynamics"),
        (["--config=nothing"], "unknown config 'nothing'"),
        (["--output_dir=/proc/nothing"], "/proc/nothing: "),
        (["--run_dir=/tmp"], "give --run_dir or --bundle_file, not both"),
        (["--save_generator_bundle"], "--save_generator_bundle needs --run_dir and --bundle_file"),
        (["--bundle_file=/nowhere/a.mag"], "/nowhere/a.mag: "),
        (["--bundle_file="], "--bundle_file is empty"),
        (["--beam_size=2"], "--beam_size=2: there is no beam search"),
        (["--notes_per_second=4"], "--notes_per_second: no config here is of a conditioned model"),
        (["--output_dir=/proc"], "/proc/"),
        (["--hparams=rnn_layer_sizes=[9]"], "rnn_layer_sizes=[9], but the model's layers are [8]"),
        (["--num_outputs=0"], "flag --num_outputs=0"),
        (["--num_steps=1"], "flag --num_steps=1"),
        (["--seed=x"], "flag --seed=x"),
        (["--seed=-1"], "flag --seed=-1"),
        (["--nothing=1"], "Unknown command line flag 'nothing'"),
        (["stray"], "unexpected argument 'stray'"),
        (["--log=LOUD"], "--log=LOUD is not one of DEBUG, INFO"),
    ],
)
def test_generate_bad_input(generate, tmp_path, arguments, message):
    ended = generate("--num_outputs=1", "--num_steps=200", *arguments)
    assert ended.status == 1
    assert message in ended.error
    assert not list((tmp_path / "out").glob("*"))


def test_help_of_a_tool(generate):
    ended = generate("--help")
    assert ended.status == 0
    assert "Generates piano performances" in ended.out
    assert "--primer_melody" in ended.out
