"""Whole performances from segments, and from notes."""

import numpy as np
import pytest
import tensorflow as tf
from note_seq import midi_io
from note_seq.protobuf import music_pb2

from perf_rnn.configs import get_config
from perf_rnn.data.examples import make_example, make_sequence_example
from perf_rnn.data.whole_pieces import SEGMENT_STEPS, join_segments, read_whole_pieces
from perf_rnn.notes.arrays import from_note_sequence
from perf_rnn.notes.transforms import quantize
from pipelines.performance_extraction import SEGMENT_SECONDS

CONFIG = get_config("performance_with_dynamics")
PLAIN = get_config("performance")
NOTES = get_config("performance_with_dynamics_and_note_encoding")
OPTIONAL = get_config("optional_multiconditioned_performance_with_dynamics")


def make_notes(config, seconds=95, seed=0):
    """Quantised notes, none of them over a multiple of 30 s."""
    rng = np.random.default_rng(seed)
    start = np.sort(rng.uniform(0.5, seconds, size=8 * seconds))
    end = np.minimum(start + rng.uniform(0.05, 2, size=len(start)), (start // 30 + 1) * 30 - 0.01)
    start, end = start[end - start > 0.02], end[end - start > 0.02]
    # Silence before and after the first cut.
    keep = (start < 27.3) | (start > 31.7)
    sequence = music_pb2.NoteSequence()
    for first, last in zip(start[keep], end[keep], strict=True):
        # On the steps, since notes of one step are in order of their times.
        sequence.notes.add(
            start_time=round(first, 2),
            end_time=round(last, 2),
            pitch=int(rng.integers(21, 109)),
            velocity=int(rng.integers(30, 60)),
        )
    sequence.total_time = seconds
    return sequence


def encode(sequence, config, start=0.0, end=np.inf):
    """The events of the notes from `start` on, that being time 0, up to `end`."""
    part = music_pb2.NoteSequence()
    for note in sequence.notes:
        if start <= note.start_time < end:
            part.notes.add().CopyFrom(note)
            part.notes[-1].start_time = round(note.start_time - start, 2)
            part.notes[-1].end_time = round(note.end_time - start, 2)
    part.total_time = max(note.end_time for note in part.notes)
    return config.codec.encode(quantize(from_note_sequence(part), 100))


def cut(sequence, config):
    return [encode(sequence, config, start, start + 30) for start in (0, 30, 60, 90)]


def write(path, examples):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for example in examples:
            writer.write(example.SerializeToString())
    return str(path)


def test_segments_are_as_long_as_the_pipeline_cuts_them():
    assert SEGMENT_STEPS == SEGMENT_SECONDS * 100


@pytest.mark.parametrize("config", [CONFIG, PLAIN, NOTES], ids=lambda config: config.key)
def test_joined_segments_are_the_whole(config):
    sequence = make_notes(config)
    whole, segments = encode(sequence, config), cut(sequence, config)
    joined = join_segments(segments, config)
    assert joined.dtype == np.int32
    np.testing.assert_array_equal(joined, whole)
    assert len(np.concatenate(segments)) != len(whole) or config is NOTES


def test_a_missing_segment_is_missing_with_its_time():
    first, _, third, fourth = cut(make_notes(PLAIN), PLAIN)
    joined = join_segments([first, third, fourth], PLAIN)
    assert PLAIN.codec.num_steps(joined) == 60 * 100 + PLAIN.codec.num_steps(fourth)


def test_a_segment_that_is_a_step_too_long():
    segment = PLAIN.codec.set_length([60], 3001)
    joined = join_segments([segment, np.array([300, 61])], PLAIN)
    assert joined[len(segment) :].tolist() == [300, 61]


def test_a_pause_in_note_encoding_is_at_most_10_seconds():
    joined = join_segments(
        [np.array([[0, 5, 60, 3, 0, 9]]), np.array([[1, 2, 61, 3, 0, 9]])], NOTES
    )
    assert joined.tolist() == [[0, 5, 60, 3, 0, 9], [12, 76, 61, 3, 0, 9]]


@pytest.mark.parametrize("example_format", ["sparse_one_hot", "dense_one_hot"])
@pytest.mark.parametrize("config", [CONFIG, NOTES, OPTIONAL], ids=lambda config: config.key)
def test_segments_in_any_order(tmp_path, config, example_format):
    sequences = [make_notes(config, seed=seed) for seed in (0, 1)]
    examples = [
        make_example(
            events,
            config,
            example_format,
            source_id=f"/id/{name}",
            segment_index=index,
            disabled=disabled,
        )
        for name, sequence in zip("ab", sequences, strict=True)
        for index, events in enumerate(cut(sequence, config))
        for disabled in ((False, True) if config is OPTIONAL else (False,))
    ]
    order = np.random.default_rng(2).permutation(len(examples))
    path = write(tmp_path / "segments.tfrecord", [examples[number] for number in order])
    found = read_whole_pieces(path, config)
    assert (found.path, found.kind, found.left_out) == (path, "SequenceExamples", {"too_short": 0})
    pieces = {piece.name: piece.events for piece in found.pieces}
    assert sorted(pieces) == ["/id/a", "/id/b"]
    for name, sequence in zip("ab", sequences, strict=True):
        np.testing.assert_array_equal(pieces[f"/id/{name}"], encode(sequence, config))


def test_examples_of_several_files(tmp_path):
    sequence = make_notes(PLAIN)
    for index, events in enumerate(cut(sequence, PLAIN)):
        example = make_example(events, PLAIN, source_id="/id/a", segment_index=index)
        write(tmp_path / f"part{9 - index}.tfrecord", [example])
    (piece,) = read_whole_pieces(str(tmp_path / "part*.tfrecord"), PLAIN).pieces
    np.testing.assert_array_equal(piece.events, encode(sequence, PLAIN))


def test_examples_without_a_source_are_pieces(tmp_path):
    """As Magenta's own."""
    events = np.array([60, 355, 188, 61], np.int32)
    example = make_sequence_example(CONFIG.encoding.dense_inputs(events[:-1]), events[1:])
    path = write(tmp_path / "magenta.tfrecord", [example, example])
    found = read_whole_pieces(path, CONFIG)
    assert [piece.name for piece in found.pieces] == ["record 0", "record 1"]
    assert found.pieces[1].events.tolist() == events.tolist()


def test_segments_that_contradict_each_other(tmp_path):
    examples = [
        make_example(np.array(events, np.int32), PLAIN, source_id="/id/a", segment_index=2)
        for events in ([60, 355, 188], [60, 355, 189])
    ]
    path = write(tmp_path / "two.tfrecord", examples)
    with pytest.raises(ValueError, match="segment 2 of /id/a is there twice, and differs"):
        read_whole_pieces(path, PLAIN)


def test_notes_are_encoded_whole(tmp_path):
    sequence = make_notes(CONFIG)
    sequence.id, sequence.filename = "/id/a", "folder/a.mid"
    path = write(tmp_path / "notes.tfrecord", [sequence, music_pb2.NoteSequence(id="/id/b")])
    found = read_whole_pieces(path, CONFIG)
    assert found.kind == "NoteSequences"
    assert found.left_out == {
        "damaged": 0,
        "without_notes": 1,
        "not_encodable": 0,
        "too_short": 0,
    }
    (piece,) = found.pieces
    assert piece.name == "folder/a.mid"
    np.testing.assert_array_equal(piece.events, encode(sequence, CONFIG))


def test_midi_with_its_pedal(tmp_path):
    sequence = music_pb2.NoteSequence(ticks_per_quarter=500)
    sequence.notes.add(start_time=1, end_time=2, pitch=60, velocity=80)
    sequence.notes.add(start_time=30, end_time=31, pitch=62, velocity=80)
    for time, value in ((0.5, 127), (14, 0)):
        sequence.control_changes.add(time=time, control_number=64, control_value=value)
    sequence.total_time = 31
    midi_io.sequence_proto_to_midi_file(sequence, str(tmp_path / "a.mid"))
    found = read_whole_pieces(str(tmp_path / "a.mid"), PLAIN)
    assert (found.kind, [piece.name for piece in found.pieces]) == ("MIDI", ["a.mid"])
    shift = 355
    expected = [shift, 60, *[shift] * 13, 188, *[shift] * 16, 62, shift, 190]
    assert found.pieces[0].events.tolist() == expected


def test_note_encoding_of_long_notes_and_pauses(tmp_path):
    for name, pause in (("short", 9), ("long", 12)):
        sequence = music_pb2.NoteSequence(ticks_per_quarter=500)
        sequence.notes.add(start_time=0, end_time=25, pitch=60, velocity=80)
        sequence.notes.add(start_time=pause, end_time=20, pitch=62, velocity=80)
        sequence.total_time = 25
        midi_io.sequence_proto_to_midi_file(sequence, str(tmp_path / f"{name}.mid"))
    found = read_whole_pieces(str(tmp_path), NOTES)
    assert found.left_out["not_encodable"] == 1
    (piece,) = found.pieces
    assert piece.name == "short.mid"
    assert piece.events[0].tolist() == [0, 0, 60, 19, 24, 39]


def test_pieces_too_short(tmp_path):
    one = make_sequence_example(np.eye(388)[[60]], [188])
    assert len(read_whole_pieces(write(tmp_path / "a", [one]), CONFIG).pieces) == 1
    sequence = music_pb2.NoteSequence(id="/id/a")
    sequence.notes.add(start_time=0, end_time=1, pitch=60, velocity=80)
    path = write(tmp_path / "b", [sequence])
    # One note event, and nothing to predict.
    with pytest.raises(ValueError, match="no piece in it has two events"):
        read_whole_pieces(path, NOTES)
