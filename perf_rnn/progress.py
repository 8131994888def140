"""Progress of long work: a bar on a terminal, a plain line now and then elsewhere."""

import datetime
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from absl import logging

SECONDS_BETWEEN_LINES = 10.0

# Without the rate, which the time left implies, so that `status` fits in 80 columns.
_BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"

T = TypeVar("T")


def show(
    items: Iterable[T],
    name: str,
    status: Mapping[str, object],
    total: int | None = None,
    initial: int = 0,
    unit: str = "inputs",
) -> Iterator[T]:
    """Yields the items, showing how many were taken and what `status` holds by then.

    Args:
      items: the items.
      name: what the work is called.
      status: facts that the work updates as it goes, by name.
      total: how many items there are, `initial` included, if known.
      initial: items taken before.
      unit: what an item is called.
    """
    if sys.stderr.isatty():
        from tqdm import tqdm

        bar_format = None if total is None else _BAR
        with tqdm(
            items, name, total, initial=initial, unit=f" {unit}",
            bar_format=bar_format, dynamic_ncols=True,
        ) as bar:  # fmt: skip
            for item in bar:
                yield item
                bar.set_postfix(status, refresh=False)
        return
    start = time.monotonic()
    next_line = start + SECONDS_BETWEEN_LINES
    for number, item in enumerate(items, start=initial + 1):
        yield item
        now = time.monotonic()
        if now >= next_line:
            done, facts = f"{number}", [f"{what} {value}" for what, value in status.items()]
            if total is not None:
                done += f" of {total}"
                seconds_left = (total - number) * (now - start) / (number - initial)
                facts.append(f"{datetime.timedelta(seconds=round(seconds_left))} left")
            logging.info("%s: %s %s done: %s", name, done, unit, ", ".join(facts))
            next_line = time.monotonic() + SECONDS_BETWEEN_LINES


def say(line: str) -> None:
    """Prints a line, above the bar if one is shown."""
    from tqdm import tqdm

    tqdm.write(line)
