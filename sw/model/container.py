# SPDX-License-Identifier: Apache-2.0
"""The compressed model: a safetensors file with streams, scales and a manifest.

``FORMAT.md``, "Container", is normative.
"""

import json
import math
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from xorloom.sw.base.errors import ConfigError, FormatError, check_range
from xorloom.sw.base.host import spool_beside
from xorloom.sw.spec.codecs import INDEX_CODECS, VALUE_CODECS
from xorloom.sw.spec.config import ValueConfig
from xorloom.sw.spec.index_config import IndexConfig
from xorloom.sw.spec.weight_format import check_index
from xorloom.sw.tensors.codes import PLANES_MAX
from xorloom.sw.tensors.orders import check_order
from xorloom.sw.tensors.quantize import Quantizer
from xorloom.sw.tensors.safetensors_file import (
    DIMENSIONS_MAX,
    DTYPES,
    header_bytes,
    read_header,
    write_tensors,
)
from xorloom.sw.value.plane import ValueLayout

__all__ = [
    "INDEX",
    "MASK",
    "SCALE",
    "STREAM",
    "CompressedTensor",
    "Container",
    "StoredTensor",
    "content_crc32",
    "read_container",
    "write_container",
]

VERSION = 2
STREAM, INDEX, SCALE = ".xl_stream", ".xl_index", ".xl_scale"
"""Suffixes of the tensors that replace a compressed one."""
MASK = ".mask"
"""Suffix of the mask that comes back beside the user's own codes."""
_CHUNK_BYTES = 1 << 20
_KEY = "xorloom"
_CRC_KEY = "xorloom_header_crc32"
_CRC_BLANK = "00000000"
_CRC_FIELD = f'"{_CRC_KEY}":"'.encode()


@dataclass(frozen=True)
class CompressedTensor:
    """What the manifest says of one compressed tensor.

    Parameters
    ----------
    shape : tuple of int
    dtype : str
        The original's safetensors dtype.
    planes : int
    content_crc32 : int
        CRC-32 of the packed mask followed by the codes, see :func:`content_crc32`.
    quantizer : Quantizer or None
        ``None`` where the user brought codes.
    layout : ValueLayout
    """

    shape: tuple[int, ...]
    dtype: str
    planes: int
    content_crc32: int
    quantizer: Quantizer | None
    layout: ValueLayout = field(default_factory=ValueLayout)


@dataclass(frozen=True)
class StoredTensor:
    """One tensor on its way into a file.

    Parameters
    ----------
    name : str
    parts : mapping of str to (dtype name, shape, bytes)
        What is stored, by suffix of the name: ``STREAM``, ``INDEX`` and perhaps ``SCALE`` of a
        compressed tensor, the empty suffix of one that passes through.
    facts : CompressedTensor, optional
        Of a compressed tensor.
    """

    name: str
    parts: Mapping[str, tuple[str, tuple[int, ...], bytes]]
    facts: CompressedTensor | None = None


def content_crc32(mask: np.ndarray, codes: np.ndarray) -> int:
    """Return the CRC-32 of what must survive.

    That is the packed row-major mask, then the kept codes, one byte each.
    """
    packed = np.packbits(mask.reshape(-1), bitorder="little")
    return zlib.crc32(codes[mask].tobytes(), zlib.crc32(packed.tobytes()))


