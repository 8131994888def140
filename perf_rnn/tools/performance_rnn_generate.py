"""Generates piano performances as MIDI files, or saves a training run as a bundle."""

import contextlib
import dataclasses
import itertools
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

from absl import flags

from perf_rnn.tools import cli

FLAGS = flags.FLAGS
flags.DEFINE_string("run_dir", None, "Training run whose newest checkpoint plays.")
flags.DEFINE_string(
    "bundle_file",
    None,
    "Bundle (.mag) that plays; with --save_generator_bundle, the file to write. Without this and "
    "--run_dir, the bundle shipped for --config plays.",
)
flags.DEFINE_bool(
    "save_generator_bundle", False, "Save the run of --run_dir as --bundle_file instead of playing."
)
flags.DEFINE_string("bundle_description", "", "A sentence to put into the saved bundle.")
flags.DEFINE_string(
    "config",
    None,
    "Config of the model. A bundle or run says it itself; it is checked if given here. Of the "
    "shipped bundles, performance_with_dynamics plays if not given.",
)
flags.DEFINE_string("output_dir", "/tmp/performance_rnn/generated", "Where the MIDI files go.")
flags.DEFINE_integer("num_outputs", 10, "Pieces to generate.", lower_bound=1)
flags.DEFINE_integer(
    "num_steps", 3000, "Length of each piece in steps of 10 ms, primer included.", lower_bound=2
)
flags.DEFINE_string("primer_pitches", "", "Begin with a chord, such as '[60,64,67]'.")
flags.DEFINE_string(
    "primer_melody",
    "",
    "Begin with a melody in sixteenths at 120 beats a minute, such as '[60,-2,62,-2,64]': a MIDI "
    "pitch strikes a note, -2 holds it, -1 ends it. --primer_pitches goes first.",
)
flags.DEFINE_string(
    "primer_midi", "", "Begin with a MIDI file. --primer_pitches and --primer_melody go first."
)
flags.DEFINE_float("temperature", 1.0, "Above 0: below 1 plays safer, above 1 wilder.")
flags.DEFINE_integer(
    "seed", None, "The same seed gives the same pieces; if not given, a new one.", lower_bound=0
)
flags.DEFINE_string(
    "hparams", "", "Not needed: the model knows its own. Checked against its layers if given."
)

# Magenta's flags that its users' scripts may spell out; what they ask for beyond its defaults is
# refused.
BEAM_FLAGS = ("beam_size", "branch_factor", "steps_per_iteration")
CONTROL_FLAGS = ("notes_per_second", "pitch_class_histogram", "disable_conditioning")
for name in BEAM_FLAGS:
    flags.DEFINE_integer(name, 1, "Only 1: every event is sampled, there is no beam search.")
for name in CONTROL_FLAGS:
    flags.DEFINE_string(name, None, "For conditioned models, which no config here is.")


def _bundle() -> Any:
    """Returns the bundle that the flags name and its config."""
    import bundles
    from perf_rnn import configs, generation, network
    from perf_rnn.run_dir import RunDir

    if FLAGS.run_dir:
        run = RunDir(FLAGS.run_dir)
        trained, config, step = run.load_network()
        settings = run.settings()
        extra = {"training_steps": step, "hparams": settings.hparams.to_dict() if settings else {}}
        bundle = network.bundle_from_network(trained, config, FLAGS.bundle_description, extra)
    else:
        key = FLAGS.config or "performance_with_dynamics"
        configs.get_config(key)
        path = FLAGS.bundle_file or bundles.shipped_bundle_path(key)
        bundle = bundles.read_bundle(os.path.expanduser(path))
        config = generation.config_of_bundle(bundle)
    if FLAGS.config and FLAGS.config != config.key:
        configs.get_config(FLAGS.config)
        raise ValueError(f"--config={FLAGS.config}, but the model's config is {config.key}")
    own = dataclasses.replace(config.hparams, rnn_layer_sizes=tuple(bundle.layer_sizes))
    asked = own.parse(FLAGS.hparams)
    if asked.rnn_layer_sizes != own.rnn_layer_sizes:
        raise ValueError(
            f"--hparams says rnn_layer_sizes={list(asked.rnn_layer_sizes)}, but the model's "
            f"layers are {list(own.rnn_layer_sizes)}"
        )
    return bundle, config


