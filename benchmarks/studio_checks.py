"""Checks that the studio's engine computes what Python computes, and what smaller weights cost.

    python benchmarks/studio_checks.py ASAP [--read=4000] [--drawn=2000]

Needs Chromium, in which the engine runs. For a small network of each config and of each stack, and
for the shipped bundles, with float32 weights: the largest difference of a logit after events of a
held-out performance, and how many drawn events are Python's. For the first shipped bundle: the
negative log-likelihood of the performance's events with float32, float16 and int8 weights, and the
bytes of the files. Prints these and writes them to `studio_checks.json`.
"""

import argparse
import json
import pathlib
import shutil
import sys
import tempfile

import numpy as np

import bundles
from perf_rnn.models import load_model
from perf_rnn.studio import model_file

ROOT = pathlib.Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests"))
from browser import PROGRAMS, Browser, served  # noqa: E402
from engine_cases import NAMES, Case, small_cases  # noqa: E402

ENGINE = ROOT / "perf_rnn" / "studio" / "web" / "engine"
DRIVER = ROOT / "tests" / "perf_rnn" / "studio" / "drive_engine.mjs"
# Held out, and long enough.
PERFORMANCE = "Schubert/Impromptu_op142/1/Kleisen02.mid"
SHIPPED = [
    "performance_with_dynamics",
    "performance_with_dynamics_large",
    "performance",
    "optional_multiconditioned_performance_with_dynamics",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("asap", type=pathlib.Path)
    parser.add_argument("--read", type=int, default=4000)
    parser.add_argument("--drawn", type=int, default=2000)
    arguments = parser.parse_args()
    midi_file = arguments.asap / PERFORMANCE
    counts = (arguments.read, arguments.drawn)
    cases = small_cases(midi_file, *counts)
    cases += [
        Case(
            f"shipped {name}", load_model(bundles.shipped_bundle_path(name)), n, midi_file, *counts
        )
        for n, name in enumerate(SHIPPED)
    ]
    guided = load_model(bundles.shipped_bundle_path(SHIPPED[-1]))
    cases.append(
        Case(f"shipped {SHIPPED[-1]}, guidance 2", guided, len(SHIPPED), midi_file, *counts, 2.0)
    )
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory() as profile:
        folder = pathlib.Path(name)
        for file in (*ENGINE.iterdir(), DRIVER):
            shutil.copy(file, folder)
        browser = Browser(next(filter(None, map(shutil.which, PROGRAMS))), pathlib.Path(profile))
        try:
            result = {
                "browser": browser.call("Browser.getVersion")["product"],
                "engine and Python": {case.name: check(browser, folder, case) for case in cases},
                "weights": compare_weights(browser, folder, cases[len(NAMES)]),
            }
        finally:
            browser.close()
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(result, indent=1) + "\n")


def check(browser: Browser, folder: pathlib.Path, case: Case) -> dict:
    """How the engine's logits differ from Python's, and how many events it draws as Python does."""
    (folder / f"{case.name}.model").write_bytes(model_file.encode_model(case.model, "float32"))
    case.logits.tofile(folder / f"{case.name}.logits")
    difference, drawn = run(browser, folder, case.jobs())
    row = {
        "events": len(case.logits),
        "largest logit": float(np.abs(case.logits).max()),
        "largest difference": difference,
        "drawn": len(drawn),
        "drawn as in Python": sum(a == b for a, b in zip(drawn, case.drawn, strict=True)),
    }
    print(case.name, row, flush=True)
    return row


def compare_weights(browser: Browser, folder: pathlib.Path, case: Case) -> dict:
    rows = {}
    for weights in model_file.WEIGHTS:
        data = model_file.encode_model(case.model, weights)
        (folder / f"{case.name}.model").write_bytes(data)
        (nll,) = run(browser, folder, [case.jobs()[0] | {"do": "likelihood"}])
        rows[weights] = {"bytes": len(data), "nll": nll}
        print(weights, rows[weights], flush=True)
    return rows


def run(browser: Browser, folder: pathlib.Path, jobs: list[dict]) -> list:
    """The results of jobs, each in a page of its own."""
    results = []
    for job in jobs:
        (folder / "jobs.json").write_text(json.dumps([job]))
        with served(folder) as url, browser.tab():
            browser.call("Page.navigate", url=url)
            browser.wait_for("Page.loadEventFired")
            results += browser.run(
                f"""import('/{DRIVER.name}').then(({{ run }}) => run('', async (name) =>
                  (await fetch('/' + name)).arrayBuffer()))"""
            )
    return results


if __name__ == "__main__":
    main()
