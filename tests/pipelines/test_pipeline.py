import logging
import os

import pytest
import tensorflow as tf
from note_seq import NoteSequence

from pipelines.pipeline import (
    InvalidStatisticsError,
    InvalidTypeSignatureError,
    Pipeline,
    PipelineKey,
    file_iterator,
    load_pipeline,
    run_pipeline_serial,
    tf_record_iterator,
)
from pipelines.statistics import Counter


class Repeat(Pipeline):
    """Gives its input once as `one` and twice as `two`."""

    def __init__(self, type_=NoteSequence, fail_at=None):
        super().__init__(type_, {"one": type_, "two": type_})
        self.fail_at = fail_at

    def transform(self, input_object):
        if input_object == self.fail_at:
            raise KeyboardInterrupt
        self._set_stats([Counter("inputs", 1)])
        return {"one": [input_object], "two": [input_object] * 2}


class RepeatUnnamed(Pipeline):
    def __init__(self, type_=NoteSequence):
        super().__init__(type_, type_, "Unnamed")

    def transform(self, input_object):
        return [input_object] * 2


SEQUENCES = [NoteSequence(id="a"), NoteSequence(id="b")]


def read(path):
    return [NoteSequence.FromString(record.numpy()).id for record in tf.data.TFRecordDataset(path)]


@pytest.mark.parametrize("signature", [int, {"a": int}, {"a": int, "b": str}])
def test_type_signatures(signature):
    assert Repeat(int).input_type is int
    pipeline = type("Unit", (RepeatUnnamed,), {})(int)
    Pipeline.__init__(pipeline, signature, signature)
    assert pipeline.input_type == signature
    assert pipeline.output_type == signature
    assert pipeline.name == "Unit"


@pytest.mark.parametrize(
    "signature", ["int", 3, None, [int], {"a": 3}, {1: int}, {"a": None}, {"a": {"b": int}}]
)
def test_invalid_type_signatures(signature):
    unit = RepeatUnnamed()
    with pytest.raises(InvalidTypeSignatureError):
        Pipeline.__init__(unit, signature, int)
    with pytest.raises(InvalidTypeSignatureError):
        Pipeline.__init__(unit, int, signature)


def test_output_type_as_dict():
    assert RepeatUnnamed(int).output_type_as_dict == {"dataset": int}
    assert Repeat(int).output_type_as_dict == {"one": int, "two": int}


def test_key_names_one_output():
    unit = Repeat(int)
    key = unit["two"]
    assert isinstance(key, PipelineKey)
    assert (key.unit, key.key, key.output_type) == (unit, "two", int)


def test_key_errors():
    with pytest.raises(KeyError, match="three"):
        Repeat()["three"]
    with pytest.raises(KeyError, match="single"):
        RepeatUnnamed()["one"]
    with pytest.raises(ValueError, match="Pipeline"):
        PipelineKey("no pipeline", "one")


def test_stats_come_back_as_prefixed_copies():
    unit = Repeat(int)
    assert unit.get_stats() == []
    unit.transform(3)
    (stat,) = unit.get_stats()
    assert str(stat) == "Repeat_inputs: 1"
    assert [stat] == unit.get_stats()
    stat.increment()
    assert [str(stat) for stat in unit.get_stats()] == ["Repeat_inputs: 1"]


@pytest.mark.parametrize("stats", [3, None, [3], "ab"])
def test_invalid_stats(stats):
    with pytest.raises(InvalidStatisticsError):
        Repeat()._set_stats(stats)


def test_stats_may_be_any_iterable():
    unit = Repeat()
    unit._set_stats(Counter(name) for name in "ab")
    assert [stat.name for stat in unit.get_stats()] == ["Repeat_a", "Repeat_b"]


def test_file_iterator(tmp_path):
    (tmp_path / "s").mkdir()
    for name, text in [("a.TXT", "1"), ("b.txt", "2"), ("s/c.txt", "3"), ("txt", "4")]:
        (tmp_path / name).write_text(text)
    assert list(file_iterator(str(tmp_path))) == [b"1", b"2", b"3", b"4"]
    assert list(file_iterator(str(tmp_path), recurse=False)) == [b"1", b"2", b"4"]
    assert list(file_iterator(str(tmp_path), "txt")) == [b"1", b"2", b"3"]
    assert list(file_iterator(str(tmp_path), ".txt", recurse=False)) == [b"1", b"2"]
    with pytest.raises(ValueError, match="extension"):
        list(file_iterator(str(tmp_path), ""))
    with pytest.raises(FileNotFoundError):
        list(file_iterator(str(tmp_path / "none")))


def write(path, *records):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)


def test_tf_record_iterator(tmp_path):
    write(tmp_path / "f", *(sequence.SerializeToString() for sequence in SEQUENCES))
    assert list(tf_record_iterator(str(tmp_path / "f"), NoteSequence)) == SEQUENCES


def test_tf_record_iterator_names_a_truncated_file(tmp_path):
    path = tmp_path / "f"
    write(path, *(sequence.SerializeToString() for sequence in SEQUENCES))
    content = path.read_bytes()
    assert len(content) == 38
    # The second record starts at byte 19.
    for size in (37, 30, 20):
        path.write_bytes(content[:size])
        sequences = tf_record_iterator(str(path), NoteSequence)
        with pytest.raises(ValueError, match=r"f: is truncated \(at byte 19\)"):
            next(sequences)


