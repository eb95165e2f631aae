# SPDX-License-Identifier: Apache-2.0
"""FIFO that an entropy index needs in front of its decoder to keep a fixed rate."""

from typing import Any

import numpy as np
from xorloom.sw.index.entropy import stream as index_entropy
from xorloom.sw.spec.index_config import EntropyConfig
from xorloom.sw.tensors.orders import beats, runs

from .container import Container
from .decompress import decode_tensor

__all__ = ["FIFO_COLUMNS", "SLACKS", "fifo_rows"]

SLACKS = (0.02, 0.05, 0.1)
"""Supply beyond the mean demand."""
FIFO_COLUMNS = ("tensor", "bits_per_beat", "most", *(f"fifo_bits_{s:.0%}" for s in SLACKS))


def fifo_rows(container: Container) -> list[dict[str, Any]]:
    """Simulate the index decoder's demand, beat by beat, at constant supplies.

    ``bits_per_beat`` is the mean demand, ``most`` the largest; ``fifo_bits_2%`` and so on are the
    deepest drawdown over all streams of a tensor if memory delivers so much more than the mean, see
    :func:`xorloom.sw.index.entropy.stream.fifo_bits`. No rows for other indexes.
    """
    config = container.index
    if not isinstance(config, EntropyConfig):
        return []
    rows = []
    for name, info in container.tensors.items():
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
