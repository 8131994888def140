"""The metagraphs that are written for Magenta, and what is read from Magenta's."""

import dataclasses
import os

import numpy as np
import pytest
import tensorflow as tf
from note_seq.protobuf import generator_pb2
from tensorflow.core.protobuf import meta_graph_pb2

import bundles
from bundles.checkpoint import write_checkpoint
from bundles.metagraph import GraphFacts, read_metagraph, write_metagraph
from bundles.variables import variables_from_weights

tf1 = tf.compat.v1


class TensorFlow1:
    """A bundle's metagraph with its checkpoint, loaded and run as Magenta 2.1.4 does."""

    def __init__(self, bundle, directory):
        checkpoint = os.path.join(directory, "model.ckpt")
        with open(checkpoint, "wb") as file:
            file.write(write_checkpoint(variables_from_weights(bundle)))
        with open(f"{checkpoint}.meta", "wb") as file:
            file.write(write_metagraph(bundle))
        with tf1.Graph().as_default() as self.graph:
            self.session = tf1.Session()
            tf1.train.import_meta_graph(f"{checkpoint}.meta").restore(self.session, checkpoint)

    def collection(self, name):
        return self.graph.get_collection(name)

    def run(self, inputs, states=None, temperature=1.0):
        """Returns each head's softmax [t, classes] and the states, for inputs [t, width]."""
        feed = {
            self.collection("inputs")[0]: inputs[np.newaxis],
            self.collection("temperature")[0]: temperature,
        }
        if states is not None:
            feed[tuple(self.collection("initial_state"))] = states
        softmaxes, states = self.session.run(
            [self.collection("softmax"), self.collection("final_state")], feed
        )
        return [softmax[0] for softmax in softmaxes], states


def test_our_metagraph_computes_what_magenta_computed(magenta, tmp_path):
    _, bundle, figures = magenta
    network = TensorFlow1(bundle, tmp_path)
    softmaxes, states = network.run(figures["inputs"])
    names = sorted(name for name in figures if name.startswith("softmax"))
    for softmax, name in zip(softmaxes, names, strict=True):
        np.testing.assert_allclose(np.log(softmax), np.log(figures[name]), rtol=0, atol=2e-5)
    for n, state in enumerate(states):
        np.testing.assert_allclose(state[0], figures[f"final_state_{n}"], rtol=1e-4, atol=1e-5)

    # Step by step, as it is generated from.
    states = network.session.run(network.collection("initial_state"))
    assert not any(state.any() for state in states)
    for t, x in enumerate(figures["inputs"][:10]):
        steps, states = network.run(x[np.newaxis], states)
        for step, softmax in zip(steps, softmaxes, strict=True):
            np.testing.assert_allclose(step[0], softmax[t], rtol=1e-4, atol=1e-8)


def test_temperature(fixtures, tmp_path):
    network = TensorFlow1(bundles.read_bundle(fixtures / "performance.mag"), tmp_path)
    inputs = np.eye(356, dtype=np.float32)[[60, 355]]
    (plain,), _ = network.run(inputs)
    (hot,), _ = network.run(inputs, temperature=2.0)
    expected = plain**0.5 / (plain**0.5).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(hot, expected, rtol=1e-5)


def test_a_compact_bundles_graph_takes_indices_and_vectors(fixtures, tmp_path):
    bundle = bundles.read_bundle(fixtures / "performance_with_dynamics_compact.mag")
    network = TensorFlow1(bundle, tmp_path)
    indices = np.array([[60.0], [387.0], [0.0]], np.float32)
    (by_index,), _ = network.run(indices)
    (by_vector,), _ = network.run(np.eye(388, dtype=np.float32)[[60, 387, 0]])
    assert by_index.tobytes() == by_vector.tobytes()


