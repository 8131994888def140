"""Makes the training and evaluation examples of a config from MIDI files or NoteSequences."""

from __future__ import annotations

import collections
import glob
import os
import pickle
import tempfile
from collections.abc import Callable, Iterable, Mapping
from typing import Any, BinaryIO, NamedTuple

from absl import logging

from bundles.atomic_files import atomic_open, make_directory
from bundles.errors import PerfRnnError
from perf_rnn import progress
from perf_rnn.configs import PerformanceRnnConfig
from perf_rnn.data import splits, tfrecord
from perf_rnn.notes.arrays import parse_note_sequence
from perf_rnn.notes.music_files import MusicFile, find_music_files, is_music
from pipelines import parallel, partitions, performance_pipeline, pipeline
from pipelines.statistics import Counter, Statistic

RUNNERS = ("local", "beam")
SPLIT_CSV = "split.csv"

# What the summary calls the counters of dropped and shortened data, by the end of their names.
DROPPED = {
    "inputs_crashed": "performances that crashed their process",
    "not_in_the_table": "performances that the CSV does not use",
    "sequences_discarded_because_no_notes": "performances without notes",
    "sequences_discarded_because_drums": "performances with drums",
    "sequences_discarded_because_impossible_notes": "performances with notes that MIDI cannot hold",
    "sequences_discarded_because_longer_than_a_day": "performances longer than a day",
    "performances_discarded_too_short": "segments with fewer events than --min_events",
    "performances_discarded_more_than_1_program": "segments with several programs",
    "performance_discarded_too_many_time_shift_steps": "segments with too long a pause",
    "performance_discarded_too_many_duration_steps": "segments with too long a note",
    "skipped_due_to_range_exceeded": "transposed copies with pitches outside 0 to 127",
    "performances_truncated": "events after --max_events in this number of segments",
}
# Unreadable files named in the summary; the log names them all.
MAX_NAMES = 10


class Record(NamedTuple):
    """A record of a TFRecord file; `error` says why it cannot be read, '' if it can."""

    path: str
    number: int
    data: bytes
    error: str = ""

    @property
    def name(self) -> str:
        return f"{self.path}: record {self.number}"


class Performance(NamedTuple):
    """What the division needs to know of a performance.

    Attributes:
      filename: path in the input folder, or `NoteSequence.filename`.
      group: see `partitions.partition_key`; '' where a CSV gives the division.
      digest: see `partitions.notes_digest`; '' without notes.
      seconds: its length.
    """

    filename: str
    group: str
    digest: str
    seconds: float


def files_in(output_dir: str, num_shards: int | None = None) -> list[str]:
    """Returns the files of a dataset in a directory: of so many shards, or of any number."""
    shards = ("", "-*-of-*") if num_shards is None else (_shards(num_shards),)
    sides = [f"{side}{shard}.tfrecord" for side in partitions.SIDES for shard in shards]
    names = [SPLIT_CSV, *sides]
    return [
        path for name in names for path in glob.glob(os.path.join(glob.escape(output_dir), name))
    ]


