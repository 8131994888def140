"""The best network of a run, by its NLL on held-out data, and when no better one is to come."""

import os

from bundles import Bundle
from bundles.atomic_files import atomic_write_json
from bundles.errors import PerfRnnError
from bundles.regular_files import read_json
from perf_rnn.models import write_run_bundle
from perf_rnn.training.run_dir import RunDir


class BestNetwork:
    """Keeps the network with the lowest NLL in `RUN_DIR/best`, which can be played as a run.

    `RUN_DIR/best/nll.json` lists the NLL of every evaluation, so that a continued run knows them.

    Attributes:
      path: `RUN_DIR/best`.
      nlls: by step, in nats per event.
    """

    def __init__(self, run: RunDir, patience: int):
        """Reads what earlier parts of the run have found.

        Args:
          run: the run.
          patience: evaluations without a better network after which training has ended.

        Raises:
          PerfRnnError: the list cannot be read.
          OSError: likewise.
        """
        self.path = os.path.join(run.path, "best")
        self._list = os.path.join(self.path, "nll.json")
        self._patience = patience
        self.nlls: dict[int, float] = {}
        if os.path.exists(self._list):
            try:
                self.nlls = {int(k): float(nll) for k, nll in read_json(self._list).items()}
            except (ValueError, TypeError, AttributeError) as error:
                raise PerfRnnError(
                    f"{self._list}: damaged ({error}); remove {self.path}"
                ) from error

    @property
    def step(self) -> int:
        """The step of the best network."""
        return min(self.nlls, key=self.nlls.__getitem__)

    @property
    def is_final(self) -> bool:
        """Whether the last `patience` evaluations have found no better network."""
        return bool(self.nlls) and sum(step > self.step for step in self.nlls) >= self._patience

    def offer(self, bundle: Bundle, step: int, nll: float) -> None:
        """Takes an evaluation into account, and the network if it is the best so far.

        Raises:
          OSError: a file cannot be written.
        """
        # A run that was killed may take steps again.
        self.nlls = {**{s: known for s, known in self.nlls.items() if s < step}, step: nll}
        train_dir = os.path.join(self.path, "train")
        if self.step == step:
            os.makedirs(train_dir, exist_ok=True)
            write_run_bundle(train_dir, bundle)
        atomic_write_json(self._list, {str(step): nll for step, nll in self.nlls.items()})