@dataclass(frozen=True)
class Container:
    """An opened compressed model.

    Parameters
    ----------
    path : Path
    config : BlockConfig or WindowConfig
        The one decoder that reads all of its value streams.
    index : IndexConfig
        The one that reads all of its index streams.
    tensors : dict
        Compressed tensors by original name.
    """

    path: Path
    config: ValueConfig
    index: IndexConfig
    tensors: dict[str, CompressedTensor]
    _entries: dict[str, Any] = field(repr=False)
    _crcs: dict[str, int] = field(repr=False)
    _start: int = field(repr=False)

    @property
    def names(self) -> list[str]:
        """All tensors of the file, in file order."""
        return list(self._entries)

    @property
    def untouched(self) -> list[str]:
        """Tensors that were passed through."""
        ours = {n + s for n in self.tensors for s in (STREAM, INDEX, SCALE)}
        return [name for name in self._entries if name not in ours]

    def entry(self, name: str) -> tuple[str, tuple[int, ...], int]:
        """Return dtype name, shape and bytes of a tensor of the file."""
        entry = self._entries[name]
        low, high = entry["data_offsets"]
        return entry["dtype"], tuple(entry["shape"]), high - low

    def raw(self, name: str) -> bytes:
        """Read a tensor's bytes.

        Raises
        ------
        FormatError
            If they do not have the CRC-32 that the manifest gives.
        """
        low, high = self._entries[name]["data_offsets"]
        with self.path.open("rb") as file:
            file.seek(self._start + low)
            data = file.read(high - low)
        if zlib.crc32(data) != self._crcs[name]:
            raise FormatError(
                f"{self.path}: tensor {name!r} is damaged: CRC-32 must be "
                f"{self._crcs[name]:08x}, found {zlib.crc32(data):08x}"
            )
        return data

    def array(self, name: str) -> np.ndarray:
        """Read a tensor of the file as an array."""
        dtype, shape, _ = self.entry(name)
        return np.frombuffer(self.raw(name), DTYPES[dtype]).reshape(shape)

    def tensor(self, name: str) -> CompressedTensor:
        """Return the manifest entry of a compressed tensor.

        Raises
        ------
        ConfigError
            If there is none of that name.
        """
        if name not in self.tensors:
            known = ", ".join(list(self.tensors)[:5])
            raise ConfigError(
                f"no compressed tensor {name!r} in {self.path} (there is: {known} ...)"
            )
        return self.tensors[name]


def _header_crc(raw: bytes) -> tuple[int, int]:
    """Return where the header's CRC stands and what it must be, -1 if there is no place."""
    at = raw.find(_CRC_FIELD)
    if at < 0:
        return -1, 0
    at += len(_CRC_FIELD)
    blank = raw[:at] + _CRC_BLANK.encode() + raw[at + len(_CRC_BLANK) :]
    return at, zlib.crc32(blank)


def _seal(raw: bytes) -> bytes:
    at, crc = _header_crc(raw)
    return raw[:at] + f"{crc:08x}".encode() + raw[at + len(_CRC_BLANK) :]


def _layout(facts: Mapping[str, Any], codec: type[ValueConfig]) -> ValueLayout:
    """Read a tensor's layout, which is in the manifest if the codec has several."""
    if not codec.has_layouts:
        return ValueLayout()
    limit = 1 << 32
    return ValueLayout(
        check_order(facts["order"]),
        check_range("slices_per_stream", facts["slices_per_stream"], 1, limit),
    )


def _index(facts: Mapping[str, Any]) -> IndexConfig:
    """Read the index decoder."""
    codec = INDEX_CODECS.get(facts["codec"])
    if codec is None:
        raise ValueError(f"unknown index codec {facts['codec']!r}")
    return codec.from_dict(facts["config"])


def _compressed(facts: Mapping[str, Any], codec: type[ValueConfig]) -> CompressedTensor:
    """Read and check a tensor's entry of the manifest; ``ValueError`` tells what does not fit."""
    shape = tuple(check_range("shape", n, 0, 1 << 32) for n in facts["shape"])
    if len(shape) > DIMENSIONS_MAX or math.prod(n or 1 for n in shape) >= 1 << 32:
        raise ValueError(
            f"shape must have at most {DIMENSIONS_MAX} dimensions and below 2**32 weights, "
            f"not {list(shape)}"
        )
    if facts["dtype"] not in DTYPES:
        raise ValueError(f"unknown dtype {facts['dtype']!r}")
    return CompressedTensor(
        shape,
        facts["dtype"],
        check_range("planes", facts["planes"], 1, PLANES_MAX),
        check_range("content_crc32", facts["content_crc32"], 0, (1 << 32) - 1),
        Quantizer(**facts["quantizer"]) if facts["quantizer"] else None,
        _layout(facts, codec),
    )


