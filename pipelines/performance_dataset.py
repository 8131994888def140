"""MIDI files or NoteSequences as the training and evaluation examples of a config."""

from __future__ import annotations

import collections
import glob
import os
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from absl import logging

from bundles.errors import PerfRnnError
from bundles.note_seq_protos import NoteSequence
from perf_rnn.configs import PerformanceRnnConfig
from perf_rnn.data import splits, tfrecord
from perf_rnn.notes.arrays import from_note_sequence
from pipelines import midi_reader, parallel, partitions, performance_pipeline, pipeline

RUNNERS = ("local", "beam")
SPLIT_CSV = "split.csv"


class Record(NamedTuple):
    """A record of a TFRecord file, as an input of a pipeline."""

    path: str
    number: int
    data: bytes


class NoteSequenceReader(pipeline.Pipeline):
    """Parses records of NoteSequences."""

    def __init__(self, name: str | None = None):
        super().__init__(Record, NoteSequence, name)

    def transform(self, input_object: Record) -> list[NoteSequence]:
        from google.protobuf import message

        path, number, data = input_object
        try:
            sequence = NoteSequence.FromString(data)
        except message.DecodeError as error:
            raise PerfRnnError(f"{path}: record {number} is not a NoteSequence") from error
        # Protos carry no name of their type: a tf.train example parses as a NoteSequence, its first
        # message, which starts with the tag "\n", as the id or the filename.
        if (sequence.id or sequence.filename).startswith("\n"):
            raise PerfRnnError(f"{path}: record {number} is not a NoteSequence")
        return [sequence]


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
    """Makes `{training,eval}_performances.tfrecord` and logs what was counted on the way.

    `split.csv` beside them has the split of each file that has notes, also where the notes are
    discarded later; see `splits.read_splits`.

    A performance that is there twice, the same notes under another name, is found and stays on one
    side, together with what else is grouped with either.

    Args:
      input_path: a directory of MIDI files, looked through to its depths, or TFRecords of
        NoteSequences: a path or a glob.
      output_dir: where the files go; made if missing.
      split_csv: a MAESTRO-style CSV that says which file is for what; see
        `partitions.read_split_csv`. Then `eval_ratio`, `seed` and `partition_by` say nothing.
      eval_splits: the splits of the CSV that are for evaluation.
      num_workers: number of processes; one for each core by default.
      num_shards: into how many files each of the two is divided.
      runner: 'local', or 'beam' for Apache Beam.
      config, min_events, max_events, eval_ratio, seed, partition_by, options: see
        `performance_pipeline.get_pipeline`.

    Returns:
      {path: number of examples} of the two files, or of the two with a `*` for the shard.

    Raises:
      ValueError: a value makes no sense, the input holds nothing that can be used, the CSV does not
        fit it, or no example could be made of it. Files already in `output_dir` stay as they were.
      OSError: a file cannot be read or written.
    """
    if runner not in RUNNERS:
        raise PerfRnnError(f"runner {runner!r} is none of {', '.join(RUNNERS)}")
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
            reader=_reader(input_path),
            partition=partition,
            **options,
        )

    make_pipeline(None)  # Arguments that make no sense are found before files are read.
    written_csv = os.path.join(output_dir, SPLIT_CSV)
    if split_csv and os.path.realpath(split_csv) == os.path.realpath(written_csv):
        raise PerfRnnError(f"{split_csv}: would be written over; move it, or write elsewhere")
    table = partitions.read_split_csv(split_csv, eval_splits) if split_csv else None
    inputs = _Inputs(input_path)
    if table is not None:
        inputs.require(table, str(split_csv))
    partition, sides = _partition(inputs, eval_ratio, seed, partition_by, table, num_workers)
    run: Any
    if runner == "beam":
        try:
            from pipelines import beam_runner
        except ModuleNotFoundError as error:
            if error.name != "apache_beam":
                raise
            raise PerfRnnError(
                "runner 'beam' needs Apache Beam: pip install 'perf_rnn[beam]'"
            ) from error
        run = beam_runner.run_pipeline_beam
    else:
        run = parallel.run_pipeline_parallel
    examples = run(
        make_pipeline(partition),
        inputs,
        output_dir,
        num_workers=num_workers,
        num_shards=num_shards,
        require_output=True,
    )
    is_divided = table is not None or 0 < eval_ratio < 1
    for name, count in examples.items():
        if is_divided and not count:
            logging.warning(
                "%s holds no examples: all that there is fell to the other side. Unless a CSV "
                "divides it, another --seed or --eval_ratio does so otherwise; "
                "--partition_by=folder wants many folders.",
                name,
            )
    splits.write_splits(written_csv, _splits(sides))
    shard = "" if num_shards == 1 else f"-*-of-{num_shards:05}"
    return {os.path.join(output_dir, f"{name}{shard}.tfrecord"): n for name, n in examples.items()}


