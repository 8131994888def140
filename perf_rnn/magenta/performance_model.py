"""Performance RNN's model and configs as objects with Magenta 2.1.4's arguments.

`perf_rnn.performance_model` has them by Magenta's names, so that code written against Magenta needs
another import only. Inside, a config is a `perf_rnn.configs` one, and a model is a `models.Model`
that `perf_rnn.generation` plays.
"""

from __future__ import annotations

import copy
import functools
import os
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import note_seq
import numpy as np
from note_seq.protobuf import generator_pb2
from numpy.typing import NDArray

from bundles import Bundle
from bundles.errors import PerfRnnError
from perf_rnn.configs import PerformanceRnnConfig, default_configs
from perf_rnn.events.codec import STEPS_PER_SECOND
from perf_rnn.events.controls import Conditioning
from perf_rnn.events.encodings import EventEncoding
from perf_rnn.generation.beam_search import beam_search
from perf_rnn.generation.logits import Seed
from perf_rnn.generation.openings import Opening
from perf_rnn.generation.options import BeamOptions, SamplingOptions
from perf_rnn.generation.sampler import Controls, log_likelihood
from perf_rnn.hparams import HParams
from perf_rnn.magenta import note_seq_encoders
from perf_rnn.models import Model
from perf_rnn.training import checkpoints, run_dir


class EventSequenceRnnModelError(PerfRnnError):
    """A model is asked for what it cannot do; the message says what."""


class MagentaConfig(PerformanceRnnConfig):
    """A config made from note_seq's objects: Magenta's PerformanceRnnConfig.

    Args:
      details: GeneratorDetails proto with the id and description; None: both are empty.
      encoder_decoder: a note_seq EventSequenceEncoderDecoder of the events, without controls, or
        the `EventEncoding` that does the same.
      hparams: an HParams, or a mapping from some of its names to values; the rest are defaults.
      num_velocity_bins: if given, the encoder must have as many.
      control_signals: note_seq PerformanceControlSignals, or our own, in the order of the
        control vector.
      optional_conditioning: whether the controls can be disabled.
      note_performance: if True, the encoder must be one of note events.
      key: what `--config` would call it; the id if not given.

    Raises:
      ValueError: the encoder is not supported, an hparam unknown, or arguments contradict
        each other.
    """

    def __init__(
        self,
        details: generator_pb2.GeneratorDetails | None,
        encoder_decoder: Any,
        hparams: HParams | Mapping[str, Any],
        num_velocity_bins: int = 0,
        control_signals: Sequence[Any] | None = None,
        optional_conditioning: bool = False,
        note_performance: bool = False,
        key: str | None = None,
    ):
        details = details or generator_pb2.GeneratorDetails()
        if isinstance(encoder_decoder, EventEncoding):
            encoding = encoder_decoder
        else:
            encoding = note_seq_encoders.encoding_of(encoder_decoder)
            # The fields are frozen, as they are for every config.
            object.__setattr__(self, "_encoder", encoder_decoder)
        if num_velocity_bins not in (0, encoding.codec.num_velocity_bins):
            raise PerfRnnError(
                f"num_velocity_bins {num_velocity_bins}, but the encoder has "
                f"{encoding.codec.num_velocity_bins}"
            )
        if note_performance and not encoding.codec.whole_notes:
            raise PerfRnnError("note_performance, but the encoder is not one of note events")
        signals = tuple(map(note_seq_encoders.signal_of, control_signals or ()))
        if optional_conditioning and not signals:
            raise PerfRnnError("optional_conditioning, but there are no control_signals")
        if signals and encoding.codec.whole_notes:
            raise PerfRnnError("note events cannot be conditioned: control_signals take others")
        if not isinstance(hparams, HParams):
            unknown = [name for name in hparams if name not in HParams().to_dict()]
            if unknown:
                raise PerfRnnError(f"hparams: unknown name {unknown[0]!r}")
            hparams = HParams.from_dict({**HParams().to_dict(), **hparams})
        super().__init__(
            key=details.id if key is None else key,
            id=details.id,
            description=details.description,
            encoding=encoding,
            conditioning=Conditioning(signals, optional_conditioning),
            hparams=hparams,
        )

    @property
    def details(self) -> generator_pb2.GeneratorDetails:
        """The id and the description, in a proto of the caller's own."""
        return generator_pb2.GeneratorDetails(id=self.id, description=self.description)

    @functools.cached_property
    def _encoder(self) -> Any:
        return note_seq_encoders.encoder_of(self.encoding)

    @property
    def encoder_decoder(self) -> Any:
        """The note_seq encoder of what the network sees: events, and controls if there are any."""
        if self.control_signals is None:
            return self._encoder
        controls = note_seq.MultipleEventSequenceEncoder(
            [signal.encoder for signal in self.control_signals]
        )
        if self.optional_conditioning:
            controls = note_seq.OptionalEventSequenceEncoder(controls)
        return note_seq.ConditionalEventSequenceEncoderDecoder(controls, self._encoder)

    @property
    def control_signals(self) -> list[Any] | None:
        """The note_seq PerformanceControlSignals; None for an unconditioned model."""
        signals = self.conditioning.signals
        return [note_seq_encoders.note_seq_signal_of(signal) for signal in signals] or None

    @property
    def num_velocity_bins(self) -> int:
        """Velocity bins of the events; 0: they have no velocities."""
        return self.codec.num_velocity_bins

    @property
    def optional_conditioning(self) -> bool:
        """Whether the controls can be disabled."""
        return self.conditioning.optional

    @property
    def note_performance(self) -> bool:
        """Whether the events are note events."""
        return self.codec.whole_notes

    @property
    def steps_per_second(self) -> int:
        """How many steps a second has."""
        return STEPS_PER_SECOND


