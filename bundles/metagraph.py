"""Metagraphs: the network as a TensorFlow 1 graph, which Magenta runs.

It is written so that Magenta can run the bundle, and never run here. From a metagraph a few shapes
are read that do not follow from the weights; if it is damaged or lacks them, they are unknown.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bundles.bundle import Bundle, LstmLayer
from bundles.variable_names import OUTPUT_NAMES, ProjectionNames, written_names
from bundles.variables import variables_from_weights

# Magenta's have up to 0.2 MB. A hostile one may take sixty times its bytes when parsed.
_MAX_BYTES = 1 << 20
# The graph's batch size, as in the bundles that Magenta 2.1.4's tool saves by default. It makes
# batches of this size of whatever number of sequences it generates.
_BATCH_SIZE = 1
ANY_WIDTH = -1
_SOFTMAX_NAME = re.compile(r"Softmax(_\d+)?")


@dataclasses.dataclass(frozen=True)
class GraphFacts:
    """What is known of a network from its metagraph.

    Attributes:
        input_width: of the input at each step; may be ANY_WIDTH; None if not known.
        state_size: width of all states together; None if not known.
        head_sizes: classes of each softmax; () if not known.
        tensorflow_version: the version that wrote it; "" if not known.
    """

    input_width: int | None = None
    state_size: int | None = None
    head_sizes: tuple[int, ...] = ()
    tensorflow_version: str = ""


def read_metagraph(data: bytes) -> GraphFacts:
    """Returns the facts in a serialised MetaGraphDef; nothing in it is run."""
    from google.protobuf.message import DecodeError

    from bundles.tensorflow_protos import MetaGraphDef

    if len(data) > _MAX_BYTES:
        return GraphFacts()
    try:
        metagraph = MetaGraphDef.FromString(data)
    except DecodeError:
        return GraphFacts()
    nodes = {node.name: node for node in metagraph.graph_def.node}
    inputs = _collection_shapes(metagraph, nodes, "inputs")
    states = _collection_shapes(metagraph, nodes, "initial_state")
    # Magenta's collection of softmaxes is empty where there are several heads.
    softmaxes = [_shape(node) for name, node in nodes.items() if _SOFTMAX_NAME.fullmatch(name)]
    return GraphFacts(
        input_width=inputs[0][2] if inputs and len(inputs[0]) == 3 else None,
        state_size=sum(shape[1] for shape in states) if _are_matrices(states) else None,
        head_sizes=tuple(shape[1] for shape in softmaxes) if _are_matrices(softmaxes) else (),
        tensorflow_version=metagraph.meta_info_def.tensorflow_version,
    )


def _collection_shapes(metagraph: Any, nodes: Mapping[str, Any], key: str) -> list[list[int]]:
    if key not in metagraph.collection_def:  # Looking it up would create it.
        return []
    names = metagraph.collection_def[key].node_list.value
    return [_shape(nodes.get(name.removesuffix(":0"))) for name in names]


def _shape(node: Any) -> list[int]:
    """Returns the shape of a node's first output, -1 for an unknown axis; [] if it has none."""
    if node is None or "_output_shapes" not in node.attr:
        return []
    shapes = node.attr["_output_shapes"].list.shape
    return [axis.size for axis in shapes[0].dim] if shapes else []


def _are_matrices(shapes: Sequence[Sequence[int]]) -> bool:
    return bool(shapes) and all(len(shape) == 2 and shape[1] > 0 for shape in shapes)


def write_metagraph(bundle: Bundle) -> bytes:
    """Returns a serialised MetaGraphDef of the network that Magenta 2.1.4 and TensorFlow 1 can run.

    Its collections are `inputs` [1, time, input_size], `temperature` [], `softmax` [1, time,
    classes] of each head, and `initial_state` and `final_state`: of each layer cell and hidden
    state [1, u], and, with attention, the context [1, u] and the last outputs [1, length * u].
    Where a bundle has `index_input`, its `inputs` take indices [1, time, 1] or vectors, since
    Magenta's tool gives the latter to any bundle of that id.
    """
    import tensorflow as tf

    tf1 = tf.compat.v1
    with tf1.Graph().as_default() as graph, _control_flow_of_tensorflow_1(tf1):
        weights = {
            name: tf1.get_variable(
                name, value.shape, tf.float32, tf1.zeros_initializer(), use_resource=False
            )
            for name, value in variables_from_weights(bundle).items()
        }
        inputs, vectors = _inputs(tf, bundle)
        states = [_zeros(tf, layer) for layer in bundle.layers]
        outputs, new_states = _run_layers(tf, bundle, weights, vectors, states)
        logits = _project(tf, weights, OUTPUT_NAMES, outputs)
        temperature = tf1.placeholder(tf.float32, [], "temperature")
        softmaxes = []
        for n, head in enumerate(tf.split(logits, bundle.head_sizes, axis=1)):
            softmax = tf.nn.softmax(head / temperature, name=f"Softmax_{n}")
            softmaxes.append(tf.reshape(softmax, [_BATCH_SIZE, -1, bundle.head_sizes[n]]))
        collections = {
            "inputs": [inputs],
            "temperature": [temperature],
            "softmax": softmaxes,
            "initial_state": [state for layer in states for state in layer],
            "final_state": [state for layer in new_states for state in layer],
        }
        for name, tensors in collections.items():
            for tensor in tensors:
                graph.add_to_collection(name, tensor)
        saver = tf1.train.Saver(write_version=tf1.train.SaverDef.V1)
        # TensorFlow's own collections are left out: training would need those of the loop, which
        # differ from process to process.
        metagraph = saver.export_meta_graph(
            collection_list=[*collections, tf1.GraphKeys.GLOBAL_VARIABLES],
            strip_default_attrs=True,
        )
    data: bytes = metagraph.SerializeToString(deterministic=True)
    return data


