r"""From MIDI files to closed TFRecords of training examples: ours and Magenta's, side by side.

    python benchmarks/pipeline.py --input_dir DIR --magenta_python PYTHON --magenta_tool TOOL \
      [--num_files 60] [--rounds 1] [--whole_dir DIR] [--output RESULT.json]

Both make the examples of `performance_with_dynamics` from the same files, augmented alike (five
tempos, seven transpositions) and cut alike after 512 events; Magenta writes dense records, ours are
sparse and, where --dense is given, dense as well. Each run is a fresh process, wall time from its
start to its end; the sides take turns. Magenta converts first (convert_dir_to_note_sequences) and
creates then; both count. PYTHON has Magenta 2.1.4, TOOL starts its create_dataset.
With --whole_dir, ours alone also goes through all files of that directory, unaugmented and uncut.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import time
from typing import Any

ROOT = pathlib.Path(__file__).parents[1]
CONFIG = "--config=performance_with_dynamics"

CREATE = """
import sys
from perf_rnn.configs import get_config
from pipelines import performance_dataset, performance_pipeline
performance_pipeline.TRANSPOSITION_RANGE = range(-3, 4)
config = get_config("performance_with_dynamics")
cut = int(sys.argv[4]) or None
performance_dataset.create_dataset(
    sys.argv[1], sys.argv[2], config, 32, cut, 0.1,
    example_format=sys.argv[3], augmentation=sys.argv[5] == "on",
)
"""
CONVERT = """
from magenta.scripts import convert_dir_to_note_sequences
convert_dir_to_note_sequences.console_entry_point()
"""


def timed(command: list[str]) -> float:
    """Runs a command; seconds of wall time."""
    begin = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "2"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{command[:3]} failed:\n{done.stderr[-3000:]}")
    return time.perf_counter() - begin


def ours(source: pathlib.Path, output: pathlib.Path, form: str, cut: int, augment: bool) -> float:
    """Seconds of one run of ours."""
    flags = [str(source), str(output), form, str(cut), "on" if augment else "off"]
    return timed([sys.executable, "-c", CREATE, *flags])


def magenta(python: str, tool: str, source: pathlib.Path, output: pathlib.Path) -> float:
    """Seconds of Magenta's converter and its create_dataset together."""
    record = output / "notesequences.tfrecord"
    convert = [f"--input_dir={source}", f"--output_file={record}", "--recursive"]
    create = [f"--input={record}", f"--output_dir={output / 'examples'}", "--eval_ratio=0.1"]
    return timed([python, "-c", CONVERT, *convert]) + timed(
        [python, tool, "create_dataset", CONFIG, *create]
    )


def megabytes(directory: pathlib.Path) -> float:
    return sum(path.stat().st_size for path in directory.rglob("*performances*")) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--input_dir", type=pathlib.Path, required=True)
    parser.add_argument("--magenta_python", help="interpreter that has Magenta 2.1.4")
    parser.add_argument("--magenta_tool", help="program that starts Magenta's create_dataset")
    parser.add_argument("--num_files", type=int, default=60, help="so many, evenly spread")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--dense", action="store_true", help="time our dense records too")
    parser.add_argument("--whole_dir", type=pathlib.Path)
    parser.add_argument("--output", type=pathlib.Path, help="write the figures as JSON")
    flags = parser.parse_args()
    files = sorted(path for path in flags.input_dir.rglob("*") if path.suffix in (".mid", ".midi"))
    files = files[:: max(1, len(files) // flags.num_files)][: flags.num_files]
    figures: dict[str, Any] = {
        "files": len(files),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "machine": platform.platform(),
        "load before": os.getloadavg(),
        "seconds": {},
        "megabytes": {},
    }

    def note(name: str, seconds: float, output: pathlib.Path) -> None:
        figures["seconds"].setdefault(name, []).append(round(seconds, 2))
        figures["megabytes"][name] = round(megabytes(output), 1)
        print(f"{name}: {seconds:.2f} s, {megabytes(output):.1f} MB", flush=True)

    with tempfile.TemporaryDirectory() as directory:
        work = pathlib.Path(directory)
        source = work / "midi"
        for path in files:
            link = source / path.relative_to(flags.input_dir)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path.resolve())
        for number in range(flags.rounds):
            for form in ("sparse_one_hot", "dense_one_hot")[: 1 + flags.dense]:
                output = work / f"{form}{number}"
                note(f"ours, {form}", ours(source, output, form, 512, True), output)
            if flags.magenta_python:
                output = work / f"magenta{number}"
                output.mkdir()
                seconds = magenta(flags.magenta_python, flags.magenta_tool, source, output)
                note("magenta, dense", seconds, output)
            output = work / f"again{number}"
            note("ours, sparse_one_hot", ours(source, output, "sparse_one_hot", 512, True), output)
        if flags.whole_dir:
            output = work / "whole"
            seconds = ours(flags.whole_dir, output, "sparse_one_hot", 0, False)
            note("ours, whole, unaugmented", seconds, output)
    figures["load after"] = os.getloadavg()
    if flags.magenta_python:
        best = {name: min(values) for name, values in figures["seconds"].items()}
        figures["times faster"] = {
            name: round(best["magenta, dense"] / value, 1) for name, value in best.items()
        }
    print(json.dumps(figures, indent=2))
    if flags.output:
        flags.output.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
