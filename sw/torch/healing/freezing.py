# SPDX-License-Identifier: Apache-2.0
"""Frozen codings of a module: out of a file, or out of codings that have chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch.nn import Parameter
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.index.masks import Choice
from xorloom.sw.model.codec import decode_tensor
from xorloom.sw.model.container import INDEX, STREAM, Container, read_container
from xorloom.sw.tensors.checkpoint.model import listed
from xorloom.sw.torch.coding.base import Coded
from xorloom.sw.torch.coding.frozen import FrozenCoding
from xorloom.sw.torch.files import load
from xorloom.sw.torch.plan import weights_of
from xorloom.sw.torch.pruned import pruned
from xorloom.sw.torch.pruning import install
from xorloom.sw.value.plane import read_value

__all__ = ["freeze", "load_frozen"]


def load_frozen(path: Path, module: Any) -> Any:
    """Load a compressed file into a module, to be healed and exported again.

    As :func:`xorloom.sw.torch.files.load`, but weights that the file holds compressed are frozen
    codings: mask, codes, levels and seeds stay as they are in the file, scales can be trained.

    Parameters
    ----------
    path : Path
    module : torch.nn.Module
        Of the architecture that the file was made of.

    Returns
    -------
    torch.nn.Module
        The module.

    Raises
    ------
    ConfigError
        If file and module differ, or scales are such that cannot be trained.
    FormatError
        If the file is damaged.
    """
    container = read_container(Path(path))
    if container.joined:
        raise ConfigError(
            f"{path}: {listed(container.joined)} is in row blocks, which cannot be trained: "
            "compress with --block-weights 0"
        )
    codings = {name: FrozenCoding(_coded(container, name), name=name) for name in container.tensors}
    if not codings:
        raise ConfigError(f"{path}: no tensor is compressed (use load)")
    load(path, module)
    for weight in weights_of(module):
        for name in weight.names:
            if name in codings:
                install(weight, codings[name])
    return module


def _coded(container: Container, name: str) -> Coded:
    """Return what a file holds of a weight."""
    info = container.tensor(name)
    if info.quantizer is None:
        raise ConfigError(f"{container.label(name)} holds codes without scales: leave it out")
    quantized = decode_tensor(container, name)
    value, index, layout = info.decoder.value, info.decoder.index, info.layout
    choice = seeds = None
    if value.chooses_values:
        where, size = container.label(name), quantized.mask.size
        data = container.raw(name + STREAM)
        seeds = read_value(data, size, info.planes, value, layout, where)
    elif index.chooses_mask:
        stored = bytes(container.raw(name + INDEX))
        choice = Choice(quantized.mask, stored, layout.order, index, layout.slices_per_stream)
    return Coded(quantized, info.quantizer, value, choice, None if choice else index, seeds)


def freeze(module: Any) -> dict[str, FrozenCoding]:
    """Freeze all codings of a module at what they have chosen; return them by their weights.

    Latent weights, or latent seeds, become the decoded weights, without gradients.

    Raises
    ------
    ConfigError
        If there are none.
    """
    found: dict[str, FrozenCoding] = {}
    for weight in pruned(module):
        coding = weight.coding
        if not isinstance(coding, FrozenCoding):
            coding = FrozenCoding(weight.coded(), name=weight.name)
        latent = Parameter(weight.decoded(), requires_grad=False)
        for part, own in weight.places:
            chain = part.parametrizations[own]
            chain[0], chain.original = coding, latent
        found[weight.name] = coding
    if not found:
        raise ConfigError(
            f"nothing of {type(module).__name__} is compressed: prune it, or take it from a "
            "compressed file with load_frozen"
        )
    return found
