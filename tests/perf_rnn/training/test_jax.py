"""Training on Keras's JAX backend, in processes of its own, against TensorFlow in this one."""

import importlib.util
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import types

import numpy as np
import pytest

from perf_rnn.training.checkpoints import list_checkpoints

ROOT = pathlib.Path(__file__).parents[3]
needs_jax = pytest.mark.skipif(not importlib.util.find_spec("jax"), reason="JAX is not installed")
pytestmark = pytest.mark.slow

# Continues the run in a directory for some steps; writes its losses, and a checkpoint.
PROGRAM = """
import json, os, sys
sys.path.insert(0, os.path.dirname(sys.argv[0]))
directory, steps, *process = sys.argv[1:]
if process:
    import jax
    address, count, number = process
    jax.distributed.initialize(address, int(count), int(number))
from common import make_trainer
trainer = make_trainer(directory)
assert trainer.devices.count == int(os.environ.get("DEVICES", "1")), trainer.devices.count
losses = [trainer.train_batch(next(trainer.batches)).loss for _ in range(int(steps))]
trainer.save()
assert "tensorflow" not in sys.modules
print(json.dumps(losses))
"""
COMMON = """
import json, os
import numpy as np
from perf_rnn.configs import get_config
from perf_rnn.data.examples import EventSequence
from perf_rnn.hparams import HParams
from perf_rnn.training.run_dir import RunSettings
from perf_rnn.training.trainer import Trainer

def make_trainer(directory):
    with open(os.path.join(directory, "what.json")) as file:
        key, hparams = json.load(file)
    config = get_config(key)
    rng = np.random.default_rng(0)
    shape = (12, 50, len(config.encoding.head_sizes))
    events = rng.integers(config.encoding.head_sizes, size=shape).astype(np.int32)
    segments = [
        EventSequence.from_events(e.reshape(50, *config.encoding.event_shape), config)
        for e in events
    ]
    small = HParams(batch_size=4, rnn_layer_sizes=(8, 6), learning_rate=0.01, clip_norm=0.1)
    settings = RunSettings(key, small.parse(hparams), 16, True, seed=1)
    return Trainer(segments, settings, directory)
"""


@pytest.fixture
def start(tmp_path):
    """Begins a run on TensorFlow: start(name, key, hparams) is its trainer, saved at step 0."""
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "common.py").write_text(COMMON)
    common = types.ModuleType("common")
    exec(COMMON, common.__dict__)

    def make(name, key="performance_with_dynamics", hparams=""):
        directory = tmp_path / name
        if not directory.exists():
            directory.mkdir()
            (directory / "what.json").write_text(json.dumps([key, hparams]))
        trainer = common.make_trainer(str(directory))
        trainer.save()
        return trainer

    return make


@pytest.fixture
def on_jax(tmp_path):
    """Continues a run on JAX: on_jax(name, steps) are the losses."""

    def begin(name, steps, *process, devices=1, virtual=1):
        flags = f"--xla_force_host_platform_device_count={virtual}"
        environment = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
        return subprocess.Popen(
            [sys.executable, tmp_path / "program.py", tmp_path / name, str(steps), *process],
            env={**os.environ, **environment, "PYTHONPATH": str(ROOT), "DEVICES": str(devices)},
            stdout=subprocess.PIPE,
        )

    def end(process):
        out, _ = process.communicate()
        assert process.returncode == 0
        return json.loads(out.splitlines()[-1])  # The processes report their connections first.

    def run(name, steps, devices=1):
        return end(begin(name, steps, devices=devices, virtual=devices))

    run.begin, run.end = begin, end
    return run


def take(trainer, steps):
    return [trainer.train_batch(next(trainer.batches)).loss for _ in range(steps)]


def newest(directory):
    with np.load(list_checkpoints(str(directory))[-1]) as file:
        return {name: file[name] for name in file.files}


def assert_close(a, b, tolerance):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_allclose(a[name], b[name], atol=tolerance, err_msg=name)


STACKS = [
    ("performance_with_dynamics", ""),
    ("performance_with_dynamics_and_note_encoding", "warmup_steps=5,decay_steps=60"),
    (
        "optional_multiconditioned_performance_with_dynamics",
        "attn_length=5,residual_connections=true",
    ),
]


@needs_jax
@pytest.mark.parametrize(("key", "hparams"), STACKS)
def test_fifty_steps_equal_tensorflows(tmp_path, start, on_jax, key, hparams):
    trainer = start("run", key, hparams)
    shutil.copytree(tmp_path / "run", tmp_path / "jax")
    expected = take(trainer, 50)
    trainer.save()
    losses = on_jax("jax", 50)
    difference = np.abs(np.subtract(losses, expected)).max()
    print(f"{key}: losses differ by {difference:.1e} at most")
    assert difference < 5e-5
    assert expected[0] - expected[-1] > 0.01  # Something was learnt.
    assert_close(newest(tmp_path / "jax"), newest(tmp_path / "run"), 1e-3)


