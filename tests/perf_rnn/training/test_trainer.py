import json
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from bundles.errors import PerfRnnError
from perf_rnn.configs import get_config
from perf_rnn.data.examples import EventSequence
from perf_rnn.hparams import HParams
from perf_rnn.models import Model, bundle_of_run
from perf_rnn.network.network import build_network, network_from_model
from perf_rnn.training import trainer as training
from perf_rnn.training.checkpoints import list_checkpoints
from perf_rnn.training.evaluation import evaluate
from perf_rnn.training.run_dir import RunDir, RunSettings

CONFIG = get_config("performance")
OPTIONAL = get_config("optional_multiconditioned_performance_with_dynamics")
NOTES = get_config("performance_with_dynamics_and_note_encoding")


def make_segments(num=12, length=50, seed=0, config=CONFIG):
    """Segments that can be learnt: each event's indices are one or two above the last's."""
    rng = np.random.default_rng(seed)
    steps = rng.integers(1, 3, size=(num, length, *config.encoding.event_shape))
    events = (np.cumsum(steps, axis=1) % 12).astype(np.int32)
    return [EventSequence.from_events(e, config) for e in events]


def make_settings(hparams="", carry_state=True, window=16, config=CONFIG, **augmentation):
    small = HParams(batch_size=4, rnn_layer_sizes=(8, 6), learning_rate=0.01)
    hparams = small.parse(hparams)
    return RunSettings(config.key, hparams, window, carry_state, seed=1, **augmentation)


def make_trainer(train_dir, settings=None, segments=None, **options):
    settings = settings or make_settings()
    if segments is None:
        segments = make_segments(config=get_config(settings.config))
    return training.Trainer(segments, settings, str(train_dir), **options)


def saved_steps(directory):
    found = list_checkpoints(str(directory))
    return [int(os.path.basename(path)[len("ckpt-") : -len(".npz")]) for path in found]


def steps(trainer, count):
    return [trainer.train_batch(next(trainer.batches)).nll for _ in range(count)]


def assert_same_weights(a, b, **tolerance):
    for x, y in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_allclose(x, y, **(tolerance or {"atol": 1e-6}))


def test_learns(tmp_path):
    trainer = make_trainer(tmp_path, make_settings("learning_rate=0.1,rnn_layer_sizes=[16]"))
    first = steps(trainer, 1)[0]
    last = steps(trainer, 250)[-1]
    assert first == pytest.approx(np.log(CONFIG.num_classes), abs=0.5)
    assert last < 1.0  # log(2), 0.69, is the best there is.


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "hparams"),
    [
        (NOTES, "dropout_keep_prob=0.7,warmup_steps=5,decay_steps=30"),
        (OPTIONAL, "attn_length=5,residual_connections=true"),
    ],
    ids=["notes, dropout and schedule", "controls, attention and residual"],
)
def test_resumed_equals_uninterrupted(tmp_path, config, hparams):
    jumps = config is OPTIONAL
    settings = make_settings(hparams, config=config, augmentation=True, control_jumps=jumps)
    whole = make_trainer(tmp_path / "whole", settings)
    expected = steps(whole, 23)
    first = make_trainer(tmp_path / "parts", settings)
    got = steps(first, 11)
    first.save()
    second = make_trainer(tmp_path / "parts", settings)
    assert second.step == 11
    got += steps(second, 12)
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    assert_same_weights(second.network, whole.network)


def test_augmented_segments_are_others_in_each_pass(tmp_path):
    segments, num_kinds = make_segments(num=4, length=17), []
    for augmentation in (False, True):
        settings = make_settings(augmentation=augmentation)
        trainer = make_trainer(tmp_path / str(augmentation), settings, segments)
        passes = [next(trainer.batches) for _ in range(3)]
        num_kinds.append(len({row.tobytes() for batch in passes for row in batch.inputs}))
    assert num_kinds[0] == 4
    assert num_kinds[1] > 8  # Of twelve: two may have drawn the same interval.


