"""Hyperparameters and the `name=value,...` text that overrides them."""

import dataclasses
import math
import re
from typing import Any

from bundles.errors import PerfRnnError
from perf_rnn.literals import parse_literal

_MAX_INTEGER = 2**31 - 1  # Far above any in use, and safe in every array.
_BOOLS = {"true": True, "True": True, "1": True, "false": False, "False": False, "0": False}
# A name, then a bracketed list or anything up to the next comma.
_ASSIGNMENT = re.compile(r"\s*(?P<name>\w+)\s*=\s*(?P<value>\[[^\]]*\]|[^,\[\]]*?)\s*(?:,|$)")


@dataclasses.dataclass(frozen=True)
class HParams:
    """What shapes and trains the network; the first eight names and defaults are Magenta's.

    Attributes:
      batch_size: performances per training step (rows of the batch).
      rnn_layer_sizes: units of each LSTM layer, from the input up.
      dropout_keep_prob: share of each LSTM layer's outputs kept while training, in (0, 1].
      clip_norm: each variable's gradient is scaled down to at most this norm.
      learning_rate: Adam's step size.
      attn_length: past steps that the first layer attends to; 0 for no attention.
      residual_connections: whether each layer's input is added to its output.
      use_cudnn: accepted for Magenta's scripts; Keras uses cuDNN on a GPU either way.
      warmup_steps: the learning rate rises in a line to its value over this many steps.
      decay_steps: after that it falls to zero along a cosine over this many steps; 0 keeps it.
    """

    batch_size: int = 64
    rnn_layer_sizes: tuple[int, ...] = (512, 512, 512)
    dropout_keep_prob: float = 1.0
    clip_norm: float = 3.0
    learning_rate: float = 0.001
    attn_length: int = 0
    residual_connections: bool = False
    use_cudnn: bool = False
    warmup_steps: int = 0
    decay_steps: int = 0

    def __post_init__(self) -> None:
        checks = {
            "batch_size": 1 <= self.batch_size <= _MAX_INTEGER,
            "rnn_layer_sizes": bool(self.rnn_layer_sizes)
            and 1 <= min(self.rnn_layer_sizes) <= max(self.rnn_layer_sizes) <= _MAX_INTEGER,
            "dropout_keep_prob": 0 < self.dropout_keep_prob <= 1,
            "clip_norm": 0 < self.clip_norm < math.inf,
            "learning_rate": 0 < self.learning_rate < math.inf,
            "attn_length": 0 <= self.attn_length <= _MAX_INTEGER,
            "warmup_steps": 0 <= self.warmup_steps <= _MAX_INTEGER,
            "decay_steps": 0 <= self.decay_steps <= _MAX_INTEGER,
        }
        for name, valid in checks.items():
            if not valid:
                raise PerfRnnError(f"hparams: {name}={getattr(self, name)} is not supported")

    def parse(self, text: str) -> "HParams":
        """Returns a copy with the assignments of `text`, in Magenta's syntax, applied.

        >>> HParams().parse("batch_size=32,rnn_layer_sizes=[256,256],").rnn_layer_sizes
        (256, 256)

        Raises:
          ValueError: a name is unknown or repeated, or a value is not of the default's type.
        """
        changes: dict[str, Any] = {}
        position = 0
        while position < len(text):
            match = _ASSIGNMENT.match(text, position)
            if not match:
                raise PerfRnnError(
                    f"hparams: cannot read {text[position:]!r}; write name=value,name=[value,value]"
                )
            name, value = match["name"], match["value"]
            if name in changes:
                raise PerfRnnError(f"hparams: {name} is given twice")
            if name not in self.to_dict():
                raise PerfRnnError(
                    f"hparams: unknown name {name!r}; known: {', '.join(self.to_dict())}"
                )
            changes[name] = _parse_value(name, value, getattr(self, name))
            position = match.end()
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Returns the hyperparameters as a JSON-able dict."""
        return {
            field.name: list(value) if isinstance(value, tuple) else value
            for field in dataclasses.fields(self)
            for value in [getattr(self, field.name)]
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "HParams":
        """The inverse of `to_dict`; names that are missing have their defaults.

        Raises:
          PerfRnnError: a name is unknown, or a value is not of the default's type.
        """
        defaults = vars(cls())
        for name, value in values.items():
            if _converted(value, defaults.get(name)) is None:
                raise PerfRnnError(f"hparams: {name}={value!r} is not supported")
        return cls(**{name: _converted(value, defaults[name]) for name, value in values.items()})


def _parse_value(name: str, text: str, default: Any) -> Any:
    if type(default) is bool:
        if text not in _BOOLS:
            raise PerfRnnError(f"hparams: {name}={text} is not a bool; write true or false")
        return _BOOLS[text]
    try:
        value = _converted(parse_literal(text), default)
    except ValueError:
        value = None
    if value is None:
        wanted = {int: "an integer", float: "a number", tuple: "a list of integers, as [256,256]"}
        raise PerfRnnError(f"hparams: {name}={text} is not {wanted[type(default)]}")
    return value


def _converted(value: Any, default: Any) -> Any:
    """Returns a value in the type of a default, None if it is of another type."""
    kind = type(default)
    if kind is float and type(value) is int and abs(value) <= _MAX_INTEGER:
        return float(value)
    if kind is tuple and type(value) in (list, tuple) and all(type(n) is int for n in value):
        return tuple(value)
    return value if type(value) is kind else None
