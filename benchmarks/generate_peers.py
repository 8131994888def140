"""The peers of `benchmarks.generate`: events of 3 layers of 512 units, 388 classes.

Weights are random: what is measured does not depend on them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import race

LAYERS, UNITS, CLASSES = 3, 512, 388
# Weights read for an event: the first layer's product with a one-hot vector is a look-up.
WEIGHTS = UNITS * 4 * UNITS * (2 * LAYERS - 1) + UNITS * CLASSES


def random_weights() -> tuple[list[tuple[np.ndarray, np.ndarray, np.ndarray]], np.ndarray]:
    """Returns kernel, recurrent kernel and bias of each layer, and the output kernel."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) / 20).astype(np.float32)

    layers = [
        (normal(UNITS if n else CLASSES, 4 * UNITS), normal(UNITS, 4 * UNITS), normal(4 * UNITS))
        for n in range(LAYERS)
    ]
    return layers, normal(UNITS, CLASSES)


def perf_rnn() -> Callable[..., Any]:
    """The library's sampler with everything it does by default."""
    import bundles
    from perf_rnn.configs import get_config
    from perf_rnn.generation import sampler as sampling
    from perf_rnn.generation.cpu import worker_threads
    from perf_rnn.generation.openings import Opening
    from perf_rnn.models import Model

    config = get_config("performance_with_dynamics")
    layers, output_kernel = random_weights()
    network = bundles.Bundle(
        id=config.id,
        description="",
        bundle_description="",
        layers=tuple(bundles.LstmLayer(*layer, forget_bias=0.0) for layer in layers),
        output_kernel=output_kernel,
        output_bias=np.zeros(CLASSES, np.float32),
    )
    model = Model(network, config)
    opening = Opening(np.array([config.codec.default_label], np.int32))

    def measure(batch: int, seconds: float, after: int = 0) -> race.Result:
        sampler = sampling.Sampler(model, opening, range(batch))

        def take() -> int:
            for _ in range(8):
                sampler.step()
            return 8 * batch

        with worker_threads.all_cores():
            take()
            for _ in range(after):
                sampler.step()
            return race.timed(take, seconds)

    return measure


def numpy() -> Callable[..., Any]:
    """The shortest loop that does it: no rules, no options, nothing reproducible."""
    layers, output_kernel = random_weights()
    rng = np.random.default_rng(0)

    def sigmoid(x: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-x))

    def measure(batch: int, seconds: float) -> race.Result:
        states = [[np.zeros((batch, UNITS), np.float32)] * 2 for _ in layers]
        stacked = [np.concatenate(layer[:2]) for layer in layers]
        events = np.full(batch, 355)

        def take() -> int:
            nonlocal events
            x = np.empty(0)
            for n, (kernel, recurrent_kernel, bias) in enumerate(layers):
                hidden, cell = states[n]
                if n:
                    gates = np.concatenate([x, hidden], axis=1) @ stacked[n] + bias
                else:
                    gates = kernel[events] + hidden @ recurrent_kernel + bias
                i, f, g, o = np.split(gates, 4, axis=1)
                cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
                x = sigmoid(o) * np.tanh(cell)
                states[n] = [x, cell]
            weights = np.exp(x @ output_kernel).cumsum(axis=1)
            events = (weights > rng.random((batch, 1)) * weights[:, -1:]).argmax(axis=1)
            return batch

        take()
        return race.timed(take, seconds)

    return measure


def keras() -> Callable[..., Any]:
    """Layers of keras.layers.LSTM, one event at a time in a compiled function."""
    import keras
    import tensorflow as tf

    events = keras.Input((1, CLASSES))
    inputs, outputs, x = [], [], events
    for _ in range(LAYERS):
        state = [keras.Input((UNITS,)), keras.Input((UNITS,))]
        x, *new_state = keras.layers.LSTM(UNITS, return_sequences=True, return_state=True)(
            x, initial_state=state
        )
        inputs += state
        outputs += new_state
    network = keras.Model([events, *inputs], [keras.layers.Dense(CLASSES)(x), *outputs])

    @tf.function
    def step(events: Any, states: Any) -> Any:
        logits, *states = network([tf.one_hot(events, CLASSES)[:, tf.newaxis], *states])
        return tf.random.categorical(logits[:, 0], 1)[:, 0], states

    def measure(batch: int, seconds: float) -> race.Result:
        events = tf.fill([batch], tf.constant(355, tf.int64))
        states = [tf.zeros([batch, UNITS]) for _ in inputs]

        def take() -> int:
            nonlocal events, states
            events, states = step(events, states)
            events.numpy()
            return batch

        take()
        return race.timed(take, seconds)

    return measure


