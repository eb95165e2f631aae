# SPDX-License-Identifier: Apache-2.0
"""Reader of compressed models: the header is checked on opening, tensors when they are read."""

import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

import numpy as np
from xorloom.sw.base.errors import CapacityError, ConfigError, FormatError
from xorloom.sw.spec.config import ValueConfig
from xorloom.sw.spec.weight_format import Decoder
from xorloom.sw.tensors.checkpoint.model import Span, listed
from xorloom.sw.tensors.safetensors_file import DTYPES
from xorloom.sw.tensors.shards import is_index

from .facts import MASK, STREAM, CompressedTensor, ForeignTensor, JoinedTensor, StoredTensor
from .one_file import Entry, read_file
from .shards import found_in, read_shards

__all__ = ["WEIGHTS_LEAST", "WEIGHTS_PER_BYTE", "Container", "read_container"]

WEIGHTS_PER_BYTE = 256
"""Weights that are decoded unasked, per byte of the file: 1/32 bit per weight."""
WEIGHTS_LEAST = 1 << 22
"""Weights that are decoded unasked however short the file is."""


@dataclass(frozen=True)
class Container:
    """An opened compressed model.

    Parameters
    ----------
    path : Path
        As it was opened: a file, an index or a folder.
    tensors : dict
        Compressed tensors by original name.
    foreign : dict
        Tensors that pass through as bytes because safetensors lacks their dtype.
    ties : dict
        Other names of tensors, each with the name under which the tensor stands.
    metadata : dict
        The original's.
    max_weights : int
        Most weights, in all, of a file that is decoded.
    files : tuple of Path
        All that are read: one, or an index and its parts.
    joined : dict
        Tensors of the original that are compressed in blocks; each block is one of ``tensors``.
    """

    path: Path
    tensors: Mapping[str, CompressedTensor]
    foreign: Mapping[str, ForeignTensor]
    ties: Mapping[str, str]
    metadata: Mapping[str, str]
    max_weights: int
    files: tuple[Path, ...]
    _entries: Mapping[str, Entry] = field(repr=False)
    joined: Mapping[str, JoinedTensor] = field(default_factory=dict)
    _held: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def names(self) -> list[str]:
        """All tensors of the file, in file order."""
        return list(self._entries)

    @property
    def order(self) -> list[str]:
        """Tensors of the original, compressed or not, in file order."""
        owner = {name + info.parts[0]: name for name, info in self.tensors.items()}
        rest = {name + part for name, info in self.tensors.items() for part in info.parts[1:]}
        whole = {block: name for name, info in self.joined.items() for block in info.blocks}
        found = [owner.get(name, name) for name in self._entries if name not in rest]
        return list(dict.fromkeys(whole.get(name, name) for name in found))

    @property
    def sizes(self) -> dict[str, int]:
        """Elements of every tensor of the original, and of every block."""
        found = {name: math.prod(self.outputs(name)[""][1]) for name in self.order}
        return found | {name: math.prod(info.shape) for name, info in self.tensors.items()}

    @property
    def untouched(self) -> list[str]:
        """Tensors that were passed through."""
        return [name for name in self.order if not self.blocks(name)]

    def blocks(self, name: str) -> tuple[str, ...]:
        """Return the compressed tensors that a tensor of the original is made of.

        Itself, if it is compressed in one; none, if it was passed through.
        """
        if name in self.joined:
            return self.joined[name].blocks
        return (name,) if name in self.tensors else ()

    def error(self, name: str) -> float | None:
        """Return the squared error of a compressed tensor of the original, or of a block."""
        if name in self.joined:
            return self.joined[name].error
        return self.tensor(name).error

    def outputs(self, name: str) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Return what a tensor of the original comes back as: dtype and shape by suffix."""
        blocks = self.blocks(name)
        if not blocks:
            return {"": self.entry(name)[:2]}
        info = self.tensors[blocks[0]]
        shape = self.joined[name].shape if name in self.joined else info.shape
        dtypes = {"": info.dtype, MASK: "BOOL"}
        return {suffix: (dtypes[suffix], shape) for suffix in info.outputs}

    @property
    def decoders(self) -> list[Decoder]:
        """Decoders of all compressed tensors, each once."""
        return list(dict.fromkeys(info.decoder for info in self.tensors.values()))

    @cached_property
    def weights(self) -> int:
        """Weights of all compressed tensors."""
        return sum(math.prod(info.shape) for info in self.tensors.values())

    def matching(self, patterns: Sequence[str] = ()) -> list[str]:
        """Return the names of compressed tensors; without patterns, all.

        Parameters
        ----------
        patterns : sequence of str
            Names, or globs; the names come in this order, those of a glob in the model's. That of
            a tensor in blocks stands for all of them.

        Raises
        ------
        ConfigError
            If one matches nothing.
        """
        if not patterns:
            return list(self.tensors)
        found: list[str] = []
        compressed = [name for name in self.order if self.blocks(name)]
        for pattern in patterns:
            some = list(self.blocks(pattern)) or [
                block
                for name in compressed
                if fnmatchcase(name, pattern)
                for block in self.blocks(name)
            ]
            if not some:
                self.tensor(pattern)  # raises
            found += some
        return found

    def decoder(self, names: Sequence[str] = ()) -> Decoder:
        """Return the decoder that reads all of some tensors; none named: all that are compressed.

        Raises
        ------
        ConfigError
            If there is no such tensor, or one decoder does not read them all.
        """
        found: dict[Decoder, list[str]] = {}
        for name in names or self.tensors:
            found.setdefault(self.tensor(name).decoder, []).append(name)
        if not found:
            raise ConfigError(f"{self.path}: no tensor is compressed")
        if len(found) > 1:
            groups = "; ".join(
                f"{d.value.codec} values with the {d.index.codec} index, n_out "
                f"{d.value.n_out}: {listed(few, 3)}"
                for d, few in found.items()
            )
            raise ConfigError(
                f"{self.path}: these tensors are for {len(found)} decoders ({groups}): name "
                "tensors of one of them with --tensor"
            )
        return next(iter(found))

    def value(self, names: Sequence[str] = ()) -> ValueConfig:
        """Return the value codec's parameters of some tensors; none named: of all compressed ones.

        Raises
        ------
        ConfigError
            If there is no such tensor, or they are not for one value decoder.
        """
        values = {self.tensor(name).decoder.value for name in names or self.tensors}
        return values.pop() if len(values) == 1 else self.decoder(names).value

    def entry(self, name: str) -> tuple[str, tuple[int, ...], int]:
        """Return dtype name, shape and bytes of a tensor of the file."""
        entry = self._entries[name]
        return entry.dtype, entry.shape, entry.size

    def label(self, name: str) -> str:
        """Return what an error calls a compressed tensor: its file and name."""
        first = (self.blocks(name) or (name,))[0]
        return f"{self._entries[first + STREAM].path}: {name}"

    def raw(self, name: str) -> bytes:
        """Read a tensor's bytes.

        Raises
        ------
        FormatError
            If they do not have the CRC-32 that the manifest gives.
        """
        if name in self._held:
            return self._held[name]
        entry = self._entries[name]
        with entry.path.open("rb") as file:
            file.seek(entry.start)
            data = file.read(entry.size)
        self._check_crc(name, zlib.crc32(data))
        return data

    def hold(self, name: str) -> "Container":
        """Return a container of one compressed tensor of the original, its bytes in memory.

        No file is read any more.

        Raises
        ------
        ConfigError
            If there is no such tensor.
        FormatError
            If its bytes are damaged.
        """
        blocks = self.blocks(name) or (name,)
        tensors = {block: self.tensor(block) for block in blocks}
        held = {
            block + part: self.raw(block + part)
            for block, info in tensors.items()
            for part in info.parts
        }
        return replace(
            self,
            tensors=tensors,
            foreign={},
            ties={},
            _entries={entry: self._entries[entry] for entry in held},
            joined={name: self.joined[name]} if name in self.joined else {},
            _held=held,
        )

    @property
    def held_bytes(self) -> int:
        """Bytes of the tensors that are in memory."""
        return sum(map(len, self._held.values()))

    def pieces(self, name: str) -> Iterator[bytes]:
        """Read the bytes of a tensor of the file a piece at a time.

        Raises
        ------
        FormatError
            After the last piece, if they do not have the CRC-32 that the manifest gives.
        """
        entry, crc = self._entries[name], 0
        for piece in Span(entry.path, entry.start, entry.size).pieces():
            crc = zlib.crc32(piece, crc)
            yield piece
        self._check_crc(name, crc)

    def _check_crc(self, name: str, found: int) -> None:
        entry = self._entries[name]
        if found != entry.crc32:
            raise FormatError(
                f"{entry.path}: tensor {name!r} is damaged: CRC-32 must be {entry.crc32:08x}, "
                f"found {found:08x}"
            )

    def array(self, name: str) -> np.ndarray:
        """Read a tensor of the file as an array."""
        dtype, shape, _ = self.entry(name)
        return np.frombuffer(self.raw(name), DTYPES[dtype]).reshape(shape)

    def stored(self, name: str) -> StoredTensor:
        """Return a tensor of the original as it is stored, to put it into another file.

        Its bytes come in pieces. The last one raises FormatError if they are damaged.
        """
        info = self.tensors.get(name)
        parts = {
            suffix: (*self.entry(name + suffix)[:2], self.pieces(name + suffix))
            for suffix in (info.parts if info else ("",))
        }
        return StoredTensor(name, parts, info or self.foreign.get(name))

    def check_weights(self) -> None:
        """Check that decoding takes no more memory than one expects of a file of this length.

        Raises
        ------
        CapacityError
            If the file has more weights than ``max_weights``.
        """
        if self.weights > self.max_weights:
            size = sum(file.stat().st_size for file in self.files)
            raise CapacityError(
                f"{self.path}: decoding its {self.weights:,} weights takes much memory for a file "
                f"of {size:,} bytes, so it is not done unasked (limit: "
                f"{self.max_weights:,}): give --max-weights {self.weights} if you trust the file"
            )

    def tensor(self, name: str) -> CompressedTensor:
        """Return the manifest entry of a compressed tensor.

        Raises
        ------
        ConfigError
            If there is none of that name.
        """
        if name not in self.tensors:
            known = listed(name for name in self.order if self.blocks(name)) or "none"
            raise ConfigError(f"no compressed tensor {name!r} in {self.path} (there is: {known})")
        return self.tensors[name]


def read_container(path: Path, max_weights: int | None = None) -> Container:
    """Open a compressed model and check its header; tensor data is checked when read.

    Parameters
    ----------
    path : Path
        A file; or a model in several, by its index or its folder.
    max_weights : int, optional
        Most weights, in all, of a file that is decoded; by default :data:`WEIGHTS_PER_BYTE` a byte
        of the file, or :data:`WEIGHTS_LEAST` if that is more.

    Raises
    ------
    ConfigError
        If the file does not exist, or the folder holds none, or more than one.
    FormatError
        If it is damaged, not ours, or of another version; or files and index do not fit.
    """
    where = found_in(path) if path.is_dir() else path
    found = read_shards(where) if is_index(where) else read_file(where)
    if max_weights is None:
        max_weights = max(WEIGHTS_LEAST, WEIGHTS_PER_BYTE * found.size)
    manifest = found.manifest
    return Container(
        path,
        manifest.tensors,
        manifest.foreign,
        manifest.ties,
        found.metadata,
        max_weights,
        found.files,
        found.entries,
        manifest.joined,
    )
