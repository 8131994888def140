"""Generates piano performances as MIDI files, or saves a training run as a bundle.

Examples:
  performance_rnn_generate --output_dir=generated --num_outputs=3 --seconds=60 --render=wav,png,html
  performance_rnn_generate mine.mid --output_dir=continued --max_primer_seconds=20 --seconds=120
"""

import contextlib
import dataclasses
import itertools
import os
import re
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from absl import flags

import perf_rnn
from bundles.atomic_files import make_directory
from bundles.errors import PerfRnnError
from perf_rnn.generation.presets import PRESETS
from perf_rnn.tools import cli

if TYPE_CHECKING:
    from perf_rnn.generation.generate import GeneratedPiece, GenerationOptions
    from perf_rnn.generation.primers import Primer
    from perf_rnn.models import Model
    from perf_rnn.notes.arrays import NoteArrays

FLAGS = flags.FLAGS
flags.DEFINE_string("output_dir", "/tmp/performance_rnn/generated", "Where the MIDI files go.")
flags.DEFINE_integer("num_outputs", 10, "Pieces to generate.", lower_bound=1)
flags.DEFINE_float("seconds", None, "Length of each piece, primer included; 30 if not given.")
flags.DEFINE_integer("num_steps", None, "The same in steps of 10 ms.", lower_bound=2)
flags.DEFINE_integer(
    "seed", None, "The same seed gives the same pieces; if not given, a new one.", lower_bound=0
)
flags.DEFINE_string(
    "render",
    "",
    "What to make beside the MIDI files: sound (wav, flac or ogg), piano rolls (png), and a page "
    "to hear and see the pieces on (html), as in --render=wav,png,html.",
)
flags.DEFINE_string(
    "temperature",
    "1.0",
    "Above 0: below 1 plays safer, above 1 wilder. Or a list spread over the piece, such as "
    "'[0.8,1.2]': 0.8 in its first half, 1.2 in its second.",
)
flags.DEFINE_string("primer_pitches", "", "Begin with a chord, such as '[60,64,67]'.")
flags.DEFINE_string(
    "primer_melody",
    "",
    "Begin with a melody in sixteenths at 120 beats a minute, such as '[60,-2,62,-2,64]': a MIDI "
    "pitch strikes a note, -2 holds it, -1 ends it. --primer_pitches goes first.",
)
flags.DEFINE_string(
    "primer_midi",
    "",
    "Begin with a MIDI file, whose name may also stand without the flag. --primer_pitches and "
    "--primer_melody go first.",
)
flags.DEFINE_float(
    "max_primer_seconds",
    None,
    "Let the network read no more than so much of the primer, such as 20; all of it if not given. "
    "Silence before its first note does not count.",
    lower_bound=0.01,
)
flags.DEFINE_enum(
    "primer_from",
    "start",
    ["start", "end"],
    "Which part of the primer that is: its first seconds, or its last, to continue a recording. "
    "What a recording has before these comes on top of the pieces' length.",
)
flags.DEFINE_string(
    "infill",
    None,
    "Seconds of the primer that are played anew, so that they lead into what follows, such as "
    "'[40,48]'. The pieces are as long as the primer.",
)
flags.DEFINE_enum(
    "output",
    "joined",
    ["joined", "continuation"],
    "joined: what was played, note for note, and its continuation. continuation: that alone.",
)
flags.DEFINE_string(
    "notes_per_second",
    None,
    "How many notes a model with note density is to play in a second: a number, or a list spread "
    "over the piece, such as '[2,16,4]': 2 in its first third, 16 in its second, 4 in its last.",
)
flags.DEFINE_string(
    "pitch_class_histogram",
    None,
    "Which pitch classes a model with pitch histograms is to play: a scale such as 'C major', "
    "'F# dorian' or e_flat_whole_tone; or 12 weights from C to B, such as "
    "'[2,0,1,0,1,1,0,1,0,1,0,1]'; or a list of these spread over the piece, such as "
    "'[C major,A minor]'.",
)
flags.DEFINE_enum(
    "preset",
    None,
    list(PRESETS),
    "A mood: density and scale for a model that has both. Each gives way to the flag of its own.",
)
flags.DEFINE_string(
    "disable_conditioning",
    None,
    "Whether a model with optional conditioning plays without it: True, False, or a list spread "
    "over the piece, such as '[False,True]'.",
)
flags.DEFINE_float(
    "guidance",
    1.0,
    "How far a model with optional conditioning goes in the direction of its controls: 1 is what "
    "it was trained for, 2 follows them more closely, with two passes of the network an event.",
)
flags.DEFINE_string(
    "config",
    None,
    "Config of the model. A bundle or run holds its own, which is checked against this flag. By "
    "default the shipped bundle of performance_with_dynamics plays.",
)
flags.DEFINE_string(
    "bundle_file",
    None,
    "Bundle (.mag) that plays, or the name of a shipped one; with "
    "--save_generator_bundle, the file to write. Without this and --run_dir, the bundle shipped "
    "for --config plays.",
)
flags.DEFINE_string("run_dir", None, "Training run whose newest checkpoint plays.")
flags.DEFINE_enum(
    "ending",
    "cut",
    ["cut", "release", "rest"],
    "How a piece ends. cut: at its length, with all that sounds. release: no note is struck after "
    "its length, and those that sound end by themselves. rest: the same, at the longest pause "
    "within the next ten seconds.",
)
flags.DEFINE_bool(
    "pedal",
    False,
    "Write the sustain pedal (CC 64), with keys that go up while it is down. By default each note "
    "is as long as it sounds. Both sound the same.",
)
flags.DEFINE_float(
    "tempo",
    None,
    "Quarter notes a minute that the MIDI file says; if not given, those of the primer's file, or "
    "120. What is played is the same.",
    lower_bound=10,
    upper_bound=1000,
)
flags.DEFINE_integer(
    "transpose",
    0,
    "Semitones by which the pieces are moved, primer included.",
    lower_bound=-12,
    upper_bound=12,
)
flags.DEFINE_string(
    "soundfont",
    None,
    "Soundfont (.sf2) for the sound. FluidSynth plays it where its program is installed. If not "
    "given, the one that pretty_midi ships plays.",
)
flags.DEFINE_integer("top_k", None, "Draw only from this many most probable events, such as 50.")
flags.DEFINE_float(
    "top_p",
    None,
    "Draw only from the most probable events whose probabilities add up to this, such as 0.95.",
)
flags.DEFINE_float(
    "min_p",
    None,
    "Draw only from events at least this many times as probable as the most probable, such as "
    "0.02.",
)
flags.DEFINE_bool(
    "legal_events",
    True,
    "Leave out events that no piano could play: a note off for a silent key, a note on for one "
    "that is down, a note held for more than 5 s, endless silence. --nolegal_events draws freely, "
    "as Magenta does.",
)
flags.DEFINE_float(
    "pitch_min_p",
    0.05,
    "With legal events: strike only pitches at least this many times as probable as the most "
    "probable one, which leaves out wrong notes; 0: all.",
)
flags.DEFINE_integer(
    "beam_size", 1, "Beam search: how many pieces are kept at each iteration.", lower_bound=1
)
flags.DEFINE_integer(
    "branch_factor",
    1,
    "Beam search: how many times each piece is continued at each iteration.",
    lower_bound=1,
)
flags.DEFINE_integer(
    "steps_per_iteration",
    1,
    "Beam search: events by which each is continued before the most probable are kept.",
    lower_bound=1,
)
flags.DEFINE_bool(
    "save_generator_bundle", False, "Save the run of --run_dir as --bundle_file instead of playing."
)
flags.DEFINE_string("bundle_description", "", "A sentence to put into the saved bundle.")
flags.DEFINE_bool("overwrite", False, "Replace a bundle that is there already.")
flags.DEFINE_string(
    "hparams", "", "Not needed: a model has its own. Checked against its layers if given."
)

