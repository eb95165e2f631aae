# SPDX-License-Identifier: Apache-2.0
"""Networks of the direct codec that a search found good: data only."""

__all__ = ["SEEDS"]

SEEDS: dict[tuple[int, int, int], tuple[tuple[int, int, int], ...]] = {
    (1, 4, 10): ((1, 3, 0),),
    (1, 2, 10): ((2, 3, 0),),
    (1, 1, 10): ((4, 3, 0),),
    (2, 1, 6): ((3, 3, 0),),
    (2, 1, 8): ((4, 3, 0), (3, 3, 0)),
    (2, 1, 10): ((4, 3, 0),),
    (3, 1, 8): ((6, 3, 0),),
    (3, 1, 10): ((6, 3, 0),),
}
"""By seed bits, weights and window: entries of planes, taps and network seed, the default first."""
