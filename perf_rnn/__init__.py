"""Performance RNN: an LSTM that plays polyphonic piano with expressive timing and dynamics.

`perf_rnn.generate` makes pieces of music, `perf_rnn.stream` plays for ever.
"""

import importlib.util
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perf_rnn.generation.generate import generate, stream

__version__ = "0.1.0"
__all__ = ["generate", "stream"]


def _check_bundles() -> None:
    """Raises ImportError if `import bundles` would find another package, such as the user's own."""
    spec = importlib.util.find_spec("bundles")
    folders = [*((spec and spec.submodule_search_locations) or ())]
    own = os.path.join(os.path.dirname(os.path.dirname(__file__)), "bundles")
    if own not in folders:
        found = folders[0] if folders else spec and spec.origin
        raise ImportError(
            f"`bundles` at {found} is not perf_rnn's, which is at {own}; rename it, or change to "
            "another directory"
        )


_check_bundles()


def __getattr__(name: str) -> Any:
    # What it needs is imported when it is first asked for, so that `import perf_rnn` stays light.
    if name in __all__:
        from perf_rnn.generation import generate as generation

        return getattr(generation, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
