"""What damaged MIDI files do to the making of a dataset: reasons, time and memory.

    python -m benchmarks.damaged_midi --input_dir DIR [--num_files 2000] [--output RESULT.json]

The files of DIR are damaged in turns: cut off, bits flipped, bytes spliced in from another file,
and, where they stay whole, with an absurd resolution or tempo or with a last note that is held for
more than a year. The tool runs as its users run it. What is checked: it ends, it names every file
that it leaves out, and its counters add up.
"""

from __future__ import annotations

import argparse
import collections
import json
import pathlib
import random
import re
import resource
import subprocess
import sys
import tempfile
import time

from benchmarks.pipeline import find_files

LONGEST_DELTA = b"\xff\xff\xff\x7f"
END_OF_TRACK = b"\xff\x2f\x00"


def damage(kind: str, data: bytes, other: bytes, rng: random.Random) -> bytes:
    """Returns the damaged content of a MIDI file."""
    damaged = bytearray(data)
    if kind == "cut":
        return data[: rng.randrange(len(data))]
    if kind == "flipped":
        for _ in range(rng.choice((1, 10, 100))):
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    elif kind == "spliced":
        place, start = rng.randrange(len(damaged)), rng.randrange(len(other))
        damaged[place:place] = other[start : start + rng.randrange(1, 500)]
    elif kind == "resolution":
        damaged[12:14] = rng.choice((b"\x00\x00", b"\x00\x01", b"\x7f\xff", b"\xe8\x28"))
    elif kind == "tempo":
        place = data.find(b"\xff\x51\x03")
        damaged[place + 3 : place + 6] = rng.choice((b"\0\0\0", b"\0\0\1", b"\xff\xff\xff"))
    elif kind == "year":
        # Each delta is at most 2^28 - 1 ticks, so the last note is held through several.
        held = (LONGEST_DELTA + b"\xff\x01\x00") * 300
        end = data.rfind(END_OF_TRACK) - 1
        damaged[end:end] = b"\x00\x90\x3c\x40" + held + b"\x00\x80\x3c\x40"
        start = data.rfind(b"MTrk") + 4
        length = int.from_bytes(data[start : start + 4], "big") + len(held) + 8
        damaged[start : start + 4] = length.to_bytes(4, "big")
    return bytes(damaged)


KINDS = ("cut", "flipped", "spliced", "resolution", "tempo", "year")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--input_dir", type=pathlib.Path, required=True)
    parser.add_argument("--num_files", type=int, default=2000)
    parser.add_argument("--num_workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=pathlib.Path, help="write the figures as JSON")
    flags = parser.parse_args()
    rng = random.Random(flags.seed)
    contents = [path.read_bytes() for path in find_files(flags.input_dir)]
    with tempfile.TemporaryDirectory() as directory:
        work = pathlib.Path(directory)
        (work / "midi").mkdir()
        for number in range(flags.num_files):
            kind = KINDS[number % len(KINDS)]
            data = damage(kind, rng.choice(contents), rng.choice(contents), rng)
            (work / "midi" / f"{kind}{number:04}.mid").write_bytes(data)
        command = [sys.executable, "-m", "pipelines.tools.performance_rnn_create_dataset"]
        command += [f"--input={work / 'midi'}", f"--output_dir={work / 'data'}"]
        command += ["--config=performance_with_dynamics", f"--num_workers={flags.num_workers}"]
        begin = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - begin
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    found = re.findall(r"skipped: \S*/(\w+?)\d{4}\.mid: (.*)", done.stderr)
    named = collections.Counter(kind for kind, _ in found)
    reasons = collections.Counter(re.sub(r"\d+", "N", message) for _, message in found)
    read = int(re.findall(r"performances read: (\d+) ", done.stderr, re.M)[0])
    assert read + named.total() == flags.num_files, (read, named)
    assert "Traceback" not in done.stderr, done.stderr
    figures = {
        "files": flags.num_files,
        "seconds": round(seconds, 1),
        "peak megabytes of a process": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        // 1024,
        "read": read,
        "named, by kind of damage": dict(named),
        "named, by reason": dict(reasons.most_common(20)),
    }
    print(json.dumps(figures, indent=2))
    if flags.output:
        flags.output.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
