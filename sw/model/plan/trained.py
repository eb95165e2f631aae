# SPDX-License-Identifier: Apache-2.0
"""Split of a budget for networks that are trained under what is stored: a small table, as data.

A mask that training can adapt to needs few bits: what counts is how many values are free. Without
training it is the other way round, see :func:`xorloom.sw.index.choice.operating_point`.

The table holds what LeNet-300-100 did best with on MNIST, of masks that the codecs choose: see
docs/results.md, "Accuracy of trained networks".
"""

import math
from typing import NamedTuple

from xorloom.sw.base.errors import ConfigError

__all__ = ["TABLE", "Split", "trained_split"]

_MOST = 1.2
"""Bits per weight up to which the table holds; the trellis has masks of density 0.47 at most."""
_HASHED_STEPS = 256
"""Steps of a hashed mask's density."""


class Split(NamedTuple):
    """Where a budget goes.

    Parameters
    ----------
    codec : str
        Name of the index codec.
    density : float
        Share of kept weights.
    index_bits : float or None
        Index bits per weight, of a codec that has a choice of them.
    planes : int
        Value bits of a kept weight.
    """

    codec: str
    density: float
    index_bits: float | None
    planes: int


TABLE: dict[float, tuple[str, float, int]] = {
    0.05: ("hashed", 0.0, 1),
    0.10: ("trellis", 0.42, 2),
    0.17: ("trellis", 0.43, 2),
    0.26: ("trellis", 0.23, 2),
    0.40: ("trellis", 0.44, 2),
    0.55: ("trellis", 0.44, 2),
    1.00: ("trellis", 0.44, 2),
}
"""By bits per weight without scales: index codec, its share of them, planes. At 0.05 the trellis
has no mask that fits."""


def trained_split(bits_per_weight: float, scale_bits: float = 0.0) -> Split:
    """Return how to spend a budget on a network that is trained under what is stored.

    The table's nearest budget decides. Above it, where nothing was measured, every weight is kept,
    in as many planes as there are whole bits.

    Parameters
    ----------
    bits_per_weight : float
        The budget.
    scale_bits : float
        What is spent otherwise, per weight: scales, headers, padding.

    Raises
    ------
    ConfigError
        If nothing is left for index and values.
    """
    bits = bits_per_weight - scale_bits
    if not 1 / _HASHED_STEPS <= bits < math.inf:
        raise ConfigError(
            f"{bits_per_weight:g} bits per weight are too few: scales and headers take "
            f"{scale_bits:.4f}, and index and values at least {1 / _HASHED_STEPS:.4f} (share "
            "scales: --scale tensor)"
        )
    if bits > _MOST:
        return Split("none", 1.0, None, min(8, math.floor(bits)))
    near = min(TABLE, key=lambda budget: abs(math.log(bits / budget)))
    codec, share, planes = TABLE[near]
    if codec == "hashed":
        steps = math.floor(bits / planes * _HASHED_STEPS)
        return Split(codec, min(steps, _HASHED_STEPS - 1) / _HASHED_STEPS, None, planes)
    return Split(codec, bits * (1 - share) / planes, bits * share, planes)
