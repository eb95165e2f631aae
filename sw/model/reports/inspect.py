# SPDX-License-Identifier: Apache-2.0
"""Inspection of a compressed model: bits, frames and steps of a tensor, and index FIFOs."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from xorloom.sw.bits.framing import index_overhead
from xorloom.sw.index.entropy import stream as index_entropy
from xorloom.sw.model.codec import decode_tensor
from xorloom.sw.model.container import INDEX, SCALE, STREAM, Container
from xorloom.sw.model.metrics import TensorBits
from xorloom.sw.model.verify import verify_tensor
from xorloom.sw.spec.index_config import EntropyConfig
from xorloom.sw.tensors.orders import beats, runs
from xorloom.sw.value.plane import value_bits, value_frames

__all__ = [
    "FIFO_COLUMNS",
    "SLACKS",
    "by_original",
    "fifo_rows",
    "joined_frames",
    "tensor_bits",
    "tensor_frames",
    "tensor_steps",
]

SLACKS = (0.02, 0.05, 0.1)
"""Supply beyond the mean demand."""
FIFO_COLUMNS = ("tensor", "bits_per_beat", "most", *(f"fifo_bits_{s:.0%}" for s in SLACKS))


def by_original(container: Container, names: Iterable[str]) -> dict[str, list[str]]:
    """Group compressed tensors by the tensor of the original; blocks of which some lack, singly."""
    owner = {block: name for name, info in container.joined.items() for block in info.blocks}
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(owner.get(name, name), []).append(name)
    found: dict[str, list[str]] = {}
    for name, some in groups.items():
        is_whole = set(container.blocks(name)) <= set(some)
        found |= {name: some} if is_whole else {block: [block] for block in some}
    return found


def joined_frames(frames: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the frames of a tensor's blocks, see :func:`tensor_frames`, as those of one tensor."""
    orders = list(dict.fromkeys(facts["order"] for facts in frames))
    counts = {key: sum(facts[key] for facts in frames) for key in ("streams", "slices")}
    lists = {key: [n for facts in frames for n in facts[key]] for key in ("steps", "patches")}
    return frames[0] | counts | lists | {"order": ", ".join(orders)}


def tensor_bits(container: Container, name: str) -> TensorBits:
    """Count the bits of one tensor of a file."""
    info = container.tensor(name)
    config = info.decoder.value
    decoded = verify_tensor(container, name)
    data = container.raw(name + STREAM)
    where = container.label(name)
    bits = value_bits(data, decoded.mask.size, info.planes, config, info.layout, where)
    index_bits = container.entry(name + INDEX)[2] * 8
    headers = index_overhead(container.raw(name + INDEX), config.bus_bytes, where)
    scale_bits = container.entry(name + SCALE)[2] * 8 if info.quantizer else 0
    return TensorBits.of(
        decoded.mask, decoded.codes, info.planes, bits, index_bits, headers, scale_bits, config
    )


def tensor_steps(container: Container, name: str) -> int:
    """Count the decoder steps of one tensor, that is, cycles when memory never waits."""
    info = container.tensor(name)
    weights = int(np.prod(info.shape, dtype=np.int64))
    data = container.raw(name + STREAM)
    where = container.label(name)
    return value_bits(data, weights, info.planes, info.decoder.value, info.layout, where).steps


def tensor_frames(container: Container, name: str) -> dict[str, Any] | None:
    """Tell the frames' rates of one tensor, see :func:`xorloom.sw.value.plane.value_frames`."""
    info = container.tensor(name)
    weights = int(np.prod(info.shape, dtype=np.int64))
    data = container.raw(name + STREAM)
    where = container.label(name)
    return value_frames(data, weights, info.planes, info.decoder.value, info.layout, where)


def fifo_rows(container: Container, names: Iterable[str]) -> list[dict[str, Any]]:
    """Simulate the index decoder's demand, beat by beat, at constant supplies.

    ``bits_per_beat`` is the mean demand, ``most`` the largest; ``fifo_bits_2%`` and so on are the
    deepest drawdown over all streams of a tensor if memory delivers so much more than the mean, see
    :func:`xorloom.sw.index.entropy.stream.fifo_bits`. No row for a tensor with another index.
    """
    rows = []
    for name in names:
        info = container.tensor(name)
        config = info.decoder.index
        if not isinstance(config, EntropyConfig):
            continue
        mask = decode_tensor(container, name).mask
        slices = beats(mask, info.layout.order, config.n_out)
        codes = [
            index_entropy.encode(slices[first:end], config)
            for first, end, _ in runs(mask.size, config.n_out, info.layout.slices_per_stream)
        ]
        demand = np.concatenate([np.zeros(0), *(code.demand for code in codes)])
        demand = demand * index_entropy.UNIT_BITS
        row: dict[str, Any] = {
            "tensor": name,
            "bits_per_beat": float(demand.mean()) if demand.size else 0.0,
            "most": float(demand.max(initial=0.0)),
        }
        for slack in SLACKS:
            supply = row["bits_per_beat"] * (1 + slack)
            depths = [index_entropy.fifo_bits(code, config, supply) for code in codes]
            row[f"fifo_bits_{slack:.0%}"] = max(depths, default=0.0)
        rows.append(row)
    return rows
