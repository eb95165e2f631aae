# SPDX-License-Identifier: Apache-2.0
"""Choice of the weight order: what every order of a tensor will cost, without encoding it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from xorloom.sw.base.workers import ThreadsMap
from xorloom.sw.bits.slices import packed_beats
from xorloom.sw.spec.config import WindowConfig
from xorloom.sw.tensors.orders import lanes, needs_transpose, slice_count

from .geometry import geometry
from .rates import STUCK_CHUNKS, model_chunks

__all__ = [
    "IndexBits",
    "OrderCost",
    "default_targets",
    "expected_chunks",
    "rank_orders",
    "worth_trying",
]

_SMALL_BITS = 1 << 12
"""Kept bits up to which orders are compared by encoding: a chunk more or less is some per cent."""
_CLOSE = 1.05
"""Such tensors are encoded in all orders that the model puts this near the best."""

IndexBits = Callable[[np.ndarray, int, int], float]
"""Bits of the index in an order: ``(packed, weights, slices_per_stream) -> bits``; ``packed`` is
what :func:`xorloom.sw.bits.slices.packed_beats` gives."""


def default_targets(config: WindowConfig) -> tuple[int, int]:
    """Live unknowns that the rate control aims for, and those at a stream's end, where all is lost.

    See docs/decisions/window-codec.md.
    """
    return config.window * 9 // 16, config.window // 24


def expected_chunks(counts: np.ndarray, config: WindowConfig) -> float:
    """Return about how many chunks slices with so many kept bits take in one stream.

    Parameters
    ----------
    counts : (slices,) int64

    Returns
    -------
    float
        Infinite if a slice keeps more than the window holds.
    """
    chunks = model_chunks(counts, geometry(config), *default_targets(config))
    return float("inf") if chunks == STUCK_CHUNKS else chunks


@dataclass(frozen=True)
class OrderCost:
    """Cost of a weight order, in bits.

    Parameters
    ----------
    order : str
    value : float
        Of the seed streams by the model of the rate control; infinite where a slice keeps more
        than the window holds.
    index : float
        Of the index; 0 where it is the same in every order.
    """

    order: str
    value: float = 0.0
    index: float = 0.0

    @property
    def total(self) -> float:
        """Bits of both."""
        return self.value + self.index


def rank_orders(
    names: Sequence[str],
    bits: Mapping[bool, np.ndarray],
    weights: int,
    planes: int,
    config: WindowConfig,
    slices_per_stream: int,
    targets: tuple[int, int],
    index_bits: IndexBits | None,
    each: ThreadsMap,
) -> list[OrderCost]:
    """Return what a whole tensor costs in every order of ``names``, the cheapest first.

    Parameters
    ----------
    bits : mapping of bool to (words,) uint64
        The packed mask in row-major order, and under ``True`` that of the transposed matrix, with
        as many words as :func:`xorloom.sw.bits.slices.packed_beats` reads.
    weights : int
    targets : (int, int)
        Live unknowns that the rate control aims for, and those at a stream's end.
    index_bits : callable, optional
        Without it the index costs the same in every order.
    """
    shape = geometry(config)

    def cost(name: str) -> OrderCost:
        lane_count = config.n_out // planes
        where, slices = lanes(name, weights, lane_count), slice_count(weights, lane_count)
        packed = packed_beats(bits[needs_transpose(name)], slices, lane_count, where)
        kept = np.bitwise_count(packed).sum(axis=1, dtype=np.int64) * planes
        value = 0.0
        for first in range(0, kept.size, slices_per_stream):
            chunks = model_chunks(kept[first : first + slices_per_stream], shape, *targets)
            value += float("inf") if chunks == STUCK_CHUNKS else chunks * config.n_in
        index = index_bits(packed, weights, slices_per_stream) if index_bits else 0.0
        return OrderCost(name, value, index)

    return sorted(each(cost, names), key=lambda cost: cost.total)


def worth_trying(ranked: Sequence[OrderCost], kept_bits: int) -> int:
    """Return how many of the first orders to encode and compare: more than one if it is small."""
    if kept_bits > _SMALL_BITS:
        return 1
    return sum(cost.total <= _CLOSE * ranked[0].total for cost in ranked)