# Magenta's default_configs.
magenta_configs: Mapping[str, MagentaConfig] = types.MappingProxyType(
    {
        config.key: MagentaConfig(
            generator_pb2.GeneratorDetails(id=config.id, description=config.description),
            config.encoding,
            config.hparams,
            control_signals=config.conditioning.signals,
            optional_conditioning=config.conditioning.optional,
            key=config.key,
        )
        for config in default_configs.values()
    }
)


class PerformanceRnnModel:
    """A network that plays and judges note_seq Performances.

    Attributes:
      config: the config of its events and controls.
    """

    def __init__(self, config: MagentaConfig):
        self.config = config
        self._model: Model | None = None

    @property
    def model(self) -> Model:
        """The network with the config.

        Raises:
          EventSequenceRnnModelError: it has no weights yet.
        """
        if self._model is None:
            raise EventSequenceRnnModelError("the model has no weights; initialize it first")
        return self._model

    @property
    def bundle(self) -> Bundle:
        """The network's weights; raises as `model` does."""
        return self.model.bundle

    def initialize_with_bundle(self, bundle: Bundle) -> None:
        """Takes the weights of a bundle.

        Raises:
          ValueError: they are of another config's network.
        """
        self._model = Model(bundle, self.config)

    def initialize_with_checkpoint(self, checkpoint: str) -> None:
        """Takes the weights of a training run's checkpoint.

        Args:
          checkpoint: its path. The run's own hparams shape the network, or the config's where the
            file is of no run.

        Raises:
          ValueError: it cannot be read, or is of another network.
        """
        from perf_rnn.network.network import build_network, bundle_from_network

        run = run_dir.RunDir(os.path.dirname(os.path.dirname(os.path.abspath(checkpoint))))
        settings = run.settings()
        hparams = settings.hparams if settings else self.config.hparams
        network = build_network(self.config, hparams)
        checkpoints.restore_weights(network, checkpoint)
        self.initialize_with_bundle(bundle_from_network(network, self.config))

    def close(self) -> None:
        """Frees the weights."""
        self._model = None

    def generate_performance(
        self,
        num_steps: int,
        primer_sequence: Any,
        temperature: float = 1.0,
        beam_size: int = 1,
        branch_factor: int = 1,
        steps_per_iteration: int = 1,
        control_signal_fns: Sequence[Callable[[int], Any]] | None = None,
        disable_conditioning_fn: Callable[[int], bool] | None = None,
        *,
        legal_events: bool = True,
        seed: Seed | None = None,
    ) -> Any:
        """Returns a Performance that begins with the primer and continues it.

        Args:
          num_steps: its length in events, those of the primer included.
          primer_sequence: a note_seq Performance, or NotePerformance for note events.
          temperature: above 0; below 1 safer, above 1 wilder.
          beam_size, branch_factor, steps_per_iteration: as `BeamOptions` has them.
          control_signal_fns: for each control signal, a function that returns its value at a
            step (10 ms) of the performance.
          disable_conditioning_fn: returns whether the controls are disabled at a step.
          legal_events: as `SamplingOptions` has it; False is what Magenta does.
          seed: the same one gives the same performance; None: a new one.

        Raises:
          EventSequenceRnnModelError: the primer is empty or not shorter than `num_steps`, or the
            functions are not those that the model needs.
          ValueError: an event of the primer, or a control's value, is out of range.
        """
        if not len(primer_sequence):
            raise EventSequenceRnnModelError("the primer is empty; give at least one event")
        if len(primer_sequence) >= num_steps:
            raise EventSequenceRnnModelError(
                f"the primer has {len(primer_sequence)} events, which must be fewer than "
                f"num_steps {num_steps}"
            )
        codec = self.config.codec
        ((events, _),) = beam_search(
            self.model,
            Opening(codec.from_performance(primer_sequence)),
            [np.random.SeedSequence() if seed is None else seed],
            BeamOptions(beam_size, branch_factor, steps_per_iteration),
            SamplingOptions(temperature=temperature, legal_events=legal_events),
            self._controls(control_signal_fns, disable_conditioning_fn),
            num_events=num_steps,
        )
        performance = copy.deepcopy(primer_sequence)
        for event in codec.to_performance(events[len(primer_sequence) :]):
            performance.append(event)
        return performance

    def _controls(
        self,
        control_signal_fns: Sequence[Callable[[int], Any]] | None,
        disable_conditioning_fn: Callable[[int], bool] | None,
    ) -> Controls | None:
        conditioning = self.config.conditioning
        signals, functions = conditioning.signals, list(control_signal_fns or ())
        if len(functions) != len(signals):
            needed = ", ".join(signal.name for signal in signals) or "none"
            raise EventSequenceRnnModelError(
                f"{len(functions)} control signals are given; the model's are: {needed}"
            )
        if disable_conditioning_fn is not None and not conditioning.optional:
            raise EventSequenceRnnModelError("the conditioning of this model is not optional")

        def controls(steps: NDArray[np.int64]) -> NDArray[np.float32]:
            values = [
                [signal.validate(function(step)) for step in steps.tolist()]
                for signal, function in zip(signals, functions, strict=True)
            ]
            if disable_conditioning_fn is None:
                return conditioning.encode(values)
            return conditioning.encode(
                values, [bool(disable_conditioning_fn(step)) for step in steps.tolist()]
            )

        return controls if signals else None

    def performance_log_likelihood(
        self,
        sequence: Any,
        control_values: Sequence[Any] | None,
        disable_conditioning: bool | None,
    ) -> float:
        """Returns the log-likelihood of a Performance's events after its first.

        Args:
          sequence: a note_seq Performance, or NotePerformance for note events.
          control_values: one value for each control signal, which holds throughout; None for an
            unconditioned model.
          disable_conditioning: whether the controls are disabled; None: they are not.

        Raises:
          EventSequenceRnnModelError: the performance is empty, or the values are not those that
            the model needs.
          ValueError: an event or value is out of range.
        """
        if not len(sequence):
            raise EventSequenceRnnModelError("an empty performance has no likelihood")
        controls = self._controls(
            [_constant(value) for value in control_values or ()],
            None if disable_conditioning is None else _constant(disable_conditioning),
        )
        events = self.config.codec.from_performance(sequence)
        return float(log_likelihood(self.model, [events], controls)[0])


def _constant(value: Any) -> Callable[[int], Any]:
    return lambda step: value
