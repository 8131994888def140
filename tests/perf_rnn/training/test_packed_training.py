"""A training is packed, and trained on this machine's backend."""

import errno
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from bundles.errors import PerfRnnError
from perf_rnn import models
from perf_rnn.configs import get_config
from perf_rnn.data.examples import EventRecords, make_example
from perf_rnn.data.tfrecord import open_writers
from perf_rnn.hparams import HParams
from perf_rnn.training import packed_training
from perf_rnn.training.packed_training import PackedTraining, Plan, make_plan
from perf_rnn.training.packing import write_pack
from perf_rnn.training.run_dir import RunDir, RunSettings

CONFIG = get_config("performance_with_dynamics")
HPARAMS = HParams(batch_size=4, rnn_layer_sizes=(8,), learning_rate=0.01, warmup_steps=2)


def write_records(path, num):
    rng = np.random.default_rng(0)
    with open_writers([str(path)]) as (writer,):
        for _ in range(num):
            events = rng.integers(64, 68, size=60)
            writer.write(make_example(events, CONFIG).SerializeToString())
    return EventRecords(str(path), CONFIG)


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    """A packed training, and its settings."""
    directory = tmp_path_factory.mktemp("packed")
    settings = RunSettings(CONFIG.key, HPARAMS, 16, True, seed=3, augmentation=True)
    data = [write_records(directory / f"{name}.tfrecord", 6) for name in ("a", "b")]
    write_pack(str(directory / "pack"), settings, *data)
    return directory / "pack", settings


