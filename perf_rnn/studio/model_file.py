"""The model file: a network in a form that the studio's page reads without knowing encodings.

It is `MAGIC`, the length of a JSON header as a little-endian uint32, the header, and arrays in C
order, little-endian, whose places the header gives as offsets from the first multiple of 16 bytes
after it. The header describes the network and what its classes mean.
"""

import json
import re
from typing import Any, TypeAlias

import numpy as np

from bundles import Attention, LstmLayer, Projection
from bundles.errors import PerfRnnError
from perf_rnn.configs import PerformanceRnnConfig
from perf_rnn.events.codec import STEPS_PER_SECOND
from perf_rnn.events.note_events import DURATION_HEADS, SHIFT_HEADS
from perf_rnn.events.one_hot import EventCodec
from perf_rnn.generation.control_schedule import ControlSchedule
from perf_rnn.generation.cpu.step_network import split_off_events
from perf_rnn.models import Model

MAGIC = b"PerfRNN\x01"  # The last byte is the version.
WEIGHTS = ("float16", "float32", "int8")
_ALIGNMENT = 16

Json: TypeAlias = dict[str, Any]


def model_facts(model: Model) -> dict[str, str]:
    """Returns a model's name, config, description and licence.

    The licence is the Creative Commons licence that the bundle's description names, '' if it names
    none.
    """
    description = model.bundle.bundle_description
    licence = re.search(r"\bCC(0|[ -]BY\S*)( \d\.\d)?", description)
    return {
        "name": model.config.description,
        "config": model.config.key,
        "description": description,
        "licence": licence[0] if licence else "",
    }


def encode_model(model: Model, weights: str = "float16") -> bytes:
    """Returns a model as the bytes of a model file.

    Args:
      model: the network.
      weights: `float32` is exact; `float16` takes half the bytes, and `int8`, with a scale for
        each input of a matrix, a quarter. Biases are float32 in any case.

    Raises:
      PerfRnnError: `weights` is unknown, or float16 cannot hold a weight.
    """
    if weights not in WEIGHTS:
        raise PerfRnnError(f"weights {weights!r} is none of {', '.join(WEIGHTS)}")
    config, bundle = model.config, model.bundle
    arrays = _Arrays(weights)
    layers = [arrays.layer(layer, None if n else config) for n, layer in enumerate(bundle.layers)]
    header = {
        **model_facts(model),
        "weights": weights,
        "steps_per_second": STEPS_PER_SECOND,
        "head_sizes": config.encoding.head_sizes,
        "events": _events(config),
        "controls": _controls(config),
        "layers": layers,
        "output": arrays.product([bundle.output_kernel], bundle.output_bias),
    }
    text = json.dumps(header).encode()
    start = len(MAGIC) + 4 + len(text)
    padding = bytes(-start % _ALIGNMENT)
    return b"".join([MAGIC, np.uint32(len(text)).tobytes(), text, padding, *arrays.parts])


def _events(config: PerformanceRnnConfig) -> Json:
    """What the classes of all heads mean."""
    codec = config.codec
    events: Json = {
        "whole_notes": codec.whole_notes,
        "velocity_bins": codec.num_velocity_bins,
        "velocity_bin_width": codec.velocity_bin_width if codec.num_velocity_bins else 0,
        # The event that the network reads first where there is no primer.
        "start": np.atleast_1d(np.array(codec.default_label)).tolist(),
    }
    if isinstance(codec, EventCodec):
        # Of each class: its kind, the pitch, steps or velocity bin, and by how much time moves on.
        kinds = codec.kind_numbers(np.arange(codec.num_classes, dtype=np.int32)).ravel()
        return events | {
            "kinds": codec.kinds,
            "class_kinds": kinds.tolist(),
            "class_values": codec.class_values.tolist(),
            "class_steps": codec.class_steps.tolist(),
        }
    # A shift is coarse * fine_shifts + fine, a duration coarse * fine_durations + fine + 1.
    return events | {
        "heads": codec.kinds,
        "fine_shifts": SHIFT_HEADS[1],
        "fine_durations": DURATION_HEADS[1],
    }


