"""Bundle files: GeneratorBundle protos (``.mag``), read and written.

Magenta's proto holds the generator's id and description, the bundle's description, one V1
checkpoint with the weights, and a metagraph: the network as a TensorFlow 1 graph. The metagraph is
a program and is never loaded: the network follows from the names and shapes of the weights, and
only a few shapes are read from the metagraph, as data.

Our own metadata (`Bundle.extra`) is JSON in a field that Magenta's proto does not declare. Protobuf
skips unknown fields and keeps them when a proto is parsed and written again, so Magenta is not
affected, and the checkpoint is exactly what Magenta would write.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bundles.atomic_files import atomic_write
from bundles.bundle import Bundle, BundleError, GeneratorBundleParseError, printable
from bundles.checkpoint import read_checkpoint, write_checkpoint
from bundles.errors import PerfRnnError
from bundles.metagraph import ANY_WIDTH, GraphFacts, read_metagraph, write_metagraph
from bundles.regular_files import read_regular
from bundles.variables import variables_from_weights, weights_from_variables

if TYPE_CHECKING:
    from note_seq.protobuf import generator_pb2

# Far above any number in use: Magenta's GeneratorBundle has fields 1 to 4.
_EXTRA_FIELD = 1000
_LENGTH_DELIMITED = 2
# Three layers of 512 units make 25 MB; a proto cannot exceed 2 GiB.
MAX_BUNDLE_BYTES = 1 << 30
# The first bytes of files that users may take for bundles.
_LOOKALIKES = {
    b"<": "a web page, perhaps an error page that was saved in its place",
    b"MThd": "a MIDI file",
    b"PK\x03\x04": "a zip archive",
    b"\x89HDF": "an HDF5 file",
}


def shipped_bundle_names() -> list[str]:
    """Returns the names of the shipped bundles: a config's, or one that begins with a config's."""
    return sorted(path.stem for path in Path(__file__).resolve().parent.glob("*.mag"))


def shipped_bundle_path(name: str) -> Path:
    """Returns the path of a shipped bundle, by its name.

    Raises:
        BundleError: there is no such bundle; the message names those there are.
    """
    shipped = shipped_bundle_names()
    if name not in shipped:
        raise BundleError(
            f"there is no shipped bundle '{name}'; there are: {', '.join(shipped) or '(none)'}"
        )
    return Path(__file__).resolve().parent / f"{name}.mag"


def read_bundle(path: str | os.PathLike[str]) -> Bundle:
    """Returns the bundle in a ``.mag`` file, of any generator.

    Nothing in the file is executed. Memory stays within some twenty times its size and 60 MB.

    Raises:
        BundleError: the file cannot be read, is not a bundle (GeneratorBundleParseError), or its
            network is damaged or not an LSTM stack.
    """
    return bundle_from_proto(read_bundle_file(path), path)


def bundle_from_proto(
    proto: generator_pb2.GeneratorBundle, path: str | os.PathLike[str] = ""
) -> Bundle:
    """Returns the bundle in a GeneratorBundle proto.

    Args:
        proto: the proto.
        path: its file, for messages; "" if it comes from none.

    Raises:
        BundleError: its network is damaged or not an LSTM stack.
    """
    shown_id = printable(proto.generator_details.id)
    try:
        checkpoint = proto.checkpoint_file
        if len(checkpoint) != 1:
            raise BundleError(f"it needs one checkpoint file and has {len(checkpoint)}")
        graph = read_metagraph(proto.metagraph_file)
        extra = extra_of(proto)

        def attn_length(layer_sizes: Sequence[int]) -> int:
            return _attn_length(layer_sizes, graph, extra)

        layers, output_kernel, output_bias = weights_from_variables(
            read_checkpoint(checkpoint[0]), attn_length
        )
        heads = graph.head_sizes
        if sum(heads) != output_bias.size:
            heads = (output_bias.size,)
        # An event's index can replace its one-hot vector, and no other input.
        index_input = heads == (layers[0].input_size,) and graph.input_width in (1, ANY_WIDTH)
        return Bundle(
            id=proto.generator_details.id,
            description=proto.generator_details.description,
            bundle_description=proto.bundle_details.description,
            layers=layers,
            output_kernel=output_kernel,
            output_bias=output_bias,
            extra=extra,
            head_sizes=heads,
            index_input=index_input,
        )
    except BundleError as error:
        place = f"{path}: " if path else ""
        raise BundleError(f"{place}a bundle of '{shown_id}': {error}") from error


def read_bundle_file(path: str | os.PathLike[str]) -> generator_pb2.GeneratorBundle:
    """Returns the GeneratorBundle proto in a ``.mag`` file; Magenta's function of that name.

    Raises:
        BundleError: the file cannot be read or is too large.
        GeneratorBundleParseError: what it holds is not a generator's bundle.
    """
    from google.protobuf.message import DecodeError

    from bundles.note_seq_protos import GeneratorBundle

    try:
        data = read_regular(path, MAX_BUNDLE_BYTES)
    except PerfRnnError as error:
        raise BundleError(str(error)) from None
    except OSError as error:
        raise BundleError(f"{path}: cannot read the bundle: {error.strerror}") from error
    try:
        proto = GeneratorBundle.FromString(data)
    except DecodeError as error:
        raise GeneratorBundleParseError(f"{path}: not a bundle: {_describe(data)}") from error
    if not proto.generator_details.id:
        raise GeneratorBundleParseError(f"{path}: not a bundle: {_describe(data)}")
    return proto


def write_bundle(path: str | os.PathLike[str], bundle: Bundle) -> None:
    """Writes a ``.mag`` file in one atomic write.

    Raises:
        BundleError: JSON cannot hold `bundle.extra`.
        OSError: the file cannot be written.
    """
    from bundles.note_seq_protos import GeneratorBundle

    proto = GeneratorBundle()
    proto.generator_details.id = bundle.id
    proto.generator_details.description = bundle.description
    proto.bundle_details.description = bundle.bundle_description
    extra = _encode_extra(bundle.extra)
    proto.checkpoint_file.append(write_checkpoint(variables_from_weights(bundle)))
    proto.metagraph_file = write_metagraph(bundle)
    # Fields may come in any order, so those of one proto can be appended to another.
    atomic_write(path, proto.SerializeToString() + extra)


def _attn_length(layer_sizes: Sequence[int], graph: GraphFacts, extra: Mapping[str, Any]) -> int:
    """Returns how many outputs the first layer's attention looks back at.

    No variable's shape depends on it, but the size of all states does: each layer has a cell and a
    hidden state, and attention a context and the last outputs.
    """
    units = layer_sizes[0]
    if graph.state_size:
        length, rest = divmod(graph.state_size - 2 * sum(layer_sizes) - units, units)
        if length > 0 and not rest:
            return length
    hparams = extra.get("hparams")
    said = hparams.get("attn_length") if isinstance(hparams, dict) else None
    if isinstance(said, int) and said > 0:
        return said
    raise BundleError(
        "it has attention, but neither its metagraph nor its hparams hold the attention's length"
    )


def _describe(data: bytes) -> str:
    """Returns what a file is that is not a bundle, for a message."""
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


def extra_of(proto: generator_pb2.GeneratorBundle) -> dict[str, Any]:
    """Returns our own metadata in a proto.

    Raises:
        BundleError: they are damaged.
    """
    from google.protobuf.unknown_fields import UnknownFieldSet

    extra: dict[str, Any] = {}
    for field in UnknownFieldSet(proto):
        if field.field_number == _EXTRA_FIELD and field.wire_type == _LENGTH_DELIMITED:
            try:
                extra = json.loads(field.data)
                json.dumps(extra, allow_nan=False)  # Python also reads NaN and infinity.
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
