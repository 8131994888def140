"""The network: stacked LSTM layers from event indices to the logits of the next event."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from bundles import Bundle, LstmLayer
from perf_rnn.configs import PerformanceRnnConfig
from perf_rnn.lstm import LSTM


def build_network(
    num_classes: int,
    layer_sizes: Sequence[int],
    dropout_keep_prob: float = 1.0,
    products: str = "float32",
) -> keras.Model:
    """Builds the Performance RNN.

    The model takes `[events, states]` and returns `[logits, states]`: `events` int32
    [batch, time], `logits` float32 [batch, time, num_classes] for the event after each, `states`
    the list hidden_0, cell_0, hidden_1, ... of float32 [batch, units], after the last step where
    returned. Whether state is carried is up to the caller, see `zero_states`.

    Args:
      num_classes: event classes.
      layer_sizes: units of each LSTM layer, from the input up.
      dropout_keep_prob: share of each layer's outputs kept while training.
      products: Keras dtype policy of the matrix products, `float32` or `mixed_bfloat16`.
    """
    events = keras.Input((None,), dtype="int32", name="events")
    states, new_states = [], []
    x = events
    for n, units in enumerate(layer_sizes):
        state = [keras.Input((units,), name=f"{part}_{n}") for part in ("hidden", "cell")]
        layer = LSTM(units, None if n else num_classes, products, name=f"lstm_{n}")
        x, *new_state = layer(x, *state)
        if dropout_keep_prob < 1:
            x = keras.layers.Dropout(1 - dropout_keep_prob, name=f"dropout_{n}")(x)
        states += state
        new_states += new_state
    logits = keras.layers.Dense(num_classes, dtype=products, name="logits")(x)
    logits = keras.layers.Activation("linear", name="logits_float32")(logits)
    return keras.Model([events, states], [logits, new_states], name="performance_rnn")


def fast_products() -> str:
    """Returns the dtype policy in which this machine takes matrix products fastest.

    That is `mixed_bfloat16` where the processor has instructions for it, else `float32`.
    """
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
        fast = all(detail.get("compute_capability", (0, 0)) >= (8, 0) for detail in details)
    elif tf.config.list_logical_devices("TPU"):
        fast = True
    else:
        fast = any(name in _cpu_features() for name in ("avx512_bf16", "amx_bf16"))
    return "mixed_bfloat16" if fast else "float32"


def _cpu_features() -> set[str]:
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            return set(file.read().split())
    except FileNotFoundError:  # Only Linux has it.
        return set()


def layer_sizes(network: keras.Model) -> list[int]:
    """Returns the units of each LSTM layer of `network`, from the input up."""
    return [layer.units for layer in network.layers if isinstance(layer, LSTM)]


def zero_states(layer_sizes: Sequence[int], batch_size: int) -> list[np.ndarray]:
    """Returns the states at the beginning of a performance, in the network's order."""
    return [np.zeros((batch_size, units), np.float32) for units in layer_sizes for _ in range(2)]


def bundle_weights(bundle: Bundle) -> list[np.ndarray]:
    """Returns a bundle's weights in the order of `keras.Model.get_weights`."""
    layers = [(layer.kernel, layer.recurrent_kernel, layer.keras_bias) for layer in bundle.layers]
    return [*(w for layer in layers for w in layer), bundle.output_kernel, bundle.output_bias]


def bundle_from_network(
    network: keras.Model,
    config: PerformanceRnnConfig,
    bundle_description: str = "",
    extra: Mapping[str, Any] | None = None,
) -> Bundle:
    """Returns the bundle that holds `network`'s weights.

    Args:
      network: what `build_network` made.
      config: the config it was trained under.
      bundle_description: what its reader should know.
      extra: facts that ride along, JSON-able.
    """
    *layers, output_kernel, output_bias = network.get_weights()
    return Bundle(
        id=config.id,
        description=config.description,
        bundle_description=bundle_description,
        layers=tuple(
            LstmLayer(kernel, recurrent_kernel, bias, forget_bias=0.0)
            for kernel, recurrent_kernel, bias in zip(*[iter(layers)] * 3, strict=True)
        ),
        output_kernel=output_kernel,
        output_bias=output_bias,
        extra=dict(extra or {}),
    )
