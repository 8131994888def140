"""Measures pieces, generated or human: statistics, similarity to a reference set, originality.

Examples:
  performance_rnn_statistics generated
  performance_rnn_statistics generated --reference=my_midi --segment_seconds=30
"""

import os
from typing import Any

from absl import flags

from bundles.atomic_files import atomic_write_json
from bundles.errors import PerfRnnError
from perf_rnn.tools import cli

FLAGS = flags.FLAGS
flags.DEFINE_multi_string(
    "input",
    None,
    "Pieces to measure: a directory or zip archive of MIDI files, to its depths, one MIDI file, or "
    "a TFRecord of NoteSequences. It may also stand without the flag.",
)
flags.DEFINE_string(
    "reference", None, "Pieces to compare them with, such as held-out human ones; like --input."
)
flags.DEFINE_string(
    "training",
    None,
    "Pieces that the model was trained on, to look for passages copied from them; like --input.",
)
flags.DEFINE_string(
    "split_csv",
    None,
    "CSV with the columns split and midi_filename, such as perf_rnn dataset writes: "
    "of --reference only its validation and test files are read, of --training only train.",
)
flags.DEFINE_float(
    "segment_seconds",
    None,
    "Cut the pieces of --input and --reference into parts of this length and measure those, since "
    "ranges and repetitions grow with the length. If not given, whole pieces.",
)
flags.DEFINE_string("output_file", None, "JSON file to write, with every piece's figures.")
flags.DEFINE_bool("overwrite", False, cli.OVERWRITE)

PASSAGES_SHOWN = 3
# How the sets compare, see feature_overlap; the last two by distances within the reference.
COMPARISONS = ("overlap", "divergence", "reference_overlap", "reference_divergence")


def main() -> None:
    cli.check_given(
        input="a directory of MIDI files, one MIDI file, or a TFRecord of NoteSequences"
    )
    if FLAGS.segment_seconds is not None and not 1 <= FLAGS.segment_seconds < float("inf"):
        raise PerfRnnError(f"--segment_seconds={FLAGS.segment_seconds} must be 1 or more")
    cli.check_not_empty("reference", "training", "split_csv")
    if FLAGS.split_csv and not (FLAGS.reference or FLAGS.training):
        raise PerfRnnError("--split_csv divides --reference and --training; neither is given")
    output_file = cli.output_file()
    from perf_rnn.analysis import music_report
    from perf_rnn.data import splits

    # Of each set the splits that it consists of, and the names of their files.
    set_splits = (
        {"reference": splits.HELD_OUT, "training": (splits.TRAIN,)} if FLAGS.split_csv else {}
    )
    set_splits = {name: found for name, found in set_splits.items() if FLAGS[name].value}
    names = {
        name: splits.names_in(os.path.expanduser(FLAGS.split_csv), found)
        for name, found in set_splits.items()
    }
    training = reference = None
    if FLAGS.training:
        path = os.path.expanduser(FLAGS.training)
        training = music_report.TrainingSet(path, names.get("training"))
    seconds = FLAGS.segment_seconds
    measured = music_report.measure([*map(os.path.expanduser, FLAGS.input)], seconds, training)
    if FLAGS.reference:
        path = os.path.expanduser(FLAGS.reference)
        reference = music_report.measure(path, seconds, training, names.get("reference"))
    result = music_report.report(measured, reference, training)
    for name, found in set_splits.items():
        result["sets"][name]["splits"] = f"{', '.join(found)} of {FLAGS.split_csv}"
    if output_file:
        atomic_write_json(output_file, result)
    _show(result)
    if output_file:
        print(f"Wrote {output_file}")


def _show(result: dict[str, Any]) -> None:
    for name, facts in result["sets"].items():
        parts = result["parts"].get(name)
        path = facts["path"] + (f" ({facts['splits']})" if "splits" in facts else "")
        shown = f"{name}: {path}: {_counted(facts['pieces'], 'piece')}"
        if parts is not None and len(parts) != facts["pieces"]:
            shown += f" in {_counted(len(parts), 'part')}"
        for what in ("damaged", "without_notes"):
            if facts[what]:
                shown += f", {facts[what]} {what.replace('_', ' ')} left out"
        print(shown)
    has_reference = "reference" in result["sets"]
    rows = [["mean ± spread of the parts", "input"]]
    not_compared = []
    if has_reference:
        rows[0] += ["reference", *(name.replace("_", " ") for name in COMPARISONS)]
    for name, figure in result["figures"].items():
        label = name.replace("_", " ")
        rows.append([f"{label} ({figure['unit']})", _mean_and_spread(figure["input"])])
        if not has_reference:
            continue
        rows[-1].append(_mean_and_spread(figure["reference"]))
        if "not_compared" in figure:
            rows[-1] += ["-"] * len(COMPARISONS)
            not_compared.append(f"{label}: not compared, {figure['not_compared']}")
        else:
            rows[-1] += [f"{figure[comparison]:.3f}" for comparison in COMPARISONS]
    print()
    cli.print_table(rows)
    print("\n".join(not_compared), end="\n" if not_compared else "")
    if has_reference:
        _show_frechet(result["frechet"])
    _show_minutes(result["minutes"]["input"])
    if "training" in result["sets"]:
        _show_passages(result)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _mean_and_spread(summary: dict[str, Any]) -> str:
    if not summary["count"]:
        return "-"
    return f"{summary['mean']:.3f} ± {summary['spread']:.3f}"


def _show_frechet(found: dict[str, Any]) -> None:
    if "not_compared" in found:
        print(f"\nNo Fréchet distance: {found['not_compared']}")
    else:
        print(
            f"\nFréchet distance over all features but passages: {found['frechet']:.2f}; halves of "
            f"the reference are {found['halves_median']:.2f} apart, 95 % of them less than "
            f"{found['halves_95_percent']:.2f}"
        )


def _show_minutes(minutes: list[dict[str, Any]]) -> None:
    if len(minutes) < 2:
        return
    shown = ("note_density", "velocity_mean", "polyphony", "repeated_ngrams", "silence")
    rows = [["minute", "pieces", *(name.replace("_", " ") for name in shown)]]
    for minute in minutes:
        values = (minute[name] for name in shown)
        texts = ("-" if value is None else f"{value:.3f}" for value in values)
        rows.append([str(minute["minute"]), str(minute["pieces"]), *texts])
    print()
    cli.print_table(rows)


def _show_passages(result: dict[str, Any]) -> None:
    parts = [part for part in result["parts"]["input"] if "passage" in part]
    print("\nLongest passages that stand in a training piece too:")
    for part in sorted(parts, key=lambda part: -part["longest_passage"])[:PASSAGES_SHOWN]:
        passage = part["passage"]
        print(
            f"  {part['longest_passage']} notes of {part['piece']} from "
            f"{part['start'] + passage['start_time']:.1f} s, in {passage['training_piece']} from "
            f"{passage['training_time']:.1f} s, {passage['transposition']:+d} semitones"
        )
    if "suspicious" in result:
        print(
            f"{len(result['suspicious'])} of the {len(result['parts']['input'])} parts copy more, "
            "by longest passage or by share of notes, than 95 % of the reference's parts do."
        )


def console_entry_point() -> None:
    cli.run(main, "input")


if __name__ == "__main__":
    console_entry_point()
