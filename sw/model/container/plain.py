# SPDX-License-Identifier: Apache-2.0
"""Plain file that a compressed model comes back as: its tensors, its metadata, its header."""

import json
import math
from dataclasses import asdict

from xorloom.sw.tensors.safetensors_file import DTYPES, header_bytes

from .facts import FOREIGN_KEY, MASK
from .reader import Container

__all__ = ["plain_header", "plain_metadata"]


def plain_header(container: Container) -> bytes:
    """Return the header of the plain safetensors file, without the length that goes before it.

    Tensors stand in the original's order. One whose codes the user brought is two, ``NAME`` and
    ``NAME.mask``.
    """
    entries: dict[str, tuple[str, tuple[int, ...], int]] = {}
    for name in container.order:
        info = container.tensors.get(name)
        if info is None:
            entries[name] = container.entry(name)
            continue
        size = math.prod(info.shape)
        entries[name] = (info.dtype, info.shape, size * DTYPES[info.dtype].itemsize)
        if info.quantizer is None:
            entries[name + MASK] = ("BOOL", info.shape, size)
    return header_bytes(entries, plain_metadata(container))


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
