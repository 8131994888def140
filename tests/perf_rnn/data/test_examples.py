import pathlib

import numpy as np
import pytest

from bundles.tensorflow_protos import SequenceExample
from perf_rnn.configs import default_configs, get_config
from perf_rnn.data.examples import (
    EventRecords,
    EventSequence,
    RecordError,
    make_example,
)
from perf_rnn.data.examples import make_sequence_example as magentas_example
from perf_rnn.data.tfrecord import open_writers

MAGENTA = pathlib.Path(__file__).parents[2] / "testdata" / "magenta_bundles"
CONFIG = get_config("performance_with_dynamics")
OPTIONAL = get_config("optional_multiconditioned_performance_with_dynamics")
NOTES = get_config("performance_with_dynamics_and_note_encoding")
EVENTS = [[60, 355, 188, 387, 0], [1, 256], [127, 255, 128, 300]]


@pytest.fixture(params=["sparse_one_hot", "dense_one_hot"])
def example_format(request):
    return request.param


@pytest.fixture(params=list(default_configs.values()), ids=lambda config: config.key)
def any_config(request):
    return request.param


def write(path, examples):
    with open_writers([str(path)]) as (writer,):
        for example in examples:
            writer.write(example if isinstance(example, bytes) else example.SerializeToString())


def example_of(events, config=CONFIG, example_format="sparse_one_hot", **options):
    return make_example(np.array(events, np.int32), config, example_format, **options)


def write_events(path, example_format="sparse_one_hot", config=CONFIG):
    write(path, [example_of(events, config, example_format) for events in EVENTS])


def read(path, example, config=CONFIG):
    write(path, [example])
    return EventRecords(str(path), config)[0]


def dense(example):
    """`inputs` [steps, width] and `labels` [steps, heads] of an example."""
    lists = example.feature_lists.feature_list
    inputs = [feature.float_list.value for feature in lists["inputs"].feature]
    labels = [feature.int64_list.value for feature in lists["labels"].feature]
    return np.array(inputs, np.float32), np.array(labels)


def magentas(config):
    """Events of a real performance, and Magenta's `inputs` and `labels` of them."""
    with np.load(MAGENTA / f"{config.key}.npz") as figures:
        inputs, labels = figures["inputs"], figures["labels"]
        # The flags of optional conditioning, none of them set in other configs.
        disabled = figures["disable"] if "disable" in figures else np.zeros(len(labels) + 1, bool)
        first = figures["events"][0]
    if config.codec.whole_notes:
        shift, pitch, velocity, duration = first[:, 1]
        first = [*divmod(shift, 77), pitch, velocity - 1, *divmod(duration - 1, 40)]
    else:
        first = config.codec.event_index(*first)
    return np.array([first, *labels], np.int32), disabled, inputs, labels


def random_events(config, length=40):
    sizes = np.array(config.encoding.head_sizes)
    events = np.random.default_rng(0).integers(sizes, size=(length, len(sizes)))
    return events.reshape(-1, *config.encoding.event_shape).astype(np.int32)


def test_round_trip(tmp_path, example_format):
    path = tmp_path / "a.tfrecord"
    write_events(path, example_format)
    records = EventRecords(str(path), CONFIG)
    assert len(records) == 3
    assert records.example_format == example_format
    for number in (2, 0, 1):
        sequence = records[number]
        assert sequence.events.tolist() == EVENTS[number]
        assert sequence.events.dtype == np.int32
        assert sequence.controls.shape == (len(sequence.events), 0)


@pytest.mark.parametrize(
    ("config", "disabled"),
    [*((config, False) for config in default_configs.values()), (OPTIONAL, True)],
    ids=lambda value: getattr(value, "key", "disabled" if value else ""),
)
def test_round_trip_of_every_config(tmp_path, config, disabled, example_format):
    events = random_events(config)
    example = make_example(events, config, example_format, disabled=disabled)
    sequence = read(tmp_path / "a", example, config)
    expected = EventSequence.from_events(events, config, disabled)
    np.testing.assert_array_equal(sequence.events, events)
    assert sequence.controls.shape == (40, config.control_size)
    # A dense record has no place for the controls of the first event.
    first = int(example_format == "dense_one_hot")
    np.testing.assert_array_equal(sequence.controls[first:], expected.controls[first:])
    assert not sequence.controls[:first].any()
    assert sequence.controls.dtype == np.float32
    assert sequence.disabled == disabled