def create_dataset(
    input_path: str,
    output_dir: str,
    config: PerformanceRnnConfig,
    min_events: int,
    max_events: int | None,
    eval_ratio: float,
    *,
    seed: int = 0,
    partition_by: str = "sequence",
    split_csv: str | None = None,
    eval_splits: Iterable[str] = ("validation", "test"),
    num_workers: int | None = None,
    num_shards: int = 1,
    runner: str = "local",
    **options: Any,
) -> dict[str, int]:
    """Writes `{training,eval}_performances.tfrecord` and `split.csv`, and logs a summary.

    `split.csv` has the split of each file that contains notes, even if they are discarded later;
    see `splits.read_splits`. The division depends on the seed and the files' names below the input
    folder, except that performances with the same notes stay on one side, with their groups, and
    that neither side is left empty if there are two groups (see `partitions.SequencePartition`).

    Args:
      input_path: a directory or zip archive of MIDI files, read recursively, one MIDI file, or
        TFRecords of NoteSequences: a path or a glob.
      output_dir: directory of the output files; created if missing.
      split_csv: a MAESTRO-style CSV that gives the division; see `partitions.read_split_csv`.
        `eval_ratio`, `seed` and `partition_by` are then not used.
      eval_splits: the splits of the CSV for evaluation.
      num_workers: number of processes; one for each core by default.
      num_shards: number of files for each side.
      runner: 'local', or 'beam' for Apache Beam; Beam starts from the notes that were read here.
      config, min_events, max_events, eval_ratio, seed, partition_by, options: see
        `performance_pipeline.get_pipeline`.

    Returns:
      {path: number of examples} of both sides; the path has a `*` if there are several shards.

    Raises:
      PerfRnnError: an argument is invalid, the input has no usable files, the CSV does not fit it,
        or there are no examples. Files already in `output_dir` are then unchanged.
      OSError: a file cannot be read or written.
    """
    run = _runner(runner)
    num_workers = parallel.default_num_workers() if num_workers is None else num_workers
    parallel.check_numbers(num_workers, num_shards)

    def make_pipeline(partition: pipeline.Pipeline | None) -> pipeline.Pipeline:
        return performance_pipeline.get_pipeline(
            config,
            min_events,
            max_events,
            eval_ratio,
            seed=seed,
            partition_by=partition_by,
            partition=partition,
            **options,
        )

    make_pipeline(None)  # Finds invalid arguments before files are read.
    written_csv = os.path.join(output_dir, SPLIT_CSV)
    if split_csv and os.path.realpath(split_csv) == os.path.realpath(written_csv):
        raise PerfRnnError(
            f"{split_csv}: would be overwritten; move it or use another output directory"
        )
    table = partitions.read_split_csv(split_csv, eval_splits) if split_csv else None
    inputs = _find_inputs(input_path, split_csv, table or ())
    # Files are read once: the division must know all notes before the first example is made, and
    # they are kept on disk, in a file that only this process can open, since memory may be short.
    with tempfile.TemporaryFile() as notes:
        read = _Read(None if split_csv else partition_by)
        performances, unreadable = _read_all(read, inputs, notes, num_workers)
        partition, sides, duplicates = _divide(performances, eval_ratio, seed, partition_by, table)
        notes.seek(0)

        def summarize(written: Mapping[str, int], stats: list[Statistic]) -> None:
            dropped = _dropped(stats)
            if not any(written.values()):
                reasons = ", ".join(dropped) or "no file could be read"
                raise PerfRnnError(f"{input_path}: no examples: {reasons}")
            summary = [
                f"performances read: {len(performances)} "
                f"({_duration(performance.seconds for performance in performances)})"
            ]
            if unreadable:
                more = ", ..." if len(unreadable) > MAX_NAMES else ""
                names = ", ".join(unreadable[:MAX_NAMES]) + more
                summary.append(f"files that could not be read: {len(unreadable)} ({names})")
            if duplicates:
                summary.append(f"duplicates, kept on the side of the other copy: {duplicates}")
            uses = "held out for evaluation", "for training"
            for name, use in zip(partitions.SIDES, uses, strict=True):
                lengths = [seconds for _, side, seconds in sides if side == name]
                summary.append(
                    f"{use}: {len(lengths)} performances ({_duration(lengths)}), "
                    f"{written[name]} segments"
                )
            for line in [*summary, *(f"dropped {line}" for line in dropped)]:
                logging.info(line)

        make_directory(output_dir)
        # On the disk before the examples get their names, and named right after them.
        with atomic_open(written_csv) as csv_file:
            csv_file.write(splits.to_csv(_splits(sides)))
            csv_file.flush()
            examples = run(
                make_pipeline(partition),
                (pickle.load(notes) for _ in performances),  # noqa: S301  # Of this process.
                output_dir,
                num_workers=num_workers,
                num_shards=num_shards,
                check=summarize,
            )
    for name, count in examples.items():
        if (split_csv or 0 < eval_ratio < 1) and not count:
            logging.warning(
                "%s has no examples. Use more performances (or folders, with "
                "--partition_by=folder), another --seed, or --split_csv.",
                name,
            )
    shard = _shards(num_shards)
    return {os.path.join(output_dir, f"{name}{shard}.tfrecord"): n for name, n in examples.items()}


def _shards(num_shards: int) -> str:
    """The part of the files' names that says which shard each is, as a glob."""
    return "" if num_shards == 1 else f"-*-of-{num_shards:05}"


def _runner(name: str) -> Callable[..., dict[str, int]]:
    if name == "local":
        return parallel.run_pipeline_parallel
    if name != "beam":
        raise PerfRnnError(f"runner {name!r} is not one of {', '.join(RUNNERS)}")
    try:
        from pipelines import beam_runner
    except ModuleNotFoundError as error:
        if error.name != "apache_beam":
            raise
        raise PerfRnnError(
            "runner 'beam' needs Apache Beam: pip install 'perf_rnn[beam]'"
        ) from error
    return beam_runner.run_pipeline_beam


def _find_inputs(
    path: str, split_csv: str | None, names: Iterable[str]
) -> Iterable[MusicFile | Record]:
    """Finds the MIDI files or records; the files must include `names`, which `split_csv` lists."""
    if is_music(path):
        files = find_music_files(path)
        if missing := sorted(set(names) - {file.name for file in files}):
            raise PerfRnnError(
                f"{split_csv}: {missing[0]} (and {len(missing) - 1} more) is not among the MIDI "
                f"files of {path}; file names must be relative to it"
            )
        return files
    paths = [path] if os.path.exists(path) else sorted(glob.glob(path))
    record_files = [tfrecord.RecordFile(path) for path in paths or [path]]
    if not any(map(len, record_files)):
        raise PerfRnnError(f"{path}: contains no NoteSequences")
    return (_record(file, number) for file in record_files for number in range(len(file)))


