"""note_seq's protocol buffer messages, without `import note_seq`, which takes two seconds.

The modules that protoc generated for note_seq need protobuf alone. They are executed from where
note_seq is installed, without an entry in `sys.modules`. Protobuf has one class for each message of
its default pool, so these are note_seq's own classes, even if note_seq is imported before or later.

Where note_seq is not installed, as where JAX alone trains, the messages are made from
`note_seq_protos.binpb`, a FileDescriptorSet of note_seq's public .proto files
(https://github.com/magenta/note-seq/tree/main/note_seq/protobuf, Apache-2.0), which
`python -m bundles.note_seq_protos` writes from the note_seq that is installed.
"""

from __future__ import annotations

import importlib.util
import os
import pathlib
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

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


def _described(name: str) -> Any:
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(_PATH.read_bytes()).file:
        pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"magenta.{name}"))


_PATH = pathlib.Path(__file__).with_name("note_seq_protos.binpb")
if not TYPE_CHECKING:
    if importlib.util.find_spec("note_seq"):
        GeneratorBundle = _execute("generator_pb2").GeneratorBundle
        NoteSequence = _execute("music_pb2").NoteSequence
    else:
        GeneratorBundle, NoteSequence = map(_described, ("GeneratorBundle", "NoteSequence"))


def installed_descriptors() -> bytes:
    """Returns the content of `note_seq_protos.binpb`, from the note_seq that is installed."""
    described = descriptor_pb2.FileDescriptorSet()
    for message in (NoteSequence, GeneratorBundle):
        message.DESCRIPTOR.file.CopyToProto(described.file.add())
    data: bytes = described.SerializeToString(deterministic=True)
    return data


if __name__ == "__main__":
    _PATH.write_bytes(installed_descriptors())
