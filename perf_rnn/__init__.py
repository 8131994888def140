"""Performance RNN: an LSTM that plays polyphonic piano with expressive timing and dynamics.

`perf_rnn.generate` makes pieces of music, `perf_rnn.stream` plays for ever.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perf_rnn.generation.generate import generate, stream

__version__ = "0.1.0"
__all__ = ["generate", "stream"]


def __getattr__(name: str) -> Any:
    # What it needs is imported when it is first asked for, so that `import perf_rnn` stays light.
    if name in __all__:
        from perf_rnn.generation import generate as generation

        return getattr(generation, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
