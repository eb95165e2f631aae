# SPDX-License-Identifier: Apache-2.0
"""Plain file that a compressed model comes back as: its tensors, its metadata, its header."""

import json
import math
from dataclasses import asdict

from xorloom.sw.base.errors import ConfigError
from xorloom.sw.tensors.safetensors_file import DTYPES, header_bytes

from .facts import FOREIGN_KEY, ROTATION_KEY
from .reader import Container

__all__ = ["plain_header", "plain_metadata", "rotations"]


def plain_header(container: Container, *, keep_rotation: bool = False) -> bytes:
    """Return the header of the plain safetensors file, without the length that goes before it.

    Tensors stand in the original's order. One whose codes the user brought is two, ``NAME`` and
    ``NAME.mask``.

    Raises
    ------
    ConfigError
        If rotated weights are kept so, and the metadata or a tie has the key that tells of them.
    """
    entries: dict[str, tuple[str, tuple[int, ...], int]] = {}
    for name in container.order:
        if not container.blocks(name):
            entries[name] = container.entry(name)
            continue
        for suffix, (dtype, shape) in container.outputs(name).items():
            entries[name + suffix] = (dtype, shape, math.prod(shape) * DTYPES[dtype].itemsize)
    metadata = plain_metadata(container)
    seeds = rotations(container) if keep_rotation else {}
    if seeds and ROTATION_KEY in metadata:
        raise ConfigError(
            f"{container.path}: the model's metadata has the reserved key {ROTATION_KEY!r}: "
            "decompress without --keep-rotation"
        )
    return header_bytes(entries, metadata | ({ROTATION_KEY: json.dumps(seeds)} if seeds else {}))


def rotations(container: Container) -> dict[str, int]:
    """Return the seeds of all tensors that are rotated."""
    found = {}
    for name in container.order:
        for block in container.blocks(name)[:1]:
            rotation = container.tensors[block].rotation
            if rotation is not None:
                found[name] = rotation
    return found


def plain_metadata(container: Container) -> dict[str, str]:
    """Return the metadata of a plain file: the original's, and what only the manifest tells.

    Other names of a tensor stand as ``safetensors.torch.save_model`` writes them: the name that is
    left out, with the name that is there. Dtypes of foreign tensors stand under
    :data:`xorloom.sw.model.container.facts.FOREIGN_KEY`.
    """
    metadata = dict(container.metadata) | dict(container.ties)
    if container.foreign:
        metadata[FOREIGN_KEY] = json.dumps({n: asdict(f) for n, f in container.foreign.items()})
    return metadata
