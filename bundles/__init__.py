"""Bundles: trained networks in Magenta's ``.mag`` file format, and the ones shipped here.

A bundle is one file with everything that a generator needs: an id, a description and the
weights. `read_bundle` and `write_bundle` turn it into plain NumPy arrays and back;
`shipped_bundle_path` finds the bundles that come with the package; `describe_file`,
`describe_network` and `unpack_bundle` show what is in a file.

Reading a bundle needs NumPy and protobuf; writing one loads TensorFlow, and so does reading one
whose checkpoint is compressed.
"""

import importlib
from typing import TYPE_CHECKING, Any

from bundles.errors import PerfRnnError

if TYPE_CHECKING:
    from bundles.bundle import (
        Attention,
        Bundle,
        BundleError,
        GeneratorBundleParseError,
        LstmLayer,
        Projection,
    )
    from bundles.files import (
        bundle_from_proto,
        read_bundle,
        read_bundle_file,
        shipped_bundle_names,
        shipped_bundle_path,
        write_bundle,
    )
    from bundles.inspection import describe_file, describe_network, unpack_bundle

__all__ = [
    "Attention",
    "Bundle",
    "BundleError",
    "GeneratorBundleParseError",
    "LstmLayer",
    "PerfRnnError",
    "Projection",
    "bundle_from_proto",
    "describe_file",
    "describe_network",
    "read_bundle",
    "read_bundle_file",
    "shipped_bundle_names",
    "shipped_bundle_path",
    "unpack_bundle",
    "write_bundle",
]


def __getattr__(name: str) -> Any:
    # Imported on first use: every tool imports `bundles.errors`, and its --help needs no NumPy.
    if name in __all__:
        for module in ("bundle", "files", "inspection"):
            found = vars(importlib.import_module(f"bundles.{module}"))
            if name in found:
                return found[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
