"""Interrupts and kills training runs, and compares each checkpoint with an uninterrupted run's.

    [KERAS_BACKEND=jax] python -m benchmarks.interruptions [--signals=40] [--kills=50]
        [--interruptions=10] [--steps=300]

- SIGINT and SIGTERM at random moments, each while a run trains.
- SIGKILL at random moments, also while checkpoints are written: one is written after every step.
- One run of the tool, interrupted several times and continued to its end.

A checkpoint is consistent if all that it holds, bit for bit, is what the uninterrupted run held
after the same step.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from bundles.npz_files import read_npz
from perf_rnn.configs import get_config
from perf_rnn.data.examples import EventRecords, make_example
from perf_rnn.data.tfrecord import open_writers
from perf_rnn.hparams import HParams
from perf_rnn.models import bundle_of_run
from perf_rnn.training.checkpoints import list_checkpoints
from perf_rnn.training.run_dir import RunSettings
from perf_rnn.training.trainer import Schedule, Trainer

CONFIG = get_config("performance")
HPARAMS = HParams(batch_size=16, rnn_layer_sizes=(48, 48), dropout_keep_prob=0.9)
SETTINGS = RunSettings(CONFIG.key, HPARAMS, window=32, carry_state=True, seed=1)
TOOL = "from perf_rnn.tools import performance_rnn_train as tool; tool.console_entry_point()"


def digest(arrays: Mapping[str, np.ndarray]) -> str:
    """Returns a hash of a checkpoint's arrays."""
    found = hashlib.sha256()
    for name in sorted(arrays):
        kind = "<f4" if arrays[name].dtype.kind == "f" else "<i8"
        found.update(name.encode() + np.ascontiguousarray(arrays[name], kind).tobytes())
    return found.hexdigest()


def write_records(path: str) -> None:
    rng = np.random.default_rng(0)
    with open_writers([path]) as (writer,):
        for length in rng.integers(40, 200, 60):
            events = rng.integers(0, CONFIG.num_classes, length).astype(np.int32)
            writer.write(make_example(events, CONFIG).SerializeToString())


def make_trainer(records: str, run_dir: str) -> Trainer:
    train_dir = os.path.join(run_dir, "train")
    os.makedirs(train_dir, exist_ok=True)
    return Trainer(EventRecords(records, CONFIG), SETTINGS, train_dir, num_checkpoints=3)


def reference(records: str, directory: str, num_steps: int) -> list[str]:
    """Returns the digest of what a checkpoint would hold after each step, from step 0."""
    trainer = make_trainer(records, directory)
    found = [digest(trainer._arrays())]
    for _ in range(num_steps):
        trainer.train_batch(next(trainer.batches))
        found.append(digest(trainer._arrays()))
    return found


def inconsistent(run_dir: str, expected: list[str]) -> int:
    """Returns how many checkpoints of a run, its newest bundle included, are not as expected."""
    paths = list_checkpoints(os.path.join(run_dir, "train"))
    arrays = [read_npz(path) for path in paths]
    wrong = sum(digest(a) != expected[int(a["step"])] for a in arrays)
    if paths:
        bundle = bundle_of_run(run_dir)
        # The bundle is written before the checkpoint of its step.
        wrong += not 0 <= int(bundle.extra["training_steps"]) - int(arrays[-1]["step"]) <= 1
    return wrong


def signals(records: str, directory: str, expected: list[str], count: int) -> dict[str, Any]:
    """Sends signals to this process while it trains."""
    rng, saved, wrong, lost = random.Random(0), 0, 0, 0
    trainer = make_trainer(records, directory)
    while saved < count:
        if trainer.step >= len(expected) - 60:  # Another run.
            directory += "x"
            trainer = make_trainer(records, directory)
        number = rng.choice((signal.SIGINT, signal.SIGTERM))
        timer = threading.Timer(rng.uniform(0.05, 0.4), os.kill, (os.getpid(), number))
        timer.start()
        try:
            trainer.train(Schedule(len(expected) - 1, checkpoint_seconds=3600))
        except KeyboardInterrupt:
            saved += 1
        timer.join()
        wrong += inconsistent(directory, expected)
        newest = list_checkpoints(os.path.join(directory, "train"))[-1]
        lost += trainer.step - int(re.findall(r"ckpt-(\d+)", newest)[0])
    return {"signals": saved, "inconsistent checkpoints": wrong, "steps lost": lost}


