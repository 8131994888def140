"""All nine configs from NoteSequences through the dataset and training to evaluation."""

import json

import pytest

from perf_rnn.configs import default_configs
from perf_rnn.data.examples import EventRecords
from perf_rnn.data.tfrecord import open_writers
from perf_rnn.models import load_model

CREATE = "pipelines.tools.performance_rnn_create_dataset"
TRAIN = "perf_rnn.tools.performance_rnn_train"
# Of the stacks that are not plain each is tried with another kind of input.
STACKS = {
    "performance_with_dynamics_and_note_encoding": ",attn_length=3",
    "optional_multiconditioned_performance_with_dynamics": (
        ",attn_length=3,residual_connections=true"
    ),
    "performance_with_dynamics_and_modulo_encoding": ",residual_connections=true",
}


@pytest.fixture(scope="module")
def note_sequences(sequences, tmp_path_factory):
    """A TFRecord of two real performances of two pieces."""
    path = str(tmp_path_factory.mktemp("note_sequences") / "two.tfrecord")
    with open_writers([path]) as (writer,):
        for name in ("LuoJ05M.mid", "CaoJ01M.mid"):
            writer.write(sequences[name].SerializeToString())
    return path


@pytest.mark.slow
@pytest.mark.parametrize("config", default_configs.values(), ids=lambda config: config.key)
def test_dataset_training_evaluation(run_tool, note_sequences, tmp_path, config):
    ended = run_tool(
        CREATE,
        f"--config={config.key}",
        f"--input={note_sequences}",
        f"--output_dir={tmp_path}",
        "--eval_ratio=0.5",
        "--seed=3",
        "--max_events=60",
    )
    assert ended.status == 0, ended.err
    training, evaluation = (
        str(tmp_path / f"{mode}_performances.tfrecord") for mode in ("training", "eval")
    )
    copies = 2 if config.conditioning.optional else 1
    assert len(EventRecords(training, config)) == 4 * copies
    segments = EventRecords(evaluation, config)
    num_events = sum(len(segment.events) - 1 for segment in segments)

    run_dir = tmp_path / "run"
    hparams = f"--hparams=batch_size=4,rnn_layer_sizes=[6,6]{STACKS.get(config.key, '')}"
    ended = run_tool(
        TRAIN,
        f"--config={config.key}",
        f"--run_dir={run_dir}",
        f"--sequence_example_file={training}",
        f"--eval_sequence_example_file={evaluation}",
        hparams,
        "--window=16",
        "--num_training_steps=3",
    )
    assert ended.status == 0, ended.err
    assert "Evaluation at step 3: NLL" in ended.out
    assert f"over {num_events} events" in ended.out
    assert json.loads((run_dir / "run.json").read_text())["config"] == config.key
    model = load_model(run_dir)
    assert (model.config, model.bundle.extra["training_steps"]) == (config, 3)
