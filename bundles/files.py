"""Bundle files: GeneratorBundle protos (``.mag``), read and written.

Magenta's proto holds the generator's id and description, the bundle's description, one V1
checkpoint with the weights, and a metagraph: the network as a TensorFlow 1 graph. Reading never
loads the metagraph, since it is a program: names and shapes of the weights tell what the network
is. Bundles written here have none yet, so the original Magenta cannot run them.

Our own facts (`Bundle.extra`) ride in a field that Magenta's proto does not declare, as JSON.
Protobuf skips a field it does not know, and copies it when a proto is parsed and written again,
so Magenta neither sees nor loses it, and the checkpoint stays exactly what Magenta would write.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bundles.bundle import Bundle, BundleError, GeneratorBundleParseError, printable
from bundles.checkpoint import read_checkpoint, write_checkpoint
from bundles.variables import variables_from_weights, weights_from_variables

if TYPE_CHECKING:
    from note_seq.protobuf import generator_pb2

# Far above any number in use: Magenta's GeneratorBundle has fields 1 to 4.
_EXTRA_FIELD = 1000
_LENGTH_DELIMITED = 2
# Three layers of 512 units make 25 MB; a proto cannot exceed 2 GiB.
_MAX_FILE_BYTES = 1 << 30
# How files that people take for bundles begin.
_LOOKALIKES = {
    b"<": "a web page, perhaps an error page that was saved in its place",
    b"MThd": "a MIDI file",
    b"PK\x03\x04": "a zip archive",
    b"\x89HDF": "an HDF5 file",
}


def shipped_bundle_path(config_key: str) -> Path:
    """Returns the path of the bundle that is shipped for a config.

    Raises:
        BundleError: none is shipped for `config_key`; the message names those there are.
    """
    directory = Path(__file__).resolve().parent
    shipped = sorted(path.stem for path in directory.glob("*.mag"))
    if config_key not in shipped:
        raise BundleError(
            f"no bundle is shipped for config '{config_key}'; there is one for: "
            f"{', '.join(shipped) or '(none)'}"
        )
    return directory / f"{config_key}.mag"


def read_bundle(path: str | os.PathLike[str]) -> Bundle:
    """Returns the bundle in a ``.mag`` file, whichever generator's it is.

    Nothing in the file is executed, and memory stays within some twenty times its size.

    Raises:
        BundleError: the file cannot be read, is not a bundle (GeneratorBundleParseError), or its
            network is damaged or not a plain LSTM stack.
    """
    proto = read_bundle_file(path)
    try:
        layers, output_kernel, output_bias = weights_from_variables(
            read_checkpoint(proto.checkpoint_file[0])
        )
        return Bundle(
            id=proto.generator_details.id,
            description=proto.generator_details.description,
            bundle_description=proto.bundle_details.description,
            layers=layers,
            output_kernel=output_kernel,
            output_bias=output_bias,
            extra=_read_extra(proto),
        )
    except BundleError as error:
        shown_id = printable(proto.generator_details.id)
        raise BundleError(f"{path} (a bundle of '{shown_id}'): {error}") from error


def read_bundle_file(path: str | os.PathLike[str]) -> generator_pb2.GeneratorBundle:
    """Returns the GeneratorBundle proto in a ``.mag`` file; Magenta's function of that name.

    Raises:
        BundleError: the file cannot be read or is too large.
        GeneratorBundleParseError: what it holds is not a generator's bundle.
    """
    from google.protobuf.message import DecodeError
    from note_seq.protobuf import generator_pb2

    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise BundleError(f"{path}: cannot read the bundle: {error.strerror}") from error
    if len(data) > _MAX_FILE_BYTES:
        raise BundleError(f"{path}: over {_MAX_FILE_BYTES:,} bytes, too large for a bundle")
    try:
        proto = generator_pb2.GeneratorBundle.FromString(data)
    except DecodeError as error:
        raise GeneratorBundleParseError(f"{path}: not a bundle: {_describe(data)}") from error
    if not proto.generator_details.id:
        raise GeneratorBundleParseError(f"{path}: not a bundle: {_describe(data)}")
    if len(proto.checkpoint_file) != 1:
        raise GeneratorBundleParseError(
            f"{path}: not a bundle we can read: it needs one checkpoint file and has "
            f"{len(proto.checkpoint_file)}"
        )
    return proto


def write_bundle(path: str | os.PathLike[str], bundle: Bundle) -> None:
    """Writes a ``.mag`` file; `path` holds either the whole bundle or what it held before.

    Raises:
        BundleError: the file cannot be written, or JSON cannot hold `bundle.extra`.
    """
    from note_seq.protobuf import generator_pb2

    proto = generator_pb2.GeneratorBundle()
    proto.generator_details.id = bundle.id
    proto.generator_details.description = bundle.description
    proto.bundle_details.description = bundle.bundle_description
    extra = _encode_extra(bundle.extra)
    proto.checkpoint_file.append(write_checkpoint(variables_from_weights(bundle)))
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            # Fields may come in any order, so those of one proto can be appended to another.
            temporary.write_bytes(proto.SerializeToString() + extra)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise BundleError(f"{path}: cannot write the bundle: {error.strerror}") from error


def _describe(data: bytes) -> str:
    """Says what a file is that is not a bundle."""
    if not data:
        return "the file is empty"
    start = data[:64].lstrip()
    for signature, what in _LOOKALIKES.items():
        if start.startswith(signature):
            return f"this is {what}"
    return "it is something else, damaged, or only the beginning of one"


def _encode_extra(extra: Mapping[str, Any]) -> bytes:
    """Returns `extra` as a serialised proto field; nothing if it is empty."""
    if not extra:
        return b""
    try:
        data = json.dumps(dict(extra), allow_nan=False, sort_keys=True).encode()
    except (TypeError, ValueError) as error:
        raise BundleError(f"the bundle's extra facts do not fit into JSON: {error}") from error
    tag = _EXTRA_FIELD << 3 | _LENGTH_DELIMITED
    return _varint(tag) + _varint(len(data)) + data


def _read_extra(proto: generator_pb2.GeneratorBundle) -> dict[str, Any]:
    from google.protobuf.unknown_fields import UnknownFieldSet

    extra: dict[str, Any] = {}
    for field in UnknownFieldSet(proto):
        if field.field_number == _EXTRA_FIELD and field.wire_type == _LENGTH_DELIMITED:
            try:
                extra = json.loads(field.data)
            except (ValueError, RecursionError) as error:
                raise BundleError("its extra facts are not JSON") from error
            if not isinstance(extra, dict):
                raise BundleError("its extra facts are not a JSON object")
    return extra


def _varint(value: int) -> bytes:
    """Returns a number in protobuf's variable-length encoding."""
    data = bytearray()
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    data.append(value)
    return bytes(data)
