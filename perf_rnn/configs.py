"""The nine configs: which events a model reads and writes, and its default hyperparameters."""

import dataclasses
import difflib
import types
from collections.abc import Mapping

from bundles.errors import PerfRnnError
from perf_rnn.events.codec import NUM_VELOCITY_BINS, Codec
from perf_rnn.events.controls import Conditioning, NoteDensity, PitchHistogram
from perf_rnn.events.encodings import EventEncoding, modulo_vectors
from perf_rnn.events.note_events import NoteCodec
from perf_rnn.events.one_hot import EventCodec
from perf_rnn.hparams import HParams


@dataclasses.dataclass(frozen=True)
class PerformanceRnnConfig:
    """One kind of Performance RNN; the nine in `default_configs` are Magenta 2.1.4's.

    A network of this config reads, at each step, the control vector of the next event and then the
    vector of the event before it.

    Attributes:
      key: the name that `--config` takes.
      id: the id that its bundles carry.
      description: what bundles show to a reader.
      encoding: of its events.
      conditioning: its control signals, if any.
      hparams: the default hyperparameters.
    """

    key: str
    id: str
    description: str
    encoding: EventEncoding
    conditioning: Conditioning = dataclasses.field(default_factory=Conditioning)
    hparams: HParams = dataclasses.field(default_factory=HParams)

    @property
    def codec(self) -> Codec:
        """The codec between notes and this config's events."""
        return self.encoding.codec

    @property
    def num_classes(self) -> int:
        """Width of the network's logits: the classes of all heads."""
        return sum(self.encoding.head_sizes)

    @property
    def control_size(self) -> int:
        """Width of the control vector; 0 for an unconditioned model."""
        return self.conditioning.size

    @property
    def input_size(self) -> int:
        """Width of the vector that the network sees at each step."""
        return self.control_size + self.encoding.width

    @property
    def dense_input_size(self) -> int:
        """Width of one input in Magenta's dense records, where a compact event is an index."""
        return self.control_size + self.encoding.dense_width


def _configs() -> list[PerformanceRnnConfig]:
    one_hot = EventEncoding(EventCodec(NUM_VELOCITY_BINS))
    density, histogram = NoteDensity(), PitchHistogram()
    dynamics = "performance_with_dynamics"
    return [
        PerformanceRnnConfig(
            "performance", "performance", "Performance RNN", EventEncoding(EventCodec(0))
        ),
        PerformanceRnnConfig(dynamics, dynamics, "Performance RNN with dynamics", one_hot),
        PerformanceRnnConfig(
            f"{dynamics}_compact",
            dynamics,
            "Performance RNN with dynamics (compact input)",
            EventEncoding(one_hot.codec, index_input=True),
        ),
        PerformanceRnnConfig(
            f"{dynamics}_and_modulo_encoding",
            f"{dynamics}_and_modulo_encoding",
            "Performance RNN with dynamics and modulo encoding",
            EventEncoding(one_hot.codec, modulo_vectors(EventCodec(NUM_VELOCITY_BINS))),
        ),
        PerformanceRnnConfig(
            f"{dynamics}_and_note_encoding",
            f"{dynamics}_and_note_encoding",
            "Performance RNN with dynamics and note encoding",
            EventEncoding(NoteCodec(NUM_VELOCITY_BINS)),
        ),
        PerformanceRnnConfig(
            f"density_conditioned_{dynamics}",
            f"density_conditioned_{dynamics}",
            "Note-density-conditioned Performance RNN + dynamics",
            one_hot,
            Conditioning((density,)),
        ),
        PerformanceRnnConfig(
            f"pitch_conditioned_{dynamics}",
            f"pitch_conditioned_{dynamics}",
            "Pitch-histogram-conditioned Performance RNN",
            one_hot,
            Conditioning((histogram,)),
        ),
        PerformanceRnnConfig(
            f"multiconditioned_{dynamics}",
            f"multiconditioned_{dynamics}",
            "Density- and pitch-conditioned Performance RNN",
            one_hot,
            Conditioning((density, histogram)),
        ),
        PerformanceRnnConfig(
            f"optional_multiconditioned_{dynamics}",
            f"optional_multiconditioned_{dynamics}",
            "Optionally multiconditioned Performance RNN",
            one_hot,
            Conditioning((density, histogram), optional=True),
        ),
    ]


default_configs: Mapping[str, PerformanceRnnConfig] = types.MappingProxyType(
    {config.key: config for config in _configs()}
)


def get_config(key: str) -> PerformanceRnnConfig:
    """Returns the config named `key`.

    Raises:
      PerfRnnError: no config has that name.
    """
    if key not in default_configs:
        nearest = difflib.get_close_matches(key, default_configs, 1)
        meant = f"; perhaps {nearest[0]}" if nearest else ""
        raise PerfRnnError(f"unknown config {key!r}{meant}; known: {', '.join(default_configs)}")
    return default_configs[key]


def configs_of_id(bundle_id: str) -> list[PerformanceRnnConfig]:
    """Returns the configs whose bundles carry `bundle_id`: none for another model's bundle."""
    return [config for config in default_configs.values() if config.id == bundle_id]
