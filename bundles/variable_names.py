"""The names that the versions of TensorFlow 1 and Magenta gave to the variables of a network."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence, Set

from bundles.bundle import BundleError, LstmLayer, printable

# Cells that are read -> the forget bias that each adds without storing it. The first is written.
_FORGET_BIAS = {
    "basic_lstm_cell": 1.0,
    "lstm_cell": 1.0,
    "lstm_block_cell": 1.0,
    "cudnn_compatible_lstm_cell": 0.0,
}
# Prefixes of the variables of layer 0 and of layer n. The first pair is written. Magenta trained
# with cuDNN (2018 to 2020) used the second for layers of one size, and the third for layers of
# different sizes and for residual layers.
_LAYER_PREFIXES = (
    ("rnn/multi_rnn_cell/cell_0/", "rnn/multi_rnn_cell/cell_{n}/"),
    ("cudnn_lstm/rnn/multi_rnn_cell/cell_0/", "cudnn_lstm/rnn/multi_rnn_cell/cell_{n}/"),
    ("cudnn_lstm/rnn/multi_rnn_cell/cell_0/", "cudnn_lstm_{n}/rnn/multi_rnn_cell/cell_0/"),
)
# The output layer; with cuDNN and residual connections, first come the layers' input projections.
_DENSE_PREFIXES = ("fully_connected/", "fully_connected_{n}/")
# Cells' variables before TensorFlow 1.2 -> since then.
_RENAMED = {"weights": "kernel", "biases": "bias"}


@dataclasses.dataclass(frozen=True)
class ProjectionNames:
    """Names of a projection's variables, or of a cell's."""

    kernel: str
    bias: str


OUTPUT_NAMES = ProjectionNames("fully_connected/weights", "fully_connected/biases")


@dataclasses.dataclass(frozen=True)
class AttentionNames:
    """Names of an attention's variables; see `bundles.Attention`."""

    input: ProjectionNames
    query: ProjectionNames
    memory: str
    score: str
    output: ProjectionNames


@dataclasses.dataclass(frozen=True)
class LayerNames:
    """Names of a layer's variables: of the cell, and of what is wrapped around it, if anything.

    `forget_bias` is what its cell adds without storing it.
    """

    cell: ProjectionNames
    forget_bias: float
    attention: AttentionNames | None
    input_projection: ProjectionNames | None

    def all(self) -> set[str]:
        """Every name in it."""
        names = set()
        projections = [self.cell]
        if self.input_projection:
            projections.append(self.input_projection)
        if self.attention:
            names |= {self.attention.memory, self.attention.score}
            projections += [self.attention.input, self.attention.query, self.attention.output]
        return names.union(*((names.kernel, names.bias) for names in projections))


@dataclasses.dataclass(frozen=True)
class NetworkNames:
    """Names of all variables of a network.

    `projections` are input projections of its layers that have them outside of the layers' own
    scopes, from input to output.
    """

    layers: Sequence[LayerNames]
    projections: Sequence[ProjectionNames]
    output: ProjectionNames


def written_names(index: int, layer: LstmLayer) -> LayerNames:
    """Returns the names of a layer's variables in the bundles that are written here."""
    prefix = _LAYER_PREFIXES[0][1].format(n=index)
    return _layer_names(
        prefix, "basic_lstm_cell", bool(layer.attention), bool(layer.input_projection)
    )


def cell_kinds(names: Iterable[str]) -> list[str]:
    """Returns the kinds of cell that a checkpoint's variables are of, by their names."""
    return sorted({part for name in names for part in name.split("/")} & _FORGET_BIAS.keys())


def todays_name(name: str) -> str:
    """Returns what TensorFlow 1.2 and later call a variable."""
    scope, _, last = name.rpartition("/")
    if "rnn/" not in name or last not in _RENAMED:
        return name
    return f"{scope}/{_RENAMED[last]}"


def find_names(names: Set[str]) -> NetworkNames:
    """Sorts the names of all variables of a network, those of TensorFlow 1.2 and later, by role.

    Raises:
        BundleError: variables of an LSTM stack are missing, or there are others.
    """
    prefixes = _find_prefixes(names)
    layers = [_find_layer(prefix, names) for prefix in prefixes]
    num_dense = 1
    if prefixes[0].startswith("cudnn_lstm"):
        num_dense = max(1, _count(_DENSE_PREFIXES, names))
    dense = [_dense_names(n) for n in range(num_dense)]
    expected = {name for layer in layers for name in layer.all()}
    expected |= {name for part in dense for name in (part.kernel, part.bias)}
    differences = {"missing": expected - names, "unexpected": names - expected}
    problems = [f"{what} {_shorten(found)}" for what, found in differences.items() if found]
    if problems:
        raise BundleError(f"its variables are not those of an LSTM stack: {'; '.join(problems)}")
    return NetworkNames(layers, dense[:-1], dense[-1])


def _layer_names(prefix: str, cell: str, attention: bool, input_projection: bool) -> LayerNames:
    attention_names = projection_names = None
    if input_projection:
        prefix += "input_projection_wrapper/"
        projection_names = _projection_names(prefix)
    if attention:
        prefix += "attention_cell_wrapper/"
        attention_names = AttentionNames(
            input=_projection_names(prefix),
            query=_projection_names(f"{prefix}attention/"),
            memory=f"{prefix}attention/attn_w",
            score=f"{prefix}attention/attn_v",
            output=_projection_names(f"{prefix}attn_output_projection/"),
        )
    return LayerNames(
        cell=_projection_names(f"{prefix}{cell}/"),
        forget_bias=_FORGET_BIAS[cell],
        attention=attention_names,
        input_projection=projection_names,
    )


def _projection_names(prefix: str) -> ProjectionNames:
    return ProjectionNames(f"{prefix}kernel", f"{prefix}bias")


def _dense_names(n: int) -> ProjectionNames:
    prefix = _DENSE_PREFIXES[n > 0].format(n=n)
    return ProjectionNames(f"{prefix}weights", f"{prefix}biases")


def _count(pattern: tuple[str, str], names: Set[str]) -> int:
    """Returns how many of the prefixes number 0, 1 ... some name has, until one that none has."""
    # No prefix that is looked for has more than four parts.
    parts = [name.split("/", 4) for name in names]
    prefixes = {"/".join([*part[:depth], ""]) for part in parts for depth in range(1, len(part))}
    count = 0
    while pattern[count > 0].format(n=count) in prefixes:
        count += 1
    return count


def _find_prefixes(names: Set[str]) -> list[str]:
    """Returns the prefix of every layer's variables.

    There is always a layer 0, so that the error for a checkpoint without layers names what is
    missing.
    """
    counts = [_count(pattern, names) for pattern in _LAYER_PREFIXES]
    most = max(counts)
    pattern = _LAYER_PREFIXES[counts.index(most)]
    return [pattern[n > 0].format(n=n) for n in range(max(1, most))]


def _find_layer(prefix: str, names: Set[str]) -> LayerNames:
    """Returns the names of the kind of layer whose names match `names` best."""
    kinds = [
        _layer_names(prefix, cell, attention, input_projection)
        for cell in _FORGET_BIAS
        for attention in (False, True)
        for input_projection in (False, True)
    ]

    def likeness(kind: LayerNames) -> tuple[int, int]:
        # Looking up a few names, not intersecting sets: there may be very many others.
        present = [name in names for name in kind.all()]
        return sum(present), -len(present)

    return max(kinds, key=likeness)


def _shorten(names: Set[str]) -> str:
    """Returns a few of the names, since a file may hold any number of them."""
    shown = ", ".join(printable(name) for name in sorted(names)[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
