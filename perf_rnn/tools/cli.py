"""What every command-line tool shares: start, logging, and errors as one line."""

import os
import signal
import sys
import warnings
from collections.abc import Callable
from typing import NoReturn, TextIO

from absl import app, flags
from absl import logging as absl_logging

from bundles.errors import PerfRnnError

LEVELS = ("DEBUG", "INFO", "WARN", "ERROR", "FATAL")

flags.DEFINE_string(
    "log", "INFO", "Least severe messages shown: DEBUG, INFO, WARN, ERROR or FATAL."
)


def run(main: Callable[[], None]) -> None:
    """Parses the flags and runs `main`; a foreseen error becomes one line and exit status 1.

    Foreseen are bad flags, PerfRnnError, and OSError and TensorFlow's errors (a file that cannot be
    read or written). Anything else is a defect of ours and shows its traceback. Output that is no
    longer read, as after `| head`, ends the tool with status 1 and without a word.
    """

    def parse_flags(argv: list[str]) -> list[str]:
        try:
            return flags.FLAGS(argv)
        except flags.Error as error:
            _fail(error)

    def absl_main(argv: list[str]) -> None:
        try:
            if len(argv) > 1:
                raise PerfRnnError(f"unexpected argument {argv[1]!r}; write --flag=value")
            _set_up_logging()
            main()
            sys.stdout.flush()
        except KeyboardInterrupt:
            print("ERROR: interrupted", file=sys.stderr)
            sys.exit(130)
        except Exception as error:
            if isinstance(error, BrokenPipeError) and _is_unread(sys.stdout):
                # The interpreter flushes once more as it ends, and would complain.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                sys.exit(1)
            # TensorFlow's errors can only come up where it has been imported.
            tensorflow = sys.modules.get("tensorflow")
            if not isinstance(error, (PerfRnnError, OSError)) and not (
                tensorflow and isinstance(error, tensorflow.errors.OpError)
            ):
                raise
            _fail(error)

    # So that --help of an installed script shows the tool's text and flags.
    module = sys.modules[main.__module__]
    sys.modules["__main__"].__doc__ = module.__doc__
    for name in (main.__module__, __name__):
        for flag in flags.FLAGS.get_flags_for_module(name):
            flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)
    # A scheduler that stops a job sends this; what was reached is saved as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # TensorFlow's own start-up notes say nothing about the user's work.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if "--help" in sys.argv:  # absl itself would exit with 1, as if asking were an error.
        app.usage(shorthelp=True, writeto_stdout=True, exitcode=0)
    app.run(absl_main, flags_parser=parse_flags)


def _is_unread(stream: TextIO) -> bool:
    try:
        print(file=stream, flush=True)
    except BrokenPipeError:
        return True
    return False


def _fail(error: Exception) -> NoReturn:
    print(f"ERROR: {_one_line(error)}", file=sys.stderr)
    sys.exit(1)


def load_libraries() -> None:
    """Imports TensorFlow and note_seq without the notes that they print; takes seconds."""
    from bundles import light_imports

    warnings.filterwarnings("ignore", message="Couldn't find ffmpeg")
    with light_imports.without_notes():
        import note_seq  # noqa: F401
        import tensorflow as tf

        tf.config.list_physical_devices()


def _set_up_logging() -> None:
    level = flags.FLAGS.log.upper()
    if level not in LEVELS:
        raise PerfRnnError(f"--log={flags.FLAGS.log} is not one of {', '.join(LEVELS)}")
    absl_logging.set_verbosity(level.lower())
    absl_logging.set_stderrthreshold(level.lower())
    # TensorFlow logs how long it took to prepare each checkpoint as if it were news.
    absl_logging.get_absl_logger().addFilter(lambda record: record.module != "functional_saver")


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__
