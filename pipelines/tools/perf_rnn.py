"""One command for all tools: `perf_rnn play --seconds=60` is `performance_rnn_generate ...`."""

import difflib
import importlib
import sys

# By the name of each command its tool and what it does.
COMMANDS = {
    "play": ("perf_rnn.tools.performance_rnn_generate", "make music, as MIDI, sound and pictures"),
    "continue": (
        "perf_rnn.tools.performance_rnn_generate",
        "go on from the end of a recording: perf_rnn continue mine.mid",
    ),
    "studio": (
        "perf_rnn.tools.performance_rnn_studio",
        "play live in the browser, alone or with you",
    ),
    "render": ("perf_rnn.tools.performance_rnn_render", "MIDI files as sound, pictures and a page"),
    "learn": (
        "pipelines.tools.performance_rnn_learn",
        "from a folder of MIDI files to a network that plays like them",
    ),
    "dataset": ("pipelines.tools.performance_rnn_create_dataset", "training data from MIDI files"),
    "train": ("perf_rnn.tools.performance_rnn_train", "train a network on that data"),
    "pack": ("perf_rnn.tools.performance_rnn_pack", "a training for a machine without Internet"),
    "evaluate": ("perf_rnn.tools.performance_rnn_evaluate", "how well a network predicts music"),
    "statistics": ("perf_rnn.tools.performance_rnn_statistics", "how pieces compare with others"),
    "bundle": ("perf_rnn.tools.performance_rnn_bundle", "what is in a .mag file; conversion"),
    "convert": (
        "pipelines.tools.convert_dir_to_note_sequences",
        "MIDI, MusicXML and ABC files as NoteSequences",
    ),
}
# Flags that `perf_rnn continue` gives its tool, before those of the user.
CONTINUE = ("--primer_from=end", "--max_primer_seconds=20", "--seconds=50")
HELP = ("-h", "-help", "--help")


def main() -> None:
    """Runs the command that the first argument names with the others."""
    command, *arguments = sys.argv[1:] or ["--help"]
    if command in (*HELP, "help"):
        print(_help())
    elif command == "--version":
        import perf_rnn

        print(f"perf_rnn {perf_rnn.__version__}")
    elif command == "continue" and not arguments:
        sys.exit("ERROR: which recording is to be continued? perf_rnn continue mine.mid")
    elif command in COMMANDS:
        module, _ = COMMANDS[command]
        if command == "continue":
            command, arguments = "play", _continuing(arguments)
        sys.argv = [f"perf_rnn {command}", *arguments]
        importlib.import_module(module).console_entry_point()
    else:
        sys.exit(f"ERROR: there is no command {command!r}{_nearest(command)}; see perf_rnn --help")


def _continuing(arguments: list[str]) -> list[str]:
    """Returns what `perf_rnn play` is given in place of `perf_rnn continue`."""
    if {*HELP} & {*arguments}:
        print("perf_rnn continue mine.mid is short for")
        print(f"  perf_rnn play mine.mid {' '.join(CONTINUE)}\n", flush=True)
    names = {argument.lstrip("-").partition("=")[0] for argument in arguments}
    has_length = names & {"num_steps", "infill"}
    return [*(CONTINUE[:-1] if has_length else CONTINUE), *arguments]


def _help() -> str:
    width = max(map(len, COMMANDS))
    shown = [f"  {name:{width}}  {summary}" for name, (_, summary) in COMMANDS.items()]
    return "\n".join(
        [
            "A network that has listened to pianists and improvises.",
            "",
            "Commands:",
            *shown,
            "",
            "Examples:",
            "  perf_rnn play --output_dir=generated --seconds=60 --render=wav,png,html",
            "  perf_rnn studio",
            "  perf_rnn render piece.mid",
            "",
            "perf_rnn play --help shows the flags of a command.",
        ]
    )


def _nearest(command: str) -> str:
    """Returns the command that is meant, by its own name or that of its tool."""
    names = {name: name for name in COMMANDS}
    for name, (module, _) in COMMANDS.items():
        names.setdefault(module.rpartition("_")[2], name)
    found = difflib.get_close_matches(command.removeprefix("performance_rnn_"), names, 1)
    return f"; perhaps {names[found[0]]}" if found else ""


if __name__ == "__main__":
    main()