def test_control_jumps_make_segments_longer(tmp_path):
    segments, num_begins = make_segments(num=4, length=17, config=OPTIONAL), []
    for control_jumps in (False, True):
        settings = make_settings(config=OPTIONAL, control_jumps=control_jumps)
        batches = make_trainer(tmp_path / str(control_jumps), settings, segments).batches
        begins = np.array([next(batches).keep_state == 0 for _ in range(9)])
        num_begins.append(begins.sum())
    assert num_begins[0] == 36
    assert 4 <= num_begins[1] < 20


@pytest.fixture
def two_devices():
    """Two virtual CPUs, which tests/conftest.py makes."""
    from perf_rnn.training.tensorflow_step import Devices

    devices = Devices.mirrored()
    assert devices.count == 2
    return devices


@pytest.mark.slow
def test_two_devices_equal_one(tmp_path, two_devices):
    # A clip norm this small clips every gradient: clipping comes after the sum over devices.
    settings = make_settings("clip_norm=0.01", config=OPTIONAL)
    one = make_trainer(tmp_path / "1", settings)
    two = make_trainer(tmp_path / "2", settings, devices=two_devices)
    two.network.set_weights(one.network.get_weights())
    np.testing.assert_allclose(steps(two, 12), steps(one, 12), rtol=1e-4)
    assert_same_weights(two.network, one.network, atol=1e-4)
    two.save()
    again = make_trainer(tmp_path / "2", settings, devices=two_devices)
    np.testing.assert_allclose(steps(again, 3), steps(two, 3), rtol=1e-4)


def test_rows_must_divide_among_devices(tmp_path, two_devices):
    with pytest.raises(training.TrainingError, match="batch_size=3 is not divisible by 2 devices"):
        make_trainer(tmp_path, make_settings("batch_size=3"), devices=two_devices)


@pytest.mark.parametrize(
    ("config", "hparams"),
    [(NOTES, ""), (OPTIONAL, "attn_length=9,residual_connections=true")],
    ids=["notes", "controls, attention and residual"],
)
def test_state_is_carried_and_reset(tmp_path, config, hparams):
    """One window of 49 events and windows of 7 with the state carried give the same NLL."""
    trainer = make_trainer(tmp_path, make_settings(hparams, config=config))
    steps(trainer, 40)
    segments, network = make_segments(seed=9, config=config), trainer.network
    whole = evaluate(network, config, segments, batch_size=4, window=49)
    carried = evaluate(network, config, segments, batch_size=5, window=7)
    forgotten = evaluate(network, config, segments, batch_size=5, window=7, carry_state=False)
    assert whole.num_events == carried.num_events == 12 * 49
    assert carried.nll == pytest.approx(whole.nll, rel=1e-5)
    assert carried.num_right == whole.num_right
    assert forgotten.nll > whole.nll + 1e-3


def test_dropout_is_off_in_evaluation():
    with_dropout = build_network(CONFIG, HParams(rnn_layer_sizes=(8,), dropout_keep_prob=0.5))
    without = build_network(CONFIG, HParams(rnn_layer_sizes=(8,)))
    without.set_weights(with_dropout.get_weights())
    figures = [evaluate(each, CONFIG, make_segments(), 4, 16) for each in (with_dropout, without)]
    assert figures[0].nll == figures[1].nll


def test_controls_are_read_with_the_event_before_theirs(tmp_path):
    """A network can learn events that only the controls give away."""
    rng = np.random.default_rng(0)
    segments = []
    for _ in range(12):
        events = rng.integers(2, size=50).astype(np.int32)
        controls = np.zeros((50, OPTIONAL.control_size), np.float32)
        controls[np.arange(50), events] = 1
        segments.append(EventSequence(events, lambda controls=controls: controls))
    settings = make_settings("learning_rate=0.1,rnn_layer_sizes=[16]", config=OPTIONAL)
    trainer = make_trainer(tmp_path, settings, segments)
    assert steps(trainer, 70)[-1] < 0.1  # log(2), 0.69, without them.


