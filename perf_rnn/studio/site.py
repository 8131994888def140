"""The studio's files: what is served to the browser, or written as a static folder.

The page, its scripts, its sound and the model are files under relative URLs, so the folder works
under any address and needs nothing but a web server.
"""

import dataclasses
import html
import os
import pathlib
import string
import urllib.parse
from collections.abc import Mapping

import perf_rnn
from bundles.atomic_files import atomic_path, make_directory
from bundles.errors import PerfRnnError
from bundles.regular_files import read_regular
from perf_rnn.events.scales import SCALES, scale_histogram
from perf_rnn.generation.presets import PRESETS
from perf_rnn.models import Model
from perf_rnn.studio.model_file import encode_model, model_facts

PAGE = "index.html"
MODEL = "model.bin"
MODEL_FACTS = "model.txt"
SOUNDFONT = "sound/piano.sf3"
SOUND_LICENCE = "sound/LICENSE.md"
MAX_SOUNDFONT_BYTES = 1 << 28  # Browsers hold it in memory.
TITLE = "Performance RNN"
DESCRIPTION = (
    "A neural network that has listened to pianists improvises. Press Play, or play along."
)

# Only this page's own files are loaded, WebAssembly is compiled, and nothing is sent anywhere.
POLICY = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; "
    "style-src 'self'; connect-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "object-src 'none'; base-uri 'none'; form-action 'none'"
)

# The endings of files that are served; sources such as step.c are not.
_TYPES = {
    ".bin": "application/octet-stream",
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".md": "text/plain; charset=utf-8",
    ".sf3": "application/octet-stream",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
}
_ROOT = pathlib.Path(perf_rnn.__file__).parent
_WEB = _ROOT / "studio" / "web"
# The page of pieces has these too.
_SHARED_WEB = _ROOT / "rendering" / "web"
_SHARED = ("base.css", "sound/*.js", SOUNDFONT, SOUND_LICENCE)


@dataclasses.dataclass(frozen=True)
class File:
    """A file of the site: its bytes, and their content type."""

    data: bytes
    content_type: str


def make_site(
    model: Model,
    weights: str = "float16",
    soundfont: str | os.PathLike[str] | None = None,
    title: str = TITLE,
    description: str = DESCRIPTION,
) -> dict[str, File]:
    """Returns the site's files by their path relative to the page.

    Args:
      model: the network that plays.
      weights: how its weights are stored, one of `model_file.WEIGHTS`.
      soundfont: path of a soundfont (.sf2, .sf3) to play in place of the piano that comes with it.
      title: the page's heading.
      description: a sentence below it.

    Raises:
      PerfRnnError: `weights` is unknown or cannot hold the model's, or it is no soundfont.
      OSError: the soundfont cannot be read.
    """
    files = [(path, path.relative_to(_WEB)) for path in _WEB.rglob("*")]
    files += [
        (path, path.relative_to(_SHARED_WEB)) for each in _SHARED for path in _SHARED_WEB.glob(each)
    ]
    data = {
        name.as_posix(): path.read_bytes() for path, name in sorted(files) if name.suffix in _TYPES
    }
    page = string.Template(data[PAGE].decode()).substitute(
        policy=POLICY,
        title=html.escape(title),
        description=html.escape(description),
        moods=_moods(),
        scales=_scales(),
    )
    data[PAGE] = page.encode()
    if soundfont is not None:
        del data[SOUND_LICENCE]
        data[SOUNDFONT] = _read_soundfont(soundfont)
    data[MODEL] = encode_model(model, weights)
    facts = model_facts(model)
    data[MODEL_FACTS] = (
        f"{facts['name']}\nConfig: {facts['config']}\n"
        f"Description: {facts['description'] or 'none'}\n"
        f"Licence: {facts['licence'] or 'not known'}\n"
    ).encode()
    return {path: File(data, _TYPES[os.path.splitext(path)[1]]) for path, data in data.items()}


def _moods() -> str:
    """The presets as options of a choice; their values are settings as in the page's address."""
    moods = {}
    for name, preset in PRESETS.items():
        asked = preset["notes_per_second"]
        densities = asked if isinstance(asked, list) else [asked]
        settings = {
            "notes_per_second": "-".join(f"{density:g}" for density in densities),
            "pitch_class_histogram": _pitch_classes(preset["pitch_class_histogram"]),
        }
        moods[name] = urllib.parse.urlencode(settings)
    return _options(moods)


def _scales() -> str:
    """The scales on C as options of a choice."""
    return _options({name.replace("_", " "): _pitch_classes(f"C {name}") for name in SCALES})


def _pitch_classes(scale: str) -> str:
    return "".join(f"{weight:g}" for weight in scale_histogram(scale))


def _options(values: Mapping[str, str]) -> str:
    return "".join(
        f'<option value="{html.escape(value)}">{name}</option>' for name, value in values.items()
    )


def _read_soundfont(path: str | os.PathLike[str]) -> bytes:
    data = read_regular(os.path.expanduser(path), MAX_SOUNDFONT_BYTES)
    if data[:4] != b"RIFF" or data[8:12] != b"sfbk":
        raise PerfRnnError(f"{os.fspath(path)}: not a soundfont (.sf2 or .sf3)")
    return data


def write_site(directory: str | os.PathLike[str], files: Mapping[str, File]) -> None:
    """Writes a site as a folder that any web server can serve; all of it, or nothing.

    Raises:
      OSError: it cannot be written, or the directory is there and not empty.
    """
    with atomic_path(directory) as temporary:
        for path, file in files.items():
            target = temporary / path
            make_directory(os.fspath(target.parent))
            target.write_bytes(file.data)