def write_container(
    path: Path, config: ValueConfig, index: IndexConfig, tensors: Iterable[StoredTensor]
) -> None:
    """Write a compressed model; the file appears whole or not at all.

    The header goes first and holds sizes and CRCs of all that follows, so the data wait in an
    unnamed file until all are known: memory holds one tensor at a time.

    Parameters
    ----------
    config : WindowConfig or BlockConfig
    index : IndexConfig
    tensors : iterable of StoredTensor
        In file order; made one by one while the file is written.

    Raises
    ------
    ConfigError
        If two tensors of the file would have one name.
    OSError
        If the file cannot be written.
    """
    facts: dict[str, dict[str, Any]] = {}
    entries: dict[str, tuple[str, tuple[int, ...], int]] = {}
    crcs: dict[str, int] = {}
    with spool_beside(path) as spool:
        for tensor in tensors:
            for suffix, (dtype, shape, data) in tensor.parts.items():
                name = tensor.name + suffix
                if name in entries:
                    raise ConfigError(f"{path}: tensor {name!r} comes twice: rename one")
                entries[name] = (dtype, shape, len(data))
                crcs[name] = zlib.crc32(data)
                spool.write(data)
            if tensor.facts is not None:
                facts[tensor.name] = _facts(tensor.facts, config)
        manifest = {
            "version": VERSION,
            "codec": config.codec,
            "config": config.to_dict(),
            "index": {"codec": index.codec, "config": index.to_dict()},
            "tensors": facts,
            "crc32": crcs,
        }
        metadata = {_KEY: json.dumps(manifest, separators=(",", ":")), _CRC_KEY: _CRC_BLANK}
        spool.seek(0)
        chunks = iter(lambda: spool.read(_CHUNK_BYTES), b"")
        write_tensors(path, _seal(header_bytes(entries, metadata)), chunks)


def _facts(tensor: CompressedTensor, config: ValueConfig) -> dict[str, Any]:
    """Return a tensor's entry of the manifest."""
    facts = {
        "shape": list(tensor.shape),
        "dtype": tensor.dtype,
        "planes": tensor.planes,
        "content_crc32": tensor.content_crc32,
        "quantizer": asdict(tensor.quantizer) if tensor.quantizer else None,
    }
    return facts | (asdict(tensor.layout) if config.has_layouts else {})


def read_container(path: Path) -> Container:
    """Open a compressed model and check its header; tensor data is checked when read.

    Raises
    ------
    ConfigError
        If the file does not exist.
    FormatError
        If it is damaged, not ours, or of a newer version.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such file")
    entries, metadata, raw, start = read_header(path)
    at, crc = _header_crc(raw)
    if _KEY not in metadata or at < 0:
        raise FormatError(f"{path}: not a xorloom file (no {_KEY!r} metadata); compress it first")
    found = raw[at : at + len(_CRC_BLANK)].decode("ascii", "replace")
    if found != f"{crc:08x}":
        raise FormatError(f"{path}: header is damaged: CRC-32 must be {crc:08x}, found {found}")
    try:
        manifest = json.loads(metadata[_KEY])
        version = manifest["version"]
        if version != VERSION:
            raise FormatError(
                f"{path}: file version {version} is not the supported {VERSION}: "
                "compress the model again, or use the xorloom that wrote it"
            )
        codec = VALUE_CODECS.get(manifest["codec"])
        if codec is None:
            raise FormatError(f"{path}: unknown value codec {manifest['codec']!r}")
        config = codec.from_dict(manifest["config"])
        index = _index(manifest["index"])
        tensors = {name: _compressed(t, codec) for name, t in manifest["tensors"].items()}
        crcs = {
            name: check_range("crc32", manifest["crc32"][name], 0, (1 << 32) - 1)
            for name in entries
        }
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"{path}: manifest does not fit: {error}") from error
    for name, t in tensors.items():
        needed = [name + STREAM, name + INDEX] + ([name + SCALE] if t.quantizer else [])
        for part in needed:
            if part not in entries:
                raise FormatError(f"{path}: tensor {part!r} is missing")
    try:
        for t in tensors.values():
            check_index(index, config, t.planes)
    except ConfigError as error:
        raise FormatError(f"{path}: manifest does not fit: {error}") from error
    return Container(path, config, index, tensors, entries, crcs, start)
