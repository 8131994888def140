"""Generation: from a bundle and a primer to pieces of music as NoteSequences."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from bundles import Bundle
from perf_rnn.configs import PerformanceRnnConfig, default_configs
from perf_rnn.events import STEPS_PER_SECOND
from perf_rnn.note_arrays import NoteArrays, to_note_sequence
from perf_rnn.note_transforms import quantize
from perf_rnn.sampling import sample_events

# A note that the network forgot to release ends after this long, as in Magenta 2.1.4.
MAX_NOTE_SECONDS = 5.0


def config_of_bundle(bundle: Bundle) -> PerformanceRnnConfig:
    """Returns the config whose models have this bundle's id and classes.

    Raises:
      ValueError: there is none.
    """
    for config in default_configs.values():
        facts = config.id, config.num_classes, config.input_size
        if facts == (bundle.id, bundle.num_classes, bundle.input_size):
            return config
    raise ValueError(
        f"bundle id {bundle.id!r} with {bundle.num_classes} classes and {bundle.input_size} "
        "inputs is none of "
        f"{', '.join(f'{c.id} ({c.num_classes})' for c in default_configs.values())}"
    )


def encode_primer(
    primer: NoteArrays | None, config: PerformanceRnnConfig, num_steps: int
) -> np.ndarray:
    """Returns a primer's events, up to its total time; without one, up to a second of silence.

    Args:
      primer: notes in seconds, or None.
      config: of the model that goes on from it.
      num_steps: length of the whole piece.
    """
    codec = config.codec
    if primer is None:
        return codec.set_length(np.empty(0, np.int32), min(100, num_steps - 1))
    # Programs do not matter to the model; one program makes one performance.
    one_program = dataclasses.replace(primer, program=np.zeros(primer.num_notes, np.int32))
    quantized = quantize(one_program, STEPS_PER_SECOND)
    return codec.set_length(codec.encode(quantized), max(1, quantized.total_steps or 0))


def generate(
    bundle: Bundle,
    config: PerformanceRnnConfig,
    num_steps: int,
    num_outputs: int = 1,
    primer: NoteArrays | None = None,
    temperature: float = 1.0,
    seed: int = 0,
    on_progress: Callable[[int], object] = lambda steps: None,
) -> list[Any]:
    """Generates pieces, all in one batch.

    Args:
      bundle: the trained network.
      config: its config.
      num_steps: length of each piece, primer included (10 ms each).
      num_outputs: how many pieces.
      primer: notes that each begins with, in seconds.
      temperature: below 1 safer, above 1 wilder.
      seed: piece i depends on (seed, i) alone.
      on_progress: called now and then with the steps that the slowest piece has.

    Returns:
      `num_outputs` NoteSequences.

    Raises:
      ValueError: a number is out of range, or the primer not shorter than the piece.
    """
    if num_steps < 2:
        raise ValueError(f"num_steps {num_steps} is below 2")
    if num_outputs < 1:
        raise ValueError(f"num_outputs {num_outputs} is below 1")
    pieces = sample_events(
        bundle,
        config.codec,
        encode_primer(primer, config, num_steps),
        num_steps,
        [(seed, i) for i in range(num_outputs)],
        temperature,
        on_progress,
    )
    return [_to_sequence(events, config, num_steps) for events in pieces]


def _to_sequence(events: np.ndarray, config: PerformanceRnnConfig, num_steps: int) -> Any:
    notes = config.codec.decode(events, max_note_duration=MAX_NOTE_SECONDS)
    sequence = to_note_sequence(notes.unquantized())
    sequence.total_time = num_steps / STEPS_PER_SECOND
    return sequence
