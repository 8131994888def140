"""Worker threads: parts of a step of the network, done by the other cores.

A `Task` is a call or two of NumPy, during which other threads can run. One worker for each other
core waits for tasks without spinning. If no worker has started a task when its result is needed,
the caller runs it: where other programs keep the cores busy, a step takes as long as on one core.
`concurrent.futures` takes 40 microseconds to hand over a task, which is half of what a product
takes.
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


class Task:
    """A function that is called repeatedly, each time by a worker or by the caller."""

    __slots__ = ("_arguments", "_error", "_function", "_is_done", "_is_waiting")

    def __init__(self, function: Callable[..., object]):
        self._function = function
        self._arguments: tuple[Any, ...] = ()
        self._error: BaseException | None = None
        # Each lock can be acquired once: `_is_waiting` by the thread that then runs the task,
        # `_is_done` by the caller after a worker has run it.
        self._is_waiting, self._is_done = threading.Lock(), threading.Lock()
        self._is_waiting.acquire()

    def start(self, *arguments: Any) -> None:
        """Offers a call to the workers, within `all_cores`; replaces one that none has started."""
        if not self._is_waiting.acquire(blocking=False):
            self._is_done.acquire()
        self._arguments = arguments
        self._error = None
        self._is_waiting.release()
        if _workers.num_callers and _workers.num_threads:
            _workers.queue.put(self)

    def run(self) -> None:
        """Runs the task, if it has not been started yet; for workers."""
        if self._is_waiting.acquire(blocking=False):
            try:
                self._function(*self._arguments)
            except BaseException as error:
                self._error = error  # Raised where the result is needed.
            self._is_done.release()

    def finish(self) -> None:
        """Returns once the task has run; runs it if no worker has started it.

        Raises what the function has raised; then `finish` may be called again to run it again.
        """
        if self._is_waiting.acquire(blocking=False):
            try:
                self._function(*self._arguments)
            except BaseException:
                self._is_waiting.release()
                raise
        else:
            self._is_done.acquire()
            if self._error:
                error, self._error = self._error, None
                self._is_waiting.release()
                raise error
        self._is_done.release()


class _Workers:
    """Threads that run tasks, as long as there are callers within `all_cores`."""

    def __init__(self) -> None:
        self.queue: queue.SimpleQueue[Task] = queue.SimpleQueue()
        self.num_callers = 0  # Within `all_cores`.
        self.num_threads = 0
        self._num_running = 0  # Tasks that workers have started.
        self._changed = threading.Condition()
        self._one_blas_thread = contextlib.ExitStack()

    def open(self) -> None:
        with self._changed:
            if not self.num_callers + self._num_running:
                self._one_blas_thread.enter_context(blas().limit(limits=1, user_api="blas"))
            for _ in range(self.num_threads, num_cores() - 1):
                threading.Thread(target=self._serve, daemon=True).start()
                self.num_threads += 1
            self.num_callers += 1

    def close(self) -> None:
        """Returns at once; tasks that workers have started go on."""
        with self._changed:
            self.num_callers -= 1
            self._restore_blas_threads()

    def wait(self) -> None:
        """Returns once no worker runs a task."""
        with self._changed:
            self._changed.wait_for(lambda: not self._num_running)

    def _restore_blas_threads(self) -> None:
        if not self.num_callers + self._num_running:
            self._one_blas_thread.close()

    def _serve(self) -> None:
        while True:
            task = self.queue.get()
            with self._changed:
                has_callers = self.num_callers > 0
                self._num_running += has_callers
            if has_callers:
                task.run()
                with self._changed:
                    self._num_running -= 1
                    self._restore_blas_threads()
                    self._changed.notify_all()
            del task  # And its arguments, while the worker waits.

    def before_fork(self) -> None:
        """Waits until no worker runs a task: in the child it would never be finished."""
        self._changed.acquire()
        self._changed.wait_for(lambda: not self._num_running)

    def after_fork(self, in_child: bool) -> None:
        """Lets workers start tasks again; the child has no threads and makes new ones."""
        if in_child:
            global _workers
            _workers = _Workers()
            self._one_blas_thread.close()
        self._changed.release()


_workers = _Workers()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=lambda: _workers.before_fork(),
        after_in_parent=lambda: _workers.after_fork(in_child=False),
        after_in_child=lambda: _workers.after_fork(in_child=True),
    )


@contextlib.contextmanager
def all_cores() -> Iterator[None]:
    """Returns a context in which workers run the tasks that are started.

    Within it BLAS uses only the thread that calls it: the products of a step are too small for
    BLAS's own threads, which spin while they wait for each other and take 50 times as long where
    another program keeps a core busy.
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
    """How many cores run a step's tasks."""
    if hasattr(os, "sched_getaffinity"):
        return min(_MAX_CORES, len(os.sched_getaffinity(0)))
    return min(_MAX_CORES, os.cpu_count() or 1)


@functools.cache
def blas() -> threadpoolctl.ThreadpoolController:
    """Returns the BLAS libraries of this process."""
    # Looking for the libraries takes a long time.
    return threadpoolctl.ThreadpoolController()
