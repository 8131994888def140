"""Generation: from a model and a primer to pieces of music."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import math
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bundles.errors import PerfRnnError
from perf_rnn.configs import PerformanceRnnConfig, default_configs
from perf_rnn.events.codec import STEPS_PER_SECOND, EventIndices
from perf_rnn.events.controls import Conditioning
from perf_rnn.generation import endings, openings, pieces, primers
from perf_rnn.generation import infill as infills
from perf_rnn.generation.control_schedule import ControlSchedule
from perf_rnn.generation.logits import Seed
from perf_rnn.generation.options import (
    DEFAULT_OPTIONS,
    NO_BEAM,
    BeamOptions,
    SamplingOptions,
    check_count,
    is_number,
)
from perf_rnn.generation.sampler import log_likelihood
from perf_rnn.generation.streaming import Stream
from perf_rnn.literals import parse_literal
from perf_rnn.models import DEFAULT_CONFIG, Model, Source, load_model
from perf_rnn.notes.arrays import NoteArrays, to_note_sequence

if TYPE_CHECKING:
    from note_seq.protobuf import music_pb2

OUTPUTS = ("joined", "continuation")
DEFAULT_SECONDS = 30.0
# A week: longer pieces are for `stream`, which does not hold them in memory.
MAX_SECONDS = 7 * 24 * 3600


def generate(
    config_or_bundle: Source = DEFAULT_CONFIG,
    seconds: float | None = None,
    *,
    num_steps: int | None = None,
    num_outputs: int = 1,
    primer: Any = None,
    primer_melody: Sequence[int] | str | None = None,
    max_primer_seconds: float | None = None,
    primer_from: str = "start",
    infill: Sequence[float] | str | None = None,
    temperature: float | list[float] | tuple[float, ...] = 1.0,
    seed: int | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    legal_events: bool = True,
    pitch_min_p: float = DEFAULT_OPTIONS.pitch_min_p,
    guidance: float = DEFAULT_OPTIONS.guidance,
    beam_size: int = 1,
    branch_factor: int = 1,
    steps_per_iteration: int = 1,
    disable_conditioning: bool | list[bool] | None = None,
    ending: str = "cut",
    output: str = "joined",
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
      config_or_bundle: the model: a config's key, for the bundle shipped with it; the path of a
        bundle or of a training run's directory; or what `bundles.read_bundle`,
        `bundles.read_bundle_file` or `perf_rnn.models.load_model` returns.
      seconds: length of each piece, primer included; 30 if not given. What a recording has before
        the primer comes on top.
      num_steps: the same in steps of 10 ms, in place of `seconds`.
      num_outputs: how many pieces.
      primer: what each begins with: a NoteSequence, `NoteArrays`, the path of a MIDI file, or a
        list of MIDI pitches, which are a chord of half a second.
      primer_melody: in place of `primer`, a list of sixteenth notes at 120 beats a minute: a MIDI
        pitch strikes a note, -2 holds it, -1 ends it.
      max_primer_seconds: only so much of the primer is taken, silence before its first note not
        counted.
      primer_from: from which side it is taken, 'start' or 'end'.
      infill: (begin, end), seconds of the primer that are played anew, so that they lead into what
        follows, see `perf_rnn.generation.infill`. Pieces are as long as the primer then.
      output: 'joined' is what was played, note for note, with its continuation; 'continuation' is
        that alone, from time 0.
      temperature: above 0; below 1 safer, above 1 wilder.
      seed: piece i depends on (seed, i) alone; None: a new one, from the operating system.
      top_k: if given, only this many most probable events are drawn from.
      top_p: if given, only the most probable events that make up this much of the probability.
      min_p: if given, only events at least this many times as probable as the most probable.
      legal_events: whether illegal events, such as releasing a key that is not down, are never
        drawn.
      pitch_min_p: with legal events, only pitches at least this many times as probable as the most
        probable one are struck; 0: all. See `SamplingOptions`.
      beam_size, branch_factor, steps_per_iteration: as `BeamOptions` has them; all 1: no search.
      disable_conditioning: whether the controls are disabled, where the model allows it.
      ending: 'cut' stops at the length that was asked for; 'release' strikes no note after it and
        lets those that sound end by themselves; 'rest' does so at the longest pause within the next
        ten seconds.
      on_progress: called now and then with the steps that the slowest piece has.
      **controls: what a conditioned model is to play, such as `notes_per_second=4` or
        `pitch_class_histogram="c_major"`; the signal's default where not given.

    Returns:
      `num_outputs` NoteSequences.

    Raises:
      ValueError: an argument makes no sense, or the primer is not shorter than the piece.
      OSError: a file cannot be read.
    """
    if output not in OUTPUTS:
        raise PerfRnnError(f"output {output!r} is neither {' nor '.join(OUTPUTS)}")
    begins = primers.from_arguments(primer, primer_melody, max_primer_seconds, primer_from, infill)
    options = GenerationOptions(
        length_in_steps(seconds, num_steps, begins),
        num_outputs,
        new_seed() if seed is None else seed,
        begins,
        SamplingOptions(temperature, top_k, top_p, min_p, legal_events, pitch_min_p, guidance),
        BeamOptions(beam_size, branch_factor, steps_per_iteration),
        controls,
        disable_conditioning,
        ending,
    )
    model = load_model(config_or_bundle)
    _check_names(generate, controls, model)
    made = generate_pieces(model, options, on_progress)
    is_joined = output == "joined"
    return [to_note_sequence(piece.notes if is_joined else piece.continuation) for piece in made]


