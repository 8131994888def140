"""What the command-line tools share: start, logging, errors as one line, checks of flags."""

import contextlib
import io
import logging
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn, TextIO

from absl import app, flags
from absl import logging as absl_logging

import perf_rnn
from bundles.atomic_files import make_directory
from bundles.errors import PerfRnnError

LEVELS = ("DEBUG", "INFO", "WARN", "ERROR", "FATAL")
# What Python and absl say of a value that they cannot read, in a user's words.
_VALUE_ERRORS = {
    r"invalid literal for int\(\) with base \d+: (.*)": r"\1 is not an integer",
    r"could not convert string to float: (.*)": r"\1 is not a number",
    r"\('Non-boolean argument to boolean flag', (.*)\)": r"\1 is neither true nor false",
}
# What the flag of that name does, in the tools that have it.
OVERWRITE = "Replace files that are there already."

flags.DEFINE_bool("version", False, "Print the version and exit.")
flags.DEFINE_string(
    "log", "INFO", "Least severe messages shown: DEBUG, INFO, WARN, ERROR or FATAL."
)


def run(main: Callable[[], None], files: str | None = None) -> None:
    """Parses the flags and runs `main`; a foreseen error becomes one line and exit status 1.

    Foreseen are bad flags, PerfRnnError, OSError and TensorFlow's errors (a file that cannot be
    read or written). Anything else is a defect of this project and shows its traceback. When
    standard output is closed, as after `| head`, the tool ends with status 1 and no message.

    Args:
      main: of the tool.
      files: the flag whose value may also stand by itself, as in `performance_rnn_render a.mid`;
        several of them if it is a flag of many values.
    """

    def parse_flags(argv: list[str]) -> list[str]:
        try:
            rest: list[str] = flags.FLAGS(argv)
        except flags.Error as error:
            text = str(error)
            for pattern, meaning in _VALUE_ERRORS.items():
                text = re.sub(pattern, meaning, text)
            _fail(PerfRnnError(text))
        if flags.FLAGS.version:
            print(f"perf_rnn {perf_rnn.__version__}")
            sys.exit(0)
        return rest

    def absl_main(argv: list[str]) -> None:
        try:
            _take_files(argv[1:], files)
            _set_up_logging()
            main()
            sys.stdout.flush()
        except KeyboardInterrupt:
            print("ERROR: interrupted", file=sys.stderr)
            sys.exit(130)
        except Exception as error:
            if isinstance(error, BrokenPipeError) and _is_closed(sys.stdout):
                _end_without_output()
            # TensorFlow's errors can only occur where it has been imported.
            tensorflow = sys.modules.get("tensorflow")
            if not isinstance(error, (PerfRnnError, OSError)) and not (
                tensorflow and isinstance(error, tensorflow.errors.OpError)
            ):
                raise
            _fail(error)

    # Schedulers stop a job with SIGTERM; the tool then ends as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # File names may hold bytes that are not UTF-8, and the terminal may not show all characters.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    # TensorFlow's messages at its start say nothing about the user's work.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # Nor that pydub, which note_seq imports, looks for programs that are not used here.
    warnings.filterwarnings("ignore", message="Couldn't find ffmpeg")
    if {"-h", "-help", "--help"} & {*sys.argv[1:]}:
        try:
            print(_help(main.__module__), flush=True)
        except BrokenPipeError:  # As of `--help | head`.
            _end_without_output()
        sys.exit(0)
    app.run(absl_main, flags_parser=parse_flags)


def _help(module_name: str) -> str:
    """Returns the text of a tool's module and its flags, in the order of their definition."""
    tool = module_name.rpartition(".")[2]
    program = os.path.basename(sys.argv[0])
    text = str(sys.modules[module_name].__doc__)
    if not program.endswith(".py"):  # `perf_rnn play` is another name of performance_rnn_generate.
        text = text.replace(tool, program)
    lines = [text.strip(), "", "Flags:"]
    for name in (module_name, __name__):
        for flag in flags.FLAGS.get_flags_for_module(name):
            switch = f"--[no]{flag.name}" if flag.boolean else f"--{flag.name}"
            default = "" if flag.default in (None, "", False) else f" (default: {flag.default})"
            lines.append(flags.text_wrap(f"{switch}: {flag.help}{default}", 80, "      ", "  "))
    return "\n".join(lines)


def _take_files(given: list[str], name: str | None) -> None:
    """Makes arguments without a flag the value of the flag `name`, if there is one.

    Raises:
      PerfRnnError: the tool takes none, or not as many, or the flag is given too.
    """
    if not given:
        return
    flag_name, equals, _ = given[0].partition("=")
    if equals and flag_name in flags.FLAGS:
        raise PerfRnnError(f"{given[0]!r} is no file; for the flag write --{given[0]}")
    if name is None or given[0].startswith("-"):
        raise PerfRnnError(f"unexpected argument {given[0]!r}; write --flag=value")
    flag = flags.FLAGS[name]
    if flag.present:
        raise PerfRnnError(f"{given[0]!r} and --{name}: give one of them")
    if isinstance(flag, flags.MultiFlag):
        flag.value = given
    elif len(given) > 1:
        raise PerfRnnError(f"unexpected argument {given[1]!r}: --{name} is one file or directory")
    else:
        flag.value = given[0]


def _is_closed(stream: TextIO) -> bool:
    try:
        print(file=stream, flush=True)
    except BrokenPipeError:
        return True
    return False


