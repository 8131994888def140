"""A function called in a process of its own, within limits on time and memory."""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Generic, ParamSpec, TypeVar

from bundles.errors import PerfRnnError

P = ParamSpec("P")
T = TypeVar("T")


class BoundedProcess(Generic[P, T]):
    """Calls a function in another process; a context manager, which ends that process.

    A call that exceeds a limit or crashes raises PerfRnnError, and the next call starts a new
    process.
    """

    def __init__(self, function: Callable[P, T], seconds: float, num_bytes: int):
        """Starts no process yet.

        Args:
          function: of a module, with arguments and results that can be pickled. The only exception
            that it may raise is PerfRnnError.
          seconds: limit on the time of one call.
          num_bytes: limit on the memory of the process, where the system can limit it (Linux).
        """
        self._function, self._seconds, self._num_bytes = function, seconds, num_bytes
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None

    def __enter__(self) -> BoundedProcess[P, T]:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Returns what the function returns.

        Raises:
          PerfRnnError: the function raised it, or did not end within the limits.
        """
        if self._connection is None:
            self._start()
        assert self._connection
        try:
            self._connection.send((args, kwargs))
            if not self._connection.poll(self._seconds):
                raise PerfRnnError(f"takes longer than {self._seconds:g} seconds")
            error, result = self._connection.recv()
        except (EOFError, OSError):
            self.close()
            raise PerfRnnError("its reader crashed, or needed too much memory") from None
        except BaseException:
            self.close()
            raise
        if error is not None:
            raise PerfRnnError(error)
        return result  # type: ignore[no-any-return]  # A connection carries any type.

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        process = context.Process(
            target=_serve, args=(other, self._function, self._num_bytes), daemon=True
        )
        process.start()
        other.close()
        self._process = process

    def close(self) -> None:
        """Ends the process."""
        if self._process and self._connection:
            self._connection.close()
            self._process.kill()
            self._process.join()
        self._process = self._connection = None


def _serve(connection: Connection, function: Callable[..., Any], num_bytes: int) -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):  # Not every system has this limit.
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (num_bytes, most))
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        while True:
            args, kwargs = connection.recv()
            try:
                answer: tuple[str | None, Any] = None, function(*args, **kwargs)
            except PerfRnnError as error:
                answer = str(error), None
            connection.send(answer)
