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
print(sys.argv[2], flush=True)
signal.pause()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("first_is_there", [True, False])
def test_a_signal_to_the_script_ends_its_trainer(tmp_path, number, first_is_there):
    trainer = tmp_path / "performance_rnn_train"
    trainer.write_text(TRAINER)
    trainer.chmod(0o755)
    for name in ("performance_asap_maestro", "performance_with_dynamics_data"):
        (tmp_path / name).mkdir()
        for side in ("training", "eval"):
            (tmp_path / name / f"{side}_performances.tfrecord").touch()
    if first_is_there:  # Otherwise what it begins with is trained before.
        (tmp_path / "performance_with_dynamics.mag").touch()
    script = pathlib.Path(bundles.__file__).parent / "train.sh"
    with subprocess.Popen(
        ["sh", script, "performance", "asap", tmp_path],
        stdout=subprocess.PIPE,
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
    ) as process:
        name = "performance" if first_is_there else "dynamics_1"
        assert process.stdout.readline() == f"--run_dir={tmp_path}/{name}\n".encode()
        process.send_signal(number)
        assert process.wait() == 130
    assert (tmp_path / "saved").exists()
