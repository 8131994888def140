"""The division of performances into training and evaluation data."""

from __future__ import annotations

import collections
import functools
import hashlib
import math
import posixpath
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from bundles.errors import PerfRnnError
from bundles.note_seq_protos import NoteSequence
from perf_rnn.data import splits
from perf_rnn.notes.arrays import NoteArrays
from perf_rnn.notes.transforms import apply_sustain
from pipelines import pipelines_common, statistics
from pipelines.array_pipeline import ArrayPipeline
from pipelines.note_sequence_pipelines import NOTE_ARRAYS

SIDES = ("eval_performances", "training_performances")

PARTITION_KEYS = ("sequence", "folder")


def partition_key(partition_by: str, sequence: NoteSequence | NoteArrays) -> str:
    """Returns the group of a sequence, which stays on one side of the division.

    That is its file name relative to the input folder ('sequence'), or the folder in that name
    ('folder'), so that the name and place of the input folder itself do not matter. A sequence
    without a file name has its id, or the digest of its notes, as its group.

    Args:
      partition_by: one of `PARTITION_KEYS`.
      sequence: a NoteSequence or its note arrays.

    Raises:
      PerfRnnError: `partition_by` is 'folder' and the sequence has no file name.
    """
    if partition_by == "folder":
        if not sequence.filename:
            raise PerfRnnError(
                f"sequence {sequence.id!r} has no filename, so it cannot be partitioned by folder; "
                "partition by sequence, or set NoteSequence.filename"
            )
        return posixpath.dirname(sequence.filename)
    if name := sequence.filename or sequence.id:
        return name
    is_array = isinstance(sequence, NoteArrays)
    return notes_digest(sequence if is_array else NOTE_ARRAYS.from_declared(sequence))


# HashPartition returns a dict of lists and ArrayPipeline a list; both satisfy Pipeline.
class SequencePartition(pipelines_common.HashPartition, ArrayPipeline):  # type: ignore[misc]
    """Sends sequences, as protos or arrays, to one side by a seeded hash of their group."""

    input_form = output_form = NOTE_ARRAYS
    works_on_arrays = True

    def __init__(
        self,
        eval_ratio: float,
        seed: int = 0,
        partition_by: str = "sequence",
        groups: Iterable[str] = (),
        joined: Mapping[str, str] | None = None,
    ):
        """Sets the division.

        Args:
          eval_ratio: share of the groups for evaluation.
          seed: seed of the hash.
          partition_by: one of `PARTITION_KEYS`.
          groups: all groups, if known. If there are two or more and `eval_ratio` is neither 0 nor
            1, each side then has at least one: if the hashes would leave a side empty, the group
            with the smallest hash is for evaluation, or the one with the largest for training.
          joined: {group: the group whose side it shares}.
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
        hashes = sorted({self._hash(group) for group in groups})
        if 0 < eval_ratio < 1 and len(hashes) > 1:
            # A group is for evaluation if its hash is below the threshold.
            smallest, largest = math.nextafter(hashes[0], 1), hashes[-1]
            self._cumulative = [min(max(eval_ratio, smallest), largest)]

    def _hash(self, group: str) -> float:
        return super()._hash(self._joined.get(group, group))

    def transform_arrays(self, arrays: Any) -> Any:
        return self.transform(arrays)


class TablePartition(ArrayPipeline):
    """Sends sequences to the side that a table lists for their `filename`, and drops others."""

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
    """Reads the side of each file from a CSV such as MAESTRO's.

    Args:
      path: see `splits.read_splits`.
      eval_splits: the splits for evaluation; `train` is for training, and others are left out.

    Returns:
      {midi_filename: one of `SIDES`}.

    Raises:
      PerfRnnError: a split is unknown; or see `splits.read_splits`.
      OSError: see `splits.read_splits`.
    """
    sides = {splits.TRAIN: SIDES[1]} | dict.fromkeys(eval_splits, SIDES[0])
    if unknown := set(sides) - set(splits.SPLITS):
        raise PerfRnnError(f"split {min(unknown)!r} is not one of {', '.join(splits.SPLITS)}")
    return {
        name: sides[split] for name, split in splits.read_splits(path).items() if split in sides
    }


def notes_digest(arrays: NoteArrays) -> str:
    """Returns a hash of the starts, ends, pitches and velocities of the notes, in any order.

    The notes are those heard: with the sustain pedal applied.
    """
    arrays = apply_sustain(arrays.unquantized())
    order = np.lexsort((arrays.velocity, arrays.end_time, arrays.pitch, arrays.start_time))
    digest = hashlib.blake2b(digest_size=16)
    for column in (arrays.start_time, arrays.end_time, arrays.pitch, arrays.velocity):
        digest.update(np.ascontiguousarray(column[order]).tobytes())
    return digest.hexdigest()


def join_groups(members: Iterable[tuple[str, str]]) -> tuple[dict[str, str], int]:
    """Finds groups that share a performance, directly or through other groups.

    >>> join_groups([('a', '1'), ('b', '2'), ('b', '1'), ('c', '3')])
    ({'b': 'a'}, 1)

    Args:
      members: (group, digest of a performance in it) of every performance.

    Returns:
      {group: the alphabetically first group connected to it}, without those first groups
      themselves; and the number of performances that duplicate another.
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
    """Moves training performances to evaluation if they duplicate an evaluation performance.

    Args:
      table: {filename: one of `SIDES`}.
      members: (filename, digest) of every performance.
    """
    members = list(members)
    in_eval = {digest for name, digest in members if table.get(name) == SIDES[0]}
    moved = {name: SIDES[0] for name, digest in members if digest in in_eval and name in table}
    return {**table, **moved}
