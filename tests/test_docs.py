"""What the documents show works: commands and flags exist, Python runs, links lead somewhere."""

import ast
import functools
import os
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

from pipelines.tools.perf_rnn import COMMANDS

ROOT = pathlib.Path(__file__).parent.parent
DOCUMENTS = (
    *("README.md", "CONTRIBUTING.md", "WORKSPACE.md", "bundles/README.md"),
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md")),
)
GUIDE = [document for document in DOCUMENTS if document == "README.md" or "docs/" in document]
TOOLS = {
    path.stem: path
    for room in ("pipelines", "perf_rnn")
    for path in (ROOT / room / "tools").glob("*.py")
    if path.stem not in ("__init__", "cli", "perf_rnn")
}
SCRIPTS = ("bundles/train.sh", "bundles/samples/make.sh")
# Other programs; those of .venv/bin are named by it or, once it is activated, bare.
PROGRAMS = {".", "make", "python3", "python", "pip", "ruff", "mypy", "tensorboard"}


def blocks(document: str, language: str) -> list[str]:
    """Returns the code blocks of a language in a document."""
    text = (ROOT / document).read_text(encoding="utf-8")
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```$", text, re.DOTALL | re.MULTILINE)
    return [block for _, block in found]


def commands(document: str) -> list[list[str]]:
    """Returns the words of each command in a document's shell blocks."""
    lines = "\n".join(blocks(document, "sh")).replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines if line.strip()]


def tool_of(words: list[str]) -> str:
    """Returns the program that a command runs; that of `perf_rnn play` is its tool."""
    program = words[0].removeprefix(".venv/bin/")
    if program == "perf_rnn":
        return COMMANDS[words[1]][0].rpartition(".")[2]
    # The script of a packed training hands its flags on.
    return "performance_rnn_pack" if program == "packed/run.sh" else program


def flags_of(words: list[str]) -> set[str]:
    return {word.removeprefix("--").partition("=")[0] for word in words if word.startswith("--")}


@functools.cache
def flags_in_help(tool: str) -> set[str]:
    """Returns the flags that a tool's --help shows; of a boolean both `x` and `nox`."""
    path = TOOLS[tool]
    shown = subprocess.run(
        [sys.executable, "-m", f"{path.parent.parent.name}.tools.{tool}", "--help"],
        check=True,
        cwd=ROOT,
        capture_output=True,
        text=True,
    ).stdout
    found = re.findall(r"^\s+(?:-\w,)?--(\[no\])?(\w+)", shown, re.MULTILINE)
    return {name for _, name in found} | {f"no{name}" for no, name in found if no}


@pytest.mark.parametrize("tool", TOOLS)
def test_help_shows_every_flag(tool):
    defined = re.findall(r'flags\.DEFINE_\w+\(\s*"(\w+)"', TOOLS[tool].read_text(encoding="utf-8"))
    assert len(defined) >= 3
    assert {*defined, "log"} <= flags_in_help(tool)


@pytest.mark.parametrize("tool", TOOLS)
def test_help_begins_with_two_examples(tool):
    text = ast.get_docstring(ast.parse(TOOLS[tool].read_text(encoding="utf-8")))
    _, _, examples = text.partition("\n\nExamples:\n")
    lines = examples.replace("\\\n", " ").splitlines()
    assert len(lines) == 2
    for words in map(shlex.split, lines):
        assert words[0] == tool
        assert flags_of(words) <= flags_in_help(tool)


def test_perf_rnn_has_a_command_for_every_tool():
    assert {module.rpartition(".")[2] for module, _ in COMMANDS.values()} == TOOLS.keys()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_and_flags_exist(document):
    for words in commands(document):
        program = tool_of(words)
        if program in TOOLS:
            assert flags_of(words) <= flags_in_help(program), shlex.join(words)
        else:
            assert program in (*PROGRAMS, *SCRIPTS), shlex.join(words)
        if program == "make":
            assert f"\n{words[1]}:" in (ROOT / "Makefile").read_text(encoding="utf-8")


@pytest.mark.parametrize("script", SCRIPTS)
def test_flags_in_the_scripts_exist(script):
    flags = re.findall(r"--(\w+)", (ROOT / script).read_text(encoding="utf-8"))
    assert set(flags) <= set().union(*map(flags_in_help, TOOLS))
    assert len(flags) > 5


@pytest.mark.parametrize("document", DOCUMENTS)
def test_flags_in_the_text_exist(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    known = set().union(*map(flags_in_help, TOOLS))
    assert set(re.findall(r"`--(\w+)", text)) <= known | {"help"}


def test_the_guide_shows_every_tool():
    shown = {tool_of(words) for document in GUIDE for words in commands(document)}
    assert shown >= TOOLS.keys()


def test_the_readme_is_a_quick_start():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.slow
@pytest.mark.parametrize("document", [name for name in GUIDE if blocks(name, "python")])
def test_python_runs(document, asap_dir, tmp_path):
    (tmp_path / "my_midi").symlink_to(asap_dir)
    for number, block in enumerate(blocks(document, "python")):
        # A file, since processes that a program starts import it.
        program = tmp_path / f"program_{number}.py"
        short = re.sub(r"\bseconds=\d+", "seconds=2", block)
        program.write_text(short, encoding="utf-8")
        subprocess.run(
            [sys.executable, program],
            check=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip


def anchors(path: pathlib.Path) -> set[str]:
    """Returns the anchors that GitHub gives to a document's headings."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", [*DOCUMENTS, "CHANGELOG.md", "benchmarks/README.md"])
def test_links_lead_somewhere(document):
    here = ROOT / document
    for link in re.findall(r"\]\(([^)]+)\)", here.read_text(encoding="utf-8")):
        if not link.startswith("https://"):
            path, _, anchor = link.partition("#")
            target = here.parent / path if path else here
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


def test_files_named_in_the_workspace_exist():
    text = (ROOT / "WORKSPACE.md").read_text(encoding="utf-8")
    named = re.findall(r"\b(?:tests|perf_rnn|pipelines|bundles|benchmarks)/[\w/]*\w\.\w+", text)
    assert len(named) >= 5
    assert not [path for path in named if not (ROOT / path).exists()]
