"""Some of TensorFlow's protocol buffer messages, without `import tensorflow`, which takes seconds.

Their descriptors, in `tensorflow_protos.binpb`, are a FileDescriptorSet of TensorFlow's public
.proto files (https://github.com/tensorflow/tensorflow/tree/master/tensorflow/core, Apache-2.0),
made by `python -m bundles.tensorflow_protos` from the TensorFlow that is installed. They are in a
descriptor pool of their own, so these classes are not TensorFlow's, but read and write the same
bytes, and do not conflict with what TensorFlow registers in the default pool.
"""

import pathlib
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PATH = pathlib.Path(__file__).with_name("tensorflow_protos.binpb")
_POOL = descriptor_pool.DescriptorPool()
for _file in descriptor_pb2.FileDescriptorSet.FromString(_PATH.read_bytes()).file:
    _POOL.Add(_file)


def _message(name: str) -> Any:
    message = message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"tensorflow.{name}"))
    message.__module__ = __name__  # Where pickle finds it.
    return message


MetaGraphDef = _message("MetaGraphDef")
SavedTensorSlices = _message("SavedTensorSlices")
SequenceExample = _message("SequenceExample")
DT_FLOAT = _POOL.FindEnumTypeByName("tensorflow.DataType").values_by_name["DT_FLOAT"].number


def installed_descriptors() -> bytes:
    """Returns what belongs in `tensorflow_protos.binpb`, from the TensorFlow that is installed."""
    from tensorflow.core.example import example_pb2
    from tensorflow.core.protobuf import meta_graph_pb2
    from tensorflow.core.util import saved_tensor_slice_pb2

    files: dict[str, Any] = {}

    def add(file: Any) -> None:
        if file.name not in files:
            for dependency in file.dependencies:
                add(dependency)
            files[file.name] = file

    for module in (example_pb2, meta_graph_pb2, saved_tensor_slice_pb2):
        add(module.DESCRIPTOR)
    described = descriptor_pb2.FileDescriptorSet()
    for file in files.values():
        file.CopyToProto(described.file.add())
    return bytes(described.SerializeToString(deterministic=True))


if __name__ == "__main__":
    _PATH.write_bytes(installed_descriptors())
