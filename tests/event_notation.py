"""One-hot events of 32 velocity bins, and quantised notes, as tests write them."""

import numpy as np

from perf_rnn.notes.arrays import NoteArrays
from perf_rnn.notes.transforms import quantize


def on(pitch):
    return pitch


def off(pitch):
    return 128 + pitch


def shift(steps):
    return 255 + steps


def vel(velocity_bin):
    return 355 + velocity_bin


def quantized(*notes):
    """Notes given as (start step, end step, pitch, velocity)."""
    start, end, pitch, velocity = np.array(notes, np.int64).reshape(-1, 4).T
    return quantize(
        NoteArrays(start_time=start / 100, end_time=end / 100, pitch=pitch, velocity=velocity), 100
    )


def played(notes):
    """Notes as (start step, end step, pitch, velocity)."""
    columns = (notes.start_step, notes.end_step, notes.pitch, notes.velocity)
    return list(zip(*(column.tolist() for column in columns), strict=True))
