"""Opens a page on which the network plays live and one can play along, or writes it as a folder.

Examples:
  performance_rnn_studio
  performance_rnn_studio mine.mag --output_dir=site --title='My piano'
"""

import contextlib
import os
import shlex
import threading
import webbrowser

from absl import flags

from perf_rnn.tools import cli

FLAGS = flags.FLAGS
flags.DEFINE_string(
    "bundle_file",
    None,
    "Bundle (.mag) that plays, or the name of a shipped one; it may also stand without "
    "the flag. Without this and --run_dir, the bundle shipped for --config plays.",
)
flags.DEFINE_string(
    "output_dir",
    None,
    "Write the page as a new folder for any web server, instead of opening it.",
)
flags.DEFINE_string("title", None, "The page's heading.")
flags.DEFINE_string("description", None, "A sentence below the heading.")
flags.DEFINE_string("run_dir", None, "Training run whose newest checkpoint plays.")
flags.DEFINE_string(
    "config",
    None,
    "Config of the model. A bundle or run holds its own, which is checked against this flag. By "
    "default the shipped bundle of performance_with_dynamics plays.",
)
flags.DEFINE_enum(
    "weights",
    "float16",
    ["float32", "float16", "int8"],
    "How the page stores the weights: float32 plays exactly what perf_rnn play plays, "
    "float16 takes half of its bytes, int8 a quarter.",
)
flags.DEFINE_string(
    "soundfont", None, "Soundfont (.sf2 or .sf3) to play instead of the page's own piano."
)
flags.DEFINE_integer("port", 8137, "Port on this machine; 0: a free one.", 0, 65535)
flags.DEFINE_bool("open_browser", True, "Open the page in the browser.")


def main() -> None:
    cli.check_not_empty("output_dir", "soundfont", "title", "description")
    directory = FLAGS.output_dir and os.path.expanduser(FLAGS.output_dir)
    if directory:
        cli.check_new("output_dir", directory)

    from perf_rnn import models
    from perf_rnn.studio.server import Server
    from perf_rnn.studio.site import DESCRIPTION, TITLE, make_site, write_site

    model = models.choose_model(FLAGS.config, FLAGS.bundle_file, FLAGS.run_dir)
    files = make_site(
        model,
        FLAGS.weights,
        FLAGS.soundfont,
        FLAGS.title or TITLE,
        FLAGS.description or DESCRIPTION,
    )
    if directory:
        write_site(directory, files)
        size = sum(len(file.data) for file in files.values())
        print(f"Wrote {directory}: {len(files)} files, {size / 1e6:.1f} MB")
        serve = ["python3", "-m", "http.server", "--bind=127.0.0.1", f"--directory={directory}"]
        print(f"To try it: {shlex.join(serve)}")
        return
    with Server(files, FLAGS.port) as server, contextlib.suppress(KeyboardInterrupt):
        print(f"Open {server.url} in a browser; Ctrl-C ends.", flush=True)
        if FLAGS.open_browser:
            # Some browsers return only when they are closed.
            threading.Thread(target=webbrowser.open, args=(server.url,), daemon=True).start()
        server.serve_forever()


def console_entry_point() -> None:
    cli.run(main, files="bundle_file")


if __name__ == "__main__":
    console_entry_point()
