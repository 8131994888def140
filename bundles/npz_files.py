"""NumPy's .npz files, written atomically, and read without unpickling."""

import contextlib
import os
import re
import zipfile
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from bundles.atomic_files import atomic_path
from bundles.errors import PerfRnnError
from bundles.regular_files import open_regular

_TYPES = {b"<f4": "float32", b"<f2": "float16", b"<i8": "int64", b"|u1": "uint8"}
# Of the .npy format 1.0, as NumPy writes it; NumPy's own reader evaluates it as Python.
_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '(?P<type><f[24]|<i8|\|u1)', 'fortran_order': False, "
    rb"'shape': \((?P<shape>\d{0,18}(?:, ?\d{1,18})*,?)\), \} *\n",
    re.DOTALL,
)


def write_npz(path: str, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Writes arrays by their names: float16 and bytes as they are, others as float32 or int64.

    Raises:
      OSError: the file cannot be written.
    """
    stored: dict[str, Any] = {}
    for name, array in arrays.items():
        is_kept = array.dtype in ("f2", "u1")
        dtype = array.dtype if is_kept else "<f4" if array.dtype.kind == "f" else "<i8"
        stored[name] = array.astype(dtype, order="C")
    with atomic_path(path) as temporary:
        np.savez(temporary, **stored)


def read_npz(file: str | BinaryIO, names: Iterable[str] | None = None) -> dict[str, NDArray[Any]]:
    """Reads arrays of a file, a path or open, by their names; None: all that there are.

    Nothing in the file is executed, and the arrays take no more memory than it has bytes.

    Raises:
      PerfRnnError: the file is damaged, or is not as `write_npz` writes them.
      OSError: it cannot be read.
    """
    try:
        with contextlib.ExitStack() as stack:
            opened = stack.enter_context(open_regular(file)) if isinstance(file, str) else file
            archive = stack.enter_context(zipfile.ZipFile(opened))
            size = opened.seek(0, os.SEEK_END)
            if sum(info.file_size for info in archive.infolist()) > size:
                raise ValueError("its arrays overlap or are cut off")
            found = [name.removesuffix(".npy") for name in archive.namelist()]
            if len(set(found)) < len(found):
                raise ValueError("names occur twice")
            return {name: _read(archive, name) for name in (found if names is None else names)}
    # What zipfile raises, depending on where the damage is.
    except (zipfile.BadZipFile, ValueError, KeyError, EOFError, RuntimeError) as error:
        raise PerfRnnError(" ".join(str(error).split())[:200]) from error


def _read(file: zipfile.ZipFile, name: str) -> NDArray[Any]:
    info = file.getinfo(f"{name}.npy")
    # A compressed array could be far larger than the file.
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
        raise ValueError(f"{name} is compressed or encrypted")
    data = file.read(info)
    header = _HEADER.match(data)
    if not header:
        raise ValueError(f"{name} is no array of {', '.join(_TYPES.values())}")
    shape = tuple(int(size) for size in header["shape"].split(b",") if size.strip())
    return np.frombuffer(data, _TYPES[header["type"]], offset=header.end()).reshape(shape)
