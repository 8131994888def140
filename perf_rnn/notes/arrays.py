"""A sequence of notes as parallel NumPy arrays, and its conversion from and to NoteSequence protos.

Every proto field is read once; after that a sequence is worked on as whole arrays
(`perf_rnn.notes.transforms`, `perf_rnn.events.one_hot`) and no proto is touched again.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bundles.errors import PerfRnnError

if TYPE_CHECKING:
    from note_seq.protobuf import music_pb2

Floats = NDArray[np.float64]
Int32s = NDArray[np.int32]
Int64s = NDArray[np.int64]
Bools = NDArray[np.bool_]

# The resolution note_seq gives to sequences that come from no file.
STANDARD_TICKS_PER_QUARTER = 220

# ruff: noqa: RUF009 - _column and _steps return dataclasses.field objects.


def _column(table: str, proto_field: str, dtype: type, required: bool = True) -> Any:
    """A dataclass field: one proto field of every message in one repeated field of the proto.

    Unless it is required, it is zeros where it is not given.
    """
    metadata = {"table": table, "proto_field": proto_field, "dtype": dtype}
    if not required:
        return dataclasses.field(default=None, metadata=metadata)
    return dataclasses.field(
        default_factory=functools.partial(np.empty, 0, dtype), metadata=metadata
    )


def _steps(table: str) -> Any:
    """A dataclass field: the quantised counterpart of a table's times, None until quantised."""
    return dataclasses.field(default=None, metadata={"table": table, "dtype": np.int64})


