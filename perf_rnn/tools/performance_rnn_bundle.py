"""Shows what is in a bundle (.mag), unpacks it, or converts it.

Examples:
  performance_rnn_bundle mine.mag
  performance_rnn_bundle mine.mag --convert_to=keras --output_file=network.keras
"""

import dataclasses
import os
from typing import Any

from absl import flags

from bundles.errors import PerfRnnError
from perf_rnn.tools import cli

FLAGS = flags.FLAGS
flags.DEFINE_string(
    "bundle_file",
    None,
    "The bundle (.mag), or the name of a shipped one. It may also stand without the flag.",
)
flags.DEFINE_bool(
    "inspect", False, "Print a summary. Done without this flag where nothing else is asked for."
)
flags.DEFINE_string(
    "output_dir",
    None,
    "Unpack into this new directory: model.ckpt and model.ckpt.meta, weights.npz, "
    "details.textproto, extra.json.",
)
flags.DEFINE_enum(
    "convert_to",
    None,
    ["keras", "mag", "saved_model"],
    "Write --output_file. keras: a .keras file. mag: a bundle as Magenta 2.1.4 would write it, "
    "whichever way this one is written. saved_model: a TensorFlow SavedModel of one step of the "
    "network, which takes and gives its states.",
)
flags.DEFINE_string(
    "output_file", None, "What --convert_to writes; for saved_model a new directory."
)
flags.DEFINE_bool("overwrite", False, cli.OVERWRITE)


def _inspect(path: str) -> None:
    import bundles
    from perf_rnn import models

    def show(facts: dict[str, str]) -> None:
        for label, text in facts.items():
            print(f"{label + ':':21} {text}")

    show(bundles.describe_file(path))
    try:
        config = models.load_model(bundles.read_bundle(path)).config.key
    except bundles.BundleError:
        raise
    except ValueError as error:
        config = f"none: {error}"
    show({"config": config, **bundles.describe_network(path)})


def _convert(path: str, kind: str, output: str) -> None:
    import bundles
    import perf_rnn
    from perf_rnn import models

    bundle = bundles.read_bundle(path)
    if kind == "mag":
        cli.load_tensorflow()
        extra: dict[str, Any] = {"perf_rnn_version": perf_rnn.__version__, **bundle.extra}
        bundles.write_bundle(output, dataclasses.replace(bundle, extra=extra))
    else:
        cli.load_keras()
        from perf_rnn.network import export

        save = {
            "keras": export.save_keras_model,
            "saved_model": export.save_saved_model,
        }[kind]
        save(output, models.load_model(bundle))
    print(f"Wrote {output}")


def main() -> None:
    cli.check_given(bundle_file="the bundle (.mag) to look into")
    cli.check_not_empty("output_dir")
    if bool(FLAGS.convert_to) != bool(FLAGS.output_file):
        raise PerfRnnError("--convert_to and --output_file go together; give both or neither")
    import bundles
    from perf_rnn.models import check_exists, shipped_bundle

    path = str(shipped_bundle(FLAGS.bundle_file) or os.path.expanduser(FLAGS.bundle_file))
    check_exists(path)
    outputs = {"output_dir": FLAGS.output_dir, "output_file": FLAGS.output_file}
    written = {name: os.path.expanduser(output) for name, output in outputs.items() if output}
    for name, output in written.items():
        cli.check_new(name, output)
    if FLAGS.inspect or not written:
        _inspect(path)
    if directory := written.get("output_dir"):
        names = bundles.unpack_bundle(path, directory)
        print(f"Wrote {directory}: {', '.join(names)}")
    if output_file := written.get("output_file"):
        _convert(path, FLAGS.convert_to, output_file)


def console_entry_point() -> None:
    cli.run(main, "bundle_file")


if __name__ == "__main__":
    console_entry_point()
