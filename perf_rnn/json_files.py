"""JSON files, written whole or not at all."""

import contextlib
import json
import os
from typing import Any


def write_json(path: str, value: Any) -> None:
    """Writes `value` under `path`, which holds all of it or what it held before.

    Raises:
      ValueError: a number in it is not finite, which JSON cannot say.
      OSError: the file cannot be written.
    """
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    temporary = f"{path}.partial"
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            os.remove(temporary)
