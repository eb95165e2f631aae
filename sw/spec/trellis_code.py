# SPDX-License-Identifier: Apache-2.0
"""Trellis code: which seed bits make a mask bit of the trellis index, and how.

``FORMAT.md``, "Trellis code", is normative.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, reduce
from operator import or_

from xorloom.sw.base.errors import ConfigError

from .taps import deal, gf2_rank, shuffled, splitmix64

__all__ = ["GATE_TAPS", "TrellisCode", "trellis_code"]

_INPUTS = 4
"""Parities that a mask bit looks up, and window bits of a parity: one 4-input LUT each."""
_POOL_MIN = 4
"""Fewest parities of a step; otherwise it has one less than lanes."""
_REACH = 2
"""A lane can also take the parities of the steps so far away; they cost nothing."""
_DRAWS = 256
_TRIES = 8
"""Deals of parities to lanes, of which the best is taken."""
GATE_TAPS = {1: 3, 4: 4}
"""Window bits that a mask bit takes directly, by the number of classes."""


@dataclass(frozen=True)
class TrellisCode:
    """Trellis code of one beat of ``n_out`` lanes.

    Lane ``j`` sees the ``window`` seed bits that end with bit ``steps[j]`` of the beat. It looks up
    the value of its parities (the first is bit 0) in its table. For the mask bit to be 1, that must
    be 1, and with one class the XOR of its gate's three bits; with four, in class ``c``, the XOR
    of its gate's first two bits if bit 0 of ``c`` is set, the AND of the others if bit 1 is.

    Parameters
    ----------
    steps : tuple of int, length ``n_out``
    parities : tuple of tuple of tuple of int, length ``n_in``
        Window positions (0 the oldest) that the parities of every step are the XOR of: its own,
        then those of steps nearby, which are the XOR of the same seed bits.
    picks : tuple of tuple of int, length ``n_out``
        The lane's four parities, numbers in its step's.
    tables : tuple of int, length ``n_out``
        Bit ``p`` is what a lane looks up for the parities ``p``.
    gates : tuple of tuple of int, length ``n_out``
        Window positions, :data:`GATE_TAPS`.
    """

    steps: tuple[int, ...]
    parities: tuple[tuple[tuple[int, ...], ...], ...]
    picks: tuple[tuple[int, ...], ...]
    tables: tuple[int, ...]
    gates: tuple[tuple[int, ...], ...]


def _mask(positions: tuple[int, ...]) -> int:
    return sum(1 << t for t in positions)


def _score(hands: list[tuple[int, ...]], parities: list[tuple[int, ...]], enough: int) -> int:
    """Window bits that every hand covers, up to ``enough``; four a rank; two off a repetition."""
    total = 2 * len({frozenset(hand) for hand in hands})
    for hand in hands:
        rows = [_mask(parities[pick]) for pick in hand]
        total += min(reduce(or_, rows).bit_count(), enough) + 4 * gf2_rank(rows)
    return total


def _pools(generator: Iterator[int], lanes: list[int], window: int) -> list[list[tuple[int, ...]]]:
    """Draw every step's own parities."""
    pools = []
    for count in lanes:
        pool = max(_POOL_MIN, count - 1)
        for _ in range(_DRAWS):
            drawn = deal(generator, pool, window, _INPUTS)
            if gf2_rank(map(_mask, drawn)) == min(pool, window - 1):  # all have even weight
                break
        else:
            raise ConfigError(
                f"no {pool} parities of full rank in a window of {window} bits (raise window)"
            )
        pools.append(drawn)
    return pools


def _borrowed(pools: list[list[tuple[int, ...]]], u: int, window: int) -> list[tuple[int, ...]]:
    """Parities of the steps around ``u`` that lie in its window, as positions there."""
    found = []
    for v in range(max(0, u - _REACH), min(len(pools), u + _REACH + 1)):
        for parity in pools[v] if v != u else []:
            moved = tuple(t + v - u for t in parity)
            if min(moved) >= 0 and max(moved) < window:
                found.append(moved)
    return found


@lru_cache(maxsize=16)
def trellis_code(
    n_in: int, n_out: int, window: int, minterms: int, classes: int, seed: int = 0
) -> TrellisCode:
    """Return the code of a beat.

    All window bits feed nearly equally many parities and all parities nearly equally many mask
    bits, and a gate takes the window bits that the lane's parities cover least: every mask bit
    depends on nearly all window bits. Up to eight minterms are at even distances.

    Source: trellis-coded quantization (Marcellin and Fischer, IEEE Trans. Commun. 38, 1990) with a
    feed-forward decoder; the construction is ours.

    Parameters
    ----------
    n_in, n_out, window, minterms, classes, seed : int
        As in :class:`xorloom.sw.spec.index_config.TrellisConfig`.

    Raises
    ------
    ConfigError
        If no parities of full rank were found.
    """
    generator = splitmix64(seed)
    steps = tuple(j * n_in // n_out for j in range(n_out))
    lanes = [steps.count(u) for u in range(n_in)]
    pools = _pools(generator, lanes, window)
    parities, picks, tables, gates = [], [], [], []
    for u in range(n_in):
        known = pools[u] + _borrowed(pools, u, window)
        parities.append(tuple(known))
        deals = [deal(generator, lanes[u], len(known), _INPUTS) for _ in range(_TRIES)]
        enough = window - GATE_TAPS[classes]
        for hand in max(deals, key=lambda hands: _score(hands, known, enough)):
            picks.append(hand)
            cover = [sum(t in known[pick] for pick in hand) for t in range(window)]
            deck = sorted(shuffled(generator, window), key=cover.__getitem__)
            gates.append(tuple(deck[: GATE_TAPS[classes]]))
            odd = next(generator) & 1
            order = [w for w in shuffled(generator, 1 << _INPUTS) if w.bit_count() & 1 == odd]
            order += [w for w in shuffled(generator, 1 << _INPUTS) if w.bit_count() & 1 != odd]
            tables.append(_mask(tuple(order[:minterms])))
    return TrellisCode(steps, tuple(parities), tuple(picks), tuple(tables), tuple(gates))
