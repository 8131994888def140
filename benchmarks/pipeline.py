r"""From MIDI files to finished TFRecords of training examples: ours and Magenta's, side by side.

    python -m benchmarks.pipeline --input_dir DIR --magenta_python PYTHON --magenta_tool TOOL \
      [--num_files 60] [--rounds 1] [--dense] [--whole] [--output RESULT.json]

Both make the examples of `performance_with_dynamics` from the same files, augmented alike (five
tempos, seven transpositions) and cut alike after 512 events; Magenta writes dense records, ours are
sparse and, where --dense is given, dense as well. Each run is a fresh process; wall time is from
its start to its end, and beside it stands the processor time of all its processes, which other
programs on the machine disturb less. The sides take turns. Magenta converts first
(convert_dir_to_note_sequences) and creates then; both count. PYTHON has Magenta 2.1.4, TOOL starts
its create_dataset. Dense records of 60 files are 16 GB for either side.
With --whole, ours alone also goes through all files of DIR, unaugmented and uncut.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any, NamedTuple

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


class Seconds(NamedTuple):
    """What a command took."""

    wall: float
    processor: float

    def __add__(self, other: Any) -> Seconds:
        return Seconds(self.wall + other.wall, self.processor + other.processor)


def timed(command: list[str]) -> Seconds:
    """Runs a command."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "2"}
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{command[:3]} failed:\n{done.stderr[-3000:]}")
    return Seconds(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def ours(source: pathlib.Path, output: pathlib.Path, form: str, cut: int, augment: bool) -> Seconds:
    """One run of ours."""
    flags = [str(source), str(output), form, str(cut), "on" if augment else "off"]
    return timed([sys.executable, "-c", CREATE, *flags])


def magenta(python: str, tool: str, source: pathlib.Path, output: pathlib.Path) -> Seconds:
    """One run of Magenta's converter and its create_dataset."""
    record = output / "notesequences.tfrecord"
    convert = [f"--input_dir={source}", f"--output_file={record}", "--recursive"]
    create = [f"--input={record}", f"--output_dir={output / 'examples'}", "--eval_ratio=0.1"]
    return timed([python, "-c", CONVERT, *convert]) + timed(
        [python, tool, "create_dataset", CONFIG, *create]
    )


def find_files(directory: pathlib.Path) -> list[pathlib.Path]:
    """The MIDI files of a directory and of those in it."""
    return sorted(path for path in directory.rglob("*") if path.suffix in (".mid", ".midi"))


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
    parser.add_argument("--whole", action="store_true", help="time ours on all files too")
    parser.add_argument("--output", type=pathlib.Path, help="write the figures as JSON")
    flags = parser.parse_args()
    files = find_files(flags.input_dir)
    files = files[:: max(1, len(files) // flags.num_files)][: flags.num_files]
    figures: dict[str, Any] = {
        "files": len(files),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "machine": platform.platform(),
        "load before": os.getloadavg(),
        "wall seconds": {},
        "processor seconds": {},
        "megabytes": {},
    }

    def note(name: str, seconds: Seconds, output: pathlib.Path) -> None:
        figures["wall seconds"].setdefault(name, []).append(round(seconds.wall, 2))
        figures["processor seconds"].setdefault(name, []).append(round(seconds.processor, 2))
        figures["megabytes"][name] = round(megabytes(output), 1)
        print(
            f"{name}: {seconds.wall:.2f} s ({seconds.processor:.2f} s), {megabytes(output):.1f} MB",
            flush=True,
        )
        shutil.rmtree(output)

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
        if flags.whole:
            output = work / "whole"
            seconds = ours(flags.input_dir, output, "sparse_one_hot", 0, False)
            note("ours, whole, unaugmented", seconds, output)
    figures["load after"] = os.getloadavg()
    if flags.magenta_python:
        for unit in ("wall seconds", "processor seconds"):
            middle = {name: statistics.median(values) for name, values in figures[unit].items()}
            figures[f"times faster, {unit}"] = {
                name: round(middle["magenta, dense"] / value, 1) for name, value in middle.items()
            }
    print(json.dumps(figures, indent=2))
    if flags.output:
        flags.output.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
