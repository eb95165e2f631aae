# SPDX-License-Identifier: Apache-2.0
"""Plain file that a compressed model comes back as: its tensors, its metadata, its header."""

import json
import math
from collections.abc import Iterable
from dataclasses import asdict

from xorloom.sw.base.errors import ConfigError
from xorloom.sw.tensors.safetensors_file import DTYPES, header_bytes

from .facts import FOREIGN_KEY, ROTATION_KEY
from .reader import Container

__all__ = ["plain_entries", "plain_header", "plain_metadata", "rotations"]

Entry = tuple[str, tuple[int, ...], int]
"""Dtype name, shape and bytes of a tensor."""


def plain_entries(container: Container, name: str) -> dict[str, Entry]:
    """Return dtype, shape and bytes of what a tensor comes back as, by name.

    One whose codes the user brought is two, ``NAME`` and ``NAME.mask``.
    """
    if not container.blocks(name):
        return {name: container.entry(name)}
    return {
        name + suffix: (dtype, shape, math.prod(shape) * DTYPES[dtype].itemsize)
        for suffix, (dtype, shape) in container.outputs(name).items()
    }


def plain_header(
    container: Container, names: Iterable[str] | None = None, *, keep_rotation: bool = False
) -> bytes:
    """Return the header of the plain safetensors file, without the length that goes before it.

    Parameters
    ----------
    container : Container
    names : iterable of str, optional
        Tensors of the original that stand in the file; by default all, in the original's order.
    keep_rotation : bool
        Leave rotated weights rotated.

    Raises
    ------
    ConfigError
        If rotated weights are kept so, and the metadata or a tie has the key that tells of them.
    """
    names = container.order if names is None else list(names)
    entries: dict[str, Entry] = {}
    for name in names:
        entries |= plain_entries(container, name)
    metadata = plain_metadata(container, names)
    found = rotations(container) if keep_rotation else {}
    seeds = {name: seed for name, seed in found.items() if name in entries}
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


def plain_metadata(container: Container, names: Iterable[str] | None = None) -> dict[str, str]:
    """Return the metadata of a plain file: the original's, and what only the manifest tells.

    Other names of a tensor stand as ``safetensors.torch.save_model`` writes them: the name that is
    left out, with the name that is there. Dtypes of foreign tensors stand under
    :data:`xorloom.sw.model.container.facts.FOREIGN_KEY`.

    Parameters
    ----------
    container : Container
    names : iterable of str, optional
        Tensors of the original that stand in the file; all by default.
    """
    here = set(container.order if names is None else names)
    ties = {alias: name for alias, name in container.ties.items() if name in here}
    foreign = {name: asdict(f) for name, f in container.foreign.items() if name in here}
    metadata = dict(container.metadata) | ties
    return metadata | ({FOREIGN_KEY: json.dumps(foreign)} if foreign else {})
