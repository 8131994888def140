"""The choice between Keras's LSTM and computations of our own."""

from types import ModuleType

import keras


def module() -> ModuleType | None:
    """Returns the module that computes the LSTM with this backend on this machine.

    It has `time_first`, `look_up` and `lstm_recurrence`. None stands for `keras.layers.LSTM`, which
    on TensorFlow uses cuDNN on a GPU. JAX's cuDNN LSTM computes in float32 alone, and is part of
    `jax.experimental`; the scan takes products in bfloat16 on any device.
    """
    name = keras.backend.backend()
    if name == "tensorflow":
        import tensorflow as tf

        from perf_rnn.network import tensorflow_cpu

        has_accelerator = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices(
            "TPU"
        )
        return None if has_accelerator else tensorflow_cpu
    if name == "jax":
        from perf_rnn.network import jax_scan

        return jax_scan
    return None
