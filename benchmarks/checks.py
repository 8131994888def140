"""Checks the fast implementations, the sampler's network and the LSTM layer, against Keras.

    python -m benchmarks.checks [--seeds=3] [--steps=300] [--layers=128,128] [--output=RESULT.json]

Data are the small performances of tests/testdata/asap.

- The distribution of the next event, by the sampler's network and by the trained one in
  TensorFlow with keras.layers.LSTM, over 10,000 events: the largest difference of a probability.
- The loss of training, by the layers here and by keras.layers.LSTM on the same batches from the
  same weights.
"""

from __future__ import annotations

import argparse
import tempfile
import unittest.mock
from typing import Any

import numpy as np

from benchmarks import race
from perf_rnn.configs import PerformanceRnnConfig, get_config
from perf_rnn.data.examples import EventSequence
from perf_rnn.events.codec import STEPS_PER_SECOND
from perf_rnn.generation.cpu import worker_threads
from perf_rnn.generation.cpu.step_network import StepNetwork
from perf_rnn.hparams import HParams
from perf_rnn.models import load_model
from perf_rnn.network import recurrence
from perf_rnn.network.network import network_from_model, zero_states
from perf_rnn.notes import transforms as note_transforms
from perf_rnn.notes.music_files import read_midi_file
from perf_rnn.training.run_dir import RunSettings
from perf_rnn.training.trainer import Trainer

CONFIG = "performance_with_dynamics"
EVENTS, ROWS = 10_000, (10, 50)


def real_events(config: PerformanceRnnConfig) -> np.ndarray:
    """Returns the events of all test performances, one after another."""
    folder = race.ROOT / "tests" / "testdata" / "asap"
    found = []
    for path in sorted(folder.rglob("*.mid*")):
        arrays = note_transforms.apply_sustain(read_midi_file(path))
        notes = note_transforms.quantize(arrays, STEPS_PER_SECOND)
        found.append(config.codec.encode(notes))
    return np.concatenate(found)


def stock_layer() -> Any:
    """Returns a context in which keras.layers.LSTM computes, and events are one-hot vectors."""
    return unittest.mock.patch.object(recurrence, "module", return_value=None)


def largest_difference(rows: int) -> float:
    """Of a probability, over EVENTS events, each row continuing on its own."""
    model = load_model(CONFIG)
    events = np.resize(real_events(model.config), (rows, EVENTS // rows))
    controls = np.zeros((rows, 0), np.float32)
    fast = StepNetwork(model, rows)
    with worker_threads.all_cores():
        logits = np.stack([fast.step(column, controls) for column in events.T], axis=1)
    with stock_layer():
        network = network_from_model(model)
        no_controls = np.zeros((*events.shape, 0), np.float32)
        reference, _ = network([events, no_controls, zero_states(network, rows)])
    return float(np.abs(softmax(logits) - softmax(np.asarray(reference))).max())


def softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def losses(products: str, layers: tuple[int, ...], steps: int, seed: int) -> list[float]:
    """Trains on 64 segments of 256 events; returns the loss of every step."""
    config = get_config(CONFIG)
    segments = [
        EventSequence.from_events(events, config)
        for events in np.resize(real_events(config), (64, 257)).astype(np.int32)
    ]
    hparams = HParams(batch_size=16, rnn_layer_sizes=layers)
    settings = RunSettings(config.key, hparams, window=64, carry_state=True, seed=seed)
    with tempfile.TemporaryDirectory() as directory:
        trainer = Trainer(segments, settings, directory, dtype_policy=products)
    return [trainer.train_batch(next(trainer.batches)).nll for _ in range(steps)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--layers", default="128,128")
    parser.add_argument("--output", help="JSON file to write")
    arguments = parser.parse_args()
    layers = tuple(map(int, arguments.layers.split(",")))

    results: dict[str, Any] = {"largest difference": {r: largest_difference(r) for r in ROWS}}
    for rows, difference in results["largest difference"].items():
        print(
            f"{EVENTS:,} events in {rows} rows: a probability differs by {difference:.1e} at most"
        )
    results["losses"] = {"stock float32": [], "float32": [], "mixed_bfloat16": []}
    for seed in range(arguments.seeds):
        with stock_layer():
            results["losses"]["stock float32"].append(
                losses("float32", layers, arguments.steps, seed)
            )
        for products in ("float32", "mixed_bfloat16"):
            results["losses"][products].append(losses(products, layers, arguments.steps, seed))
    last = {
        name: [np.mean(curve[-20:]) for curve in curves]
        for name, curves in results["losses"].items()
    }
    print(f"\nMean loss of the last 20 of {arguments.steps} steps, layers {layers}:\n")
    seeds = [f"seed {seed}" for seed in range(arguments.seeds)]
    print(
        race.table(
            ["", *seeds],
            [[name, *(f"{value:.4f}" for value in values)] for name, values in last.items()],
        )
    )
    race.write(arguments.output, results)


if __name__ == "__main__":
    main()
