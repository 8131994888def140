"""NumPy's .npz files, written atomically, and read without unpickling."""

import os
import zipfile
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundles.atomic_files import atomic_path
from bundles.errors import PerfRnnError
from bundles.regular_files import open_regular

_TYPES = [np.dtype("<f4"), np.dtype("<i8"), np.dtype("u1")]


def write_npz(path: str, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Writes arrays by their names: floats as float32, bytes as they are, integers as int64.

    Raises:
      OSError: the file cannot be written.
    """
    stored: dict[str, Any] = {}
    for name, array in arrays.items():
        dtype = "<f4" if array.dtype.kind == "f" else array.dtype if array.dtype == "u1" else "<i8"
        stored[name] = array.astype(dtype)
    with atomic_path(path) as temporary:
        np.savez(temporary, **stored)


def read_npz(path: str, names: Iterable[str] | None = None) -> dict[str, NDArray[Any]]:
    """Reads arrays by their names; None: all that there are.

    Nothing in the file is executed, and the arrays take no more memory than it has bytes.

    Raises:
      PerfRnnError: the file is damaged, or is not as `write_npz` writes them.
      OSError: it cannot be read.
    """
    try:
        with open_regular(path) as opened, zipfile.ZipFile(opened) as file:
            size = os.fstat(opened.fileno()).st_size
            if sum(info.file_size for info in file.infolist()) > size:
                raise ValueError("its arrays overlap or are cut off")
            found = [name.removesuffix(".npy") for name in file.namelist()]
            if len(set(found)) < len(found):
                raise ValueError("names occur twice")
            return {name: _read(file, name) for name in (found if names is None else names)}
    except (zipfile.BadZipFile, ValueError, KeyError, EOFError) as error:
        raise PerfRnnError(" ".join(str(error).split())[:200]) from error


def _read(file: zipfile.ZipFile, name: str) -> NDArray[Any]:
    info = file.getinfo(f"{name}.npy")
    # A compressed array could be far larger than the file.
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
        raise ValueError(f"{name} is compressed or encrypted")
    with file.open(info) as member:
        version = np.lib.format.read_magic(member)
        if version != (1, 0):
            raise ValueError(f"{name} is of format {version}")
        shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(member)
        if dtype not in _TYPES or fortran_order:
            raise ValueError(f"{name} is of type {dtype}")
        data = member.read()  # To the end, where the checksum is verified.
    return np.frombuffer(data, dtype).reshape(shape)