SAMPLING_FLAGS = ("top_k", "top_p", "min_p", "legal_events", "pitch_min_p", "guidance")
BEAM_FLAGS = ("beam_size", "branch_factor", "steps_per_iteration")
CONTROL_FLAGS = ("notes_per_second", "pitch_class_histogram")
# Flags that say where files are. In a MIDI file they stand without their folders.
PATH_FLAGS = ("run_dir", "bundle_file", "primer_midi")
# Flags that do not change the music.
OTHER_FLAGS = ("output_dir", "num_outputs", "seed", "render", "soundfont", "hparams")
TRACK_NAME = "Performance RNN"


def _values(names: tuple[str, ...]) -> dict[str, Any]:
    return {name: FLAGS[name].value for name in names if FLAGS[name].value is not None}


def _controls(model: "Model") -> dict[str, Any]:
    from perf_rnn.generation.control_schedule import check_controls

    preset = PRESETS.get(FLAGS.preset, {})
    try:
        check_controls(model.config.conditioning, preset)
    except PerfRnnError as error:
        raise PerfRnnError(f"--preset={FLAGS.preset}: {error}") from error
    return {**preset, **_values(CONTROL_FLAGS)}


def _model() -> "Model":
    """Returns the model that the flags name."""
    from perf_rnn import models

    bundle_file = None if FLAGS.save_generator_bundle else FLAGS.bundle_file
    model = models.choose_model(FLAGS.config, bundle_file, FLAGS.run_dir)
    layer_sizes = tuple(model.bundle.layer_sizes)
    own = dataclasses.replace(model.config.hparams, rnn_layer_sizes=layer_sizes)
    asked = own.parse(FLAGS.hparams)
    if asked.rnn_layer_sizes != own.rnn_layer_sizes:
        raise PerfRnnError(
            f"--hparams says rnn_layer_sizes={list(asked.rnn_layer_sizes)}, but the model's "
            f"layers are {list(own.rnn_layer_sizes)}"
        )
    return model


