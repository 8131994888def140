import json

import numpy as np
import pytest
import tensorflow as tf

from perf_rnn.configs import get_config
from perf_rnn.data.examples import EventSequence
from perf_rnn.hparams import HParams
from perf_rnn.training import trainer as training
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


def make_settings(hparams="", carry_state=True, window=16, config=CONFIG, augmentation=False):
    small = HParams(batch_size=4, rnn_layer_sizes=(8, 6), learning_rate=0.01)
    return RunSettings(
        config.key, small.parse(hparams), window, carry_state, seed=1, augmentation=augmentation
    )


def make_trainer(train_dir, settings=None, segments=None, **options):
    settings = settings or make_settings()
    if segments is None:
        segments = make_segments(config=get_config(settings.config))
    return training.Trainer(segments, settings, str(train_dir), **options)


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


@pytest.mark.parametrize(
    ("config", "hparams"),
    [
        (NOTES, "dropout_keep_prob=0.7,warmup_steps=5,decay_steps=30"),
        (OPTIONAL, "attn_length=5,residual_connections=true"),
    ],
    ids=["notes, dropout and schedule", "controls, attention and residual"],
)
def test_resumed_equals_uninterrupted(tmp_path, config, hparams):
    settings = make_settings(hparams, config=config, augmentation=True)
    whole = make_trainer(tmp_path / "whole", settings)
    expected = steps(whole, 23)
    first = make_trainer(tmp_path / "parts", settings)
    got = steps(first, 11)
    first.save()
    second = make_trainer(tmp_path / "parts", settings)
    assert second.step.numpy() == 11
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


def test_two_devices_equal_one(tmp_path):
    strategy = training.mirrored_strategy()
    assert strategy.num_replicas_in_sync == 2
    # A clip norm this small clips every gradient: clipping comes after the sum over devices.
    settings = make_settings("clip_norm=0.01", config=OPTIONAL)
    one = make_trainer(tmp_path / "1", settings)
    two = make_trainer(tmp_path / "2", settings, strategy=strategy)
    two.network.set_weights(one.network.get_weights())
    np.testing.assert_allclose(steps(two, 12), steps(one, 12), rtol=1e-4)
    assert_same_weights(two.network, one.network, atol=1e-4)
    two.save()
    again = make_trainer(tmp_path / "2", settings, strategy=strategy)
    np.testing.assert_allclose(steps(again, 3), steps(two, 3), rtol=1e-4)


def test_rows_must_divide_among_devices(tmp_path):
    with pytest.raises(training.TrainingError, match="batch_size=3 is not divisible by 2"):
        make_trainer(
            tmp_path,
            make_settings("batch_size=3"),
            strategy=training.mirrored_strategy(),
        )


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


def test_controls_are_read_with_the_event_before_theirs(tmp_path):
    """A network can learn events that only the controls give away."""
    rng = np.random.default_rng(0)
    segments = []
    for _ in range(12):
        events = rng.integers(2, size=50).astype(np.int32)
        controls = np.zeros((50, OPTIONAL.control_size), np.float32)
        controls[np.arange(50), events] = 1
        segments.append(EventSequence(events, controls))
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
    optimizer = training.make_optimizer(HParams().parse(hparams))
    for step, rate in rates.items():
        optimizer.iterations.assign(step)
        assert float(optimizer.learning_rate) == pytest.approx(rate, abs=1e-7)


def test_train_saves_checkpoints_and_summaries(tmp_path):
    trainer = make_trainer(tmp_path)
    calls = []
    schedule = training.Schedule(num_training_steps=25, summary_frequency=10)
    trainer.train(schedule, lambda: calls.append(int(trainer.step.numpy())))
    assert calls == [25]
    assert tf.train.latest_checkpoint(str(tmp_path)).endswith("ckpt-25")
    (events,) = tmp_path.glob("events.out.tfevents.*")
    names = {
        (value.tag, event.step)
        for event in tf.compat.v1.train.summary_iterator(str(events))
        for value in event.summary.value
    }
    tags = "loss", "nll", "perplexity", "accuracy", "events_per_second", "learning_rate"
    assert names == {(tag, step) for tag in tags for step in (10, 20)}
    # Asked again, it has nothing left to do.
    again = make_trainer(tmp_path)
    again.train(schedule)
    assert again.step.numpy() == 25


def test_interrupt_saves(tmp_path):
    trainer = make_trainer(tmp_path)
    original = trainer.train_batch

    def interrupted(batch):
        if trainer.step.numpy() == 7:
            raise KeyboardInterrupt
        return original(batch)

    trainer.train_batch = interrupted
    with pytest.raises(KeyboardInterrupt):
        trainer.train(training.Schedule())
    assert tf.train.latest_checkpoint(str(tmp_path)).endswith("ckpt-7")


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
    reached = int(trainer.step.numpy())
    assert reached == 8
    segments.broken = None
    again = make_trainer(tmp_path / "broken", segments=segments)
    assert again.step.numpy() == reached
    got = expected[:reached] + steps(again, 20 - reached)
    np.testing.assert_allclose(got, expected, rtol=1e-4)


def test_resume_with_other_data_starts_a_new_pass(tmp_path):
    first = make_trainer(tmp_path)
    steps(first, 5)
    first.save()
    again = make_trainer(tmp_path, segments=make_segments(num=9))
    assert again.step.numpy() == 5
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
    assert tf.train.latest_checkpoint(str(tmp_path)).endswith("ckpt-2")


def test_nan_weights_are_not_saved(tmp_path):
    trainer = make_trainer(tmp_path)
    trainer.network.set_weights([w * np.nan for w in trainer.network.get_weights()])
    with pytest.raises(training.TrainingError, match="a weight is no longer a number at step 0"):
        trainer.save()
    assert tf.train.latest_checkpoint(str(tmp_path)) is None


def test_damaged_checkpoint(tmp_path):
    make_trainer(tmp_path).save()
    (data,) = tmp_path.glob("ckpt-0.data*")
    data.write_bytes(data.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"ckpt-0: damaged, or another network's checkpoint"):
        make_trainer(tmp_path)


def test_checkpoint_of_another_network(tmp_path):
    make_trainer(tmp_path).save()
    with pytest.raises(ValueError, match=r"ckpt-0: damaged, or another network's checkpoint"):
        make_trainer(tmp_path, make_settings("rnn_layer_sizes=[9,6]"))


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


def test_a_run_that_does_not_say_has_no_augmentation(tmp_path):
    run = RunDir(str(tmp_path))
    run.write(make_settings(augmentation=True))
    path = tmp_path / "run.json"
    values = json.loads(path.read_text())
    assert values.pop("augmentation") is True
    path.write_text(json.dumps(values))
    assert run.settings() == make_settings(augmentation=False)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"hparams": {"size": 1}}'])
def test_foreign_run_json(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(ValueError, match=r"run\.json: not a run's settings"):
        RunDir(str(tmp_path)).settings()


def test_no_run_to_load(tmp_path):
    with pytest.raises(ValueError, match="no checkpoint of a training run here"):
        RunDir(str(tmp_path)).load_network()
