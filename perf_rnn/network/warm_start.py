"""Warm start: a network's initial weights from a bundle, of the same config or another."""

import dataclasses
from collections.abc import Hashable

import keras
import numpy as np

from bundles import Attention, Bundle, LstmLayer, Projection
from bundles.errors import PerfRnnError
from perf_rnn.configs import PerformanceRnnConfig
from perf_rnn.events.encodings import EventEncoding
from perf_rnn.models import load_model
from perf_rnn.network.network import bundle_from_network, load_bundle


def transfer_weights(network: keras.Model, config: PerformanceRnnConfig, bundle: Bundle) -> None:
    """Initializes `network` with the weights of `bundle`.

    Shared weights are copied: those of the classes and control signals that both configs have.
    `performance` for example has all classes of `performance_with_dynamics` but the velocities.
    Weights of new controls start at zero; those of new classes keep the values in `network`. From
    the modulo encoding to one-hot events, predictions stay the same. They do so too where layers of
    a plain stack, without attention and residual connections, are wider than the bundle's: what
    reads an added unit starts at zero, what it reads keeps its values in `network`.

    Args:
      network: from `build_network`.
      config: of the network.
      bundle: of any config, which its id tells.

    Raises:
      ValueError: the bundle is another model's, its layers are not the network's nor narrower, or
        its events cannot be mapped to the network's.
    """
    source = load_model(bundle).config
    wide = bundle_from_network(network, config)
    fresh = _narrowed(wide, bundle)
    _check_layers(fresh, bundle)
    names = source.codec.class_names(), config.codec.class_names()
    if not set(names[0]) & set(names[1]) or (
        source.encoding.vectors is None and config.encoding.vectors is not None
    ):
        raise PerfRnnError(
            f"a network of config {config.key!r} cannot start from a bundle of {source.key!r}: its "
            "events are encoded in another way"
        )
    first = _transfer_first_layer(bundle.layers[0], fresh.layers[0], source, config)
    merged = dataclasses.replace(
        fresh,
        layers=(first, *bundle.layers[1:]),
        output_kernel=_copy_shared_rows(bundle.output_kernel.T, fresh.output_kernel.T, *names).T,
        output_bias=_copy_shared_rows(bundle.output_bias, fresh.output_bias, *names),
    )
    load_bundle(network, _widened(merged, wide))


def _is_plain(bundle: Bundle) -> bool:
    return not bundle.attn_length and not bundle.residual_connections


def _narrowed(fresh: Bundle, bundle: Bundle) -> Bundle:
    """Returns `fresh` without the units that `bundle` lacks, if both are plain stacks."""
    sizes = bundle.layer_sizes
    if (
        not _is_plain(fresh)
        or not _is_plain(bundle)
        or len(sizes) != len(fresh.layers)
        or any(old > new for old, new in zip(sizes, fresh.layer_sizes, strict=True))
    ):
        return fresh
    kernel = _by_gate(fresh.layers[0].kernel)[..., : sizes[0]].reshape(fresh.input_size, -1)
    first = dataclasses.replace(bundle.layers[0], kernel=kernel)
    output_kernel = fresh.output_kernel[: sizes[-1]]
    return dataclasses.replace(
        fresh, layers=(first, *bundle.layers[1:]), output_kernel=output_kernel
    )


def _widened(bundle: Bundle, fresh: Bundle) -> Bundle:
    """Returns `bundle` with the units that `fresh` has more; its predictions stay the same."""
    if bundle.layer_sizes == fresh.layer_sizes:
        return bundle

    def widened(old: np.ndarray, fresh: np.ndarray) -> np.ndarray:
        result, units = _by_gate(fresh).copy(), old.shape[-1] // 4
        result[..., :units] = 0
        result[: len(old), :, :units] = _by_gate(old)
        return result.reshape(fresh.shape)

    layers = [
        LstmLayer(
            widened(old.kernel, new.kernel),
            widened(old.recurrent_kernel, new.recurrent_kernel),
            widened(old.keras_bias[np.newaxis], new.keras_bias[np.newaxis])[0],
            forget_bias=0.0,
        )
        for old, new in zip(bundle.layers, fresh.layers, strict=True)
    ]
    output_kernel = np.zeros_like(fresh.output_kernel)
    output_kernel[: len(bundle.output_kernel)] = bundle.output_kernel
    return dataclasses.replace(bundle, layers=tuple(layers), output_kernel=output_kernel)


