"""The studio's engine predicts and draws what Python does, in node and in a real browser."""

import dataclasses
import functools
import json
import pathlib
import shutil
import subprocess

import numpy as np
import pytest

from perf_rnn.configs import default_configs
from perf_rnn.events.controls import scale_histogram
from perf_rnn.generation.control_schedule import ControlSchedule
from perf_rnn.generation.cpu.step_network import StepNetwork
from perf_rnn.generation.openings import from_notes, silence
from perf_rnn.generation.options import SamplingOptions
from perf_rnn.generation.sampler import Sampler
from perf_rnn.models import load_model
from perf_rnn.notes.music_files import read_midi_file
from perf_rnn.notes.transforms import apply_sustain
from perf_rnn.studio import model_file

TESTS = pathlib.Path(__file__).parents[2]
ENGINE = TESTS.parent / "perf_rnn" / "studio" / "web" / "engine"
DRIVER = "drive_engine.mjs"
BUNDLES = TESTS / "testdata" / "magenta_bundles"
STACKS = ("attention", "residual", "attention_residual")
MODELS = (*default_configs, *STACKS)
# Every limit in one of them, and controls where the model has such.
LIMITS = (
    SamplingOptions(),
    SamplingOptions(0.8, top_p=0.9, pitch_min_p=0.0),
    SamplingOptions(1.2, top_k=30, min_p=0.02),
)
ASKED = (
    {"notes_per_second": 3.0, "pitch_class_histogram": "c_minor"},
    {"notes_per_second": 11.0},
    {},
)
NUM_READ = 300
NUM_DRAWN = 200


@functools.cache
def model_of(name):
    return load_model(BUNDLES / f"{name}.mag", name if name in default_configs else None)


@functools.cache
def real_opening(name):
    """The beginning of a real performance."""
    path = min((TESTS / "testdata" / "asap").rglob("*.mid"))
    notes = apply_sustain(read_midi_file(path))
    opening = from_notes(notes, model_of(name).config)
    return dataclasses.replace(opening, events=opening.events[:NUM_READ])


def indices(events):
    """Events as lists of one class a head."""
    return [np.atleast_1d(event).tolist() for event in events]


def schedule_of(model, asked):
    conditioning = model.config.conditioning
    known = {signal.name for signal in conditioning.signals}
    values = {name: value for name, value in asked.items() if name in known}
    disabled = (not values) if conditioning.optional else None
    return ControlSchedule(conditioning, values, disabled=disabled)


def case(number):
    """The model, opening, limits, controls and seed of a case."""
    name = MODELS[number]
    model = model_of(name)
    opening = silence(model.config) if number % 2 else real_opening(name)
    turn = number % len(LIMITS)
    return model, opening, LIMITS[turn], ASKED[turn], (number * 2**33, number)


def jobs_of(number):
    """What the engine computes for a case: logits of real events, and drawn events."""
    model, opening, limits, asked, seed = case(number)
    file = f"{MODELS[number]}.model"
    density, scale = asked.get("notes_per_second"), asked.get("pitch_class_histogram")
    vector = schedule_of(model, asked)(np.zeros(1, np.int64))[0]
    logits = {
        "do": "logits",
        "model": file,
        "events": indices(real_opening(MODELS[number]).events),
        "controls": vector.tolist(),
        "expected": f"{MODELS[number]}.logits",
    }
    drawn = {
        "do": "drawn",
        "model": file,
        "seed": seed,
        "leadIn": [] if opening.lead_in is None else indices(opening.lead_in),
        "opening": indices(opening.events),
        "limits": dataclasses.asdict(limits),
        "asked": {"density": density, "pitch_classes": scale and scale_histogram(scale)},
        "count": NUM_DRAWN,
    }
    return [logits, drawn]


def python_logits(number):
    model, _, _, asked, _ = case(number)
    controls = schedule_of(model, asked)(np.zeros(1, np.int64))
    network = StepNetwork(model, 1)
    events = real_opening(MODELS[number]).events
    return np.concatenate([network.step(event[np.newaxis], controls) for event in events])


@pytest.fixture(scope="module")
def jobs(folder):
    """The jobs of all cases, with WebAssembly and then in plain JavaScript."""
    made = []
    for number, name in enumerate(MODELS):
        (folder / f"{name}.model").write_bytes(model_file.encode_model(model_of(name), "float32"))
        python_logits(number).tofile(folder / f"{name}.logits")
        made += jobs_of(number)
    made += [{**job, "plain": True} for job in made]
    (folder / "jobs.json").write_text(json.dumps(made))
    return made


@pytest.fixture(scope="module")
def in_node(folder, jobs, run_in_node):
    """The results in node."""
    return run_in_node(folder, jobs)


@pytest.fixture(scope="module")
def in_browser(folder, jobs, open_in_browser):
    """The results in a browser."""
    with open_in_browser(folder) as browser:
        return browser.run(
            f"""import('/{DRIVER}').then(({{ run }}) => run('', async (name) =>
              (await fetch('/' + name)).arrayBuffer()))"""
        )


@functools.cache
def python_events(number):
    model, opening, limits, asked, seed = case(number)
    sampler = Sampler(model, opening, [seed], limits, schedule_of(model, asked))
    return indices([sampler.step()[0] for _ in range(NUM_DRAWN)])


@pytest.mark.parametrize("program", ["in_node", "in_browser"])
@pytest.mark.parametrize("number", range(len(MODELS)), ids=MODELS)
def test_it_predicts_and_draws_what_python_does(request, program, number):
    results = request.getfixturevalue(program)
    half = len(results) // 2
    for with_kernels in (results[:half], results[half:]):
        difference, drawn = with_kernels[2 * number : 2 * number + 2]
        assert difference < 1e-5
        assert drawn == python_events(number)


def test_wasm_is_the_build_of_its_source(tmp_path):
    source = (ENGINE / "step.c").read_text()
    command = source[source.index("clang --target") :].split("\n\n")[0]
    words = command.replace("//", "").split()
    clang = shutil.which("clang-14") or shutil.which("clang")
    version = clang and subprocess.run([clang, "--version"], check=True, capture_output=True).stdout
    if not version or b"clang version 14." not in version:
        pytest.skip("clang 14 is not installed")
    shutil.copy(ENGINE / "step.c", tmp_path)
    subprocess.run([clang, *words[1:]], check=True, cwd=tmp_path)
    assert (tmp_path / "step.wasm").read_bytes() == (ENGINE / "step.wasm").read_bytes()