def test_a_full_disk_is_told_in_one_line(pack, tmp_path, monkeypatch):
    def fail(path, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    _, settings = pack
    records = write_records(tmp_path / "a.tfrecord", 6)
    monkeypatch.setattr(pathlib.Path, "write_bytes", fail)
    with pytest.raises(OSError, match=r"No space left on device: '.*/pack'$"):
        write_pack(str(tmp_path / "pack"), settings, records, records)
    assert os.listdir(tmp_path) == ["a.tfrecord"]


def test_it_trains_and_comes_back_in_parts(pack, tmp_path, monkeypatch, summaries):
    directory, settings = pack
    monkeypatch.setattr(packed_training, "MEASURED_SECONDS", 0.5)
    monkeypatch.setattr(
        packed_training, "make_plan", lambda seconds, rate, evaluation: Plan(30, 0.0, 0.0)
    )
    monkeypatch.setattr(models, "_PART_BYTES", 10000)
    PackedTraining(str(directory), str(tmp_path), 600).run()

    run = RunDir(str(tmp_path))
    parts = sorted(path.name for path in tmp_path.glob("train/model*"))
    assert parts[:2] == ["model.npz.000", "model.npz.001"]
    bundle = models.bundle_of_run(run.path)
    last = bundle.extra["training_steps"]
    # The learning rate falls to zero at the last step.
    decay_steps = last - settings.hparams.warmup_steps
    assert run.settings().hparams.decay_steps == decay_steps
    training = summaries(tmp_path / "train")
    assert training[last, "learning_rate"] == pytest.approx(0, abs=1e-9)
    evaluated = summaries(tmp_path / "eval")
    assert {step for step, _ in evaluated} == {0, last}
    assert evaluated[0, "nll"] == pytest.approx(np.log(CONFIG.num_classes), abs=0.3)
    assert evaluated[last, "nll"] < evaluated[0, "nll"] - 0.3

    os.remove(tmp_path / "train" / parts[1])
    with pytest.raises(PerfRnnError, match=r"model\.npz: damaged"):
        models.bundle_of_run(run.path)


def test_one_begins_with_another_ones_network(pack, tmp_path, monkeypatch, summaries):
    monkeypatch.setattr(packed_training, "MEASURED_SECONDS", 0.2)
    monkeypatch.setattr(packed_training, "make_plan", lambda *_: Plan(10, 120.0, 0.0))
    pack_dir, first, second = str(pack[0]), str(tmp_path / "first"), str(tmp_path / "second")
    PackedTraining(pack_dir, first, 600).run()
    hparams = "rnn_layer_sizes=[12],learning_rate=0.02"
    PackedTraining(pack_dir, second, 600, hparams, first, "float16").run()

    assert RunDir(second).settings().hparams.learning_rate == 0.02
    bundle = models.bundle_of_run(second)
    assert bundle.layer_sizes == [12]
    # It begins where the first ended, with more units.
    nlls = {name: summaries(tmp_path / name / "eval") for name in ("first", "second")}
    last = models.bundle_of_run(first).extra["training_steps"]
    assert nlls["second"][0, "nll"] == pytest.approx(nlls["first"][last, "nll"], abs=1e-5)
    assert bundle.output_kernel.dtype == np.float32
    rounded = bundle.output_kernel.astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(bundle.output_kernel, rounded)


def test_a_training_that_cannot_be(pack, tmp_path):
    with pytest.raises(PerfRnnError, match="leave them out"):
        PackedTraining(str(pack[0]), str(tmp_path), 600, "decay_steps=5")
    with pytest.raises(PerfRnnError, match=r"give --hparams=rnn_layer_sizes=\[8\]"):
        PackedTraining(str(pack[0]), str(tmp_path), 600, "rnn_layer_sizes=[7]").run()
    with pytest.raises(PerfRnnError, match="no such directory"):
        PackedTraining(str(pack[0]), str(tmp_path), 600, start_dir=str(tmp_path / "none"))


def test_where_time_ends_it_the_learning_rate_has_fallen_too(
    pack, tmp_path, monkeypatch, summaries, capsys
):
    monkeypatch.setattr(packed_training, "MEASURED_SECONDS", 0.2)
    monkeypatch.setattr(packed_training, "CHECKPOINT_SECONDS", 0.2)
    # Two seconds for far too many steps.
    monkeypatch.setattr(
        packed_training, "make_plan", lambda seconds, *_: Plan(4000, 120.0, seconds - 2)
    )
    PackedTraining(str(pack[0]), str(tmp_path), 600).run()
    training = summaries(tmp_path / "train")
    rates = [value for (_, name), value in sorted(training.items()) if name == "learning_rate"]
    assert rates[-1] < 0.3 * HPARAMS.learning_rate
    assert "passes; one evaluation, at the end" in "".join(capsys.readouterr())


def test_another_result_stops_it(pack, tmp_path):
    directory, _ = pack
    values = json.loads((directory / "pack.json").read_text())
    assert values["first_nll"] == pytest.approx(np.log(CONFIG.num_classes), abs=0.3)
    training = PackedTraining(str(directory), str(tmp_path), 600)
    training._first_nll += 0.02
    with pytest.raises(PerfRnnError, match="is another one here"):
        training.run()
    assert not list(tmp_path.glob("train/*"))


def test_a_failing_dtype_policy(pack, tmp_path, monkeypatch, caplog):
    class Failing(packed_training.Trainer):
        def train(self, *arguments):
            if self.network.get_layer("lstm_0").matmul_policy != "float32":
                raise RuntimeError("no such kernel")
            super().train(*arguments)

    directory, _ = pack
    monkeypatch.setattr(packed_training, "Trainer", Failing)
    monkeypatch.setattr(
        packed_training.backend.load(), "fast_dtype_policy", lambda: "mixed_bfloat16"
    )
    training = PackedTraining(str(directory), str(tmp_path), 600)
    trainer = training._start_training(str(tmp_path))
    assert trainer.step == 2
    assert "mixed_bfloat16 fails: no such kernel" in caplog.text


@pytest.mark.parametrize(
    ("seconds", "rate", "evaluation", "plan"),
    [
        (600, 30.0, 2.0, Plan(16993, 120, 14)),  # Four evaluations on the way.
        (600, 0.1, 40.0, Plan(49, 800, 90)),  # None.
    ],
)
def test_plan(seconds, rate, evaluation, plan):
    assert make_plan(seconds, rate, evaluation) == plan


def test_too_little_time():
    with pytest.raises(PerfRnnError, match="20 s are left, too few for ten steps"):
        make_plan(20, 1.0, 2.0)


def test_a_schedule_with_decay_cannot_be_packed(tmp_path):
    settings = RunSettings(CONFIG.key, HPARAMS.parse("decay_steps=10"), 16, True, 0)
    records = write_records(tmp_path / "a.tfrecord", 1)
    with pytest.raises(PerfRnnError, match="a packed training has its own decay_steps"):
        write_pack(str(tmp_path / "pack"), settings, records, records)
    assert not (tmp_path / "pack").exists()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 has no PYTHONSAFEPATH")
def test_the_pack_holds_the_code(pack, tmp_path):
    pytest.importorskip("jax")
    directory, _ = pack
    assert (directory / "code" / "bundles" / "__init__.py").exists()
    assert not list(directory.glob("code/**/*.mag"))
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    # The pack's own code runs, not what lies where it is started.
    (tmp_path / "perf_rnn.py").write_text("raise SystemExit('another perf_rnn')")
    ended = subprocess.run(
        [directory / "run.sh", "--help"],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--minutes" in ended.stdout
