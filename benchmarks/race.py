"""Peers side by side: each in its own process, taking turns, so that all see the same machine.

A peer is a function that prepares and then returns the function that measures one job. `serve` runs
it in a process of the Python that has its libraries; `Peer` sends the jobs to that process.
"""

from __future__ import annotations

import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

ROOT = pathlib.Path(__file__).parents[1]

# Keeps the products of NumPy and PyTorch to one thread: theirs wait for each other by spinning and
# come to a halt where other programs keep a core busy. Those of TensorFlow do not.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

# What a job gave: events, seconds of wall time and of processor time, all threads together.
Result = dict[str, float]


def serve(get_ready: Callable[[], Callable[..., Any]]) -> None:
    """Answers jobs, one line of JSON each, until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # What libraries print must not get between the answers.
    measure = get_ready()
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(measure(**json.loads(line))), file=answers, flush=True)


def timed(take: Callable[[], int], seconds: float) -> Result:
    """Repeats `take`, which returns how many events it has done, for `seconds` or a bit longer."""
    events, wall, processor = 0, time.perf_counter(), time.process_time()
    while not events or time.perf_counter() - wall < seconds:
        events += take()
    return {
        "events": events,
        "seconds": time.perf_counter() - wall,
        "processor_seconds": time.process_time() - processor,
    }


class Peer:
    """A process that measures."""

    def __init__(self, name: str, module: str, python: str, busy: bool):
        """Starts `name` of `module`; see `start`."""
        self.name = name
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [python, "-m", module, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **(ONE_THREAD if busy else {})},
        )

    @classmethod
    def start(cls, name: str, module: str, python: str, busy: bool = False) -> Peer | None:
        """Starts `name` of `module` and waits until it is ready.

        With `busy`, see `ONE_THREAD`.

        Returns:
          The peer; None, with a line on stderr, if it does not start.
        """
        peer = cls(name, module, python, busy)
        if peer._answer() != "ready":
            why = peer._last_error()
            print(f"{name} with {python} is left out: {why}", file=sys.stderr)
            return None
        return peer

    def _answer(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().rstrip()

    def measure(self, **job: Any) -> Any:
        """Gives it a job and waits for the result."""
        assert self._process.stdin
        print(json.dumps(job), file=self._process.stdin, flush=True)
        answer = self._answer()
        if not answer:
            raise RuntimeError(f"{self.name} broke down at {job}: {self._last_error()}")
        return json.loads(answer)

    def _last_error(self) -> str:
        self._process.wait()
        self._errors.seek(0)
        return (self._errors.read().splitlines() or ["it says nothing"])[-1]

    def stop(self) -> None:
        """Ends the process."""
        self._process.communicate()


def take_turns(
    rounds: int, entries: Sequence[tuple[str, Callable[[], Result]]]
) -> dict[str, list[Result]]:
    """Measures every entry once a round, another one first each time."""
    results: dict[str, list[Result]] = {name: [] for name, _ in entries}
    for number in range(rounds):
        first = number % len(entries)
        for name, measure in [*entries[first:], *entries[:first]]:
            results[name].append(measure())
        print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    return results


def rates(results: Sequence[Result], clock: str = "seconds") -> list[float]:
    """Events per second of each round."""
    return [result["events"] / result[clock] for result in results]


def median_rate(results: Sequence[Result], clock: str = "seconds") -> float:
    return statistics.median(rates(results, clock))


def ratio(ours: Sequence[Result], theirs: Sequence[Result], clock: str = "seconds") -> float:
    """Median of the rounds' ratios of rates: what slows a round down slows both."""
    pairs = zip(rates(ours, clock), rates(theirs, clock), strict=True)
    return statistics.median(our / their for our, their in pairs)


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Returns a Markdown table; numbers are rounded to about three digits."""

    def text(value: Any) -> str:
        if not isinstance(value, float):
            return "-" if value is None else str(value)
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"

    lines = [header, ["---"] * len(header), *([text(cell) for cell in row] for row in rows)]
    return "\n".join(f"|{'|'.join(line)}|" for line in lines)


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    names = {
        line.partition(":")[2].strip()
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    }
    return {
        "processor": ", ".join(sorted(names)),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def write(path: str | None, results: dict[str, Any]) -> None:
    if path:
        pathlib.Path(path).write_text(json.dumps(results, indent=1) + "\n")
