# SPDX-License-Identifier: Apache-2.0
"""Masks of the hashed index, many states at once."""

from collections.abc import Iterable
from functools import lru_cache

import numpy as np
from xorloom.sw.bits.gf2 import unpack_rows
from xorloom.sw.bits.lanes import turned_bits
from xorloom.sw.spec.hashed import NIBBLE_LANES, SEED_BITS, WARM_UP, HashedConfig

from .kernels import hash_states

__all__ = ["SEEDS", "masks_of", "seed_mask", "seed_words", "states_of_all_seeds"]

SEEDS = 1 << SEED_BITS
_WORDS = 4
_BLOCK = 1 << 13
"""States whose masks are made at once."""


def _words(state: int) -> np.ndarray:
    return np.array([state >> 64 * k & (1 << 64) - 1 for k in range(_WORDS)], np.uint64)


@lru_cache(maxsize=16)
def _wiring(config: HashedConfig) -> tuple[np.ndarray, np.ndarray]:
    """Return the state bits of lanes, (6, n_out), and of their nibbles, (4, nibbles)."""
    network = config.network
    return np.array(network.lanes, np.int64).T, np.array(network.nibbles, np.int64).T


def _below(bits: Iterable[np.ndarray], threshold: int, lower: np.ndarray) -> np.ndarray:
    """Compare numbers, given as packed bit planes, lowest first, with a threshold."""
    for k, plane in enumerate(bits):
        lower = ~plane | lower if threshold >> k & 1 else ~plane & lower
    return lower


def _packed(states: np.ndarray, config: HashedConfig) -> np.ndarray:
    """Return mask bits of states, (n_out, ceil(states / 8)) uint8: bit 0 is the first state's."""
    bits = np.unpackbits(states.astype("<u8").view(np.uint8), axis=1, bitorder="little")
    planes = np.ascontiguousarray(np.packbits(bits, axis=0, bitorder="little").T)
    (a, b, c, d, e, f), nibbles = _wiring(config)
    low = _below(planes[nibbles], config.threshold & 15, np.zeros(planes.shape[1], np.uint8))
    low = np.repeat(low, NIBBLE_LANES, axis=0)[: config.n_out]
    upper = (planes[d] ^ planes[f], planes[d] ^ planes[e], planes[a] ^ planes[c])
    return _below((*upper, planes[a] ^ planes[b]), config.threshold >> 4, low)


def masks_of(states: np.ndarray, config: HashedConfig) -> np.ndarray:
    """Return the masks of states.

    Parameters
    ----------
    states : (states, 4) uint64
    config : HashedConfig

    Returns
    -------
    (n_out, states) uint8 array
        Of zeros and ones: a row for every lane.
    """
    return np.unpackbits(_packed(states, config), axis=1, count=len(states), bitorder="little")


def seed_mask(seed: int, beats: int, config: HashedConfig) -> np.ndarray:
    """Return the mask that a seed stands for, (beats, n_out) bool."""
    return unpack_rows(seed_words(seed, beats, config), config.n_out)


def seed_words(seed: int, beats: int, config: HashedConfig) -> np.ndarray:
    """Return the mask that a seed stands for, packed, (beats, ceil(n_out / 64)) uint64."""
    n_words = -(-config.n_out // 64)
    out = np.empty((beats, n_words), np.uint64)
    start, skip = _words(config.network.start ^ seed), WARM_UP
    for first in range(0, beats, _BLOCK):
        states = np.empty((min(_BLOCK, beats - first), _WORDS), np.uint64)
        hash_states(start, skip, states)
        out[first : first + _BLOCK] = _turned(_packed(states, config), n_words)[: len(states)]
        start, skip = states[-1], 1
    return out


def _turned(packed: np.ndarray, n_words: int) -> np.ndarray:
    """Return packed lanes (n_out, bytes) as packed beats (8 * bytes or more, n_words) uint64."""
    columns = -(-packed.shape[1] // 8) * 64
    lanes = np.zeros((64 * n_words + 1, columns // 8), np.uint8)  # one more: spare words
    lanes[: packed.shape[0], : packed.shape[1]] = packed
    words = turned_bits(lanes.reshape(1, -1).view("<u8"), 64 * n_words, columns)
    return words[0, : columns * n_words].reshape(columns, n_words)


def states_of_all_seeds(beat: int, config: HashedConfig) -> np.ndarray:
    """Return the states of one beat, (SEEDS, 4) uint64.

    The generator is linear: a state is the XOR of what the start and each bit of the seed become.
    """
    found = np.empty((1, _WORDS), np.uint64)
    hash_states(_words(config.network.start), WARM_UP + beat, found)
    own = np.empty((1, _WORDS), np.uint64)
    for k in range(SEED_BITS):
        hash_states(_words(1 << k), WARM_UP + beat, own)
        found = np.concatenate([found, found ^ own])
    return found
