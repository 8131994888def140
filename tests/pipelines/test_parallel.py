"""Several processes give what one gives, and survive inputs that one does not."""

import gzip
import os
import shutil

import pytest
from note_seq import NoteSequence

from perf_rnn.configs import default_configs
from perf_rnn.notes.music_files import find_music_files, note_sequence_id
from pipelines import midi_reader, parallel, performance_dataset, statistics
from pipelines.performance_pipeline import get_pipeline
from pipelines.pipeline import Pipeline, run_pipeline_serial

DYNAMIC = default_configs["performance_with_dynamics"]


pytestmark = pytest.mark.usefixtures("log_everything")


class Poison(Pipeline):
    """Ends its process, or raises, on certain inputs; else writes the input as a sequence's id."""

    def __init__(self):
        super().__init__(str, NoteSequence)

    def transform(self, input_object):
        if input_object == "crash":
            os._exit(1)
        if input_object == "raise":
            raise ValueError("this input is bad")
        self._set_stats([statistics.Counter("seen", 1)])
        return [NoteSequence(id=input_object)]


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def statistics_logged(caplog):
    """The lines logged of a pipeline, without those of progress, which depend on the time."""
    return {message for message in caplog.messages if " done: " not in message}


@pytest.fixture
def files(asap_dir):
    return find_music_files(str(asap_dir))


def test_any_number_of_workers_gives_the_bytes_of_one_process(files, tmp_path, caplog):
    pipeline = get_pipeline(DYNAMIC, 32, None, 0.5, reader=midi_reader.MidiReader())
    counts = [run_pipeline_serial(pipeline, files, str(tmp_path / "serial"))]
    logged = statistics_logged(caplog)
    for workers in (1, 3):
        caplog.clear()
        directory = str(tmp_path / str(workers))
        counts.append(
            parallel.run_pipeline_parallel(pipeline, files, directory, num_workers=workers)
        )
        assert statistics_logged(caplog) == logged
        assert contents(tmp_path / str(workers)) == contents(tmp_path / "serial")
    assert counts == [counts[0]] * 3
    assert sum(counts[0].values()) == 11


def test_shards_hold_the_inputs_in_turns(tmp_path):
    letters = list("abcdefg")
    written = parallel.run_pipeline_parallel(
        Poison(), letters, str(tmp_path), num_workers=2, num_shards=3
    )
    assert written == {"dataset": 7}
    names = [f"dataset-0000{shard}-of-00003.tfrecord" for shard in range(3)]
    assert sorted(os.listdir(tmp_path)) == names
    found = [
        [
            sequence.id
            for sequence in performance_dataset.pipeline.tf_record_iterator(
                str(tmp_path / name), NoteSequence
            )
        ]
        for name in names
    ]
    assert found == [letters[shard::3] for shard in range(3)]


def test_inputs_that_crash_their_process_are_skipped(tmp_path, caplog):
    """More inputs follow the first than the queue holds, so that a broken pool is given more."""
    inputs = ["a", "crash", *"bcdefghijk", "crash"]
    assert len(inputs) > 2 + parallel.INPUTS_AHEAD
    written = parallel.run_pipeline_parallel(Poison(), inputs, str(tmp_path), num_workers=1)
    assert written == {"dataset": 11}
    path = str(tmp_path / "dataset.tfrecord")
    sequences = performance_dataset.pipeline.tf_record_iterator(path, NoteSequence)
    assert [sequence.id for sequence in sequences] == list("abcdefghijk")
    assert "Poison_inputs_crashed: 2" in caplog.messages
    assert "Poison_seen: 11" in caplog.messages
    assert caplog.messages.count("a str: skipped: it crashed its process") == 2


def test_what_a_pipeline_raises_ends_the_run(tmp_path):
    with pytest.raises(ValueError, match="this input is bad"):
        parallel.run_pipeline_parallel(Poison(), ["a", "raise"], str(tmp_path), num_workers=1)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("option", ["num_workers", "num_shards"])
def test_numbers_below_one(tmp_path, option):
    with pytest.raises(ValueError, match=f"{option} 0 is below 1"):
        parallel.run_pipeline_parallel(Poison(), [], str(tmp_path), **{option: 0})


def test_midi_files_packed_and_not(asap_dir, tmp_path, caplog):
    good = asap_dir / "Bach/Fugue/bwv_875/CaoJ01M.mid"
    (tmp_path / "in" / "below").mkdir(parents=True)
    shutil.copy(good, tmp_path / "in" / "below" / "plain.MIDI")
    packed = gzip.compress(good.read_bytes())
    (tmp_path / "in" / "packed.mid.gz").write_bytes(packed)
    (tmp_path / "in" / "half.mid.gz").write_bytes(packed[:500])
    (tmp_path / "in" / "bad.mid").write_bytes(b"no MIDI")
    files = find_music_files(str(tmp_path / "in"))
    assert [file.name for file in files] == [
        "bad.mid",
        "below/plain.MIDI",
        "half.mid.gz",
        "packed.mid.gz",
    ]
    reader = midi_reader.MidiReader()
    outputs = [reader.transform(file) for file in files]
    assert [len(output) for output in outputs] == [0, 1, 0, 1]
    plain, packed = outputs[1][0], outputs[3][0]
    assert list(plain.notes) == list(packed.notes)
    assert (plain.filename, plain.collection_name) == ("below/plain.MIDI", "in")
    assert plain.id == note_sequence_id("below/plain.MIDI", "in", "midi")
    assert "bad.mid: not a MIDI file (no MThd header)" in caplog.text
    assert "half.mid.gz: cut off, not unpacked" in caplog.text
