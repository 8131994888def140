"""Measures how well a model predicts real performances: nats per event, and where they go.

Examples:
  performance_rnn_evaluate my_midi
  performance_rnn_evaluate my_midi --bundle_file=mine.mag --split_csv=data/split.csv
"""

import os
import time
from typing import Any

from absl import flags

from bundles.atomic_files import atomic_write_json
from perf_rnn.tools import cli

FLAGS = flags.FLAGS
flags.DEFINE_multi_string(
    "input",
    None,
    "Performances that the model was not trained on: a directory or zip archive of MIDI files, to "
    "its depths, one MIDI file, or a TFRecord of NoteSequences. It may also stand without the "
    "flag.",
)
flags.DEFINE_string(
    "bundle_file",
    None,
    "Bundle (.mag) to measure, or the name of a shipped one. Without this and --run_dir, "
    "the bundle shipped for --config.",
)
flags.DEFINE_string("run_dir", None, "Training run whose newest checkpoint is measured.")
flags.DEFINE_string(
    "config",
    None,
    "Config of the model. A bundle or run holds its own, which is checked against this flag. By "
    "default the shipped bundle of performance_with_dynamics is measured.",
)
flags.DEFINE_string(
    "split_csv",
    None,
    "CSV with the columns split and midi_filename, such as perf_rnn dataset writes: "
    "only its validation and test files are measured.",
)
flags.DEFINE_enum(
    "resample_by",
    "sequence",
    ["sequence", "folder"],
    "What the 95 % interval resamples: single pieces, or whole folders. Take folder where each "
    "holds recordings of one composition: they are alike, and single pieces would give too narrow "
    "an interval.",
)
flags.DEFINE_string("output_file", None, "JSON file to write, with every piece's figures.")
flags.DEFINE_bool("overwrite", False, cli.OVERWRITE)

SEED = 0  # Of the intervals' bootstrap.

# The names of the measurements, by how the model is conditioned.
UNCONDITIONED = "unconditioned"
WITH_CONTROLS = "with extracted controls"
WITHOUT_CONTROLS = "conditioning off"


def main() -> None:
    cli.check_given(
        input="a directory of MIDI files, one MIDI file, or a TFRecord of NoteSequences"
    )
    cli.check_not_empty("split_csv")
    output_file = cli.output_file()
    result = _evaluate()
    if output_file:
        atomic_write_json(output_file, result)
    _show(result)
    if output_file:
        print(f"Wrote {output_file}")


def _evaluate() -> dict[str, Any]:
    from perf_rnn import models
    from perf_rnn.data import splits
    from perf_rnn.data.whole_pieces import read_whole_pieces

    model = models.choose_model(FLAGS.config, FLAGS.bundle_file, FLAGS.run_dir)
    config = model.config
    names = None
    if FLAGS.split_csv:
        names = splits.names_in(os.path.expanduser(FLAGS.split_csv), splits.HELD_OUT)
    whole = read_whole_pieces([*map(os.path.expanduser, FLAGS.input)], config, names)
    groups = None
    if FLAGS.resample_by == "folder":
        groups = [os.path.dirname(piece.name) for piece in whole.pieces]
    cli.load_keras()
    from perf_rnn.network.network import network_from_model
    from perf_rnn.training import piece_evaluation

    network = network_from_model(model)
    disabled_by_name = {WITH_CONTROLS if config.control_size else UNCONDITIONED: False}
    if config.conditioning.optional:
        disabled_by_name[WITHOUT_CONTROLS] = True
    results = {}
    start = time.monotonic()
    for what, disabled in disabled_by_name.items():
        sums = piece_evaluation.measure_pieces(network, config, whole.pieces, disabled=disabled)
        results[what] = piece_evaluation.figures(sums, SEED, groups)
    return {
        "model": {
            "name": model.name,
            "config": config.key,
            "layers": list(model.bundle.layer_sizes),
        },
        "input": {
            "path": whole.path,
            "split_csv": FLAGS.split_csv,
            "kind": whole.kind,
            "pieces": len(whole.pieces),
            "left_out": dict(whole.left_out),
        },
        "interval": {
            "share": 0.95,
            "resamples": piece_evaluation.NUM_RESAMPLES,
            "seed": SEED,
            "resampled": len(set(groups or whole.pieces)),
            "resampled_by": FLAGS.resample_by,
        },
        "evaluation_seconds": round(time.monotonic() - start, 1),
        "results": results,
    }


def _show(result: dict[str, Any]) -> None:
    model, data = result["model"], result["input"]
    print(f"{model['name']}: config {model['config']}, layers {model['layers']}")
    held_out = f" (held out by {data['split_csv']})" if data["split_csv"] else ""
    shown = f"{data['path']}{held_out}: {data['kind']}, {data['pieces']} pieces"
    for what, count in data["left_out"].items():
        if count:
            shown += f", {count} {what.replace('_', ' ')} left out"
    print(shown)
    interval = result["interval"]
    resampled = f"{interval['resampled']} {interval['resampled_by']}s"
    print(f"NLL in nats per event; intervals by drawing the {resampled} anew.")
    for what, figures in result["results"].items():
        rows = {"all events": figures["all"], **figures["kinds"]}
        if "not_velocity" in figures:
            rows["all but velocity"] = figures["not_velocity"]
        rows |= figures["positions"]
        print()
        cli.print_table(
            [[what, "events", "NLL", "95 % interval", "perplexity", "accuracy", "NLL/s"]]
            + [[name.replace("_", " "), *_cells(figure)] for name, figure in rows.items()]
        )
    print(f"\nMeasured in {result['evaluation_seconds']} s.")


def _cells(figure: dict[str, Any]) -> list[str]:
    interval = figure["nll_interval"]
    shown = "-" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"
    formats = {"nll": ".4f", "perplexity": ".2f", "accuracy": ".3f", "nll_per_second": ".2f"}
    nll, *others = (
        "-" if figure[name] is None else format(figure[name], form)
        for name, form in formats.items()
    )
    return [f"{figure['events']:,}", nll, shown, *others]


def console_entry_point() -> None:
    cli.run(main, "input")


if __name__ == "__main__":
    console_entry_point()
