"""Generation driven by Magenta's GeneratorOptions, with its names and arguments.

Sections and options mean what they do in Magenta 2.1.4, except for its faults: here a section from
0 has its notes at 0 and begins without silence, primers are read with their pedal, drums and
several programs do not change what is played, and impossible options are errors.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from absl import logging
from note_seq.protobuf import generator_pb2, music_pb2

from bundles import Bundle
from perf_rnn.events.codec import STEPS_PER_SECOND, EventIndices
from perf_rnn.events.controls import NoteDensity, parse_disabled
from perf_rnn.generation import generate as generation
from perf_rnn.generation import openings, pieces, primers
from perf_rnn.generation.beam_search import beam_search
from perf_rnn.generation.control_schedule import ControlSchedule
from perf_rnn.generation.openings import Opening
from perf_rnn.generation.options import BeamOptions, SamplingOptions, check_count
from perf_rnn.generation.streaming import Stream
from perf_rnn.magenta.performance_model import (
    MagentaConfig,
    PerformanceRnnModel,
    magenta_configs,
)
from perf_rnn.magenta.sequence_generator import BaseSequenceGenerator, SequenceGeneratorError
from perf_rnn.notes.arrays import NoteArrays, from_note_sequence, to_note_sequence

_SAMPLING_ARGS = tuple(field.name for field in dataclasses.fields(SamplingOptions))
_BEAM_ARGS = ("beam_size", "branch_factor", "steps_per_iteration")
_OTHER_ARGS = (*_BEAM_ARGS, "disable_conditioning", "seed")

# What floating-point seconds may lack to a whole step.
_STEP_TOLERANCE = 1e-6


class PerformanceRnnSequenceGenerator(BaseSequenceGenerator):
    """Continues a NoteSequence over one section of time.

    `generate` takes GeneratorOptions with at most one input section (the part of the input to
    continue; by default all of it) and exactly one generate section. Their `args`:

    - temperature (float_value, or string_value as '[0.9, 1.1]'); top_k, top_p, min_p, legal_events,
      pitch_min_p and seed, which Magenta does not have;
    - beam_size, branch_factor, steps_per_iteration (int_value);
    - the name of each control signal, and disable_conditioning (string_value: a value or a list).

    Lists are spread over the piece, from the start of the input section to the end of the
    generate section. Other args are ignored with a warning.

    Args:
      model: a PerformanceRnnModel.
      details: the GeneratorDetails proto of this generator.
      steps_per_second: must be the model's, like all arguments here that a config has too.
      num_velocity_bins: 0: the model's.
      control_signals: None: the model's.
      optional_conditioning: False: as the model has it.
      max_note_duration: seconds after which a note that is not released ends. Note events hold
        their durations themselves and are not cut.
      fill_generate_section: whether to generate until the section is full, or just once as many
        events as it is expected to take.
      checkpoint, bundle: as BaseSequenceGenerator has them.
      note_performance: False: as the model has it.

    Raises:
      SequenceGeneratorError: neither or both of checkpoint and bundle are given, the bundle is
        another generator's, or an argument is not as the model has it.
    """

    def __init__(
        self,
        model: PerformanceRnnModel,
        details: generator_pb2.GeneratorDetails,
        steps_per_second: int = STEPS_PER_SECOND,
        num_velocity_bins: int = 0,
        control_signals: Sequence[Any] | None = None,
        optional_conditioning: bool = False,
        max_note_duration: float = pieces.MAX_NOTE_SECONDS,
        fill_generate_section: bool = True,
        checkpoint: str | None = None,
        bundle: generator_pb2.GeneratorBundle | Bundle | None = None,
        note_performance: bool = False,
    ):
        super().__init__(model, details, checkpoint, bundle)
        config = model.config
        names = [signal.name for signal in config.conditioning.signals]
        given_names = [signal.name for signal in control_signals or ()]
        for name, given, own in (
            ("steps_per_second", steps_per_second, config.steps_per_second),
            ("num_velocity_bins", num_velocity_bins, config.num_velocity_bins),
            ("control_signals", given_names, names),
            ("optional_conditioning", optional_conditioning, config.optional_conditioning),
            ("note_performance", note_performance, config.note_performance),
        ):
            if given and given != own:
                raise SequenceGeneratorError(f"{name} {given}, but the model has {own}")
        self.steps_per_second = config.steps_per_second
        self.num_velocity_bins = config.num_velocity_bins
        self.control_signals = config.control_signals
        self.optional_conditioning = config.optional_conditioning
        self.max_note_duration = max_note_duration
        self.fill_generate_section = fill_generate_section
        self._config = config

    def _generate(
        self,
        input_sequence: music_pb2.NoteSequence,
        generator_options: generator_pb2.GeneratorOptions,
    ) -> music_pb2.NoteSequence:
        with _errors_of_generators():
            opening, num_steps = self._sections(input_sequence, generator_options)
            request = self._request(generator_options, num_steps)
            events = self._extend(opening, num_steps, request)
        codec = self._config.codec
        notes = pieces.notes_of(events, codec, opening, num_steps, self.max_note_duration)
        return to_note_sequence(notes)

    def stream(
        self,
        input_sequence: music_pb2.NoteSequence,
        generator_options: generator_pb2.GeneratorOptions,
    ) -> Stream:
        """Continues without end: returns an iterator of the starts and ends of notes, see `Stream`.

        Options are those of `generate`, without lists, since there is no end to spread them over,
        and without a beam search; the end of the generate section is not used. The notes are those
        of `generate`, until options or controls are changed, see `Stream`.

        Raises:
          SequenceGeneratorError: the options make no sense, or the weights cannot be found.
        """
        self.initialize()
        with _errors_of_generators():
            opening, _ = self._sections(input_sequence, generator_options, endless=True)
            request = self._request(generator_options, None)
            if request.beam.width > 1:
                raise SequenceGeneratorError("a stream cannot search: leave beam_size at 1")
            return Stream(
                self._model.model,
                opening,
                request.seed,
                request.sampling,
                request.controls,
                self.max_note_duration,
            )

    def _extend(self, opening: Opening, num_steps: int, request: _Request) -> EventIndices:
        """Returns the events of the piece, the opening's included."""
        model, codec = self._model.model, self._config.codec
        seeds, options, controls = [request.seed], request.sampling, request.controls
        if self.fill_generate_section:
            (events,) = pieces.extend(
                model, opening, num_steps, seeds, options, request.beam, controls
            )
            return events
        missing = num_steps - codec.num_steps(opening.events)
        num_events = len(opening.events) + events_to_ask_for(missing, request.density)
        ((events, _),) = beam_search(
            model,
            opening,
            seeds,
            request.beam,
            options,
            controls,
            num_events=num_events,
            num_steps=num_steps,
        )
        return codec.set_length(events, num_steps)

    def _sections(
        self,
        input_sequence: music_pb2.NoteSequence,
        generator_options: generator_pb2.GeneratorOptions,
        endless: bool = False,
    ) -> tuple[Opening, int]:
        """Returns what the input section holds, and the length of the piece that begins so."""
        inputs = generator_options.input_sections
        sections = generator_options.generate_sections
        if len(sections) != 1:
            raise SequenceGeneratorError(
                f"{len(sections)} generate sections are asked for; give one"
            )
        if len(inputs) > 1:
            raise SequenceGeneratorError(
                f"{len(inputs)} input sections are asked for; give one or none"
            )
        begin, end = (inputs[0].start_time, inputs[0].end_time) if inputs else (0.0, math.inf)
        start, stop = sections[0].start_time, sections[0].end_time
        first_step = _step(start)
        end_step = math.floor(stop * STEPS_PER_SECOND + _STEP_TOLERANCE)
        if endless:
            end_step = sys.maxsize
        if not 0 <= begin <= end:
            raise SequenceGeneratorError(
                f"the input section from {begin} s to {end} s is before time 0, or ends before it "
                "starts"
            )
        if start < 0 or end_step <= first_step:
            raise SequenceGeneratorError(
                f"the generate section from {start} s to {stop} s is before time 0, or shorter "
                f"than a step of {1 / STEPS_PER_SECOND} s"
            )
        primer = _primer(input_sequence, begin, end, start)
        if primer is None:
            return openings.silence(self._config, first_step), end_step - first_step
        start_step = _step(begin)
        opening = openings.from_notes(primer, self._config, first_step - start_step, start_step)
        return opening, end_step - start_step

    def _request(
        self, generator_options: generator_pb2.GeneratorOptions, num_steps: int | None
    ) -> _Request:
        """Reads the args."""
        args = {
            name: getattr(arg, arg.WhichOneof("kind") or "string_value")
            for name, arg in generator_options.args.items()
        }
        conditioning = self._config.conditioning
        controls = generation.parse_controls(conditioning, args)
        disabled = args.get("disable_conditioning")
        temperature = args.get("temperature", 1.0)
        sampling = {name: args[name] for name in _SAMPLING_ARGS if name in args}
        if isinstance(temperature, str):
            sampling["temperature"] = generation.parse_temperature(temperature)
        seed = args["seed"] if "seed" in args else generation.new_seed()
        check_count("seed", seed, 0)
        strange = args.keys() - controls.keys() - {*_SAMPLING_ARGS, *_OTHER_ARGS}
        if strange:
            logging.warning("ignored: args %s, of no generator", ", ".join(sorted(strange)))
        return _Request(
            SamplingOptions(**sampling),
            ControlSchedule(
                conditioning,
                controls,
                num_steps,
                parse_disabled(disabled) if isinstance(disabled, str) else disabled,
            ),
            beam=BeamOptions(**{name: args[name] for name in _BEAM_ARGS if name in args}),
            density=_mean_density(controls),
            seed=(seed, 0),
        )


