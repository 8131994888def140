"""The peers of `benchmarks.train`: 3 layers of 512 units, 388 classes, Adam.

Gradients are clipped for each variable. Names end with the precision of matrix products, such as
`perf_rnn_bfloat16`. The events are random: what is measured does not depend on them.
"""

from __future__ import annotations

import functools
import os
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import race
from benchmarks.generate_peers import CLASSES, LAYERS, UNITS, WEIGHTS

CLIP_NORM, LEARNING_RATE = 3.0, 0.001
# Forward once, backward twice: for the layer's inputs and for its weights.
OPERATIONS = 3 * 2 * WEIGHTS


def random_events(batch: int, window: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, CLASSES, [batch, window + 1])


def _measuring(make: Callable[[int, int], Callable[[], int]]) -> Callable[..., race.Result]:
    """Returns what measures steps; the network is built and compiled for the first one."""
    steps = functools.cache(make)

    def measure(batch: int, window: int, seconds: float) -> race.Result:
        if not steps.cache_info().currsize:
            steps(batch, window)()
        return race.timed(steps(batch, window), seconds)

    return measure


def perf_rnn(products: str) -> Callable[..., Any]:
    """The library's trainer, batches included."""
    from perf_rnn.configs import get_config
    from perf_rnn.data.examples import EventSequence
    from perf_rnn.hparams import HParams
    from perf_rnn.training.run_dir import RunSettings
    from perf_rnn.training.trainer import Trainer

    config = get_config("performance_with_dynamics")
    policy = {"float32": "float32", "bfloat16": "mixed_bfloat16"}[products]

    def make(batch: int, window: int) -> Callable[[], int]:
        segments = [
            EventSequence.from_events(events.astype(np.int32), config)
            for events in random_events(batch, window)
        ]
        settings = RunSettings(config.key, HParams(batch_size=batch), window, True, seed=0)
        with tempfile.TemporaryDirectory() as directory:
            trainer = Trainer(segments, settings, directory, dtype_policy=policy)

        def take() -> int:
            trainer.train_batch(next(trainer.batches))
            return batch * window

        return take

    return _measuring(make)


def keras(products: str) -> Callable[..., Any]:
    """Layers of keras.layers.LSTM, the whole step compiled."""
    import keras
    import tensorflow as tf

    policy = {"float32": "float32", "bfloat16": "mixed_bfloat16"}[products]

    def make(batch: int, window: int) -> Callable[[], int]:
        layers = [
            keras.layers.LSTM(UNITS, return_sequences=True, dtype=policy) for _ in range(LAYERS)
        ]
        network = keras.Sequential(
            [keras.Input((window, CLASSES)), *layers, keras.layers.Dense(CLASSES, dtype=policy)]
        )
        optimizer = keras.optimizers.Adam(LEARNING_RATE, clipnorm=CLIP_NORM)
        optimizer.build(network.trainable_variables)

        @tf.function
        def step(events: Any) -> Any:
            with tf.GradientTape() as tape:
                logits = network(tf.one_hot(events[:, :-1], CLASSES), training=True)
                losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
                    events[:, 1:], tf.cast(logits, tf.float32)
                )
                loss = tf.reduce_mean(losses)
            gradients = tape.gradient(loss, network.trainable_variables)
            optimizer.apply(gradients, network.trainable_variables)
            return loss

        events = tf.constant(random_events(batch, window))

        def take() -> int:
            step(events).numpy()
            return batch * window

        return take

    return _measuring(make)


def torch(products: str) -> Callable[..., Any]:
    """torch.nn.LSTM, under autocast for bfloat16."""
    import torch

    lstm = torch.nn.LSTM(CLASSES, UNITS, LAYERS, batch_first=True)
    dense = torch.nn.Linear(UNITS, CLASSES)
    weights = [*lstm.parameters(), *dense.parameters()]
    optimizer = torch.optim.Adam(weights, LEARNING_RATE)

    def make(batch: int, window: int) -> Callable[[], int]:
        events = torch.from_numpy(random_events(batch, window))

        def take() -> int:
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=products == "bfloat16"):
                x = torch.nn.functional.one_hot(events[:, :-1], CLASSES).float()
                logits = dense(lstm(x)[0])
            loss = torch.nn.functional.cross_entropy(
                logits.float().reshape(-1, CLASSES), events[:, 1:].reshape(-1)
            )
            loss.backward()
            for weight in weights:
                torch.nn.utils.clip_grad_norm_([weight], CLIP_NORM)
            optimizer.step()
            loss.item()
            return batch * window

        return take

    return _measuring(make)


def magenta(products: str) -> Callable[..., Any]:
    """Magenta's training graph with its own input of records."""
    assert products == "float32"
    import tensorflow as tf
    from tensorflow.python.framework import ops

    ops.IndexedSlices = tf.IndexedSlices  # tf_slim expects it there.
    from magenta.models.performance_rnn import performance_model
    from magenta.models.shared import events_rnn_graph

    def make(batch: int, window: int) -> Callable[[], int]:
        path = os.path.join(tempfile.mkdtemp(), "examples.tfrecord")
        with tf.io.TFRecordWriter(path) as writer:
            for events in random_events(2 * batch, window):
                writer.write(_dense_example(events).SerializeToString())
        config = performance_model.default_configs["performance_with_dynamics"]
        config.hparams.batch_size = batch
        with tf.Graph().as_default():
            events_rnn_graph.get_build_graph_fn("train", config, [path])()
            train_op = tf.compat.v1.get_collection("train_op")[0]
            session = tf.compat.v1.train.MonitoredTrainingSession()

        def take() -> int:
            session.run(train_op)
            return batch * window

        return take

    return _measuring(make)


def _dense_example(events: np.ndarray) -> Any:
    import tensorflow as tf

    inputs = [
        tf.train.Feature(float_list=tf.train.FloatList(value=np.eye(CLASSES)[event]))
        for event in events[:-1]
    ]
    labels = [
        tf.train.Feature(int64_list=tf.train.Int64List(value=[event])) for event in events[1:]
    ]
    return tf.train.SequenceExample(
        feature_lists=tf.train.FeatureLists(
            feature_list={
                "inputs": tf.train.FeatureList(feature=inputs),
                "labels": tf.train.FeatureList(feature=labels),
            }
        )
    )


def limits(_: str) -> Callable[..., Any]:
    """GFLOP/s of large products: the wall clock's best, all threads."""
    from benchmarks.generate_peers import limits

    return limits()


if __name__ == "__main__":
    name, _, products = sys.argv[1].rpartition("_")
    peers = (perf_rnn, keras, torch, magenta, limits)
    race.serve(lambda: {peer.__name__: peer for peer in peers}[name](products))
