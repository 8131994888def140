"""bundles/train.sh, with a stand-in for the trainer."""

import os
import pathlib
import signal
import subprocess
import sys

import pytest

import bundles

TRAINER = f"""#!{sys.executable}
import pathlib, signal, sys

def save(number, frame):
    pathlib.Path("saved").touch()
    sys.exit(130)

signal.signal(signal.SIGTERM, save)
print("training", flush=True)
signal.pause()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_script_ends_its_trainer(tmp_path, number):
    trainer = tmp_path / "performance_rnn_train"
    trainer.write_text(TRAINER)
    trainer.chmod(0o755)
    data = tmp_path / "performance_asap_maestro"
    data.mkdir()
    for side in ("training", "eval"):
        (data / f"{side}_performances.tfrecord").touch()
    (tmp_path / "performance_with_dynamics.mag").touch()  # What it begins with.
    script = pathlib.Path(bundles.__file__).parent / "train.sh"
    with subprocess.Popen(
        ["sh", script, "performance", "asap", tmp_path],
        stdout=subprocess.PIPE,
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
    ) as process:
        assert process.stdout.readline() == b"training\n"
        process.send_signal(number)
        assert process.wait() == 130
    assert (tmp_path / "saved").exists()
