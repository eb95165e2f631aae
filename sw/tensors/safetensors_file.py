# SPDX-License-Identifier: Apache-2.0
"""Safetensors files, read by memory map and written tensor by tensor.

The safetensors package's NumPy side has no float8 and wants all tensors in memory; the layout
itself is small: ``u64`` header length, JSON header, tensor bytes. Tests check every file against
that package.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from xorloom.sw.base.errors import CapacityError, ConfigError, FormatError
from xorloom.sw.base.host import replaced
from xorloom.sw.base.json_text import read_json

__all__ = [
    "DIMENSIONS_MAX",
    "DTYPES",
    "DTYPE_NAMES",
    "METADATA_NAME",
    "dtype_name",
    "header_bytes",
    "read_header",
    "rounded_to",
    "write_tensors",
]

DTYPES: dict[str, np.dtype] = {
    "BOOL": np.dtype(np.bool_),
    "U8": np.dtype(np.uint8),
    "I8": np.dtype(np.int8),
    "U16": np.dtype(np.uint16),
    "I16": np.dtype(np.int16),
    "U32": np.dtype(np.uint32),
    "I32": np.dtype(np.int32),
    "U64": np.dtype(np.uint64),
    "I64": np.dtype(np.int64),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F32": np.dtype(np.float32),
    "F64": np.dtype(np.float64),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "F8_E4M3FNUZ": np.dtype(ml_dtypes.float8_e4m3fnuz),
    "F8_E5M2FNUZ": np.dtype(ml_dtypes.float8_e5m2fnuz),
    "F8_E8M0": np.dtype(ml_dtypes.float8_e8m0fnu),
    "C64": np.dtype(np.complex64),
}
"""Dtypes that NumPy holds."""
_PACKED_BITS = {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}  # Ref: safetensors 0.8, dtypes
DTYPE_NAMES = frozenset({*DTYPES, *_PACKED_BITS})
"""Dtypes of safetensors."""
_FUTURE_NAME = re.compile("[A-Z][A-Z0-9_]*")
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
DIMENSIONS_MAX = 64  # Ref: NumPy 2.0.0 release notes, NPY_MAXDIMS
METADATA_NAME = "__metadata__"
"""Key of the header that no tensor can have as its name."""
_LENGTH_BYTES = 8
_HEADER_MAX = 100_000_000  # Ref: safetensors README, "Format": headers are at most 100 MB


def dtype_name(dtype: np.dtype) -> str:
    """Return the safetensors name of a NumPy dtype.

    Raises
    ------
    FormatError
        If safetensors has none.
    """
    if dtype.newbyteorder("=") not in _NAMES:
        raise FormatError(f"safetensors cannot store dtype {dtype}")
    return _NAMES[dtype.newbyteorder("=")]


def rounded_to(weights: np.ndarray, name: str) -> np.ndarray:
    """Return float32 weights, which may be changed, in a dtype of floating point, to nearest even.

    What is too large for the dtype becomes its largest number: sums of scales can be a little
    larger than the weights that they stand for, and float8 has no infinity to become.
    """
    dtype = DTYPES[name]
    most = np.float32(min(float(ml_dtypes.finfo(kind).max) for kind in (dtype, np.float32)))
    return np.clip(weights, -most, most, out=weights).astype(dtype, copy=False)


def _entry_ok(entry: Any, end: int) -> bool:
    """Whether a header entry has dtype, shape and offsets that fit each other and the file."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        return False
    shape, offsets = entry["shape"], entry["data_offsets"]
    whole = [shape, offsets]
    if not all(isinstance(v, list) and all(type(n) is int and n >= 0 for n in v) for v in whole):
        return False
    if not isinstance(entry["dtype"], str) or len(offsets) != 2:
        return False
    size = offsets[1] - offsets[0]
    if size < 0 or offsets[1] > end:
        return False
    # An array without elements must still have strides that NumPy can hold.
    elements = math.prod(n or 1 for n in shape[:DIMENSIONS_MAX])
    if len(shape) > DIMENSIONS_MAX or elements >= 1 << 63:
        return False
    bits = _PACKED_BITS.get(entry["dtype"])
    if entry["dtype"] in DTYPES:
        bits = 8 * DTYPES[entry["dtype"]].itemsize
        if bits // 8 * elements >= 1 << 63:
            return False
    if bits is None:
        # Of a dtype that came after this was written, the offsets are all that is known.
        return _FUTURE_NAME.fullmatch(entry["dtype"]) is not None
    return bits * math.prod(shape) == 8 * size