@needs_jax
def test_a_run_moves_between_the_backends(tmp_path, start, on_jax):
    expected = take(start("whole"), 30)
    trainer = start("moved")
    losses = take(trainer, 10)
    trainer.save()
    losses += on_jax("moved", 10)
    trainer = start("moved")
    assert trainer.step == 20
    losses += take(trainer, 10)
    np.testing.assert_allclose(losses, expected, atol=1e-5)


@needs_jax
def test_four_devices_and_two_processes_equal_one_device(tmp_path, start, on_jax):
    start("one")
    for name in ("four", "two"):
        shutil.copytree(tmp_path / "one", tmp_path / name)
    expected = on_jax("one", 12)
    np.testing.assert_allclose(on_jax("four", 12, devices=4), expected, atol=1e-5)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    processes = [on_jax.begin("two", 12, address, "2", str(n), devices=2) for n in range(2)]
    for process in processes:
        np.testing.assert_allclose(on_jax.end(process), expected, atol=1e-5)
    for name in ("four", "two"):
        assert_close(newest(tmp_path / name), newest(tmp_path / "one"), 1e-4)


@needs_jax
def test_resumed_with_dropout_equals_uninterrupted(tmp_path, start, on_jax):
    start("whole", hparams="dropout_keep_prob=0.7")
    shutil.copytree(tmp_path / "whole", tmp_path / "parts")
    assert on_jax("parts", 5) + on_jax("parts", 6) == on_jax("whole", 11)
    assert_close(newest(tmp_path / "parts"), newest(tmp_path / "whole"), 0)


LOOK_UP = """
import jax, numpy as np
from perf_rnn.network.jax_scan import look_up
rng = np.random.default_rng(0)
table, weights = rng.normal(size=(7, 5)).astype("f4"), rng.normal(size=(3, 4, 5)).astype("f4")
indices = rng.integers(7, size=(3, 4))
gradients = []
for platform in ("cpu", "gpu"):
    jax.default_backend = lambda: platform
    loss = lambda table: (look_up(table, indices) * weights).sum()
    gradients.append(jax.jit(jax.grad(loss))(table))
np.testing.assert_allclose(*gradients, atol=1e-6)
assert np.abs(gradients[0]).max() > 0.5
"""


@needs_jax
def test_gradient_of_looking_up_on_a_gpu():
    environment = {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", LOOK_UP], env={**os.environ, **environment}, check=True)


IN_BFLOAT16 = """
import jax, numpy as np
from perf_rnn.network.jax_scan import lstm_recurrence
rng = np.random.default_rng(0)
def normal(*shape):
    return rng.normal(scale=0.5, size=shape).astype("f4")
arguments = normal(20, 3, 32), normal(32), normal(3, 8), normal(3, 8), normal(8, 32)
weights = normal(20, 3, 8)
def gradients(dtype):
    loss = lambda *arguments: (lstm_recurrence(*arguments, dtype)[0] * weights).sum()
    return jax.grad(loss, argnums=range(5))(*arguments)
for exact, rounded in zip(gradients("float32"), gradients("bfloat16")):
    error = np.linalg.norm(rounded - exact) / np.linalg.norm(exact)
    assert 0 < error < 0.01, error
"""


@needs_jax
def test_gradients_in_bfloat16():
    environment = {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    program = [sys.executable, "-c", IN_BFLOAT16]
    subprocess.run(program, env={**os.environ, **environment}, check=True)


@needs_jax
@pytest.mark.parametrize(
    ("platform", "capability", "policy"),
    [
        ("gpu", "9.0", "mixed_bfloat16"),  # H100
        ("gpu", "8.0", "mixed_bfloat16"),  # A100
        ("gpu", "7.5", "float32"),
        ("gpu", "gfx942", "float32"),
        ("tpu", None, "mixed_bfloat16"),
        ("cpu", None, "float32"),
    ],
)
def test_fast_dtype_policy(monkeypatch, platform, capability, policy):
    from perf_rnn.training import jax_step

    device = types.SimpleNamespace(platform=platform, compute_capability=capability)
    monkeypatch.setattr(jax_step.jax, "devices", lambda: [device] * 2)
    assert jax_step.fast_dtype_policy() == policy


@pytest.mark.parametrize(
    ("backend", "message"),
    [
        ("jax", "Keras needs jax, which is not installed"),
        ("torch", "Keras needs torch, which is not installed"),
    ],
)
def test_a_backend_that_is_not_installed(tmp_path, backend, message):
    code = f"""
import sys
sys.modules[{backend!r}] = None
from bundles.errors import PerfRnnError
from perf_rnn.tools import cli
try:
    cli.load_keras()
except PerfRnnError as error:
    print(error)
"""
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert message in ended.stdout
