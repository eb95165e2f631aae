# SPDX-License-Identifier: Apache-2.0
"""XOR networks from a documented, platform-independent generator.

A network is a tuple of rows; bit ``c`` of ``rows[r]`` connects seed bit ``c`` to slice bit ``r``.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from xorloom.sw.base.errors import ConfigError, check_range

__all__ = [
    "N_IN_MAX",
    "N_OUT_MAX",
    "WindowNetwork",
    "block_network",
    "columns",
    "deal",
    "gf2_rank",
    "shuffled",
    "splitmix64",
    "window_network",
]

N_IN_MAX = 64
"""Widest seed of the block codec: one machine word an equation."""
N_OUT_MAX = 32768
"""Longest slice: ``n_patch`` then still fits the 15 bits that its width field can announce."""

_MASK64 = (1 << 64) - 1
_DRAWS = 64
"""Networks drawn before the parameters are called impossible (a square random one succeeds with
probability 0.29)."""


def splitmix64(seed: int) -> Iterator[int]:
    """Yield the SplitMix64 sequence of ``seed``, 64 bits per step.

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
    n_in = check_range("n_in", n_in, 1, N_IN_MAX, "use more lanes for more bits per cycle")
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
    bits = [f"{row:0{n_in}b}" for row in reversed(rows)]
    return tuple(int("".join(column), 2) for column in zip(*bits, strict=True))[::-1]


@dataclass(frozen=True)
class WindowNetwork:
    """Network of the window codec, in two levels.

    Parameters
    ----------
    parities : tuple of tuple of int
        Window positions that each shared parity is the XOR of.
    own : tuple of tuple of int, length ``n_out``
        Window positions that an output takes directly.
    picks : tuple of tuple of int, length ``n_out``
        Shared parities that an output takes. An output is the XOR of its own window bits and its
        parities.
    """

    parities: tuple[tuple[int, ...], ...]
    own: tuple[tuple[int, ...], ...]
    picks: tuple[tuple[int, ...], ...]

    @property
    def rows(self) -> tuple[int, ...]:
        """Bit ``t`` of ``rows[j]`` connects window position ``t`` to output ``j``."""
        masks = [_bits(taps) for taps in self.parities]
        rows = []
        for own, picks in zip(self.own, self.picks, strict=True):
            row = _bits(own)
            for pick in picks:
                row ^= masks[pick]
            rows.append(row)
        return tuple(rows)


def _bits(positions: Iterable[int]) -> int:
    return sum(1 << position for position in positions)


def shuffled(generator: Iterator[int], cards: int) -> list[int]:
    """Return 0 to ``cards - 1`` in random order (Fisher and Yates)."""
    deck = list(range(cards))
    for i in range(cards - 1, 0, -1):
        k = next(generator) % (i + 1)
        deck[i], deck[k] = deck[k], deck[i]
    return deck


def deal(generator: Iterator[int], hands: int, cards: int, size: int) -> list[tuple[int, ...]]:
    """Deal hands of ``size`` different cards 0 to ``cards - 1``, all cards nearly equally often.

    ``FORMAT.md``, "Window network", is normative.
    """
    table: list[list[int]] = [[] for _ in range(hands)]
    deck: list[int] = []
    for _ in range(size):
        for hand in table:
            if not deck:
                deck = shuffled(generator, cards)
            at = next((i for i, card in enumerate(deck) if card not in hand), None)
            if at is not None:
                hand.append(deck.pop(at))
                continue
            card = deck.pop(0)  # all that is left of the deck is in the hand: the next card up
            while card in hand:
                card = (card + 1) % cards
            hand.append(card)
    return [tuple(hand) for hand in table]


@lru_cache(maxsize=16)
def window_network(
    window: int,
    n_out: int,
    own_taps: int,
    shared_taps: int,
    shared: int,
    parity_taps: int,
    seed: int = 0,
) -> WindowNetwork:
    """Return the window codec's network, balanced and of full rank.

    Positions are dealt from shuffled decks, so all window bits feed nearly equally many outputs
    and all parities are used nearly equally often. A network whose rank is not
    ``min(window, n_out)`` is thrown away whole and the next one drawn from where the generator
    stands: with ``window >= n_out`` any slice can then be hit from a fresh window.

    Parameters
    ----------
    window, n_out : int
        Window bits; outputs.
    own_taps, shared_taps : int
        Window bits and parities that one output is the XOR of.
    shared, parity_taps : int
        Number of parities; window bits of each.
    seed : int, 0 to 2**64 - 1

    Raises
    ------
    ConfigError
        If no network of full rank exists or none was found.
    """
    taps = own_taps + shared_taps * parity_taps
    target = min(window, n_out)
    if taps % 2 == 0 and window <= n_out:
        raise ConfigError(
            f"an output has {taps} taps: with window {window} <= n_out {n_out} it must be an odd "
            "number (an even one has no network of full rank)"
        )
    generator = splitmix64(seed)
    for _ in range(_DRAWS):
        network = WindowNetwork(
            tuple(deal(generator, shared, window, parity_taps)),
            tuple(deal(generator, n_out, window, own_taps)),
            tuple(deal(generator, n_out, shared, shared_taps)),
        )
        if gf2_rank(network.rows) == target:
            return network
    raise ConfigError(
        f"no network of rank {target} found for own_taps {own_taps}, shared_taps {shared_taps}, "
        f"shared {shared}, parity_taps {parity_taps} (try an odd own_taps, or more shared)"
    )
