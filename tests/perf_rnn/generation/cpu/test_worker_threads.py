import subprocess
import sys
import threading

import pytest

from perf_rnn.generation.cpu import worker_threads
from perf_rnn.generation.cpu.worker_threads import Task, all_cores


class Calls:
    """A function that notes which thread calls it, and can be made to wait or to fail."""

    def __init__(self, error=None):
        self.threads, self.arguments = [], []
        self.begun, self.may_end = threading.Event(), threading.Event()
        self.may_end.set()
        self.error = error

    def __call__(self, *arguments):
        self.threads.append(threading.current_thread())
        self.arguments.append(arguments)
        self.begun.set()
        assert self.may_end.wait(60)
        if self.error:
            raise self.error


def test_a_worker_starts_at_once(use_cores):
    use_cores(2)
    calls = Calls()
    task = Task(calls)
    with all_cores():
        for number in range(3):
            calls.begun.clear()
            task.start(number)
            assert calls.begun.wait(60)
            task.finish()
            task.finish()  # It has run, so nothing happens.
    assert calls.arguments == [(0,), (1,), (2,)]
    assert threading.current_thread() not in calls.threads


@pytest.mark.parametrize("cores", [1, 2])
def test_the_caller_runs_a_task_that_no_worker_has_started(use_cores, cores):
    use_cores(cores)
    calls, other = Calls(), Calls()
    other.may_end.clear()
    task, busy = Task(calls), Task(other)
    task.start()
    task.finish()  # Outside the context there are no workers.
    with all_cores():
        if cores > 1:
            busy.start()
            assert other.begun.wait(60)
        task.start()
        task.finish()
        other.may_end.set()
    assert calls.threads == [threading.current_thread()] * 2


def test_without_workers_the_queue_stays_empty(use_cores):
    use_cores(1)
    calls = Calls()
    task = Task(calls)
    with all_cores():
        for _ in range(3):
            task.start()
            task.finish()
    assert len(calls.threads) == 3
    assert worker_threads._workers.queue.empty()


@pytest.mark.parametrize("in_worker", [True, False])
def test_errors_are_raised_where_the_result_is_needed(use_cores, in_worker):
    use_cores(2 if in_worker else 1)
    calls = Calls(MemoryError("too large"))
    task = Task(calls)
    with all_cores():
        task.start()
        if in_worker:
            assert calls.begun.wait(60)
        with pytest.raises(MemoryError, match="too large"):
            task.finish()
        calls.error = None
        task.finish()  # It may be run again.
    assert len(calls.threads) == 2
    assert calls.threads[1] is threading.current_thread()


def test_a_task_that_was_interrupted_can_be_run_again(use_cores):
    use_cores(1)
    calls = Calls(KeyboardInterrupt())
    task = Task(calls)
    task.start(1)
    with pytest.raises(KeyboardInterrupt):
        task.finish()
    calls.error = None
    task.finish()
    task.start(2)
    task.finish()
    assert calls.arguments == [(1,), (1,), (2,)]


@pytest.mark.parametrize("cores", [1, 2])
def test_a_task_may_be_replaced(use_cores, cores):
    """A call that no worker has started is dropped; one that a worker has started ends first."""
    use_cores(cores)
    calls = Calls()
    task = Task(calls)
    with all_cores():
        for number in range(3):
            calls.begun.clear()
            task.start(number)
            if cores > 1:
                assert calls.begun.wait(60)
    task.finish()
    assert calls.arguments == ([(2,)] if cores == 1 else [(0,), (1,), (2,)])


def blas_threads():
    return {
        blas["num_threads"] for blas in worker_threads.blas().info() if blas["user_api"] == "blas"
    }


def test_started_tasks_go_on_after_the_context_and_no_others_start(use_cores):
    """Until they have ended, BLAS uses one thread, since results depend on their number."""
    use_cores(2)
    before = blas_threads()
    first, second = Calls(), Calls()
    first.may_end.clear()
    started, waiting = Task(first), Task(second)
    with all_cores():
        started.start()
        waiting.start()
        assert first.begun.wait(60)
    assert blas_threads() == {1}
    with all_cores():
        pass
    assert blas_threads() == {1}
    first.may_end.set()
    started.finish()
    waiting.finish()
    assert second.threads == [threading.current_thread()]
    worker_threads._workers.wait()
    assert blas_threads() == before


def test_blas_uses_one_thread_until_the_last_caller_leaves(use_cores):
    use_cores(2)
    before = blas_threads()
    with all_cores():
        assert blas_threads() == {1}
        with all_cores():
            assert blas_threads() == {1}
        assert blas_threads() == {1}
    assert blas_threads() == before


def test_threads_are_kept(use_cores):
    use_cores(3)
    before = threading.active_count()
    for _ in range(3):
        with all_cores():
            assert threading.active_count() == before + 2


FORK = """
import os, threading
from perf_rnn.generation.cpu import worker_threads
worker_threads.num_cores = lambda: 2

def a_worker_runs_a_task():
    begun = threading.Event()
    task = worker_threads.Task(begun.set)
    with worker_threads.all_cores():
        task.start()
        if not begun.wait(60):
            return False
        task.finish()
    return True

# A fork waits for tasks that workers have started: in the child they would never be finished.
begun, may_end = threading.Event(), threading.Event()
running = worker_threads.Task(lambda: (begun.set(), may_end.wait(60)))
with worker_threads.all_cores():
    running.start()
    begun.wait(60)
    threading.Timer(0.05, may_end.set).start()
    child = os.fork()
    if not child:
        running.finish()
        os._exit(0 if a_worker_runs_a_task() else 1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), a_worker_runs_a_task())
"""


@pytest.mark.skipif(not hasattr(sys.modules["os"], "fork"), reason="no fork on this system")
def test_a_forked_process_has_workers_of_its_own():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["0", "True"]
