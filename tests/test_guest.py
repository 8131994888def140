"""In a program of others, their imports work as if perf_rnn were not there, in either order.

Each test is a process of its own, since what was imported stays.
"""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
BUNDLE = str(ROOT / "bundles" / "performance_with_dynamics.mag")

# What perf_rnn offers, each used once, without TensorFlow. `new` is a directory.
USES = f"""
import glob, sys, tempfile
import numpy as np
import bundles, perf_rnn
from perf_rnn import configs
from perf_rnn.data import examples, tfrecord, whole_pieces
from perf_rnn.tools import performance_rnn_generate

new = tempfile.mkdtemp()
(piece,) = perf_rnn.generate(seconds=1, seed=1)
next(perf_rnn.stream(seed=1))
proto = bundles.read_bundle_file({BUNDLE!r})
bundle = bundles.read_bundle({BUNDLE!r})

config = configs.get_config("performance")
example = examples.make_example(np.array([355, 60, 188], np.int32), config)
with tfrecord.open_writers([new + "/a.tfrecord"]) as (writer,):
    writer.write(example.SerializeToString())
assert len(examples.EventRecords(new + "/a.tfrecord", config)[0].events) == 3

with tfrecord.open_writers([new + "/b.tfrecord"]) as (writer,):
    writer.write(piece.SerializeToString())
assert len(whole_pieces.read_whole_pieces(new + "/b.tfrecord", config).pieces) == 1

sys.argv = ["", "--num_steps=100", "--num_outputs=1", "--output_dir=" + new]
try:
    performance_rnn_generate.console_entry_point()
except SystemExit:
    assert glob.glob(new + "/*.mid")
"""
IMPORTS = """
import google.protobuf.json_format
import google.protobuf.text_format
import keras
import note_seq
import tensorboard
import tensorflow
import tensorflow as tf
import tensorflow.compat.v1
import tensorflow.compat.v1 as tf1
import tensorflow.compat.v2
import tensorflow.data
import tensorflow.io
import tensorflow.keras
import tensorflow.nn
import tensorflow.train
from keras import layers
from note_seq import midi_io, music_pb2, performance_lib, sequences_lib
from note_seq.protobuf import generator_pb2, music_pb2
from note_seq.protobuf.music_pb2 import NoteSequence
from tensorflow import keras
from tensorflow.core.example import example_pb2, feature_pb2
from tensorflow.core.framework import graph_pb2, tensor_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow.core.util import saved_tensor_slice_pb2
from tensorflow.keras import layers
from tensorflow.keras.models import Sequential
from tensorflow.python.framework import ops
from tensorflow.train import SequenceExample
from tensorflow.summary import create_file_writer
assert tf1.placeholder and tf.data.Dataset and layers.LSTM
assert tf.train.SequenceExample.FromString(example.SerializeToString()).context.feature
assert type(piece) is music_pb2.NoteSequence is note_seq.NoteSequence
assert type(proto) is generator_pb2.GeneratorBundle
assert NoteSequence.FromString(google.protobuf.json_format.Parse(
    google.protobuf.json_format.MessageToJson(piece), NoteSequence()).SerializeToString()) == piece
"""


def run(code: str, cwd: pathlib.Path = ROOT) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert not done.returncode, done.stderr
    return done.stdout


def test_neither_tensorflow_nor_note_seq_is_left_in_sys_modules():
    left = "[name for name in sys.modules if name.startswith(('tensorflow', 'note_seq', 'keras'))]"
    assert run(f"{USES}\nprint({left})").splitlines()[-1] == "[]"


@pytest.mark.slow
@pytest.mark.parametrize(
    "first", ["import tensorflow.compat.v1", "from tensorflow.keras import layers"]
)
def test_imports_after_uses(first):
    run(f"{USES}\n{first}\n{IMPORTS}")


@pytest.mark.slow
def test_uses_after_imports():
    writes = "bundles.write_bundle(new + '/a.mag', bundle)"
    imports, checks = IMPORTS.split("assert", maxsplit=1)
    run(f"{imports}\n{USES}\n{writes}\nassert{checks}")


@pytest.mark.slow
def test_generate_in_one_thread_while_another_imports_tensorflow():
    run("""
import importlib, threading
from concurrent import futures
start = threading.Barrier(3)

def generate():
    start.wait()
    import perf_rnn
    return perf_rnn.generate(seconds=1, seed=1)[0]

def load(name):
    start.wait()
    return importlib.import_module(name)

with futures.ThreadPoolExecutor() as pool:
    piece = pool.submit(generate)
    tensorflow = pool.submit(load, "tensorflow.compat.v1")
    note_seq = pool.submit(load, "note_seq")
assert tensorflow.result().placeholder
assert type(piece.result()) is note_seq.result().NoteSequence
""")


def test_a_bundles_package_of_the_users_own(tmp_path):
    (tmp_path / "bundles").mkdir()
    (tmp_path / "bundles" / "__init__.py").touch()
    with pytest.raises(AssertionError, match=r"ImportError: `bundles` at .*is not perf_rnn's"):
        run("import perf_rnn", cwd=tmp_path)
