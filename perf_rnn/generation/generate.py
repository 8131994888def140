"""Generation: from a model and a primer to pieces of music."""

from __future__ import annotations

import ast
import dataclasses
import random
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from bundles import Bundle
from bundles.errors import PerfRnnError
from perf_rnn.configs import PerformanceRnnConfig, default_configs
from perf_rnn.events.codec import STEPS_PER_SECOND, EventIndices
from perf_rnn.events.controls import Conditioning
from perf_rnn.generation import pieces, primers
from perf_rnn.generation.control_schedule import ControlSchedule
from perf_rnn.generation.sampler import DEFAULT_OPTIONS, SamplingOptions, log_likelihood
from perf_rnn.generation.streaming import Stream
from perf_rnn.models import DEFAULT_CONFIG, Source, load_model
from perf_rnn.notes.arrays import NoteArrays

if TYPE_CHECKING:
    from note_seq.protobuf import music_pb2

# A week: longer pieces are for `stream`, which does not hold them in memory.
MAX_SECONDS = 7 * 24 * 3600


def generate(
    config_or_bundle: Source = DEFAULT_CONFIG,
    seconds: float = 30.0,
    *,
    num_outputs: int = 1,
    primer: Any = None,
    temperature: float | list[float] | tuple[float, ...] = 1.0,
    seed: int | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    legal_events: bool = True,
    pitch_min_p: float = DEFAULT_OPTIONS.pitch_min_p,
    beam_size: int = 1,
    branch_factor: int = 1,
    steps_per_iteration: int = 1,
    disable_conditioning: bool | list[bool] | None = None,
    on_progress: Callable[[int], object] = lambda steps: None,
    **controls: Any,
) -> list[music_pb2.NoteSequence]:
    """Generates piano performances.

    A list in place of a value is spread over the piece, each item over an equal part of its time.

    >>> import perf_rnn
    >>> (piece,) = perf_rnn.generate(seconds=2, primer=[60, 64, 67], temperature=[0.9, 1.1], seed=1)
    >>> [note.pitch for note in piece.notes if note.start_time == 0], piece.total_time
    ([60, 64, 67], 2.0)

    Args:
      config_or_bundle: what plays: a config's key, whose shipped bundle it is; the path of a
        bundle or of a training run's directory; or a Bundle.
      seconds: length of each piece, primer included.
      num_outputs: how many pieces.
      primer: what each begins with: a NoteSequence, `NoteArrays`, the path of a MIDI file, or a
        list of MIDI pitches, which are a chord of half a second.
      temperature: above 0; below 1 safer, above 1 wilder.
      seed: piece i depends on (seed, i) alone; None: a new one.
      top_k: if given, only this many most probable events are drawn from.
      top_p: if given, only the most probable events that make up this much of the probability.
      min_p: if given, only events at least this many times as probable as the most probable.
      legal_events: whether events that make no sense where they stand are left out, such as
        releasing a key that is not down.
      pitch_min_p: with legal events, only pitches at least this many times as probable as the most
        probable one are struck; 0: all. See `SamplingOptions`.
      beam_size, branch_factor, steps_per_iteration: as `beam_search` has them; all 1: none.
      disable_conditioning: whether the controls are disabled, where the model allows it.
      on_progress: called now and then with the steps that the slowest piece has.
      **controls: what a conditioned model is to play, such as `notes_per_second=4` or
        `pitch_class_histogram="c_major"`; the signal's default where not given.

    Returns:
      `num_outputs` NoteSequences.

    Raises:
      ValueError: an argument makes no sense, or the primer is not shorter than the piece.
      OSError: a file cannot be read.
    """
    if not 2 / STEPS_PER_SECOND <= seconds <= MAX_SECONDS:
        raise PerfRnnError(f"seconds {seconds} is not a number from 0.02 to {MAX_SECONDS}")
    bundle, config = load_model(config_or_bundle)
    made = generate_pieces(
        bundle,
        config,
        round(seconds * STEPS_PER_SECOND),
        num_outputs,
        primer=primers.from_any(primer),
        options=SamplingOptions(temperature, top_k, top_p, min_p, legal_events, pitch_min_p),
        seed=new_seed() if seed is None else seed,
        controls=controls,
        disable_conditioning=disable_conditioning,
        beam=(beam_size, branch_factor, steps_per_iteration),
        on_progress=on_progress,
    )
    return [piece.sequence for piece in made]


