import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from bundles import BundleError
from perf_rnn import network as network_lib
from perf_rnn import training
from perf_rnn.configs import get_config
from perf_rnn.evaluation import evaluate
from perf_rnn.generation import config_of_bundle
from perf_rnn.hparams import HParams
from perf_rnn.records import EventSequence
from perf_rnn.run_dir import RunDir, RunSettings

CLASSES = 20


def make_segments(num=12, length=50, seed=0):
    """Segments that can be learnt: each event is one or two above the last."""
    rng = np.random.default_rng(seed)
    steps = rng.integers(1, 3, size=(num, length))
    return [EventSequence((np.cumsum(s) % CLASSES).astype(np.int32)) for s in steps]


def make_settings(hparams="", carry_state=True, window=16):
    small = HParams(batch_size=4, rnn_layer_sizes=(8, 6), learning_rate=0.01)
    return RunSettings("performance", small.parse(hparams), window, carry_state, seed=1)


def make_trainer(train_dir, settings=None, segments=None, **options):
    segments = make_segments() if segments is None else segments
    return training.Trainer(
        segments, CLASSES, settings or make_settings(), str(train_dir), **options
    )


def steps(trainer, count):
    return [trainer.train_batch(next(trainer.batches)).nll for _ in range(count)]


def assert_same_weights(a, b, **tolerance):
    for x, y in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_allclose(x, y, **(tolerance or {"atol": 1e-6}))


def test_learns(tmp_path):
    trainer = make_trainer(tmp_path, make_settings("learning_rate=0.03"))
    first = steps(trainer, 1)[0]
    last = steps(trainer, 250)[-1]
    assert first == pytest.approx(np.log(CLASSES), abs=0.5)
    assert last < 1.0  # log(2), 0.69, is the best there is.


@pytest.mark.parametrize("hparams", ["", "dropout_keep_prob=0.7,decay_steps=30"])
def test_resumed_equals_uninterrupted(tmp_path, hparams):
    settings = make_settings(hparams)
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


def test_two_devices_equal_one(tmp_path):
    strategy = training.mirrored_strategy()
    assert strategy.num_replicas_in_sync == 2
    # A clip norm this small clips every gradient: clipping comes after the sum over devices.
    for clip_norm in (3, 0.01):
        settings = make_settings(f"clip_norm={clip_norm}")
        one = make_trainer(tmp_path / f"1_{clip_norm}", settings)
        two = make_trainer(tmp_path / f"2_{clip_norm}", settings, strategy=strategy)
        two.network.set_weights(one.network.get_weights())
        np.testing.assert_allclose(steps(two, 12), steps(one, 12), rtol=1e-4)
        assert_same_weights(two.network, one.network, atol=1e-4)
    two.save()
    again = make_trainer(tmp_path / "2_0.01", settings, strategy=strategy)
    np.testing.assert_allclose(steps(again, 3), steps(two, 3), rtol=1e-4)


def test_rows_must_divide_among_devices(tmp_path):
    with pytest.raises(training.TrainingError, match="batch_size=3 is not divisible by 2"):
        make_trainer(
            tmp_path,
            make_settings("batch_size=3"),
            strategy=training.mirrored_strategy(),
        )


def test_state_is_carried_and_reset(tmp_path):
    """One window of 49 events and windows of 7 with the state carried give the same NLL."""
    trainer = make_trainer(tmp_path)
    steps(trainer, 40)
    segments = make_segments(seed=9)
    network = trainer.network
    whole = evaluate(network, segments, batch_size=4, window=49)
    carried = evaluate(network, segments, batch_size=5, window=7)
    forgotten = evaluate(network, segments, batch_size=5, window=7, carry_state=False)
    assert whole.num_events == carried.num_events == 12 * 49
    assert carried.nll == pytest.approx(whole.nll, rel=1e-5)
    assert carried.num_right == whole.num_right
    assert forgotten.nll > whole.nll + 1e-3


def test_training_without_carrying_state_differs(tmp_path):
    carried = steps(make_trainer(tmp_path / "a"), 3)
    forgotten = steps(make_trainer(tmp_path / "b", make_settings(carry_state=False)), 3)
    assert carried[0] == pytest.approx(forgotten[0], rel=1e-6)
    assert carried[1] != pytest.approx(forgotten[1], rel=1e-6)


def test_learning_rate_decays():
    constant = training.make_optimizer(HParams())
    decaying = training.make_optimizer(HParams(learning_rate=0.5, decay_steps=10))
    for step, rate in ((0, 0.5), (5, 0.25), (10, 0.0), (20, 0.0)):
        constant.iterations.assign(step)
        decaying.iterations.assign(step)
        assert float(constant.learning_rate) == pytest.approx(0.001)
        assert float(decaying.learning_rate) == pytest.approx(rate, abs=1e-7)


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


def test_warm_start_takes_the_shared_classes():
    big, small = get_config("performance_with_dynamics"), get_config("performance")
    trained = network_lib.build_network(big.num_classes, [5])
    bundle = network_lib.bundle_from_network(trained, big)
    network = network_lib.build_network(small.num_classes, [5])
    training.transfer_weights(network, bundle)
    kernel, recurrent, bias, output_kernel, output_bias = trained.get_weights()
    expected = [kernel[:356], recurrent, bias, output_kernel[:, :356], output_bias[:356]]
    for got, wanted in zip(network.get_weights(), expected, strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-7)


def test_warm_start_from_other_layers():
    config = get_config("performance")
    bundle = network_lib.bundle_from_network(network_lib.build_network(356, [5]), config)
    with pytest.raises(training.TrainingError, match=r"--hparams=rnn_layer_sizes=\[5\]"):
        training.transfer_weights(network_lib.build_network(356, [6]), bundle)


def test_warm_start_from_inputs_other_than_events():
    config = get_config("performance")
    bundle = network_lib.bundle_from_network(network_lib.build_network(356, [5]), config)
    layer = dataclasses.replace(bundle.layers[0], kernel=np.zeros((364, 20), np.float32))
    conditioned = dataclasses.replace(bundle, layers=(layer,))
    with pytest.raises(training.TrainingError, match="reads 364 inputs for 356 classes"):
        training.transfer_weights(network_lib.build_network(356, [5]), conditioned)
    with pytest.raises(ValueError, match="with 356 classes and 364 inputs is none of"):
        config_of_bundle(conditioned)


def test_diverged_network_makes_no_bundle():
    network = network_lib.build_network(356, [5])
    network.set_weights([w * np.nan for w in network.get_weights()])
    with pytest.raises(BundleError):
        network_lib.bundle_from_network(network, get_config("performance"))


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


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"hparams": {"size": 1}}'])
def test_foreign_run_json(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(ValueError, match=r"run\.json: not a run's settings"):
        RunDir(str(tmp_path)).settings()


def test_no_run_to_load(tmp_path):
    with pytest.raises(ValueError, match="no checkpoint of a training run here"):
        RunDir(str(tmp_path)).load_network()
