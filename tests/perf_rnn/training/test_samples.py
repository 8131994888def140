"""What TensorBoard gets of a network in training."""

import io
import shutil
import sys
import wave

import matplotlib.image
import numpy as np
import pytest

from perf_rnn import rendering
from perf_rnn.configs import get_config
from perf_rnn.data.examples import EventSequence
from perf_rnn.generation import generate as generation
from perf_rnn.hparams import HParams
from perf_rnn.network.network import build_network, bundle_from_network
from perf_rnn.training import trainer as training
from perf_rnn.training.run_dir import RunDir, RunSettings
from perf_rnn.training.samples import SampleWriter

CONFIG = get_config("performance_with_dynamics")
OPTIONAL = get_config("optional_multiconditioned_performance_with_dynamics")
NOTES = get_config("performance_with_dynamics_and_note_encoding")

# Velocity, shift, two notes, shift, a release, velocity, shift, a note.
EVENTS = [355 + 10, 255 + 17, 60, 64, 255 + 50, 128 + 60, 355 + 30, 255 + 3, 67]


def segments(config, events):
    return [EventSequence.from_events(np.array(events, np.int32), config)] * 3


@pytest.fixture
def tags(summaries):
    """The arrays of a directory's event files, of the one step that they have, by tag."""
    return lambda directory: {tag: value for (_, tag), value in summaries(directory).items()}


def test_values_of_note_events():
    events = [[0, 7, 60, 24, 1, 9], [1, 23, 64, 0, 0, 0]]
    values = NOTES.codec.values(np.array(events))
    notes = NOTES.codec.decode(events)
    assert values["shift"].tolist() == np.diff(notes.start_step, prepend=0).tolist() == [7, 100]
    assert values["duration"].tolist() == (notes.end_step - notes.start_step).tolist() == [50, 1]
    assert values["pitch"].tolist() == notes.pitch.tolist()
    assert values["velocity"].tolist() == [25, 1]


def test_without_dynamics_there_is_no_velocity():
    values = get_config("performance").codec.values([255 + 1, 60])
    assert {kind: array.tolist() for kind, array in values.items()} == {
        "note_on": [60], "note_off": [], "shift": [1],
    }  # fmt: skip


@pytest.mark.parametrize("config", [CONFIG, OPTIONAL], ids=lambda config: config.key)
def test_a_sample_of_one_hot_events(tmp_path, tags, config):
    network = build_network(config, HParams(rnn_layer_sizes=(8,)))
    run = RunDir(str(tmp_path))
    SampleWriter(run, config, segments(config, EVENTS), seconds=3).write(network, 7)

    # It is the piece that the bundle of these weights plays first.
    bundle = bundle_from_network(network, config)
    (sequence,) = generation.generate(bundle, 3, seed=0)
    sample = tags(tmp_path / "sample")
    width, height, png = sample["piano_roll"]
    assert png.startswith(b"\x89PNG")
    shown = [
        matplotlib.image.imread(io.BytesIO(data))
        for data in (png, rendering.to_png(sequence, title=f"{config.key}, step 7"))
    ]
    assert (int(height), int(width)) == shown[1].shape[:2]
    np.testing.assert_array_equal(*shown)

    ((sound, label),) = sample["sound"]
    assert label == b""
    with wave.open(io.BytesIO(sound)) as file:
        assert file.getparams()[:4] == (1, 2, 24000, 5 * 24000)
        samples = np.frombuffer(file.readframes(5 * 24000), "<i2").astype(float)
    whole = np.frombuffer(rendering.to_wav(sequence)[44:], "<i2").reshape(-1, 2, 2)
    np.testing.assert_allclose(samples, whole.mean((1, 2)), atol=0.51)

    # Three times the nine events: counts, and the middle of a bucket for each value.
    data = tags(tmp_path / "data")
    shares = {tag: value.item() for tag, value in data.items() if tag.startswith("share")}
    assert shares == pytest.approx({
        "share_of_events/note_on": 3 / 9, "share_of_events/note_off": 1 / 9,
        "share_of_events/shift": 3 / 9, "share_of_events/velocity": 2 / 9,
    })  # fmt: skip
    pitches = data["events/note_on"]
    assert pitches.shape == (67 - 60 + 1, 3)
    assert pitches[:, 2].tolist() == [3, 0, 0, 0, 3, 0, 0, 3]
    assert sample["events/note_on"][:, 2].sum() == len(sequence.notes)
    assert sum(v.item() for t, v in sample.items() if t.startswith("share")) == pytest.approx(1)


def test_a_sample_of_note_events(tmp_path, tags):
    network = build_network(NOTES, HParams(rnn_layer_sizes=(8,)))
    data = segments(NOTES, [[0, 7, 60, 24, 1, 9], [1, 23, 64, 0, 0, 0]])
    SampleWriter(RunDir(str(tmp_path)), NOTES, data, seconds=3).write(network, 1)
    (sequence,) = generation.generate(bundle_from_network(network, NOTES), 3, seed=0)
    made = tags(tmp_path / "sample")
    kinds = {f"events/{kind}" for kind in ("shift", "pitch", "velocity", "duration")}
    assert made.keys() == {"piano_roll", "sound", *kinds}
    # The first event is not played: the network needs one to go on from.
    assert {made[kind][:, 2].sum() for kind in kinds} == {len(sequence.notes)}
    assert tags(tmp_path / "data")["events/pitch"][:, 2].tolist() == [3, 0, 0, 0, 3]


def test_without_a_synthesiser_it_is_silent(tmp_path, tags, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setitem(sys.modules, "midirenderer", None)
    network = build_network(CONFIG, HParams(rnn_layer_sizes=(8,)))
    SampleWriter(RunDir(str(tmp_path)), CONFIG, segments(CONFIG, EVENTS), 1).write(network, 1)
    made = tags(tmp_path / "sample")
    assert "piano_roll" in made
    assert "sound" not in made


def test_samples_change_nothing_of_the_training(tmp_path):
    """Every step of one run draws a sample, and dropout's random numbers stay the same."""
    hparams = HParams(batch_size=2, rnn_layer_sizes=(8,), dropout_keep_prob=0.7)
    settings = RunSettings(CONFIG.key, hparams, window=4, carry_state=True, seed=1)
    data, weights, steps = segments(CONFIG, EVENTS), [], []
    for sampled in (False, True):
        run = RunDir(str(tmp_path / str(sampled)))
        writer = SampleWriter(run, CONFIG, data, seconds=1)
        trainer = training.Trainer(data, settings, run.train_dir)

        def draw(writer=writer, trainer=trainer):
            steps.append(trainer.step)
            writer.write(trainer.network, steps[-1])

        schedule = training.Schedule(num_training_steps=4, checkpoint_seconds=0)
        trainer.train(schedule, draw if sampled else None)
        weights.append(trainer.network.get_weights())
    assert steps == [1, 2, 3, 4]
    for without, with_samples in zip(*weights, strict=True):
        np.testing.assert_array_equal(without, with_samples)
