"""perf_rnn, the command in front of the tools."""

import subprocess
import sys

import pytest

from pipelines.tools import perf_rnn


def run(*arguments):
    command = [sys.executable, "-m", "pipelines.tools.perf_rnn", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_lists_its_commands_at_once():
    """With no library imported that takes time."""
    program = (
        "import sys; sys.argv = ['perf_rnn'];"
        "from pipelines.tools import perf_rnn; perf_rnn.main();"
        "assert not {'numpy', 'absl', 'keras'} & sys.modules.keys()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert all(f"  {command} " in ended.stdout for command in perf_rnn.COMMANDS)
    assert run("--help").stdout == ended.stdout


@pytest.mark.parametrize("command", ["play", "dataset"])
def test_help_of_a_command_names_it(command):
    ended = run(command, "--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert f"  perf_rnn {command} " in ended.stdout
    assert f"{perf_rnn.COMMANDS[command][0].rpartition('.')[2]} " not in ended.stdout


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("trian", "there is no command 'trian'; perhaps train; see perf_rnn --help"),
        ("generate", "there is no command 'generate'; perhaps play; see perf_rnn --help"),
        ("performance_rnn_bundle", "perhaps bundle;"),
        ("xyz", "there is no command 'xyz'; see perf_rnn --help"),
    ],
)
def test_an_unknown_command(given, line):
    ended = run(given)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("ERROR: ")
    assert line in ended.stderr


def test_continue():
    assert run("continue").stderr.startswith("ERROR: which recording is to be continued?")
    ended = run("continue", "--output_dir=/nowhere", "none.mid")
    assert ended.stderr == "ERROR: none.mid: there is no such file; a primer is a MIDI file\n"
    short = "perf_rnn continue mine.mid is short for\n  perf_rnn play mine.mid --primer_from=end "
    assert run("continue", "--help").stdout.startswith(short)


@pytest.mark.parametrize("length", ["--num_steps=2500", "--infill=[20,25]"])
def test_continue_leaves_the_length_to_other_flags(length):
    assert "--seconds=50" in perf_rnn._continuing(["mine.mid"])
    given = perf_rnn._continuing(["mine.mid", length])
    assert given == ["--primer_from=end", "--max_primer_seconds=20", "mine.mid", length]


def test_a_command_passes_its_arguments_on():
    ended = run("render", "--nothing")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "ERROR: Unknown command line flag 'nothing'\n"
