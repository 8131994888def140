"""A real browser for the tests of pages; conftest.py holds the one that they share."""

import contextlib
import functools
import http.server
import json
import os
import pathlib
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import TypeVar

Server = TypeVar("Server", bound=http.server.HTTPServer)

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FAULTS = {
    "Log.entryAdded",
    "Page.javascriptDialogOpening",
    "Runtime.consoleAPICalled",
    "Runtime.exceptionThrown",
}
REQUEST = "Network.requestWillBeSent"


class Browser:
    """A headless Chromium, spoken to in the DevTools protocol over two pipes."""

    def __init__(self, program: str, directory: pathlib.Path):
        theirs_in, self._to = os.pipe()
        self._from, theirs_out = os.pipe()
        options = [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--mute-audio",
            "--disable-dev-shm-usage", "--remote-debugging-pipe", f"--user-data-dir={directory}",
        ]  # fmt: skip
        # The protocol is spoken on descriptors 3 and 4.
        launcher = (
            "import os, sys; ends = [os.dup(int(end)) for end in sys.argv[1:3]]; "
            "[os.set_inheritable(os.dup2(end, to), True) for to, end in enumerate(ends, 3)]; "
            "os.execv(sys.argv[3], sys.argv[3:])"
        )
        ends = [str(theirs_in), str(theirs_out)]
        self._process = subprocess.Popen(
            [sys.executable, "-c", launcher, *ends, program, *options, "about:blank"],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._received = b""
        self._calls = 0
        self._session: str | None = None
        self.events: list[dict] = []

    @contextlib.contextmanager
    def tab(self) -> Iterator[None]:
        """A new tab, which all calls are about."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Runtime", "Network", "Log", "Page"):
            self.call(f"{domain}.enable")
        self.events.clear()
        try:
            yield
        finally:
            self._session = None
            self.call("Target.closeTarget", targetId=target)

    def _message(self, deadline: float) -> dict:
        while b"\0" not in self._received:
            if not select.select([self._from], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise TimeoutError("the browser does not answer")
            data = os.read(self._from, 2**20)
            if not data:
                raise ConnectionError("the browser has ended")
            self._received += data
        message, _, self._received = self._received.partition(b"\0")
        return json.loads(message)

    def call(self, method: str, **parameters):
        self._calls += 1
        message = {"id": self._calls, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + 60
        while True:
            answer = self._message(deadline)
            if answer.get("id") == self._calls:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def wait_for(self, method: str, **wanted) -> dict:
        """The parameters of the first event of a kind whose parameters are as wanted."""
        deadline = time.monotonic() + 60
        seen = 0
        while True:
            for event in self.events[seen:]:
                parameters = event.get("params", {})
                if event.get("method") == method and wanted.items() <= parameters.items():
                    return parameters
            seen = len(self.events)
            self.events.append(self._message(deadline))

    def run(self, script: str):
        """What an expression is, once it is settled."""
        answer = self.call(
            "Runtime.evaluate",
            expression=script,
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, condition: str) -> None:
        """Waits until an expression is true, looking once a frame."""
        assert self.run(
            "new Promise((done) => { const end = performance.now() + 30000; const look = () => "
            f"({condition}) ? done(true) : performance.now() > end ? done(false) : "
            "requestAnimationFrame(look); look(); })"
        ), condition

    def press(self, key: str, code: int) -> None:
        text = "\r" if key == "Enter" else key if len(key) == 1 else ""
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key if key != " " else "Space",
                windowsVirtualKeyCode=code,
                text=text if kind == "keyDown" else "",
            )

    def faults(self) -> list[dict]:
        """What went wrong in the tab: exceptions, messages on the console, dialogs."""
        return [event for event in self.events if event.get("method") in FAULTS]

    def requested(self) -> set[str]:
        """The URLs that the tab asked for, without those made in the page itself."""
        requests = (e["params"] for e in self.events if e.get("method") == REQUEST)
        urls = {parameters["request"]["url"] for parameters in requests}
        return {url for url in urls if not url.startswith("blob:")}

    def close(self) -> None:
        self._session = None
        with contextlib.suppress(OSError, ConnectionError):
            self.call("Browser.close")
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()


class _Files(http.server.SimpleHTTPRequestHandler):
    """Serves files of a folder, silently."""

    def log_message(self, *arguments: object) -> None:
        pass


@contextlib.contextmanager
def answering(server: Server) -> Iterator[Server]:
    """Lets a web server answer, in a thread, and closes it at the end."""
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def served(directory: pathlib.Path) -> Iterator[str]:
    """Serves a folder on a free port; gives its URL."""
    handler = functools.partial(_Files, directory=str(directory))
    with answering(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)) as server:
        yield f"http://127.0.0.1:{server.server_port}"
