"""Pieces: openings continued to a length, and the notes that their events play."""

from collections.abc import Callable, Sequence

import numpy as np

from perf_rnn.events.codec import STEPS_PER_SECOND, Codec, EventIndices
from perf_rnn.generation.beam_search import beam_search
from perf_rnn.generation.logits import Seed
from perf_rnn.generation.openings import Opening
from perf_rnn.generation.options import BeamOptions, SamplingOptions
from perf_rnn.generation.sampler import Controls, sample_events
from perf_rnn.models import Model
from perf_rnn.notes.arrays import NoteArrays
from perf_rnn.notes.transforms import delay

# A note that the network forgot to release ends after this long, as in Magenta 2.1.4.
MAX_NOTE_SECONDS = 5.0


def extend(
    model: Model,
    opening: Opening,
    num_steps: int,
    seeds: Sequence[Seed],
    options: SamplingOptions,
    beam: BeamOptions,
    controls: Controls,
    on_progress: Callable[[int], object] = lambda steps: None,
    more_steps: int = 0,
) -> list[EventIndices]:
    """Continues an opening to `num_steps`, once for each seed, with a beam search or without.

    Arguments, results and errors are those of `sample_events` and `beam_search`.
    """
    if beam.width == 1:
        return sample_events(
            model, opening, num_steps, seeds, options, controls, on_progress, more_steps
        )
    found = beam_search(
        model,
        opening,
        seeds,
        beam,
        options,
        controls,
        num_steps=num_steps,
        on_progress=on_progress,
        more_steps=more_steps,
    )
    return [events for events, _ in found]


def notes_of(
    events: EventIndices,
    codec: Codec,
    opening: Opening,
    num_steps: int,
    max_note_seconds: float = MAX_NOTE_SECONDS,
) -> NoteArrays:
    """Returns the notes of a piece, in seconds.

    Args:
      events: int32 [L, *event_shape], those of the opening included.
      codec: that they are of.
      opening: what the piece begins with.
      num_steps: length of the piece.
      max_note_seconds: longer notes are cut to it, but for those of note events, which hold their
        durations themselves.
    """
    notes = codec.decode(
        events,
        opening.start_step,
        max_note_duration=None if codec.whole_notes else max_note_seconds,
        program=opening.program,
    )
    total_time = (opening.start_step + num_steps) / STEPS_PER_SECOND
    return notes.unquantized().replace(total_time=total_time)


def continuation_of(
    events: EventIndices, codec: Codec, opening: Opening, num_steps: int
) -> NoteArrays:
    """Returns the notes of a piece that come after the opening, in seconds from `end_step` of it.

    Arguments are those of `notes_of`.
    """
    notes = notes_of(events, codec, opening, num_steps)
    begin = opening.end_step(codec) / STEPS_PER_SECOND
    if codec.whole_notes:  # The opening's last note begins there.
        is_new = np.arange(notes.num_notes) >= len(opening.events)
    else:
        is_new = notes.start_time > begin - 0.5 / STEPS_PER_SECOND
    return delay(notes.take_notes(is_new), -begin)
