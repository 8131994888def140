"""From MIDI files to a bundle that plays like them: dataset, training, bundle and pieces to hear.

Examples:
  performance_rnn_learn my_midi --output_dir=mine
  performance_rnn_learn my_midi --output_dir=mine --config=performance --from_scratch --patience=10
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import shlex
from typing import TYPE_CHECKING

import numpy as np
from absl import flags

import bundles
from bundles.atomic_files import (
    atomic_path,
    atomic_write_json,
    make_directory,
    remove_temporaries,
)
from bundles.errors import PerfRnnError
from bundles.regular_files import read_json
from perf_rnn.models import DEFAULT_CONFIG
from perf_rnn.tools import cli

if TYPE_CHECKING:
    from perf_rnn.notes.music_files import MusicFile
    from perf_rnn.training.best_network import BestNetwork
    from perf_rnn.training.run_dir import RunDir, RunSettings

FLAGS = flags.FLAGS
flags.DEFINE_string(
    "input",
    None,
    "Directory (with subdirectories) or zip archive of piano MIDI files. It may also stand without "
    "the flag.",
)
flags.DEFINE_string(
    "output_dir",
    None,
    "Directory of all that is made: NAME.mag, named as the directory is, samples/index.html, "
    "data/ and run/. The same command goes on where an earlier one was interrupted, and does "
    "nothing where it has finished.",
)
flags.DEFINE_string("config", DEFAULT_CONFIG, "Config of the network.")
flags.DEFINE_bool(
    "from_scratch", False, "Begin with random weights in place of those of the shipped bundle."
)
flags.DEFINE_integer(
    "patience",
    5,
    "Training ends once so many evaluations in a row have found no better network.",
    lower_bound=1,
)
flags.DEFINE_float(
    "checkpoint_seconds", 60, "Seconds between checkpoints, each with an evaluation.", lower_bound=1
)
flags.DEFINE_integer(
    "num_training_steps", 0, "Train for no more steps than these; 0: no limit.", lower_bound=0
)
flags.DEFINE_string("hparams", "", "As for perf_rnn train, such as 'batch_size=32'.")
flags.DEFINE_integer("window", 128, "Events that a row advances in one step.", lower_bound=1)
flags.DEFINE_float("eval_ratio", 0.1, "Share of the files or folders that is held out, 0 to 1.")
flags.DEFINE_enum(
    "partition_by",
    "auto",
    ["auto", "sequence", "folder"],
    "Hold out single files, or whole folders, so that no recording of a piece is trained on where "
    "another is held out. auto: folders, if there are at least five.",
)
flags.DEFINE_integer("num_outputs", 4, "Pieces of 30 s to hear at the end.", lower_bound=1)
flags.DEFINE_integer(
    "seed", 0, "Of the division, the training and the pieces.", lower_bound=0, upper_bound=2**31
)

MIN_EVENTS = 32  # The default of performance_rnn_create_dataset.
FEWEST_FOLDERS = 5
SAMPLE_STEPS = 3000
MADE_FROM = "made_from.json"
# Segments of 30 s that an evaluation takes, evenly spread over what is held out.
MOST_EVALUATED = 128
# Beginning with trained weights, less than the default is learned from each step.
FINE_TUNING = "learning_rate=0.0003,warmup_steps=50"


def main() -> None:
    cli.check_given(
        input="a directory or zip archive of MIDI files",
        output_dir="the directory for the bundle, the pieces and all that leads to them",
    )
    if not 0 < FLAGS.eval_ratio < 1:
        raise PerfRnnError(f"--eval_ratio={FLAGS.eval_ratio} is not between 0 and 1")
    from perf_rnn.training.run_dir import RunDir

    output_dir = os.path.expanduser(FLAGS.output_dir)
    run = RunDir(os.path.join(output_dir, "run"))
    settings = _settings()
    run.check(settings)
    data_dir = os.path.join(output_dir, "data")
    name = os.path.basename(os.path.abspath(output_dir))
    bundle_file = os.path.join(output_dir, f"{name}.mag")
    page = os.path.join(output_dir, "samples", "index.html")
    if not os.path.exists(os.path.join(data_dir, MADE_FROM)):  # What is here is not of this tool.
        cli.check_new("output_dir", bundle_file, data_dir)
    _make_dataset(os.path.expanduser(FLAGS.input), data_dir)
    finished = os.path.join(run.path, "finished.json")
    asked = {name: FLAGS[name].value for name in ("patience", "num_training_steps", "num_outputs")}
    if all(map(os.path.exists, (finished, bundle_file, page))) and read_json(finished) == asked:
        print(f"{bundle_file} is there, and nothing has changed since.", end=" ")
        print("To train on, give a greater --patience or --num_training_steps.")
    else:
        pathlib.Path(finished).unlink(missing_ok=True)
        _export(_train(run, settings, data_dir), name, bundle_file, os.path.dirname(page))
        atomic_write_json(finished, asked)
    print(f"Open {page} in a browser to hear its pieces. More of them:")
    command = shlex.join([f"--bundle_file={bundle_file}", f"--output_dir=generated_{name}"])
    print(f"  perf_rnn play {command} --render=wav,png,html")


def _settings() -> "RunSettings":
    from perf_rnn.configs import get_config
    from perf_rnn.training.run_dir import RunSettings

    config = get_config(FLAGS.config)
    if not FLAGS.from_scratch:
        try:
            bundles.shipped_bundle_path(config.id)
        except bundles.BundleError as error:
            raise PerfRnnError(f"{error}; or give --from_scratch") from None
    hparams = config.hparams.parse("" if FLAGS.from_scratch else FINE_TUNING).parse(FLAGS.hparams)
    return RunSettings(
        config=config.key,
        hparams=hparams,
        window=FLAGS.window,
        carry_state=True,
        seed=FLAGS.seed,
        augmentation=True,
    )


def _make_dataset(source: str, data_dir: str) -> None:
    """Makes the dataset, if an earlier command has not."""
    from perf_rnn.configs import get_config
    from perf_rnn.notes.music_files import find_music_files
    from pipelines import performance_dataset

    config = get_config(FLAGS.config)
    files = find_music_files(source)
    too_few = f"{source}: too few performances to hold one out and train on others; give more files"
    if len(files) < 2:
        raise PerfRnnError(too_few)
    made_from = {
        "files": len(files),
        "digest": _digest(files),
        **{name: FLAGS[name].value for name in ("config", "eval_ratio", "partition_by", "seed")},
    }
    path = os.path.join(data_dir, MADE_FROM)
    if os.path.exists(path):
        before = read_json(path)
        if before.get("digest") != made_from["digest"]:
            raise PerfRnnError(
                f"{data_dir}: made from {before.get('files')} files that are not those "
                f"{len(files)} in {source}; to learn from these give another --output_dir"
            )
        differing = [
            f"{name}={before.get(name)}, not {value}"
            for name, value in made_from.items()
            if before.get(name) != value
        ]
        if differing:
            raise PerfRnnError(
                f"{data_dir}: made with {'; '.join(differing)}. Give the same values or another "
                "--output_dir"
            )
        print(f"1 of 3: the dataset is in {data_dir}")
        return
    partition_by = FLAGS.partition_by
    if partition_by == "auto":
        folders = {os.path.dirname(file.name) for file in files}
        partition_by = "folder" if len(folders) >= FEWEST_FOLDERS else "sequence"
    whole = {"folder": "whole folders", "sequence": "single files"}[partition_by]
    print(f"1 of 3: making the dataset of {len(files)} files; {whole} are held out")
    output_dir = os.path.dirname(data_dir)
    make_directory(output_dir)
    remove_temporaries(output_dir)
    # The directory appears when all is in it: after an interruption it is made anew.
    with atomic_path(data_dir) as temporary:
        counts = performance_dataset.create_dataset(
            source,
            str(temporary),
            config,
            MIN_EVENTS,
            None,
            FLAGS.eval_ratio,
            seed=FLAGS.seed,
            partition_by=partition_by,
        )
        if not all(counts.values()):
            raise PerfRnnError(too_few)
        atomic_write_json(temporary / MADE_FROM, made_from)


def _digest(files: "list[MusicFile]") -> str:
    """Returns a digest of the names and sizes of files, in hexadecimal."""
    sizes = [
        (file.name, os.path.getsize(file.path) if file.member is None else file.member.file_size)
        for file in files
    ]
    return hashlib.sha256(json.dumps(sizes).encode()).hexdigest()


def _train(run: "RunDir", settings: "RunSettings", data_dir: str) -> "BestNetwork":
    """Trains until no better network comes, and returns the best."""
    from perf_rnn.configs import get_config
    from perf_rnn.data.examples import EventRecords
    from perf_rnn.models import load_model

    config = get_config(settings.config)
    training, held_out = (
        EventRecords(os.path.join(data_dir, f"{name}_performances.tfrecord"), config)
        for name in ("training", "eval")
    )
    places = np.linspace(0, len(held_out) - 1, min(MOST_EVALUATED, len(held_out)))
    evaluated = [held_out[round(place)] for place in places]
    start = "random weights" if FLAGS.from_scratch else "the weights of the shipped bundle"
    print(f"2 of 3: training, from {start}; Ctrl-C ends it, and the same command continues it")
    cli.load_keras()
    from perf_rnn.training.best_network import BestNetwork
    from perf_rnn.training.train_run import train_run
    from perf_rnn.training.trainer import Schedule

    with run.locked():
        try:
            train_run(
                run,
                settings,
                training,
                Schedule(FLAGS.num_training_steps, checkpoint_seconds=FLAGS.checkpoint_seconds),
                eval_segments=evaluated,
                patience=FLAGS.patience,
                warm_start=None if FLAGS.from_scratch else load_model(config.key),
                num_checkpoints=2,
            )
        except KeyboardInterrupt:
            best = BestNetwork(run, FLAGS.patience)
            if best.nlls:
                print(f"To hear the best so far: perf_rnn play --run_dir={shlex.quote(best.path)}")
            raise
    best = BestNetwork(run, FLAGS.patience)
    first = min(best.nlls)
    print(
        f"Held-out NLL, in nats an event: {best.nlls[first]:.3f} at step {first}, "
        f"{best.nlls[best.step]:.3f} at step {best.step}, the best of {len(best.nlls)} evaluations."
    )
    if best.step == 0:
        print("Training found nothing better than what it began with. Give more files.")
    return best


def _export(best: "BestNetwork", name: str, bundle_file: str, samples_dir: str) -> None:
    """Writes the best network as a bundle, and pieces that it plays."""
    from perf_rnn import rendering
    from perf_rnn.generation.generate import GenerationOptions, generate_pieces
    from perf_rnn.models import load_model
    from perf_rnn.notes.midi_writer import at_tempo

    model = load_model(best.path)
    print(f"3 of 3: writing {bundle_file}, and {FLAGS.num_outputs} pieces")
    cli.load_tensorflow()
    description = f"Trained on the MIDI files of {os.path.basename(os.path.abspath(FLAGS.input))}."
    bundles.write_bundle(
        bundle_file, dataclasses.replace(model.bundle, bundle_description=description)
    )
    options = GenerationOptions(SAMPLE_STEPS, FLAGS.num_outputs, FLAGS.seed)
    renderer = rendering.Renderer(samples_dir, ["html"])
    for number, piece in enumerate(generate_pieces(model, options, with_nll=True), 1):
        facts = {
            "bundle": name,
            "seed": FLAGS.seed,
            "number": number,
            "NLL": round(piece.nll or 0.0, 3),
        }
        path = os.path.join(samples_dir, f"{name}_{number}.mid")
        renderer.add(rendering.write_piece(path, at_tempo(piece.notes), facts))
    renderer.finish()


def console_entry_point() -> None:
    cli.run(main, "input")


if __name__ == "__main__":
    console_entry_point()