def test_dense_examples_hold_magentas_inputs_and_labels(any_config):
    events, disabled, inputs, labels = magentas(any_config)
    ours, our_labels = dense(make_example(events, any_config, "dense_one_hot"))
    if any_config.conditioning.optional:
        none, _ = dense(make_example(events, any_config, "dense_one_hot", disabled=True))
        ours = np.where(disabled[1:, np.newaxis], none, ours)
    np.testing.assert_allclose(ours, inputs, rtol=0, atol=1e-7)
    np.testing.assert_array_equal(our_labels, labels.reshape(len(labels), -1))


def test_magentas_examples_are_read_exactly(tmp_path, any_config):
    events, _, inputs, labels = magentas(any_config)
    sequence = read(tmp_path / "a", magentas_example(inputs, labels), any_config)
    np.testing.assert_array_equal(sequence.events, events)
    np.testing.assert_array_equal(sequence.controls[1:], inputs[:, : any_config.control_size])


def test_glob_reads_files_in_order(tmp_path):
    for name in "ba":
        write_events(tmp_path / f"{name}.tfrecord")
    records = EventRecords(str(tmp_path / "*.tfrecord"), CONFIG)
    assert [len(sequence.events) for sequence in records] == [5, 2, 4, 5, 2, 4]


def test_sparse_format():
    example = example_of(EVENTS[0], source_id="/id/a", segment_index=7)
    (feature,) = example.feature_lists.feature_list["events"].feature
    assert feature.int64_list.value[:] == [60, 355, 188, 387, 0]
    context = example.context.feature
    assert context["config"].bytes_list.value[:] == [b"performance_with_dynamics"]
    assert context["num_classes"].int64_list.value[:] == [388]
    assert context["augmented"].int64_list.value[:] == [0]
    assert context["source_id"].bytes_list.value[:] == [b"/id/a"]
    assert context["segment_index"].int64_list.value[:] == [7]
    assert "conditioning_disabled" not in context


def test_sparse_format_of_notes_and_flags():
    example = example_of([[0, 5, 60, 20, 1, 2], [12, 76, 127, 31, 24, 39]], NOTES)
    (feature,) = example.feature_lists.feature_list["events"].feature
    assert feature.int64_list.value[:] == [0, 5, 60, 20, 1, 2, 12, 76, 127, 31, 24, 39]
    for disabled in (False, True):
        example = example_of([60, 300], OPTIONAL, disabled=disabled)
        flag = example.context.feature["conditioning_disabled"]
        assert flag.int64_list.value[:] == [disabled]


@pytest.mark.parametrize(
    ("files", "augmented"),
    [
        ([False], False),
        ([True], True),
        ([None], None),
        ([False, False], False),
        ([False, None], None),
        ([None, True], True),
    ],
)
def test_whether_data_is_augmented(tmp_path, example_format, files, augmented):
    for number, flag in enumerate(files):
        example = example_of(EVENTS[0], example_format=example_format, augmented=flag or False)
        if flag is None:
            del example.context.feature["augmented"]
        write(tmp_path / f"{number}.tfrecord", [example] * 2)
    write(tmp_path / "empty.tfrecord", [])
    assert EventRecords(str(tmp_path / "*.tfrecord"), CONFIG).augmented is augmented


def test_augmented_is_neither_yes_nor_no(tmp_path):
    example = example_of(EVENTS[0])
    example.context.feature["augmented"].int64_list.value[:] = [2]
    write(tmp_path / "a", [example])
    with pytest.raises(RecordError, match=r"a: record 0: augmented is \[2\], neither \[0\] nor"):
        assert EventRecords(str(tmp_path / "a"), CONFIG).augmented


def test_unknown_format():
    with pytest.raises(ValueError, match="example format 'csv' is none of sparse_one_hot, dense"):
        example_of([1, 2], example_format="csv")


def test_wrong_config(tmp_path, example_format):
    write_events(tmp_path / "a", example_format)
    with pytest.raises(RecordError, match="made for config 'performance_with_dynamics', not 'per"):
        EventRecords(str(tmp_path / "a"), get_config("performance"))[0]


