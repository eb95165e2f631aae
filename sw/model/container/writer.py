# SPDX-License-Identifier: Apache-2.0
"""Writer of compressed models: tensor by tensor, whole or not at all."""

import json
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from xorloom.sw.base.errors import CapacityError, ConfigError
from xorloom.sw.base.host import spool_beside
from xorloom.sw.tensors.safetensors_file import header_bytes, write_tensors

from .facts import CompressedTensor, ForeignTensor, JoinedTensor, StoredTensor
from .manifest import MANIFEST_KEY, Manifest
from .seal import SEAL_BLANK, SEAL_KEY, seal

__all__ = ["write_container"]

_CHUNK_BYTES = 1 << 20


def write_container(
    path: Path,
    tensors: Iterable[StoredTensor],
    *,
    metadata: Mapping[str, str] | None = None,
    ties: Mapping[str, str] | None = None,
    joined: Mapping[str, JoinedTensor] | None = None,
) -> None:
    """Write a compressed model; the file appears whole or not at all.

    The header goes first and holds sizes and CRCs of all that follows, so the data wait in an
    unnamed file until all are known: memory holds one tensor at a time, or a piece of it.

    Parameters
    ----------
    tensors : iterable of StoredTensor
        In file order; made one by one while the file is written.
    metadata : mapping, optional
        The original's, kept as it is.
    ties : mapping of name to name, optional
        Other names of tensors, each with the name under which the tensor stands.
    joined : mapping of name to JoinedTensor, optional
        Tensors whose blocks are among ``tensors``; read after the last of these.

    Raises
    ------
    ConfigError
        If two tensors of the file would have one name, or the metadata has a key of ours.
    CapacityError
        If names and metadata are longer than readers take.
    OSError
        If the file cannot be written.
    """
    metadata = metadata or {}
    for key in (MANIFEST_KEY, SEAL_KEY):
        if key in metadata:
            raise ConfigError(f"{path}: the model's metadata has the reserved key {key!r}")
    facts: dict[str, CompressedTensor] = {}
    foreign: dict[str, ForeignTensor] = {}
    entries: dict[str, tuple[str, tuple[int, ...], int]] = {}
    crcs: dict[str, int] = {}
    with spool_beside(path) as spool:
        for tensor in tensors:
            for suffix, (dtype, shape, data) in tensor.parts.items():
                name = tensor.name + suffix
                if name in entries:
                    raise ConfigError(f"{path}: tensor {name!r} comes twice: rename one")
                size = crc = 0
                for piece in (data,) if isinstance(data, bytes) else data:
                    size += len(piece)
                    crc = zlib.crc32(piece, crc)
                    spool.write(piece)
                entries[name], crcs[name] = (dtype, shape, size), crc
            if isinstance(tensor.facts, CompressedTensor):
                facts[tensor.name] = tensor.facts
            elif tensor.facts is not None:
                foreign[tensor.name] = tensor.facts
        manifest = Manifest(facts, foreign, dict(ties or {}), crcs, dict(joined or {}))
        text = json.dumps(manifest.to_dict(), separators=(",", ":"))
        ours = {MANIFEST_KEY: text, SEAL_KEY: SEAL_BLANK}
        try:
            manifest.check_names(entries, metadata)
            header = seal(header_bytes(entries, ours | dict(metadata)))
        except (ConfigError, CapacityError) as error:
            raise type(error)(f"{path}: {error}") from None
        spool.seek(0)
        write_tensors(path, header, iter(lambda: spool.read(_CHUNK_BYTES), b""))
