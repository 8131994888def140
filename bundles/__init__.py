"""Bundles: trained networks in Magenta's ``.mag`` file format, and the ones shipped here.

A bundle is one file with everything that a generator needs: an id, a description and the
weights. `read_bundle` and `write_bundle` turn it into plain NumPy arrays and back;
`shipped_bundle_path` finds the bundles that come with the package; `describe_file`,
`describe_network` and `unpack_bundle` show what is in a file.

Importing this package needs NumPy alone, and reading a bundle protobuf besides; writing one loads
TensorFlow, and so does reading one whose checkpoint is compressed.
"""

from bundles.bundle import (
    Attention,
    Bundle,
    BundleError,
    GeneratorBundleParseError,
    LstmLayer,
    Projection,
)
from bundles.errors import PerfRnnError
from bundles.files import (
    bundle_from_proto,
    read_bundle,
    read_bundle_file,
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
    "shipped_bundle_path",
    "unpack_bundle",
    "write_bundle",
]
