"""What is shown of long work, on a terminal and elsewhere."""

import io
import itertools
import sys

import pytest
from absl import logging

from perf_rnn import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """Each look at the clock is two seconds after the last."""
    ticks = itertools.count(0, 2.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(ticks))


def lines_of(monkeypatch, *arguments):
    lines = []
    monkeypatch.setattr(logging, "info", lambda text, *values: lines.append(text % values))
    assert list(progress.show(*arguments)) == list(arguments[0])
    return lines


def test_lines_say_what_is_done_and_how_long_it_takes(monkeypatch, clock):
    status = {"loss": "2.500", "events/s": "4,000"}
    lines = lines_of(monkeypatch, range(6, 13), "training", status, 1000, 5, "steps")
    # Five steps in ten seconds; the clock is looked at once more for each line.
    assert lines == [
        "training: 10 of 1000 steps done: loss 2.500, events/s 4,000, 0:33:00 left",
    ]


def test_without_an_end_there_is_no_time_left(monkeypatch, clock):
    lines = lines_of(monkeypatch, "abcdef", "reading", {"kept": 3})
    assert lines == ["reading: 5 inputs done: kept 3"]


def test_a_bar_fits_on_a_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    status = {}
    for _ in progress.show(range(19001, 20001), "training", status, 20000, 19000, "steps"):
        status.update({"loss": "2.500", "events/s": "14,000"})
    last = sys.stderr.getvalue().rstrip().rpartition("\r")[2]
    assert last.startswith("training: 100%|")
    assert "| 20000/20000 [" in last
    assert last.endswith("<00:00, loss=2.500, events/s=14,000]")
    # No terminal says here how wide it is, so the bar has ten characters.
    assert len(last.replace("#" * 10, "#")) < 80


def test_a_line_among_bars(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", Terminal())
    for item in progress.show(range(3), "training", {}, 3):
        progress.say(f"evaluation {item}")
    assert capsys.readouterr().out == "evaluation 0\nevaluation 1\nevaluation 2\n"
