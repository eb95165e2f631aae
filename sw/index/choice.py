# SPDX-License-Identifier: Apache-2.0
"""Choice of index codec, rate, density and weight order for what a user asks for."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from xorloom.sw.base.errors import ConfigError, DensityError
from xorloom.sw.bits.codec import index_codec
from xorloom.sw.spec.codecs import INDEX_CODECS
from xorloom.sw.spec.config import ValueConfig
from xorloom.sw.spec.index_config import TRELLIS_RATES, IndexConfig, TrellisConfig
from xorloom.sw.spec.weight_format import mask_lanes
from xorloom.sw.tensors.orders import beats

from .plane import choose_index
from .rate_distortion import binary_entropy, share_bound
from .sample import slices_from_everywhere

__all__ = ["OperatingPoint", "best_order", "index_config", "operating_point", "top_share"]

_SAMPLE = 1 << 20
"""Weights on which an order or an operating point is chosen."""
_RUN = 32
"""Slices that such a sample takes in a row, or those that share tiles or classes."""
_VALUE_EFFICIENCY = 0.975
"""What the value plane is sure to reach, see docs/results.md."""
_ENTROPY_EFFICIENCY = 0.98
_TRELLIS_EFFICIENCY = 0.9
_GRID = 48


def index_config(
    codec: str,
    value: ValueConfig,
    planes: int,
    *,
    density: float,
    rate: float | None = None,
    window: int = TrellisConfig.window,
    classes: int = 1,
    importance: np.ndarray | None = None,
) -> IndexConfig:
    """Return the parameters of an index codec for a rate and a density.

    Parameters
    ----------
    codec : str
        One of :data:`xorloom.sw.spec.codecs.INDEX_CODECS`.
    value : WindowConfig or BlockConfig
    planes : int
    density : float
        Share of kept weights.
    rate : float, optional
        Index bits per weight, for codecs that choose the mask.
    window, classes : int
        Of the trellis.
    importance : array, optional
        On which the low-rank index searches its tile.

    Raises
    ------
    ConfigError
        If the codec cannot reach the rate or density; the text says which one can.
    """
    n_out, bus_bits = mask_lanes(value, planes), value.bus_bits
    if codec not in INDEX_CODECS:
        raise ConfigError(f"index must be one of {', '.join(INDEX_CODECS)}, not {codec!r}")
    if rate is not None and not INDEX_CODECS[codec].chooses_mask:
        raise ConfigError(
            f"the {codec} index stores any mask at a rate of its own: index bits go with the "
            "trellis and lowrank index"
        )
    return index_codec(codec).configure(
        n_out,
        bus_bits,
        planes=planes,
        density=density,
        rate=rate,
        window=window,
        classes=classes,
        importance=importance,
    )


def top_share(importance: np.ndarray, density: float) -> float:
    """Return the share of all importance that the largest weights bring."""
    flat = np.sort(np.asarray(importance, np.float64).reshape(-1))[::-1]
    total = float(flat.sum())
    return float(flat[: round(density * flat.size)].sum()) / total if total else 1.0


def best_order(importance: np.ndarray, density: float, config: IndexConfig) -> str:
    """Return the weight order in which a codec keeps most.

    Large tensors are tried on runs of slices from everywhere in them. A sample holds other weights
    in every order, so what counts is what is kept of that which could be.
    """
    codec = index_codec(config.codec)
    orders = codec.orders(config)
    if importance.ndim < 2:
        orders = [order for order in orders if not order.endswith("column")]
    if len(orders) == 1 or not importance.size:
        return orders[0]
    trial, found = codec.trial(config), {}
    run, most = max(_RUN, config.slice_multiple), _SAMPLE // config.n_out
    for order in orders:
        slices = beats(importance, order, config.n_out)
        part, live = slices_from_everywhere(slices, importance.size, run, most)
        part = part.reshape(-1)[:live]
        try:
            mask = choose_index(part, density, trial, "row", 0).mask
        except DensityError:  # as the whole tensor may
            continue
        count = int(np.count_nonzero(mask))
        found[order] = float(part[mask].sum(dtype=np.float64)) / _largest(part, count)
    return max(found, key=found.__getitem__) if found else orders[0]


def _largest(importance: np.ndarray, count: int) -> float:
    """Return the sum of the largest ``count`` of flat importances, or 1 if that is nothing."""
    if not count:
        return 1.0
    first = importance.size - count
    return float(np.partition(importance, first)[first:].sum(dtype=np.float64)) or 1.0


@dataclass(frozen=True)
class OperatingPoint:
    """Operating point: where to spend a budget of bits per weight.

    Parameters
    ----------
    codec : str
        ``trellis``, or ``entropy`` for the ideal mask.
    density : float
    rate : float
        Index bits per weight.
    share : float
        Share of all importance that is expected to be kept.
    """

    codec: str
    density: float
    rate: float
    share: float


def operating_point(
    importance: np.ndarray, budget: float, planes: int, codecs: Sequence[str]
) -> OperatingPoint:
    """Choose density, rate and codec so that most importance is kept within a budget.

    The trellis is taken to reach ``_TRELLIS_EFFICIENCY`` of the bound.

    Parameters
    ----------
    importance : array, not negative
        Usually squares: then the share is kept energy.
    budget : float
        Bits per weight for index and value plane.
    planes : int
        Bits a kept weight.
    codecs : sequence of str
        Those that may be chosen.

    Raises
    ------
    ConfigError
        If nothing fits the budget.
    """
    flat = np.asarray(importance, np.float32).reshape(-1)
    flat = np.sort(flat)[:: max(1, flat.size // _SAMPLE)]
    points = []
    cost = planes / _VALUE_EFFICIENCY
    for density in np.geomspace(0.01, 0.45, _GRID):
        left = budget - density * cost
        entropy = binary_entropy(density)
        if "entropy" in codecs and left >= entropy / _ENTROPY_EFFICIENCY:
            points.append(OperatingPoint("entropy", density, left, top_share(flat, density)))
        if "bitmap" in codecs and left >= 1:
            points.append(OperatingPoint("bitmap", density, 1.0, top_share(flat, density)))
        rate = min(left, TRELLIS_RATES[1])
        if "trellis" in codecs and rate >= TRELLIS_RATES[0] and density > 1 / 64:
            share = share_bound(flat, density, rate * _TRELLIS_EFFICIENCY)
            points.append(
                OperatingPoint("trellis", density, rate, share * top_share(flat, density))
            )
    if not points:
        raise ConfigError(
            f"{budget:.3f} bits per weight are too few for index and {planes} planes (the least is "
            f"about {TRELLIS_RATES[0] + cost / 64:.3f})"
        )
    return max(points, key=lambda point: point.share)
