"""The network: a stack of LSTM layers from events and controls to the logits of the next event."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

import perf_rnn
from bundles import Attention, Bundle, LstmLayer, Projection
from perf_rnn.configs import PerformanceRnnConfig
from perf_rnn.hparams import HParams
from perf_rnn.models import Model
from perf_rnn.network.attention import AttentionLSTM
from perf_rnn.network.event_input import EventInput
from perf_rnn.network.layers import LSTM, InputProjection


def build_network(
    config: PerformanceRnnConfig, hparams: HParams, dtype_policy: str = "float32"
) -> keras.Model:
    """Builds a Performance RNN.

    The model takes `[events, controls, states]` and returns `[logits, states]`: `events` int32
    [batch, time, *event_shape]; `controls` float32 [batch, time, control_size], those of the event
    after each; `logits` float32 [batch, time, num_classes] for the event after each, the heads side
    by side; `states` a list of float32 [batch, n], before the first step and after the last. At
    the beginning of a performance these are `zero_states`.

    States are in order hidden_0, cell_0, hidden_1, ...; where the first layer has attention, its
    context and memory follow cell_0, see `AttentionLSTM`.

    The stack is that of Magenta 2.1.4: only the first layer has attention; with residual
    connections a layer's input, projected where it is not as wide, is added to its output.

    Args:
      config: what the network reads and predicts.
      hparams: the stack: `rnn_layer_sizes`, `attn_length`, `residual_connections` and
        `dropout_keep_prob`, the share of each layer's outputs kept while training.
      dtype_policy: Keras dtype policy of the matrix products, `float32` or `mixed_bfloat16`.
    """
    events = keras.Input((None, *config.encoding.event_shape), dtype="int32", name="events")
    controls = keras.Input((None, config.control_size), name="controls")
    states, new_states = [], []
    x: Any = [events, controls]
    event_input: EventInput | None = EventInput.of(config)
    width = None
    for n, units in enumerate(hparams.rnn_layer_sizes):
        if hparams.residual_connections and units != width:
            x = InputProjection(units, event_input, dtype_policy, name=f"input_projection_{n}")(x)
            event_input = None
        layer: Any
        if hparams.attn_length and n == 0:
            layer = AttentionLSTM(
                units, hparams.attn_length, event_input, dtype_policy, name=f"lstm_{n}"
            )
        else:
            layer = LSTM(units, event_input, dtype_policy, name=f"lstm_{n}")
        state = [keras.Input((size,), name=f"{part}_{n}") for part, size in layer.state_sizes]
        y, *new_state = layer(x, *state)
        if hparams.residual_connections:
            y = keras.layers.Add(name=f"residual_{n}")([x, y])
        if hparams.dropout_keep_prob < 1:
            y = keras.layers.Dropout(1 - hparams.dropout_keep_prob, name=f"dropout_{n}")(y)
        x, event_input, width = y, None, units
        states += state
        new_states += new_state
    logits = keras.layers.Dense(config.num_classes, dtype=dtype_policy, name="logits")(x)
    logits = keras.layers.Activation("linear", dtype="float32", name="logits_float32")(logits)
    return keras.Model([events, controls, states], [logits, new_states], name="performance_rnn")


def zero_states(network: keras.Model, batch_size: int) -> list[np.ndarray]:
    """Returns the states at the beginning of a performance, in the network's order."""
    *_, states = network.input
    return [np.zeros((batch_size, state.shape[1]), np.float32) for state in states]


def network_from_model(model: Model, dtype_policy: str = "float32") -> keras.Model:
    """Returns a model's network; `dtype_policy` as in `build_network`."""
    bundle = model.bundle
    hparams = HParams(
        rnn_layer_sizes=tuple(bundle.layer_sizes),
        attn_length=bundle.attn_length,
        residual_connections=bundle.residual_connections,
    )
    network = build_network(model.config, hparams, dtype_policy)
    load_bundle(network, bundle)
    return network


def load_bundle(network: keras.Model, bundle: Bundle) -> None:
    """Sets the weights of `network`, of the same stack, to those of `bundle`."""
    for n, layer in enumerate(bundle.layers):
        if layer.input_projection:
            projection = layer.input_projection
            network.get_layer(f"input_projection_{n}").set_weights(
                [projection.kernel, projection.bias]
            )
        network.get_layer(f"lstm_{n}").set_weights(_lstm_weights(layer))
    network.get_layer("logits").set_weights([bundle.output_kernel, bundle.output_bias])


def _lstm_weights(layer: LstmLayer) -> list[np.ndarray]:
    """Returns the weights in the order of `LSTM` or `AttentionLSTM`."""
    lstm = [layer.kernel, layer.recurrent_kernel, layer.keras_bias]
    attention = layer.attention
    if not attention:
        return lstm
    input_kernel, context_kernel = np.split(attention.input.kernel, [len(layer.kernel)])
    return [
        input_kernel,
        attention.input.bias,
        context_kernel,
        *lstm,
        attention.query.kernel,
        attention.query.bias,
        attention.memory,
        attention.score,
        attention.output.kernel,
        attention.output.bias,
    ]


def bundle_from_network(
    network: keras.Model,
    config: PerformanceRnnConfig,
    bundle_description: str = "",
    extra: Mapping[str, Any] | None = None,
) -> Bundle:
    """Returns the bundle of `network`'s weights.

    Args:
      network: from `build_network`.
      config: the config it was trained under.
      bundle_description: text for users of the bundle.
      extra: metadata, JSON-able; the library's version is added.
    """
    layers = {layer.name: layer for layer in network.layers}
    count = sum(name.startswith("lstm_") for name in layers)
    output_kernel, output_bias = layers["logits"].get_weights()
    return Bundle(
        id=config.id,
        description=config.description,
        bundle_description=bundle_description,
        layers=tuple(_bundle_layer(layers, n) for n in range(count)),
        output_kernel=output_kernel,
        output_bias=output_bias,
        extra={"perf_rnn_version": perf_rnn.__version__, **(extra or {})},
        head_sizes=config.encoding.head_sizes,
        index_input=config.encoding.index_input,
    )


def _bundle_layer(layers: Mapping[str, keras.layers.Layer], n: int) -> LstmLayer:
    layer = layers[f"lstm_{n}"]
    weights = layer.get_weights()
    attention = projection = None
    if isinstance(layer, AttentionLSTM):
        input_kernel, input_bias, context_kernel, *weights = weights
        *weights, query_kernel, query_bias, memory, score, output_kernel, output_bias = weights
        attention = Attention(
            length=layer.attn_length,
            input=Projection(np.concatenate([input_kernel, context_kernel]), input_bias),
            query=Projection(query_kernel, query_bias),
            memory=memory,
            score=score,
            output=Projection(output_kernel, output_bias),
        )
    if f"input_projection_{n}" in layers:
        projection = Projection(*layers[f"input_projection_{n}"].get_weights())
    kernel, recurrent_kernel, bias = weights
    return LstmLayer(
        kernel,
        recurrent_kernel,
        bias,
        forget_bias=0.0,
        attention=attention,
        residual=f"residual_{n}" in layers,
        input_projection=projection,
    )