def length_in_steps(
    seconds: float | None, num_steps: int | None, primer: primers.Primer | None = None
) -> int:
    """Returns the length of pieces that arguments named seconds and num_steps ask for.

    With an infill it is the time from the primer's begin to the end of the infill.

    Raises:
      PerfRnnError: both are given, or one is out of range; or one is given with an infill.
    """
    if primer and primer.rest is not None:
        for name, value in (("seconds", seconds), ("num_steps", num_steps)):
            if value is not None:
                raise PerfRnnError(f"infill is as long as it says; leave out {name}={value}")
        return math.floor((primer.rest_begin - primer.begin) * STEPS_PER_SECOND + 1e-6)
    if num_steps is not None:
        if seconds is not None:
            raise PerfRnnError(f"seconds={seconds} and num_steps={num_steps}: give one of them")
        check_count("num_steps", num_steps, 2)
        return int(num_steps)
    seconds = DEFAULT_SECONDS if seconds is None else seconds
    if not (is_number(seconds) and 2 / STEPS_PER_SECOND <= seconds <= MAX_SECONDS):
        raise PerfRnnError(f"seconds {seconds!r} is not a number from 0.02 to {MAX_SECONDS}")
    return round(seconds * STEPS_PER_SECOND)


def stream(
    config_or_bundle: Source = DEFAULT_CONFIG,
    *,
    primer: Any = None,
    primer_melody: Sequence[int] | str | None = None,
    max_primer_seconds: float | None = None,
    primer_from: str = "start",
    temperature: float = 1.0,
    seed: int | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    legal_events: bool = True,
    pitch_min_p: float = DEFAULT_OPTIONS.pitch_min_p,
    guidance: float = DEFAULT_OPTIONS.guidance,
    disable_conditioning: bool | None = None,
    **controls: Any,
) -> Stream:
    """Plays without end: returns an iterator of the starts and ends of notes, in order of time.

    Arguments are those of `generate`, without lists, since there is no end to spread them over.
    The notes are those of the piece that `generate` makes, until options or controls are changed,
    which can be done at any time. The state can be saved, see `Stream`.

    >>> import perf_rnn
    >>> messages = perf_rnn.stream(primer=[60, 64, 67], seed=1)
    >>> next(messages)
    NoteMessage(time=0.0, pitch=60, velocity=97)

    Raises:
      ValueError: an argument makes no sense.
      OSError: a file cannot be read.
    """
    model = load_model(config_or_bundle)
    _check_names(stream, controls, model)
    seed = new_seed() if seed is None else seed
    check_count("seed", seed, 0)
    return Stream(
        model,
        _opening(
            primers.from_arguments(primer, primer_melody, max_primer_seconds, primer_from),
            model.config,
        ),
        (seed, 0),
        SamplingOptions(temperature, top_k, top_p, min_p, legal_events, pitch_min_p, guidance),
        ControlSchedule(model.config.conditioning, controls, None, disable_conditioning),
    )


@dataclasses.dataclass(frozen=True, eq=False)
class GenerationOptions:
    """Which pieces are generated, and how.

    Attributes:
      num_steps: length of each, primer included (10 ms each).
      num_outputs: how many.
      seed: piece i depends on (seed, i) alone.
      primer: what each begins with; None: nothing.
      sampling: how events are drawn.
      beam: how wide a beam search is.
      controls: values or lists of them for the control signals, by name.
      disable_conditioning: whether the controls are disabled, for a model that allows it.
      ending: see `endings.end`.

    Raises:
      ValueError: a number is not a whole one, or too small, or there is no such ending.
    """

    num_steps: int
    num_outputs: int
    seed: int
    primer: primers.Primer | None = None
    sampling: SamplingOptions = DEFAULT_OPTIONS
    beam: BeamOptions = NO_BEAM
    controls: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    disable_conditioning: bool | list[bool] | None = None
    ending: str = "cut"

    def __post_init__(self) -> None:
        check_count("num_steps", self.num_steps, 2)
        check_count("num_outputs", self.num_outputs, 1)
        check_count("seed", self.seed, 0)
        endings.check(self.ending)

    @property
    def more_steps(self) -> int:
        """The steps that are played after `num_steps`, for the ending."""
        return endings.MORE_STEPS[self.ending]


