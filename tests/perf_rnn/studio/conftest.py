"""Fixtures that run the studio's engine in node and serve it to a browser."""

import contextlib
import json
import pathlib
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from browser import served

STUDIO = pathlib.Path(__file__).parent
ROOT = STUDIO.parents[2] / "perf_rnn"
ENGINE = ROOT / "studio" / "web" / "engine"
DRIVER = "drive_engine.mjs"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder with the engine and what runs it, for model files and jobs.json."""
    path = tmp_path_factory.mktemp("engine")
    for file in (*ENGINE.iterdir(), STUDIO / DRIVER):
        shutil.copy(file, path)
    return path


@pytest.fixture(scope="module")
def run_in_node() -> Callable[[pathlib.Path, list[dict]], Any]:
    """Does jobs in node: run_in_node(folder, jobs) are their results."""
    node = shutil.which("node")
    if not node:
        pytest.skip("node is not installed")

    def run(folder: pathlib.Path, jobs: list[dict]) -> Any:
        (folder / "jobs.json").write_text(json.dumps(jobs))
        command = [node, folder / DRIVER, folder, folder]
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)

    return run


@pytest.fixture(scope="module")
def open_in_browser(browser) -> Callable[[pathlib.Path], contextlib.AbstractContextManager]:
    """Serves a folder and opens it in a tab: `with open_in_browser(folder) as browser`."""

    @contextlib.contextmanager
    def serve(folder: pathlib.Path) -> Iterator[Any]:
        with served(folder) as url, browser.tab():
            browser.call("Page.navigate", url=url)
            browser.wait_for("Page.loadEventFired")
            yield browser

    return serve


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder with the page's scripts and its sound, but for the page."""
    path = tmp_path_factory.mktemp("scripts")
    for script in (ROOT / "studio" / "web").glob("*.js"):
        (path / script.name).symlink_to(script)
    (path / "sound").symlink_to(ROOT / "rendering" / "web" / "sound")
    (path / "index.html").write_text("<!doctype html><link rel=icon href=data:,>")
    return path


@pytest.fixture
def studio_scripts(open_in_browser: Any, scripts: pathlib.Path) -> Iterator[Any]:
    """A tab that can import the page's scripts; nothing may go wrong in it."""
    with open_in_browser(scripts) as browser:
        yield browser
        assert not browser.faults()
