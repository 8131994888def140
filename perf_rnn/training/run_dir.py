"""A training run's directory: its settings, its lock and its paths.

`RUN_DIR/run.json` says which config, hyperparameters and window the run has; `RUN_DIR/train` holds
checkpoints, the newest one's network as a bundle, and TensorBoard summaries; `RUN_DIR/eval` holds
the evaluation's summaries, `RUN_DIR/sample` and `RUN_DIR/data` those of `samples`.
"""

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from typing import Any

from absl import logging

from bundles.atomic_files import atomic_write_json, remove_temporaries
from bundles.errors import PerfRnnError
from bundles.regular_files import read_json
from perf_rnn.hparams import HParams


@dataclasses.dataclass(frozen=True)
class RunSettings:
    """What a run is made with and cannot change.

    Attributes:
      config: the config's key.
      hparams: hyperparameters.
      window: events a row advances in one training step.
      carry_state: whether the LSTM state goes on from one window of a segment to the next.
      seed: of the initial weights, the order of segments and their augmentation.
      augmentation: whether segments are stretched and transposed anew in each pass; runs that do
        not say have none.
      control_jumps: whether parts of other segments come before those with controls, see
        `perf_rnn.data.jumps`; runs that do not say have none.
    """

    config: str
    hparams: HParams
    window: int
    carry_state: bool
    seed: int
    augmentation: bool = False
    control_jumps: bool = False


class RunDir:
    """Paths and settings of one training run."""

    def __init__(self, path: str):
        self.path = os.path.expanduser(path)
        self.train_dir = os.path.join(self.path, "train")
        self.eval_dir = os.path.join(self.path, "eval")
        self.sample_dir = os.path.join(self.path, "sample")
        self.data_dir = os.path.join(self.path, "data")
        self._settings_path = os.path.join(self.path, "run.json")

    def settings(self) -> RunSettings | None:
        """Returns what the run was made with, or None where there is no run yet.

        Raises:
          PerfRnnError: run.json is damaged.
          OSError: it cannot be read.
        """
        try:
            values = read_json(self._settings_path)
        except FileNotFoundError:
            return None
        try:
            values["hparams"] = HParams.from_dict(dict(values["hparams"]))
            for field in dataclasses.fields(RunSettings):
                value = values.get(field.name, field.default)
                if type(value) is not field.type:
                    raise ValueError(f"{field.name} is {value!r}")
            return RunSettings(**values)
        except (ValueError, TypeError, KeyError) as error:
            raise PerfRnnError(f"{self._settings_path}: not a run's settings ({error})") from error

    def check(self, settings: RunSettings) -> None:
        """Checks that a run that is here was made with `settings`.

        Raises:
          ValueError: it was made with others.
        """
        made_with = self.settings()
        if made_with is not None:
            old, new = _flatten(made_with), _flatten(settings)
            differing = [
                f"{name}={old[name]}, not {new[name]}" for name in old if old[name] != new[name]
            ]
            if differing:
                raise PerfRnnError(
                    f"{self.path}: this run was made with {'; '.join(differing)}. "
                    "Give the same values or another directory"
                )

    def write(self, settings: RunSettings) -> None:
        """Makes the directory, of a run of `settings`.

        Raises:
          OSError: it cannot be made.
        """
        os.makedirs(self.train_dir, exist_ok=True)
        values = {**vars(settings), "hparams": settings.hparams.to_dict()}
        atomic_write_json(self._settings_path, values)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Makes the directory and holds it for one training; removes what a killed one left.

        The operating system releases the lock when the process ends, however it ends. Windows has
        no such lock, so there nothing is held.

        Raises:
          PerfRnnError: another training holds it.
          OSError: it cannot be made.
        """
        os.makedirs(self.train_dir, exist_ok=True)
        with open(os.path.join(self.path, "lock"), "w", encoding="utf-8") as file:
            if os.name == "posix":
                import fcntl

                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise PerfRnnError(
                        f"{self.path}: another training is using this directory; wait for its end, "
                        "or give another --run_dir"
                    ) from None
                except OSError as error:  # Some network file systems have no locks.
                    logging.warning("%s: cannot be locked (%s).", self.path, error)
            remove_temporaries(self.train_dir, seconds=0)
            yield


def _flatten(settings: RunSettings) -> dict[str, Any]:
    values = dict(vars(settings))
    return {**values.pop("hparams").to_dict(), **values}
