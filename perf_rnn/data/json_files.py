"""JSON files, written whole or not at all."""

import json
from typing import Any

from bundles.whole_files import written_whole


def write_json(path: str, value: Any) -> None:
    """Writes `value` under `path`, which holds all of it or what it held before.

    Raises:
      ValueError: a number in it is not finite, which JSON cannot say.
      OSError: the file cannot be written.
    """
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
