# SPDX-License-Identifier: Apache-2.0
"""Chooses index codec, rate, density and weight order for what a user asks for."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.spec.config import ValueConfig
from xorloom.sw.spec.index_config import (
    BitmapConfig,
    EntropyConfig,
    IndexConfig,
    LowrankConfig,
    TrellisConfig,
)
from xorloom.sw.spec.weight_format import INDEX_CODECS, MASK_CHOOSERS, mask_lanes
from xorloom.sw.tensors.orders import beats

from .lowrank import codec as index_lowrank
from .plane import choose_index
from .rate_distortion import binary_entropy, share_bound
from .trellis import choose as index_trellis

__all__ = ["OperatingPoint", "best_order", "index_config", "operating_point", "top_share"]

RATES = (0.03, 0.5)
"""Rates of the trellis index."""
_SAMPLE = 1 << 19
"""Weights on which an order or an operating point is chosen."""
_TRIAL_WINDOW = 10
"""Window of the trellis in trials: quick, and as good a judge."""
_VALUE_EFFICIENCY = 0.975
"""What the value plane is sure to reach, see README."""
_ENTROPY_EFFICIENCY = 0.98
_TRELLIS_EFFICIENCY = 0.9
_GRID = 48
_CHUNK = 8
"""Mask bits that the entropy index codes at once."""


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
        One of :data:`xorloom.sw.spec.weight_format.INDEX_CODECS`.
    value : WindowConfig or BlockConfig
    planes : int
    density : float
        Share of kept weights.
    rate : float, optional
        Index bits a weight, for codecs that choose the mask.
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
    if not issubclass(INDEX_CODECS[codec], MASK_CHOOSERS):
        if rate is not None:
            raise ConfigError(
                f"the {codec} index stores any mask at a rate of its own: index bits go with the "
                "trellis and lowrank index"
            )
        if codec == "bitmap":
            return BitmapConfig(n_out=n_out, bus_bits=bus_bits)
        if n_out % _CHUNK:
            raise ConfigError(
                f"the entropy index needs slices of whole {_CHUNK}-weight chunks, not "
                f"{n_out} (with {planes} planes, make n_out a multiple of {_CHUNK * planes})"
            )
        lanes = math.gcd(n_out // _CHUNK, EntropyConfig.lanes)
        return EntropyConfig(n_out=n_out, lanes=lanes, bus_bits=bus_bits)
    if codec == "lowrank":
        if importance is None or rate is None:
            return LowrankConfig(n_out=n_out, bus_bits=bus_bits)
        slices = beats(importance, "strided", n_out)
        return index_lowrank.search(
            slices, importance.size, rate, density, n_out, bus_bits=bus_bits, local_search=False
        )
    rate = rate if rate is not None else 1 / 6
    if not RATES[0] <= rate <= RATES[1]:
        raise ConfigError(
            f"index bits must be between {RATES[0]} and {RATES[1]} bits a weight for the trellis "
            f"index, not {rate} (more: the entropy or bitmap index stores the ideal mask)"
        )
    config = TrellisConfig(
        n_in=1,
        n_out=n_out,
        window=window,
        minterms=index_trellis.minterms_for(density, classes),
        classes=classes,
        bus_bits=bus_bits,
    )
    fits = [replace(config, n_in=n) for n in range(1, n_out // 2 + 1)]
    fits = [c for c in fits if c.rate <= rate + 1e-9]
    if not fits:
        raise ConfigError(
            f"index bits {rate} are too few for slices of {n_out} weights with {classes} density "
            "classes (use one class, a larger n_out, or more index bits)"
        )
    return fits[-1]


def top_share(importance: np.ndarray, density: float) -> float:
    """Return the share of all importance that the largest weights bring."""
    flat = np.sort(np.asarray(importance, np.float64).reshape(-1))[::-1]
    total = float(flat.sum())
    return float(flat[: round(density * flat.size)].sum()) / total if total else 1.0


def _trial(config: IndexConfig) -> IndexConfig:
    if isinstance(config, TrellisConfig):
        return replace(config, window=min(config.window, _TRIAL_WINDOW))
    return config


def best_order(importance: np.ndarray, density: float, config: IndexConfig) -> str:
    """Return the weight order in which a codec keeps most, found on a sample.

    With density classes a lane's run of weights should be of one row or column; without, slices
    should mix them.
    """
    orders: Sequence[str] = ("skewed", "skewed-column")
    if isinstance(config, TrellisConfig) and config.classes > 1:
        orders = ("strided", "strided-column", *orders)
    if importance.ndim < 2:
        orders = [order for order in orders if not order.endswith("column")]
    if len(orders) == 1 or not importance.size:
        return orders[0]
    trial, found = _trial(config), {}
    for order in orders:
        slices = beats(importance, order, config.n_out)
        most = max(1, _SAMPLE // config.n_out)
        first = max(0, (len(slices) - most) // 2)
        part = slices[first : first + most]
        live = min(part.size, importance.size - first * config.n_out)
        mask = choose_index(part.reshape(-1)[:live], density, trial, "row", 0).mask
        found[order] = float(part.reshape(-1)[:live][mask].sum()) / max(1, int(mask.sum()))
    return max(found, key=found.__getitem__)


@dataclass(frozen=True)
class OperatingPoint:
    """Where to spend a budget of bits a weight.

    Parameters
    ----------
    codec : str
        ``trellis``, or ``entropy`` for the ideal mask.
    density : float
    rate : float
        Index bits a weight.
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
        Bits a weight for index and value plane.
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
        rate = min(left, RATES[1])
        if "trellis" in codecs and rate >= RATES[0] and density > 1 / 64:
            share = share_bound(flat, density, rate * _TRELLIS_EFFICIENCY)
            points.append(
                OperatingPoint("trellis", density, rate, share * top_share(flat, density))
            )
    if not points:
        raise ConfigError(
            f"{budget:.3f} bits a weight are too few for index and {planes} planes (the least is "
            f"about {RATES[0] + cost / 64:.3f})"
        )
    return max(points, key=lambda point: point.share)
