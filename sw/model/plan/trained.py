# SPDX-License-Identifier: Apache-2.0
"""Split of a budget for networks that are trained under what is stored: a small table, as data.

A mask that training can adapt to needs few bits: what counts is how many values are free. Without
training it is the other way round, see :func:`xorloom.sw.index.choice.operating_point`.

The table holds what LeNet-300-100 on MNIST and Fashion-MNIST did best with after 5 to 15 epochs:
docs/decisions/compress.md, and docs/results.md where the laboratory measured a budget.
"""

import math
from typing import NamedTuple

from xorloom.sw.base.errors import ConfigError

__all__ = ["TABLE", "Split", "trained_split"]

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
    0.10: ("hashed", 0.0, 1),
    0.26: ("trellis", 0.10 / 0.26, 2),
    0.40: ("trellis", 0.19 / 0.40, 2),
}
"""By bits per weight without scales: index codec, its share of them, planes. At 0.10 the hashed
mask was as good as the best trellis mask, and needs no search."""


def trained_split(bits_per_weight: float, scale_bits: float = 0.0) -> Split:
    """Return how to spend a budget on a network that is trained under what is stored.

    The table's nearest budget decides. From 1 bit on, of which nothing was measured, every weight
    is kept, in as many planes as there are whole bits.

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
            f"{bits_per_weight:g} bits per weight must be more than the {scale_bits:.4f} that "
            "scales and headers take (share scales: --scale tensor)"
        )
    if bits >= 1:
        return Split("none", 1.0, None, min(8, math.floor(bits)))
    near = min(TABLE, key=lambda budget: abs(math.log(bits / budget)))
    codec, share, planes = TABLE[near]
    if codec == "hashed":
        steps = math.floor(bits / planes * _HASHED_STEPS)
        return Split(codec, min(steps, _HASHED_STEPS - 1) / _HASHED_STEPS, None, planes)
    return Split(codec, bits * (1 - share) / planes, bits * share, planes)
