"""Inspection of bundle files: a summary, and the parts as separate files."""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any

import numpy as np

from bundles.atomic_files import atomic_path
from bundles.bundle import printable
from bundles.checkpoint import read_checkpoint
from bundles.files import MAX_BUNDLE_BYTES, bundle_from_proto, extra_of, read_bundle_file
from bundles.metagraph import read_metagraph
from bundles.regular_files import read_regular
from bundles.variable_names import cell_kinds
from bundles.variables import variables_from_weights

_MAX_TEXT = 1000


def describe_file(path: str | os.PathLike[str]) -> dict[str, str]:
    """Returns the metadata of a bundle file, of any network, as label -> text.

    Raises:
        BundleError: the file cannot be read or is not a bundle.
    """
    proto = read_bundle_file(path)
    data = read_regular(path, MAX_BUNDLE_BYTES)
    extra = extra_of(proto)
    tensorflow_version = read_metagraph(proto.metagraph_file).tensorflow_version
    if extra:
        maker = f"perf_rnn {extra.pop('perf_rnn_version', '')}".strip()
    elif tensorflow_version:
        maker = f"Magenta, with TensorFlow {tensorflow_version}"
    else:
        maker = "(not said)"
    texts = {
        # Metadata from the file comes last, under labels that are not used above.
        "sha256": hashlib.sha256(data).hexdigest(),
        "id": proto.generator_details.id,
        "description": proto.generator_details.description,
        "this bundle": proto.bundle_details.description,
        "made by": maker,
    }
    for name, value in extra.items():
        name = name.replace("_", " ")
        texts[name if name not in {"file", *texts} else f"extra {name}"] = _as_text(value)
    shown = {printable(name): printable(text, _MAX_TEXT) for name, text in texts.items() if text}
    return {"file": f"{os.fspath(path)} ({len(data):,} bytes)", **shown}


def describe_network(path: str | os.PathLike[str]) -> dict[str, str]:
    """Returns what network a bundle file holds, as label -> text.

    Raises:
        BundleError: the file cannot be read, is not a bundle, or its network cannot be read.
    """
    proto = read_bundle_file(path)
    bundle = bundle_from_proto(proto, path)
    cells = cell_kinds(read_checkpoint(proto.checkpoint_file[0]))
    attention = residual = "none"
    if bundle.attn_length:
        attention = f"of layer 0, over its last {bundle.attn_length} outputs"
    if bundle.residual_connections:
        residual = "around every layer"
    heads = f" in {len(bundle.head_sizes)} heads: {', '.join(map(str, bundle.head_sizes))}"
    return {
        "layers": f"{', '.join(map(str, bundle.layer_sizes))} units of {', '.join(cells)}",
        "attention": attention,
        "residual connections": residual,
        "input": f"an event's index, of {bundle.input_size}"
        if bundle.index_input
        else f"{bundle.input_size} values",
        "output": f"{bundle.num_classes} classes{heads if len(bundle.head_sizes) > 1 else ''}",
        "parameters": f"{bundle.num_parameters:,}",
    }


def unpack_bundle(path: str | os.PathLike[str], directory: str | os.PathLike[str]) -> list[str]:
    """Writes a bundle's parts into a new directory and returns their names.

    These are Magenta's checkpoint and metagraph (`model.ckpt`, `model.ckpt.meta`), the weights by
    Magenta's variable names (`weights.npz`), the texts (`details.textproto`), and facts of ours
    (`extra.json`).

    Raises:
        BundleError: the bundle or its network cannot be read.
        OSError: the directory cannot be written; it is not left behind half written.
    """
    from google.protobuf import text_format

    proto = read_bundle_file(path)
    bundle = bundle_from_proto(proto, path)
    weights: dict[str, Any] = dict(variables_from_weights(bundle))
    with atomic_path(directory) as temporary:
        temporary.mkdir()
        (temporary / "model.ckpt").write_bytes(proto.checkpoint_file[0])
        if proto.metagraph_file:
            (temporary / "model.ckpt.meta").write_bytes(proto.metagraph_file)
        np.savez(temporary / "weights.npz", **weights)
        proto.ClearField("checkpoint_file")
        proto.ClearField("metagraph_file")
        texts = text_format.MessageToString(proto, print_unknown_fields=False)
        (temporary / "details.textproto").write_text(texts)
        if bundle.extra:
            text = json.dumps(dict(bundle.extra), indent=2) + "\n"
            (temporary / "extra.json").write_text(text)
    return sorted(os.listdir(directory))


def _as_text(value: Any) -> str:
    """Returns a value as JSON, but names and values of an object as in `a=1, b=[2, 3]`."""
    if isinstance(value, dict):
        return ", ".join(f"{name}={json.dumps(item)}" for name, item in value.items())
    return value if isinstance(value, str) else json.dumps(value)