@dataclasses.dataclass(frozen=True, eq=False)
class NoteArrays:
    """One sequence as parallel arrays; columns of one table share their length.

    Instances share arrays with one another: treat every array as read-only and make changed
    copies with `replace`. Lists are accepted and converted to the column's dtype.

    >>> a = NoteArrays(start_time=[0.0, 0.5], end_time=[1.0, 1.5], pitch=[60, 64],
    ...                velocity=[80, 90], total_time=1.5)
    >>> a.num_notes, a.is_quantized
    (2, False)

    Attributes:
      start_time, end_time: float64[n], seconds.
      pitch, velocity, instrument, program: int32[n], MIDI numbers as in the NoteSequence.
      is_drum: bool[n]. It, `instrument` and `program` are zeros where they are not given; so are
        those of control changes and pitch bends.
      control_*: m control changes; times in seconds.
      bend_*, tempo_*, time_signature_*, key_signature_*: likewise.
      total_time: seconds.
      instrument_names: (instrument, name) pairs.
      source_info: the proto's (source_type, encoding_type, parser) numbers.
      segment_index, num_segments: the place among the segments `split` made; 0 of 1 before it.
      start_time_offset, end_time_offset: seconds of the source before and after this segment.
      steps_per_second: None until quantised, and so the four below.
      start_step, end_step: int64[n], steps.
      control_step: int64[m], steps.
      total_steps: steps.

    Raises:
      PerfRnnError: columns of one table differ in length, or a column is not one-dimensional.
    """

    start_time: Floats = _column("notes", "start_time", np.float64)
    end_time: Floats = _column("notes", "end_time", np.float64)
    pitch: Int32s = _column("notes", "pitch", np.int32)
    velocity: Int32s = _column("notes", "velocity", np.int32)
    instrument: Int32s = _column("notes", "instrument", np.int32, required=False)
    program: Int32s = _column("notes", "program", np.int32, required=False)
    is_drum: Bools = _column("notes", "is_drum", np.bool_, required=False)

    control_time: Floats = _column("control_changes", "time", np.float64)
    control_number: Int32s = _column("control_changes", "control_number", np.int32)
    control_value: Int32s = _column("control_changes", "control_value", np.int32)
    control_instrument: Int32s = _column("control_changes", "instrument", np.int32, required=False)
    control_program: Int32s = _column("control_changes", "program", np.int32, required=False)
    control_is_drum: Bools = _column("control_changes", "is_drum", np.bool_, required=False)

    bend_time: Floats = _column("pitch_bends", "time", np.float64)
    bend_value: Int32s = _column("pitch_bends", "bend", np.int32)
    bend_instrument: Int32s = _column("pitch_bends", "instrument", np.int32, required=False)
    bend_program: Int32s = _column("pitch_bends", "program", np.int32, required=False)
    bend_is_drum: Bools = _column("pitch_bends", "is_drum", np.bool_, required=False)

    tempo_time: Floats = _column("tempos", "time", np.float64)
    tempo_qpm: Floats = _column("tempos", "qpm", np.float64)

    time_signature_time: Floats = _column("time_signatures", "time", np.float64)
    time_signature_numerator: Int32s = _column("time_signatures", "numerator", np.int32)
    time_signature_denominator: Int32s = _column("time_signatures", "denominator", np.int32)

    key_signature_time: Floats = _column("key_signatures", "time", np.float64)
    key_signature_key: Int32s = _column("key_signatures", "key", np.int32)
    key_signature_mode: Int32s = _column("key_signatures", "mode", np.int32)

    total_time: float = 0.0
    ticks_per_quarter: int = STANDARD_TICKS_PER_QUARTER
    id: str = ""
    filename: str = ""
    collection_name: str = ""
    reference_number: int = 0
    instrument_names: tuple[tuple[int, str], ...] = ()
    source_info: tuple[int, int, int] = (0, 0, 0)

    segment_index: int = 0
    num_segments: int = 1
    start_time_offset: float = 0.0
    end_time_offset: float = 0.0

    steps_per_second: int | None = None
    start_step: Int64s | None = _steps("notes")
    end_step: Int64s | None = _steps("notes")
    control_step: Int64s | None = _steps("control_changes")
    total_steps: int | None = None

    def __post_init__(self) -> None:
        self._check(_ARRAY_FIELDS)

    def _check(self, fields: Iterable[tuple[str, str, type]]) -> None:
        """Gives columns their dtype and compares their lengths with others of their table."""
        sizes: dict[str, int] = {}
        for name, table, dtype in fields:
            value = getattr(self, name)
            if value is None and name.endswith("_step"):
                continue
            array: NDArray[Any] = np.asarray(
                np.zeros(sizes[table]) if value is None else value, dtype
            )
            if array.ndim != 1:
                raise PerfRnnError(f"{name} has {array.ndim} dimensions, expected 1")
            if sizes.setdefault(table, len(array)) != len(array):
                raise PerfRnnError(
                    f"{name} has {len(array)} entries where the other columns of {table} "
                    f"have {sizes[table]}"
                )
            if array is not value:
                object.__setattr__(self, name, array)

    def replace(self, **changes: Any) -> NoteArrays:
        """A copy with some fields changed.

        It does what `dataclasses.replace` does in a tenth of the time, since tables without a
        changed column are not checked again.

        Raises:
          TypeError: there is no such field.
          PerfRnnError: as from the constructor.
        """
        copy = object.__new__(NoteArrays)
        copy.__dict__.update(self.__dict__, **changes)
        if len(copy.__dict__) > len(self.__dict__):
            raise TypeError(f"no field {min(changes.keys() - self.__dict__.keys())!r}")
        for table in {_TABLE_OF_FIELD[name] for name in changes if name in _TABLE_OF_FIELD}:
            copy._check(_FIELDS_OF_TABLE[table])
        return copy

    @property
    def num_notes(self) -> int:
        """The number of notes."""
        return len(self.start_time)

    @property
    def is_quantized(self) -> bool:
        """Whether the steps are set."""
        return self.steps_per_second is not None

    def take(self, **rows: NDArray[Any] | slice) -> NoteArrays:
        """The same sequence with only some rows of some tables, such as `tempos=slice(1)`.

        Args:
          **rows: by the name of the proto's repeated field, a boolean mask, index array or slice.
        """
        return self.replace(
            **{
                name: getattr(self, name)[which]
                for table, which in rows.items()
                for name, _, _ in _FIELDS_OF_TABLE[table]
                if getattr(self, name) is not None
            },
        )

    def take_notes(self, which: NDArray[Any] | slice) -> NoteArrays:
        """The same sequence with only the notes of a boolean mask, index array or slice."""
        return self.take(notes=which)

    def unquantized(self) -> NoteArrays:
        """The same sequence without its steps; the times are as they were."""
        return self.replace(
            steps_per_second=None,
            start_step=None,
            end_step=None,
            control_step=None,
            total_steps=None,
        )