def _controls(config: PerformanceRnnConfig) -> Json:
    """The parts of the control vector: a flag that disables it, if any, then each signal's."""
    conditioning = config.conditioning
    return {
        "optional": conditioning.optional,
        "signals": [{"name": signal.name, "size": signal.size} for signal in conditioning.signals],
        "default": ControlSchedule(conditioning)(np.zeros(1, np.int64))[0].tolist(),
    }


class _Arrays:
    """The arrays of a file, and the parts of the header that say what is computed with them.

    What the network computes are sums of products, `x_0 @ kernels[0] + x_1 @ kernels[1] + ...`, to
    which a bias is added or, where the network reads an event, the event's rows of a table: one for
    each head, with the bias in those of the first.
    """

    def __init__(self, weights: str):
        self._weights = weights
        self._size = 0
        self.parts: list[bytes] = []

    def layer(self, layer: LstmLayer, config: PerformanceRnnConfig | None) -> Json:
        """Returns one layer; the first one, given the config, reads the event."""
        projection, attention = layer.input_projection, layer.attention
        made: Json = {"units": layer.units, "residual": layer.residual}
        if projection:
            made["projection"] = self._reading([projection.kernel], projection.bias, config)
            config = None  # The projection has read the event.
        if attention:
            made["attention"] = self._attention(attention, layer.units, config)
            config = None
        # The gates are input, forget, candidate, output.
        made["gates"] = self._reading(
            [layer.kernel, layer.recurrent_kernel], layer.keras_bias, config
        )
        return made

    def _attention(
        self, attention: Attention, units: int, config: PerformanceRnnConfig | None
    ) -> Json:
        def halves(projection: Projection) -> Json:
            return self.product(np.split(projection.kernel, [units]), projection.bias)

        kernel = attention.input.kernel
        return {
            "length": attention.length,
            "input": self._reading(
                [kernel[:-units], kernel[-units:]], attention.input.bias, config
            ),
            "query": halves(attention.query),
            "memory": self.product([attention.memory], np.zeros(units, np.float32)),
            "score": self._add(attention.score),
            "output": halves(attention.output),
        }

    def _reading(
        self, kernels: list[np.ndarray], bias: np.ndarray, config: PerformanceRnnConfig | None
    ) -> Json:
        """Returns a product; given the config, its first input is the controls and the event."""
        if not config:
            return self.product(kernels, bias)
        controls, table = split_off_events(kernels[0], bias, config)
        made = self.product([controls, *kernels[1:]], None)
        return made | {"table": self._add_matrix(table)}

    def product(self, kernels: list[np.ndarray], bias: np.ndarray | None) -> Json:
        """Returns the sum of the inputs' products with kernels [inputs, outputs], and a bias."""
        made: Json = {"kernels": [self._add_matrix(kernel) for kernel in kernels]}
        return made if bias is None else made | {"bias": self._add(bias)}

    def _add_matrix(self, matrix: np.ndarray) -> Json:
        if self._weights == "int8" and matrix.size:
            quotients, scales = _quantize(matrix)
            return self._add(quotients) | {"scales": self._add(scales)}
        if self._weights == "float16":
            return self._add(_to_float16(matrix))
        return self._add(matrix)

    def _add(self, array: np.ndarray) -> Json:
        data = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
        place = {"dtype": array.dtype.name, "shape": array.shape, "offset": self._size}
        data += bytes(-len(data) % _ALIGNMENT)
        self.parts.append(data)
        self._size += len(data)
        return place


def _to_float16(matrix: np.ndarray) -> np.ndarray:
    largest = np.abs(matrix).max(initial=0.0)
    if largest > np.finfo(np.float16).max:
        raise PerfRnnError(
            f"the model has a weight of {largest:g}, more than float16 holds; use weights=float32"
        )
    return matrix.astype(np.float16)


def _quantize(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns int8 [inputs, outputs] and float32 [inputs], whose products are the matrix.

    An input that is rarely large has large weights, so the scales are those of inputs: scales of
    outputs gave 16 times the loss, and scales of both no smaller one.
    """
    scales = np.abs(matrix).max(axis=1) / 127
    scales[scales == 0] = 1
    quotients = np.rint(matrix / scales[:, np.newaxis]).astype(np.int8)
    return quotients, scales.astype(np.float32)
