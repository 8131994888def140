"""The event codec side by side with note_seq's on a folder of MIDI files.

    python benchmarks/codec.py --input_dir DIR [--num_files N] [--output RESULT.json]

Every file is parsed, sustained and quantised by both; then for 0 and for 32 velocity bins both
encode it and decode the events. Counts the events and notes that differ and measures the speed of
both in processor time, taking turns at going first. Exits with 1 if anything differs.

`ours` goes between note arrays and event indices, `ours_from_proto` and `ours_to_proto` start
and end at a NoteSequence proto as note_seq does.
"""

from __future__ import annotations

import argparse
import collections
import json
import pathlib
import platform
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from note_seq import midi_io, performance_lib, sequences_lib
from note_seq.performance_encoder_decoder import PerformanceOneHotEncoding
from note_seq.protobuf import music_pb2

from perf_rnn.events.codec import STEPS_PER_SECOND
from perf_rnn.events.one_hot import EventCodec
from perf_rnn.notes import transforms as note_transforms
from perf_rnn.notes.arrays import NoteArrays, from_note_sequence, to_note_sequence

MAX_NOTE_DURATION = 5.0  # seconds, what generation decodes with

Counts = collections.Counter[str]


class NoteSeqCodec:
    """The same two directions with note_seq's objects."""

    def __init__(self, num_velocity_bins: int) -> None:
        self._num_velocity_bins = num_velocity_bins
        self._one_hot = PerformanceOneHotEncoding(num_velocity_bins)

    def encode(self, quantized: music_pb2.NoteSequence) -> list[int]:
        performance = performance_lib.Performance(
            quantized, num_velocity_bins=self._num_velocity_bins
        )
        return [self._one_hot.encode_event(event) for event in performance]

    def decode(self, events: list[int]) -> music_pb2.NoteSequence:
        performance = performance_lib.Performance(
            steps_per_second=STEPS_PER_SECOND, num_velocity_bins=self._num_velocity_bins
        )
        for event in events:
            performance.append(self._one_hot.decode_event(event))
        return performance.to_sequence(max_note_duration=MAX_NOTE_DURATION)


class Stopwatch:
    """Seconds of processor time per name: other work on the machine counts for neither side."""

    def __init__(self) -> None:
        self.seconds: collections.defaultdict[str, float] = collections.defaultdict(float)
        self._turn = 0

    def race(self, name: str, **runners: Callable[[], Any]) -> list[Any]:
        """Runs every runner once, a different one first each time; results in the given order."""
        names = list(runners)
        self._turn += 1
        first = self._turn % len(names)
        results = {}
        for runner in names[first:] + names[:first]:
            begin = time.process_time()
            results[runner] = runners[runner]()
            self.seconds[f"{name}/{runner}"] += time.process_time() - begin
        return [results[runner] for runner in names]


def note_rows(sequence: music_pb2.NoteSequence) -> list[tuple[Any, ...]]:
    """All that is compared of each note, in order."""
    return [
        (
            note.start_time,
            note.end_time,
            note.quantized_start_step,
            note.quantized_end_step,
            note.pitch,
            note.velocity,
            note.instrument,
            note.program,
            note.is_drum,
        )
        for note in sequence.notes
    ]


def count_differences(ours: list[Any], theirs: list[Any]) -> int:
    """Places where two lists differ, those only one of them has included."""
    different = sum(our != their for our, their in zip(ours, theirs, strict=False))
    return different + abs(len(ours) - len(theirs))


def compare_sequence(
    sequence: music_pb2.NoteSequence, stopwatch: Stopwatch, counts: Counts
) -> None:
    """Takes one sequence through both codecs; adds to the times and counts."""
    arrays = from_note_sequence(sequence)
    notes, quantized = stopwatch.race(
        "sustain+quantize",
        ours=lambda: note_transforms.quantize(
            note_transforms.apply_sustain(arrays), STEPS_PER_SECOND
        ),
        note_seq=lambda: sequences_lib.quantize_note_sequence_absolute(
            sequences_lib.apply_sustain_control_changes(sequence), STEPS_PER_SECOND
        ),
    )
    rows = note_rows(quantized)
    counts["prepared notes"] += len(rows)
    counts["prepared note differences"] += count_differences(
        note_rows(to_note_sequence(notes)), rows
    )
    for num_velocity_bins in (0, 32):
        compare_codec(notes, quantized, num_velocity_bins, stopwatch, counts)


