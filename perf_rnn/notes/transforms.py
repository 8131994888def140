"""Sustain, stretch, split, quantise and transpose: what note arrays go through before encoding.

Each function returns new note arrays, leaves its input alone, works on whole arrays and gives,
note for note, what the function of note-seq 0.0.5's `sequences_lib` named in it gives.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundles.errors import PerfRnnError
from perf_rnn.notes.arrays import Floats, Int64s, NoteArrays

# A day. One corrupt byte can make years of silence, which would become 10^9 events or segments.
MAX_SECONDS = 86400

MIN_PITCH = 0
MAX_PITCH = 127

SUSTAIN_CONTROL = 64
# Sustain, sostenuto and soft pedal: the control changes that a segment takes over.
PEDAL_CONTROLS = (64, 66, 67)


def apply_sustain(arrays: NoteArrays) -> NoteArrays:
    """Holds notes for as long as the sustain pedal does, as `apply_sustain_control_changes`.

    The pedal (control 64) is down from a value of 64 or more to a value below. Per instrument, a
    note that ends with the pedal down lasts until the pedal is next lifted, or until the last
    event of the sequence if it never is. A note struck with the pedal down ends earlier notes of
    its pitch; a note of its pitch that started at the same time is removed. Drums are not changed.
    If the pedal goes down and up at the same time, it is up, whatever the order, as in note_seq.

    Raises:
      PerfRnnError: the notes are quantised, or a time is not finite.
    """
    _require_unquantized(arrays, "apply sustain to")
    _check_times(arrays, np.inf)
    is_pedal = arrays.control_number == SUSTAIN_CONTROL
    is_note = ~arrays.is_drum
    end_time = arrays.end_time.copy()
    keep = np.ones(arrays.num_notes, np.bool_)
    lifted_last = 0.0
    held_to_the_end = False
    last_event = max(
        arrays.start_time[is_note].max(initial=-np.inf),
        arrays.end_time[is_note].max(initial=-np.inf),
        arrays.control_time[is_pedal].max(initial=-np.inf),
    )

    for instrument in np.unique(arrays.control_instrument[is_pedal]):
        pedal = np.flatnonzero(is_pedal & (arrays.control_instrument == instrument))
        pedal_time = arrays.control_time[pedal]
        pedal_down = arrays.control_value[pedal] >= 64
        order = np.lexsort((~pedal_down, pedal_time))
        pedal_time, pedal_down = pedal_time[order], pedal_down[order]
        lift_time = np.append(pedal_time[~pedal_down], np.inf)

        notes = np.flatnonzero(is_note & (arrays.instrument == instrument))
        notes = notes[np.lexsort((arrays.start_time[notes], arrays.pitch[notes]))]
        start, end = arrays.start_time[notes], arrays.end_time[notes]

        held = _is_down(pedal_time, pedal_down, end)
        released = np.where(held, lift_time[np.searchsorted(lift_time, end)], end)
        struck_again = _next_strike(
            arrays.pitch[notes], start, _is_down(pedal_time, pedal_down, start)
        )
        is_lifted = held & (released < np.inf) & (released <= struck_again)
        lifted_last = max(lifted_last, released[is_lifted].max(initial=0.0))
        keep[notes] = struck_again > start
        released = np.minimum(released, struck_again)
        held_to_the_end |= bool(np.isinf(released).any())
        end_time[notes] = np.where(np.isinf(released), last_event, released)

    total_time = last_event if held_to_the_end else max(arrays.total_time, lifted_last)
    arrays = arrays.replace(end_time=end_time, total_time=float(total_time))
    return arrays if keep.all() else arrays.take_notes(keep)


def _is_down(pedal_time: Floats, pedal_down: NDArray[np.bool_], time: Floats) -> NDArray[np.bool_]:
    """Whether the pedal is down at each time, pedal events at that very time included."""
    return np.append(False, pedal_down)[np.searchsorted(pedal_time, time, side="right")]


def _next_strike(pitch: NDArray[Any], start: Floats, is_down: NDArray[np.bool_]) -> Floats:
    """When each note's pitch is next struck with the pedal down; infinity if never.

    The notes are in order of (pitch, start).
    """
    size = len(pitch)
    # The first entry at or after each place that is struck with the pedal down.
    place = np.where(is_down, np.arange(size), size)
    at_or_after = np.append(np.minimum.accumulate(place[::-1])[::-1], size)
    after = at_or_after[1:]
    same_pitch = np.append(pitch, -1)[after] == pitch
    return np.where(same_pitch, np.append(start, np.inf)[after], np.inf)


def delay(arrays: NoteArrays, seconds: float) -> NoteArrays:
    """All times later by `seconds`, earlier if it is below 0.

    Raises:
      PerfRnnError: the notes are quantised.
    """
    _require_unquantized(arrays, "delay")
    tables = ("start", "end", "control", "bend", "tempo", "time_signature", "key_signature")
    times = [*(f"{table}_time" for table in tables), "total_time"]
    return arrays.replace(**{name: getattr(arrays, name) + seconds for name in times})


def stretch(arrays: NoteArrays, factor: float) -> NoteArrays:
    """All times multiplied by `factor` and tempos divided by it, as `stretch_note_sequence`.

    Raises:
      PerfRnnError: the notes are quantised, or the factor is not above 0.
    """
    _require_unquantized(arrays, "stretch")
    if not 0 < factor < np.inf:
        raise PerfRnnError(f"stretch factor {factor} is not a number above 0")
    if factor == 1.0:
        return arrays
    return arrays.replace(
        start_time=arrays.start_time * factor,
        end_time=arrays.end_time * factor,
        control_time=arrays.control_time * factor,
        bend_time=arrays.bend_time * factor,
        tempo_time=arrays.tempo_time * factor,
        tempo_qpm=arrays.tempo_qpm / factor,
        time_signature_time=arrays.time_signature_time * factor,
        key_signature_time=arrays.key_signature_time * factor,
        total_time=arrays.total_time * factor,
    )


def split(arrays: NoteArrays, hop_seconds: float) -> list[NoteArrays]:
    """Segments of `hop_seconds`, each from time 0, as `split_note_sequence`.

    A note belongs to the segment it starts in and ends with it at the latest. Tempo, time and key
    signature and pedals in force when a segment starts are repeated at its start; pitch bends
    and other control changes are dropped. Segments without notes are kept.

    Raises:
      PerfRnnError: the notes are quantised, a time is not finite or more than a day from time 0, or
        the hop is not above 0.
    """
    _require_unquantized(arrays, "split")
    _check_times(arrays, MAX_SECONDS)
    if not 0 < hop_seconds < np.inf:
        raise PerfRnnError(f"hop of {hop_seconds} seconds is not a number above 0")
    # The same floating point operations as note_seq, so the same boundaries to the last bit.
    bounds = np.append(0.0, np.arange(hop_seconds, arrays.total_time, hop_seconds))
    if arrays.total_time > bounds[-1]:
        bounds = np.append(bounds, arrays.total_time)
    num_segments = len(bounds) - 1
    if not num_segments:
        return []

    arrays = arrays.take_notes(np.argsort(arrays.start_time, kind="stable"))
    note_bounds = np.searchsorted(arrays.start_time, bounds)
    tempo = _StateEvents(arrays.tempo_time)
    time_signature = _StateEvents(arrays.time_signature_time)
    key_signature = _StateEvents(arrays.key_signature_time)
    is_pedal = np.isin(arrays.control_number, PEDAL_CONTROLS)
    # One number per instrument and pedal.
    pedal_kind = arrays.control_instrument.astype(np.int64) * 128 + arrays.control_number
    pedal = _StateEvents(arrays.control_time, np.flatnonzero(is_pedal), pedal_kind)

    segments = []
    for index in range(num_segments):
        first, last = float(bounds[index]), float(bounds[index + 1])
        tempos, tempo_time = tempo.between(first, last)
        times, time_signature_time = time_signature.between(first, last)
        keys, key_signature_time = key_signature.between(first, last)
        pedals, control_time = pedal.between(first, last)
        segment = arrays.take(
            notes=slice(note_bounds[index], note_bounds[index + 1]),
            control_changes=pedals,
            pitch_bends=slice(0),
            tempos=tempos,
            time_signatures=times,
            key_signatures=keys,
        )
        end_time = np.minimum(segment.end_time, last) - first
        total_time = float(end_time.max(initial=0.0))
        segments.append(
            segment.replace(
                start_time=segment.start_time - first,
                end_time=end_time,
                control_time=control_time,
                tempo_time=tempo_time,
                time_signature_time=time_signature_time,
                key_signature_time=key_signature_time,
                total_time=total_time,
                segment_index=index,
                num_segments=num_segments,
                start_time_offset=first,
                end_time_offset=arrays.total_time - first - total_time,
            )
        )
    return segments


class _StateEvents:
    """Events that stay in force until the next one of their kind."""

    def __init__(
        self, time: Floats, members: Int64s | None = None, kind: Int64s | None = None
    ) -> None:
        """Sorts the events that count by time.

        Args:
          members: indices of the events that count; None: all of them.
          kind: a number for the kind of each event; None: all are of one kind.
        """
        index = np.arange(len(time)) if members is None else members
        self._index = index[np.argsort(time[index], kind="stable")]
        self._time = time[self._index]
        kinds = np.zeros(len(index), np.int64) if kind is None else kind[self._index]
        _, first_place = np.unique(kinds, return_index=True)
        # Places of each kind's events; kinds in order of their first event.
        self._places = [np.flatnonzero(kinds == kinds[place]) for place in np.sort(first_place)]

    def between(self, first: float, last: float) -> tuple[Int64s, Floats]:
        """Indices and times since `first` of what is in force at `first` or comes before `last`."""
        begin = int(np.searchsorted(self._time, first, side="right"))
        end = int(np.searchsorted(self._time, last, side="left"))
        in_force = [
            int(places[seen - 1])
            for places in self._places
            if (seen := int(np.searchsorted(places, begin)))
        ]
        place = np.array([*in_force, *range(begin, end)], np.int64)
        time = np.append(np.zeros(len(in_force)), self._time[begin:end] - first)
        return self._index[place], time


def quantize(arrays: NoteArrays, steps_per_second: int) -> NoteArrays:
    """Adds steps, rounded half up, as `quantize_note_sequence_absolute`.

    A note lasts at least one step. The times in seconds stay as they are.

    Raises:
      PerfRnnError: a note or control change is before time 0, a time is not finite or more than a
        day from time 0, or `steps_per_second` is below 1.
    """
    if steps_per_second < 1:
        raise PerfRnnError(f"steps_per_second {steps_per_second} is below 1")
    _check_times(arrays, MAX_SECONDS)
    start_step = to_steps(arrays.start_time, steps_per_second)
    end_step = to_steps(arrays.end_time, steps_per_second)
    control_step = to_steps(arrays.control_time, steps_per_second)
    for what, steps, times in (
        ("note start", start_step, arrays.start_time),
        ("note end", end_step, arrays.end_time),
        ("control change", control_step, arrays.control_time),
    ):
        if (steps < 0).any():
            raise PerfRnnError(f"{what} at {times[steps < 0][0]} s is before time 0")
    end_step += end_step == start_step
    total_steps = int(to_steps(np.array([arrays.total_time]), steps_per_second)[0])
    return arrays.replace(
        steps_per_second=steps_per_second,
        start_step=start_step,
        end_step=end_step,
        control_step=control_step,
        total_steps=int(end_step.max(initial=total_steps)),
    )


def to_steps(time: Floats, steps_per_second: int) -> Int64s:
    """Returns the steps nearest to times in seconds, halves rounded up."""
    # Cut towards zero, as note_seq does: a time less than one and a half steps below 0 is step 0.
    return (time * steps_per_second + 0.5).astype(np.int64)


def transpose(
    arrays: NoteArrays, semitones: int, min_pitch: int = MIN_PITCH, max_pitch: int = MAX_PITCH
) -> NoteArrays | None:
    """The notes moved by `semitones`, or None if one then lies outside min_pitch to max_pitch.

    Drums stay as they are, as in Magenta's TranspositionPipeline. Keys move along.
    """
    pitch = arrays.pitch + np.int32(semitones)
    moved = pitch
    if arrays.is_drum.any():
        pitch = np.where(arrays.is_drum, arrays.pitch, pitch)
        moved = pitch[~arrays.is_drum]
    if len(moved) and not (min_pitch <= moved.min() and moved.max() <= max_pitch):
        return None
    key = (arrays.key_signature_key + np.int32(semitones)) % 12
    return arrays.replace(pitch=pitch, key_signature_key=key)


def _require_unquantized(arrays: NoteArrays, action: str) -> None:
    if arrays.is_quantized:
        raise PerfRnnError(f"cannot {action} quantised notes; do it before quantize")


def _check_times(arrays: NoteArrays, limit: float) -> None:
    """Raises a PerfRnnError if a time is not finite, or more than `limit` seconds from time 0."""
    for what, times in (
        ("note start", arrays.start_time),
        ("note end", arrays.end_time),
        ("control change", arrays.control_time),
        ("end of the sequence", np.array([arrays.total_time])),
    ):
        beyond = times[~((np.abs(times) <= limit) & np.isfinite(times))]
        if len(beyond):
            bound = "" if limit == np.inf else f" and within a day, {limit} s"
            raise PerfRnnError(f"{what} at {beyond[0]} s: times must be finite{bound}")
