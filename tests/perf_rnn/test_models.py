import dataclasses
import pathlib

import numpy as np
import pytest

from bundles import read_bundle, read_bundle_file
from bundles.npz_files import read_npz, write_npz
from perf_rnn.configs import get_config
from perf_rnn.models import Model, choose_model, load_model, write_run_bundle

ROOT = pathlib.Path(__file__).parent.parent.parent
MAGENTA = ROOT / "tests" / "testdata" / "magenta_bundles"
CONFIG = get_config("performance_with_dynamics")


def fixture(key=CONFIG.key):
    return MAGENTA / f"{key}.mag"


def test_every_kind_of_source():
    model = load_model(fixture())
    assert load_model(model) is model
    assert model.name == str(fixture())
    for source in (str(fixture()), read_bundle(fixture()), read_bundle_file(fixture())):
        other = load_model(source)
        assert other.config is CONFIG
        np.testing.assert_array_equal(other.bundle.output_kernel, model.bundle.output_kernel)
    compact = load_model(model, "performance_with_dynamics_compact")
    assert (compact.bundle, compact.config.key) == (
        model.bundle,
        "performance_with_dynamics_compact",
    )
    with pytest.raises(ValueError, match="a int is no model; give a config's key, the path of a"):
        load_model(5)


def test_config_of_bundle():
    dense, compact = (
        read_bundle(fixture(key)) for key in (CONFIG.key, "performance_with_dynamics_compact")
    )
    compact_config = get_config("performance_with_dynamics_compact")
    assert load_model(dense).config is CONFIG
    assert load_model(compact).config is compact_config
    # Either plays as either.
    for bundle in (dense, compact):
        assert load_model(bundle, CONFIG.key).config is CONFIG
        assert load_model(bundle, compact_config.key).config is compact_config


def test_shipped_bundles_play_by_config():
    for key in (
        "performance",
        "performance_with_dynamics",
        "performance_with_dynamics_compact",
        "optional_multiconditioned_performance_with_dynamics",
    ):
        model = load_model(key)
        assert (model.config.key, model.bundle.layer_sizes) == (key, [512, 512, 512])
    large = load_model("performance_with_dynamics_large")
    assert (large.config, large.bundle.layer_sizes) == (CONFIG, [1024, 1024, 1024])


@pytest.mark.parametrize(
    ("source", "key", "message"),
    [
        (fixture(), "performance", "config performance is asked for, but the model is of config p"),
        (fixture(), "nothing", "unknown config 'nothing'; known: performance, "),
        (
            "nope.mag",
            None,
            r"^nope\.mag: no such file, nor a shipped bundle; those are performance, "
            "performance_with_dynamics, performance_with_dynamics_compact, optional_multi[a-z_]*, "
            "performance_with_dynamics_large$",
        ),
        ("performence", None, "nor a shipped bundle; perhaps performance; those are"),
        (ROOT / "tests", None, "no train/model.npz of a training run here"),
        (ROOT / "setup.py", None, "not a bundle: it is something else"),
    ],
)
def test_models_that_cannot_be_loaded(source, key, message):
    with pytest.raises(ValueError, match=message):
        load_model(source, key)


def test_the_large_bundle_of_the_repository(monkeypatch):
    large = "performance_with_dynamics_large"
    with pytest.raises(ValueError, match=f"{large} is a bundle, no config; give --bundle_file="):
        choose_model(large, None, None)
    monkeypatch.setattr("bundles.shipped_bundle_names", lambda: ["performance"])
    with pytest.raises(ValueError, match=f"{large}: comes with the repository alone; "):
        load_model(large)


def test_a_runs_weights_are_no_bytes(tmp_path):
    (tmp_path / "train").mkdir()
    write_run_bundle(str(tmp_path / "train"), read_bundle(fixture()))
    path = str(tmp_path / "train" / "model.npz")
    write_npz(path, {name: array.astype(np.uint8) for name, array in read_npz(path).items()})
    with pytest.raises(ValueError, match=r"model\.npz: damaged \(.* must be a float32 array"):
        load_model(tmp_path)


def test_bundles_that_do_not_fit():
    bundle = read_bundle(fixture())
    with pytest.raises(ValueError, match="reads inputs of 388 numbers; the config"):
        Model(bundle, get_config("performance"))
    notes = get_config("performance_with_dynamics_and_note_encoding")
    one_head = dataclasses.replace(read_bundle(fixture(notes.key)), head_sizes=(315,))
    with pytest.raises(ValueError, match=r"heads of \[315\] classes; .* has \[13, 77, 128, 32, 25"):
        Model(one_head, notes)


def test_bundles_of_other_models():
    bundle = dataclasses.replace(read_bundle(fixture()), id="attention_rnn")
    with pytest.raises(
        ValueError, match="'attention_rnn', which is no Performance RNN; known are: performance, p"
    ):
        load_model(bundle)
    with pytest.raises(ValueError, match="'performance' reads inputs of 388 numbers"):
        load_model(dataclasses.replace(bundle, id="performance"))
