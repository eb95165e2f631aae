# SPDX-License-Identifier: Apache-2.0
"""Kernels of the packed form against their Python text and NumPy."""

import numpy as np
import pytest
from xorloom.sim.peers.kernels import gather, spread

SIZE = 1000


@pytest.mark.parametrize("form", ["kernel", "python"])
@pytest.mark.parametrize("planes", [1, 3, 7, 8])
@pytest.mark.parametrize("density", [0.0, 0.1, 1.0])
def test_codes_of_kept_weights_lie_one_after_the_other_and_come_back(
    form: str, planes: int, density: float, rng: np.random.Generator
) -> None:
    put, get = (gather, spread) if form == "kernel" else (gather.py_func, spread.py_func)
    mask = rng.random(SIZE) < density
    codes = rng.integers(0, 1 << planes, SIZE, np.uint8)
    words = np.zeros(-(-SIZE // 64), np.uint64)
    packed = np.packbits(mask, bitorder="little")
    words.view(np.uint8)[: packed.size] = packed
    kept = np.zeros(np.count_nonzero(mask) * planes // 64 + 2, np.uint64)
    with np.errstate(over="ignore"):
        put(words, codes, planes, kept)
    bits = np.unpackbits(codes[mask], bitorder="little").reshape(-1, 8)[:, :planes].reshape(-1)
    found = np.unpackbits(kept.view(np.uint8), bitorder="little")
    assert found[: bits.size].tolist() == bits.tolist()
    assert not found[bits.size :].any()
    levels = rng.integers(-128, 128, 1 << planes).astype(np.int8)
    values = np.zeros(SIZE, np.int8)
    get(words, kept, planes, levels, values)
    assert values.tolist() == np.where(mask, levels[codes], 0).tolist()
