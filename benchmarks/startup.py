"""Measures start-up and memory.

    python -m benchmarks.startup [--rounds=3] [--memory] [--output=RESULT.json]

How long `--help` of every tool takes, and how long until a 30 s piece is on disk; each in a process
of its own. With --memory, which takes many minutes, also the most memory that training at the
default hparams takes, and what generation of 64 pieces of ten minutes adds to that of the imports.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from benchmarks import race


def run(arguments: list[str]) -> dict[str, float]:
    """Runs Python and returns seconds of wall and processor time, and its most memory in MB."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=race.ROOT,
        env={**os.environ, "PYTHONPATH": str(race.ROOT)},
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{' '.join(arguments)} failed")
    return {
        "seconds": time.perf_counter() - start,
        "processor_seconds": usage.ru_utime + usage.ru_stime,
        "megabytes": usage.ru_maxrss / 1e3,
    }


def tools() -> list[str]:
    """Returns the modules of all tools."""
    files = sorted(race.ROOT.glob("p*/tools/*_*.py"))
    names = [".".join(file.relative_to(race.ROOT).with_suffix("").parts) for file in files]
    return [name for name in names if not name.endswith("__init__")]


def train() -> None:
    """Trains three steps at the default hparams and window."""
    from benchmarks import train_peers

    products = "bfloat16" if sys.argv[2:] == ["bfloat16"] else "float32"
    measure = train_peers.perf_rnn(products)
    measure(batch=64, window=WINDOW, seconds=1)


def generate() -> None:
    """Generates 64 pieces of ten minutes; prints the most memory before and after, in MB."""
    import perf_rnn
    from perf_rnn.models import load_model

    perf_rnn.generate(seconds=1, seed=0)  # Imports all that it needs.
    model = load_model("performance_with_dynamics")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    start = time.process_time()
    pieces = perf_rnn.generate(model, seconds=600, num_outputs=64, seed=0)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    notes = sum(len(piece.notes) for piece in pieces)
    print(before, after, notes, time.process_time() - start)


WINDOW = 160


def memory() -> dict[str, Any]:
    figures: dict[str, Any] = {
        f"training, {products}": run(["-m", "benchmarks.startup", "train", products])["megabytes"]
        for products in ("float32", "bfloat16")
    }
    output = subprocess.run(
        [sys.executable, "-m", "benchmarks.startup", "generate"],
        cwd=race.ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    before, after, notes, seconds = map(float, output.split())
    figures["generation, imports"] = before
    figures["generation, 64 pieces of ten minutes, on top"] = after - before
    figures["generation, notes"] = notes
    figures["generation, processor seconds"] = seconds
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--output", help="JSON file to write")
    arguments = parser.parse_args()
    machine = race.machine()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as directory:
        commands = {f"{tool} --help": ["-m", tool, "--help"] for tool in tools()}
        commands["first MIDI file of 30 s"] = [
            *("-m", "perf_rnn.tools.performance_rnn_generate"),
            *("--num_outputs=1", "--num_steps=3000", f"--output_dir={directory}"),
        ]
        commands["python -c pass"] = ["-c", "pass"]
        for _ in range(arguments.rounds):
            for name, command in commands.items():
                results.setdefault(name, []).append(run(command))
        if not list(pathlib.Path(directory).glob("*.mid")):
            raise RuntimeError("no MIDI file came")
    columns = ("seconds", "processor_seconds", "megabytes")
    rows = [
        [name, *(statistics.median(one[column] for one in measured) for column in columns)]
        for name, measured in results.items()
    ]
    print(race.table(["", "seconds", "processor seconds", "MB at most"], rows))
    if arguments.memory:
        results["memory"] = memory()
        print()
        print(race.table(["", "MB"], list(results["memory"].items())))
    race.write(arguments.output, {"machine": machine, "results": results})


if __name__ == "__main__":
    parts = {"train": train, "generate": generate}
    parts.get(" ".join(sys.argv[1:2]), main)()
