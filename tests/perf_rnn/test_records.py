import numpy as np
import pytest
import tensorflow as tf

from perf_rnn.configs import get_config
from perf_rnn.records import EventRecords, EventSequence, RecordError, make_example

CONFIG = get_config("performance_with_dynamics")
EVENTS = [
    EventSequence(np.array([60, 355, 188, 387, 0], np.int32), "/id/a", 0),
    EventSequence(np.array([1, 256], np.int32), "/id/a", 1),
    EventSequence(np.array([127, 255, 128, 300], np.int32), "/id/b", 7),
]


@pytest.fixture(params=["sparse_one_hot", "dense_one_hot"])
def example_format(request):
    return request.param


def write(path, examples):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for example in examples:
            writer.write(example if isinstance(example, bytes) else example.SerializeToString())


def write_events(path, example_format="sparse_one_hot", config=CONFIG):
    write(path, [make_example(sequence, config, example_format) for sequence in EVENTS])


def test_round_trip(tmp_path, example_format):
    path = tmp_path / "a.tfrecord"
    write_events(path, example_format)
    records = EventRecords(str(path), CONFIG)
    assert len(records) == 3
    assert records.example_format == example_format
    for number in (2, 0, 1):
        read = records[number]
        assert read.events.tolist() == EVENTS[number].events.tolist()
        assert read.events.dtype == np.int32
        assert (read.source_id, read.segment_index) == (
            EVENTS[number].source_id,
            EVENTS[number].segment_index,
        )


def test_glob_reads_files_in_order(tmp_path):
    for name in "ba":
        write_events(tmp_path / f"{name}.tfrecord")
    records = EventRecords(str(tmp_path / "*.tfrecord"), CONFIG)
    assert [len(sequence.events) for sequence in records] == [5, 2, 4, 5, 2, 4]


def test_dense_format_is_magentas():
    example = make_example(EVENTS[0], CONFIG, "dense_one_hot")
    lists = example.feature_lists.feature_list
    inputs = np.array([f.float_list.value for f in lists["inputs"].feature])
    labels = [f.int64_list.value[:] for f in lists["labels"].feature]
    np.testing.assert_array_equal(inputs, np.eye(388)[[60, 355, 188, 387]])
    assert labels == [[355], [188], [387], [0]]


def test_sparse_format():
    example = make_example(EVENTS[0], CONFIG)
    (feature,) = example.feature_lists.feature_list["events"].feature
    assert feature.int64_list.value[:] == [60, 355, 188, 387, 0]
    context = example.context.feature
    assert context["config"].bytes_list.value[:] == [b"performance_with_dynamics"]
    assert context["num_classes"].int64_list.value[:] == [388]


def test_records_without_context_are_read(tmp_path):
    example = make_example(EVENTS[0], CONFIG, "dense_one_hot")
    example.ClearField("context")
    write(tmp_path / "a", [example])
    read = EventRecords(str(tmp_path / "a"), CONFIG)[0]
    assert read.events.tolist() == EVENTS[0].events.tolist()
    assert read.source_id == ""


def test_unknown_format():
    with pytest.raises(ValueError, match="example format 'csv' is none of sparse_one_hot, dense"):
        make_example(EVENTS[0], CONFIG, "csv")


def test_wrong_config(tmp_path, example_format):
    write_events(tmp_path / "a", example_format)
    with pytest.raises(RecordError, match="made for config 'performance_with_dynamics', not 'per"):
        EventRecords(str(tmp_path / "a"), get_config("performance"))[0]


def test_wrong_width_without_context(tmp_path):
    example = make_example(EVENTS[0], CONFIG, "dense_one_hot")
    example.ClearField("context")
    write(tmp_path / "a", [example])
    with pytest.raises(RecordError, match=r"`inputs` \[4, 388\].* are not \[steps, 356\]"):
        EventRecords(str(tmp_path / "a"), get_config("performance"))[0]


def test_every_truncation_is_found(tmp_path):
    write_events(tmp_path / "whole")
    data = (tmp_path / "whole").read_bytes()
    ends = [0]
    while ends[-1] < len(data):
        ends.append(ends[-1] + 16 + int.from_bytes(data[ends[-1] : ends[-1] + 8], "little"))
    path = tmp_path / "cut"
    for size in set(range(len(data))) - set(ends):
        path.write_bytes(data[:size])
        with pytest.raises(RecordError, match="cut: is truncated"):
            EventRecords(str(path), CONFIG)


def test_every_flipped_byte_is_found(tmp_path):
    write(tmp_path / "whole", [make_example(EVENTS[1], CONFIG)])
    data = (tmp_path / "whole").read_bytes()
    path = tmp_path / "flipped"
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :])
        with pytest.raises(RecordError, match="flipped: "):
            EventRecords(str(path), CONFIG)[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no examples"),
        (b"MThd\0\0\0\6\0\1\0\2\1\xe0MTrk", "is no uncompressed TFRecord"),
        (b"<html>not found</html>", "is no uncompressed TFRecord"),
    ],
)
def test_other_files(tmp_path, content, message):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(RecordError, match=f"a: {message}"):
        EventRecords(str(tmp_path / "a"), CONFIG)


def test_missing_file(tmp_path):
    with pytest.raises(RecordError, match="no such file"):
        EventRecords(str(tmp_path / "*.tfrecord"), CONFIG)


def bad_events(*events):
    return make_example(EventSequence(np.array(events)), CONFIG)


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (b"\xff\xff\xff", "not a SequenceExample"),
        (tf.train.SequenceExample(), "has neither `events` nor `inputs`"),
        (bad_events(5), "needs 2 or more events"),
        (bad_events(5, 388), "from 0 to 387"),
        (bad_events(-1, 5), "from 0 to 387"),
    ],
)
def test_bad_examples(tmp_path, example, message):
    write(tmp_path / "a", [example])
    with pytest.raises(RecordError, match=message):
        EventRecords(str(tmp_path / "a"), CONFIG)[0]


@pytest.mark.parametrize("classes", [[], [356], [388, 388]])
def test_other_number_of_classes(tmp_path, classes):
    example = make_example(EVENTS[0], CONFIG)
    example.context.feature["num_classes"].int64_list.value[:] = classes
    write(tmp_path / "a", [example])
    with pytest.raises(RecordError, match=r"a: record 0: num_classes is \["):
        EventRecords(str(tmp_path / "a"), CONFIG)[0]


def test_inputs_that_are_not_one_hot(tmp_path):
    example = make_example(EVENTS[0], CONFIG, "dense_one_hot")
    example.feature_lists.feature_list["inputs"].feature[1].float_list.value[3] = 0.5
    write(tmp_path / "a", [example])
    with pytest.raises(RecordError, match="not one-hot"):
        EventRecords(str(tmp_path / "a"), CONFIG)[0]
