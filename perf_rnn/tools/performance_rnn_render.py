"""Renders MIDI files: as sound, as piano rolls (PNG), and as a page that shows and plays them.

Examples:
  performance_rnn_render piece.mid
  performance_rnn_render my_midi --recursive --output_dir=rendered --render=png,html
"""

import os

from absl import flags, logging

from bundles.errors import PerfRnnError
from perf_rnn.tools import cli

FLAGS = flags.FLAGS

flags.DEFINE_multi_string(
    "input",
    None,
    "MIDI file, or directory or zip archive of MIDI files (.mid, .midi, .gz and more). It may also "
    "stand without the flag, several of them too.",
)
flags.DEFINE_string(
    "output_dir", None, "Directory for the files; if not given, that of the first --input."
)
flags.DEFINE_string(
    "render",
    "wav,png,html",
    "What to make: sound (wav, flac or ogg), piano rolls (png), and a page that shows and plays "
    "the pieces (html).",
)
flags.DEFINE_bool("recursive", False, "Also render the MIDI files in subdirectories of --input.")
flags.DEFINE_string(
    "soundfont",
    None,
    "Soundfont (.sf2) for the sound. FluidSynth plays it where its program is installed. If not "
    "given, the one that pretty_midi ships plays.",
)
flags.DEFINE_bool("overwrite", False, cli.OVERWRITE)

# Of so many files it is printed how they were made; a page shows it of any number.
MAX_SHOWN = 10


def main() -> None:
    cli.check_given(input="a MIDI file, or a directory or zip archive of them")
    cli.check_not_empty("output_dir", "soundfont")
    sources = [os.path.expanduser(path) for path in FLAGS.input]
    directory = sources[0] if os.path.isdir(sources[0]) else os.path.dirname(sources[0])
    output_dir = os.path.expanduser(FLAGS.output_dir or directory)

    from perf_rnn import progress, rendering

    formats = rendering.parse_formats(FLAGS.render)
    if not formats:
        raise PerfRnnError(f"--render is empty; give some of {', '.join(rendering.FORMATS)}")
    files = rendering.find_midi_files(sources, FLAGS.recursive)
    endings = [ending for ending in formats if ending != "html"]  # A page is added to.
    paths = (os.path.join(output_dir, f"{name}.{each}") for name in files for each in endings)
    cli.check_new("output_dir", *paths)
    renderer = rendering.Renderer(output_dir, formats, FLAGS.soundfont)
    counts = {"rendered": 0, "skipped": 0, "without notes": 0}
    for name, file in progress.show(files.items(), "rendering", counts, len(files), unit="files"):
        try:
            try:
                piece = rendering.read_piece(file, name)
            except OSError as error:  # Such as a dangling link. A file not written ends the tool.
                raise PerfRnnError(f"{file}: {error.strerror}") from error
            renderer.add(piece)
        except PerfRnnError as error:
            logging.warning("skipped: %s", error)
            counts["skipped"] += 1
            continue
        counts["rendered"] += 1
        if not piece.notes.num_notes:
            logging.warning("%s: has no notes", file)
            counts["without notes"] += 1
        if piece.facts and len(files) <= MAX_SHOWN:
            facts = ", ".join(f"{fact} {value}" for fact, value in piece.facts.items())
            print(cli.printable(f"{file}: {facts}"))
    if not counts["rendered"]:
        raise PerfRnnError(
            f"{', '.join(sources)}: none of the {len(files)} MIDI file(s) could be rendered"
        )
    for path in renderer.finish():
        print(f"Wrote {path}")
    shown = ", ".join(f"{count} {what}" for what, count in counts.items())
    print(f"{shown} ({', '.join(formats)}) in {output_dir or '.'}")


def console_entry_point() -> None:
    cli.run(main, "input")


if __name__ == "__main__":
    console_entry_point()