def _record(file: tfrecord.RecordFile, number: int) -> Record:
    try:
        return Record(file.path, number, file[number])
    except tfrecord.RecordError as error:
        return Record(file.path, number, b"", str(error))


class _Read:
    """Reads an input; returns (Performance, pickled NoteArrays), or why it cannot be read."""

    def __init__(self, partition_by: str | None):
        self._partition_by = partition_by

    def __call__(self, input_object: MusicFile | Record) -> tuple[Performance, bytes] | str:
        try:
            if isinstance(input_object, Record):
                if input_object.error:
                    return input_object.error
                arrays = parse_note_sequence(input_object.data, input_object.name)
            else:
                arrays = input_object.notes()
            digest = partitions.notes_digest(arrays) if arrays.num_notes else ""
        except (PerfRnnError, OSError) as error:
            return str(error)
        by = self._partition_by
        group = partitions.partition_key(by, arrays) if by else ""
        performance = Performance(arrays.filename, group, digest, arrays.total_time)
        return performance, pickle.dumps(arrays)


def _read_all(
    read: _Read, inputs: Iterable[Any], notes: BinaryIO, num_workers: int
) -> tuple[list[Performance], list[str]]:
    """Reads the inputs in worker processes and writes their notes to a file, one after another.

    Returns:
      The performances, in order, and the names of the files that could not be read.

    Raises:
      PerfRnnError: none could be read; the message says why the first could not.
      OSError: the disk of temporary files is full.
    """
    performances: list[Performance] = []
    unreadable: list[str] = []
    first_error = ""
    results = parallel.map_in_order(read, inputs, num_workers)
    for input_object, result in progress.show(results, "reading", {}):
        if result is parallel.CRASHED or isinstance(result, str):
            unreadable.append(input_object.name)
            if result is not parallel.CRASHED:
                logging.warning("skipped: %s", result)
                first_error = first_error or result
        else:
            performances.append(result[0])
            _keep(result[1], notes)
    if first_error and not performances:
        raise PerfRnnError(first_error)
    return performances, unreadable


def _keep(data: bytes, file: BinaryIO) -> None:
    """Appends data to a temporary file, which errors do not name."""
    try:
        file.write(data)
        file.flush()
    except OSError as error:
        raise OSError(error.errno, error.strerror, tempfile.gettempdir()) from error


def _divide(
    performances: list[Performance],
    eval_ratio: float,
    seed: int,
    partition_by: str,
    table: dict[str, str] | None,
) -> tuple[pipeline.Pipeline, list[tuple[str, str, float]], int]:
    """Divides the performances that have notes.

    Returns:
      The partition, (filename, side, seconds) of each performance, and the number of duplicates.
    """
    performances = [performance for performance in performances if performance.digest]
    joined, duplicates = partitions.join_groups(
        (performance.group, performance.digest) for performance in performances
    )
    if table is None:
        groups = [performance.group for performance in performances]
        partition = partitions.SequencePartition(eval_ratio, seed, partition_by, groups, joined)
        sides = [(p.filename, partition.partition_of(p.group), p.seconds) for p in performances]
        return partition, sides, duplicates
    table = partitions.join_sides(table, [(p.filename, p.digest) for p in performances])
    sides = [
        (p.filename, table[p.filename], p.seconds) for p in performances if p.filename in table
    ]
    return partitions.TablePartition(table), sides, duplicates


def _dropped(stats: Iterable[Statistic]) -> list[str]:
    """Returns a line for each of `DROPPED` that was counted, over both sides."""
    counts = collections.Counter[str]()
    for stat in stats:
        for name, description in DROPPED.items():
            if isinstance(stat, Counter) and stat.name.endswith(name):
                counts[description] += stat.count
    return [f"{description}: {count}" for description, count in counts.items() if count]


def _duration(lengths: Iterable[float]) -> str:
    """Returns the sum of lengths in seconds, as minutes or hours."""
    minutes = sum(lengths) / 60
    return f"{minutes:.1f} minutes" if minutes < 120 else f"{minutes / 60:.1f} hours"


def _splits(sides: Iterable[tuple[str, str, float]]) -> dict[str, str]:
    """{filename: split} of (filename, side, _), without sequences that have no file name."""
    names = {partitions.SIDES[0]: "validation", partitions.SIDES[1]: splits.TRAIN}
    found = {filename: names[side] for filename, side, _ in sides}
    if found.pop("", None):
        logging.warning("%s leaves out NoteSequences without a filename", SPLIT_CSV)
    return found
