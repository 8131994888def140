"""What the pipelines take from note_seq, imported without all that `import note_seq` loads."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from note_seq import performance_lib, sequences_lib
    from note_seq.protobuf.music_pb2 import NoteSequence
else:
    from bundles.light_imports import import_module

    performance_lib = import_module("note_seq.performance_lib")
    sequences_lib = import_module("note_seq.sequences_lib")
    NoteSequence = import_module("note_seq.protobuf.music_pb2").NoteSequence

__all__ = ["NoteSequence", "performance_lib", "sequences_lib"]
