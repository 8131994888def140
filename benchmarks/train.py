"""Measures training: events per second of the trainer beside its peers.

    python -m benchmarks.train [--magenta=PYTHON] [--torch=PYTHON] [--rounds=3] [--seconds=4]
                               [--batch_size=64] [--window=160] [--busy]
                               [--output=RESULT.json]

Every peer runs in a process of its own; they take turns, so that whatever else the machine does
slows all of them down alike. Magenta and PyTorch are left out where the given Python, or this one,
has not got them. Where other programs keep cores busy, give --busy: the threads of PyTorch wait for
each other by spinning, and come to a halt there. Prints medians of the rounds, and ratios that are
medians of each round's.
"""

from __future__ import annotations

import argparse
import functools
import sys
from typing import Any

from benchmarks import race, train_peers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--magenta", help="Python that has Magenta")
    parser.add_argument("--torch", default=sys.executable, help="Python that has PyTorch")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--window", type=int, default=160)
    parser.add_argument(
        "--busy", action="store_true", help="keep NumPy's and PyTorch's products to one thread"
    )
    parser.add_argument("--output", help="JSON file to write")
    arguments = parser.parse_args()

    own = sys.executable
    pythons = {"perf_rnn": own, "keras": own, "torch": arguments.torch}
    names = {f"{n}_{p}": python for n, python in pythons.items() for p in ("float32", "bfloat16")}
    if arguments.magenta:
        names["magenta_float32"] = arguments.magenta
    started = [
        race.Peer.start(
            name, "benchmarks.train_peers", python, arguments.busy and name != "limits_"
        )
        for name, python in [*names.items(), ("limits_", own)]
    ]
    peers = {peer.name: peer for peer in started if peer}
    machine, limits = race.machine(), peers.pop("limits_")
    job = {"batch": arguments.batch_size, "window": arguments.window, "seconds": arguments.seconds}
    entries: list[tuple[str, Any]] = [
        (name, functools.partial(peer.measure, **job)) for name, peer in peers.items()
    ]
    results: dict[str, Any] = race.take_turns(
        arguments.rounds, [*entries, ("limits", limits.measure)]
    )
    limit_rounds = results.pop("limits")
    for peer in (*peers.values(), limits):
        peer.stop()

    print(f"\nBatches of {job['batch']} rows, {job['window']} events each.\n")
    reference = "magenta_float32" if "magenta_float32" in peers else "keras_float32"
    header = ["", "events/s", "best", "events per processor second"]
    rows = [
        [
            name,
            race.median_rate(results[name]),
            max(race.rates(results[name])),
            race.median_rate(results[name], "processor_seconds"),
            race.ratio(results[name], results[reference]),
            race.ratio(results[name], results[reference], "processor_seconds"),
        ]
        for name in peers
    ]
    multiples = [f"times {reference}", "by processor seconds"]
    print(race.table([*header, *multiples], rows))
    print()
    for products in ("float32", "bfloat16"):
        key = f"GFLOP/s {products}, TensorFlow, all threads"
        rate = max(figures[key] for figures in limit_rounds)
        print(
            f"{products}: large products run at {rate:.0f} GFLOP/s at best; training at most "
            f"{rate * 1e9 / train_peers.OPERATIONS:,.0f} events/s"
        )
    race.write(
        arguments.output,
        {
            "machine": machine,
            "busy": arguments.busy,
            "job": job,
            "results": results,
            "limits": limit_rounds,
        },
    )


if __name__ == "__main__":
    main()
