import subprocess
import sys
import threading

import pytest

from perf_rnn.generation.cpu import worker_threads
from perf_rnn.generation.cpu.worker_threads import Work, all_cores


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


def test_another_thread_begins_at_once(use_cores):
    use_cores(2)
    calls = Calls()
    work = Work(calls)
    with all_cores():
        for number in range(3):
            calls.begun.clear()
            work.start(number)
            assert calls.begun.wait(60)
            work.finish()
            work.finish()  # Of what has ended, nothing is left to do.
    assert calls.arguments == [(0,), (1,), (2,)]
    assert threading.current_thread() not in calls.threads


@pytest.mark.parametrize("cores", [1, 2])
def test_whoever_needs_what_nobody_has_begun_does_it(use_cores, cores):
    use_cores(cores)
    calls, other = Calls(), Calls()
    other.may_end.clear()
    work, busy = Work(calls), Work(other)
    work.start()
    work.finish()  # Outside the context there are no threads.
    with all_cores():
        if cores > 1:
            busy.start()
            assert other.begun.wait(60)
        work.start()
        work.finish()
        other.may_end.set()
    assert calls.threads == [threading.current_thread()] * 2


def test_without_threads_nothing_piles_up(use_cores):
    use_cores(1)
    calls = Calls()
    work = Work(calls)
    with all_cores():
        for _ in range(3):
            work.start()
            work.finish()
    assert len(calls.threads) == 3
    assert worker_threads._workers.queue.empty()


@pytest.mark.parametrize("in_background", [True, False])
def test_errors_reach_who_waits(use_cores, in_background):
    use_cores(2 if in_background else 1)
    calls = Calls(MemoryError("too large"))
    work = Work(calls)
    with all_cores():
        work.start()
        if in_background:
            assert calls.begun.wait(60)
        with pytest.raises(MemoryError, match="too large"):
            work.finish()
        calls.error = None
        work.finish()  # The call may be made again.
    assert len(calls.threads) == 2
    assert calls.threads[1] is threading.current_thread()


def test_an_interrupt_leaves_work_that_can_be_done(use_cores):
    use_cores(1)
    calls = Calls(KeyboardInterrupt())
    work = Work(calls)
    work.start(1)
    with pytest.raises(KeyboardInterrupt):
        work.finish()
    calls.error = None
    work.finish()
    work.start(2)
    work.finish()
    assert calls.arguments == [(1,), (1,), (2,)]


@pytest.mark.parametrize("cores", [1, 2])
def test_work_may_be_replaced(use_cores, cores):
    """What nobody has begun with is not done; what a thread has begun with ends before."""
    use_cores(cores)
    calls = Calls()
    work = Work(calls)
    with all_cores():
        for number in range(3):
            calls.begun.clear()
            work.start(number)
            if cores > 1:
                assert calls.begun.wait(60)
    work.finish()
    assert calls.arguments == ([(2,)] if cores == 1 else [(0,), (1,), (2,)])


def blas_threads():
    return {
        blas["num_threads"] for blas in worker_threads.blas().info() if blas["user_api"] == "blas"
    }


def test_what_has_begun_goes_on_after_the_context_and_nothing_else(use_cores):
    """Until it has ended, BLAS keeps to one thread, by which results would differ."""
    use_cores(2)
    before = blas_threads()
    first, second = Calls(), Calls()
    first.may_end.clear()
    begun, waiting = Work(first), Work(second)
    with all_cores():
        begun.start()
        waiting.start()
        assert first.begun.wait(60)
    assert blas_threads() == {1}
    with all_cores():
        pass
    assert blas_threads() == {1}
    first.may_end.set()
    begun.finish()
    waiting.finish()
    assert second.threads == [threading.current_thread()]
    while worker_threads._workers._num_working:
        pass  # The thread tells that it is done after the work does.
    assert blas_threads() == before


def test_blas_keeps_to_one_thread_until_the_last_user_leaves(use_cores):
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

def other_thread_works():
    begun = threading.Event()
    work = worker_threads.Work(begun.set)
    with worker_threads.all_cores():
        work.start()
        if not begun.wait(60):
            return False
        work.finish()
    return True

# A fork waits for what a thread has begun with: in the child nobody would ever end it.
begun, may_end = threading.Event(), threading.Event()
running = worker_threads.Work(lambda: (begun.set(), may_end.wait(60)))
with worker_threads.all_cores():
    running.start()
    begun.wait(60)
    threading.Timer(0.05, may_end.set).start()
    child = os.fork()
    if not child:
        running.finish()
        os._exit(0 if other_thread_works() else 1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), other_thread_works())
"""


@pytest.mark.skipif(not hasattr(sys.modules["os"], "fork"), reason="no fork on this system")
def test_a_forked_process_has_threads_of_its_own():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["0", "True"]