def test_collections_have_the_shapes_that_magenta_expects(make_bundle, tmp_path):
    network = TensorFlow1(make_bundle((3, 2), 4, head_sizes=(1, 3)), tmp_path)
    shapes = {
        name: [tensor.shape.as_list() for tensor in network.collection(name)]
        for name in ("inputs", "temperature", "softmax", "initial_state", "final_state")
    }
    states = [[1, 3], [1, 3], [1, 3], [1, 12], [1, 2], [1, 2]]
    assert shapes == {
        "inputs": [[1, None, 5]],
        "temperature": [[]],
        "softmax": [[1, None, 1], [1, None, 3]],
        "initial_state": states,
        "final_state": states,
    }


def test_written_for_any_tensorflow_1(make_bundle):
    metagraph = meta_graph_pb2.MetaGraphDef.FromString(write_metagraph(make_bundle((3, 2), 4)))
    assert not metagraph.graph_def.library.function
    ops = {node.op for node in metagraph.graph_def.node}
    assert {"Enter", "Exit", "VariableV2"} <= ops
    assert not ops & {"While", "StatelessWhile", "If", "StatelessIf", "VarHandleOp"}
    assert metagraph.saver_def.version == tf1.train.SaverDef.V1


def test_the_process_is_left_as_it_was(make_bundle):
    first = write_metagraph(make_bundle((3, 2), 4, residual=True))
    assert tf.executing_eagerly()
    assert tf1.control_flow_v2_enabled()

    @tf.function
    def count(x):
        while x < 10:
            x += 1
        return x

    graph = count.get_concrete_function(tf.constant(3)).graph
    assert {"While", "StatelessWhile"} & {operation.type for operation in graph.get_operations()}
    assert count(tf.constant(3)).numpy() == 10
    assert write_metagraph(make_bundle((3, 2), 4, residual=True)) == first

    tf1.disable_control_flow_v2()
    try:
        assert write_metagraph(make_bundle((3, 2), 4, residual=True)) == first
        assert not tf1.control_flow_v2_enabled()
    finally:
        tf1.enable_control_flow_v2()

    with tf.Graph().as_default() as graph:
        assert write_metagraph(make_bundle((3, 2), 4, residual=True)) == first
    assert not graph.get_operations()


# What is read


def metagraph_of(path):
    proto = bundles.read_bundle_file(path)
    return meta_graph_pb2.MetaGraphDef.FromString(proto.metagraph_file)


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("performance", GraphFacts(356, 112, (356,), "2.15.1")),
        ("performance_with_dynamics_compact", GraphFacts(1, 112, (388,), "2.15.1")),
        ("attention_residual", GraphFacts(396, 160, (388,), "2.15.1")),
        (
            "performance_with_dynamics_and_note_encoding",
            GraphFacts(315, 112, (13, 77, 128, 32, 25, 40), "2.15.1"),
        ),
    ],
)
def test_facts_of_magentas_metagraphs(fixtures, name, facts):
    metagraph = bundles.read_bundle_file(fixtures / f"{name}.mag").metagraph_file
    assert read_metagraph(metagraph) == facts


def test_facts_of_our_metagraphs(make_bundle):
    facts = read_metagraph(write_metagraph(make_bundle((3, 2), 4, head_sizes=(1, 3))))
    assert facts == GraphFacts(5, 25, (1, 3), tf.__version__)
    facts = read_metagraph(write_metagraph(dataclasses.replace(four_inputs(), index_input=True)))
    assert facts == GraphFacts(-1, 4, (4,), tf.__version__)


def four_inputs():
    def ones(*shape):
        return np.ones(shape, np.float32)

    layer = bundles.LstmLayer(ones(4, 8), ones(2, 8), ones(8), 1.0)
    return bundles.Bundle("x", "", "", (layer,), ones(2, 4), ones(4))


def write_proto(path, bundle, metagraph):
    proto = generator_pb2.GeneratorBundle(metagraph_file=metagraph)
    proto.generator_details.id = bundle.id
    proto.checkpoint_file.append(write_checkpoint(variables_from_weights(bundle)))
    path.write_bytes(proto.SerializeToString())
    return path


