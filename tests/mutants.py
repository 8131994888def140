"""Mutants: files and texts damaged at random, as bytes, as text, as JSON and as protos."""

import contextlib
import copy
import json
import random
import re
from collections.abc import Iterator
from typing import Any

NUMBERS = [0, 1, -1, 2, 12, 127, 128, 255, 500, 2**31 - 1, -(2**31), 2**63 - 1, 10**30]
FLOATS = [0.5, -0.5, 1e-300, 86400.0, 1e9, 1e308, float("nan"), float("inf"), -float("inf")]
TEXTS = ["", "a", "\n\x1b[2J", "\0", "é\ud800", "a/../../b", "/etc/passwd", "x" * 10_000]
VALUES = [*NUMBERS, *FLOATS, *TEXTS, None, True, False, [], {}, [[]], [0] * 1000, {"a": {}}]
BYTES = [b"\0", b"\xff", b"\x7f", b"\x80", b"\xff" * 8, b"\0" * 8, b"\x7f\xff\xff\xff", b"\n", b'"']

EXTREMES: dict[type, list[Any]] = {
    **{bool: [True, False], int: NUMBERS, float: FLOATS, str: TEXTS},
    bytes: [b"", *BYTES, b"x" * 10_000],
}


def mutant_bytes(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """Returns bytes damaged in one to four places; some come from another file."""
    damaged = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        begin = rng.randrange(len(damaged) + 1)
        end = min(len(damaged), begin + rng.choice((1, 4, 50, len(damaged))))
        kind = rng.choice(("flip", "flip", "set", "set", "cut", "delete", "repeat", "splice"))
        if kind == "flip" and begin < len(damaged):
            damaged[begin] ^= 1 << rng.randrange(8)
        elif kind == "set":
            value = rng.choice(BYTES)
            damaged[begin : begin + len(value)] = value
        elif kind == "cut":
            del damaged[begin:]
        elif kind == "delete":
            del damaged[begin:end]
        elif kind == "repeat":
            damaged[begin:begin] = damaged[begin:end] * rng.choice((1, 2, 20))
        else:
            start = rng.randrange(len(other) + 1)
            damaged[begin:begin] = other[start : start + rng.randrange(100)]
    return bytes(damaged)


def mutant_text(text: str, words: list[str], rng: random.Random) -> str:
    """Returns text with some of its pieces replaced, removed or repeated, or words put in."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        begin = rng.randrange(len(text) + 1)
        end = begin + rng.choice((0, 0, 1, 3, 10))
        put = rng.choice((*words, *map(repr, VALUES[:30]), "", text[begin:end] * 2, text))
        text = text[:begin] + put + text[end:]
    return text


def mutant_numbers(data: bytes, rng: random.Random) -> bytes:
    """Returns text with one to four of its numbers replaced."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        if found := [*re.finditer(rb"\d+", data)]:
            begin, end = rng.choice(found).span()
            data = data[:begin] + str(rng.choice(NUMBERS)).encode() + data[end:]
    return data


def mutant_json(data: bytes, rng: random.Random) -> bytes:
    """Returns JSON with values replaced, added or removed."""
    value = json.loads(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        places = [*_places(value)]
        if not places:
            break
        parent, key = rng.choice(places)
        kind = rng.choice(("replace", "replace", "replace", "add", "remove", "nest"))
        if kind == "remove":
            del parent[key]
        elif kind == "add" and isinstance(parent, dict):
            parent[rng.choice(TEXTS)] = rng.choice(VALUES)
        elif kind == "nest":
            parent[key] = [parent[key]]
        else:
            parent[key] = copy.deepcopy(rng.choice(VALUES))
    return json.dumps(value).encode()


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yields (container, key) of every value within a value."""
    if not isinstance(value, dict | list):
        return
    for key in list(value if isinstance(value, dict) else range(len(value)))[:20]:
        yield value, key
        yield from _places(value[key])


def mutant_proto(message: Any, rng: random.Random) -> bytes:
    """Returns a serialised proto with fields set to extreme values, removed or repeated."""
    message = copy.deepcopy(message)
    for _ in range(rng.choice((1, 1, 2, 5))):
        target = message
        while (below := [*_messages(target, rng)]) and rng.random() < 0.8:
            target = rng.choice(below)
        field = rng.choice(target.DESCRIPTOR.fields)
        value = getattr(target, field.name)
        # Too large values, and those that are no scalars, are refused.
        with contextlib.suppress(TypeError, ValueError, AttributeError, IndexError, KeyError):
            kind = rng.choice(("set", "set", "set", "clear", "remove", "repeat"))
            if kind == "clear":
                target.ClearField(field.name)
            elif kind == "remove":
                del value[rng.randrange(len(value))]
            elif kind == "repeat":
                target.MergeFrom(type(target).FromString(target.SerializeToString()))
            elif hasattr(value, "append"):
                place = rng.randrange(len(value))
                value[place] = rng.choice(EXTREMES[type(value[place])])
            else:
                setattr(target, field.name, rng.choice(EXTREMES[type(value)]))
    return message.SerializeToString()  # type: ignore[no-any-return]


def _messages(message: Any, rng: random.Random) -> Iterator[Any]:
    """Yields some of the messages in a message."""
    for _, value in message.ListFields():
        if hasattr(value, "DESCRIPTOR"):
            yield value
        elif hasattr(value, "keys"):
            yield from (value[key] for key in value if hasattr(value[key], "DESCRIPTOR"))
        elif hasattr(value, "add"):
            yield from rng.choices(value, k=3)
