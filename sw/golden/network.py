# SPDX-License-Identifier: Apache-2.0
"""GOLDEN MODEL of the XOR network and the patch unit, twins of those in ``hw.block``."""

from collections.abc import Sequence
from functools import reduce
from itertools import compress
from operator import xor

__all__ = ["patch_unit", "xor_network"]


def xor_network(columns: Sequence[int], seed: int) -> int:
    """Twin of ``hw.block.xor_network``: the slice that a seed yields, M @ seed over GF(2).

    ``columns`` are those of :func:`xorloom.sw.spec.taps.columns`.
    """
    taken = map("1".__eq__, reversed(f"{seed:b}"))
    return reduce(xor, compress(columns, taken), 0)


def patch_unit(value: int, positions: Sequence[int]) -> int:
    """Twin of ``hw.block.patch_unit``: flip the bits at ``positions``."""
    for position in positions:
        value ^= 1 << position
    return value