# (name, table, dtype) of every array field: notes and control changes first, steps last.
_ARRAY_FIELDS: tuple[tuple[str, str, type], ...] = tuple(
    (field.name, field.metadata["table"], field.metadata["dtype"])
    for field in dataclasses.fields(NoteArrays)
    if field.metadata
)
_TABLE_OF_FIELD = {name: table for name, table, _ in _ARRAY_FIELDS}
_FIELDS_OF_TABLE = {
    table: tuple(field for field in _ARRAY_FIELDS if field[1] == table)
    for table in _TABLE_OF_FIELD.values()
}


def concatenate(first: NoteArrays, second: NoteArrays) -> NoteArrays:
    """The notes, control changes and pitch bends of two unquantised sequences.

    All else is the first one's, but for the total time, which is the longer one.
    """
    columns = {
        name: np.concatenate([getattr(first, name), getattr(second, name)])
        for table in ("notes", "control_changes", "pitch_bends")
        for name, _, _ in _FIELDS_OF_TABLE[table]
        if not name.endswith("_step")
    }
    return first.replace(**columns, total_time=max(first.total_time, second.total_time))


def _tables() -> Iterator[tuple[str, list[tuple[str, str, type]]]]:
    """(table, [(name, proto field, dtype)]) of every repeated field held as columns."""
    tables: dict[str, list[tuple[str, str, type]]] = {}
    for field in dataclasses.fields(NoteArrays):
        if "proto_field" in field.metadata:
            tables.setdefault(field.metadata["table"], []).append(
                (field.name, field.metadata["proto_field"], field.metadata["dtype"])
            )
    yield from tables.items()


_TABLES = tuple(_tables())

# Of a serialised NoteSequence, and of one of its tables. What any MIDI file within its own limits
# holds is less.
MAX_PROTO_BYTES = 1 << 25
MAX_ROWS = 1 << 21


def _read(messages: Any, proto_field: str, dtype: type) -> NDArray[Any]:
    return np.fromiter(map(operator.attrgetter(proto_field), messages), dtype, len(messages))


def from_note_sequence(sequence: music_pb2.NoteSequence) -> NoteArrays:
    """Reads a NoteSequence proto, quantised in steps per second or not at all, into arrays.

    Everything a MIDI file yields is kept. What only scores yield (text annotations, sections,
    parts, voices, note values) has no place in a performance and is left out.

    Raises:
      PerfRnnError: the sequence is quantised relative to its tempo.
    """
    quantization = sequence.quantization_info
    if quantization.steps_per_quarter > 0:
        raise PerfRnnError(
            f"sequence {sequence.id or sequence.filename!r} is quantised to "
            f"{quantization.steps_per_quarter} steps per quarter; a performance is quantised in "
            "steps per second, so give the unquantised sequence"
        )
    columns: dict[str, Any] = {
        name: _read(getattr(sequence, table), proto_field, dtype)
        for table, fields in _TABLES
        for name, proto_field, dtype in fields
    }
    if quantization.steps_per_second > 0:
        columns.update(
            steps_per_second=quantization.steps_per_second,
            start_step=_read(sequence.notes, "quantized_start_step", np.int64),
            end_step=_read(sequence.notes, "quantized_end_step", np.int64),
            control_step=_read(sequence.control_changes, "quantized_step", np.int64),
            total_steps=sequence.total_quantized_steps,
        )
    source = sequence.source_info
    return NoteArrays(
        **columns,
        total_time=sequence.total_time,
        ticks_per_quarter=sequence.ticks_per_quarter,
        id=sequence.id,
        filename=sequence.filename,
        collection_name=sequence.collection_name,
        reference_number=sequence.reference_number,
        instrument_names=tuple((info.instrument, info.name) for info in sequence.instrument_infos),
        source_info=(source.source_type, source.encoding_type, source.parser),
        start_time_offset=sequence.subsequence_info.start_time_offset,
        end_time_offset=sequence.subsequence_info.end_time_offset,
    )


