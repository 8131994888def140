"""The two tools, from real MIDI to examples, and what they say to bad input."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import pytest
import tensorflow as tf
from note_seq import NoteSequence, midi_io

from perf_rnn.configs import default_configs
from perf_rnn.data.examples import EventRecords
from perf_rnn.data.tfrecord import RecordFile, open_writers

CONVERT = "pipelines.tools.convert_dir_to_note_sequences"
CREATE = "pipelines.tools.performance_rnn_create_dataset"


@pytest.fixture(scope="session")
def note_sequences(tmp_path_factory):
    """A TFRecord of two real performances."""
    from pipelines import note_sequence_files

    directory = tmp_path_factory.mktemp("note_sequences")
    asap = os.path.join(os.path.dirname(__file__), "..", "testdata", "asap", "Bach")
    path = str(directory / "ns.tfrecord")
    note_sequence_files.convert_directory(asap, path, recursive=True)
    return path


def count_records(path):
    return sum(1 for _ in tf.data.TFRecordDataset(str(path)))


def test_from_midi_to_examples(run_tool, asap_dir, tmp_path):
    record, directory = tmp_path / "ns.tfrecord", tmp_path / "dataset"
    run = run_tool(CONVERT, f"--input_dir={asap_dir}", f"--output_file={record}", "--recursive")
    assert run.status == 0
    assert run.out == (
        "files_read: 3\nfiles_skipped: 0\nsequences_written: 3\nsequences_without_notes: 0\n"
        f"abc_tunes_skipped: 0\nWrote {record}\n"
    )
    run = run_tool(
        CREATE,
        f"--input={record}",
        f"--output_dir={directory}",
        "--config=performance_with_dynamics",
        "--eval_ratio=0.5",
        "--seed=1",
        "--partition_by=folder",
        "--augmentation=on",
    )
    assert run.status == 0
    assert sorted(os.listdir(directory)) == [
        "eval_performances.tfrecord",
        "split.csv",
        "training_performances.tfrecord",
    ]
    assert (directory / "split.csv").read_text() == (
        "split,midi_filename\n"
        "validation,Bach/Fugue/bwv_875/Ahfat01M.mid\n"
        "validation,Bach/Fugue/bwv_875/CaoJ01M.mid\n"
        "train,Liszt/Transcendental_Etudes/1/LuoJ05M.mid\n"
    )
    assert run.out.endswith(f"Wrote {directory}/split.csv\n")
    config = default_configs["performance_with_dynamics"]
    training = EventRecords(str(directory / "training_performances.tfrecord"), config)
    evaluation = EventRecords(str(directory / "eval_performances.tfrecord"), config)
    assert (len(training), len(evaluation)) == (90, 9)
    assert f"Wrote {directory}/training_performances.tfrecord: 90 examples, 0.21 MB" in run.out
    assert f"Wrote {directory}/eval_performances.tfrecord: 9 examples, 0.01 MB" in run.out


def test_default_is_magentas_config_in_one_copy(run_tool, note_sequences, tmp_path):
    run = run_tool(CREATE, f"--input={note_sequences}", f"--output_dir={tmp_path}")
    assert run.status == 0
    records = EventRecords(str(tmp_path / "training*"), default_configs["performance"])
    assert (len(records), records.augmented) == (5, False)  # One of the two is held out.


def test_flags_reach_the_pipeline(run_tool, note_sequences, tmp_path):
    run = run_tool(
        CREATE,
        f"--input={note_sequences}",
        f"--output_dir={tmp_path}",
        "--example_format=dense_one_hot",
        "--max_events=50",
        "--min_events=50",
        "--eval_ratio=0",
    )
    assert run.status == 0
    examples = [
        tf.train.SequenceExample.FromString(record.numpy())
        for record in tf.data.TFRecordDataset(str(tmp_path / "training_performances.tfrecord"))
    ]
    lists = [example.feature_lists.feature_list for example in examples]
    assert [len(entry["labels"].feature) for entry in lists] == [49] * 9
    assert {len(entry["inputs"].feature[0].float_list.value) for entry in lists} == {388}
    assert (tmp_path / "eval_performances.tfrecord").read_bytes() == b""


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--input_dir is needed: the directory of the files"),
        (["--input_dir={tmp}"], "--output_file is needed: the TFRecord"),
        (["--input_dir={tmp}/none", "--output_file={tmp}/o"], "{tmp}/none: No such file"),
        (
            ["--input_dir={tmp}/empty", "--output_file={tmp}/o"],
            "{tmp}/empty: no file ends in",
        ),
        (["--input_dir={tmp}/text", "--output_file={tmp}/o"], "{tmp}/text: no file ends in"),
        (["--input_dir={tmp}/bad", "--output_file={tmp}/o"], "none of its 1 files could be read"),
        (["--input_dir={tmp}/midi", "--output_file={tmp}/file/o"], "{tmp}/file: "),
        (["--input_dir={tmp}/midi", "--output_file={tmp}/empty"], "{tmp}/empty: is a directory"),
    ],
)
def test_convert_on_bad_input(run_tool, asap_dir, tmp_path, flags, message):
    for name in ("empty", "text", "bad", "midi"):
        (tmp_path / name).mkdir()
    (tmp_path / "text" / "song.txt").write_text("la la la")
    (tmp_path / "bad" / "bad.mid").write_text("la la la")
    (tmp_path / "file").touch()
    shutil.copy(asap_dir / "Bach/Fugue/bwv_875/CaoJ01M.mid", tmp_path / "midi" / "good.mid")
    run = run_tool(CONVERT, *(flag.format(tmp=tmp_path) for flag in flags))
    assert run.status == 1
    assert message.format(tmp=tmp_path) in run.error
    assert "Traceback" not in run.err
    assert sorted(os.listdir(tmp_path)) == ["bad", "empty", "file", "midi", "text"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--input is needed: a directory or zip archive of MIDI files"),
        (["--output_dir="], "--output_dir is needed: the directory for the examples"),
        (["--eval_ratio=2"], "--eval_ratio=2.0 is not between 0 and 1"),
        (["--config=jazz"], "unknown config 'jazz'; known: performance, "),
        (["--input={tmp}/none"], "{tmp}/none: No such file or directory"),
        (["--input={tmp}/old"], "{tmp}/old: no file ends in .mid"),
        (["--input={tmp}/truncated"], "{tmp}/truncated: is truncated"),
        (["--input={tmp}/text"], "{tmp}/text: is no uncompressed TFRecord file"),
        (["--input={tmp}/nothing"], "{tmp}/nothing: contains no NoteSequences"),
        (["--input={tmp}/examples"], "{tmp}/examples: record 0 is not a NoteSequence"),
        (
            ["--input={tmp}/silence"],
            "{tmp}/silence: no examples: performances without notes: 1",
        ),
        (["--output_dir={tmp}/text"], "{tmp}/text: is a file, not a directory"),
        (["--output_dir=/proc/none"], "/proc/none: No such file"),
        (["--split_csv="], "--split_csv is empty"),
        (["--split_csv={tmp}/old/split.csv"], "{tmp}/old/split.csv: would be overwritten; move it"),
        (
            ["--split_csv={tmp}/other.csv"],
            ": no examples: performances that the CSV does not use: 2",
        ),
    ],
)
def test_create_dataset_on_bad_input(run_tool, note_sequences, tmp_path, flags, message):
    content = pathlib.Path(note_sequences).read_bytes()
    (tmp_path / "truncated").write_bytes(content[:-100])
    (tmp_path / "text").write_text("this is text and nothing else")
    (tmp_path / "nothing").touch()
    (tmp_path / "other.csv").write_text("split,midi_filename\ntrain,other.mid\n")
    example = tf.train.SequenceExample()
    example.context.feature["config"].bytes_list.value.append(b"performance")
    for name, record in [("examples", example), ("silence", NoteSequence(id="x"))]:
        with tf.io.TFRecordWriter(str(tmp_path / name)) as writer:
            writer.write(record.SerializeToString())
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "training_performances.tfrecord").write_text("made earlier")
    if flags:
        flags = [f"--input={note_sequences}", "--output_dir={tmp}/old", "--overwrite", *flags]
    run = run_tool(CREATE, *(flag.format(tmp=tmp_path) for flag in flags))
    assert run.status == 1
    assert message.format(tmp=tmp_path) in run.error
    assert "Traceback" not in run.err
    assert os.listdir(tmp_path / "old") == ["training_performances.tfrecord"]
    assert (tmp_path / "old" / "training_performances.tfrecord").read_text() == "made earlier"


def midi(path, *notes, bends=()):
    """Writes a MIDI file of (pitch, start, end, program, is_drum) notes, one track for each."""
    sequence = NoteSequence(ticks_per_quarter=220)
    for instrument, (pitch, start, end, program, is_drum) in enumerate(notes):
        sequence.notes.add(
            pitch=pitch,
            velocity=80,
            start_time=start,
            end_time=end,
            program=program,
            is_drum=is_drum,
            instrument=instrument,
        )
    for time in bends:
        sequence.pitch_bends.add(time=time, bend=1000)
    sequence.total_time = max((note[2] for note in notes), default=0)
    midi_io.note_sequence_to_midi_file(sequence, str(path))


def test_odd_files_among_good_ones(run_tool, asap_dir, tmp_path, caplog):
    root = tmp_path / "in"
    root.mkdir()
    shutil.copy(asap_dir / "Bach/Fugue/bwv_875/CaoJ01M.mid", root / "good.mid")
    midi(root / "bends.mid", (60, 0, 1, 0, False), bends=[0.5])
    midi(root / "drums.mid", (60, 0, 1, 0, False), (35, 0, 1, 0, True))
    midi(root / "no_notes.mid")
    midi(root / "three_hours.mid", (60, 0, 1, 0, False), (62, 10799, 10800, 0, False))
    midi(root / "two_programs.mid", (60, 0, 1, 0, False), (62, 0, 1, 40, False))
    (root / "corrupt.mid").write_bytes((root / "good.mid").read_bytes()[:1000])
    record, directory = tmp_path / "ns.tfrecord", tmp_path / "dataset"
    run = run_tool(CONVERT, f"--input_dir={root}", f"--output_file={record}")
    assert run.status == 0
    assert "files_read: 6\nfiles_skipped: 1\n" in run.out
    assert "sequences_without_notes: 1\n" in run.out
    assert "corrupt.mid: damaged: track 1 has an event that is cut off" in caplog.text
    caplog.clear()
    run = run_tool(
        CREATE,
        f"--input={record}",
        f"--output_dir={directory}",
        "--eval_ratio=0",
        "--min_events=3",
    )
    assert run.status == 0
    # good: 4 segments; bends: 1; three_hours: 2 with events and 358 without.
    assert "training_performances.tfrecord: 7 examples" in run.out
    # Slow machines report their progress between these lines.
    assert [line for line in caplog.messages if " done: " not in line] == [
        "performances read: 6 (3.0 hours)",
        "held out for evaluation: 0 performances (0.0 minutes), 0 segments",
        "for training: 5 performances (3.0 hours), 7 segments",
        "dropped performances without notes: 1",
        "dropped performances with drums: 1",
        "dropped segments with fewer events than --min_events: 358",
        "dropped segments with several programs: 1",
    ]
    caplog.clear()
    before = sorted(os.listdir(directory))
    (directory / "training_performances-00001-of-00002.tfrecord").write_text("made earlier")
    run = run_tool(CREATE, root, f"--output_dir={directory}", "--overwrite", "--log=DEBUG")
    assert run.status == 0
    assert sorted(os.listdir(directory)) == before
    assert "files that could not be read: 1 (corrupt.mid)" in caplog.messages
    # Magenta's counters, for a closer look.
    counted = [line for line in caplog.messages if line.endswith("_because_drums: 1")]
    assert len(counted) == 1
    assert counted[0].startswith("DAGPipeline_NoteFilter_")


def test_damaged_records_among_good_ones(run_tool, note_sequences, tmp_path, caplog):
    good = list(RecordFile(note_sequences))
    endless = NoteSequence(filename="endless.mid", total_time=1)
    endless.notes.add(pitch=60, velocity=80, end_time=float("nan"))
    path, directory = tmp_path / "ns.tfrecord", tmp_path / "dataset"
    with open_writers([str(path)]) as (writer,):
        for data in (b"\xff", endless.SerializeToString(), *good, good[0]):
            writer.write(data)
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    run = run_tool(CREATE, f"--input={path}", f"--output_dir={directory}")
    assert run.status == 0
    assert f"performances read: {len(good)} (" in caplog.text
    (line,) = [line for line in caplog.messages if line.startswith("files that could not be read")]
    numbers = (0, 1, len(good) + 2)
    assert line.endswith(f"3 ({', '.join(f'{path}: record {number}' for number in numbers)})")


def test_a_full_disk_of_temporary_files_is_named(asap_dir, tmp_path):
    code = (
        "import resource, sys\nresource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        f"from {CREATE} import console_entry_point\nconsole_entry_point()"
    )
    flags = [f"--input={asap_dir}", f"--output_dir={tmp_path}", "--num_workers=1"]
    done = subprocess.run(
        [sys.executable, "-c", code, *flags], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert f"ERROR: {tempfile.gettempdir()}: File too large" in done.stderr
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("module", "arguments"),
    [(CONVERT, ["--input_dir={asap}", "--recursive", "--output_file={tmp}/a.tfrecord"]),
     (CREATE, ["--input={asap}", "--output_dir={tmp}", "--num_workers=1"])],
)  # fmt: skip
def test_midi_is_converted_without_slow_libraries(asap_dir, tmp_path, module, arguments):
    arguments = [argument.format(asap=asap_dir, tmp=tmp_path) for argument in arguments]
    probe = (
        f"import sys\nfrom {module} import console_entry_point\n"
        "try:\n    console_entry_point()\n"
        "finally:\n    print('imported', {'tensorflow', 'note_seq', 'keras'} & {*sys.modules})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe, *arguments], capture_output=True, text=True, check=True
    )
    assert "Wrote" in done.stdout
    assert "imported set()" in done.stdout
