"""Modules of large packages, without what their packages bring along.

`import tensorflow` takes seconds, `import note_seq` loads pandas, bokeh and IPython. Their protocol
buffers and a few more of their modules need nothing of that.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import sys
import threading
import types
from collections.abc import Iterator
from typing import Any


class _SleepingPackage(types.ModuleType):
    """A package whose own code runs when something is first asked of it that only it can answer.

    Until then its modules can be imported; they become attributes of it, as of any package.
    """

    @staticmethod
    def is_tensor(x: Any) -> bool:
        """TensorFlow's, which matplotlib calls with all it is given: asleep, it has no tensors."""
        return False

    def __getattr__(self, name: str) -> Any:
        modules = f"{self.__name__}."
        if any(
            getattr(getattr(module, "__spec__", None), "_initializing", False)
            for key, module in [*sys.modules.items()]
            if key.startswith(modules)
        ):  # One of its modules, just being imported, says `from package import another`.
            return importlib.import_module(modules + name)
        self.__class__ = types.ModuleType  # type: ignore[assignment]
        spec: Any = self.__spec__
        spec.loader.exec_module(self)
        return getattr(self, name)


def import_module(name: str) -> Any:
    """Imports a module such as `tensorflow.core.example.example_pb2` without running its package.

    The outermost package runs later, when it is first used. Where it was imported before, this is
    `importlib.import_module`.

    Raises:
      ModuleNotFoundError: there is no such module.
    """
    package = name.partition(".")[0]
    if package not in sys.modules:
        spec = importlib.util.find_spec(package)
        if spec is None:
            raise ModuleNotFoundError(f"No module named {package!r}", name=package)
        module = importlib.util.module_from_spec(spec)
        module.__class__ = _SleepingPackage
        sys.modules[package] = module
    return importlib.import_module(name)


_stderr_lock = threading.RLock()


@contextlib.contextmanager
def without_notes() -> Iterator[None]:
    """While this lasts, what is printed on stderr is not seen: TensorFlow's notes when imported.

    They come from C++ before it listens to any setting, so file descriptor 2 itself is turned away.
    Exceptions are shown all the same.
    """
    with _stderr_lock, contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # There may be no such file.
            stderr = os.dup(2)
            stack.callback(os.close, stderr)
            stack.callback(os.dup2, stderr, 2)
            if sys.stderr:
                sys.stderr.flush()
            with open(os.devnull, "w", encoding="utf-8") as devnull:
                os.dup2(devnull.fileno(), 2)
        yield