def _primer() -> "Primer | None":
    from perf_rnn.generation import primers

    primer: Any = None
    if FLAGS.primer_pitches:
        primer = primers.from_pitches(FLAGS.primer_pitches)
    elif FLAGS.primer_melody:
        primer = primers.from_melody(FLAGS.primer_melody)
    elif FLAGS.primer_midi:
        primer = os.path.expanduser(FLAGS.primer_midi)
    return primers.from_arguments(
        primer, None, FLAGS.max_primer_seconds, FLAGS.primer_from, FLAGS.infill
    )


def _options(model: "Model") -> "GenerationOptions":
    from perf_rnn.events.controls import parse_disabled
    from perf_rnn.generation import generate as generation
    from perf_rnn.generation.options import BeamOptions, SamplingOptions

    disabled, primer = FLAGS.disable_conditioning, _primer()
    return generation.GenerationOptions(
        generation.length_in_steps(FLAGS.seconds, FLAGS.num_steps, primer),
        FLAGS.num_outputs,
        generation.new_seed() if FLAGS.seed is None else FLAGS.seed,
        primer,
        SamplingOptions(generation.parse_temperature(FLAGS.temperature), **_values(SAMPLING_FLAGS)),
        BeamOptions(**_values(BEAM_FLAGS)),
        generation.parse_controls(model.config.conditioning, _controls(model)),
        None if disabled is None else parse_disabled(disabled),
        FLAGS.ending,
    )


def main() -> None:
    if FLAGS.save_generator_bundle:
        if not (FLAGS.run_dir and FLAGS.bundle_file):
            raise PerfRnnError("--save_generator_bundle needs --run_dir and --bundle_file")
        cli.check_new("bundle_file", os.path.expanduser(FLAGS.bundle_file))
    model = _model()
    if FLAGS.save_generator_bundle:
        _save(model)
        return
    try:
        _generate(model)
    except PerfRnnError as error:
        # What Python's functions call an argument is a flag here.
        pattern = r"^\w+(?=:? |=)|(?<=[ (])\w+(?==)"
        raise PerfRnnError(re.sub(pattern, _as_flag, str(error))) from error


def _as_flag(name: re.Match[str]) -> str:
    return f"--{name[0]}" if name[0] in FLAGS else name[0]


def _save(model: "Model") -> None:
    import bundles

    cli.load_tensorflow()
    path = os.path.expanduser(FLAGS.bundle_file)
    bundle = dataclasses.replace(model.bundle, bundle_description=FLAGS.bundle_description)
    bundles.write_bundle(path, bundle)
    size = f"layers {list(bundle.layer_sizes)}, {bundle.num_parameters:,} weights"
    print(f"Wrote {path}: {bundle.id}, {size}")


