"""What every command-line tool shares: start, logging, and errors as one line."""

import logging
import os
import sys
from collections.abc import Callable

from absl import app, flags
from absl import logging as absl_logging

flags.DEFINE_string(
    "log", "INFO", "Least severe messages shown: DEBUG, INFO, WARN, ERROR or FATAL."
)


def run(main: Callable[[], None]) -> None:
    """Parses the flags and runs `main`; a foreseen error becomes one line and exit status 1.

    Foreseen are ValueError (a value that makes no sense; bundles and datasets raise subclasses)
    and OSError (a file that cannot be read or written). Anything else is a defect of ours and
    keeps its traceback.
    """

    def absl_main(argv: list[str]) -> None:
        if len(argv) > 1:
            raise app.UsageError(
                f"unexpected argument {argv[1]!r}; values are given as --flag=value"
            )
        _set_up_logging()
        try:
            main()
        except (ValueError, OSError) as error:
            print(f"ERROR: {_one_line(error)}", file=sys.stderr)
            sys.exit(1)
        except KeyboardInterrupt:
            print("ERROR: interrupted", file=sys.stderr)
            sys.exit(130)

    # So that --help of an installed script shows the tool's text and flags.
    module = sys.modules[main.__module__]
    sys.modules["__main__"].__doc__ = module.__doc__
    for name in (main.__module__, __name__):
        for flag in flags.FLAGS.get_flags_for_module(name):
            flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)
    # TensorFlow's own start-up notes say nothing about the user's work.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    app.run(absl_main)


def _set_up_logging() -> None:
    level = flags.FLAGS.log.upper()
    levels = {"DEBUG", "INFO", "WARN", "ERROR", "FATAL"}
    if level not in levels:
        raise app.UsageError(f"--log={flags.FLAGS.log} is not one of {', '.join(sorted(levels))}")
    absl_logging.set_verbosity(getattr(logging, level))
    absl_logging.set_stderrthreshold(getattr(logging, level))


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__