DAMAGED = [b"", b"\x00", b"<html>", b"\x0a\xff\xff\xff\xff\x07", b"\x12\x02\x0a\x00" * 9]


@pytest.mark.parametrize("metagraph", DAMAGED)
def test_weights_are_read_without_a_metagraph_that_can_be(metagraph, make_bundle, tmp_path, flat):
    bundle = make_bundle()
    assert read_metagraph(metagraph) == GraphFacts()
    read = bundles.read_bundle(write_proto(tmp_path / "x.mag", bundle, metagraph))
    assert flat(read.layers) == flat(bundle.layers)
    assert read.head_sizes == (4,)


@pytest.mark.parametrize("metagraph", DAMAGED)
def test_attentions_length_is_not_guessed(metagraph, make_bundle, tmp_path):
    path = write_proto(tmp_path / "x.mag", make_bundle(attn_length=4), metagraph)
    with pytest.raises(bundles.BundleError, match="neither its metagraph nor its hparams hold"):
        bundles.read_bundle(path)


def test_attentions_length_from_hparams(make_bundle, tmp_path):
    bundle = make_bundle(attn_length=4, extra={"hparams": {"attn_length": 4}})
    bundles.write_bundle(tmp_path / "x.mag", bundle)
    proto = bundles.read_bundle_file(tmp_path / "x.mag")
    proto.metagraph_file = b""
    assert bundles.bundle_from_proto(proto).attn_length == 4


def test_a_metagraph_that_is_too_large_is_not_parsed(monkeypatch, fixtures):
    metagraph = bundles.read_bundle_file(fixtures / "performance.mag").metagraph_file
    monkeypatch.setattr("bundles.metagraph._MAX_BYTES", len(metagraph) - 1)
    assert read_metagraph(metagraph) == GraphFacts()


def damaged(metagraph, change):
    copy = meta_graph_pb2.MetaGraphDef()
    copy.CopyFrom(metagraph)
    change(copy, {node.name: node for node in copy.graph_def.node})
    return copy.SerializeToString()


def state_node(metagraph, nodes):
    name = metagraph.collection_def["initial_state"].node_list.value[3]
    return nodes[name.removesuffix(":0")]


def set_size(metagraph, nodes, size):
    state_node(metagraph, nodes).attr["_output_shapes"].list.shape[0].dim[1].size = size


@pytest.mark.parametrize(
    "change",
    [
        lambda m, nodes: m.collection_def["initial_state"].Clear(),
        lambda m, nodes: m.ClearField("collection_def"),
        lambda m, nodes: m.ClearField("graph_def"),
        lambda m, nodes: state_node(m, nodes).ClearField("attr"),
        lambda m, nodes: state_node(m, nodes).attr["_output_shapes"].list.ClearField("shape"),
        lambda m, nodes: set_size(m, nodes, -1),
        lambda m, nodes: set_size(m, nodes, 0),
        lambda m, nodes: set_size(m, nodes, 85),
        lambda m, nodes: set_size(m, nodes, -(2**63)),
    ],
)
def test_a_metagraph_without_the_states_shapes(change, fixtures, tmp_path):
    path = fixtures / "attention.mag"
    metagraph = damaged(metagraph_of(path), change)
    path = write_proto(tmp_path / "x.mag", bundles.read_bundle(path), metagraph)
    with pytest.raises(bundles.BundleError, match="neither its metagraph nor its hparams hold"):
        bundles.read_bundle(path)


def test_a_metagraph_that_claims_a_huge_attention(fixtures, tmp_path):
    path = fixtures / "attention.mag"
    metagraph = damaged(metagraph_of(path), lambda m, nodes: set_size(m, nodes, 12 * 2**40))
    path = write_proto(tmp_path / "x.mag", bundles.read_bundle(path), metagraph)
    with pytest.raises(bundles.BundleError, match="attention length of 1099511627776 is not from"):
        bundles.read_bundle(path)
