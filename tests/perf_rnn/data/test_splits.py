"""CSV files that say which performances are trained on and which are held out."""

import re

import pytest

from bundles.errors import PerfRnnError
from perf_rnn.data.splits import HELD_OUT, TRAIN, names_in, read_splits, to_csv


def table(tmp_path, *rows, header="split,midi_filename"):
    path = tmp_path / "split.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return str(path)


def test_written_splits_are_read(tmp_path):
    splits = {"b.mid": "test", "a/é, 1.mid": "train", "a.mid": "validation"}
    path = str(tmp_path / "split.csv")
    (tmp_path / "split.csv").write_bytes(to_csv(splits))
    assert read_splits(path) == splits
    assert list(read_splits(path)) == sorted(splits)
    assert names_in(path, HELD_OUT) == {"a.mid", "b.mid"}
    assert names_in(path, (TRAIN,)) == {"a/é, 1.mid"}


def test_columns_of_maestro(tmp_path):
    path = table(
        tmp_path,
        'Bach,"Fugue, 1",train,2004,2004/a.midi,62.5',
        header="canonical_composer,canonical_title,split,year,midi_filename,duration",
    )
    assert read_splits(path) == {"2004/a.midi": "train"}


def test_a_byte_order_mark_is_no_part_of_a_column(tmp_path):
    path = tmp_path / "split.csv"
    path.write_bytes(b"\xef\xbb\xbfsplit,midi_filename\r\ntest,a.mid\r\n")
    assert read_splits(str(path)) == {"a.mid": "test"}


@pytest.mark.parametrize("other", ["validation", "test"])
def test_a_file_of_both_sides_is_refused(tmp_path, other):
    path = table(tmp_path, "train,a.mid", "train,b.mid", f"{other},a.mid")
    for read in (read_splits, lambda path: names_in(path, HELD_OUT)):
        with pytest.raises(PerfRnnError, match=f"a.mid is listed under train and under {other}"):
            read(path)


def test_a_file_may_be_listed_twice_on_one_side(tmp_path):
    assert read_splits(table(tmp_path, "train,a.mid", "train,a.mid")) == {"a.mid": "train"}


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        ([], "split,file", "has no column 'midi_filename'; its first line has split, file"),
        ([], "", "has no column 'split'; its first line has nothing"),
        (["dev,a.mid"], None, "line 2: split 'dev' of file 'a.mid' is none of train, validation,"),
        (["train,a.mid", "test,"], None, "line 3: has no midi_filename"),
        (["train"], None, "line 2: has no midi_filename"),
        (['train,"a.mid'], None, "is no CSV file"),
    ],
)
def test_what_is_no_split(tmp_path, rows, header, message):
    path = table(tmp_path, *rows, header="split,midi_filename" if header is None else header)
    with pytest.raises(PerfRnnError, match=re.escape(f"{path}: {message}")):
        read_splits(path)


def test_no_file_of_a_split(tmp_path):
    path = table(tmp_path, "train,a.mid")
    with pytest.raises(PerfRnnError, match="no file in it is of split validation or test"):
        names_in(path, HELD_OUT)
