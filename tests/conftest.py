"""Fixtures that every room's tests share."""

import dataclasses
import importlib
import pathlib
import shutil
import signal
import sys
from collections.abc import Callable, Iterator

import pytest
from absl import flags
from absl.testing import flagsaver
from browser import PROGRAMS, Browser

from perf_rnn.generation.cpu import worker_threads

TESTDATA = pathlib.Path(__file__).parent / "testdata"

# A shell's background commands ignore SIGINT, which some tests send.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclasses.dataclass(frozen=True)
class ToolRun:
    """How a command-line tool ended: its exit status, and what it printed."""

    status: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The line that begins with ERROR, '' if there is none."""
        return next((line for line in self.err.splitlines() if line.startswith("ERROR: ")), "")


@pytest.fixture
def run_tool(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., ToolRun]:
    """Runs a tool as its console script does, in this process: run_tool(module, *arguments)."""

    def run(module_name: str, *arguments: object) -> ToolRun:
        # Tools share flag names: each is imported anew and its flags are forgotten afterwards.
        sys.modules.pop(module_name, None)
        module = importlib.import_module(module_name)
        monkeypatch.setattr(sys, "argv", [module_name, *map(str, arguments)])
        capsys.readouterr()
        try:
            with flagsaver.flagsaver(), pytest.raises(SystemExit) as ended:
                module.console_entry_point()
        finally:
            own = flags.FLAGS.flags_by_module_dict()[module_name]
            flags.FLAGS.remove_flag_values({flag.name: flag for flag in own})
        printed = capsys.readouterr()
        return ToolRun(int(ended.value.code or 0), printed.out, printed.err)

    return run


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all tests of pages; each test opens a tab of its own."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if not program:
        pytest.skip(f"no browser here: none of {', '.join(PROGRAMS)} is installed")
    started = Browser(program, tmp_path_factory.mktemp("profile"))
    yield started
    started.close()


@pytest.fixture
def asap_dir() -> pathlib.Path:
    """A directory of three real performances of two pieces."""
    return TESTDATA / "asap"


def pytest_collection_finish() -> None:
    """Gives TensorFlow two virtual CPUs for tests of tf.distribute, if a test module imports it.

    It must happen before the first test uses TensorFlow.
    """
    if tf := sys.modules.get("tensorflow"):
        cpu = tf.config.list_physical_devices("CPU")[0]
        devices = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpu, devices)


@pytest.fixture
def use_cores(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets how many cores run tasks: use_cores(count)."""

    def use(count: int) -> None:
        monkeypatch.setattr(worker_threads, "num_cores", lambda: count)
        monkeypatch.setattr(worker_threads, "_workers", worker_threads._Workers())

    return use
