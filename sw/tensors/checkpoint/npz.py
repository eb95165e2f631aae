# SPDX-License-Identifier: Apache-2.0
"""NumPy's ``.npz`` and ``.npy`` files, whose arrays are read one by one and never unpickled."""

import math
import zipfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy
from xorloom.sw.base.errors import FormatError
from xorloom.sw.base.host import replaced
from xorloom.sw.tensors.safetensors_file import dtype_name

from .model import Checkpoint, ModelTensor, listed, reader

__all__ = ["open_npy", "open_npz", "write_npz"]

Opener = Callable[[], AbstractContextManager[IO[bytes]]]
"""Opens an array's ``.npy`` file, in an archive or on its own."""


def open_npz(path: Path) -> Checkpoint:
    """Open a ``.npz`` file; it stays open as long as its tensors can be read.

    Raises
    ------
    FormatError
        If it is damaged, or an array holds Python objects.
    """
    tensors: dict[str, ModelTensor] = {}
    others = []
    # Once: every opening reads the list of all members.
    archive = zipfile.ZipFile(path)
    for info in archive.infolist():
        name = info.filename.removesuffix(".npy")
        if name == info.filename:
            others.append(name)
            continue
        if name in tensors:
            raise FormatError(f"{path}: tensor {name!r} comes twice")
        tensors[name] = _tensor(path, name, partial(archive.open, info), info.file_size)
    notes = [f"left out, not arrays: {listed(others)}"] if others else []
    return Checkpoint(tensors, path, notes=tuple(notes))


def open_npy(path: Path) -> Checkpoint:
    """Open a ``.npy`` file: one tensor, named like the file.

    Raises
    ------
    FormatError
        If it is damaged or holds Python objects.
    """
    return Checkpoint(
        {path.stem: _tensor(path, path.stem, lambda: path.open("rb"), path.stat().st_size)}, path
    )


def write_npz(path: Path, arrays: Mapping[str, np.ndarray], *, deflated: bool = False) -> None:
    """Write a ``.npz`` file, whole or not at all, of arrays under any names.

    Raises
    ------
    OSError
        If it cannot be written; an old file stays.
    """
    method = zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED
    with replaced(path) as file, zipfile.ZipFile(file, "w", method) as archive:
        for key, array in arrays.items():
            # As numpy.savez does it, whose keywords cannot be any names.
            with archive.open(f"{key}.npy", "w", force_zip64=True) as entry:
                npy.write_array(entry, np.asarray(array, order="C"), allow_pickle=False)


def _tensor(path: Path, name: str, opened: Opener, size: int) -> ModelTensor:
    label = f"{path}: tensor {name!r}"
    with opened() as file:
        shape, dtype, start = _header(file, label)
    if dtype.hasobject:
        raise FormatError(
            f"{label} holds Python objects, which xorloom never unpickles: save it as numbers"
        )
    wanted = start + math.prod(shape) * dtype.itemsize
    if size != wanted:
        # Before anything of the size that the header tells is allocated.
        raise FormatError(f"{label} must have {wanted} bytes, not {size} (truncated file?)")
    try:
        known, foreign = dtype_name(dtype), ""
    except FormatError:
        known, foreign = str(dtype), "npy"

    def load() -> np.ndarray:
        with opened() as file:
            if foreign:
                return np.frombuffer(file.read(), np.uint8)
            array = npy.read_array(file, allow_pickle=False)
        return array.astype(dtype.newbyteorder("<"), copy=False)

    return ModelTensor(name, known, shape, reader(label, load), foreign=foreign, source=str(path))


def _header(file: IO[bytes], label: str) -> tuple[tuple[int, ...], np.dtype, int]:
    """Return shape, dtype and the header's length.

    NumPy's own errors advise to trust pickles, so they are not told.
    """
    try:
        version = npy.read_magic(file)
        read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
        if read is None:
            # Version 3 is that of structured arrays with names beyond Latin-1.
            start = file.tell() + 4 + int.from_bytes(file.read(4), "little")
            file.seek(0)
            array = npy.read_array(file, allow_pickle=False)
            return array.shape, array.dtype, start
        shape, _, dtype = read(file)
    except (ValueError, EOFError) as error:
        raise FormatError(
            f"{label} has a header that cannot be read: damaged, or too long"
        ) from error
    return tuple(int(n) for n in shape), dtype, file.tell()