@dataclasses.dataclass(frozen=True, eq=False)
class GeneratedPiece:
    """A piece, and how probable it is to the network.

    Attributes:
      continuation: the notes that were generated, in seconds from where the primer ends; with note
        events, from the start of its last note.
      events: int32 [L, *event_shape], all of the piece, those of the primer and those that the
        ending leaves out included.
      primer: what it begins with; None: nothing.
      primer_steps: the steps from the primer's begin to that time.
      nll: of the events that were generated, in nats per event, as the network itself predicts
        them; None where it was not asked for, or none was generated.
    """

    continuation: NoteArrays
    events: EventIndices
    primer: primers.Primer | None = None
    primer_steps: int = 0
    nll: float | None = None

    @property
    def notes(self) -> NoteArrays:
        """What was played and its continuation."""
        if self.primer is None:
            return self.continuation
        return self.primer.join(self.continuation, self.primer_steps / STEPS_PER_SECOND)


def generate_pieces(
    model: Model,
    options: GenerationOptions,
    on_progress: Callable[[int], object] = lambda steps: None,
    with_nll: bool = False,
) -> list[GeneratedPiece]:
    """Generates pieces as note arrays.

    Args:
      model: the model.
      options: which pieces are generated, and how.
      on_progress: called now and then with the steps that the slowest piece has.
      with_nll: whether to evaluate the pieces, which takes about as long as to sample them.

    Raises:
      ValueError: the model has no such control, the primer is not shorter than the piece, or note
        events cannot express it.
    """
    codec, num_steps = model.config.codec, options.num_steps
    schedule = ControlSchedule(
        model.config.conditioning, options.controls, num_steps, options.disable_conditioning
    )
    primer, opening = options.primer, _opening(options.primer, model.config)

    def play(seeds: Sequence[Seed]) -> list[EventIndices]:
        return pieces.extend(
            model,
            opening,
            num_steps,
            seeds,
            options.sampling,
            options.beam,
            schedule,
            on_progress,
            options.more_steps,
        )

    numbers = range(options.num_outputs)
    if primer is None or primer.rest is None:
        made = play([(options.seed, i) for i in numbers])
    else:
        if options.ending != "cut":
            raise PerfRnnError(f"infill ends where it says; leave out ending={options.ending}")
        following = infills.following_events(primer.rest, primer.rest_begin, model.config)
        drawn = (play([(options.seed, i, k) for k in range(infills.CANDIDATES)]) for i in numbers)
        made = [infills.choose(model, candidates, following, schedule) for candidates in drawn]
    nlls: list[float | None] = [None] * len(made)
    if with_nll:
        given, *total = log_likelihood(
            model, [opening.events, *made], schedule, lead_in=opening.lead_in
        )
        num_generated = [len(events) - len(opening.events) for events in made]
        nlls = [
            (given - whole) / count if count > 0 else None
            for whole, count in zip(total, num_generated, strict=True)
        ]
    begin = opening.end_step(codec)
    result = []
    for events, nll in zip(made, nlls, strict=True):
        notes = pieces.continuation_of(events, codec, opening, num_steps + options.more_steps)
        notes = endings.end(notes, (num_steps - begin) / STEPS_PER_SECOND, options.ending)
        result.append(GeneratedPiece(notes, events, options.primer, begin, nll))
    return result


def _opening(primer: primers.Primer | None, config: PerformanceRnnConfig) -> openings.Opening:
    return openings.silence(config) if primer is None else openings.from_notes(primer.notes, config)


def new_seed() -> int:
    """Returns a seed from the operating system; no generator of random numbers is touched."""
    return secrets.randbelow(2**31)


def parse_temperature(text: str) -> float | list[float]:
    """Returns the temperature that a user has written: a number, or a list such as [0.9, 1.1].

    Raises:
      ValueError: it is neither.
    """
    try:
        value = parse_literal(text)
        return [float(item) for item in value] if isinstance(value, list) else float(value)
    except (ValueError, TypeError, OverflowError):
        raise PerfRnnError(
            f"temperature {text!r} is neither a number nor a list such as [0.9,1.1]"
        ) from None


def _check_names(function: Callable[..., Any], controls: Iterable[str], model: Model) -> None:
    """Raises the PerfRnnError of a keyword that is no argument of `function`, nor a control."""
    signals = _control_names(model.config.conditioning)
    known = [*inspect.signature(function).parameters][:-1] + signals
    for name in controls:
        if name not in signals:
            nearest = difflib.get_close_matches(name, known, 1)
            hint = f"perhaps {nearest[0]}" if nearest else f"controls are {', '.join(signals)}"
            raise PerfRnnError(f"there is no argument {name!r}; {hint}")


def _control_names(conditioning: Conditioning) -> list[str]:
    """Returns the names of its control signals, and of those of Magenta's configs."""
    all_of_them = [config.conditioning for config in default_configs.values()]
    signals = [signal.name for each in (*all_of_them, conditioning) for signal in each.signals]
    return list(dict.fromkeys(signals))


def parse_controls(conditioning: Conditioning, args: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values of control signals among named values; texts are parsed.

    Values for control signals of other configs are returned as they are: `ControlSchedule` refuses
    them.

    Raises:
      ValueError: a text is not what its signal takes.
    """
    signals = {signal.name: signal for signal in conditioning.signals}
    known = _control_names(conditioning)
    return {
        name: signals[name].parse(value) if name in signals and isinstance(value, str) else value
        for name, value in args.items()
        if name in known
    }
