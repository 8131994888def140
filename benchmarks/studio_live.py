"""Measures the studio's page while it plays in Chromium, with the first shipped bundle.

    python benchmarks/studio_live.py [--only=reaction,share,stalls,memory]

- reaction: in a duet, from the time stamp of a key of the computer keyboard to the start of the
  first network note drawn after it, and until the key's own sound is scheduled;
- share: of one processor core, playing alone and in a duet, for 40 s each;
- stalls: notes that came too late in ten minutes in which the page's own thread stands still for a
  second every three seconds;
- memory: of the page's process after 1, 5, 10, 20 and 30 minutes.

Prints the results, and writes those measured into `studio_live.json`.
"""

import argparse
import contextlib
import json
import os
import pathlib
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator

from perf_rnn.models import load_model
from perf_rnn.studio.server import Server
from perf_rnn.studio.site import File, make_site

sys.path.append(str(pathlib.Path(__file__).parents[1] / "tests"))
from browser import PROGRAMS, Browser, answering

WORKER = "engine/worker.js"
# The Worker tells when it takes a key: all notes that it sends later were drawn with it.
TELL_KEYS = """
const take = onmessage;
onmessage = (event) => {
  if (event.data.type === "key" && event.data.velocity) send({type: "took", time: event.data.time});
  return take(event);
};
"""
# Times in the log are in milliseconds since 1970.
HOOKS = """
window.log = null;  // An array: filled.
window.counts = {notes: 0, strikes: 0, late: 0, leastTime: Infinity};
const epoch = () => performance.timeOrigin + performance.now();
let zero = 0, pressed = null;
const RealWorker = Worker;
window.Worker = class extends RealWorker {
  constructor(...given) {
    super(...given);
    this.addEventListener("message", ({data}) => {
      if (data.type === "took") log?.push(["took", zero + 1000 * data.time]);
      if (data.type === "cancel") log?.push(["cancel", zero + 1000 * data.from]);
      if (data.type !== "notes") return;
      for (const [, start] of data.notes) {
        log?.push(["note", zero + 1000 * start]);
        counts.notes++;
        counts.leastTime = Math.min(counts.leastTime, zero + 1000 * start - epoch());
      }
    });
  }
  postMessage(message, ...rest) {
    if (message.now !== undefined) zero = message.now;
    super.postMessage(message, ...rest);
  }
};
addEventListener("keydown", ({timeStamp, repeat}) => {
  if (!repeat) pressed = performance.timeOrigin + timeStamp;
}, true);
const start = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (when, ...rest) {
  counts.strikes++;
  // The piano plays at once what is too late.
  if (when <= this.context.currentTime) counts.late++;
  if (pressed !== null) log?.push(["key", pressed, epoch()]);
  pressed = null;
  window.latency = 1000 * (this.context.outputLatency || this.context.baseLatency);
  return start.call(this, when, ...rest);
};
"""
LETTERS = "asdfghjkl"
NUM_KEYS = 120
SHARE_SECONDS = 40
STALL_MINUTES = 10
MEMORY_MINUTES = (1, 5, 10, 20, 30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default=",".join(MEASUREMENTS))
    chosen = parser.parse_args().only.split(",")
    path = pathlib.Path(__file__).with_suffix(".json")
    for name in chosen:
        with playing() as browser:
            result = MEASUREMENTS[name](browser)
        print(name, json.dumps(result), flush=True)
        # Measurements may run at the same time.
        results = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(results | {name: result}, indent=1) + "\n")


@contextlib.contextmanager
def playing() -> Iterator[Browser]:
    """A page that plays alone."""
    program = next(filter(None, map(shutil.which, PROGRAMS)))
    files = make_site(load_model("performance_with_dynamics"))
    script = files[WORKER]
    files[WORKER] = File(script.data + TELL_KEYS.encode(), script.content_type)
    with answering(Server(files, 0)) as server, tempfile.TemporaryDirectory() as name:
        browser = Browser(program, pathlib.Path(name))
        try:
            with browser.tab():
                browser.call("Page.addScriptToEvaluateOnNewDocument", source=HOOKS)
                browser.call(
                    "Emulation.setDeviceMetricsOverride",
                    width=1280, height=800, deviceScaleFactor=1, mobile=False,
                )  # fmt: skip
                browser.call("Page.navigate", url=f"{server.url}?seed=3")
                browser.wait_for("Page.loadEventFired")
                browser.run("document.getElementById('play').click()")
                browser.until("counts.strikes")
                yield browser
                assert not browser.faults(), browser.faults()
        finally:
            browser.close()


def choose(browser: Browser, mode: str) -> None:
    browser.run(f"document.querySelector('[value={mode}]').click()")
    time.sleep(2)


def play_keys(browser: Browser, count: int) -> None:
    """Strikes letters for some 0.35 s each, neighbours mostly."""
    generator = random.Random(1)
    place = 4
    for _ in range(count):
        place = min(max(place + generator.randint(-2, 2), 0), len(LETTERS) - 1)
        letter = LETTERS[place]
        key = {"key": letter, "code": f"Key{letter.upper()}"}
        browser.call("Input.dispatchKeyEvent", type="keyDown", text=letter, **key)
        time.sleep(generator.uniform(0.1, 0.3))
        browser.call("Input.dispatchKeyEvent", type="keyUp", **key)
        time.sleep(generator.uniform(0.0, 0.3))


