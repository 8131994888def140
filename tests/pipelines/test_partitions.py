"""What is for training and what for evaluation: by a CSV, and with duplicates on one side."""

import dataclasses
import os
import shutil

import numpy as np
import pytest

from bundles.tensorflow_protos import SequenceExample
from perf_rnn.configs import default_configs
from perf_rnn.data.splits import read_splits
from perf_rnn.data.tfrecord import open_writers
from perf_rnn.notes.arrays import NoteArrays, to_note_sequence
from perf_rnn.notes.music_files import read_midi_file
from pipelines import partitions
from pipelines.performance_dataset import create_dataset
from pipelines.pipeline import tf_record_iterator

PLAIN = default_configs["performance"]
HEADER = "canonical_composer,split,year,midi_filename\n"


pytestmark = pytest.mark.usefixtures("log_everything")


def create(source, output_dir, eval_ratio=0.5, **options):
    return create_dataset(
        str(source), str(output_dir), PLAIN, 32, None, eval_ratio, num_workers=1, **options
    )


def write(path, *rows):
    path.write_text(HEADER + "".join(f"Bach,{split},2004,{name}\n" for split, name in rows))
    return str(path)


def test_a_maestro_csv(tmp_path):
    path = write(
        tmp_path / "m.csv", ("train", "a.mid"), ("validation", "b.mid"), ("test", "2004/c.mid")
    )
    training, evaluation = "training_performances", "eval_performances"
    assert partitions.read_split_csv(path, ["validation", "test"]) == {
        "a.mid": training,
        "b.mid": evaluation,
        "2004/c.mid": evaluation,
    }
    assert partitions.read_split_csv(path, ["validation"]) == {
        "a.mid": training,
        "b.mid": evaluation,
    }


def test_an_unknown_split(tmp_path):
    with pytest.raises(ValueError, match="split 'dev' is not one of train, validation, test"):
        partitions.read_split_csv(write(tmp_path / "m.csv"), ["dev"])


NOTES = NoteArrays(
    start_time=[0.0, 1.0],
    end_time=[2.0, 2.0],
    pitch=[60, 64],
    velocity=[80, 90],
    instrument=[0, 0],
    program=[0, 0],
    is_drum=[False, False],
)


def test_the_digest_is_of_the_notes_in_any_order():
    digest = partitions.notes_digest(NOTES)
    assert partitions.notes_digest(NOTES.take_notes([1, 0])) == digest
    assert partitions.notes_digest(dataclasses.replace(NOTES, id="another")) == digest
    assert partitions.notes_digest(dataclasses.replace(NOTES, velocity=[80, 91])) != digest


def test_groups_are_joined_by_way_of_others():
    members = [("d", "1"), ("c", "1"), ("c", "2"), ("b", "2"), ("a", "3"), ("e", "4"), ("a", "3")]
    assert partitions.join_groups(members) == ({"c": "b", "d": "b"}, 3)


def test_duplicates_across_the_sides_of_a_table_are_for_evaluation(asap_dir, tmp_path):
    """Whichever side the table puts first, and whatever it leaves out stays out."""
    good = asap_dir / "Bach/Fugue/bwv_875/CaoJ01M.mid"
    other = asap_dir / "Bach/Fugue/bwv_875/Ahfat01M.mid"
    (tmp_path / "in").mkdir()
    for name, path in (("a", good), ("b", good), ("c", good), ("d", good), ("e", other)):
        shutil.copy(path, tmp_path / "in" / f"{name}.mid")
    rows = ("train", "a.mid"), ("test", "b.mid"), ("train", "c.mid"), ("train", "e.mid")
    table = write(tmp_path / "m.csv", *rows)
    out = tmp_path / "out"
    create(tmp_path / "in", out, split_csv=table)
    assert [len(sources(out, side)) for side in ("eval", "training")] == [3, 1]
    assert read_splits(str(out / "split.csv")) == {
        **dict.fromkeys(("a.mid", "b.mid", "c.mid"), "validation"),
        "e.mid": "train",
    }


def sources(directory, name):
    examples = tf_record_iterator(str(directory / f"{name}_performances.tfrecord"), SequenceExample)
    return {
        example.context.feature["source_id"].bytes_list.value[0].decode() for example in examples
    }


@pytest.mark.parametrize("seed", range(3))
def test_duplicates_stay_on_one_side(asap_dir, tmp_path, seed, caplog):
    good = asap_dir / "Bach/Fugue/bwv_875/CaoJ01M.mid"
    for number in range(4):
        (tmp_path / "in" / str(number)).mkdir(parents=True)
        shutil.copy(good, tmp_path / "in" / str(number) / "x.mid")
    written = create(tmp_path / "in", tmp_path / "out", seed=seed)
    assert sorted(written.values()) == [0, 16]
    assert len(set(read_splits(str(tmp_path / "out" / "split.csv")).values())) == 1
    assert len(sources(tmp_path / "out", "eval") | sources(tmp_path / "out", "training")) == 4
    assert "duplicates, kept on the side of the other copy: 3" in caplog.messages