def _train_and_save_always(records: str, run_dir: str, num_steps: int, started: Any) -> None:
    trainer = make_trainer(records, run_dir)
    started.send(trainer.step)
    trainer.train(Schedule(num_steps, checkpoint_seconds=0))


def kills(records: str, directory: str, expected: list[str], count: int) -> dict[str, Any]:
    """Kills processes that train one run after another's end."""
    rng, done, wrong, unreadable = random.Random(1), 0, 0, 0
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["perf_rnn.training.trainer", __name__, "keras"])
    number = 0
    while done < count:
        run_dir = f"{directory}_{number}"
        here, there = context.Pipe()
        arguments = (records, run_dir, len(expected) - 1, there)
        process = context.Process(target=_train_and_save_always, args=arguments)
        process.start()
        there.close()
        try:
            here.recv()
        except EOFError:
            unreadable += 1  # It did not go on from what the last one left.
        process.join(rng.uniform(0.2, 1.5))
        if process.is_alive():
            process.kill()
            done += 1
        else:
            number += 1
        process.join()
        wrong += inconsistent(run_dir, expected)
    left = len(list(pathlib.Path(run_dir, "train").glob(".*")))
    return {
        **{"kills": done, "runs": number + 1, "inconsistent checkpoints": wrong},
        **{"restarts that failed": unreadable, "temporary files at the end": left},
    }


def interruptions(records: str, directory: str, expected: list[str], count: int) -> dict[str, Any]:
    """Interrupts one run of the tool, and continues it until its end."""
    rng, done = random.Random(2), 0
    hparams = "batch_size=16,rnn_layer_sizes=[48,48],dropout_keep_prob=0.9"
    flags = [
        *(f"--run_dir={directory}", f"--sequence_example_file={records}", f"--hparams={hparams}"),
        *("--config=performance", "--window=32", "--seed=1", "--augmentation=off"),
        *(f"--num_training_steps={len(expected) - 1}", "--sample_seconds=0"),
        "--mixed_precision=off",
    ]
    while True:
        process = subprocess.Popen(
            [sys.executable, "-c", TOOL, *flags], stderr=subprocess.PIPE, text=True
        )
        assert process.stderr
        for line in process.stderr:
            if " device(s), from step" in line and done < count:
                time.sleep(rng.uniform(0.0, 1.0))
                process.send_signal(rng.choice((signal.SIGINT, signal.SIGTERM)))
        if process.wait() == 0:
            break
        assert process.returncode == 130, process.returncode
        done += 1
    wrong = inconsistent(directory, expected)
    newest = list_checkpoints(os.path.join(directory, "train"))[-1]
    equal = digest(read_npz(newest)) == expected[-1]
    return {"interruptions": done, "inconsistent checkpoints": wrong, "weights equal": equal}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name, default in (("signals", 40), ("kills", 50), ("interruptions", 10), ("steps", 300)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        records = os.path.join(directory, "records.tfrecord")
        write_records(records)
        expected = reference(records, os.path.join(directory, "reference"), args.steps)
        print(f"Backend {keras.backend.backend()}, {args.steps} steps", flush=True)
        for measure in (signals, kills, interruptions):
            count = getattr(args, measure.__name__)
            run_dir = os.path.join(directory, measure.__name__)
            if count:
                found = measure(records, run_dir, expected, count)
                print(", ".join(f"{name} {value}" for name, value in found.items()), flush=True)


if __name__ == "__main__":
    main()