def stream(
    config_or_bundle: Source = DEFAULT_CONFIG,
    *,
    primer: Any = None,
    temperature: float = 1.0,
    seed: int | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    legal_events: bool = True,
    pitch_min_p: float = DEFAULT_OPTIONS.pitch_min_p,
    disable_conditioning: bool | None = None,
    **controls: Any,
) -> Stream:
    """Plays for ever: returns an iterator of notes, each as soon as it is decided.

    Arguments are those of `generate`, without lists, since there is no end to spread them over.
    The notes are those of the piece that `generate` makes, for as long as nothing is changed;
    everything can be, while it plays, and its state can be saved, see `Stream`.

    >>> import perf_rnn
    >>> notes = perf_rnn.stream(primer=[60, 64, 67], seed=1)
    >>> sorted(next(notes).pitch for _ in range(3))
    [60, 64, 67]

    Raises:
      ValueError: an argument makes no sense.
      OSError: a file cannot be read.
    """
    bundle, config = load_model(config_or_bundle)
    seed = new_seed() if seed is None else seed
    pieces.check_count("seed", seed, 0)
    return pieces.start_stream(
        bundle,
        config,
        _opening(primers.from_any(primer), config),
        (seed, 0),
        SamplingOptions(temperature, top_k, top_p, min_p, legal_events, pitch_min_p),
        ControlSchedule(config.conditioning, controls, None, disable_conditioning),
    )


@dataclasses.dataclass(frozen=True)
class GeneratedPiece:
    """A piece, and how it looks to the network.

    Attributes:
      sequence: NoteSequence.
      events: int32 [L, *event_shape], what it is made of, from its beginning on.
      nll: of the events that were generated, in nats per event, as the network itself predicts
        them; None where it was not asked for, or none was.
    """

    sequence: music_pb2.NoteSequence
    events: EventIndices
    nll: float | None = None


def generate_pieces(
    bundle: Bundle,
    config: PerformanceRnnConfig,
    num_steps: int,
    num_outputs: int,
    seed: int,
    *,
    primer: NoteArrays | None = None,
    options: SamplingOptions = DEFAULT_OPTIONS,
    controls: Mapping[str, Any] | None = None,
    disable_conditioning: bool | list[bool] | None = None,
    beam: tuple[int, int, int] = (1, 1, 1),
    on_progress: Callable[[int], object] = lambda steps: None,
    with_nll: bool = False,
) -> list[GeneratedPiece]:
    """Does what `generate` says, with what it has made of its arguments.

    Args:
      bundle: the trained network.
      config: its config.
      num_steps: length of each piece, primer included (10 ms each).
      num_outputs: how many pieces.
      seed: piece i depends on (seed, i) alone.
      primer: notes that each begins with, in seconds.
      options: how events are chosen.
      controls: values or lists of them for the control signals, by name.
      disable_conditioning: whether they are disabled.
      beam: beam size, branch factor and steps per iteration of a beam search.
      on_progress: called now and then with the steps that the slowest piece has.
      with_nll: whether to evaluate the pieces, which takes about as long as to sample them.
    """
    pieces.check_count("num_outputs", num_outputs, 1)
    pieces.check_count("seed", seed, 0)
    schedule = ControlSchedule(config.conditioning, controls, num_steps, disable_conditioning)
    opening = _opening(primer, config)
    seeds = [(seed, i) for i in range(num_outputs)]
    made = pieces.fill(
        bundle, config, opening, num_steps, seeds, options, schedule, beam, on_progress
    )
    nlls: list[float | None] = [None] * num_outputs
    if with_nll:
        given, *total = log_likelihood(
            bundle, config, [opening.events, *made], schedule, num_unheard=opening.num_unheard
        )
        nlls = [
            (given - whole) / (len(events) - len(opening.events))
            if len(events) > len(opening.events)
            else None
            for whole, events in zip(total, made, strict=True)
        ]
    return [
        GeneratedPiece(
            pieces.to_sequence(events, config, opening, num_steps),
            events[opening.num_unheard :],
            nll,
        )
        for events, nll in zip(made, nlls, strict=True)
    ]


def _opening(primer: NoteArrays | None, config: PerformanceRnnConfig) -> pieces.Opening:
    if primer is None:
        return pieces.silence(config)
    return pieces.encode_primer(primer, config)


def new_seed() -> int:
    """Returns a seed that nobody has asked for."""
    return random.randrange(2**31)


def parse_temperature(text: str) -> float | list[float]:
    """Returns the temperature that a user has written: a number, or a list such as [0.9, 1.1].

    Raises:
      ValueError: it is neither.
    """
    try:
        value = ast.literal_eval(text.strip())
        return [float(item) for item in value] if isinstance(value, list) else float(value)
    except (ValueError, SyntaxError, TypeError, OverflowError, MemoryError, RecursionError):
        raise PerfRnnError(
            f"temperature {text!r} is neither a number nor a list such as [0.9,1.1]"
        ) from None


def parse_controls(conditioning: Conditioning, args: Mapping[str, Any]) -> dict[str, Any]:
    """Returns those of named values that are for control signals, read where they are text.

    What a conditioned model has that this one has not is left as it is, for `ControlSchedule` to
    refuse.

    Raises:
      ValueError: a text is not what its signal takes.
    """
    signals = {signal.name: signal for signal in conditioning.signals}
    known = {s.name for config in default_configs.values() for s in config.conditioning.signals}
    return {
        name: signals[name].parse(value) if name in signals and isinstance(value, str) else value
        for name, value in args.items()
        if name in known | signals.keys()
    }