def read_header(path: Path) -> tuple[dict[str, Any], dict[str, str], bytes, int]:
    """Read and check a header.

    Returns
    -------
    (entries, metadata, raw, start)
        Entries by tensor name with ``dtype``, ``shape``, ``data_offsets``; the header's bytes;
        and where tensor data begins.

    Raises
    ------
    FormatError
        If the file is not safetensors, truncated, or has bytes that belong to no tensor.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        start = _LENGTH_BYTES + length
        if size < _LENGTH_BYTES or length > min(_HEADER_MAX, size):
            raise FormatError(f"{path}: not a safetensors file, or truncated ({size} bytes)")
        raw = file.read(length)
    try:
        header = read_json(raw)
    except ValueError as error:
        raise FormatError(f"{path}: safetensors header is not JSON: {error}") from None
    if len(raw) != length or not isinstance(header, dict):
        raise FormatError(f"{path}: safetensors header is truncated or not an object")
    # Ref: safetensors README, "Format": begins with {, may be padded with spaces (0x20) at its end
    if raw[:1] != b"{" or raw.rstrip(b" ")[-1:] != b"}":
        raise FormatError(
            f"{path}: safetensors header must begin with its object, and have nothing but spaces "
            "after it"
        )
    metadata = header.pop(METADATA_NAME, {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise FormatError(f"{path}: safetensors metadata must be strings")
    for name, entry in header.items():
        if not _entry_ok(entry, size - start):
            raise FormatError(f"{path}: tensor {name!r} has a bad header entry (truncated file?)")
    covered = 0
    for low, high in sorted(tuple(e["data_offsets"]) for e in header.values()):
        if low != covered:
            raise FormatError(f"{path}: tensor data has a gap or overlap at byte {start + covered}")
        covered = high
    if start + covered != size:
        raise FormatError(f"{path}: must be {start + covered} bytes, found {size}")
    return header, metadata, raw, start


def header_bytes(
    entries: Mapping[str, tuple[str, tuple[int, ...], int]], metadata: Mapping[str, str]
) -> bytes:
    """Header of a file, without the length that goes before it.

    Parameters
    ----------
    entries : mapping of name to (dtype name, shape, bytes)
        In file order.
    metadata : mapping

    Raises
    ------
    ConfigError
        If a tensor has the reserved name ``__metadata__``, or a text is not Unicode.
    CapacityError
        If it is longer than readers take.
    """
    # Readers tell metadata without a format from no metadata. Ref: transformers 4, load_state_dict
    header: dict[str, Any] = {METADATA_NAME: dict(metadata)} if metadata else {}
    if METADATA_NAME in entries:
        raise ConfigError(f"safetensors reserves the name {METADATA_NAME!r}: rename that tensor")
    at = 0
    for name, (dtype, shape, size) in entries.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    try:
        raw = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        odd = error.object[max(0, error.start - 40) : error.end]
        raise ConfigError(
            f"safetensors cannot hold {odd!r}: a lone surrogate is no Unicode text: rename it"
        ) from None
    if len(raw) > _HEADER_MAX - 8:
        raise CapacityError(
            f"names and metadata take {len(raw):,} bytes, safetensors headers have at most "
            f"{_HEADER_MAX:,}: split the model"
        )
    return raw + b" " * (-len(raw) % 8)


def write_tensors(path: Path, header: bytes, data: Iterable[memoryview | bytes]) -> None:
    """Write a safetensors file, whole or not at all.

    Parameters
    ----------
    header : bytes
        Of :func:`header_bytes`.
    data : iterable of buffers
        The tensors' bytes, in the header's order.

    Raises
    ------
    OSError
        If the file cannot be written; nothing is left behind.
    """
    with replaced(path) as file:
        file.write(len(header).to_bytes(_LENGTH_BYTES, "little"))
        file.write(header)
        for buffer in data:
            file.write(buffer)
