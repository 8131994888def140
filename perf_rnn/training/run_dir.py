"""A training run's directory: what it was made with, and its checkpoints.

`RUN_DIR/run.json` says which config, hyperparameters and window the run has; `RUN_DIR/train` holds
checkpoints and TensorBoard summaries; `RUN_DIR/eval` holds the evaluation's summaries,
`RUN_DIR/sample` and `RUN_DIR/data` those of `samples`.
"""

import dataclasses
import json
import os
from typing import Any

from bundles.errors import PerfRnnError
from perf_rnn.configs import PerformanceRnnConfig, get_config
from perf_rnn.data.json_files import write_json
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
    """

    config: str
    hparams: HParams
    window: int
    carry_state: bool
    seed: int
    augmentation: bool = False


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
          ValueError: run.json cannot be read.
        """
        try:
            with open(self._settings_path, encoding="utf-8") as file:
                values = json.load(file)
            return RunSettings(**{**values, "hparams": HParams.from_dict(values["hparams"])})
        except FileNotFoundError:
            return None
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
                    "Give the same values or another --run_dir"
                )

    def write(self, settings: RunSettings) -> None:
        """Makes the directory, of a run of `settings`.

        Raises:
          OSError: it cannot be made.
        """
        os.makedirs(self.train_dir, exist_ok=True)
        values = {**vars(settings), "hparams": settings.hparams.to_dict()}
        write_json(self._settings_path, values)

    def latest_checkpoint(self) -> str | None:
        """Returns the newest checkpoint's path, or None."""
        import tensorflow as tf

        return tf.train.latest_checkpoint(self.train_dir)

    def load_network(self) -> tuple[Any, PerformanceRnnConfig, int]:
        """Builds the run's network with the newest checkpoint's weights.

        Returns:
          The Keras network, its config and the training steps it has seen.

        Raises:
          ValueError: there is no run here, it has no checkpoint yet, or that cannot be read.
        """
        from perf_rnn.network.network import build_network

        settings = self.settings()
        checkpoint = self.latest_checkpoint()
        if settings is None or checkpoint is None:
            raise PerfRnnError(f"{self.path}: no checkpoint of a training run here")
        config = get_config(settings.config)
        network = build_network(config, settings.hparams)
        return network, config, restore_weights(network, checkpoint)


def restore_weights(network: Any, checkpoint: str) -> int:
    """Sets `network`'s weights from a training checkpoint; returns the step it was saved at.

    Raises:
      ValueError: the checkpoint cannot be read, or is another network's.
    """
    import tensorflow as tf

    step = tf.Variable(0, dtype=tf.int64)
    restore(tf.train.Checkpoint(network=network, step=step), checkpoint)
    return int(step.numpy())


def restore(objects: Any, checkpoint: str) -> None:
    """Restores a `tf.train.Checkpoint`, which may be part of what was saved.

    Raises:
      ValueError: the checkpoint cannot be read, or is of other objects.
    """
    import tensorflow as tf

    try:
        objects.restore(checkpoint).expect_partial().assert_existing_objects_matched()
    except (tf.errors.OpError, AssertionError, ValueError, IndexError) as error:
        reason = str(error).strip().partition("\n")[0][:200]
        raise PerfRnnError(
            f"{checkpoint}: damaged, or another network's checkpoint ({reason})"
        ) from error


def _flatten(settings: RunSettings) -> dict[str, Any]:
    values = dict(vars(settings))
    return {**values.pop("hparams").to_dict(), **values}
