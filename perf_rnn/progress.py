"""Progress of long work: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from absl import logging

SECONDS_BETWEEN_LINES = 10.0

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

        with tqdm(items, desc=name, total=total, initial=initial, unit=f" {unit}") as bar:
            for item in bar:
                yield item
                bar.set_postfix(status, refresh=False)
        return
    next_line = time.monotonic() + SECONDS_BETWEEN_LINES
    for number, item in enumerate(items, start=initial + 1):
        yield item
        if time.monotonic() >= next_line:
            done = f"{number}" if total is None else f"{number} of {total}"
            facts = ", ".join(f"{what} {value}" for what, value in status.items())
            logging.info("%s: %s %s done: %s", name, done, unit, facts)
            next_line = time.monotonic() + SECONDS_BETWEEN_LINES