@pytest.mark.parametrize("place", [19, 27, 31, 37])
def test_tf_record_iterator_names_a_corrupt_file(tmp_path, place):
    path = tmp_path / "f"
    write(path, *(sequence.SerializeToString() for sequence in SEQUENCES))
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"f: is corrupt \(at byte 19\)"):
        list(tf_record_iterator(str(path), NoteSequence))


def test_tf_record_iterator_names_a_foreign_file(tmp_path):
    (tmp_path / "f").write_text("this is text and nothing else")
    with pytest.raises(ValueError, match="f: is no uncompressed TFRecord file"):
        list(tf_record_iterator(str(tmp_path / "f"), NoteSequence))
    write(tmp_path / "g", b"\xff\xff\xff")
    with pytest.raises(ValueError, match="g: record 0 is not a NoteSequence"):
        list(tf_record_iterator(str(tmp_path / "g"), NoteSequence))


def test_tf_record_iterator_without_a_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        list(tf_record_iterator(str(tmp_path / "none"), NoteSequence))
    with pytest.raises(IsADirectoryError):
        list(tf_record_iterator(str(tmp_path), NoteSequence))


def test_run_pipeline_serial_writes_every_output(tmp_path):
    directory = str(tmp_path / "new" / "directory")
    assert run_pipeline_serial(Repeat(), iter(SEQUENCES), directory) == {"one": 2, "two": 4}
    assert sorted(os.listdir(directory)) == ["one.tfrecord", "two.tfrecord"]
    assert read(f"{directory}/one.tfrecord") == ["a", "b"]
    assert read(f"{directory}/two.tfrecord") == ["a", "a", "b", "b"]


def test_run_pipeline_serial_with_a_single_output_and_a_base_name(tmp_path):
    run_pipeline_serial(RepeatUnnamed(), iter(SEQUENCES), str(tmp_path), "base")
    assert os.listdir(tmp_path) == ["base_dataset.tfrecord"]
    assert read(str(tmp_path / "base_dataset.tfrecord")) == ["a", "a", "b", "b"]


def test_run_pipeline_serial_logs_merged_statistics(tmp_path, caplog):
    with caplog.at_level(logging.DEBUG, logger="absl"):
        run_pipeline_serial(Repeat(), iter(SEQUENCES), str(tmp_path))
    assert "Repeat_inputs: 2" in caplog.messages


def test_run_pipeline_serial_needs_types_that_serialize(tmp_path):
    with pytest.raises(ValueError, match=r"'one' of Repeat .* int has no SerializeToString"):
        run_pipeline_serial(Repeat(int), iter([1]), str(tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_equal_protos_are_written_as_equal_bytes(tmp_path):
    for keys in ("abcdefgh", "hgfedcba"):
        example = tf.train.SequenceExample()
        for key in keys:
            example.context.feature[key].int64_list.value.append(ord(key))
        run_pipeline_serial(
            RepeatUnnamed(tf.train.SequenceExample), iter([example]), str(tmp_path), keys
        )
    (first, second) = (path.read_bytes() for path in sorted(tmp_path.iterdir()))
    assert first == second


def test_an_interrupted_run_leaves_the_files_as_they_were(tmp_path):
    run_pipeline_serial(Repeat(), iter(SEQUENCES[:1]), str(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        run_pipeline_serial(Repeat(fail_at=SEQUENCES[1]), iter(SEQUENCES), str(tmp_path))
    assert sorted(os.listdir(tmp_path)) == ["one.tfrecord", "two.tfrecord"]
    assert read(str(tmp_path / "two.tfrecord")) == ["a", "a"]


def test_a_failed_check_leaves_the_files_as_they_were(tmp_path):
    run_pipeline_serial(Repeat(), iter(SEQUENCES), str(tmp_path))
    seen = []

    def check(written, stats):
        seen.append((dict(written), stats))
        raise ValueError("not good enough")

    with pytest.raises(ValueError, match="not good enough"):
        run_pipeline_serial(Repeat(), iter(SEQUENCES[:1]), str(tmp_path), check=check)
    assert seen == [({"one": 1, "two": 2}, [Counter("Repeat_inputs", 1)])]
    assert read(str(tmp_path / "one.tfrecord")) == ["a", "b"]


def test_output_directories_that_cannot_be(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="file"):
        run_pipeline_serial(Repeat(), iter(SEQUENCES), str(tmp_path / "file"))
    with pytest.raises(NotADirectoryError, match="file"):
        run_pipeline_serial(Repeat(), iter(SEQUENCES), str(tmp_path / "file" / "below"))
    (tmp_path / "one.tfrecord").mkdir()
    with pytest.raises(IsADirectoryError, match=r"one\.tfrecord"):
        run_pipeline_serial(Repeat(), iter(SEQUENCES), str(tmp_path))


def test_load_pipeline():
    assert load_pipeline(Repeat(int), iter([1, 2])) == {"one": [1, 2], "two": [1, 1, 2, 2]}
    assert load_pipeline(RepeatUnnamed(int), iter([1, 2])) == {"dataset": [1, 1, 2, 2]}
    assert load_pipeline(RepeatUnnamed(int), iter([])) == {"dataset": []}
