# SPDX-License-Identifier: Apache-2.0
"""Block codec of Kwon et al.: care mask and codes to seeds and patches, and back.

Weights are taken in row-major order, ``n_out`` to a slice; the last slice is filled up with don't
cares. With q planes, slice ``s * q + b`` holds plane ``b`` of weights ``s * n_out`` onwards.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from xorloom.sw.base.host import threads_default
from xorloom.sw.base.workers import mapping
from xorloom.sw.bits.gf2 import pack_bool
from xorloom.sw.bits.spread import unpack_planes
from xorloom.sw.spec.config import BlockConfig
from xorloom.sw.tensors.codes import check_codes

from .kernels import decode_slices, encode_slices

__all__ = ["BlockSlices", "decode", "encode"]


@dataclass(frozen=True)
class BlockSlices:
    """Slices of a value plane, encoded, in the order in which they leave the decoder.

    Parameters
    ----------
    seeds : (n,) uint64
    n_patch : (n,) uint16
    patches : (sum of n_patch,) uint16
        Positions 0 to n_out - 1, ascending within a slice.
    """

    seeds: np.ndarray
    n_patch: np.ndarray
    patches: np.ndarray


def encode(
    mask: np.ndarray,
    codes: np.ndarray,
    planes: int,
    config: BlockConfig,
    threads: int | None = None,
) -> BlockSlices:
    """Encode kept codes; any mask works.

    Parameters
    ----------
    mask : bool array of any shape
        True where the weight is kept.
    codes : uint8 array of the same shape
        Codes below ``2**planes``; ignored where pruned.
    planes : int, 1 to 8
    config : BlockConfig
    threads : int, optional
        All available cores by default.

    Raises
    ------
    ConfigError
        If mask, codes and planes do not fit together.
    """
    check_codes(mask, codes, planes)
    flat = codes.reshape(-1)
    n_slices = -(-flat.size // config.n_out)
    # The last slice reads the mask up to its full length: everything beyond is a don't care.
    packed = pack_bool(mask, -(-n_slices * config.n_out // 64) - -(-flat.size // 64) + 2)
    rows = np.array(config.rows, np.uint64)
    seeds = np.zeros(n_slices * planes, np.uint64)
    n_patch = np.zeros(n_slices * planes, np.uint16)
    threads = threads or threads_default()
    jobs = max(1, min(threads * 4, n_slices // 1024))
    bounds = [n_slices * j // jobs for j in range(jobs + 1)]

    def run(first: int, last: int) -> np.ndarray:
        low, high = first * config.n_out, min(last * config.n_out, flat.size)
        care = int(np.count_nonzero(mask.reshape(-1)[low:high]))
        patches = np.empty(care * planes, np.uint16)
        used = encode_slices(packed, flat, rows, planes, first, last, seeds, n_patch, patches)
        return patches[:used].copy()

    with mapping(threads) as each:
        parts = each(run, bounds[:-1], bounds[1:])
    return BlockSlices(seeds, n_patch, np.concatenate(parts))


@lru_cache(maxsize=8)
def _tables(config: BlockConfig) -> np.ndarray:
    """Slice words that each value of each seed byte contributes, see ``decode_slices``."""
    n_bytes, n_words = -(-config.n_in // 8), -(-config.n_out // 64)
    bits = np.array([[(row >> c) & 1 for c in range(n_bytes * 8)] for row in config.rows], np.uint8)
    padded = np.zeros((n_bytes * 8, n_words * 64), np.uint8)
    padded[:, : config.n_out] = bits.T
    columns = np.packbits(padded, axis=1, bitorder="little").view("<u8")
    tables = np.zeros((n_bytes, 256, n_words), np.uint64)
    for k in range(n_bytes):
        for bit in range(8):
            span = 1 << bit
            tables[k, span : 2 * span] = tables[k, :span] ^ columns[8 * k + bit]
    return tables


def decode(slices: BlockSlices, mask: np.ndarray, planes: int, config: BlockConfig) -> np.ndarray:
    """Return the codes, uint8 of ``mask``'s shape, 0 where pruned, as the golden model does."""
    words = np.zeros((planes, -(-slices.seeds.size * config.n_out // planes // 64) + 2), np.uint64)
    decode_slices(
        slices.seeds, slices.n_patch, slices.patches, _tables(config), config.n_out, planes, words
    )
    care = pack_bool(mask, spare_words=0)
    return unpack_planes(words[:, : care.size] & care, mask.size).reshape(mask.shape)
