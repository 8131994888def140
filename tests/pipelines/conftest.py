"""What the tests of the performance pipeline's parts share."""

import collections
import pathlib

import pytest
from absl import logging
from note_seq import NoteSequence

from pipelines import note_sequence_files
from pipelines.pipeline import tf_record_iterator
from pipelines.statistics import merge_statistics


@pytest.fixture(scope="session")
def sequences(tmp_path_factory):
    """Three real performances of two pieces, by file name."""
    path = str(tmp_path_factory.mktemp("asap") / "asap.tfrecord")
    asap = pathlib.Path(__file__).parents[1] / "testdata" / "asap"
    note_sequence_files.convert_directory(str(asap), path, recursive=True)
    return {
        sequence.filename.rpartition("/")[2]: sequence
        for sequence in tf_record_iterator(path, NoteSequence)
    }


@pytest.fixture
def log_everything():
    """Logs messages down to level DEBUG."""
    before = logging.get_verbosity()
    logging.set_verbosity(logging.DEBUG)
    yield
    logging.set_verbosity(before)


@pytest.fixture
def make_quantized():
    """Makes a quantised NoteSequence of (pitch, start step, end step) notes."""

    def make(*notes, steps_per_second=100, **fields):
        sequence = NoteSequence(
            total_quantized_steps=max((end for _, _, end in notes), default=0), **fields
        )
        sequence.quantization_info.steps_per_second = steps_per_second
        for pitch, start, end in notes:
            sequence.notes.add(
                pitch=pitch,
                velocity=80,
                start_time=start / steps_per_second,
                end_time=end / steps_per_second,
                quantized_start_step=start,
                quantized_end_step=end,
            )
        return sequence

    return make


@pytest.fixture
def stats_of():
    """Gives what statistics counted, by name, where it is not zero."""

    def read(stats):
        counts = {}
        for stat in merge_statistics(stats):
            is_histogram = hasattr(stat, "counters")
            counts[stat.name] = +collections.Counter(stat.counters) if is_histogram else stat.count
        return {name: count for name, count in counts.items() if count}

    return read


@pytest.fixture
def read_example():
    """Gives (events, source id, segment index) of a sparse example."""

    def read(example):
        context = example.context.feature
        (feature,) = example.feature_lists.feature_list["events"].feature
        (source_id,) = context["source_id"].bytes_list.value
        (segment_index,) = context["segment_index"].int64_list.value
        return list(feature.int64_list.value), source_id.decode(), segment_index

    return read
