"""Work in the background: parts of a step of the network, done by the other cores.

A thread for each other core waits for `Work`, which is a call or two of NumPy; those leave Python's
lock to others. Nobody waits by spinning, and whoever needs the result of work that nobody has begun
does it himself: where other programs keep the cores busy, a step takes as long as on one core.
`concurrent.futures` takes 40 microseconds for a hand-over, which is half of what a product takes.
"""

import contextlib
import functools
import os
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import threadpoolctl

_MAX_CORES = 8  # A step's products are too small to share among more.


class Work:
    """A call made now and then, by a thread in the background or by whoever needs its result."""

    __slots__ = ("_arguments", "_error", "_function", "_is_done", "_may_begin")

    def __init__(self, function: Callable[..., object]):
        self._function = function
        self._arguments: tuple[Any, ...] = ()
        self._error: BaseException | None = None
        # Locks that can be acquired when it is as their names say.
        self._may_begin, self._is_done = threading.Lock(), threading.Lock()
        self._may_begin.acquire()

    def start(self, *arguments: Any) -> None:
        """Lets threads begin with a call, in `all_cores`, in place of one not begun with yet."""
        if not self._may_begin.acquire(blocking=False):
            self._is_done.acquire()
        self._arguments = arguments
        self._error = None
        self._may_begin.release()
        if _workers.num_users and _workers.num_threads:
            _workers.queue.put(self)

    def run(self) -> None:
        """Makes the call, if it may begin; for threads in the background."""
        if self._may_begin.acquire(blocking=False):
            try:
                self._function(*self._arguments)
            except BaseException as error:
                self._error = error
            self._is_done.release()

    def finish(self) -> None:
        """Returns once the call has been made; raises what it has raised."""
        if self._may_begin.acquire(blocking=False):
            try:
                self._function(*self._arguments)
            except BaseException:
                self._may_begin.release()  # It may be tried again.
                raise
        else:
            self._is_done.acquire()
            if self._error:
                error, self._error = self._error, None
                self._may_begin.release()
                raise error
        self._is_done.release()


class _Workers:
    """Threads that do work, while somebody is in the context `all_cores`."""

    def __init__(self) -> None:
        self.queue: queue.SimpleQueue[Work] = queue.SimpleQueue()
        self.num_users = 0  # Who are in the context.
        self.num_threads = 0
        self._num_working = 0
        self._lock = threading.Condition()
        self._one_blas_thread = contextlib.ExitStack()

    def open(self) -> None:
        with self._lock:
            if not self.num_users + self._num_working:
                self._one_blas_thread.enter_context(blas().limit(limits=1, user_api="blas"))
            for _ in range(self.num_threads, num_cores() - 1):
                threading.Thread(target=self._serve, daemon=True).start()
                self.num_threads += 1
            self.num_users += 1

    def close(self) -> None:
        """Leaves what no thread has begun with to who needs it; nobody waits for the others."""
        with self._lock:
            self.num_users -= 1
            self._give_blas_back()

    def _give_blas_back(self) -> None:
        if not self.num_users + self._num_working:
            self._one_blas_thread.close()

    def _serve(self) -> None:
        while True:
            work = self.queue.get()
            with self._lock:
                may_begin = self.num_users > 0
                self._num_working += may_begin
            if may_begin:
                work.run()
                with self._lock:
                    self._num_working -= 1
                    self._lock.notify_all()
                    self._give_blas_back()
            del work  # And what it holds, while there is nothing to do.

    def before_fork(self) -> None:
        """Waits until no thread works: what it has begun would never be done in the child."""
        self._lock.acquire()
        self._lock.wait_for(lambda: not self._num_working)

    def after_fork(self, in_child: bool) -> None:
        """Lets threads work again; in the child there are none."""
        if in_child:
            global _workers
            _workers = _Workers()
            self._one_blas_thread.close()
        self._lock.release()


_workers = _Workers()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=lambda: _workers.before_fork(),
        after_in_parent=lambda: _workers.after_fork(in_child=False),
        after_in_child=lambda: _workers.after_fork(in_child=True),
    )


@contextlib.contextmanager
def all_cores() -> Iterator[None]:
    """Returns a context in which all cores work, each for itself.

    BLAS keeps to the thread that calls it: the products of a step are too small for its own
    threads, which wait for each other by spinning, 50 times as long where another program keeps a
    core busy.
    """
    workers = _workers
    workers.open()
    try:
        yield
    finally:
        if workers is _workers:  # Not in the child of a fork.
            workers.close()


@functools.cache
def num_cores() -> int:
    """How many cores do a step's work."""
    if hasattr(os, "sched_getaffinity"):
        return min(_MAX_CORES, len(os.sched_getaffinity(0)))
    return min(_MAX_CORES, os.cpu_count() or 1)


@functools.cache
def blas() -> threadpoolctl.ThreadpoolController:
    """Returns the BLAS libraries of this process."""
    # Looking for the libraries takes long.
    return threadpoolctl.ThreadpoolController()
