"""Measures the studio's duet: a player's right hand is given, the network plays below it.

    python benchmarks/studio_duet.py ASAP [--maestro=MAESTRO] [--pieces=20] [--seeds=3]

Of pieces that are held out, the notes from middle C on are the keys of the player; the network has
the register below. Needs node. Prints, and writes to `studio_duet.json`, medians over all duets:

- notes a second of the network, of the human hand below middle C, and of the model alone;
- the share of the network's notes in harmony: of a pitch class that is among the keys within a
  second, if any are; the same for the keys of another piece, which is chance; and the same two of
  the human hand below;
- the longest silence of the network in seconds;
- events that no piano could play, and notes that came too late.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import numpy as np

from perf_rnn.data.splits import read_splits
from perf_rnn.generation.options import DEFAULT_OPTIONS
from perf_rnn.models import load_model
from perf_rnn.notes.music_files import read_midi_file
from perf_rnn.notes.transforms import apply_sustain
from perf_rnn.studio import model_file

ROOT = pathlib.Path(__file__).parents[1]
ENGINE = ROOT / "perf_rnn" / "studio" / "web" / "engine"
DRIVER = ROOT / "tests" / "perf_rnn" / "studio" / "drive_engine.mjs"
SPLIT = 60
SECONDS = 29  # The engine forgets events after 30 s; all are checked.
NEAR = 1.0
SETTINGS = {
    "temperature": 1.0,
    "top_p": None,
    "min_p": None,
    "pitch_min_p": DEFAULT_OPTIONS.pitch_min_p,
    "loudness": 0.0,
    "guidance": 1.0,
    "notes_per_second": None,
    "pitch_class_histogram": None,
    "pause": 1.0,
    "split": SPLIT,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("asap", type=pathlib.Path)
    parser.add_argument("--maestro", type=pathlib.Path)
    parser.add_argument("--pieces", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    model = load_model("performance_with_dynamics")
    files = held_out(arguments.asap, arguments.maestro)[: arguments.pieces]
    played = [excerpt(file) for file in files]
    seeds = range(arguments.seeds)
    jobs = [job("duet", seed, keys_of(notes)) for notes in played for seed in seeds]
    jobs += [job("alone", seed, []) for seed in seeds]
    *duets, alone = np.array_split(np.array(run(model, jobs), object), [len(jobs) - len(seeds)])
    rows = []
    for number, result in enumerate(duets[0]):
        notes = played[number // len(seeds)]
        own = [(note["start"], note["pitch"]) for note in result["notes"]]
        keys, below = notes[:, notes[2] >= SPLIT], notes[:, notes[2] < SPLIT]
        other = played[(number // len(seeds) + 1) % len(played)]
        others = other[:, other[2] >= SPLIT]
        hand = list(zip(below[0], below[2], strict=True))
        rows.append(
            {
                "network": len(own) / SECONDS,
                "human": np.sum(notes[2] < SPLIT) / SECONDS,
                "harmony": harmony(own, keys),
                "chance": harmony(own, others),
                "human harmony": harmony(hand, keys),
                "human chance": harmony(hand, others),
                "longest silence": np.diff(sorted([0.0, *(time for time, _ in own)])).max(),
                "illegal": illegal(model, result["entries"]),
                "late": result["late"],
                "in the player's register": sum(pitch >= SPLIT for _, pitch in own),
            }
        )
    result = {name: float(np.nanmedian([row[name] for row in rows])) for name in rows[0]}
    for name in ("illegal", "late", "in the player's register"):
        result[name] = int(sum(row[name] for row in rows))
    result["alone"] = float(np.median([len(each["notes"]) / SECONDS for each in alone]))
    result["duets"] = len(rows)
    quotients = [row["network"] / row["human"] for row in rows if row["human"]]
    result["network / human"] = [float(np.quantile(quotients, q)) for q in (0.1, 0.5, 0.9)]
    text = json.dumps(result, indent=1)
    print(text)
    pathlib.Path(__file__).with_suffix(".json").write_text(text + "\n")


def held_out(asap: pathlib.Path, maestro: pathlib.Path | None) -> list[pathlib.Path]:
    """A performance of each piece that is held out: ASAP's, then MAESTRO's."""
    names = read_splits(str(ROOT / "bundles" / "asap_split.csv"))
    pieces = {}
    for name, split in sorted(names.items()):
        if split != "train":
            pieces.setdefault(name.rsplit("/", 1)[0], asap / name)
    files = list(pieces.values())
    if maestro:
        names = read_splits(str(ROOT / "bundles" / "asap_maestro_split.csv"))
        held = (name for name, split in sorted(names.items()) if split == "validation")
        files += [maestro / name.removeprefix("maestro/") for name in held if "maestro" in name]
    return files


def excerpt(file: pathlib.Path) -> np.ndarray:
    """Start, end, pitch and velocity [4, n] of the notes of some seconds of a performance."""
    notes = apply_sustain(read_midi_file(file))
    begin = notes.start_time.min()
    kept = notes.take_notes(notes.start_time < begin + SECONDS)
    return np.array([kept.start_time - begin, kept.end_time - begin, kept.pitch, kept.velocity])


def keys_of(notes: np.ndarray) -> list[dict]:
    """The keys pressed and released; they arrive two hundredths of a second later."""
    changes = []
    for start, end, pitch, velocity in notes.T.tolist():
        if pitch >= SPLIT:
            changes += [(start, int(pitch), int(velocity)), (end, int(pitch), 0)]
    changes.sort()
    return [{"at": time + 0.02, "method": "key", "values": [time, p, v]} for time, p, v in changes]


def job(mode: str, seed: int, actions: list[dict]) -> dict:
    options = {"seed": seed, "mode": mode, "primer": None, "settings": SETTINGS}
    what = {"do": "performed", "model": "model.bin", "options": options}
    return {**what, "actions": actions, "seconds": SECONDS}


def run(model, jobs: list[dict]) -> list[dict]:
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for file in (*ENGINE.iterdir(), DRIVER):
            shutil.copy(file, folder)
        (folder / "model.bin").write_bytes(model_file.encode_model(model))
        (folder / "jobs.json").write_text(json.dumps(jobs))
        command = ["node", folder / DRIVER.name, folder, folder]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=sys.stderr)
    return json.loads(done.stdout)


def harmony(own: list[tuple[float, float]], keys: np.ndarray) -> float:
    """The share of notes whose pitch class is among the keys that sound about then."""
    start, end, pitch, _ = keys
    found = []
    for time, own_pitch in own:
        sounds = (start < time + NEAR) & (end > time - NEAR)
        if sounds.any():
            found.append(own_pitch % 12 in pitch[sounds] % 12)
    return float(np.mean(found)) if found else np.nan


def illegal(model, entries: list[dict]) -> int:
    """How many events the rules of legal events forbid."""
    codec = model.config.codec
    rules = codec.legal_rules(np.zeros(0, np.int32), 1)
    clock, count = np.zeros(1, np.int64), 0
    for entry in entries:
        event = np.array(entry["event"])
        logits = np.zeros((1, codec.num_classes))
        rules.forbid(logits, clock)
        count += bool(logits[0, event[0]] == -np.inf)
        rules.update(event, clock)
        clock += codec.event_steps(event)
    return count


if __name__ == "__main__":
    main()
