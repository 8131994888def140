"""Tries the studio and the page of pieces in Firefox and in WebKit, the engine of Safari.

    python benchmarks/studio_browsers.py

Tries those that are installed: Firefox, and WebKitGTK's MiniBrowser by WebKitWebDriver (Debian:
firefox-esr, webkit2gtk-driver). They need a display and a loudspeaker; Xvfb and a PulseAudio server
with module-null-sink will do. For each: how many events the engine draws as Python does, with
WebAssembly and without; the peak of what sounds, live, in a WAV file and on the page of pieces;
notes that are struck late in 15 s, of them 10 s in which the page's thread stands still for a
second every three; what the page says of MIDI; whether a link restores the settings; all errors.
Prints this and writes it to `studio_browsers.json`.
"""

import contextlib
import json
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

from perf_rnn.models import load_model
from perf_rnn.notes.music_files import read_midi_file
from perf_rnn.rendering import Piece, write_page
from perf_rnn.studio import model_file
from perf_rnn.studio.server import Server
from perf_rnn.studio.site import PAGE, File, make_site

ROOT = pathlib.Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests"))
from browser import answering, served  # noqa: E402
from engine_cases import TESTDATA, small_cases  # noqa: E402

ENGINE = ROOT / "perf_rnn" / "studio" / "web" / "engine"
DRIVER = ROOT / "tests" / "perf_rnn" / "studio" / "drive_engine.mjs"
MIDI_FILE = min((TESTDATA / "asap").rglob("*.mid"))
LINK = "?mode=duet&seed=12&temperature=0.9&notes_per_second=8&split=60"
STATUS = "document.getElementById('status').textContent"
# Listens to what sounds.
LISTEN = """
const connect = AudioNode.prototype.connect;
AudioNode.prototype.connect = function (to, ...rest) {
  if (to instanceof AudioDestinationNode && this.context instanceof AudioContext) {
    window.analyser = new AnalyserNode(this.context, {fftSize: 32768});
    connect.call(this, analyser);
  }
  return connect.call(this, to, ...rest);
};
const peakOf = (values) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
window.livePeak = () => {
  const values = new Float32Array(32768);
  analyser.getFloatTimeDomainData(values);
  return peakOf(values);
};
"""
HOOKS = f"""{LISTEN}
window.errors = [];
const note = ({{message, reason, violatedDirective}}) =>
  errors.push(`${{message ?? reason ?? violatedDirective}}`);
for (const type of ["error", "unhandledrejection", "securitypolicyviolation"]) {{
  addEventListener(type, note, true);
}}
for (const name of ["error", "warn"]) console[name] = (...all) => errors.push(all.join(" "));
window.strikes = {{all: 0, late: 0}};
const start = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (when, ...rest) {{
  strikes.all++;
  if (when <= this.context.currentTime) strikes.late++;
  return start.call(this, when, ...rest);
}};
const create = URL.createObjectURL;
URL.createObjectURL = (blob) => create.call(URL, window.saved = blob);
HTMLAnchorElement.prototype.click = () => {{}};  // No question of where to save it.
window.savedPeak = async () =>
  peakOf(new Int16Array((await saved.arrayBuffer()).slice(44))) / 32768;
"""


class Remote:
    """A browser that takes WebDriver's commands."""

    version: str

    def __init__(self, command: Callable[..., Any]):
        self.command = command

    def go(self, url: str) -> None:
        self.command("Navigate", url=url)

    def run(self, expression: str) -> Any:
        """What an expression is, once it is settled."""
        script = (
            f"const done = arguments[0]; (async () => ({expression}))()"
            ".then((value) => done([value ?? null]), (error) => done(`${error}`));"
        )
        answer = self.command("ExecuteAsyncScript", script=script, args=[])
        assert isinstance(answer, list), (expression, answer)
        return answer[0]

    def until(self, condition: str) -> None:
        end = time.monotonic() + 30
        while not self.run(condition):
            assert time.monotonic() < end, condition
            time.sleep(0.1)

    def click(self, selector: str) -> None:
        found = self.command("FindElement", using="css selector", value=selector)
        self.command("ElementClick", id=next(iter(found.values())))


@contextlib.contextmanager
def firefox() -> Iterator[Remote | None]:
    """Firefox, by its Marionette protocol: lengths and JSON over TCP."""
    program = shutil.which("firefox") or shutil.which("firefox-esr")
    if not program:
        yield None
        return
    port = free_port()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        (pathlib.Path(profile) / "user.js").write_text(f'user_pref("marionette.port", {port});')
        arguments = [program, "--marionette", "--no-remote", "--profile", profile]
        with running(arguments), connected(port) as connection:
            stream = connection.makefile("rb")

            def receive() -> Any:
                length = b"".join(iter(lambda: stream.read(1), b":"))
                return json.loads(stream.read(int(length)))

            def command(name: str, **parameters: object) -> Any:
                data = json.dumps([0, 1, f"WebDriver:{name}", parameters]).encode()
                connection.sendall(b"%d:%s" % (len(data), data))
                _, _, error, result = receive()
                assert not error, (name, error)
                return result.get("value", result)

            receive()  # Its greeting.
            capabilities = command("NewSession")["capabilities"]
            remote = Remote(command)
            remote.version = f"Firefox {capabilities['browserVersion']}"
            yield remote


