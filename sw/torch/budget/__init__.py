# SPDX-License-Identifier: Apache-2.0
"""Budgets of layers: bits that a plan will store for a weight, and the plan that uses them up.

Everything is counted: values, index, scales, headers, CRCs and padding to bus words.
"""

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.bits.codec import index_codec
from xorloom.sw.index.choice import BudgetError, index_config, stored_index
from xorloom.sw.index.plane import encode_index, order_bits
from xorloom.sw.spec.config import BlockConfig, ValueConfig, WindowConfig
from xorloom.sw.spec.direct import PERIOD_MAX, RATES
from xorloom.sw.spec.direct_preset import direct_config
from xorloom.sw.spec.index_config import TRELLIS_RATES, IndexConfig, TrellisConfig
from xorloom.sw.spec.layout import frame_bytes, padded
from xorloom.sw.spec.weight_format import index_for
from xorloom.sw.tensors.orders import runs
from xorloom.sw.tensors.prune import prune_pattern
from xorloom.sw.tensors.quantize import Quantizer
from xorloom.sw.torch.plan import CHOSEN, MASKS, LayerPlan
from xorloom.sw.value.plane import encode_value, stream_bits
from xorloom.sw.value.search import search_block, window_for
from xorloom.sw.value.window.codec import stream_slices

__all__ = ["plan_for", "stored_bits", "value_config"]

_SAMPLE = 1 << 21
"""Weights that are encoded to see what values take; of larger ones, the first so many."""
_DENSITIES = {"trellis": (1 / 64, 15 / 32), "hashed": (1 / 256, 255 / 256)}
"""Densities that a codec has; any of (1/1000, 1) for the others."""
_ANY = (1e-3, 1 - 1e-3)
_ROUNDS = 16
_TAPS, _WINDOW = 2, 16
"""Network of trained seeds: more taps train worse, see docs/decisions/training.md."""
_SPLIT = {"trellis": 0.6, "lowrank": 0.35}
"""Density of one plane, as a share of the budget; see docs/decisions/training.md."""
_PATTERN_MAX = 256


def value_config(plan: LayerPlan) -> ValueConfig:
    """Return the value decoder of a plan; of the window codec, before ``n_in`` is chosen.

    Raises
    ------
    ConfigError
        If there is no such network.
    """
    if plan.value == "window":
        return WindowConfig()
    if plan.value == "block":
        return BlockConfig()
    return direct_config(
        rate=plan.rate,
        planes=plan.planes,
        window=plan.window or _WINDOW,
        taps=plan.taps or _TAPS,
        network_seed=plan.seed,
    )


@lru_cache(maxsize=1024)
def stored_bits(shape: tuple[int, ...], plan: LayerPlan) -> float:
    """Return the bits per weight that a file will hold of a weight, everything counted.

    Weights of the shape with a random mask and random codes are encoded, and counted: exact but for
    what masks of magnitudes have that random ones have not, which makes them cheaper.

    Parameters
    ----------
    shape : tuple of int
    plan : LayerPlan

    Raises
    ------
    ConfigError
        If the plan fits no weight of that shape.
    """
    size, value = math.prod(shape), value_config(plan)
    method = "trellis" if value.chooses_values else "binary"
    scales = Quantizer(method=method, planes=plan.planes, scale=plan.scale).scale_bits(shape)
    if value.chooses_values:
        bits = stream_bits(size, value).total
        index = index_for(value, plan.planes)
        bits += 8 * (frame_bytes(index.bus_bytes) + index.bus_bytes)
        return (bits + scales) / size
    mask = _random_mask(shape, plan)
    codes = np.random.default_rng(1).integers(0, 1 << plan.planes, mask.shape, np.uint8) * mask
    if isinstance(value, WindowConfig):
        decoder: ValueConfig = window_for(plan.kept, value)
    else:
        assert isinstance(value, BlockConfig)
        decoder = search_block([(mask, codes, plan.planes)], value).config
    index = _index(plan, value if isinstance(value, WindowConfig) else decoder)
    kept = round(size * plan.kept) * plan.planes
    slices = 0
    if isinstance(value, WindowConfig):
        slices = stream_slices(size, kept, plan.planes, value, index.slice_multiple)
    _, found, layout = encode_value(
        mask,
        codes,
        plan.planes,
        decoder,
        "auto" if plan.mask == "n:m" else "row",  # other random masks are alike in all orders
        slices_per_stream=slices or None,
        index_bits=order_bits(index),
    )
    values = found.total * size / mask.size
    if plan.mask == "lowrank" and plan.index_bits is not None:
        masks = plan.index_bits * size  # the tile is chosen so that it takes no more
    elif plan.mask in CHOSEN:
        measure = index_codec(index.codec).stream_bits
        streams = [
            measure(count, plan.kept, index) for _, _, count in runs(size, index.n_out, slices)
        ]
        framed = [padded(math.ceil(bits / 8), index.bus_bytes) for bits in streams]
        masks = 8.0 * sum(length + frame_bytes(index.bus_bytes) for length in framed)
    else:
        streams_of = encode_index(mask, index, layout.order, layout.slices_per_stream).streams
        masks = 8 * len(streams_of) * size / mask.size
    return (values + masks + scales) / size


