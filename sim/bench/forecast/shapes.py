# SPDX-License-Identifier: Apache-2.0
"""Tables of shapes: models of which names, shapes and dtypes are known, and no weights."""

import csv
import math
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from xorloom.sw.base.errors import ConfigError, FormatError
from xorloom.sw.base.json_text import read_json
from xorloom.sw.tensors.checkpoint.model import Checkpoint, ModelTensor
from xorloom.sw.tensors.safetensors_file import (
    DIMENSIONS_MAX,
    DTYPES,
    METADATA_NAME,
    header_bytes,
    write_tensors,
)
from xorloom.sw.tensors.shards import INDEX_ENDING, index_text, is_index, shard_names

__all__ = ["DTYPE", "is_table", "normal_weights", "read_shapes", "write_model"]

DTYPE = "BF16"
"""Of tensors for which a table tells none."""
_DEVIATION = 0.02
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_NAMES_MAX = 1 << 20
_SHARD_BYTES = 1 << 29


def is_table(path: Path) -> bool:
    """Whether a path is called as a table of shapes is."""
    return path.suffix.lower() in (".csv", ".json") and not is_index(path)


def read_shapes(path: Path) -> Checkpoint:
    """Read a table of shapes; the model's weights are normal, made when they are read.

    A ``.csv`` has the columns ``name``, ``shape`` (``4096x11008``) and, if one likes, ``dtype``
    (:data:`DTYPE`, as safetensors calls it). A ``.json`` is an object of tensors by name, as the
    header of a safetensors file: ``{"dtype": "BF16", "shape": [4096, 11008]}``. In a name,
    ``{0..31}`` stands for 32 tensors.

    Raises
    ------
    ConfigError
        If the file is missing.
    FormatError
        With file and line or tensor, if something in it is not as described.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: {'not a file' if path.exists() else 'no such file'}")
    read = _csv_rows if path.suffix.lower() == ".csv" else _json_rows
    tensors: dict[str, ModelTensor] = {}
    try:
        for where, pattern, shape, dtype in read(path):
            _check(where, shape, dtype)
            for name in _names(where, pattern):
                if name in tensors:
                    raise FormatError(f"{where}: tensor {name!r} comes twice")
                tensors[name] = _tensor(path, name, shape, dtype)
    except UnicodeDecodeError as error:
        raise FormatError(f"{path}: not UTF-8 text: {error}") from None
    if not tensors:
        raise FormatError(f"{path}: has no tensors")
    return Checkpoint(tensors, path, files=(path,))


def normal_weights(name: str, shape: tuple[int, ...], dtype: str, part: int = 0) -> np.ndarray:
    """Return normal weights of a tensor, or of its ``part``, the same each time."""
    rng = np.random.default_rng([zlib.crc32(name.encode()), part])
    found = rng.standard_normal(shape, np.float32)
    found *= np.float32(_DEVIATION)
    return found.astype(DTYPES[dtype])


def write_model(model: Checkpoint, folder: Path) -> Path:
    """Write a checkpoint of a table, in shards of 512 MiB, into a new folder; return the folder.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    shards: list[dict[str, tuple[str, tuple[int, ...], int]]] = [{}]
    places, held = {}, 0
    for name, tensor in model.items():
        size = tensor.size * DTYPES[tensor.dtype].itemsize
        if held and held + size > _SHARD_BYTES:
            shards.append({})
            held = 0
        shards[-1][name] = (tensor.dtype, tensor.shape, size)
        places[name] = len(shards) - 1
        held += size
    folder.mkdir()
    files = shard_names(folder / "model.safetensors", len(shards))
    for file, entries in zip(files, shards, strict=True):
        write_tensors(file, header_bytes(entries, {}), (model[name].raw() for name in entries))
    if len(files) > 1:
        total = sum(size for entries in shards for _, _, size in entries.values())
        found = {name: files[number].name for name, number in places.items()}
        text = index_text(found, {"total_size": total})
        (folder / f"model.safetensors{INDEX_ENDING}").write_text(text, encoding="utf-8")
    return folder


_Row = tuple[str, str, tuple[int, ...], str]
"""Where it stands, name, shape, dtype."""


def _csv_rows(path: Path) -> Iterator[_Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        columns = rows.fieldnames or []
        if not {"name", "shape"} <= set(columns) <= {"name", "shape", "dtype"}:
            raise FormatError(
                f"{path}: the first line must be name,shape or name,shape,dtype, not "
                f"{','.join(columns)!r}"
            )
        for row in rows:
            where = f"{path}: line {rows.line_num}"
            text, name = row["shape"] or "", row["name"]
            if None in row or not name:
                raise FormatError(f"{where}: must have {len(columns)} values: {','.join(columns)}")
            if not re.fullmatch(r"\d{1,19}( *x *\d{1,19})*", text.strip()):
                raise FormatError(f"{where}: shape must be as 4096x11008, not {text!r}")
            shape = tuple(int(part) for part in text.split("x"))
            yield where, name, shape, (row.get("dtype") or DTYPE).strip()


def _json_rows(path: Path) -> Iterator[_Row]:
    try:
        table = read_json(path.read_bytes())
    except ValueError as error:
        raise FormatError(f"{path}: not JSON: {error}") from None
    if not isinstance(table, dict):
        raise FormatError(f"{path}: must be an object of tensors by name, as a safetensors header")
    for name, entry in table.items():
        if name == METADATA_NAME:
            continue
        where = f"{path}: tensor {name!r}"
        shape: Any = entry.get("shape") if isinstance(entry, Mapping) else None
        if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
            raise FormatError(
                f'{where}: must be as {{"dtype": "{DTYPE}", "shape": [4096, 11008]}} (a table of '
                "shapes, or the header of a safetensors file)"
            )
        yield where, name, tuple(shape), str(entry.get("dtype", DTYPE))


def _check(where: str, shape: tuple[int, ...], dtype: str) -> None:
    if dtype not in DTYPES:
        raise FormatError(f"{where}: dtype must be one of {', '.join(DTYPES)}, not {dtype!r}")
    if len(shape) > DIMENSIONS_MAX or math.prod(shape) >= 1 << 48:
        raise FormatError(f"{where}: shape {'x'.join(map(str, shape))} is too large")


def _names(where: str, pattern: str) -> Iterator[str]:
    """Yield the names that a pattern with ranges stands for."""
    found = _RANGE.search(pattern)
    if found is None:
        yield pattern
        return
    first, last = map(int, found.groups())
    if not first <= last < first + _NAMES_MAX:
        raise FormatError(f"{where}: range {found[0]} must go up, by less than {_NAMES_MAX:,}")
    for number in range(first, last + 1):
        yield from _names(where, f"{pattern[: found.start()]}{number}{pattern[found.end() :]}")


def _tensor(path: Path, name: str, shape: tuple[int, ...], dtype: str) -> ModelTensor:
    return ModelTensor(
        name,
        dtype,
        shape,
        lambda: normal_weights(name, shape, dtype),
        source=str(path),
        by_rows=True,
    )
