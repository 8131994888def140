"""note_seq's protocol buffer messages, without `import note_seq`, which takes two seconds.

The modules that protoc generated for note_seq need protobuf alone. They are executed from where
note_seq is installed, without an entry in `sys.modules`. Protobuf has one class for each message of
its default pool, so these are note_seq's own classes, even if note_seq is imported before or later.
"""

from __future__ import annotations

import importlib.util
import os
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from note_seq.protobuf.generator_pb2 import GeneratorBundle
    from note_seq.protobuf.music_pb2 import NoteSequence

__all__ = ["GeneratorBundle", "NoteSequence"]


def _execute(name: str) -> Any:
    package = importlib.util.find_spec("note_seq")
    folders = package.submodule_search_locations if package else None
    spec = PathFinder.find_spec(
        f"note_seq.protobuf.{name}", [os.path.join(folder, "protobuf") for folder in folders or ()]
    )
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"No module named 'note_seq.protobuf.{name}'", name="note_seq")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if not TYPE_CHECKING:
    GeneratorBundle = _execute("generator_pb2").GeneratorBundle
    NoteSequence = _execute("music_pb2").NoteSequence
