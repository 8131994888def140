"""What performance_rnn_pack refuses; `test_packed_training` has what it does."""

import json

import pytest

TOOL = "perf_rnn.tools.performance_rnn_pack"


@pytest.mark.parametrize(
    ("is_packed", "arguments", "message"),
    [
        (True, [], "--minutes is needed: how long to train what is packed there"),
        (True, ["--minutes=1", "--seed=3", "--window=9"], "--window, --seed: a pack holds that"),
        (True, ["--minutes=1", "--output_dir="], "--output_dir is empty"),
        (True, ["--minutes=1", "--start_dir="], "--start_dir is empty"),
        (False, ["--start_dir=out"], "--start_dir: for the training of a pack, with --minutes"),
        (False, [], "--sequence_example_file is needed"),
    ],
)
def test_bad_input(run_tool, tmp_path, is_packed, arguments, message):
    if is_packed:
        (tmp_path / "pack.json").write_text(json.dumps({}))
    ended = run_tool(TOOL, f"--pack_dir={tmp_path}", *arguments)
    assert ended.status == 1
    assert message in ended.error
