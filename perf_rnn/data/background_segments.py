"""Segments of other processes, for devices that train faster than one process makes segments."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from bundles.errors import PerfRnnError
from perf_rnn.data.examples import EventSequence

_MOST_PROCESSES = 4


class BackgroundSegments:
    """Returns what a function of a number returns, computed before it is asked for.

    Threads would not do: they would hold Python's lock while the train step needs it.
    """

    def __init__(self, make: Callable[[int], EventSequence], first: int):
        """Starts the processes, which end with `close`, or with this process.

        Args:
          make: a picklable function that returns the segment of a number.
          first: the number that is asked for first, and then each number after it. The segment of
            any other number is made when it is asked for.
        """
        context = multiprocessing.get_context("spawn")
        self._make, self._first, self._next = make, first, first
        self._processes: list[SpawnProcess] = []
        self._connections: list[Connection] = []
        count = min(_MOST_PROCESSES, max((os.cpu_count() or 1) - 1, 1))
        for number in range(count):
            connection, other_end = context.Pipe(duplex=False)
            process = context.Process(
                target=_send, args=(make, first + number, count, other_end), daemon=True
            )
            process.start()
            other_end.close()  # Held by the process alone, so that its end is noticed here.
            self._processes.append(process)
            self._connections.append(connection)

    def __call__(self, number: int) -> EventSequence:
        """Returns the segment of a number.

        Raises:
          PerfRnnError: the process that makes it has ended.
          Exception: what making it raised.
        """
        if number != self._next:
            return self._make(number)
        place = (number - self._first) % len(self._processes)
        try:
            received = self._connections[place].recv()
        except EOFError:
            process = self._processes[place]
            process.join()
            raise PerfRnnError(
                f"a process that makes segments has ended (status {process.exitcode})"
            ) from None
        if isinstance(received, Exception):
            raise received
        self._next += 1
        segment: EventSequence = received
        return segment

    def close(self) -> None:
        """Ends the processes, by closing what they send to, and waits for them."""
        for connection in self._connections:
            connection.close()
        for process in self._processes:
            process.join()


def _send(
    make: Callable[[int], EventSequence], first: int, step: int, connection: Connection
) -> None:
    # Ctrl-C reaches all processes of a terminal; this one ends when it is no longer needed.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    number = first
    try:
        while True:
            segment = make(number)
            segment.controls  # noqa: B018  # Computed here, they are sent too.
            connection.send(segment)
            number += step
    except BrokenPipeError:
        pass  # The process that receives them has ended.
    except Exception as error:
        connection.send(error)
