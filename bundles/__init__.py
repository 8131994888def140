"""Bundles: trained networks in Magenta's ``.mag`` file format, and the ones shipped here.

A bundle is one file with everything that a generator needs: an id, a description and the
weights. `read_bundle` and `write_bundle` turn it into plain NumPy arrays and back;
`shipped_bundle_path` finds the bundles that come with the package.

Importing this package needs NumPy alone. TensorFlow and note_seq are loaded by the functions
that open a file.
"""

from bundles.bundle import Bundle, BundleError, GeneratorBundleParseError, LstmLayer
from bundles.files import read_bundle, read_bundle_file, shipped_bundle_path, write_bundle

__all__ = [
    "Bundle",
    "BundleError",
    "GeneratorBundleParseError",
    "LstmLayer",
    "read_bundle",
    "read_bundle_file",
    "shipped_bundle_path",
    "write_bundle",
]
