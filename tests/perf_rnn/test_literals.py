"""Literals of users: their values, and one kind of error for all that is none."""

import pytest

from perf_rnn.literals import parse_literal


@pytest.mark.parametrize(
    ("text", "quote_names", "value"),
    [
        ("0.5", False, 0.5),
        (" [1, -2]\n", False, [1, -2]),
        ("[c_major, [1]]", True, ["c_major", [1]]),
        ("[True , False]", True, [True, False]),
        ("[C major ,'Bb blues', [1e3]]", True, ["C major", "Bb blues", [1e3]]),
        ("c#_minor", True, "c#_minor"),
    ],
)
def test_values(text, quote_names, value):
    assert parse_literal(text, quote_names) == value


@pytest.mark.parametrize(
    "text",
    [
        *("", "1 2", "c_major", "f()", "{[]: 1}", "{{}: 1}", "\0"),
        *("(" * 10**5, "-" * 10**5 + "1", "[1," * 150, "0x" + "f" * 10**4, "9" * 10**4),
    ],
    ids=lambda text: ascii(text[:8]),
)
def test_what_is_no_literal(text):
    with pytest.raises(ValueError, match="no literal"):
        parse_literal(text)
    if text != "c_major":
        with pytest.raises(ValueError, match="no literal"):
            parse_literal(text, quote_names=True)
