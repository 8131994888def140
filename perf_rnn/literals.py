"""Python literals as users write them in flags: numbers, lists, True and False."""

import ast
import re
from typing import Any

# Strings, numbers, and names that may hold blanks and signs.
_TOKEN = re.compile(r"""'[^']*'|"[^"]*"|[\d.][\w.]*|(?P<name>[A-Za-z][^][(){},:'"]*)""")


def parse_literal(text: str, quote_names: bool = False) -> Any:
    """Returns the value of a literal.

    >>> parse_literal(" [60, 64] "), parse_literal("[c_major, F# dorian, 2]", quote_names=True)
    ([60, 64], ['c_major', 'F# dorian', 2])

    Args:
      text: the literal.
      quote_names: whether bare names are read as strings, up to the next comma, bracket or quote.

    Raises:
      ValueError: the text is no literal.
    """
    try:
        value = ast.literal_eval((_TOKEN.sub(_quoted, text) if quote_names else text).strip())
        repr(value)  # Integers of more than 4300 digits cannot be shown.
    # Not Python, no literal, lists in a set, and lists nested deeply.
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError("no literal") from error
    return value


def _quoted(token: re.Match[str]) -> str:
    name = (token["name"] or "").strip()
    return repr(name) if name not in ("", "True", "False", "None") else token[0]
