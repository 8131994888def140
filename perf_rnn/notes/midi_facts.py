"""How a piece was made, as a text event of its MIDI file."""

import json
from collections.abc import Mapping, Sequence

from perf_rnn.notes.midi_tracks import TEXT, read_tracks

Fact = str | int | float | Sequence[float]

_PREFIX = "perf_rnn "


def facts_text(facts: Mapping[str, Fact]) -> str:
    """Returns facts as the text that `read_facts` reads.

    >>> facts_text({"seed": 7, "temperature": "0.9"})
    'perf_rnn {"seed": 7, "temperature": "0.9"}'
    """
    return _PREFIX + json.dumps(facts)


def read_facts(midi: bytes) -> dict[str, Fact]:
    """Returns the facts that the text events of a MIDI file hold; nothing where there are none.

    Raises:
      PerfRnnError: it is no MIDI file, or a damaged one.
    """
    facts: dict[str, Fact] = {}
    for track in read_tracks(midi)[2]:
        for _, kind, content in track.metadata:
            text = content.decode(errors="replace")
            if kind != TEXT or not text.startswith(_PREFIX):
                continue
            try:
                found = json.loads(text.removeprefix(_PREFIX))
            except (ValueError, RecursionError):
                continue  # The file may come from anywhere.
            if isinstance(found, dict):
                facts |= {name: value for name, value in found.items() if _is_fact(value)}
    return facts


def _is_fact(value: object) -> bool:
    if isinstance(value, list):
        return all(map(_is_number, value))
    return isinstance(value, str) or _is_number(value)


def _is_number(value: object) -> bool:
    # JSON has neither infinities nor NaN, but Python's reader takes them.
    return type(value) in (int, float) and -1e300 < value < 1e300  # type: ignore[operator]
