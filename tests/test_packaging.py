"""What a wheel holds: the packages, the shipped bundles, the web page's files and the metadata."""

import email
import pathlib
import subprocess
import sys

import pytest

import perf_rnn

ROOT = pathlib.Path(__file__).parent.parent
LARGE = "performance_with_dynamics_large.mag"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder with what the wheel would hold, and the fields of its metadata."""
    pytest.importorskip("setuptools", "77.0.3")
    path = tmp_path_factory.mktemp("wheel")
    commands = ["build_py", f"--build-lib={path}", "dist_info", f"--output-dir={path}"]
    subprocess.run(
        [sys.executable, ROOT / "setup.py", "--quiet", *commands],
        check=True, cwd=ROOT, capture_output=True,
    )  # fmt: skip
    (metadata,) = path.glob("*.dist-info/METADATA")
    return path, email.message_from_string(metadata.read_text(encoding="utf-8"))


def test_it_holds_all_that_the_packages_read(built):
    path, _ = built
    rooms = ("bundles", "perf_rnn", "pipelines")
    kept = [file for room in rooms for file in (ROOT / room).rglob("*") if file.is_file()]
    # The large bundle alone would make a wheel too large for PyPI.
    expected = {
        str(file.relative_to(ROOT))
        for file in kept
        if file.suffix in (".py", ".mag", ".binpb", ".typed") or "web" in file.parts
    } - {f"bundles/{LARGE}"}
    found = {str(file.relative_to(path)) for room in rooms for file in (path / room).rglob("*.*")}
    assert found == expected | {"bundles/README.md"}
    assert {f"{room}/py.typed" for room in rooms} <= found
    assert sum(name.endswith(".mag") for name in found) == 3
    web = (
        "rendering/web/page.html",
        "rendering/web/sound/piano.sf3",
        "studio/web/engine/step.wasm",
    )
    assert {f"perf_rnn/{name}" for name in web} <= found


def test_metadata(built):
    _, metadata = built
    assert metadata["Version"] == perf_rnn.__version__
    assert metadata["License-Expression"] == "Apache-2.0 AND CC-BY-3.0 AND CC-BY-NC-SA-4.0"
    licences = ["LICENSE", "bundles/README.md", "perf_rnn/rendering/web/sound/LICENSE.md"]
    assert metadata.get_all("License-File") == licences
    assert metadata.get_payload().startswith("# perf_rnn\n")
