# SPDX-License-Identifier: Apache-2.0
"""Writer of compressed models: tensor by tensor into one file, whole or not at all, or into parts.

The header goes first and holds sizes and CRCs of all that follows, so the data wait in an unnamed
file until all are known: memory holds one tensor at a time, or a piece of it.
"""

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from xorloom.sw.base.errors import CapacityError, ConfigError
from xorloom.sw.base.host import spool_beside, write_whole
from xorloom.sw.tensors.safetensors_file import header_bytes, write_tensors
from xorloom.sw.tensors.shards import INDEX_ENDING, shard_names

from .facts import CompressedTensor, ForeignTensor, JoinedTensor, StoredTensor
from .manifest import MANIFEST_KEY, Manifest
from .seal import SEAL_BLANK, SEAL_KEY, find_seal, seal
from .shards import joined_manifest, shards_text

__all__ = ["write_container"]

_CHUNK_BYTES = 1 << 20
_Entry = tuple[str, tuple[int, ...], int]


def write_container(
    path: Path,
    tensors: Iterable[StoredTensor],
    *,
    metadata: Mapping[str, str] | None = None,
    ties: Mapping[str, str] | None = None,
    joined: Mapping[str, JoinedTensor] | None = None,
    shard_bytes: int | None = None,
) -> Path:
    """Write a compressed model; the file appears whole or not at all.

    Parameters
    ----------
    path : Path
    tensors : iterable of StoredTensor
        In file order; made one by one while the file is written.
    metadata : mapping, optional
        The original's, kept as it is.
    ties : mapping of name to name, optional
        Other names of tensors, each with the name under which the tensor stands.
    joined : mapping of name to JoinedTensor, optional
        Tensors whose blocks are among ``tensors``, one after the other. A tensor's entry is read
        when the one behind it has come, or none does.
    shard_bytes : int, optional
        Most bytes of tensors in a file, but for a tensor that has more. What is more than one file
        goes into ``STEM-00001-of-0000N.safetensors`` and on, beside ``STEM.safetensors.index.json``
        (``path`` being ``STEM.safetensors``). Files appear one by one, so the folder should be one
        of :func:`xorloom.sw.base.folders.new_folder`.

    Returns
    -------
    Path
        Of the file or the index.

    Raises
    ------
    ConfigError
        If two tensors would have one name, or the metadata has a key of ours.
    CapacityError
        If names and metadata are longer than readers take, or the parts too many.
    OSError
        If a file cannot be written.
    """
    metadata, ties, joined = metadata or {}, ties or {}, joined or {}
    for key in (MANIFEST_KEY, SEAL_KEY):
        if key in metadata:
            raise ConfigError(f"{path}: the model's metadata has the reserved key {key!r}")
    if shard_bytes is not None:
        return _write_shards(path, tensors, metadata, ties, joined, shard_bytes)
    with spool_beside(path) as spool:
        part = _Part(path, spool, joined)
        for tensor in tensors:
            part.add(tensor)
        part.write(path, metadata, ties)
    return path


def _write_shards(
    path: Path,
    tensors: Iterable[StoredTensor],
    metadata: Mapping[str, str],
    ties: Mapping[str, str],
    joined: Mapping[str, JoinedTensor],
    most: int,
) -> Path:
    """Write a model into as many files as it takes."""
    home: dict[str, int] = {}
    owners: dict[str, int] = {}
    entries: dict[str, _Entry] = {}
    manifests: list[Manifest] = []
    seals: list[str] = []
    for number, part in enumerate(_parts(path, tensors, joined, most)):
        for name in part.entries:
            if name in home:
                raise ConfigError(f"{path}: tensor {name!r} comes twice: rename one")
            home[name] = number
        owners |= dict.fromkeys(part.originals, number)
        own = {alias: name for alias, name in ties.items() if owners.get(name) == number}
        manifest, found = part.write(_unnumbered(path, number), metadata, own)
        entries |= part.entries
        manifests.append(manifest)
        seals.append(found)
    whole = joined_manifest(manifests)
    whole.ties.update(ties)
    with _naming(path):
        whole.check_names(entries, metadata)
    files = shard_names(path, len(manifests))
    for number, file in enumerate(files):
        _unnumbered(path, number).replace(file)
    if len(files) == 1:
        return path
    index = path.with_name(path.name + INDEX_ENDING)
    places = {name: files[number].name for name, number in home.items()}
    total = sum(size for _, _, size in entries.values())
    sealed = {file.name: found for file, found in zip(files, seals, strict=True)}
    write_whole(index, shards_text(places, total, sealed))
    return index


