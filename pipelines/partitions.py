"""Which performances are for training and which for evaluation."""

from __future__ import annotations

import collections
import functools
import hashlib
import posixpath
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from bundles.errors import PerfRnnError
from bundles.note_seq_protos import NoteSequence
from perf_rnn.data import splits
from perf_rnn.notes.arrays import NoteArrays
from pipelines import pipelines_common, statistics
from pipelines.array_pipeline import ArrayPipeline
from pipelines.note_sequence_pipelines import NOTE_ARRAYS

SIDES = ("eval_performances", "training_performances")

PARTITION_KEYS = ("sequence", "folder")


def partition_key(partition_by: str, sequence: NoteSequence | NoteArrays) -> str:
    """Names the group of a sequence: its id, or its folder and collection.

    Args:
      partition_by: one of `PARTITION_KEYS`.
      sequence: in either form.

    Raises:
      ValueError: it lacks what it is to be grouped by.
    """
    key = sequence.id
    if partition_by == "folder":
        if not sequence.filename:
            raise PerfRnnError(
                f"sequence {sequence.id!r} has no filename to partition by folder; "
                "partition by sequence, or convert the files again"
            )
        folder = posixpath.dirname(sequence.filename)
        key = posixpath.join(sequence.collection_name, folder)
    if not key:
        raise PerfRnnError(
            "a sequence has no id to partition by; make the file with "
            "convert_dir_to_note_sequences, or set NoteSequence.id"
        )
    return key


class SequencePartition(pipelines_common.HashPartition, ArrayPipeline):  # type: ignore[misc]
    """Sends sequences, whatever form they come in, to one side by a seeded hash of their group."""

    input_form = output_form = NOTE_ARRAYS
    works_on_arrays = True

    def __init__(
        self,
        eval_ratio: float,
        seed: int = 0,
        partition_by: str = "sequence",
        joined: Mapping[str, str] | None = None,
    ):
        """Sets how sequences are divided.

        Args:
          eval_ratio: share of the groups for evaluation.
          seed: another seed is another division.
          partition_by: what a group is, one of `PARTITION_KEYS`.
          joined: groups that go where another goes, {group: that other}.
        """
        super().__init__(
            NoteSequence,
            SIDES,
            [eval_ratio],
            functools.partial(partition_key, partition_by),
            seed,
            "HashPartition",
        )
        self._joined = dict(joined or {})

    def partition_of(self, group: str) -> str:
        return super().partition_of(self._joined.get(group, group))

    def transform_arrays(self, arrays: Any) -> Any:
        return self.transform(arrays)


class TablePartition(ArrayPipeline):
    """Sends sequences to the side that a table has for their `filename`, others nowhere."""

    input_form = output_form = NOTE_ARRAYS
    works_on_arrays = True

    def __init__(self, sides: Mapping[str, str]):
        """Sets the table, {filename: one of `SIDES`}."""
        super().__init__(NoteSequence, dict.fromkeys(SIDES, NoteSequence))
        self._sides = dict(sides)

    def transform_arrays(self, arrays: Any) -> Any:
        return self.transform(arrays)

    def transform(self, input_object: Any) -> Any:
        side = self._sides.get(input_object.filename)
        counts = {f"{name}_count": int(name == side) for name in SIDES}
        self._set_stats(
            statistics.Counter(name, count)
            for name, count in {**counts, "not_in_the_table": int(side is None)}.items()
        )
        return {name: [input_object] if name == side else [] for name in SIDES}


def read_split_csv(path: str, eval_splits: Iterable[str]) -> dict[str, str]:
    """Reads which side each file is on from a CSV such as MAESTRO's.

    Args:
      path: see `splits.read_splits`.
      eval_splits: the splits for evaluation; `train` is for training, the rest for neither.

    Returns:
      {midi_filename: one of `SIDES`}.

    Raises:
      ValueError: a split is unknown.
      ValueError, OSError: see `splits.read_splits`.
    """
    sides = {splits.TRAIN: SIDES[1]} | dict.fromkeys(eval_splits, SIDES[0])
    if unknown := set(sides) - set(splits.SPLITS):
        raise PerfRnnError(f"split {min(unknown)!r} is none of {', '.join(splits.SPLITS)}")
    return {
        name: sides[split] for name, split in splits.read_splits(path).items() if split in sides
    }


def notes_digest(arrays: NoteArrays) -> str:
    """A hash of a performance's notes: starts, ends, pitches and velocities, and nothing else."""
    order = np.lexsort((arrays.velocity, arrays.end_time, arrays.pitch, arrays.start_time))
    digest = hashlib.blake2b(digest_size=16)
    for column in (arrays.start_time, arrays.end_time, arrays.pitch, arrays.velocity):
        digest.update(np.ascontiguousarray(column[order]).tobytes())
    return digest.hexdigest()


def join_groups(members: Iterable[tuple[str, str]]) -> tuple[dict[str, str], int]:
    """Finds groups that share a performance, perhaps by way of a third group.

    >>> join_groups([('a', '1'), ('b', '2'), ('b', '1'), ('c', '3')])
    ({'b': 'a'}, 1)

    Args:
      members: (group, digest of a performance in it) of every performance.

    Returns:
      {group: the first in order of those it shares with}, without those that come first
      themselves; and how many performances are duplicates of others.
    """
    parent: dict[str, str] = {}

    def root(group: str) -> str:
        while parent.setdefault(group, group) != group:
            group = parent[group]
        return group

    groups_of = collections.defaultdict(list)
    for group, digest in members:
        groups_of[digest].append(group)
    for groups in groups_of.values():
        first, *others = sorted({root(group) for group in groups})
        parent.update(dict.fromkeys(others, first))
    joined = {group: root(group) for group in parent}
    duplicates = sum(len(groups) - 1 for groups in groups_of.values())
    return {group: first for group, first in joined.items() if group != first}, duplicates


def join_sides(table: Mapping[str, str], members: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Moves to evaluation what is a duplicate of a performance there.

    Args:
      table: {filename: one of `SIDES`}.
      members: (filename, digest) of every performance.
    """
    members = list(members)
    in_eval = {digest for name, digest in members if table.get(name) == SIDES[0]}
    moved = {name: SIDES[0] for name, digest in members if digest in in_eval and name in table}
    return {**table, **moved}