def _generate(model: "Model") -> None:
    from tqdm import tqdm

    from perf_rnn import rendering
    from perf_rnn.generation import generate as generation

    options = _options(model)
    formats = rendering.parse_formats(FLAGS.render)
    cli.check_not_empty("output_dir", "soundfont")
    output_dir = os.path.expanduser(FLAGS.output_dir)
    steps = options.num_steps
    primer = options.primer
    primer_seconds = primer.notes.total_time if primer else 0.0
    played_until = primer.end if primer and FLAGS.output == "joined" else 0.0
    if 0 < primer_seconds < steps / 100:
        played = steps / 100 - primer_seconds
        print(f"The network reads {primer_seconds:.1f} s of the primer and plays {played:.1f} s.")
    with _new_files(output_dir, options.num_outputs) as paths:
        renderer = rendering.Renderer(output_dir, formats, FLAGS.soundfont)
        start = time.monotonic()
        with tqdm(total=steps, unit=" steps", disable=not sys.stderr.isatty()) as bar:
            pieces = generation.generate_pieces(
                model,
                options,
                on_progress=lambda done: bar.update(min(done, steps) - bar.n),
                with_nll="html" in formats,
            )
            bar.update(steps - bar.n)
        seconds = time.monotonic() - start
        shown = []
        for number, (path, piece) in enumerate(zip(paths, pieces, strict=True), 1):
            facts: dict[str, Any] = {
                "bundle": model.bundle.id,
                "seed": options.seed,
                "number": number,
                "temperature": FLAGS.temperature,
                **_controls(model),
                **_values(("disable_conditioning",)),
                **({} if piece.nll is None else {"NLL": round(piece.nll, 3)}),
                "flags": _flags_given(),
                "perf_rnn": perf_rnn.__version__,
            }
            shown.append(rendering.write_piece(path, _as_asked(piece), facts, played_until))
    # All MIDI files, and the page of them, are there before the slow rendering, and before output
    # that may not be read.
    if "html" in formats:
        page = rendering.Renderer(output_dir, ["html"])
        for shown_piece in shown:
            page.add(shown_piece)
        page.finish()
    for shown_piece in shown:
        notes = shown_piece.notes
        print(f"{shown_piece.path}: {notes.num_notes} notes in {notes.total_time:.1f} s")
    for shown_piece in shown:
        for rendered in renderer.add(shown_piece):
            print(rendered)
    for rendered in renderer.finish():
        print(rendered)
    print(
        f"Wrote {options.num_outputs} piece(s) by {model.config.key} "
        f"(layers {list(model.bundle.layer_sizes)}, temperature {FLAGS.temperature}, "
        f"seed {options.seed}) in {seconds:.1f} s to {output_dir}"
    )


def _as_asked(piece: "GeneratedPiece") -> "NoteArrays":
    """Returns the notes of a piece as its MIDI file is to hold them."""
    from perf_rnn.notes.midi_writer import DEFAULT_QPM, at_tempo
    from perf_rnn.notes.pedal import with_pedal
    from perf_rnn.notes.transforms import transpose

    if FLAGS.pedal:
        piece = dataclasses.replace(piece, continuation=with_pedal(piece.continuation))
    notes = transpose(
        piece.notes if FLAGS.output == "joined" else piece.continuation, FLAGS.transpose
    )
    if notes is None:
        raise PerfRnnError(f"--transpose={FLAGS.transpose} moves notes beyond MIDI's 128 pitches")
    if FLAGS.tempo or not len(notes.tempo_time):  # Else it goes on in the recording's tempos.
        notes = at_tempo(notes, FLAGS.tempo or DEFAULT_QPM)
    names = {0: TRACK_NAME, **dict(notes.instrument_names)}
    return notes.replace(instrument_names=tuple(names.items()))


def _flags_given() -> str:
    """Returns the flags of this command that say what is played."""
    shown = []
    for flag in FLAGS.get_flags_for_module(__name__):
        if flag.present and flag.name in PATH_FLAGS:
            shown.append(f"--{flag.name}={os.path.basename(str(flag.value))}")
        elif flag.present and flag.name not in OTHER_FLAGS:
            shown.append(flag.serialize())
    return " ".join(shown)


@contextlib.contextmanager
def _new_files(output_dir: str, count: int) -> Iterator[list[str]]:
    """Reserves Magenta's file names, `YYYY-mm-dd_HHMMSS_<i>.mid`, of a second not used yet.

    The first file is there, empty, from the beginning, so that a directory that cannot be written
    to is found before the work is done and two runs never take the same names. What is unfinished
    at the end is removed, and so is the directory if it was made here and holds nothing.
    """
    is_new = not os.path.exists(output_dir)
    make_directory(output_dir)
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
        if os.path.exists(paths[0]) and not os.path.getsize(paths[0]):
            os.remove(paths[0])
        if is_new:
            with contextlib.suppress(OSError):  # It holds something.
                os.rmdir(output_dir)


def console_entry_point() -> None:
    cli.run(main, "primer_midi")


if __name__ == "__main__":
    console_entry_point()
