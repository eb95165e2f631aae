# SPDX-License-Identifier: Apache-2.0
"""Price of the trellis index: what a weight must be worth so that a wanted number is kept."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from xorloom.sw.index.density import is_met

__all__ = ["NEAR", "SLOPE", "PriceSearch", "search_price", "search_share"]

NEAR = 0.003
"""Relative error of the number of kept weights with which a search ends at once."""
SLOPE = -1.6
"""Of the logarithm of the number over that of the price: see docs/decisions/index-codecs.md."""
_TRIES = 40
_NEWTON = 8
"""Tries by Newton's method before all that follow halve what is left."""
_JUMP = 1 / 256
"""Between prices this near, relative to each other, the number of kept weights jumps."""
_HALVINGS = 16
_LEAST = 2.0**-12
"""Of the first price: what a code does not keep at this price it keeps at none."""


@dataclass
class PriceSearch:
    """What a search found.

    Parameters
    ----------
    price : float
        With which the number was nearest.
    found : int
        Weights kept at that price.
    slope : float
        Of the logarithm of the number over the price, for another search from here.
    low, high : float
        Prices known to be too low and too high.
    """

    price: float
    found: int
    slope: float
    low: float = 0.0
    high: float = float("inf")

    @property
    def jumps(self) -> bool:
        """Whether there are prices with too many and with too few weights kept."""
        return self.low > 0 and bool(np.isfinite(self.high))


def search_price(
    keep: Callable[[float], int],
    wanted: int,
    price: float,
    slope: float,
    tries: int,
    near: float = NEAR,
) -> PriceSearch:
    """Find the price at which ``keep(price)``, which falls, is near ``wanted``.

    Newton's method on the logarithm, between prices known to be too low and too high. It ends
    within ``near``, after ``tries`` within 2 %, or at a jump.
    """
    search = PriceSearch(price, -1, slope)
    last: tuple[float, float] | None = None
    least = _LEAST * price
    for turn in range(_TRIES):
        found = keep(price)
        if search.found < 0 or abs(found - wanted) < abs(search.found - wanted):
            search.price, search.found = price, found
        if abs(search.found - wanted) <= near * wanted:
            break
        if turn + 1 >= tries and is_met(search.found, wanted):
            break
        error = float(np.log(max(found, 0.5) / wanted))
        if last is not None and abs(price - last[0]) > 1e-6 * price:
            new = (error - last[1]) / (price - last[0])
            search.slope = min(max(new, 4 * search.slope), search.slope / 4)  # it is negative
        last = (price, error)
        if found > wanted:
            search.low = price
        else:
            search.high = price
        if search.high <= max(least, search.low * (1 + _JUMP)):
            break
        price -= error / search.slope
        if turn >= _NEWTON or not search.low < price < search.high:
            price = _middle(search.low, search.high)
    return search


def _middle(low: float, high: float) -> float:
    if low <= 0:
        return high / 4
    return float(np.sqrt(low * high)) if np.isfinite(high) else 4 * low


def search_share(keep: Callable[[float], int], wanted: int) -> tuple[float, int]:
    """Find the share of weights for which ``keep(share)``, which rises, is near ``wanted``.

    Returns
    -------
    (share, found)
    """
    low, high = 0.0, 1.0
    best = (0.5, -1)
    for _ in range(_HALVINGS):
        share = (low + high) / 2
        found = keep(share)
        if best[1] < 0 or abs(found - wanted) < abs(best[1] - wanted):
            best = (share, found)
        if abs(found - wanted) <= NEAR * wanted:
            break
        low, high = (share, high) if found < wanted else (low, share)
    return best