def parse_note_sequence(data: bytes, name: str) -> NoteArrays:
    """Reads a serialised NoteSequence; `name` is what messages call it.

    Raises:
      PerfRnnError: it is no NoteSequence, is too large, or is quantised relative to its tempo.
    """
    from google.protobuf.message import DecodeError

    from bundles.note_seq_protos import NoteSequence

    if len(data) > MAX_PROTO_BYTES:
        raise PerfRnnError(f"{name} has more than {MAX_PROTO_BYTES} bytes")
    try:
        sequence = NoteSequence.FromString(data)
    except DecodeError as error:
        raise PerfRnnError(f"{name} is not a NoteSequence") from error
    tables = (*(table for table, _ in _TABLES), "instrument_infos")
    if any(len(getattr(sequence, table)) > MAX_ROWS for table in tables):
        raise PerfRnnError(f"{name} has more than {MAX_ROWS} notes or other events of one kind")
    # Protos do not store their type: a tf.train example parses as a NoteSequence whose id or
    # filename is the example's first message, which starts with the tag "\n".
    if (sequence.id or sequence.filename).startswith("\n"):
        raise PerfRnnError(f"{name} is not a NoteSequence")
    return from_note_sequence(sequence)


def as_arrays(music: NoteArrays | music_pb2.NoteSequence) -> NoteArrays:
    """Returns note arrays as they are, and reads a NoteSequence as `from_note_sequence` does.

    Raises:
      PerfRnnError: it is neither, such as the list that `perf_rnn.generate` returns.
    """
    if isinstance(music, NoteArrays):
        return music
    if not hasattr(music, "quantization_info"):
        raise PerfRnnError(
            f"a {type(music).__name__} is no piece of music; give a NoteSequence or NoteArrays, "
            "such as one of those that perf_rnn.generate returns"
        )
    return from_note_sequence(music)


def to_note_sequence(arrays: NoteArrays) -> music_pb2.NoteSequence:
    """Writes arrays into a new NoteSequence proto, with the steps where there are any."""
    from bundles.note_seq_protos import NoteSequence

    sequence = NoteSequence(
        id=arrays.id,
        filename=arrays.filename,
        collection_name=arrays.collection_name,
        reference_number=arrays.reference_number,
        ticks_per_quarter=arrays.ticks_per_quarter,
        total_time=arrays.total_time,
    )
    for table, fields in _TABLES:
        columns = {proto_field: getattr(arrays, name) for name, proto_field, _ in fields}
        if arrays.is_quantized and table == "notes":
            columns.update(
                quantized_start_step=arrays.start_step, quantized_end_step=arrays.end_step
            )
        if arrays.is_quantized and table == "control_changes":
            columns["quantized_step"] = arrays.control_step
        add = getattr(sequence, table).add
        # Lists first: a Python number goes into a proto several times faster than a NumPy one.
        for row in zip(*(column.tolist() for column in columns.values()), strict=True):
            add(**dict(zip(columns, row, strict=True)))
    for instrument, name in arrays.instrument_names:
        sequence.instrument_infos.add(instrument=instrument, name=name)
    if any(arrays.source_info):
        source_type, encoding_type, parser = arrays.source_info
        sequence.source_info.source_type = source_type
        sequence.source_info.encoding_type = encoding_type
        sequence.source_info.parser = parser
    if arrays.num_segments > 1 or arrays.start_time_offset or arrays.end_time_offset:
        sequence.subsequence_info.start_time_offset = arrays.start_time_offset
        sequence.subsequence_info.end_time_offset = arrays.end_time_offset
    if arrays.is_quantized:
        sequence.quantization_info.steps_per_second = arrays.steps_per_second
        sequence.total_quantized_steps = arrays.total_steps
    return sequence