def _random_mask(shape: tuple[int, ...], plan: LayerPlan) -> np.ndarray:
    """Return a random mask of a weight, or of its first rows."""
    rng, size = np.random.default_rng(0), math.prod(shape)
    if plan.mask == "n:m":
        rows = max(1, shape[0] * min(size, _SAMPLE) // size)
        return prune_pattern(rng.random((rows, *shape[1:])), *plan.pattern)
    part = min(size, _SAMPLE)
    mask = np.zeros(part, np.bool_)
    mask[rng.permutation(part)[: round(part * plan.kept)]] = True
    return mask


def _index(plan: LayerPlan, value: ValueConfig) -> IndexConfig:
    if plan.mask == "all" and isinstance(value, WindowConfig):
        return index_config("none", value, plan.planes, density=1)
    if plan.value == "block":
        return index_for(value, plan.planes)
    if plan.mask not in CHOSEN:
        return stored_index(value, plan.planes)
    return index_config(
        plan.mask,
        value,
        plan.planes,
        density=plan.density,
        rate=plan.index_bits,
        window=plan.window or TrellisConfig.window,
    )


def plan_for(
    shapes: Sequence[tuple[int, ...]], bits_per_weight: float, method: str, **split: Any
) -> LayerPlan:
    """Return the plan of a method that uses a budget up and does not exceed it.

    Parameters
    ----------
    shapes : sequence of tuple of int
        Weights that share the plan.
    bits_per_weight : float
        Of all of them together, everything counted.
    method : str
        ``direct``, or one of :data:`xorloom.sw.torch.plan.MASKS`.
    **split
        Other fields of :class:`xorloom.sw.torch.plan.LayerPlan`, such as ``planes`` or ``scale``.
        Of ``trellis`` and ``lowrank``, ``density`` or ``index_bits`` says how the budget is split;
        without, the density is a share of the budget that suits networks that are trained.

    Raises
    ------
    BudgetError
        If the budget is below the least that these weights take: scales and headers count.
    ConfigError
        If the method is unknown, or the split does not go with it.
    """
    if method != "direct" and method not in MASKS:
        raise ConfigError(f"method must be direct or one of {', '.join(MASKS)}, not {method!r}")
    if not 0 < bits_per_weight < math.inf:
        raise ConfigError(f"bits per weight must be positive, not {bits_per_weight}")
    counts = Counter(tuple(shape) for shape in shapes)
    weights = sum(math.prod(shape) * times for shape, times in counts.items())
    if not weights:
        raise ConfigError("plan_for needs the shapes of at least one weight")

    def cost(plan: LayerPlan) -> float:
        sums = (
            stored_bits(shape, plan) * math.prod(shape) * times for shape, times in counts.items()
        )
        return sum(sums) / weights

    def largest(plans: Sequence[LayerPlan]) -> LayerPlan:
        """Return the last plan within the budget, of plans that cost more and more."""
        place = bisect_right(plans, bits_per_weight, key=cost)
        if not place:
            raise BudgetError(bits_per_weight, cost(plans[0]))
        return plans[place - 1]

    def densest_pattern(plans: Sequence[LayerPlan]) -> LayerPlan:
        """Return the last plan within the budget; simple patterns cost less than denser ones."""
        for plan in reversed(plans):
            if plan.kept * plan.planes <= bits_per_weight and cost(plan) <= bits_per_weight:
                return plan
        raise BudgetError(bits_per_weight, cost(plans[0]))

    if method == "direct":
        return largest(_direct_plans(split))
    base = LayerPlan(**{"mask": method, **split})
    if method == "all":
        return largest([base])
    if method == "n:m":
        return largest([base]) if "pattern" in split else densest_pattern(_patterns(base))
    if method in _SPLIT and "index_bits" not in split:
        rates = _rates(base, bits_per_weight, split)
        if "density" in split:
            return largest(rates)
        place = bisect_right(rates, bits_per_weight, key=cost)
        base = rates[max(0, place - 1)]  # of a small budget, the least rate at a lower density
    return _densest(base, bits_per_weight, cost)


def _direct_plans(split: dict[str, Any]) -> list[LayerPlan]:
    rates = sorted(
        {
            Fraction(k, m)
            for m in range(1, PERIOD_MAX + 1)
            for k in range(1, int(RATES[1]) * m + 1)
            if RATES[0] <= Fraction(k, m) <= RATES[1]
        }
    )
    return [LayerPlan(**{"mask": "all", "value": "direct", **split, "rate": r}) for r in rates]


def _patterns(base: LayerPlan) -> list[LayerPlan]:
    found = {Fraction(1, m) for m in range(2, _PATTERN_MAX + 1)}
    found |= {Fraction(n, m) for m in (4, 8, 16) for n in range(1, m)}
    return [replace(base, pattern=(r.numerator, r.denominator)) for r in sorted(found)]


def _rates(base: LayerPlan, budget: float, split: dict[str, Any]) -> list[LayerPlan]:
    """Return plans of all index rates, ascending."""
    low, high = _DENSITIES.get(base.mask, _ANY)
    density = split.get("density", budget * _SPLIT[base.mask] / base.planes)
    density = min(max(density, low), high)
    lanes = WindowConfig().n_out // base.planes
    least, most = TRELLIS_RATES
    rates = [k / lanes for k in range(math.ceil(least * lanes), int(most * lanes) + 1)]
    return [replace(base, density=density, index_bits=rate) for rate in rates]


def _densest(base: LayerPlan, budget: float, cost: Callable[[LayerPlan], float]) -> LayerPlan:
    """Return the plan of the largest density within the budget."""
    low, high = _DENSITIES.get(base.mask, _ANY)
    least = cost(replace(base, density=low))
    if least > budget:
        raise BudgetError(budget, least)
    for _ in range(_ROUNDS):
        middle = math.sqrt(low * high)
        fits = cost(replace(base, density=middle)) <= budget
        low, high = (middle, high) if fits else (low, middle)
    return replace(base, density=low)