def torch() -> Callable[..., Any]:
    """torch.nn.LSTM, one event at a time."""
    import torch

    lstm = torch.nn.LSTM(CLASSES, UNITS, LAYERS, batch_first=True)
    dense = torch.nn.Linear(UNITS, CLASSES)

    def measure(batch: int, seconds: float) -> race.Result:
        events = torch.full((batch,), 355)
        state = tuple(torch.zeros(LAYERS, batch, UNITS) for _ in range(2))

        def take() -> int:
            nonlocal events, state
            x = torch.nn.functional.one_hot(events, CLASSES).float()[:, None]
            x, state = lstm(x, state)
            events = torch.multinomial(torch.softmax(dense(x[:, 0]), 1), 1)[:, 0]
            return batch

        with torch.inference_mode():
            take()
            return race.timed(take, seconds)

    return measure


def magenta() -> Callable[..., Any]:
    """Magenta's model, which plays one piece at a time."""
    import tensorflow as tf
    from tensorflow.python.framework import ops

    ops.IndexedSlices = tf.IndexedSlices  # tf_slim expects it there.
    import note_seq
    from magenta.models.performance_rnn import performance_model
    from magenta.models.shared import events_rnn_graph

    config = performance_model.default_configs["performance_with_dynamics"]
    config.hparams.batch_size = 1
    model = performance_model.PerformanceRnnModel(config)
    with tf.Graph().as_default():
        events_rnn_graph.get_build_graph_fn("generate", config)()
        model._session = tf.compat.v1.Session()
        model._session.run(tf.compat.v1.global_variables_initializer())
    primer = note_seq.Performance(steps_per_second=100, num_velocity_bins=32)
    primer.append(note_seq.PerformanceEvent(note_seq.PerformanceEvent.TIME_SHIFT, 100))

    def measure(batch: int, seconds: float) -> race.Result:
        assert batch == 1

        def take() -> int:
            return len(model.generate_performance(51, primer)) - 1

        take()
        return race.timed(take, seconds)

    return measure


def limits() -> Callable[..., Any]:
    """What the machine can do: GB/s of weights read, GFLOP/s of large products.

    The best of several; where one thread does it by its processor time, which other programs do
    not count in, and where all do by the wall clock, which is right on an idle machine only.
    """
    import tensorflow as tf
    import threadpoolctl

    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((WEIGHTS // 2048, 2048), np.float32)
    vector = rng.standard_normal((1, WEIGHTS // 2048), np.float32)
    large = rng.standard_normal((1 << 14, 1 << 12), np.float32)
    long = rng.standard_normal((1, 1 << 14), np.float32)
    square = rng.standard_normal((2048, 2048), np.float32)
    squares = {name: tf.cast(square, name) for name in ("float32", "bfloat16")}

    def fastest(run: Callable[[], Any], times: int, clock: Callable[[], float]) -> float:
        best = np.inf
        for _ in range(times):
            start = clock()
            run()
            best = min(best, clock() - start)
        return best

    def measure() -> dict[str, float]:
        figures = {}
        for threads in (1, None):
            of = "one thread" if threads else "all threads"
            clock = time.thread_time if threads else time.perf_counter
            with threadpoolctl.threadpool_limits(threads, "blas"):
                for name, a, b in (("weights", vector, matrix), ("memory", long, large)):
                    seconds = fastest(lambda a=a, b=b: a @ b, 20, clock)
                    figures[f"GB/s of {name}, {of}"] = b.nbytes / seconds / 1e9
                seconds = fastest(lambda: square @ square, 5, clock)
                figures[f"GFLOP/s float32, {of}"] = 2 * 2048**3 / seconds / 1e9
        for name, value in squares.items():
            seconds = fastest(
                lambda value=value: tf.matmul(value, value).numpy(), 5, time.perf_counter
            )
            figures[f"GFLOP/s {name}, TensorFlow, all threads"] = 2 * 2048**3 / seconds / 1e9
        return figures

    return measure


if __name__ == "__main__":
    peers = (perf_rnn, numpy, keras, torch, magenta, limits)
    race.serve({peer.__name__: peer for peer in peers}[sys.argv[1]])