@dataclasses.dataclass(frozen=True)
class _Request:
    """What args ask for, as `pieces.extend` takes it; and the mean of the notes per second."""

    sampling: SamplingOptions
    controls: ControlSchedule
    beam: BeamOptions
    density: float
    seed: tuple[int, int]


@contextlib.contextmanager
def _errors_of_generators() -> Iterator[None]:
    """Turns what is wrong with a value into the error that users of generators expect."""
    try:
        yield
    except SequenceGeneratorError:
        raise
    except ValueError as error:
        raise SequenceGeneratorError(str(error)) from error


def events_to_ask_for(steps: int, density: float) -> int:
    """Returns how many events steps of 10 ms are expected to take.

    It is Magenta 2.1.4's estimate: four events a note, and at least a note a second.

    Args:
      steps: to be filled.
      density: notes per second.
    """
    return math.ceil(4 * max(1.0, density) * steps / STEPS_PER_SECOND)


def _mean_density(controls: Mapping[str, Any]) -> float:
    """The notes per second that controls ask for, in the mean."""
    density = NoteDensity()
    values = density.values(controls.get(density.name, density.default))
    return float(sum(values) / len(values))


def _step(seconds: float) -> int:
    """The step that notes at this time are quantised to."""
    return math.floor(seconds * STEPS_PER_SECOND + 0.5)


