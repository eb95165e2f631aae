# SPDX-License-Identifier: Apache-2.0
"""Cases to simulate: memory streams of a compressed model's tensors, or of i.i.d. masks."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from xorloom.sim.datasets import iid, iid_seeds
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.bits.framing import split_streams
from xorloom.sw.model.container import STREAM, read_container
from xorloom.sw.model.reports.inspect import tensor_steps
from xorloom.sw.spec.config import BlockConfig, ValueConfig, WindowConfig
from xorloom.sw.spec.direct import DirectConfig
from xorloom.sw.tensors.orders import slice_count
from xorloom.sw.tensors.prune import check_sparsity
from xorloom.sw.value.plane import encode_value, pack_value
from xorloom.sw.value.search import cut_sample, search_block, search_window

__all__ = ["Case", "iid_case", "model_case"]


@dataclass(frozen=True)
class Case:
    """Case: memory streams to simulate, and what they hold.

    Parameters
    ----------
    title : str
    config : ValueConfig
    streams : tuple of bytes
    weights, slices, words, steps : int
        Sums over the streams; ``words`` counts header and CRC words as well.
    """

    title: str
    config: ValueConfig
    streams: tuple[bytes, ...]
    weights: int
    slices: int
    words: int
    steps: int


def _case(title: str, config: ValueConfig, parts: Sequence[tuple[bytes, int, int, int]]) -> Case:
    """Return the case of tensors, each (streams, weights, slices, steps)."""
    streams: list[bytes] = []
    for data, _, _, _ in parts:
        streams += split_streams(data, config.bus_bytes, title)
    return Case(
        title,
        config,
        tuple(streams),
        sum(part[1] for part in parts),
        sum(part[2] for part in parts),
        sum(len(data) // config.bus_bytes for data in streams),
        sum(part[3] for part in parts),
    )


def _slices(weights: int, planes: int, config: ValueConfig) -> int:
    """Return the slices of a tensor."""
    if config.has_layouts:
        return slice_count(weights, config.n_out // planes)
    return slice_count(weights, config.n_out) * planes


def model_case(path: Path, names: Sequence[str], *, max_weights: int | None = None) -> Case:
    """Return the case of tensors of a compressed model; without names, the largest one.

    ``max_weights`` is that of :func:`xorloom.sw.model.container.reader.read_container`.

    Raises
    ------
    ConfigError
        If the file or a tensor is not there.
    FormatError
        If it is damaged.
    """
    container = read_container(path, max_weights)
    container.check_weights()
    if not names:
        names = [max(container.tensors, key=lambda n: int(np.prod(container.tensors[n].shape)))]
    parts = []
    config = container.decoder(names).value
    for name in names:
        info = container.tensor(name)
        weights = int(np.prod(info.shape, dtype=np.int64))
        steps = tensor_steps(container, name)
        parts.append(
            (container.raw(name + STREAM), weights, _slices(weights, info.planes, config), steps)
        )
    shapes = ", ".join(f"{n} {'x'.join(map(str, container.tensors[n].shape))}" for n in names)
    title = shapes if len(names) <= 2 else f"{len(names)} tensors of {path.name}"
    return _case(title, config, parts)


def iid_case(
    sparsity: float, weights: int, planes: int, config: ValueConfig, *, search: bool, seed: int = 1
) -> Case:
    """Return the case of random codes under an i.i.d. mask, like AlexNet's pruned FC layers.

    The direct codec has random seeds instead, ``config.planes`` and no mask.

    Raises
    ------
    ConfigError
        If a parameter is out of range.
    """
    check_sparsity(sparsity)
    if weights < 1:
        raise ConfigError(f"weights must be at least 1, not {weights}")
    if isinstance(config, DirectConfig):
        data, bits, _ = pack_value(iid_seeds(weights, config, seed), config)
        title = f"random seeds, {float(config.rate):g} bits per weight, {weights:,} weights"
        slices = _slices(weights, config.planes, config)
        return _case(title, config, [(data, weights, slices, bits.steps)])
    mask, codes = iid(weights, sparsity, planes, seed)
    if search:
        sample = cut_sample((mask, codes, planes), weights)
        if isinstance(config, BlockConfig):
            config = search_block(sample, config).config
        elif isinstance(config, WindowConfig):
            config = search_window(sample, config)
    data, bits, _ = encode_value(mask, codes, planes, config, "row")
    title = f"i.i.d. mask S {sparsity}, {planes} bit, {weights:,} weights"
    return _case(title, config, [(data, weights, _slices(weights, planes, config), bits.steps)])
