"""The studio's server, and the tool that starts it or writes the static folder."""

import contextlib
import http.client
import pathlib
import socket
import urllib.request

import pytest
from browser import answering

from bundles.errors import PerfRnnError
from perf_rnn import models
from perf_rnn.studio import site
from perf_rnn.studio.server import Server
from perf_rnn.studio.site import File

TOOL = "perf_rnn.tools.performance_rnn_studio"
FILES = {
    "index.html": File(b"<p>page", "text/html; charset=utf-8"),
    "engine/step.wasm": File(b"\0asm", "application/wasm"),
}


@pytest.fixture(scope="module")
def server():
    with answering(Server(FILES, 0)) as started:
        yield started


def ask(server, path, method="GET", host=None, body=None):
    """The status, headers and body of the answer; the host is the server's if not given."""
    connection = http.client.HTTPConnection(*server.server_address, timeout=10)
    with contextlib.closing(connection):
        connection.putrequest(method, path, skip_host=True)
        for name in [f"127.0.0.1:{server.server_port}"] if host is None else host:
            connection.putheader("Host", name)
        if body:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


def test_it_answers_for_its_files(server):
    for path, file in {"": FILES["index.html"], **FILES}.items():
        with urllib.request.urlopen(f"{server.url}{path}?seed=1") as answer:
            assert answer.read() == file.data
            assert answer.headers["Content-Type"] == file.content_type
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            policy = answer.headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; ")
            assert "frame-ancestors 'none'" in policy
    status, headers, body = ask(server, "/", "HEAD")
    assert (status, headers["Content-Length"], body) == (200, "7", b"")
    assert server.server_address[0] == "127.0.0.1"


@pytest.mark.parametrize(
    "path",
    ["/engine", "/engine/", "/engine/../index.html", "/../index.html", "/%69ndex.html",
     "/engine%2fstep.wasm", "/etc/passwd", "/..%2f..%2fetc/passwd", "index.html", "*"],
)  # fmt: skip
def test_other_paths_are_not_found(server, path):
    status, headers, body = ask(server, path)
    assert status == 404
    assert b"page" not in body
    assert "Content-Security-Policy" in headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "TRACE"])
def test_other_methods_are_refused(server, method):
    assert ask(server, "/", method, body=b"x" * 1000)[0] == 501


def test_other_hosts_are_refused(server):
    port = server.server_port
    assert ask(server, "/", host=[f"localhost:{port}"])[0] == 200
    wrong = [
        [],
        ["evil.example"],
        ["127.0.0.1"],
        [f"evil.example:{port}"],
        [f"127.0.0.1:{port + 1}"],
    ]
    wrong.append([f"127.0.0.1:{port}", "evil.example"])
    for host in wrong:
        status, _, body = ask(server, "/", host=host)
        assert (status, b"page" in body) == (403, False), host


def test_a_port_that_is_taken(server, run_tool):
    with pytest.raises(PerfRnnError, match="--port=0 takes a free one"):
        Server(FILES, server.server_port)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        ended = run_tool(TOOL, f"--port={port}", "--config=performance", "--noopen_browser")
    assert ended.status == 1
    assert f"port {port} cannot be used" in ended.error


@pytest.fixture
def soundfont(tmp_path):
    path = tmp_path / "own.sf2"
    path.write_bytes(b"RIFF\4\0\0\0sfbk")
    return path


NAME = "optional_multiconditioned_performance_with_dynamics.mag"
BUNDLE = pathlib.Path(__file__).parents[2] / "testdata" / "magenta_bundles" / NAME


def test_the_tool_writes_a_folder(run_tool, tmp_path, soundfont):
    folder = tmp_path / "site"
    ended = run_tool(
        TOOL, f"--bundle_file={BUNDLE}", f"--output_dir={folder}", f"--soundfont={soundfont}",
        "--title=A <b>", "--description=C & d", "--weights=float32",
    )  # fmt: skip
    assert ended.status == 0, ended.err
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert f"Wrote {folder}: {len(files)} files" in ended.out
    assert ended.out.endswith(f"python3 -m http.server --bind=127.0.0.1 --directory={folder}\n")
    assert {"index.html", "studio.js", "model.bin", "model.txt", "base.css"} <= files
    assert {"engine/worker.js", "engine/step.wasm", "sound/piano.js"} <= files
    assert "sound/LICENSE.md" not in files
    assert not [name for name in files if name.endswith(".c")]
    page = (folder / "index.html").read_text()
    assert "<title>A &lt;b&gt;</title>" in page
    assert "<p>C &amp; d</p>" in page
    assert 'http-equiv="Content-Security-Policy" content="default-src \'self\'' in page
    assert "$" not in page
    assert (folder / "sound/piano.sf3").read_bytes() == soundfont.read_bytes()


def test_what_the_tool_refuses(run_tool, tmp_path):
    text = tmp_path / "text.sf2"
    text.write_text("no soundfont")
    assert run_tool(TOOL, f"--bundle_file={BUNDLE}", f"--soundfont={text}").error == (
        f"ERROR: {text}: not a soundfont (.sf2 or .sf3)"
    )
    assert "value should be one of" in run_tool(TOOL, "--weights=int4").error
    assert "--output_dir is empty" in run_tool(TOOL, "--output_dir=").error


def test_the_licence_lies_beside_the_weights():
    shipped = site.make_site(models.load_model("performance"), "int8")["model.txt"].data.decode()
    assert "Licence: CC BY-NC-SA 4.0\n" in shipped
    assert "ASAP dataset (Foscarin et al., 2020" in shipped
    other = site.make_site(models.load_model(BUNDLE))["model.txt"].data.decode()
    assert "Licence: not known\n" in other
