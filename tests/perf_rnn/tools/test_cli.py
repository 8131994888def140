"""What all command-line tools have in common."""

import pytest

TOOLS = "perf_rnn.tools.performance_rnn_"
CREATE_DATASET = "pipelines.tools.performance_rnn_create_dataset"
CONVERT = "pipelines.tools.convert_dir_to_note_sequences"


@pytest.mark.parametrize(
    ("tool", "arguments", "flag", "there"),
    [
        (CREATE_DATASET, ["{asap}"], "output_dir", "split.csv"),
        (CREATE_DATASET, ["{asap}"], "output_dir", "training_performances-00000-of-00002.tfrecord"),
        (CONVERT, ["{asap}"], "output_file", ""),
        (f"{TOOLS}evaluate", ["{asap}"], "output_file", ""),
        (f"{TOOLS}statistics", ["{asap}"], "output_file", ""),
        (
            f"{TOOLS}render",
            ["{asap}/Liszt", "--recursive"],
            "output_dir",
            "Transcendental_Etudes/1/LuoJ05M.wav",
        ),
        (f"{TOOLS}generate", ["--save_generator_bundle", "--run_dir=run"], "bundle_file", ""),
        (f"{TOOLS}bundle", ["performance", "--convert_to=mag"], "output_file", ""),
    ],
)
def test_files_are_not_replaced(run_tool, asap_dir, tmp_path, tool, arguments, flag, there):
    given = tmp_path / "given"
    path = given / there
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")
    arguments = [argument.format(asap=asap_dir) for argument in arguments]
    ended = run_tool(tool, *arguments, f"--{flag}={given}")
    assert ended.status == 1
    assert ended.error == (
        f"ERROR: {path}: is there already; give another --{flag}, or --overwrite to replace it"
    )
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [path]
    assert path.read_text() == "mine"


def test_files_are_replaced_on_request(run_tool, asap_dir, tmp_path):
    path = tmp_path / "notes.tfrecord"
    path.write_text("mine")
    arguments = (asap_dir / "Liszt", "--recursive", f"--output_file={path}", "--overwrite")
    ended = run_tool(CONVERT, *arguments)
    assert ended.status == 0, ended.err
    assert path.stat().st_size > 1000


@pytest.mark.parametrize(
    ("tool", "arguments", "flag"),
    [
        (f"{TOOLS}studio", [], "output_dir"),
        (f"{TOOLS}bundle", ["performance", "--overwrite"], "output_dir"),
        (
            f"{TOOLS}bundle",
            ["performance", "--overwrite", "--convert_to=saved_model"],
            "output_file",
        ),
        (
            f"{TOOLS}pack",
            ["--sequence_example_file=x", "--eval_sequence_example_file=x"],
            "pack_dir",
        ),
    ],
)
def test_directories_are_never_replaced(run_tool, tmp_path, tool, arguments, flag):
    (tmp_path / "mine").write_text("mine")
    ended = run_tool(tool, *arguments, f"--{flag}={tmp_path}")
    assert ended.status == 1
    assert ended.error == (
        f"ERROR: {tmp_path}: is a directory that is not empty; remove it, or give another --{flag}"
    )
