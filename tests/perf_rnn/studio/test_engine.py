"""The studio's engine predicts and draws what Python does, in node and in a real browser."""

import json
import pathlib
import shutil
import subprocess

import pytest
from engine_cases import NAMES, TESTDATA, small_cases

from perf_rnn.studio import model_file

ENGINE = pathlib.Path(__file__).parents[3] / "perf_rnn" / "studio" / "web" / "engine"
DRIVER = "drive_engine.mjs"


@pytest.fixture(scope="module")
def cases():
    midi_file = min((TESTDATA / "asap").rglob("*.mid"))
    return {case.name: case for case in small_cases(midi_file, 300, 200)}


@pytest.fixture(scope="module")
def jobs(folder, cases):
    """The jobs of all cases, with WebAssembly and then in plain JavaScript."""
    made = []
    for name, case in cases.items():
        (folder / f"{name}.model").write_bytes(model_file.encode_model(case.model, "float32"))
        case.logits.tofile(folder / f"{name}.logits")
        made += case.jobs()
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


@pytest.mark.parametrize("program", ["in_node", "in_browser"])
@pytest.mark.parametrize("name", NAMES)
def test_it_predicts_and_draws_what_python_does(request, cases, program, name):
    results = request.getfixturevalue(program)
    half, place = len(results) // 2, 2 * NAMES.index(name)
    for with_kernels in (results[:half], results[half:]):
        difference, drawn = with_kernels[place : place + 2]
        assert difference < 1e-5
        assert drawn == cases[name].drawn


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
