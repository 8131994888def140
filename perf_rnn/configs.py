"""The configs: which events a model reads and writes, and its default hyperparameters."""

import dataclasses
import functools
import types
from collections.abc import Mapping
from typing import Any

from perf_rnn.events import NUM_VELOCITY_BINS, EventCodec
from perf_rnn.hparams import HParams


@dataclasses.dataclass(frozen=True)
class PerformanceRnnConfig:
    """One kind of Performance RNN.

    Attributes:
      key: the name that `--config` takes.
      id: the id that its bundles carry.
      description: what a reader of a bundle sees.
      num_velocity_bins: classes of VELOCITY events; 0 means no dynamics.
      hparams: the default hyperparameters.
    """

    key: str
    id: str
    description: str
    num_velocity_bins: int = 0
    hparams: HParams = dataclasses.field(default_factory=HParams)

    @functools.cached_property
    def codec(self) -> EventCodec:
        """The codec between notes and this config's event indices."""
        return EventCodec(self.num_velocity_bins)

    @property
    def num_classes(self) -> int:
        """Event classes the network chooses among."""
        return self.codec.num_classes

    @property
    def input_size(self) -> int:
        """Width of one input vector, here the one-hot event."""
        return self.num_classes

    @functools.cached_property
    def encoder_decoder(self) -> Any:
        """The note_seq encoder of this config, for code written against Magenta's API."""
        from note_seq import encoder_decoder, performance_encoder_decoder

        return encoder_decoder.OneHotEventSequenceEncoderDecoder(
            performance_encoder_decoder.PerformanceOneHotEncoding(
                num_velocity_bins=self.num_velocity_bins
            )
        )


default_configs: Mapping[str, PerformanceRnnConfig] = types.MappingProxyType(
    {
        config.key: config
        for config in (
            PerformanceRnnConfig(
                key="performance", id="performance", description="Performance RNN"
            ),
            PerformanceRnnConfig(
                key="performance_with_dynamics",
                id="performance_with_dynamics",
                description="Performance RNN with dynamics",
                num_velocity_bins=NUM_VELOCITY_BINS,
            ),
        )
    }
)


def get_config(key: str) -> PerformanceRnnConfig:
    """Returns the config named `key`.

    Raises:
      ValueError: there is none of that name.
    """
    if key not in default_configs:
        raise ValueError(f"unknown config {key!r}; known: {', '.join(default_configs)}")
    return default_configs[key]
