"""Fixtures that run the studio's engine in node and serve it to a browser."""

import contextlib
import functools
import http.server
import json
import pathlib
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

STUDIO = pathlib.Path(__file__).parent
ENGINE = STUDIO.parents[2] / "perf_rnn" / "studio" / "web" / "engine"
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


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder without a line for each request."""

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture(scope="module")
def open_in_browser(browser) -> Callable[[pathlib.Path], contextlib.AbstractContextManager]:
    """Serves a folder and opens it in a tab: `with open_in_browser(folder) as browser`."""

    @contextlib.contextmanager
    def serve(folder: pathlib.Path) -> Iterator[Any]:
        handler = functools.partial(_QuietHandler, directory=folder)
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            with browser.tab():
                browser.call("Page.navigate", url=f"http://127.0.0.1:{server.server_port}/")
                browser.wait_for("Page.loadEventFired")
                yield browser
            server.shutdown()

    return serve