def compare_codec(
    notes: NoteArrays,
    quantized: music_pb2.NoteSequence,
    num_velocity_bins: int,
    stopwatch: Stopwatch,
    counts: Counts,
) -> None:
    """Both directions with one number of velocity bins."""
    codec, theirs = EventCodec(num_velocity_bins), NoteSeqCodec(num_velocity_bins)
    events, events_from_proto, their_events = stopwatch.race(
        f"encode {num_velocity_bins}",
        ours=lambda: codec.encode(notes),
        ours_from_proto=lambda: codec.encode(from_note_sequence(quantized)),
        note_seq=lambda: theirs.encode(quantized),
    )
    counts[f"events {num_velocity_bins}"] += len(their_events)
    for our_events in (events, events_from_proto):
        counts[f"event differences {num_velocity_bins}"] += count_differences(
            our_events.tolist(), their_events
        )

    def decode() -> NoteArrays:
        return codec.decode(events, max_note_duration=MAX_NOTE_DURATION)

    decoded, our_proto, their_proto = stopwatch.race(
        f"decode {num_velocity_bins}",
        ours=decode,
        ours_to_proto=lambda: to_note_sequence(decode().unquantized()),
        note_seq=lambda: theirs.decode(their_events),
    )
    rows = note_rows(their_proto)
    counts[f"notes {num_velocity_bins}"] += len(rows)
    counts[f"note differences {num_velocity_bins}"] += count_differences(note_rows(our_proto), rows)
    counts["total_time differences"] += int(decoded.total_time != their_proto.total_time)


def report(counts: Counts, stopwatch: Stopwatch) -> dict[str, Any]:
    """Prints the figures and returns them."""
    seconds = stopwatch.seconds
    speeds = {}
    for name in sorted({key.split("/")[0] for key in seconds}):
        num_velocity_bins = name.split()[-1]
        unit = "events" if f"events {num_velocity_bins}" in counts else "notes"
        amount = counts[f"events {num_velocity_bins}"] or counts["prepared notes"]
        per_second = {
            key.split("/")[1]: amount / spent
            for key, spent in sorted(seconds.items())
            if key.split("/")[0] == name
        }
        speeds[name] = {
            peer: {f"{unit}/s": speed, "ratio": speed / per_second["note_seq"]}
            for peer, speed in per_second.items()
        }
        figures = (
            f"{peer} {speed:,.0f} ({speed / per_second['note_seq']:.1f}x)"
            for peer, speed in per_second.items()
        )
        print(f"{name}, {unit}/s: {', '.join(figures)}")
    for name in sorted(counts):
        print(f"{name}: {counts[name]:,}")
    return {
        "counts": dict(counts),
        "speeds": speeds,
        "seconds": dict(seconds),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "machine": platform.platform(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--input_dir", type=pathlib.Path, required=True)
    parser.add_argument("--num_files", type=int, help="take only the first N files")
    parser.add_argument("--output", type=pathlib.Path, help="write the figures as JSON")
    flags = parser.parse_args()
    files = sorted(
        path for path in flags.input_dir.rglob("*") if path.suffix.lower() in (".mid", ".midi")
    )[: flags.num_files]
    if not files:
        parser.error(f"--input_dir={flags.input_dir} holds no .mid or .midi file")

    stopwatch, counts = Stopwatch(), Counts()
    for number, path in enumerate(files, 1):
        try:
            sequence = midi_io.midi_file_to_note_sequence(str(path))
        except midi_io.MIDIConversionError as error:
            print(f"skipped {path}: {error}", file=sys.stderr)
            counts["files skipped"] += 1
            continue
        counts["files"] += 1
        compare_sequence(sequence, stopwatch, counts)
        if number % 100 == 0:
            print(f"{number} of {len(files)} files", file=sys.stderr, flush=True)
    results = report(counts, stopwatch)
    if flags.output:
        flags.output.write_text(json.dumps(results, indent=2) + "\n")
        print(f"wrote {flags.output}")
    return int(any(count for name, count in counts.items() if "differences" in name))


if __name__ == "__main__":
    sys.exit(main())
