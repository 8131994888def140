"""Ctrl-C and SIGTERM during training, which stop it between two steps."""

import os
import signal
import threading
from types import FrameType
from typing import Any


class DelayedInterrupt:
    """A context in which the first Ctrl-C or SIGTERM only sets `requested`.

    A second one raises KeyboardInterrupt at once, and so does the first while `immediate` is True.
    On exit the signal handlers from before are restored. Ignored signals stay ignored, and outside
    the main thread, which alone receives signals in Python, nothing is changed.

    Attributes:
      requested: whether a signal has arrived.
      immediate: set this while an interrupt would lose nothing.
    """

    def __init__(self) -> None:
        self.requested = False
        self.immediate = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "DelayedInterrupt":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                # None stands for a handler that was not installed from Python.
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested or self.immediate:
            raise KeyboardInterrupt
        self.requested = True
        # Unlike print, os.write may be called from a signal handler at any time.
        os.write(2, b"\nStopping after this step; interrupt again to stop at once.\n")