def test_training_without_carrying_state_differs(tmp_path):
    carried = steps(make_trainer(tmp_path / "a"), 3)
    forgotten = steps(make_trainer(tmp_path / "b", make_settings(carry_state=False)), 3)
    assert carried[0] == pytest.approx(forgotten[0], rel=1e-6)
    assert carried[1] != pytest.approx(forgotten[1], rel=1e-6)


@pytest.mark.parametrize(
    ("hparams", "rates"),
    [
        ("learning_rate=0.5", {0: 0.5, 100: 0.5}),
        ("learning_rate=0.5,decay_steps=10", {0: 0.5, 5: 0.25, 10: 0.0, 20: 0.0}),
        ("learning_rate=0.5,warmup_steps=4", {0: 0.125, 2: 0.3125, 4: 0.5, 100: 0.5}),
        (
            "learning_rate=0.5,warmup_steps=4,decay_steps=10",
            {0: 0.125, 4: 0.5, 9: 0.25, 14: 0.0, 20: 0.0},
        ),
    ],
)
def test_learning_rate(hparams, rates):
    for step, rate in rates.items():
        found = training.learning_rate(HParams().parse(hparams), step)
        assert found == pytest.approx(rate, abs=1e-12)


def test_train_saves_checkpoints_and_summaries(tmp_path, summaries):
    trainer = make_trainer(tmp_path)
    calls = []
    schedule = training.Schedule(num_training_steps=25, summary_frequency=10)
    trainer.train(schedule, lambda: calls.append(trainer.step))
    assert calls == [25]
    assert saved_steps(tmp_path) == [25]
    written = summaries(tmp_path)
    tags = "loss", "nll", "perplexity", "accuracy", "events_per_second", "learning_rate"
    assert written.keys() == {(step, tag) for tag in tags for step in (10, 20)}
    assert written[20, "learning_rate"] == pytest.approx(0.01)
    assert written[20, "perplexity"] == pytest.approx(np.exp(written[20, "nll"]), rel=1e-5)
    # Asked again, it has nothing left to do.
    again = make_trainer(tmp_path)
    again.train(schedule)
    assert again.step == 25


def test_train_ends_after_its_time(tmp_path):
    trainer = make_trainer(tmp_path)
    calls = []
    schedule = training.Schedule(num_training_steps=25, max_seconds=0)
    trainer.train(schedule, lambda: calls.append(trainer.step))
    assert calls == [1]
    assert saved_steps(tmp_path) == [1]


def interrupt_in_step(trainer, number, *signals):
    """Makes signals arrive within a step: the weights are updated, the step is not counted yet."""
    take_step = trainer._take_step

    def interrupted(*arguments):
        result = take_step(*arguments)
        if trainer.step == number - 1:
            for each in signals:
                signal.raise_signal(each)
        return result

    trainer._take_step = interrupted


