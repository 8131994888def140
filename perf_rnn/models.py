"""Trained models: a bundle with its config, found by name, by file or by training run."""

import os

import bundles
from bundles import Bundle
from bundles.errors import PerfRnnError
from perf_rnn.configs import PerformanceRnnConfig, configs_of_id, default_configs, get_config
from perf_rnn.generation.cpu.step_network import check_fits

DEFAULT_CONFIG = "performance_with_dynamics"

# A config's key, whose shipped bundle it is; the path of a bundle or of a run; a bundle.
Source = str | os.PathLike[str] | Bundle


def load_model(source: Source, key: str | None = None) -> tuple[Bundle, PerformanceRnnConfig]:
    """Returns a trained network and its config.

    Args:
      source: as `generate` has it.
      key: of the config that it must be; None: whichever it is.

    Raises:
      ValueError: the network is not of that config, or of none that is known here.
      OSError: a file cannot be read.
    """
    if isinstance(source, str) and source in default_configs:
        key = key or source
        source = bundles.shipped_bundle_path(get_config(source).id)
    if not isinstance(source, Bundle):
        path = os.path.expanduser(source)
        if not os.path.exists(path):
            raise PerfRnnError(
                f"{path}: no such file, nor a config; configs are {', '.join(default_configs)}"
            )
        source = bundle_of_run(path) if os.path.isdir(path) else bundles.read_bundle(path)
    return source, config_of_bundle(source, key)


def choose_model(
    config: str | None, bundle_file: str | None, run_dir: str | None
) -> tuple[Bundle, PerformanceRnnConfig, str]:
    """Returns the trained network that a tool's flags name, its config, and its name.

    Without a file or a run it is the bundle shipped for `config`, or for `DEFAULT_CONFIG`.

    Raises:
      ValueError: both a file and a run are given, a flag is empty, or as `load_model` has it.
      OSError: a file cannot be read.
    """
    if run_dir and bundle_file:
        raise PerfRnnError("give --run_dir or --bundle_file, not both")
    for flag, value in (("run_dir", run_dir), ("bundle_file", bundle_file)):
        if value == "":
            raise PerfRnnError(f"--{flag} is empty")
    if config is not None:
        get_config(config)
    source: Source
    if run_dir:
        source = bundle_of_run(run_dir)
    elif bundle_file:
        source = bundles.read_bundle(os.path.expanduser(bundle_file))
    else:
        source = config or DEFAULT_CONFIG
    name = run_dir or bundle_file or f"the shipped bundle of {source}"
    return *load_model(source, config), name


def config_of_bundle(bundle: Bundle, key: str | None = None) -> PerformanceRnnConfig:
    """Returns the config that a bundle is of.

    Bundles of the compact config and of the dense one that share its id hold the same kind of
    network, so either can be played as either.

    Args:
      bundle: a trained network.
      key: of the config that it must be of; None: the one it was made with.

    Raises:
      ValueError: it is of another one, or of none.
    """
    same_id = configs_of_id(bundle.id)
    if not same_id:
        raise PerfRnnError(
            f"the bundle is of generator {bundle.id!r}, which is no Performance RNN; known are: "
            f"{', '.join(dict.fromkeys(config.id for config in default_configs.values()))}"
        )
    asked = same_id if key is None else [get_config(key)]
    if asked[0] not in same_id:
        raise PerfRnnError(f"config {key} is asked for, but the model is of config {bundle.id}")
    for config in asked:
        check_fits(bundle, config)
    # Where two configs remain, the one whose graph reads an index is known by that.
    return next((c for c in asked if c.encoding.index_input == bundle.index_input), asked[0])


def bundle_of_run(path: str) -> Bundle:
    """Returns the newest checkpoint of a training run as a bundle.

    Raises:
      ValueError: there is none, or it cannot be read.
    """
    from perf_rnn.network.network import bundle_from_network
    from perf_rnn.training.run_dir import RunDir

    run = RunDir(path)
    network, config, step = run.load_network()
    settings = run.settings()
    hparams = settings.hparams.to_dict() if settings else {}
    return bundle_from_network(network, config, "", {"training_steps": step, "hparams": hparams})
