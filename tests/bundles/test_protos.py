import pickle
import subprocess
import sys

import note_seq
import tensorflow as tf
from google.protobuf import descriptor_pb2
from note_seq.protobuf import generator_pb2
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow.core.util import saved_tensor_slice_pb2

from bundles import note_seq_protos, tensorflow_protos


def test_note_seq_classes_are_its_own():
    assert note_seq_protos.NoteSequence is note_seq.NoteSequence
    assert note_seq_protos.GeneratorBundle is generator_pb2.GeneratorBundle


def test_note_seq_classes_are_its_own_where_it_is_imported_later():
    code = """
from bundles.note_seq_protos import GeneratorBundle, NoteSequence
from note_seq.protobuf import generator_pb2, music_pb2
assert NoteSequence is music_pb2.NoteSequence and GeneratorBundle is generator_pb2.GeneratorBundle
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)


def test_note_seq_messages_where_it_is_not_installed(tmp_path):
    """They read and write the same bytes."""
    sequence = note_seq.NoteSequence(id="a", total_time=2.5)
    sequence.notes.add(pitch=60, velocity=80, end_time=1.5, program=3)
    bundle = generator_pb2.GeneratorBundle(checkpoint_file=[b"x"], metagraph_file=b"y")
    bundle.generator_details.id = "b"
    for name, message in (("NoteSequence", sequence), ("GeneratorBundle", bundle)):
        data = message.SerializeToString()
        again = note_seq_protos._described(name).FromString(data)
        assert str(again) == str(message)
        assert again.SerializeToString() == data
    assert note_seq_protos._PATH.read_bytes() == note_seq_protos.installed_descriptors()


def fields(described: descriptor_pb2.FileDescriptorSet) -> set[tuple[str, int, int, str]]:
    """(message, number, type, name of type) of every field, those of nested messages too."""
    found = set()

    def walk(message, name):
        for field in message.field:
            found.add((name, field.number, field.type, field.type_name))
        for nested in message.nested_type:
            walk(nested, f"{name}.{nested.name}")

    for file in described.file:
        for message in file.message_type:
            walk(message, f"{file.package}.{message.name}")
    return found


def test_tensorflow_fields_are_those_of_the_tensorflow_installed():
    """A later TensorFlow may have more; none of the fields here may mean something else there."""
    ours, installed = (
        fields(descriptor_pb2.FileDescriptorSet.FromString(data))
        for data in (
            tensorflow_protos._PATH.read_bytes(),
            tensorflow_protos.installed_descriptors(),
        )
    )
    assert len(ours) > 200
    places = {field[:2] for field in ours} & {field[:2] for field in installed}
    assert {f for f in ours if f[:2] in places} == {f for f in installed if f[:2] in places}


def test_tensorflow_messages_have_the_same_bytes():
    for ours, theirs in [
        (tensorflow_protos.SequenceExample, tf.train.SequenceExample),
        (tensorflow_protos.MetaGraphDef, meta_graph_pb2.MetaGraphDef),
        (tensorflow_protos.SavedTensorSlices, saved_tensor_slice_pb2.SavedTensorSlices),
    ]:
        assert ours is not theirs
        assert ours.DESCRIPTOR.full_name == theirs.DESCRIPTOR.full_name
    example = tensorflow_protos.SequenceExample()
    example.context.feature["a"].int64_list.value.append(3)
    example.feature_lists.feature_list["b"].feature.add().float_list.value.append(0.5)
    data = example.SerializeToString(deterministic=True)
    parsed = tf.train.SequenceExample.FromString(data)
    assert parsed.SerializeToString(deterministic=True) == data
    assert parsed.context.feature["a"].int64_list.value == [3]
    assert types_pb2.DT_FLOAT == tensorflow_protos.DT_FLOAT


def test_messages_can_be_pickled():
    example = tensorflow_protos.SequenceExample()
    example.context.feature["a"].int64_list.value.append(3)
    assert pickle.loads(pickle.dumps(example)) == example
    piece = note_seq_protos.NoteSequence(id="a")
    assert pickle.loads(pickle.dumps(piece)) == piece
