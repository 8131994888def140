"""No reader waits for a pipe or reads a device without end."""

import os

import pytest

import bundles
from bundles.errors import PerfRnnError
from bundles.inspection import describe_file
from bundles.npz_files import read_npz
from bundles.regular_files import read_regular
from perf_rnn.data.splits import read_splits
from perf_rnn.data.tfrecord import RecordFile
from perf_rnn.models import bundle_of_run
from perf_rnn.notes.music_files import find_music_files, read_midi_file
from perf_rnn.rendering.audio import Synthesizer
from perf_rnn.rendering.page import read_entries
from perf_rnn.training.best_network import BestNetwork
from perf_rnn.training.run_dir import RunDir
from pipelines.pipeline import file_iterator


def make_run(path: str, part: str) -> str:
    """Returns a run's directory, whose folder `part` is that of a file."""
    run = os.path.join(os.path.dirname(path), "run")
    os.mkdir(run)
    os.symlink(os.path.dirname(path), os.path.join(run, part))
    return run


READERS = {
    "a.mag": bundles.read_bundle,
    "b.mag": describe_file,
    "a.npz": read_npz,
    "a.tfrecord": RecordFile,
    "a.csv": read_splits,
    "index.html": read_entries,
    "a.mid": read_midi_file,
    "a.zip": find_music_files,
    "a.sf2": Synthesizer,
    "run.json": lambda path: RunDir(os.path.dirname(path)).settings(),
    "model.npz": lambda path: bundle_of_run(make_run(path, "train")),
    "nll.json": lambda path: BestNetwork(RunDir(make_run(path, "best")), 1),
    "a.txt": lambda path: list(file_iterator(os.path.dirname(path))),
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_only_regular_files_are_read(tmp_path, name, kind):
    path = tmp_path / name
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(PerfRnnError) as caught:
        READERS[name](str(path))
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_more_is_read_than_the_limit(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    assert read_regular(path, 5) == b"12345"
    with pytest.raises(PerfRnnError, match="a: more than 4 bytes"):
        read_regular(path, 4)