@pytest.mark.parametrize(
    ("config", "widths"),
    [
        (get_config("performance"), r"\[steps, 356\] and \[steps, 1\]"),
        (OPTIONAL, r"\[steps, 409\] and \[steps, 1\]"),
        (NOTES, r"\[steps, 315\] and \[steps, 6\]"),
        (get_config("performance_with_dynamics_compact"), r"\[steps, 1\] and \[steps, 1\]"),
    ],
    ids=lambda value: getattr(value, "key", ""),
)
def test_wrong_width_without_context(tmp_path, config, widths):
    example = example_of(EVENTS[0], example_format="dense_one_hot")
    example.ClearField("context")
    with pytest.raises(RecordError, match=r"`inputs` \[4, 388\].* are not " + widths):
        read(tmp_path / "a", example, config)


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
    write(tmp_path / "whole", [example_of([1, 256])])
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
    with pytest.raises(RecordError, match="is a directory; give a TFRecord that perf_rnn dataset"):
        EventRecords(str(tmp_path), CONFIG)


def with_flag(*values):
    example = example_of([60, 300], OPTIONAL)
    del example.context.feature["conditioning_disabled"].int64_list.value[:]
    example.context.feature["conditioning_disabled"].int64_list.value.extend(values)
    return example


def without_flag():
    example = example_of([60, 300], OPTIONAL)
    del example.context.feature["conditioning_disabled"]
    return example


def flattened(*integers):
    """A sparse example of notes, whatever the number of integers."""
    example = example_of([[0] * 6] * 2, NOTES)
    example.feature_lists.feature_list["events"].feature[0].int64_list.value[:] = integers
    return example


@pytest.mark.parametrize(
    ("config", "example", "message"),
    [
        (CONFIG, b"\xff\xff\xff", "not a SequenceExample"),
        (CONFIG, SequenceExample(), "has neither `events` nor `inputs`"),
        (CONFIG, example_of([5]), "needs 2 or more events, has 1"),
        (CONFIG, example_of([5, 388]), "event index 388 is outside 0 to 387"),
        (CONFIG, example_of([-1, 5]), "event index -1 is outside 0 to 387"),
        (NOTES, flattened(1, 2, 3, 4, 5, 6, 7), "7 integers are not 6 for each event"),
        (NOTES, flattened(0, 0, 0, 0, 0, 0), "needs 2 or more events, has 1"),
        (NOTES, flattened(*[0] * 6, 0, 77, 0, 0, 0, 0), "event index 77 is outside 0 to 76"),
        (OPTIONAL, with_flag(), r"conditioning_disabled is \[\], neither \[0\] nor \[1\]"),
        (OPTIONAL, without_flag(), "does not say whether its conditioning is disabled"),
        (OPTIONAL, with_flag(2), r"conditioning_disabled is \[2\], neither \[0\] nor \[1\]"),
    ],
)
def test_bad_examples(tmp_path, config, example, message):
    with pytest.raises(RecordError, match=f"a: record 0: {message}"):
        read(tmp_path / "a", example, config)


@pytest.mark.parametrize("classes", [[], [356], [388, 388]])
def test_other_number_of_classes(tmp_path, classes):
    example = example_of([1, 2])
    example.context.feature["num_classes"].int64_list.value[:] = classes
    with pytest.raises(RecordError, match=r"a: record 0: num_classes is \["):
        read(tmp_path / "a", example)


def test_dense_inputs_that_are_no_events(tmp_path, any_config):
    example = make_example(random_events(any_config), any_config, "dense_one_hot")
    step = example.feature_lists.feature_list["inputs"].feature[3]
    step.float_list.value[any_config.control_size] += 0.5
    with pytest.raises(RecordError, match="`inputs`: dense input 3 belongs to no event"):
        read(tmp_path / "a", example, any_config)


def test_dense_labels_that_do_not_follow(tmp_path, any_config):
    example = make_example(random_events(any_config), any_config, "dense_one_hot")
    label = example.feature_lists.feature_list["labels"].feature[3].int64_list.value
    label[0] = (label[0] + 1) % any_config.encoding.head_sizes[0]
    with pytest.raises(RecordError, match="`labels` are not the events that follow in `inputs`"):
        read(tmp_path / "a", example, any_config)


def test_dense_controls_that_are_not_finite(tmp_path):
    example = make_example(random_events(OPTIONAL), OPTIONAL, "dense_one_hot")
    example.feature_lists.feature_list["inputs"].feature[3].float_list.value[12] = np.nan
    with pytest.raises(RecordError, match="hold control signals that are not finite"):
        read(tmp_path / "a", example, OPTIONAL)


def test_dense_steps_of_different_width(tmp_path):
    example = example_of(EVENTS[0], example_format="dense_one_hot")
    example.feature_lists.feature_list["inputs"].feature[1].float_list.value.append(0)
    with pytest.raises(RecordError, match="its steps differ in width"):
        read(tmp_path / "a", example)