def _end_without_output() -> NoReturn:
    # The interpreter flushes once more as it ends, which would print an error.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(1)


def _fail(error: Exception) -> NoReturn:
    print(f"ERROR: {one_line(error)}", file=sys.stderr)
    sys.exit(1)


def check_not_empty(*names: str) -> None:
    """Raises PerfRnnError if one of these flags is given without a value."""
    for name in names:
        if flags.FLAGS[name].value == "":
            raise PerfRnnError(f"--{name} is empty")


def check_given(**uses: str) -> None:
    """Raises PerfRnnError if one of these flags has no value; `uses` says what each is."""
    for name, use in uses.items():
        if not flags.FLAGS[name].value:
            raise PerfRnnError(f"--{name} is needed: {use}")


def check_new(name: str, *paths: str) -> None:
    """Raises PerfRnnError if something would be replaced that is there already.

    A file is replaced with --overwrite, a directory that is not empty never.

    Args:
      name: the flag that says where the output goes.
      paths: the files and directories to be written.
    """
    has_flag = "overwrite" in flags.FLAGS
    for path in paths:
        if os.path.isdir(path):
            if os.listdir(path):
                raise PerfRnnError(
                    f"{path}: is a directory that is not empty; remove it, or give another --{name}"
                )
        elif os.path.lexists(path) and not (has_flag and flags.FLAGS.overwrite):
            replace = ", or --overwrite to replace it" if has_flag else ""
            raise PerfRnnError(f"{path}: is there already; give another --{name}{replace}")


def output_file() -> str | None:
    """Returns the path that --output_file gives, None if it is not given; makes its directory.

    Tools call it first, so that a file that cannot be written is reported before the work.

    Raises:
      PerfRnnError: the flag is empty, or the file is there already, see `check_new`.
      OSError: the path is a directory, or its directory cannot be made.
    """
    check_not_empty("output_file")
    if flags.FLAGS.output_file is None:
        return None
    path: str = os.path.expanduser(flags.FLAGS.output_file)
    if os.path.isdir(path):
        raise IsADirectoryError(f"{path}: is a directory, not a file")
    check_new("output_file", path)
    make_directory(os.path.dirname(os.path.abspath(path)))
    return path


def load_tensorflow() -> None:
    """Imports TensorFlow without the messages that it prints; takes seconds.

    Raises:
      PerfRnnError: it is not installed.
    """
    with _silent_stderr():
        try:
            import tensorflow as tf
        except ModuleNotFoundError as error:
            if error.name != "tensorflow":
                raise
            raise PerfRnnError(
                "this needs TensorFlow, which is not installed: pip install tensorflow"
            ) from error
        tf.config.list_physical_devices()


def load_keras() -> None:
    """Imports Keras and its backend without TensorFlow's messages; takes seconds.

    Raises:
      PerfRnnError: the backend is not installed.
    """
    with _silent_stderr():
        try:
            import keras
        except ModuleNotFoundError as error:
            package = str(error.name).partition(".")[0]
            raise PerfRnnError(
                f"Keras needs {package}, which is not installed; install it, or set "
                "KERAS_BACKEND to another backend: tensorflow or jax"
            ) from error
        if keras.backend.backend() == "tensorflow":
            load_tensorflow()


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Prints rows of cells in columns, two spaces apart; all but the first are aligned right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *others in rows:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        print("  ".join([first.ljust(widths[0]), *cells]))


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """Discards what is written to stderr, such as TensorFlow's messages when it is imported.

    C++ writes them before it reads any setting, so file descriptor 2 itself is redirected.
    Exceptions pass through.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # There may be no such file.
            stderr = os.dup(2)
            stack.callback(os.close, stderr)
            stack.callback(os.dup2, stderr, 2)
            sys.stderr.flush()
            with open(os.devnull, "w", encoding="utf-8") as devnull:
                os.dup2(devnull.fileno(), 2)
        yield


def _set_up_logging() -> None:
    level = flags.FLAGS.log.upper()
    if level not in LEVELS:
        raise PerfRnnError(f"--log={flags.FLAGS.log} is not one of {', '.join(LEVELS)}")
    absl_logging.set_verbosity(level.lower())
    absl_logging.set_stderrthreshold(level.lower())
    absl_logging.get_absl_handler().setFormatter(_LineFormatter(datefmt="%H:%M:%S"))
    # TensorFlow logs at level INFO how long it took to prepare each checkpoint, and JAX which kinds
    # of device there are not.
    absl_logging.get_absl_handler().addFilter(
        lambda record: (
            record.levelno > logging.INFO or record.module not in ("functional_saver", "xla_bridge")
        )
    )


class _LineFormatter(logging.Formatter):
    """Writes the time and the message; of anything but information also what it is."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        kind = "" if record.levelno == logging.INFO else f"{record.levelname}: "
        return f"{self.formatTime(record, self.datefmt)} {kind}{record.message}"


def one_line(error: Exception) -> str:
    """Returns an error as a line that a terminal shows, whatever it quotes from a file."""
    text = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.filename and error.strerror:
        text = f"{error.filename}: {error.strerror}"
    # TensorFlow names its operations too.
    return printable(re.sub(r"\{\{function_node .*?\}\} | \[Op:\w+\]$", "", text))


def printable(text: str) -> str:
    r"""Returns text from anywhere as one line that a terminal shows.

    >>> printable("two \n lines, \x1b[31mred")
    'two lines, \\x1b[31mred'
    """
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(text.split()))
