"""Batches made by a process of their own, for devices that train faster than one makes batches."""

import multiprocessing
import signal
from collections.abc import Iterator
from multiprocessing.connection import Connection

from bundles.errors import PerfRnnError
from perf_rnn.data.batches import Batch, WindowBatches


class BackgroundBatches:
    """Yields what a `WindowBatches` would; the next batch is made while one is trained on.

    A thread would not do: it would hold Python's lock while the train step needs it.
    """

    def __init__(self, batches: WindowBatches):
        """Takes endless batches from where they are; they and their segments must be picklable."""
        context = multiprocessing.get_context("spawn")
        self._connection, other_end = context.Pipe(duplex=False)
        # A daemon: the process ends with this one.
        self._process = context.Process(target=_send, args=(batches, other_end), daemon=True)
        self._process.start()
        # Held by the process alone, so that its end is noticed here.
        other_end.close()

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        """Returns the next batch.

        Raises:
          PerfRnnError: the process has ended.
          Exception: what making the batch raised.
        """
        try:
            received = self._connection.recv()
        except EOFError:
            self._process.join()
            raise PerfRnnError(
                f"the process that makes batches has ended (status {self._process.exitcode})"
            ) from None
        if isinstance(received, Exception):
            raise received
        batch: Batch = received
        return batch

    def close(self) -> None:
        """Ends the process."""
        self._process.terminate()
        self._process.join()
        self._connection.close()


def _send(batches: WindowBatches, connection: Connection) -> None:
    # Ctrl-C reaches all processes of a terminal; this one ends when it is no longer needed.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        for batch in batches:
            connection.send(batch)
    except BrokenPipeError:
        pass  # The reading process has ended.
    except Exception as error:
        connection.send(error)
