"""Openings: the events that a piece begins with, from a primer's notes or from silence."""

import dataclasses

import numpy as np

from bundles.errors import PerfRnnError
from perf_rnn.configs import PerformanceRnnConfig
from perf_rnn.events.codec import STEPS_PER_SECOND, Codec, EventIndices
from perf_rnn.generation import primers
from perf_rnn.notes.arrays import NoteArrays
from perf_rnn.notes.transforms import quantize


@dataclasses.dataclass(frozen=True, eq=False)
class Opening:
    """What a piece begins with.

    Attributes:
      events: int32 [L, *event_shape], the piece's first events; may be empty with a lead-in.
      lead_in: int32 [l, *event_shape], what the network reads before them, which is no part of the
        piece: it takes no time, is not played, and no rule looks at it. None: nothing.
      start_step: when the piece begins.
      program: MIDI program of the piece.

    Raises:
      ValueError: there is no event at all, so that the network has nothing to read.
    """

    events: EventIndices
    lead_in: EventIndices | None = None
    start_step: int = 0
    program: int = 0

    def __post_init__(self) -> None:
        if not len(self.read):
            raise PerfRnnError("the primer is empty")

    @property
    def read(self) -> EventIndices:
        """The lead-in and then the events: all that the network reads before the first draw."""
        if self.lead_in is None:
            return self.events
        return np.concatenate([self.lead_in, self.events])

    def end_step(self, codec: Codec) -> int:
        """Returns the step from which the next event counts: note events can overlap the last."""
        return self.start_step + int(codec.event_steps(self.events).sum())

    def check_shorter(self, codec: Codec, num_steps: int) -> None:
        """Raises ValueError if the events last as long as a piece of `num_steps`, or longer."""
        steps = codec.num_steps(self.events)
        if steps >= num_steps:
            seconds, piece_seconds = steps / STEPS_PER_SECOND, num_steps / STEPS_PER_SECOND
            raise PerfRnnError(
                f"the primer lasts {seconds:g} s, the piece only {piece_seconds:g} s; take less of "
                f"the primer (max_primer_seconds={piece_seconds / 2:g}) or ask for a longer piece "
                f"(seconds={2 * seconds:g})"
            )


def silence(config: PerformanceRnnConfig, start_step: int = 0) -> Opening:
    """Returns the opening of a piece without a primer.

    The network reads the label that stands for nothing happening, a second of silence with one-hot
    events, as in Magenta; here that second is not part of the piece.

    Args:
      config: of the model.
      start_step: when the piece begins.
    """
    label = np.array([config.codec.default_label], np.int32)
    return Opening(label[:0], label, start_step)


def from_notes(
    primer: NoteArrays,
    config: PerformanceRnnConfig,
    num_steps: int | None = None,
    start_step: int = 0,
) -> Opening:
    """Returns the opening that consists of notes.

    Args:
      primer: notes in seconds, as they sound; those from `start_step` on are taken.
      config: of the model.
      num_steps: from `start_step` to where the model continues, if that is not at the primer's
        total time. Note events cannot end with silence: there it is at the last note's end.
      start_step: when the piece begins.

    Raises:
      ValueError: note events cannot express the notes.
    """
    notes = config.codec.cut_long_notes(quantize(primer, STEPS_PER_SECOND))
    if num_steps is None:
        num_steps = max(1, (notes.total_steps or 0) - start_step)
    events = config.codec.set_length(config.codec.encode(notes, start_step), num_steps)
    return Opening(events, start_step=start_step, program=primers.program_of(primer))
