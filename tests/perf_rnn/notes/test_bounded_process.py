import os
import sys
import time

import pytest

from bundles.errors import PerfRnnError
from perf_rnn.notes.bounded_process import BoundedProcess

GIGABYTE = 1 << 30


def work(what):
    match what:
        case "refuse":
            raise PerfRnnError("refused")
        case "crash":
            os._exit(1)
        case "wait":
            time.sleep(600)
        case "fill":
            return len(bytearray(8 * GIGABYTE))
    return os.getpid()


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("crash", "its reader crashed"),
        ("wait", "takes longer than 5 seconds"),
        pytest.param(
            "fill",
            "its reader crashed, or needed too much memory",
            marks=pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux"),
        ),
    ],
)
def test_a_call_beyond_the_limits_costs_itself_alone(what, message):
    with BoundedProcess(work, 5.0, 4 * GIGABYTE) as process:
        first = process("")
        assert process("") == first != os.getpid()
        with pytest.raises(PerfRnnError, match=message):
            process(what)
        assert process("") not in (first, os.getpid())


def test_an_error_of_the_function_keeps_the_process():
    with BoundedProcess(work, 60.0, 4 * GIGABYTE) as process:
        first = process("")
        with pytest.raises(PerfRnnError, match=r"^refused$"):
            process("refuse")
        assert process("") == first
