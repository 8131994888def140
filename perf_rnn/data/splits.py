"""The division of performances into training and held-out data: CSV files like MAESTRO's."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Mapping

from bundles.errors import PerfRnnError
from bundles.regular_files import read_regular

# The names of the splits in a MAESTRO-style CSV.
TRAIN = "train"
HELD_OUT = ("validation", "test")
SPLITS = (TRAIN, *HELD_OUT)
# Two hundred times MAESTRO's.
MAX_CSV_BYTES = 1 << 26


def read_splits(path: str) -> dict[str, str]:
    """Reads a CSV with the columns `split` and `midi_filename`, and perhaps others.

    Returns:
      {midi_filename: one of `SPLITS`}.

    Raises:
      OSError: the file cannot be read.
      PerfRnnError: a column is missing, a split is unknown, or a file is listed under two.
    """
    splits: dict[str, str] = {}
    data = read_regular(path, MAX_CSV_BYTES)
    try:
        text = io.StringIO(data.decode("utf-8-sig"), newline="")
        rows = csv.DictReader(text, strict=True)
        columns = rows.fieldnames or []
        for column in ("split", "midi_filename"):
            if column not in columns:
                raise PerfRnnError(
                    f"{path}: has no column {column!r}; its first line has "
                    f"{', '.join(columns) or 'nothing'}"
                )
        for row in rows:
            split, name = row["split"], row["midi_filename"]
            if split not in SPLITS or not name:
                raise PerfRnnError(
                    f"{path}: line {rows.line_num}: split {split!r} of file {name!r} is none "
                    f"of {', '.join(SPLITS)}"
                    if name
                    else f"{path}: line {rows.line_num}: has no midi_filename"
                )
            if splits.setdefault(name, split) != split:
                raise PerfRnnError(
                    f"{path}: {name} is listed under {splits[name]} and under {split}"
                )
    except (csv.Error, UnicodeDecodeError) as error:
        raise PerfRnnError(f"{path}: is no CSV file ({error})") from error
    return splits


def names_in(path: str, splits: Collection[str]) -> set[str]:
    """Returns the files that a CSV lists under some of `SPLITS`.

    Raises:
      PerfRnnError: it lists none; or see `read_splits`.
      OSError: the file cannot be read.
    """
    names = {name for name, split in read_splits(path).items() if split in splits}
    if not names:
        raise PerfRnnError(f"{path}: no file in it is of split {' or '.join(splits)}")
    return names


def to_csv(splits: Mapping[str, str]) -> bytes:
    """Returns {midi_filename: one of `SPLITS`} as `read_splits` reads it, in order of the names."""
    file = io.StringIO()
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(["split", "midi_filename"])
    rows.writerows((splits[name], name) for name in sorted(splits))
    return file.getvalue().encode()
