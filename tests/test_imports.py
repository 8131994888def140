"""The rooms stand in one line, pipelines -> perf_rnn -> bundles, and start without TensorFlow."""

import ast
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).parent.parent
MAY_IMPORT = {
    "pipelines": {"pipelines", "perf_rnn", "bundles"},
    "perf_rnn": {"perf_rnn", "bundles"},
    "bundles": {"bundles"},
}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for room in MAY_IMPORT
    for path in sorted((ROOT / room).rglob("*.py"))
}
TOOLS = sorted(name for name in MODULES if ".tools." in name)
# From high to low: a room imports only from the rooms below its own line.
ORDER = (
    ("tools",),
    # The last two are Magenta's names of modules in magenta.
    ("analysis", "magenta", "performance_model", "performance_sequence_generator"),
    ("training", "studio"),
    ("generation", "network", "rendering"),
    ("data",),
    ("models",),
    ("configs",),
    ("events", "hparams"),
    ("notes",),
    ("literals", "progress"),
)
# Packages that are installed under another name than they are imported by.
DISTRIBUTIONS = {
    "absl": "absl-py",
    "apache_beam": "apache-beam",
    "google": "protobuf",
    "google_crc32c": "google-crc32c",
    "note_seq": "note-seq",
}
# They compute with TensorFlow, or are about note_seq's own objects.
NEED_SLOW_LIBRARIES = {
    "bundles.note_seq_protos",
    *("perf_rnn.training.jax_step", "perf_rnn.training.tensorflow_step"),
    *(name for name in MODULES if name.startswith("perf_rnn.magenta.")),
    *("perf_rnn.performance_model", "perf_rnn.performance_sequence_generator"),
}

# Run before an import, it makes those of the slow libraries fail.
BLOCK = "import sys; sys.modules |= dict.fromkeys(['tensorflow', 'note_seq', 'keras'])"
# Keras itself imports its backend, TensorFlow by default, so an empty stand-in takes its place.
KERAS_STAND_IN = """
import types
class Keras(types.ModuleType):
    def __getattr__(self, name):
        return object if name[0].isupper() else Keras(name)
    def __call__(self, *args, **kwargs):
        return lambda decorated: decorated
sys.modules['keras'] = Keras('keras')
"""


def imports(path: pathlib.Path) -> Iterator[str]:
    """Yields the name of every module that a file imports, in functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            if node.module == "perf_rnn":  # Its modules, or its version.
                yield from (f"perf_rnn.{alias.name}" for alias in node.names)
            else:
                yield str(node.module)


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_rooms_import_only_to_their_right(room):
    imported = {
        (module, name)
        for module, path in MODULES.items()
        if module.split(".")[0] == room
        for name in imports(path)
        if name.split(".")[0] in MAY_IMPORT
    }
    assert imported
    assert not {(m, name) for m, name in imported if name.split(".")[0] not in MAY_IMPORT[room]}


def test_rooms_of_perf_rnn_import_only_from_those_below():
    level = {room: number for number, rooms in enumerate(ORDER) for room in rooms}
    wrong = []
    rooms = set()
    for module, path in MODULES.items():
        if not module.startswith("perf_rnn."):
            continue
        room = module.split(".")[1]
        rooms.add(room)
        for name in imports(path):
            package, _, rest = name.partition(".")
            imported = rest.split(".")[0]
            if package != "perf_rnn" or imported not in level or imported == room:
                continue
            if module.startswith("perf_rnn.performance_") and imported == "magenta":
                continue
            if level[imported] <= level[room]:
                wrong.append((module, name))
    assert rooms == level.keys()
    assert not wrong


def test_every_room_was_walked():
    assert {
        "pipelines.pipeline",
        "perf_rnn.network.network",
        "perf_rnn.rendering.audio",
        "bundles.files",
    } <= MODULES.keys()
    assert len(TOOLS) >= 8  # Seven tools, and what they share.


def test_pyproject_declares_every_package_imported():
    imported = {name.split(".")[0] for path in MODULES.values() for name in imports(path)}
    packages = imported - sys.stdlib_module_names - MAY_IMPORT.keys()
    declared = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert not {name for name in packages if f'"{DISTRIBUTIONS.get(name, name)}>=' not in declared}


@pytest.mark.parametrize("module", ["perf_rnn", "perf_rnn.generation.generate", "bundles", *TOOLS])
def test_starts_without_slow_libraries(module):
    code = f"{BLOCK}\nimport {module}"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_modules_start_without_tensorflow_and_note_seq():
    rooms = ("perf_rnn.", "bundles.")
    modules = {name for name in MODULES if name.startswith(rooms)} - {*TOOLS, *NEED_SLOW_LIBRARIES}
    assert "perf_rnn.network.network" in modules
    code = f"{BLOCK}\n{KERAS_STAND_IN}\nimport {', '.join(sorted(modules))}"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize("module", ["bundles", "perf_rnn", "perf_rnn.rendering"])
def test_every_name_of_all_can_be_imported(module):
    code = f"import {module} as m; assert [getattr(m, name) for name in m.__all__]"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
