"""Bundles in the formats of other tools: Keras's and TensorFlow's."""

import os
from typing import Any

import keras
from absl import logging

from bundles.atomic_files import atomic_path
from bundles.errors import PerfRnnError
from perf_rnn.models import Model
from perf_rnn.network.network import network_from_model


def save_keras_model(path: str | os.PathLike[str], model: Model) -> None:
    """Writes what `perf_rnn.network.build_network` describes as a `.keras` file.

    `keras.models.load_model` reads it once `perf_rnn.network.network` has been imported.

    Raises:
      ValueError: the name does not end in `.keras`.
      OSError: the file cannot be written.
    """
    if not os.fspath(path).endswith(".keras"):
        raise PerfRnnError(f"{path}: the name of a Keras file must end in .keras")
    network = network_from_model(model)
    with atomic_path(path) as temporary:
        network.save(temporary)


def save_saved_model(directory: str | os.PathLike[str], model: Model) -> None:
    """Writes a SavedModel whose one signature, `serving_default`, is one step of the network.

    It takes `events`, int32 [batch, *event_shape]; `controls`, float32 [batch, control_size], of
    the event to come, unless the config has none; and the states, float32 [batch, n], zeros at the
    beginning: `hidden_0`, `cell_0`, with attention `context_0` and `memory_0`, `hidden_1` and so
    on. It gives `logits` and `probabilities` of the event to come, float32 [batch, num_classes],
    the heads side by side, and the new states by the same names.

    Raises:
      ValueError: Keras runs on another backend.
      OSError: a directory of that name holds something, or cannot be written.
    """
    if keras.backend.backend() != "tensorflow":
        raise PerfRnnError(
            f"a SavedModel is made with Keras on TensorFlow, but it runs on "
            f"{keras.backend.backend()}; set KERAS_BACKEND=tensorflow"
        )
    import tensorflow as tf

    network = network_from_model(model)
    names = [state.name for state in network.input[-1]]

    def step(inputs: dict[str, Any]) -> dict[str, Any]:
        events = inputs["events"]
        controls = inputs.get("controls", tf.zeros([tf.shape(events)[0], 0]))
        states = [inputs[name] for name in names]
        logits, new_states = network([events[:, tf.newaxis], controls[:, tf.newaxis], states])
        logits = logits[:, 0]
        heads = tf.split(logits, model.bundle.head_sizes, axis=1)
        return {
            "logits": logits,
            "probabilities": tf.concat([tf.nn.softmax(head) for head in heads], axis=1),
            **dict(zip(names, new_states, strict=True)),
        }

    config = model.config
    event_shape = config.encoding.event_shape
    signature = {"events": tf.TensorSpec([None, *event_shape], tf.int32, "events")}
    if config.control_size:
        signature["controls"] = tf.TensorSpec([None, config.control_size], tf.float32, "controls")
    for state in network.input[-1]:
        signature[state.name] = tf.TensorSpec([None, state.shape[1]], tf.float32, state.name)
    module = tf.Module()
    module.network = network
    module.step = tf.function(step, input_signature=[signature])
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    signatures = {"serving_default": module.step}
    verbosity = logging.get_verbosity()
    # At INFO TensorFlow names files in the temporary directory.
    logging.set_verbosity(min(verbosity, logging.WARNING))
    try:
        with atomic_path(directory) as temporary:
            tf.saved_model.save(module, os.fspath(temporary), signatures, options)
    finally:
        logging.set_verbosity(verbosity)
