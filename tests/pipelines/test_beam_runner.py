"""Beam gives the examples of the local runner, and says what was counted."""

import logging
import os
import pathlib
import re
import shutil
import sys

import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from note_seq import NoteSequence

from perf_rnn.configs import default_configs
from perf_rnn.data.tfrecord import RecordFile
from perf_rnn.notes.music_files import find_music_files
from pipelines import beam_runner, midi_reader, parallel
from pipelines.performance_pipeline import get_pipeline
from pipelines.pipeline import Pipeline

CREATE = "pipelines.tools.performance_rnn_create_dataset"


class Ids(Pipeline):
    """Gives an empty sequence for each id, and none for the empty id."""

    def __init__(self):
        super().__init__(str, NoteSequence)

    def transform(self, input_object):
        return [NoteSequence(id=input_object)] * bool(input_object)


def records(directory):
    """The records of a directory by output name, in an order of their own."""
    found = {}
    for name in sorted(set(os.listdir(directory)) - {"split.csv"}):
        found.setdefault(name.partition("-")[0].removesuffix(".tfrecord"), []).extend(
            RecordFile(str(directory / name))
        )
    return {name: sorted(data) for name, data in found.items()}


@pytest.mark.parametrize("num_shards", [1, 3])
def test_the_examples_are_those_of_the_local_runner(asap_dir, tmp_path, caplog, num_shards):
    config = default_configs["performance_with_dynamics"]
    pipeline = get_pipeline(
        config, 32, None, 0.5, augmentation=True, reader=midi_reader.MidiReader()
    )
    files = find_music_files(str(asap_dir))
    caplog.set_level(logging.DEBUG, logger="absl")
    local = parallel.run_pipeline_parallel(pipeline, files, str(tmp_path / "local"), num_workers=1)
    counted = {message for message in caplog.messages if re.search(r"^\S+: [1-9]\d*$", message)}
    assert len(counted) >= 4
    caplog.clear()
    written = beam_runner.run_pipeline_beam(
        pipeline, files, str(tmp_path / "beam"), num_shards=num_shards
    )
    assert written == local == {"eval_performances": 7, "training_performances": 180}
    assert records(tmp_path / "beam") == records(tmp_path / "local")
    assert len(os.listdir(tmp_path / "beam")) == 2 * num_shards
    assert counted <= set(caplog.messages)  # Beam has no metric for a counter that is 0.


def test_beams_options_choose_the_runner(tmp_path):
    options = PipelineOptions(runner="BundleBasedDirectRunner")
    written = beam_runner.run_pipeline_beam(Ids(), ["a", "", "b"], str(tmp_path), options=options)
    assert written == {"dataset": 2}
    assert [NoteSequence.FromString(data).id for data in records(tmp_path)["dataset"]] == ["a", "b"]


def test_the_check_sees_the_counts(tmp_path):
    seen = []
    beam_runner.run_pipeline_beam(Ids(), ["a", ""], str(tmp_path), check=lambda *a: seen.append(a))
    assert seen == [({"dataset": 1}, [])]


def test_the_tool_in_folders_with_a_space(run_tool, asap_dir, tmp_path, monkeypatch):
    """The interpreter's too, whose path Beam itself gives to a shell without quotes."""
    environment = tmp_path / "virtual environment"
    environment.symlink_to(sys.prefix)
    interpreter = pathlib.Path(sys.executable).relative_to(sys.prefix)
    monkeypatch.setattr(sys, "executable", str(environment / interpreter))
    shutil.copytree(asap_dir, tmp_path / "my midi")
    for runner in ("beam", "local"):
        ended = run_tool(
            CREATE,
            f"--input={tmp_path / 'my midi'}",
            f"--output_dir={tmp_path / runner}",
            f"--runner={runner}",
            "--num_shards=2",
            "--num_workers=2",
            "--eval_ratio=0.5",
            "--seed=6",
        )
        assert ended.status == 0, ended.err
    assert records(tmp_path / "beam") == records(tmp_path / "local")
    assert "training_performances-*-of-00002.tfrecord: 7 examples" in ended.out
