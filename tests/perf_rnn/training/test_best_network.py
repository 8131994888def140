import json

import pytest

from bundles.errors import PerfRnnError
from perf_rnn.configs import get_config
from perf_rnn.hparams import HParams
from perf_rnn.models import load_model
from perf_rnn.network.network import build_network, bundle_from_network
from perf_rnn.training.best_network import BestNetwork
from perf_rnn.training.run_dir import RunDir

CONFIG = get_config("performance_with_dynamics")


@pytest.fixture(scope="module")
def bundle():
    network = build_network(CONFIG, HParams(rnn_layer_sizes=(8,)))
    return lambda step: bundle_from_network(network, CONFIG, "", {"training_steps": step})


def test_the_best_is_kept_and_training_ends_without_a_better_one(tmp_path, bundle):
    run = RunDir(str(tmp_path))
    best = BestNetwork(run, patience=2)
    assert not best.is_final
    ended = []
    for step, nll in enumerate([3.0, 2.0, 2.5, 1.5, 1.6, 1.5]):
        best.offer(bundle(step), step, nll)
        ended.append(best.is_final)
        if step == 3:  # The run is stopped and continued.
            best = BestNetwork(run, patience=2)
    assert ended == [False] * 5 + [True]
    assert best.step == 3
    assert load_model(best.path).bundle.extra["training_steps"] == 3
    assert BestNetwork(run, patience=2).is_final
    assert not BestNetwork(run, patience=3).is_final


def test_steps_that_are_taken_again_are_evaluated_again(tmp_path, bundle):
    best = BestNetwork(RunDir(str(tmp_path)), patience=2)
    for step, nll in [(0, 3.0), (10, 1.0), (20, 2.0), (10, 2.5)]:
        best.offer(bundle(step), step, nll)
    assert best.nlls == {0: 3.0, 10: 2.5}
    assert load_model(best.path).bundle.extra["training_steps"] == 10


@pytest.mark.parametrize("content", ["", "[]", '{"a": 1}', '{"1": "b"}'])
def test_a_damaged_list(tmp_path, content):
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "nll.json").write_text(content)
    with pytest.raises(PerfRnnError, match=r"nll\.json: damaged"):
        BestNetwork(RunDir(str(tmp_path)), patience=2)


def test_the_list_is_readable(tmp_path, bundle):
    BestNetwork(RunDir(str(tmp_path)), patience=2).offer(bundle(5), 5, 2.25)
    assert json.loads((tmp_path / "best" / "nll.json").read_text()) == {"5": 2.25}