def reaction(browser: Browser) -> dict:
    choose(browser, "duet")
    browser.run("void (log = [])")
    play_keys(browser, NUM_KEYS)
    time.sleep(5)
    log = browser.run("log")
    keys = [(stamp, sounds) for kind, stamp, *rest in log if kind == "key" for sounds in rest]
    taken = [place for place, (kind, *_) in enumerate(log) if kind == "took"]
    assert len(keys) == len(taken) == NUM_KEYS
    waits = []
    for (stamp, _), place in zip(keys, taken, strict=True):
        starts: list[float] = []
        for kind, at in (entry for entry in log[place:] if entry[0] != "key"):
            if kind == "cancel":
                starts = [start for start in starts if start < at]
            elif kind == "note":
                starts.append(at)
        waits.append(min(starts) - stamp)
    return {
        "keys": NUM_KEYS,
        "ms to the first network note": spread(waits),
        "ms to the own sound": spread([sounds - stamp for stamp, sounds in keys]),
        "ms of output latency": browser.run("latency"),
    }


def spread(values: list[float]) -> dict[str, float]:
    deciles = statistics.quantiles(values, n=10)
    return {"median": round(deciles[4], 1), "90th percentile": round(deciles[8], 1)}


def share(browser: Browser) -> dict:
    result = {}
    for mode in ("alone", "duet"):
        choose(browser, mode)
        before, begin = processor_seconds(browser), time.monotonic()
        if mode == "duet":
            while time.monotonic() < begin + SHARE_SECONDS:
                play_keys(browser, 5)
        else:
            time.sleep(SHARE_SECONDS)
        seconds = time.monotonic() - begin
        after = processor_seconds(browser)
        result[mode] = {part: round((after[part] - before[part]) / seconds, 3) for part in after}
    return result


def processor_seconds(browser: Browser) -> dict[str, float]:
    """What the Worker, the page's process and all processes of the browser have used."""
    page = page_process(browser)
    tasks = list((page / "task").iterdir())
    worker = [task for task in tasks if (task / "comm").read_text().startswith("DedicatedWorker")]
    return {
        "Worker": sum(map(seconds_of, worker)),
        "page and Worker": seconds_of(page),
        "whole browser": sum(map(seconds_of, processes(browser))),
    }


def seconds_of(process: pathlib.Path) -> float:
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def processes(browser: Browser) -> list[pathlib.Path]:
    """The browser's own process and all below it, in /proc."""
    found, parents = [], {browser._process.pid}
    while parents:
        found += [pathlib.Path("/proc", str(pid)) for pid in parents]
        children = set()
        for pid in parents:
            for task in pathlib.Path("/proc", str(pid), "task").iterdir():
                children |= set(map(int, (task / "children").read_text().split()))
        parents = children
    return found


def page_process(browser: Browser) -> pathlib.Path:
    """The process that has the page and its Worker."""
    for process in processes(browser):
        for task in (process / "task").iterdir():
            if (task / "comm").read_text().startswith("DedicatedWorker"):
                return process
    raise RuntimeError("no process has a Worker")


def stalls(browser: Browser) -> dict:
    browser.run("Object.assign(counts, {notes: 0, strikes: 0, late: 0, leastTime: Infinity})")
    browser.run(
        "void setInterval(() => { const end = performance.now() + 1000;"
        " while (performance.now() < end); }, 3000)"
    )
    time.sleep(60 * STALL_MINUTES)
    counts = browser.run("counts")
    return {
        "minutes": STALL_MINUTES,
        "notes": counts["notes"],
        "late": counts["late"],
        "ms from the latest note's arrival to its start": round(counts["leastTime"], 1),
    }


def memory(browser: Browser) -> dict:
    """MB of the page's process that no other has, and of the heaps after a garbage collection."""
    browser.call(
        "Target.setAutoAttach", autoAttach=True, waitForDebuggerOnStart=False, flatten=True
    )
    worker = browser.wait_for("Target.attachedToTarget")["sessionId"]
    begin, result = time.monotonic(), {}
    for minutes in MEMORY_MINUTES:
        time.sleep(max(0, begin + 60 * minutes - time.monotonic()))
        heaps = [heap(browser, session) for session in (browser._session, worker)]
        rollup = (page_process(browser) / "smaps_rollup").read_text().split("\n")
        private = sum(int(line.split()[1]) for line in rollup if line.startswith("Private_"))
        result[f"{minutes} min"] = {
            "page and Worker": round(private / 1024, 1),
            "heap of the page": heaps[0],
            "heap of the Worker": heaps[1],
            "notes": browser.run("counts.notes"),
        }
        print(result, flush=True)
    return result


def heap(browser: Browser, session: str) -> float:
    page, browser._session = browser._session, session
    browser.call("HeapProfiler.collectGarbage")
    usage = browser.call("Runtime.getHeapUsage")
    browser._session = page
    kinds = ("usedSize", "embedderHeapUsedSize", "backingStorageSize")
    return round(sum(usage.get(kind, 0) for kind in kinds) / 2**20, 2)


MEASUREMENTS = {"reaction": reaction, "share": share, "stalls": stalls, "memory": memory}

if __name__ == "__main__":
    main()
