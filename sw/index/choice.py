# SPDX-License-Identifier: Apache-2.0
"""Choice of index codec, rate, density and weight order for what a user asks for."""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from xorloom.sw.base.errors import ConfigError, DensityError
from xorloom.sw.base.workers import mapping
from xorloom.sw.bits.codec import index_codec
from xorloom.sw.spec.codecs import INDEX_CODECS
from xorloom.sw.spec.config import ValueConfig
from xorloom.sw.spec.index_config import IndexConfig, TrellisConfig
from xorloom.sw.spec.weight_format import mask_lanes
from xorloom.sw.tensors.orders import beats

from .plane import choose_index
from .rate_distortion import share_bound, sign_error
from .sample import runs_from_everywhere

__all__ = [
    "BudgetError",
    "OperatingPoint",
    "best_order",
    "expected_error",
    "index_config",
    "operating_point",
    "stored_index",
    "top_shares",
]

_SAMPLE = 1 << 20
"""Weights on which an operating point is chosen."""
_TRIAL_SAMPLE = 1 << 17
"""Weights on which an order is tried."""
_RUN = 32
"""Slices that such a trial takes in a row, or those that share tiles or classes."""
_TRIAL_RUNS = 4
"""Such runs at least."""
_TRELLIS_EFFICIENCY = 0.9
_DENSITIES = (0.01, 0.45)
"""Least and largest density of an operating point."""
_GRID = 48
_SIGNS_SAMPLE = 1 << 16
"""Weights on which errors of signs are told."""


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
    if rate is not None and not INDEX_CODECS[codec].takes_rate:
        raise ConfigError(
            f"the {codec} index has a rate of its own: index bits go with the trellis and lowrank "
            "index"
        )
    return index_codec(codec).configure(
        n_out,
        bus_bits,
        planes=planes,
        n_out_step=value.n_out_step,
        density=density,
        rate=rate,
        window=window,
        classes=classes,
        importance=importance,
    )


def top_shares(importance: np.ndarray, densities: Sequence[float]) -> list[float]:
    """Return the share of all importance that the largest weights bring, for every density."""
    flat = np.sort(np.asarray(importance, np.float64).reshape(-1))[::-1]
    sums = np.concatenate([np.zeros(1), np.cumsum(flat)])
    total = float(sums[-1])
    return [float(sums[round(d * flat.size)]) / total if total else 1.0 for d in densities]


def best_order(
    importance: np.ndarray, density: float, config: IndexConfig, threads: int | None = None
) -> str:
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
    trial = codec.trial(config)
    run = max(_RUN, config.slice_multiple)
    most = max(_TRIAL_SAMPLE // config.n_out, _TRIAL_RUNS * run)
    some = runs_from_everywhere(importance.size, config.n_out, run, most)

    def kept(order: str) -> float:
        part = beats(importance, order, config.n_out, some).reshape(-1)[: importance.size]
        try:
            mask = choose_index(part, density, trial, "row", 0, threads=1).mask
        except DensityError:  # as the whole tensor may
            return 0.0
        count = int(np.count_nonzero(mask))
        return float(part[mask].sum(dtype=np.float64)) / _largest(part, count)

    with mapping(threads) as each:
        shares = each(kept, orders)
    return orders[shares.index(max(shares))]


def _largest(importance: np.ndarray, count: int) -> float:
    """Return the sum of the largest ``count`` of flat importances, or 1 if that is nothing."""
    if not count:
        return 1.0
    first = importance.size - count
    return float(np.partition(importance, first)[first:].sum(dtype=np.float64)) or 1.0


def stored_index(value: ValueConfig, planes: int) -> IndexConfig:
    """Return the index that stores any mask in the fewest bits: entropy if it fits, else a bitmap.

    It meets a density that a codec that chooses masks refused.
    """
    try:
        return index_config("entropy", value, planes, density=0.5)
    except ConfigError:
        return index_config("bitmap", value, planes, density=0.5)


@dataclass(frozen=True)
class OperatingPoint:
    """Operating point: where to spend a budget of bits per weight.

    Parameters
    ----------
    density : float
    index : IndexConfig
    share : float
        Share of all importance that is expected to be kept.
    bits : float
        Bits per weight that it is expected to take.
    """

    density: float
    index: IndexConfig
    share: float
    bits: float


def operating_point(
    importance: np.ndarray,
    budget: float,
    indexes: Callable[[float], Sequence[IndexConfig]],
    cost: Callable[[float, IndexConfig], float],
    *,
    signs: bool = False,
) -> OperatingPoint:
    """Choose density and index so that most importance is kept within a budget.

    The trellis is taken to reach ``_TRELLIS_EFFICIENCY`` of the bound; others keep the largest.

    Parameters
    ----------
    importance : array, not negative
        Usually squares: then the share is kept energy.
    budget : float
        Bits per weight.
    indexes : callable
        Those that may be chosen at a density; of one codec, those of fewer bits first.
    cost : callable
        Bits per weight that a density and an index take in all.
    signs : bool
        Importances are squares of weights of which signs are stored: what counts, and is the
        share, is the energy that they catch with one scale, see :func:`expected_error`. That
        takes fewer weights than the most energy to keep.

    Raises
    ------
    BudgetError
        If nothing fits the budget.
    ConfigError
        If there is no index to choose.
    """
    flat = np.asarray(importance, np.float32).reshape(-1)
    flat = np.sort(flat)[:: max(1, flat.size // _SAMPLE)]
    some = flat[:: max(1, flat.size // _SIGNS_SAMPLE)]
    points = []
    least = float("inf")
    densities = np.geomspace(*_DENSITIES, _GRID).tolist()
    for density, top in zip(densities, top_shares(flat, densities), strict=True):
        by_codec: dict[str, list[IndexConfig]] = {}
        for index in indexes(density):
            by_codec.setdefault(index.codec, []).append(index)
        for fits in by_codec.values():
            least = min(least, cost(density, fits[0]))
            place = bisect_right(fits, budget, key=partial(cost, density))
            if not place:
                continue
            index = fits[place - 1]
            share = top
            if signs:
                share = 1 - expected_error(some, density, index)
            elif isinstance(index, TrellisConfig):
                share *= share_bound(flat, density, index.rate * _TRELLIS_EFFICIENCY)
            points.append(OperatingPoint(density, index, share, cost(density, index)))
    if not points and not math.isfinite(least):
        raise ConfigError("no index fits slices of so few weights: use a larger n_out")
    if not points:
        raise BudgetError(budget, least)
    return max(points, key=lambda point: point.share)


def expected_error(squares: np.ndarray, density: float, index: IndexConfig) -> float:
    """Return the relative squared error that signs with one scale are expected to leave.

    Under the same assumptions as those of :func:`operating_point`.

    Parameters
    ----------
    squares : array
        Of weights from all over the tensors.
    density : float
    index : IndexConfig
    """
    rate = math.inf
    if isinstance(index, TrellisConfig):
        rate = index.rate * _TRELLIS_EFFICIENCY
    return sign_error(squares, density, rate)


class BudgetError(ConfigError):
    """A budget of bits per weight that nothing fits; ``least`` bits per weight would do."""

    def __init__(self, budget: float, least: float) -> None:
        self.budget, self.least = budget, math.ceil(least * 10_000 - 1e-9) / 10_000
        super().__init__(
            f"{budget:g} bits per weight are too few: the least is {self.least:.4f}, with scales, "
            "headers, CRCs and all else that these tensors take"
        )
