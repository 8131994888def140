"""SECURITY.md states the limits that the code has."""

import pathlib

from bundles import bundle, files, metagraph, regular_files
from perf_rnn.data import examples, splits
from perf_rnn.notes import arrays, midi, midi_tracks, scores, transforms
from perf_rnn.rendering import audio, page
from perf_rnn.studio import site

ROOT = pathlib.Path(__file__).parent.parent


def test_limits():
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    rows = text.partition("## Limits\n\n")[2].partition("\n\n")[0].splitlines()[2:]
    table = dict(row.strip("|").split("|") for row in rows)

    def mib(num_bytes):
        return f"{num_bytes >> 20:,} MiB"

    hours = f"{transforms.MAX_SECONDS // 3600} hours"
    process = (
        f"{scores.READ_SECONDS:.0f} seconds and {scores.READ_MEMORY_BYTES >> 30} GiB in a process "
        f"of its own; {hours} of music"
    )
    expected = {
        "MIDI file, unpacked": f"{mib(midi.MAX_BYTES)}; {midi.MAX_NOTES:,} notes; "
        f"{midi_tracks.MAX_TRACKS:,} tracks; {hours}",
        "MusicXML file, unpacked": f"{mib(scores.MAX_XML_BYTES)}; {process}",
        "ABC file": f"{mib(scores.MAX_XML_BYTES)}, {scores.MAX_TUNE_BYTES >> 10} KiB a tune; "
        + process,
        "NoteSequence in a TFRecord": f"{mib(arrays.MAX_PROTO_BYTES)}; {arrays.MAX_ROWS:,} notes "
        f"or other events of one kind; {hours}",
        "training example in a TFRecord": f"{mib(examples.MAX_EXAMPLE_BYTES)}; "
        f"{examples.MAX_EVENT_INDICES:,} integers",
        "TFRecord file": "none: one record is in memory at a time",
        "bundle": f"{mib(files.MAX_BUNDLE_BYTES)}; its graph {mib(metagraph._MAX_BYTES)}, or its "
        f"facts are not read; attention over {bundle._MAX_ATTENTION_LENGTH:,} outputs",
        "checkpoint, `model.npz`": "arrays take no more memory than the file has bytes",
        "`run.json` and other JSON files of a run": mib(regular_files.MAX_JSON_BYTES),
        "split CSV": mib(splits.MAX_CSV_BYTES),
        "`index.html`": mib(page.MAX_PAGE_BYTES),
        "soundfont": f"{mib(audio.MAX_SOUNDFONT_BYTES)}, but for FluidSynth; of a studio "
        + mib(site.MAX_SOUNDFONT_BYTES),
    }
    assert table == expected
