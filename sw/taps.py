# SPDX-License-Identifier: Apache-2.0
"""XOR networks from a documented, platform-independent generator.

A network is a tuple of rows; bit ``c`` of ``rows[r]`` connects seed bit ``c`` to slice bit ``r``.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache

from .errors import check_range

__all__ = ["N_IN_MAX", "N_OUT_MAX", "block_network", "columns", "gf2_rank", "splitmix64"]

N_IN_MAX = 64
"""Widest seed of the block codec: one machine word an equation."""
N_OUT_MAX = 32768
"""Longest slice: ``n_patch`` then still fits the 15 bits that its width field can announce."""

_MASK64 = (1 << 64) - 1


def splitmix64(seed: int) -> Iterator[int]:
    """Yield the SplitMix64 sequence of ``seed``, 64 bits a step.

    Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014;
    the constants are those of ``java.util.SplittableRandom``.
    """
    state = seed & _MASK64
    while True:
        state = (state + 0x9E3779B97F4A7C15) & _MASK64
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK64
        yield z ^ (z >> 31)


def gf2_rank(rows: Iterable[int]) -> int:
    """Return the rank over GF(2) of rows given as integers."""
    basis: dict[int, int] = {}
    for row in rows:
        while row:
            pivot = row & -row
            if pivot not in basis:
                basis[pivot] = row
                break
            row ^= basis[pivot]
    return len(basis)


@lru_cache(maxsize=64)
def block_network(n_in: int, n_out: int, seed: int = 0) -> tuple[int, ...]:
    """Return the block codec's network: ``n_out`` random non-zero rows of ``n_in`` bits.

    Row ``r`` is the low ``n_in`` bits of the next SplitMix64 output that are not all zero. If the
    matrix does not have rank ``min(n_in, n_out)``, it is thrown away whole and the next one is
    drawn from where the generator stands, so no seed bit is ever without effect.

    Source: Kwon et al., CVPR 2020 (arXiv 1905.10138): a random fixed M over GF(2).

    Parameters
    ----------
    n_in : int, 1 to 64
    n_out : int, 1 to 32768
    seed : int, 0 to 2**64 - 1

    Raises
    ------
    ConfigError
        If an argument is out of range.
    """
    n_in = check_range("n_in", n_in, 1, N_IN_MAX, "use more lanes for more bits a cycle")
    n_out = check_range("n_out", n_out, 1, N_OUT_MAX)
    seed = check_range("network seed", seed, 0, _MASK64)
    generator = splitmix64(seed)
    while True:
        rows: list[int] = []
        while len(rows) < n_out:
            row = next(generator) & ((1 << n_in) - 1)
            if row:
                rows.append(row)
        if gf2_rank(rows) == min(n_in, n_out):
            return tuple(rows)


def columns(rows: tuple[int, ...], n_in: int) -> tuple[int, ...]:
    """Transpose: bit ``r`` of ``columns(rows, n_in)[c]`` is bit ``c`` of ``rows[r]``."""
    out = [0] * n_in
    for r, row in enumerate(rows):
        for c in range(n_in):
            out[c] |= ((row >> c) & 1) << r
    return tuple(out)