@contextlib.contextmanager
def webkit() -> Iterator[Remote | None]:
    """WebKitGTK, by WebDriver's HTTP."""
    program = shutil.which("WebKitWebDriver")
    browsers = sorted(pathlib.Path("/usr/lib").glob("*/webkit2gtk-4.*/MiniBrowser"))
    if not program or not browsers:
        yield None
        return
    port = free_port()
    paths = {
        "Navigate": "/url",
        "ExecuteAsyncScript": "/execute/async",
        "FindElement": "/element",
        "ElementClick": "/element/{id}/click",
    }
    url = f"http://127.0.0.1:{port}/session"

    def request(path: str, parameters: dict[str, object] | None) -> Any:
        data = None if parameters is None else json.dumps(parameters).encode()
        method = "DELETE" if parameters is None else "POST"
        try:
            with urllib.request.urlopen(
                urllib.request.Request(url + path, data, method=method)
            ) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError((path, error.read())) from error

    with running([program, f"--port={port}"]), connected(port):
        options = {"binary": str(browsers[-1]), "args": ["--automation"]}
        capabilities = {"alwaysMatch": {"webkitgtk:browserOptions": options}}
        session = request("", {"capabilities": capabilities})
        url += f"/{session['sessionId']}"
        remote = Remote(lambda name, **given: request(paths[name].format(**given), given))
        remote.version = f"WebKitGTK {session['capabilities']['browserVersion']}"
        try:
            yield remote
        finally:
            request("", None)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def running(arguments: list[str]) -> Iterator[None]:
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def connected(port: int) -> socket.socket:
    end = time.monotonic() + 30
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=120)
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def main() -> None:
    results = {}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        expected = prepare(folder)
        for browser in (firefox, webkit):
            with browser() as remote:
                if remote is None:
                    print(f"{browser.__name__}: not installed", flush=True)
                    continue
                results[remote.version] = {
                    "engine": try_engine(remote, folder, expected),
                    "studio": try_studio(remote),
                    "page of pieces": try_pieces(remote, folder),
                }
                print(json.dumps({remote.version: results[remote.version]}, indent=1), flush=True)
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(results, indent=1) + "\n")


def prepare(folder: pathlib.Path) -> list[list[list[int]]]:
    """Writes what the browsers are served; returns what the engine should draw."""
    for file in (*ENGINE.iterdir(), DRIVER):
        shutil.copy(file, folder)
    cases, jobs = small_cases(MIDI_FILE, 300, 200), []
    for case in cases:
        (folder / f"{case.name}.model").write_bytes(model_file.encode_model(case.model, "float32"))
        case.logits.tofile(folder / f"{case.name}.logits")
        jobs += case.jobs()
    jobs += [{**job, "plain": True} for job in jobs]
    (folder / "jobs.json").write_text(json.dumps(jobs))
    write_page(folder / "pieces.html", [Piece(read_midi_file(MIDI_FILE))])
    return [case.drawn for case in cases]


def try_engine(remote: Remote, folder: pathlib.Path, expected: list[list[list[int]]]) -> dict:
    with served(folder) as url:
        remote.go(url)
        results = remote.run(
            f"""import('/{DRIVER.name}').then(({{ run }}) => run('', async (name) =>
              (await fetch('/' + name)).arrayBuffer()))"""
        )
    drawn = zip(results[1::2], 2 * expected, strict=True)
    same = sum(mine == theirs for both in drawn for mine, theirs in zip(*both, strict=True))
    return {
        "largest difference of a logit": max(results[::2]),
        "events drawn as in Python": same,
        "of": 2 * sum(map(len, expected)),
    }


def try_studio(remote: Remote) -> dict:
    files = make_site(load_model("performance_with_dynamics"))
    page = files[PAGE].data.decode()
    script = '<script type="module"'
    page = page.replace(script, f'<script src="hooks.js"></script>\n{script}', 1)
    files[PAGE] = File(page.encode(), files[PAGE].content_type)
    files["hooks.js"] = File(HOOKS.encode(), "text/javascript")
    with answering(Server(files, 0)) as server:
        remote.go(f"{server.url}{LINK}")
        remote.until(f"{STATUS}.startsWith('Ready')")
        remote.click("#copy")
        remote.until("location.search")
        result = {"a link restores": remote.run("location.search") == LINK}
        remote.run("document.getElementById('ports').open = true")
        remote.click("#connect")
        remote.until(f"{STATUS}.includes('MIDI') && !{STATUS}.startsWith('Asking')")
        result["MIDI"] = remote.run(STATUS)
        result["errors"] = remote.run("errors")
        remote.go(f"{server.url}?seed=5")
        remote.until(f"{STATUS}.startsWith('Ready')")
        remote.click("#play")
        time.sleep(5)
        result["peak"] = remote.run("livePeak()")
        remote.run(
            "void (window.stalls = setInterval(() => { const end = performance.now() + 1000;"
            " while (performance.now() < end); }, 3000))"
        )
        time.sleep(10)
        remote.run("clearInterval(stalls)")
        result["struck"], result["late"] = remote.run("[strikes.all, strikes.late]")
        remote.click("#wav")
        remote.until(f"{STATUS}.startsWith('Saved')")
        result["peak of the WAV file"] = remote.run("savedPeak()")
        result["errors"] += remote.run("errors")
    return result


def try_pieces(remote: Remote, folder: pathlib.Path) -> dict:
    with served(folder) as url:
        remote.go(f"{url}/pieces.html")
        remote.run(f"(() => {{ {LISTEN} }})()")
        remote.click(".play")
        time.sleep(4)
        return {"peak": remote.run("livePeak()")}


if __name__ == "__main__":
    main()
