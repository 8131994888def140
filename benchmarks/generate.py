"""Measures generation: events per second of the sampler beside its peers.

    python -m benchmarks.generate [--magenta=PYTHON] [--torch=PYTHON] [--rounds=5] [--seconds=2]
                                  [--busy] [--output=RESULT.json]

Every peer runs in a process of its own; they take turns, so that whatever else the machine does
slows all of them down alike. Magenta and PyTorch are left out where the given Python, or this one,
does not have them. Where other programs keep cores busy, give --busy: the threads of NumPy and
PyTorch wait for each other by spinning, and come to a halt there. Prints medians of the rounds, and
ratios that are medians of each round's. The sampler is measured late in a long piece too.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import sys
from typing import Any

from benchmarks import generate_peers, race

BATCHES = (1, 8, 64, 256)
LENGTHS = (1_000, 10_000, 50_000)  # Events of a piece after which the sampler is measured again.


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--magenta", help="Python that has Magenta")
    parser.add_argument("--torch", default=sys.executable, help="Python that has PyTorch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument(
        "--busy", action="store_true", help="keep NumPy's and PyTorch's products to one thread"
    )
    parser.add_argument("--output", help="JSON file to write")
    arguments = parser.parse_args()

    own = sys.executable
    pythons = {"perf_rnn": own, "numpy": own, "keras": own, "torch": arguments.torch}
    pythons["limits"] = own
    if arguments.magenta:
        pythons["magenta"] = arguments.magenta
    started = [
        race.Peer.start(
            name, "benchmarks.generate_peers", python, arguments.busy and name != "limits"
        )
        for name, python in pythons.items()
    ]
    peers = {peer.name: peer for peer in started if peer}
    machine, limits = race.machine(), peers.pop("limits")
    entries: list[tuple[str, Any]] = [
        (f"{name} {batch}", functools.partial(peer.measure, batch=batch, seconds=arguments.seconds))
        for batch in BATCHES
        for name, peer in peers.items()
        if batch == 1 or name != "magenta"
    ]
    sampler = functools.partial(peers["perf_rnn"].measure, batch=1, seconds=arguments.seconds)
    entries += [(f"after {length}", functools.partial(sampler, after=length)) for length in LENGTHS]
    entries.append(("limits", limits.measure))
    results: dict[str, Any] = race.take_turns(arguments.rounds, entries)
    limit_rounds = results.pop("limits")
    for peer in (*peers.values(), limits):
        peer.stop()
    best = {name: max(figures[name] for figures in limit_rounds) for name in limit_rounds[0]}
    median = {
        name: statistics.median(figures[name] for figures in limit_rounds)
        for name in limit_rounds[0]
    }

    for clock in ("seconds", "processor_seconds"):
        print(f"\nEvents per {clock.replace('_', ' ')[:-1]}:\n")
        print(
            race.table(
                ["batch", *peers],
                [
                    [
                        batch,
                        *(
                            race.median_rate(results[f"{name} {batch}"], clock)
                            if f"{name} {batch}" in results
                            else None
                            for name in peers
                        ),
                    ]
                    for batch in BATCHES
                ],
            )
        )
        print(f"\nperf_rnn's rate, as a multiple, by {clock.replace('_', ' ')}:\n")
        others = [name for name in peers if name != "perf_rnn"]
        print(
            race.table(
                ["batch", *others],
                [
                    # Magenta plays one piece at a time, whatever the number of pieces.
                    [
                        batch,
                        *(
                            race.ratio(
                                results[f"perf_rnn {batch}"],
                                results["magenta 1" if name == "magenta" else f"{name} {batch}"],
                                clock,
                            )
                            for name in others
                        ),
                    ]
                    for batch in BATCHES
                ],
            )
        )
    print("\nperf_rnn alone, after so many events of a piece:\n")
    first = results["perf_rnn 1"]
    lengths = [(0, first), *((length, results[f"after {length}"]) for length in LENGTHS)]
    rows = [[n, race.median_rate(rounds), race.ratio(rounds, first)] for n, rounds in lengths]
    print(race.table(["events before", "events/s", "times the first"], rows))
    print("\nWhat the machine can do:\n")
    print(race.table(["", "median", "best"], [[name, median[name], best[name]] for name in best]))
    megabytes = generate_peers.WEIGHTS * 4 / 1e6
    for of in ("one thread", "all threads"):
        alone = best[f"GB/s of weights, {of}"] * 1e3 / megabytes
        batched = best[f"GFLOP/s float32, {of}"] * 1e9 / (2 * generate_peers.WEIGHTS)
        print(
            f"\nAt most {alone:,.0f} events/s alone and {batched:,.0f} in a batch, {of}: "
            f"{megabytes:.1f} MB of weights an event."
        )
    race.write(
        arguments.output,
        {"machine": machine, "busy": arguments.busy, "results": results, "limits": limit_rounds},
    )


if __name__ == "__main__":
    main()