def _primer(
    sequence: music_pb2.NoteSequence, begin: float, end: float, limit: float
) -> NoteArrays | None:
    """Returns the notes that start between `begin` and `end` seconds, None if there are none.

    The pedal may hold them no longer than to `end` and to `limit`.

    Raises:
      SequenceGeneratorError: without the pedal, a note lasts beyond `limit`.
    """
    if not sequence.notes:
        return None
    notes = from_note_sequence(sequence)
    melodic = notes.take_notes(~notes.is_drum)
    last_end = _between(melodic, begin, end).end_time.max(initial=0.0)
    if last_end > limit + _STEP_TOLERANCE / STEPS_PER_SECOND:
        raise SequenceGeneratorError(
            f"the generate section starts at {limit} s, before the last note ends at "
            f"{last_end} s; sequences can only be extended"
        )
    kept = _between(primers.playable(notes, "the primer"), begin, min(end, limit))
    return kept if kept.num_notes else None


def _between(notes: NoteArrays, begin: float, end: float) -> NoteArrays:
    """The notes that start from `begin` to before `end`, ended there at the latest."""
    kept = primers.cut(notes, end)
    return kept.take_notes(kept.start_time >= begin)


def get_generator_map() -> dict[str, Callable[..., PerformanceRnnSequenceGenerator]]:
    """Returns for each config's key what makes its generator: call it with checkpoint= or bundle=.

    As in Magenta, these generate once as many events as the section is expected to take.
    """

    def create(config: MagentaConfig, **kwargs: Any) -> PerformanceRnnSequenceGenerator:
        return PerformanceRnnSequenceGenerator(
            PerformanceRnnModel(config), config.details, fill_generate_section=False, **kwargs
        )

    return {key: functools.partial(create, config) for key, config in magenta_configs.items()}