def _unnumbered(path: Path, number: int) -> Path:
    """Return the name of a part while nobody knows how many there are."""
    return path.with_name(f"{path.stem}-{number + 1:05d}{path.suffix}")


def _parts(
    path: Path, tensors: Iterable[StoredTensor], joined: Mapping[str, JoinedTensor], most: int
) -> Iterator["_Part"]:
    """Yield the parts of a model, each as it is full; blocks of a tensor stay together."""
    with ExitStack() as stack:
        part = _Part(path, stack.enter_context(spool_beside(path)), joined)
        for tensor in tensors:
            part.add(tensor)
            # How much a tensor takes is known when it is there: then it may open the next part.
            if part.size > most and len(part.originals) > 1:
                with stack.pop_all():
                    following = _Part(path, stack.enter_context(spool_beside(path)), joined)
                    part.move_last(following)
                    yield part
                part = following
        yield part


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Name the file in errors that do not."""
    try:
        yield
    except (ConfigError, CapacityError) as error:
        raise type(error)(f"{path}: {error}") from None


class _Part:
    """A file in the making: what it says of its tensors, and their bytes in an unnamed file."""

    def __init__(self, path: Path, spool: IO[bytes], joined: Mapping[str, JoinedTensor]) -> None:
        self._path, self._spool, self._joined = path, spool, joined
        self._owners = {block: name for name, info in joined.items() for block in info.blocks}
        self._tensors: dict[str, CompressedTensor] = {}
        self._foreign: dict[str, ForeignTensor] = {}
        self._crcs: dict[str, int] = {}
        self.entries: dict[str, _Entry] = {}
        self.originals: dict[str, list[str]] = {}
        self.size = 0

    def add(self, tensor: StoredTensor) -> None:
        """Write a tensor to the end of the file."""
        owner = self._owners.get(tensor.name, tensor.name)
        self.originals.setdefault(owner, []).append(tensor.name)
        for suffix, (dtype, shape, data) in tensor.parts.items():
            name = tensor.name + suffix
            if name in self.entries:
                raise ConfigError(f"{self._path}: tensor {name!r} comes twice: rename one")
            size = crc = 0
            for piece in (data,) if isinstance(data, bytes) else data:
                size += len(piece)
                crc = zlib.crc32(piece, crc)
                self._spool.write(piece)
            self.entries[name], self._crcs[name] = (dtype, shape, size), crc
            self.size += size
        if isinstance(tensor.facts, CompressedTensor):
            self._tensors[tensor.name] = tensor.facts
        elif tensor.facts is not None:
            self._foreign[tensor.name] = tensor.facts

    def move_last(self, other: "_Part") -> None:
        """Move the last tensor, with all its blocks, to the end of another file."""
        moved = []
        for name in self.originals.popitem()[1]:
            facts = self._tensors.pop(name, None) or self._foreign.pop(name, None)
            suffixes = facts.parts if isinstance(facts, CompressedTensor) else ("",)
            entries = {suffix: self.entries.pop(name + suffix) for suffix in suffixes}
            self.size -= sum(size for _, _, size in entries.values())
            parts = {
                suffix: (dtype, shape, self._read(size))
                for suffix, (dtype, shape, size) in entries.items()
            }
            for suffix in suffixes:
                del self._crcs[name + suffix]
            moved.append(StoredTensor(name, parts, facts))
        self._spool.seek(self.size)
        for tensor in moved:  # their bytes stand one after the other, and are read so
            other.add(tensor)

    def _read(self, size: int) -> Iterator[bytes]:
        """Read on in the unnamed file."""
        while size:
            piece = self._spool.read(min(size, _CHUNK_BYTES))
            size -= len(piece)
            yield piece

    def write(
        self, path: Path, metadata: Mapping[str, str], ties: Mapping[str, str]
    ) -> tuple[Manifest, str]:
        """Write the file; return its manifest and the CRC-32 of its header."""
        joined = {name: self._joined[name] for name in self.originals if name in self._joined}
        manifest = Manifest(self._tensors, self._foreign, dict(ties), self._crcs, joined)
        text = json.dumps(manifest.to_dict(), separators=(",", ":"))
        ours = {MANIFEST_KEY: text, SEAL_KEY: SEAL_BLANK}
        with _naming(self._path):
            manifest.check_names(self.entries, metadata)
            header = seal(header_bytes(self.entries, ours | dict(metadata)))
        self._spool.seek(0)
        write_tensors(path, header, self._read(self.size))
        found = find_seal(header)
        assert found is not None
        return manifest, found[0]
