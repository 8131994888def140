"""A training that is packed into a directory, for a machine with JAX and no Internet.

`pack.json` holds the run's settings and the NLL that the first batch must have, `code/` this
package, `start.npz.bz2` the weights to begin with, and `training.tfrecord.bz2` and
`evaluation.tfrecord.bz2` the data. `run.sh` starts the training, see `packed_training`.
"""

import bz2
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

import bundles
import perf_rnn
from bundles.atomic_files import atomic_path
from bundles.errors import PerfRnnError
from bundles.npz_files import write_npz
from perf_rnn.configs import get_config
from perf_rnn.data.examples import EventRecords, EventSequence
from perf_rnn.hparams import HParams
from perf_rnn.models import Model
from perf_rnn.network.network import build_network
from perf_rnn.network.warm_start import transfer_weights
from perf_rnn.training.evaluation import Scores, score_windows
from perf_rnn.training.run_dir import RunSettings
from perf_rnn.training.trainer import make_batches, python_random_seed

DATA = ("training", "evaluation")

_RUN_SH = """\
#!/bin/sh
# Trains for --minutes=N; results go to --output_dir=DIR. It needs Python with JAX, and no Internet.
# Packages that are missing can lie in wheels/.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
if [ -d "$here/wheels" ] && ! [ -d "$here/site" ]; then
  python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir \\
    --target "$here/site" "$here"/wheels/*.whl
fi
# A directory of this package's sources in which it is started must not come before code/.
export PYTHONPATH="$here/code:$here/site" PYTHONSAFEPATH=1 KERAS_BACKEND=jax PYTHONUNBUFFERED=1
missing=$(python3 -c 'import importlib.util, sys
print(*[name for name in sys.argv[1:] if not importlib.util.find_spec(name)])' \\
  jax keras absl google_crc32c tensorboard tqdm)
if [ -n "$missing" ]; then
  echo "run.sh: python3 lacks $missing; put wheels of these packages into $here/wheels" >&2
  exit 1
fi
exec python3 -m perf_rnn.tools.performance_rnn_pack --pack_dir="$here" "$@"
"""


def evaluation_rows(hparams: HParams) -> int:
    """Returns how many rows are evaluated side by side."""
    return min(hparams.batch_size, 512)


def check_no_decay(hparams: HParams) -> None:
    """Checks that a packed training's schedule is left to it.

    Raises:
      PerfRnnError: `decay_steps` is given.
    """
    if hparams.decay_steps:
        raise PerfRnnError("hparams: a packed training has its own decay_steps; leave them out")


def first_nll(
    network: keras.Model,
    segments: Sequence[EventSequence],
    settings: RunSettings,
    scores: Scores | None = None,
) -> float:
    """Returns the NLL of the first batch of a training, of `evaluation_rows` rows.

    It depends on the data, its order and augmentation, the weights, and the computation.

    Args:
      network: with the weights that the training begins with.
      segments: the training data.
      settings: of the training.
      scores: as in `evaluate`.
    """
    config, rows = get_config(settings.config), evaluation_rows(settings.hparams)
    batches = make_batches(segments, settings, rows)
    batch, nll, _ = next(score_windows(network, config, batches, rows, scores=scores))
    return float(nll[batch.weights > 0].sum()) / batch.num_events


def write_pack(
    directory: str,
    settings: RunSettings,
    training: EventRecords,
    evaluation: EventRecords,
    warm_start: Model | None = None,
) -> None:
    """Writes a packed training.

    Args:
      directory: which is made.
      settings: of the run; with `decay_steps` of 0, since those follow from the time.
      training: data to train on.
      evaluation: data to evaluate.
      warm_start: the network that training begins with; None: random weights.

    Raises:
      PerfRnnError: `decay_steps` is given, or the network of `warm_start` does not fit.
      OSError: the directory cannot be written.
    """
    check_no_decay(settings.hparams)
    config = get_config(settings.config)
    with python_random_seed(settings.seed):
        network = build_network(config, settings.hparams)
    if warm_start:
        transfer_weights(network, config, warm_start.bundle)
    else:
        # With zeros in half of their bits, random weights are packed in half the size.
        network.set_weights([_rounded(weight) for weight in network.get_weights()])
    values: dict[str, Any] = {
        "settings": {**vars(settings), "hparams": settings.hparams.to_dict()},
        "first_nll": first_nll(network, training, settings),
        "perf_rnn_version": perf_rnn.__version__,
    }
    with atomic_path(directory) as temporary:
        temporary.mkdir()
        weights = {f"{number:03}": weight for number, weight in enumerate(network.get_weights())}
        with tempfile.TemporaryDirectory() as unpacked:
            write_npz(os.path.join(unpacked, "start.npz"), weights)
            _pack_files([os.path.join(unpacked, "start.npz")], temporary / "start.npz.bz2")
        for name, records in zip(DATA, (training, evaluation), strict=True):
            _pack_files(records.paths, temporary / f"{name}.tfrecord.bz2")
        for package in (bundles, perf_rnn):
            _copy_code(Path(str(package.__file__)).parent, temporary / "code" / package.__name__)
        (temporary / "pack.json").write_text(json.dumps(values, indent=2))
        (temporary / "run.sh").write_text(_RUN_SH)
        (temporary / "run.sh").chmod(0o755)


def _copy_code(package: Path, copy: Path) -> None:
    """Copies a package's modules, and the descriptions of its protos."""
    for source in package.rglob("*"):
        if source.suffix in (".py", ".binpb"):
            target = copy / source.relative_to(package)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())


def _rounded(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns float32 numbers cut to the 8 significant bits of a bfloat16."""
    return (weight.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)


def _pack_files(paths: Sequence[str], packed_path: Path) -> None:
    """Compresses files, one after the other, into one."""
    with bz2.open(packed_path, "wb") as packed:
        for path in paths:
            with open(path, "rb") as file:
                shutil.copyfileobj(file, packed)