def test_a_csv_divides_a_directory(asap_dir, tmp_path, caplog):
    names = sorted(str(path.relative_to(asap_dir)) for path in asap_dir.rglob("*.mid"))
    table = write(tmp_path / "m.csv", ("train", names[0]), ("test", names[1]))
    written = create(asap_dir, tmp_path / "out", split_csv=table)
    assert [os.path.basename(path) for path in written] == [
        "eval_performances.tfrecord",
        "training_performances.tfrecord",
    ]
    assert [len(sources(tmp_path / "out", side)) for side in ("eval", "training")] == [1, 1]
    assert "dropped performances that the CSV does not use: 1" in caplog.messages
    written_splits = read_splits(str(tmp_path / "out" / "split.csv"))
    assert written_splits == {names[0]: "train", names[1]: "validation"}
    table = write(tmp_path / "m.csv", ("train", "no.mid"))
    with pytest.raises(ValueError, match=r"m.csv: no.mid .* is not among the MIDI files"):
        create(asap_dir, tmp_path / "out", split_csv=table)


@pytest.mark.parametrize("partition_by", ["sequence", "folder"])
def test_a_written_split_divides_as_before(asap_dir, tmp_path, partition_by):
    def make(name, **options):
        directory = tmp_path / name
        create(asap_dir, directory, **options)
        return [(directory / file).read_bytes() for file in sorted(os.listdir(directory))]

    first = make("a", seed=4, partition_by=partition_by)
    assert len(first) == 3
    assert all(first)
    assert make("b", split_csv=str(tmp_path / "a" / "split.csv")) == first


def test_note_sequences_of_one_name_are_on_one_side(asap_dir, tmp_path, caplog):
    """Two collections may have files of one name, and NoteSequences none."""
    fugues = [to_note_sequence(read_midi_file(path)) for path in sorted(asap_dir.rglob("*01M.mid"))]
    names = ["same.mid", "same.mid", "", "other.mid", "other.mid"]
    for number, name in enumerate(names):
        sequence = fugues[number % 2]
        sequence.id, sequence.filename = f"/id/{number}", name
        sequence.notes[0].velocity = 1 + number  # None is a duplicate of another.
        with open_writers([str(tmp_path / f"{number}.tfrecord")]) as (writer,):
            writer.write(sequence.SerializeToString())
    create(tmp_path / "?.tfrecord", tmp_path, seed=10)
    assert read_splits(str(tmp_path / "split.csv")) == {
        "same.mid": "validation",
        "other.mid": "train",
    }
    in_eval, in_training = (sources(tmp_path, side) for side in ("eval", "training"))
    assert {"/id/0", "/id/1"} <= in_eval
    assert {"/id/3", "/id/4"} <= in_training
    assert "split.csv leaves out NoteSequences without a filename" in caplog.text


@pytest.mark.parametrize("partition_by", ["sequence", "folder"])
def test_the_name_and_place_of_the_input_folder_do_not_matter(asap_dir, tmp_path, partition_by):
    divisions = []
    for name in ("one", "below/another"):
        shutil.copytree(asap_dir, tmp_path / name)
        create(tmp_path / name, tmp_path / "out", seed=3, partition_by=partition_by)
        divisions.append(read_splits(str(tmp_path / "out" / "split.csv")))
    assert divisions[0] == divisions[1]
    assert set(divisions[0].values()) == {"train", "validation"}


FOLDERS = [f"folder {number}" for number in range(21)]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("eval_ratio", [0.001, 0.05, 0.95, 0.999])
def test_a_division_leaves_no_side_empty(seed, eval_ratio):
    hashed = partitions.SequencePartition(eval_ratio, seed, "folder")
    partition = partitions.SequencePartition(eval_ratio, seed, "folder", FOLDERS)
    sides = [partition.partition_of(folder) for folder in FOLDERS]
    assert set(sides) == set(partitions.SIDES)
    # Only where the hashes alone would leave a side empty does one folder change sides.
    by_hash = [hashed.partition_of(folder) for folder in FOLDERS]
    changed = sum(a != b for a, b in zip(sides, by_hash, strict=True))
    assert changed == (len(set(by_hash)) == 1)
    again = partitions.SequencePartition(eval_ratio, seed, "folder", FOLDERS[::-1])
    assert [again.partition_of(folder) for folder in FOLDERS] == sides


@pytest.mark.parametrize(
    ("eval_ratio", "groups", "joined"),
    [(0.0, FOLDERS, {}), (1.0, FOLDERS, {}), (0.5, ["a"], {}), (0.5, ["a", "b"], {"b": "a"})],
)
def test_one_side_is_empty_where_it_must_be(eval_ratio, groups, joined):
    partition = partitions.SequencePartition(eval_ratio, 0, "folder", groups, joined)
    assert len({partition.partition_of(group) for group in groups}) == 1


def test_a_sequence_without_a_name_is_known_by_its_notes():
    key = partitions.partition_key("sequence", NOTES)
    assert key == partitions.partition_key("sequence", NOTES.take_notes([1, 0]))
    assert key == partitions.partition_key("sequence", to_note_sequence(NOTES))
    assert key != partitions.partition_key("sequence", NOTES.take_notes([1]))
    assert partitions.partition_key("sequence", NOTES.replace(id="x")) == "x"
    assert partitions.partition_key("sequence", NOTES.replace(id="x", filename="y")) == "y"


def test_a_held_pedal_makes_another_piece(asap_dir):
    plain = read_midi_file(next(asap_dir.rglob("LuoJ05M.mid")))
    dry = plain.replace(control_value=np.zeros_like(plain.control_value))
    assert partitions.notes_digest(plain) != partitions.notes_digest(dry)
    dry_and_louder = dry.replace(control_number=np.full_like(dry.control_number, 7))
    assert partitions.notes_digest(dry) == partitions.notes_digest(dry_and_louder)