def _primer() -> Any:
    from perf_rnn import primers

    if FLAGS.primer_pitches:
        return primers.from_pitches(FLAGS.primer_pitches)
    if FLAGS.primer_melody:
        return primers.from_melody(FLAGS.primer_melody)
    if FLAGS.primer_midi:
        return primers.from_midi(os.path.expanduser(FLAGS.primer_midi))
    return None


def main() -> None:
    if FLAGS.save_generator_bundle:
        if not FLAGS.run_dir or not FLAGS.bundle_file:
            raise ValueError("--save_generator_bundle needs --run_dir and --bundle_file")
    elif FLAGS.run_dir and FLAGS.bundle_file:
        raise ValueError("give --run_dir or --bundle_file, not both")
    for name in BEAM_FLAGS:
        if FLAGS[name].value != 1:
            raise ValueError(
                f"--{name}={FLAGS[name].value}: there is no beam search; leave it at 1"
            )
    for name in CONTROL_FLAGS:
        if FLAGS[name].value is not None:
            raise ValueError(f"--{name}: no config here is of a conditioned model; leave it out")
    for name in ("run_dir", "bundle_file"):
        if FLAGS[name].value == "":
            raise ValueError(f"--{name} is empty")
    cli.load_libraries()
    bundle, config = _bundle()
    if FLAGS.save_generator_bundle:
        import bundles

        path = os.path.expanduser(FLAGS.bundle_file)
        bundles.write_bundle(path, bundle)
        size = f"layers {list(bundle.layer_sizes)}, {bundle.num_parameters:,} weights"
        print(f"Wrote {path}: {bundle.id}, {size}")
        return
    _generate(bundle, config)


def _generate(bundle: Any, config: Any) -> None:
    import random

    from note_seq import midi_io
    from tqdm import tqdm

    from perf_rnn import generation

    primer = _primer()
    output_dir = os.path.expanduser(FLAGS.output_dir)
    os.makedirs(output_dir, exist_ok=True)
    seed = random.randrange(2**31) if FLAGS.seed is None else FLAGS.seed
    steps, outputs, temperature = FLAGS.num_steps, FLAGS.num_outputs, FLAGS.temperature
    if primer is not None:
        print(f"The primer takes {primer.total_time:.1f} of {steps / 100:.1f} s.")
    with _new_files(output_dir, outputs) as paths:
        start = time.monotonic()
        with tqdm(total=steps, unit=" steps", disable=not sys.stderr.isatty()) as bar:
            pieces = generation.generate(
                bundle,
                config,
                steps,
                outputs,
                primer,
                temperature,
                seed,
                on_progress=lambda done: bar.update(done - bar.n),
            )
            bar.update(steps - bar.n)
        seconds = time.monotonic() - start
        for path, piece in zip(paths, pieces, strict=True):
            midi_io.sequence_proto_to_midi_file(piece, f"{path}.tmp")
            os.replace(f"{path}.tmp", path)
            print(f"{path}: {len(piece.notes)} notes in {piece.total_time:.1f} s")
    print(
        f"Wrote {outputs} piece(s) by {config.key} (layers {list(bundle.layer_sizes)}, "
        f"temperature {temperature}, seed {seed}) in {seconds:.1f} s to {output_dir}"
    )


@contextlib.contextmanager
def _new_files(output_dir: str, count: int) -> Iterator[list[str]]:
    """Reserves Magenta's file names, `YYYY-mm-dd_HHMMSS_<i>.mid`, of a second not used yet.

    The first file is there, empty, from the beginning, so that a directory that cannot be written
    to is found before the work is done and two runs never take the same names. What is unfinished
    at the end is removed.
    """
    digits = len(str(count))
    for moment in itertools.count(time.time()):
        stamp = time.strftime("%Y-%m-%d_%H%M%S", time.localtime(moment))
        names = [f"{stamp}_{i:0{digits}d}.mid" for i in range(1, count + 1)]
        paths = [os.path.join(output_dir, name) for name in names]
        with contextlib.suppress(FileExistsError), open(paths[0], "x"):
            break
    try:
        yield paths
    finally:
        for path in (f"{path}{suffix}" for path in paths for suffix in ("", ".tmp")):
            if os.path.exists(path) and (path.endswith(".tmp") or not os.path.getsize(path)):
                os.remove(path)


def console_entry_point() -> None:
    cli.run(main)


if __name__ == "__main__":
    console_entry_point()