@contextlib.contextmanager
def _control_flow_of_tensorflow_1(tf1: Any) -> Iterator[None]:
    """Within this context, loops are made of the operations that any TensorFlow 1 or 2 can run."""
    was_enabled = tf1.control_flow_v2_enabled()
    tf1.disable_control_flow_v2()
    try:
        yield
    finally:
        if was_enabled:
            tf1.enable_control_flow_v2()


def _inputs(tf: Any, bundle: Bundle) -> tuple[Any, Any]:
    """Returns the placeholder and the vectors [1, time, input_size] made of it."""
    tf1, depth = tf.compat.v1, bundle.input_size
    if not bundle.index_input:
        inputs = tf1.placeholder(tf.float32, [_BATCH_SIZE, None, depth], "inputs")
        return inputs, inputs
    inputs = tf1.placeholder(tf.float32, [_BATCH_SIZE, None, None], "inputs")
    vectors = tf1.cond(
        tf.equal(tf.shape(inputs)[2], 1),
        lambda: tf.one_hot(tf.cast(tf.squeeze(inputs, [2]), tf.int64), depth),
        lambda: inputs,
    )
    vectors.set_shape([_BATCH_SIZE, None, depth])
    return inputs, vectors


def _zeros(tf: Any, layer: LstmLayer) -> list[Any]:
    """Returns a layer's initial states: cell, hidden, and those of its attention."""
    sizes = [layer.units] * 2
    if layer.attention:
        sizes += [layer.units, layer.attention.length * layer.units]
    return [tf.zeros([_BATCH_SIZE, size]) for size in sizes]


def _run_layers(
    tf: Any, bundle: Bundle, weights: Mapping[str, Any], vectors: Any, states: list[list[Any]]
) -> tuple[Any, list[list[Any]]]:
    """Returns the last layer's outputs [time, u] and the states after the last step."""
    tf1 = tf.compat.v1
    time = tf.shape(vectors)[1]
    steps = tf1.TensorArray(tf.float32, time).unstack(tf.transpose(vectors, [1, 0, 2]))

    def step(t: Any, states: list[list[Any]], outputs: Any) -> tuple[Any, Any, Any]:
        x = steps.read(t)
        x.set_shape([_BATCH_SIZE, bundle.input_size])
        new_states = []
        for n, layer in enumerate(bundle.layers):
            x, state = _run_layer(tf, n, layer, weights, x, states[n])
            new_states.append(state)
        return t + 1, new_states, outputs.write(t, x)

    _, new_states, outputs = tf1.while_loop(
        lambda t, *_: t < time,
        step,
        (tf.constant(0), states, tf1.TensorArray(tf.float32, time)),
    )
    return tf.reshape(outputs.stack(), [-1, bundle.layers[-1].units]), new_states


def _run_layer(
    tf: Any, index: int, layer: LstmLayer, weights: Mapping[str, Any], x: Any, states: list[Any]
) -> tuple[Any, list[Any]]:
    """Runs one step of a layer; takes and returns what `_zeros` lists."""
    names = written_names(index, layer)
    if names.input_projection:
        x = _project(tf, weights, names.input_projection, x)
    cell, hidden, *attention_states = states
    inner = x
    if names.attention:
        inner = _project(tf, weights, names.attention.input, x, attention_states[0])
    i, g, f, o = tf.split(_project(tf, weights, names.cell, inner, hidden), 4, axis=1)
    cell = cell * tf.sigmoid(f + names.forget_bias) + tf.sigmoid(i) * tf.tanh(g)
    output = hidden = tf.tanh(cell) * tf.sigmoid(o)
    if names.attention:
        units, length = layer.units, attention_states[1].shape[1] // layer.units
        memory = tf.reshape(attention_states[1], [-1, units])
        keys = tf.matmul(memory, tf.reshape(weights[names.attention.memory], [units, units]))
        query = _project(tf, weights, names.attention.query, cell, hidden)
        scores = tf.tanh(tf.reshape(keys, [_BATCH_SIZE, length, units]) + query[:, tf.newaxis])
        scores = tf.reduce_sum(scores * weights[names.attention.score], axis=2)
        shares = tf.nn.softmax(scores)[:, :, tf.newaxis]
        memory = tf.reshape(memory, [_BATCH_SIZE, length, units])
        context = tf.reduce_sum(shares * memory, axis=1)
        output = _project(tf, weights, names.attention.output, hidden, context)
        memory = tf.concat([attention_states[1][:, units:], output], axis=1)
        attention_states = [context, memory]
    if layer.residual:
        output += x
    return output, [cell, hidden, *attention_states]


def _project(tf: Any, weights: Mapping[str, Any], names: ProjectionNames, *inputs: Any) -> Any:
    joined = tf.concat(inputs, axis=1) if len(inputs) > 1 else inputs[0]
    return tf.nn.bias_add(tf.matmul(joined, weights[names.kernel]), weights[names.bias])