@pytest.mark.slow
def test_interrupted_ten_times_equals_uninterrupted(tmp_path):
    settings = make_settings("dropout_keep_prob=0.8", augmentation=True)
    whole = make_trainer(tmp_path / "whole", settings)
    whole.train(training.Schedule(num_training_steps=33))
    for number in range(3, 33, 3):
        trainer = make_trainer(tmp_path / "parts", settings)
        assert trainer.step == number - 3
        interrupt_in_step(trainer, number, signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            trainer.train(training.Schedule(num_training_steps=33))
    make_trainer(tmp_path / "parts", settings).train(training.Schedule(num_training_steps=33))
    names = [f"ckpt-{number}.npz" for number in (33, *range(3, 33, 3))]
    assert {path.name for path in (tmp_path / "parts").glob("ckpt-*")} == set(names[:1] + names[2:])
    with np.load(tmp_path / "whole" / names[0]) as a, np.load(tmp_path / "parts" / names[0]) as b:
        assert a.files == b.files
        for name in a.files:
            np.testing.assert_array_equal(a[name], b[name], err_msg=name)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_saves_the_step_it_arrives_in(tmp_path, number):
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    trainer = make_trainer(tmp_path)
    interrupt_in_step(trainer, 7, number)
    calls = []
    with pytest.raises(KeyboardInterrupt):
        trainer.train(training.Schedule(), lambda: calls.append(trainer.step))
    assert saved_steps(tmp_path) == [7]
    assert not calls
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_a_signal_that_ends_the_making_of_batches_loses_no_step(tmp_path):
    trainer = make_trainer(tmp_path)
    segment = trainer.batches._segment

    def segment_until(count):
        if trainer.step < 7:
            return segment(count)
        signal.raise_signal(signal.SIGTERM)
        raise PerfRnnError("a process that makes segments has ended")

    trainer.batches._segment = segment_until
    with pytest.raises(KeyboardInterrupt):
        trainer.train(training.Schedule())
    assert trainer.step >= 7
    assert saved_steps(tmp_path) == [trainer.step]


def test_a_second_interrupt_stops_at_once(tmp_path):
    trainer = make_trainer(tmp_path)
    interrupt_in_step(trainer, 7, signal.SIGINT, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        trainer.train(training.Schedule())
    assert trainer.step == 6
    assert saved_steps(tmp_path) == []


def test_training_ends_where_it_is_told_to_after_a_checkpoint(tmp_path):
    trainer = make_trainer(tmp_path)
    trainer.train(training.Schedule(checkpoint_seconds=0), lambda: trainer.step == 3)
    assert trainer.step == 3
    assert saved_steps(tmp_path) == [1, 2, 3]


def test_an_interrupt_of_the_evaluation_stops_at_once(tmp_path):
    """What it has interrupted is after the checkpoint."""
    reached = []

    def evaluate():
        signal.raise_signal(signal.SIGINT)
        reached.append("end")

    trainer = make_trainer(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        trainer.train(training.Schedule(checkpoint_seconds=0), evaluate)
    assert saved_steps(tmp_path) == [1]
    assert not reached


def test_ignored_signals_stay_ignored(tmp_path, monkeypatch):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        trainer = make_trainer(tmp_path)
        interrupt_in_step(trainer, 2, signal.SIGINT)
        trainer.train(training.Schedule(num_training_steps=4))
    finally:
        signal.signal(signal.SIGINT, before)
    assert trainer.step == 4


def test_a_corrupt_record_loses_nothing(tmp_path):
    """What is saved is where the last whole step ended, though the batches had moved on."""

    class Corrupt(list):
        broken = None

        def __getitem__(self, index):
            if index == self.broken:
                raise ValueError("corrupt")
            return super().__getitem__(index)

    segments = Corrupt(make_segments())
    expected = steps(make_trainer(tmp_path / "whole", segments=segments), 20)
    trainer = make_trainer(tmp_path / "broken", segments=segments)
    # Four rows play two segments each in eight steps; this is the next that one of them takes.
    steps(trainer, 6)
    segments.broken = np.random.default_rng([1, 0]).permutation(12)[8]
    with pytest.raises(ValueError, match="corrupt"):
        trainer.train(training.Schedule())
    reached = trainer.step
    assert reached == 8
    segments.broken = None
    again = make_trainer(tmp_path / "broken", segments=segments)
    assert again.step == reached
    got = expected[:reached] + steps(again, 20 - reached)
    np.testing.assert_allclose(got, expected, rtol=1e-4)


def test_resume_with_other_data_starts_a_new_pass(tmp_path):
    first = make_trainer(tmp_path)
    steps(first, 5)
    first.save()
    again = make_trainer(tmp_path, segments=make_segments(num=9))
    assert again.step == 5
    assert next(again.batches).keep_state.tolist() == [0, 0, 0, 0]


def test_nan_stops_and_keeps_the_last_checkpoint(tmp_path):
    trainer = make_trainer(tmp_path)
    steps(trainer, 2)
    trainer.save()
    trainer.network.set_weights([w * np.nan for w in trainer.network.get_weights()])
    with pytest.raises(
        training.TrainingError, match="the loss is no longer a number at step 3; low"
    ):
        trainer.train(training.Schedule())
    assert saved_steps(tmp_path) == [2]


def test_nan_weights_are_not_saved(tmp_path):
    trainer = make_trainer(tmp_path)
    trainer.network.set_weights([w * np.nan for w in trainer.network.get_weights()])
    with pytest.raises(training.TrainingError, match="a weight is no longer a number at step 0"):
        trainer.save()
    assert not list(tmp_path.iterdir())


def test_only_the_newest_checkpoints_are_kept(tmp_path):
    trainer = make_trainer(tmp_path, num_checkpoints=2)
    for _ in range(12):
        steps(trainer, 1)
        trainer.save()
    assert saved_steps(tmp_path) == [11, 12]


def test_the_newest_checkpoints_network_is_a_bundle(tmp_path):
    trainer = make_trainer(RunDir(str(tmp_path)).train_dir)
    for step in (1, 2):
        steps(trainer, 1)
        trainer.save()
        bundle = bundle_of_run(str(tmp_path))
        assert bundle.extra["training_steps"] == step
        assert bundle.extra["hparams"] == trainer.settings.hparams.to_dict()
        assert_same_weights(network_from_model(Model(bundle, CONFIG)), trainer.network, atol=1e-7)


def test_run_dir_remembers_its_settings(tmp_path):
    run = RunDir(str(tmp_path / "run"))
    assert run.settings() is None
    settings = make_settings()
    run.check(settings)
    run.write(settings)
    run.check(settings)
    assert RunDir(run.path).settings() == settings
    with pytest.raises(ValueError, match="made with batch_size=4, not 5; window=16, not 8"):
        run.check(make_settings("batch_size=5", window=8))
    with pytest.raises(ValueError, match="made with augmentation=False, not True"):
        run.check(make_settings(augmentation=True))
    with pytest.raises(ValueError, match="made with control_jumps=False, not True"):
        run.check(make_settings(control_jumps=True))


def test_a_run_that_does_not_say_has_no_augmentation(tmp_path):
    run = RunDir(str(tmp_path))
    run.write(make_settings(augmentation=True, control_jumps=True))
    path = tmp_path / "run.json"
    values = json.loads(path.read_text())
    assert values.pop("augmentation") is True
    assert values.pop("control_jumps") is True
    path.write_text(json.dumps(values))
    assert run.settings() == make_settings(augmentation=False)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"hparams": {"size": 1}}'])
def test_foreign_run_json(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(ValueError, match=r"run\.json: not (a run's settings|JSON)"):
        RunDir(str(tmp_path)).settings()


def test_no_run_to_load(tmp_path):
    with pytest.raises(ValueError, match="nowhere: no such directory"):
        bundle_of_run(str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match=r"no train/model\.npz of a training run here"):
        bundle_of_run(str(tmp_path))


def test_a_run_of_an_earlier_version(tmp_path):
    for name in ("checkpoint", "ckpt-5.index", "ckpt-5.data-00000-of-00001"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match="these checkpoints are of an earlier version of perf_rnn"):
        make_trainer(tmp_path)


HOLD = """
    import sys
    from perf_rnn.training.run_dir import RunDir
    with RunDir(sys.argv[1]).locked():
        print("locked", flush=True)
        sys.stdin.read()
"""


def test_one_training_at_a_time(tmp_path):
    """The lock of a killed training is gone, and so are its half-written files."""
    run = RunDir(str(tmp_path / "run"))
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLD), run.path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout.readline() == b"locked\n"
        with (
            pytest.raises(ValueError, match="another training is using this directory"),
            run.locked(),
        ):
            pass
        other.kill()
    finished = tmp_path / "run" / "train" / "ckpt-3.npz"
    for path in (finished, finished.with_name(".0123456789abcdef.npz")):
        path.touch()
    with run.locked():
        assert list(finished.parent.iterdir()) == [finished]
