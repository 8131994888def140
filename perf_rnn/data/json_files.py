"""JSON files, written atomically."""

import json
from typing import Any

from bundles.atomic_files import atomic_write


def write_json(path: str, value: Any) -> None:
    """Writes `value` to the file `path` in one atomic write.

    Raises:
      ValueError: a number in it is not finite, which JSON cannot say.
      OSError: the file cannot be written.
    """
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    atomic_write(path, text.encode())