class _Inputs:
    """The inputs, to be gone through more than once: MIDI files, or records one after the other."""

    def __init__(self, path: str):
        self.reader = _reader(path)
        if os.path.isdir(path):
            self._files: Any = midi_reader.find_midi_files(path)
            return
        paths = [path] if os.path.exists(path) else sorted(glob.glob(path))
        self._files = [tfrecord.RecordFile(path) for path in paths or [path]]
        if not any(map(len, self._files)):
            raise PerfRnnError(f"{path}: holds no NoteSequences")

    def __iter__(self) -> Iterator[Any]:
        for file in self._files:
            if isinstance(file, midi_reader.MidiFile):
                yield file
            else:
                yield from (Record(file.path, *record) for record in enumerate(file))

    def require(self, names: Iterable[str], source: str) -> None:
        """Checks that there are files of these names, where names are known beforehand."""
        known = {file.filename for file in self._files if isinstance(file, midi_reader.MidiFile)}
        missing = sorted(set(names) - known)
        if known and missing:
            raise PerfRnnError(
                f"{source}: {missing[0]} (and {len(missing) - 1} more) is not among the MIDI files "
                "of the input; names are paths below it"
            )


def _reader(path: str) -> pipeline.Pipeline:
    return midi_reader.MidiReader() if os.path.isdir(path) else NoteSequenceReader()


class _Identify:
    """Gives (group, filename, digest of the notes) of an input; None if it has no notes."""

    def __init__(self, partition_by: str | None):
        self._partition_by = partition_by

    def __call__(self, input_object: Any) -> tuple[str, str, str] | None:
        if isinstance(input_object, midi_reader.MidiFile):
            try:
                arrays = midi_reader.read_midi_file(input_object)
            except Exception:  # Strangers' files; the reader names and counts them.
                return None
        else:
            arrays = from_note_sequence(NoteSequenceReader().transform(input_object)[0])
        if not arrays.num_notes:
            return None
        group = partitions.partition_key(self._partition_by, arrays) if self._partition_by else ""
        return group, arrays.filename, partitions.notes_digest(arrays)


def _partition(
    inputs: _Inputs,
    eval_ratio: float,
    seed: int,
    partition_by: str,
    table: dict[str, str] | None,
    num_workers: int,
) -> tuple[pipeline.Pipeline, list[tuple[str, str]]]:
    """The division, with duplicates on one side, and the (filename, side) of each performance."""
    identify = _Identify(None if table is not None else partition_by)
    found = [
        identity
        for _, identity in parallel.map_in_order(identify, inputs, num_workers)
        if identity not in (None, parallel.CRASHED)
    ]
    joined, duplicates = partitions.join_groups((group, digest) for group, _, digest in found)
    logging.info("%d of %d performances are duplicates of others", duplicates, len(found))
    if table is None:
        partition = partitions.SequencePartition(eval_ratio, seed, partition_by, joined)
        return partition, [(name, partition.partition_of(group)) for group, name, _ in found]
    table = partitions.join_sides(table, [(name, digest) for _, name, digest in found])
    sides = [(name, table[name]) for _, name, _ in found if name in table]
    return partitions.TablePartition(table), sides


def _splits(sides: Iterable[tuple[str, str]]) -> dict[str, str]:
    """{filename: split} of (filename, side), without the nameless and names on both sides."""
    names = {partitions.SIDES[0]: "validation", partitions.SIDES[1]: splits.TRAIN}
    found: dict[str, set[str]] = collections.defaultdict(set)
    for filename, side in sides:
        found[filename].add(names[side])
    if found.pop("", None):
        logging.warning("%s leaves out NoteSequences that have no filename", SPLIT_CSV)
    if ambiguous := sorted(filename for filename, both in found.items() if len(both) > 1):
        logging.warning(
            "%s leaves out %s (and %d more): files of that name are on both sides",
            SPLIT_CSV,
            ambiguous[0],
            len(ambiguous) - 1,
        )
    return {filename: both.pop() for filename, both in found.items() if len(both) == 1}
