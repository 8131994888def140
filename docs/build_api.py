"""Writes the API reference, one page for each module: python docs/build_api.py DIRECTORY.

The tools' modules are left out: their flags share names, so that only one of them can be imported
at a time, and `--help` describes them.
"""

import pathlib
import sys
import warnings

import pdoc

import bundles
import perf_rnn

ROOT = pathlib.Path(__file__).parent.parent


def main(directory: pathlib.Path) -> None:
    # Both import these names only when they are asked for; pdoc looks for what is there.
    for package in (bundles, perf_rnn):
        vars(package).update({name: getattr(package, name) for name in package.__all__})
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for room in ("perf_rnn", "pipelines", "bundles")
        for path in sorted((ROOT / room).rglob("*.py"))
        if "tools" not in path.parts
    ]
    # pdoc warns, and goes on, where a module or a name in __all__ cannot be imported.
    warnings.filterwarnings(
        "error", "Error (load|import)ing |Couldn't import |Found .* not resolve"
    )
    # A package brings its modules along, unless it has an __all__.
    warnings.filterwarnings("ignore", "The module specification .* has already been added")
    pdoc.render.configure(docformat="google", search=False)
    pdoc.pdoc(*modules, r"!\w+\.tools.*", output_directory=directory)
    print(f"Wrote {directory / 'index.html'}, with {len(modules)} modules.")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