def _by_gate(weights: np.ndarray) -> np.ndarray:
    """Returns the columns of an LSTM's weights as [..., gate, unit]."""
    return weights.reshape(*weights.shape[:-1], 4, -1)


def _check_layers(fresh: Bundle, bundle: Bundle) -> None:
    def hparams(bundle: Bundle) -> dict[str, str]:
        return {
            "rnn_layer_sizes": str(bundle.layer_sizes).replace(" ", ""),
            "attn_length": str(bundle.attn_length),
            "residual_connections": str(bundle.residual_connections).lower(),
        }

    ours = hparams(fresh)
    needed = [f"{name}={value}" for name, value in hparams(bundle).items() if value != ours[name]]
    if needed:
        raise PerfRnnError(
            "the layers differ from those of the network to begin with; give "
            f"--hparams={','.join(needed)}{' or wider layers' if _is_plain(bundle) else ''}"
        )


def _input_names(config: PerformanceRnnConfig) -> list[Hashable]:
    """Returns a name for the meaning of each input."""
    conditioning, encoding = config.conditioning, config.encoding
    flag = ["disabled"] if conditioning.optional else []
    signals = [(signal.name, n) for signal in conditioning.signals for n in range(signal.size)]
    if encoding.vectors is None:
        return [*flag, *signals, *encoding.codec.class_names()]
    return [*flag, *signals, *(("vector", encoding.codec, n) for n in range(encoding.width))]


def _copy_shared_rows(
    old: np.ndarray, fresh: np.ndarray, old_names: list[Hashable], names: list[Hashable]
) -> np.ndarray:
    """Returns `fresh`, with the rows that `old` has too, by their names, copied from it."""
    places = {name: place for place, name in enumerate(old_names)}
    result = fresh.copy()
    for row, name in enumerate(names):
        if name in places:
            result[row] = old[places[name]]
    return result


def _input_kernel(
    old: np.ndarray,
    fresh: np.ndarray,
    source: PerformanceRnnConfig,
    config: PerformanceRnnConfig,
) -> np.ndarray:
    """Returns the kernel [inputs of `config`, n], from one of `source` and an untrained one."""
    encoding = source.encoding
    if encoding.vectors is not None and config.encoding.vectors is None:
        controls, rows = np.split(old, [source.control_size])
        old = np.concatenate([controls, encoding.vectors @ rows])
        source = dataclasses.replace(source, encoding=EventEncoding(encoding.codec))
    fresh = fresh.copy()
    fresh[: config.control_size] = 0
    return _copy_shared_rows(old, fresh, _input_names(source), _input_names(config))


def _transfer_first_layer(
    layer: LstmLayer,
    fresh: LstmLayer,
    source: PerformanceRnnConfig,
    config: PerformanceRnnConfig,
) -> LstmLayer:
    """Returns `layer`, its inputs those of `config`."""
    if layer.input_projection and fresh.input_projection:
        old, new = layer.input_projection, fresh.input_projection
        projection = Projection(_input_kernel(old.kernel, new.kernel, source, config), old.bias)
        return dataclasses.replace(layer, input_projection=projection)
    if layer.attention and fresh.attention:
        attention = layer.attention, fresh.attention
        return _transfer_attention(layer, fresh, *attention, source, config)
    kernel = _input_kernel(layer.kernel, fresh.kernel, source, config)
    return dataclasses.replace(layer, kernel=kernel)


def _transfer_attention(
    layer: LstmLayer,
    fresh: LstmLayer,
    old: Attention,
    new: Attention,
    source: PerformanceRnnConfig,
    config: PerformanceRnnConfig,
) -> LstmLayer:
    """Returns `layer`, with attention but no input projection, its inputs those of `config`."""
    width, needed = len(layer.kernel), len(fresh.kernel)
    if width > needed:
        raise PerfRnnError(
            f"the bundle's attention is as wide as its {width} inputs and cannot be narrowed to "
            f"the {needed} of config {config.key!r}"
        )
    rows, context_rows = np.split(old.input.kernel, [width])
    kernel, bias = new.input.kernel.copy(), new.input.bias.copy()
    kernel[:needed, :width] = _input_kernel(rows, kernel[:needed, :width], source, config)
    kernel[needed:, :width] = context_rows
    bias[:width] = old.input.bias
    # The added width starts without an effect.
    lstm_kernel = np.zeros_like(fresh.kernel)
    lstm_kernel[:width] = layer.kernel
    attention = dataclasses.replace(old, input=Projection(kernel, bias))
    return dataclasses.replace(layer, kernel=lstm_kernel, attention=attention)
