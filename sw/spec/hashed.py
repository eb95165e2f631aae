# SPDX-License-Identifier: Apache-2.0
"""Parameters of the hashed index: a mask that costs no bits, out of a stored 16-bit seed.

The state of a linear generator of full period steps once per beat. A lane's hash is 8 of its bits
and XORs of them, and a lane is kept if its hash is below a threshold.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from .index_config import N_OUT_MAX, IndexConfig
from .taps import splitmix64

__all__ = [
    "NIBBLE_LANES",
    "SEED_BITS",
    "STATE_BITS",
    "WARM_UP",
    "HashNetwork",
    "HashedConfig",
    "hash_network",
    "next_state",
]

STATE_BITS = 256
"""State of the generator: word s0 in bits 0 to 63, then s1, s2, s3."""
SEED_BITS = 16
WARM_UP = 32
"""Steps before the first beat: by then seeds that differ in one bit have unrelated states."""
NIBBLE_LANES = 4
"""Lanes that share the four low bits of their hashes."""
_WORD = 64
_MASK = (1 << _WORD) - 1


@dataclass(frozen=True)
class HashNetwork:
    """Wiring between state and hashes.

    Parameters
    ----------
    start : int
        State before the seed is XORed into its lowest bits.
    nibbles : tuple of tuple of int
        State bits that are hash bits 0 to 3, for each four lanes.
    lanes : tuple of tuple of int
        Six state bits for each lane, a to f: hash bits 7 to 4 are a ^ b, a ^ c, d ^ e, d ^ f.
    """

    start: int
    nibbles: tuple[tuple[int, ...], ...]
    lanes: tuple[tuple[int, ...], ...]


def next_state(state: int) -> int:
    """Return the state that follows.

    Source: Blackman and Vigna, "Scrambled linear pseudorandom number generators", 2021: the linear
    engine of xoshiro256, whose period is 2**256 - 1.
    """
    s0, s1, s2, s3 = (state >> _WORD * k & _MASK for k in range(4))
    n2, n3 = s2 ^ s0, s3 ^ s1
    n0, n1 = s0 ^ n3, s1 ^ n2
    n2 ^= s1 << 17 & _MASK
    n3 = (n3 << 45 | n3 >> 19) & _MASK
    return n0 | n1 << _WORD | n2 << 2 * _WORD | n3 << 3 * _WORD


def _draw(outputs: Iterator[int], count: int, taken: tuple[int, ...]) -> tuple[int, ...]:
    """Return distinct state bits, none of which is taken."""
    hand: list[int] = []
    while len(hand) < count:
        bit = next(outputs) % STATE_BITS
        if bit not in hand and bit not in taken:
            hand.append(bit)
    return tuple(hand)


def _pairs(hand: tuple[int, ...]) -> set[tuple[int, int]]:
    """Return the pairs of state bits whose XORs are a lane's hash bits 7 and 6, or 5 and 4."""
    a, b, c, d, e, f = hand
    ordered = ((a, b), (a, c), (b, c), (d, e), (d, f), (e, f))
    return {(min(pair), max(pair)) for pair in ordered}


@lru_cache(maxsize=16)
def hash_network(n_out: int, seed: int) -> HashNetwork:
    """Draw the wiring of so many lanes.

    No two lanes have a pair of bits in common, neither among a, b, c nor among d, e, f: then their
    upper hash bits are independent. Nor has a lane bits of one place in two words, or of s0 and s3
    with 45 places between: the XOR of such a pair is one of few bits of the state before. The ten
    bits of a lane are distinct, so its hash is uniform.

    Parameters
    ----------
    n_out : int, 1 to 2048
    seed : int, 0 to 2**64 - 1
    """
    outputs = splitmix64(seed)
    words = [next(outputs) for _ in range(4)]
    words[0] |= 1 << SEED_BITS  # so that no seed makes it zero
    used = {
        (_WORD * v + bit, _WORD * w + bit)
        for bit in range(_WORD)
        for w in range(4)
        for v in range(w)
    }
    used |= {(bit, 3 * _WORD + (bit + 45) % _WORD) for bit in range(_WORD)}
    nibbles: list[tuple[int, ...]] = []
    lanes: list[tuple[int, ...]] = []
    while len(lanes) < n_out:
        if len(nibbles) * NIBBLE_LANES == len(lanes):
            nibbles.append(_draw(outputs, 4, ()))
        hand = _draw(outputs, 6, nibbles[-1])
        if _pairs(hand).isdisjoint(used):
            used |= _pairs(hand)
            lanes.append(hand)
    start = sum(word << _WORD * k for k, word in enumerate(words))
    return HashNetwork(start, tuple(nibbles), tuple(lanes))


@dataclass(frozen=True)
class HashedConfig(IndexConfig):
    """Hashed index: a pseudo-random mask that a stored 16-bit seed stands for.

    Parameters
    ----------
    n_out : int, 1 to 2048
        Mask bits per beat.
    threshold : int, 1 to 255
        A weight is kept if its hash, 0 to 255, is below it.
    bus_bits : int, one of 32, 64, 128, 256, 512
    network_seed : int, 0 to 2**64 - 1
        Seed of :func:`hash_network`.
    """

    codec = "hashed"
    kind = 8
    chooses_mask = True

    n_out: int = 512
    threshold: int = 26
    bus_bits: int = 64
    network_seed: int = 0

    def __post_init__(self) -> None:
        self._check(
            {
                "n_out": (1, N_OUT_MAX),
                "threshold": (1, 255, "the density is threshold / 256"),
                "network_seed": (0, (1 << 64) - 1),
            }
        )

    @property
    def density(self) -> float:
        """Share of weights that a mask keeps, on average."""
        return self.threshold / 256

    @property
    def rate(self) -> float:
        """Stored bits per mask bit."""
        return 0.0

    @property
    def network(self) -> HashNetwork:
        """The wiring, see :func:`hash_network`."""
        return hash_network(self.n_out, self.network_seed)
