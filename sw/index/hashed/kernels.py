# SPDX-License-Identifier: Apache-2.0
"""Numba kernel of the hashed index: the generator of the states."""

import numpy as np
from xorloom.sw.bits.jit import njit

__all__ = ["hash_states"]


@njit(nogil=True, cache=True)
def hash_states(start: np.ndarray, skip: int, out: np.ndarray) -> None:
    """Write the states that follow each other, the first after ``skip`` steps.

    Parameters
    ----------
    start : (4,) uint64
        Words s0 to s3.
    skip : int
    out : (states, 4) uint64
    """
    s0, s1, s2, s3 = start[0], start[1], start[2], start[3]
    for step in range(skip + out.shape[0]):
        if step >= skip:
            row = step - skip
            out[row, 0], out[row, 1], out[row, 2], out[row, 3] = s0, s1, s2, s3
        moved = s1 << np.uint64(17)
        s2 ^= s0
        s3 ^= s1
        s1 ^= s2
        s0 ^= s3
        s2 ^= moved
        s3 = s3 << np.uint64(45) | s3 >> np.uint64(19)
