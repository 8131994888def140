import subprocess
import sys

import pytest

from bundles.light_imports import import_module

PROBE = """
import sys
from bundles.light_imports import import_module
music_pb2 = import_module("note_seq.protobuf.music_pb2")
from note_seq.events_lib import EventSequence
performance_lib = import_module("note_seq.performance_lib")
print("pandas" in sys.modules, "scipy" in sys.modules)
import note_seq
print("pandas" in sys.modules)
print(note_seq.NoteSequence is music_pb2.NoteSequence, note_seq.protobuf.music_pb2 is music_pb2)
print(note_seq.Performance is performance_lib.Performance, "pandas" in sys.modules)
"""


def test_a_package_sleeps_until_it_is_used():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROBE], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "False", "False", "True", "True", "True", "True"]


def test_a_package_already_imported_is_used_as_it_is():
    import tensorflow as tf

    module = import_module("tensorflow.core.example.example_pb2")
    assert module.SequenceExample is tf.train.SequenceExample


def test_what_is_not_there():
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        import_module("no_such_package.module")


def test_drawing_does_not_wake_tensorflow():
    """matplotlib asks it of each value whether it is a tensor."""
    probe = """
import sys
from bundles.light_imports import import_module
import_module("tensorflow.core.example.example_pb2")
from matplotlib.figure import Figure
Figure().add_axes((0, 0, 1, 1)).plot([1, 2], [3, 4])
print("tensorflow.python" in sys.modules)
import tensorflow as tf
tf.constant(1)
print("tensorflow.python" in sys.modules, tf.is_tensor(tf.constant(1)), tf.is_tensor(1))
"""
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True", "True", "False"]
