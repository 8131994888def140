"""Pieces: what they begin with, how they go on, and the notes they come to."""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bundles import Bundle
from bundles.errors import PerfRnnError
from perf_rnn.configs import PerformanceRnnConfig
from perf_rnn.events.codec import STEPS_PER_SECOND, EventIndices
from perf_rnn.generation import primers
from perf_rnn.generation.beam_search import beam_search
from perf_rnn.generation.sampler import Controls, SamplingOptions, Seed, sample_events
from perf_rnn.generation.streaming import Stream
from perf_rnn.notes.arrays import NoteArrays, to_note_sequence
from perf_rnn.notes.transforms import quantize

if TYPE_CHECKING:
    from note_seq.protobuf import music_pb2

# A note that the network forgot to release ends after this long, as in Magenta 2.1.4.
MAX_NOTE_SECONDS = 5.0


@dataclasses.dataclass(frozen=True, eq=False)
class Opening:
    """What a piece begins with.

    Attributes:
      events: int32 [L, *event_shape], at least one.
      start_step: when the first of them that is played is.
      num_unheard: how many of them, from the first on, are not played: they take no time, and are
        there because the network needs an event to go on from.
      program: MIDI program of the piece.
    """

    events: EventIndices
    start_step: int = 0
    num_unheard: int = 0
    program: int = 0


def silence(config: PerformanceRnnConfig, start_step: int = 0) -> Opening:
    """Returns the opening of a piece without a primer: the label that stands for nothing.

    The network goes on from a second of silence, as in Magenta, but nobody has to listen to it.

    Args:
      config: of the model.
      start_step: when the piece begins.
    """
    return Opening(np.array([config.codec.default_label], np.int32), start_step, num_unheard=1)


def encode_primer(
    primer: NoteArrays,
    config: PerformanceRnnConfig,
    num_steps: int | None = None,
    start_step: int = 0,
) -> Opening:
    """Returns the opening that consists of notes.

    Args:
      primer: notes in seconds, as they sound; those from `start_step` on are taken.
      config: of the model.
      num_steps: from `start_step` to where the model takes over, if that is not at the primer's
        total time. Note events cannot end with silence: there it is at the last note's end.
      start_step: when the piece begins.

    Raises:
      ValueError: note events cannot express the notes.
    """
    notes = config.codec.cut_long_notes(quantize(primer, STEPS_PER_SECOND))
    if num_steps is None:
        num_steps = max(1, (notes.total_steps or 0) - start_step)
    events = config.codec.set_length(config.codec.encode(notes, start_step), num_steps)
    return Opening(events, start_step, program=primers.program_of(primer))


def fill(
    bundle: Bundle,
    config: PerformanceRnnConfig,
    opening: Opening,
    num_steps: int,
    seeds: Sequence[Seed],
    options: SamplingOptions,
    controls: Controls,
    beam: tuple[int, int, int] = (1, 1, 1),
    on_progress: Callable[[int], object] = lambda steps: None,
) -> list[EventIndices]:
    """Goes on from an opening until pieces are full, once for each seed.

    Args:
      bundle: the network.
      config: its config.
      opening: what the pieces begin with.
      num_steps: length of the pieces, the opening included.
      seeds: one for each piece.
      options: how events are drawn.
      controls: the control vectors at given steps of the pieces.
      beam: beam size, branch factor and steps per iteration of a `beam_search`.
      on_progress: called now and then with the steps that the slowest piece has.

    Returns:
      For each seed its events, the opening included.

    Raises:
      ValueError: the opening is not shorter than the pieces, or a size of the beam is below 1.
    """
    names = "beam_size", "branch_factor", "steps_per_iteration"
    for name, value in zip(names, beam, strict=True):
        check_count(name, value, 1)
    if beam[:2] == (1, 1):
        return sample_events(
            bundle,
            config,
            opening.events,
            num_steps,
            seeds,
            options,
            controls,
            on_progress,
            opening.num_unheard,
        )
    searches = beam_search(
        bundle,
        config,
        opening.events,
        None,
        seeds,
        options,
        controls,
        *beam,
        num_steps=num_steps,
        on_progress=on_progress,
        num_unheard=opening.num_unheard,
    )
    return [events for events, _ in searches]


def start_stream(
    bundle: Bundle,
    config: PerformanceRnnConfig,
    opening: Opening,
    seed: Seed,
    options: SamplingOptions,
    controls: Controls,
    max_note_duration: float = MAX_NOTE_SECONDS,
) -> Stream:
    """Goes on from an opening for ever; the arguments are those of `fill` and `to_sequence`."""
    limit = math.inf if config.codec.whole_notes else max_note_duration
    return Stream(
        bundle,
        config,
        opening.events,
        seed,
        options,
        controls,
        limit,
        start_step=opening.start_step,
        num_unheard=opening.num_unheard,
    )


def to_sequence(
    events: EventIndices,
    config: PerformanceRnnConfig,
    opening: Opening,
    num_steps: int,
    max_note_duration: float = MAX_NOTE_SECONDS,
) -> music_pb2.NoteSequence:
    """Returns the notes of a piece.

    Args:
      events: int32 [L, *event_shape], the opening's included.
      config: of the model they come from.
      opening: what it begins with.
      num_steps: length of the piece.
      max_note_duration: seconds; longer notes are cut to it, but for those of note events, which
        say themselves how long they are.
    """
    notes = config.codec.decode(
        events[opening.num_unheard :],
        opening.start_step,
        max_note_duration=None if config.codec.whole_notes else max_note_duration,
        program=opening.program,
    )
    sequence = to_note_sequence(notes.unquantized())
    sequence.total_time = (opening.start_step + num_steps) / STEPS_PER_SECOND
    return sequence


def check_count(name: str, value: Any, lowest: int) -> None:
    """Raises ValueError if a named value is no whole number, or below `lowest`."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < lowest:
        raise PerfRnnError(f"{name} {value!r} is not a whole number of at least {lowest}")
