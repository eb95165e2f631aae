# SPDX-License-Identifier: Apache-2.0
"""Plans of tensors whose value codec chooses the values: its rate, and what cannot go with it."""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

from xorloom.sw.base.errors import ConfigError
from xorloom.sw.base.toml_text import toml_key
from xorloom.sw.index.choice import BudgetError
from xorloom.sw.spec.config import ValueConfig
from xorloom.sw.spec.direct import DirectConfig
from xorloom.sw.spec.direct_preset import table_rates
from xorloom.sw.spec.weight_format import index_for
from xorloom.sw.tensors.checkpoint import ModelTensor

from .estimate import tensor_bits
from .settings import Settings
from .spec import TensorPlan

__all__ = ["chosen_plan", "next_rate"]

_NOT_FOR_IT = ("density", "sparsity", "scope", "index_bits", "importance")


def chosen_plan(
    model: Mapping[str, ModelTensor], names: Sequence[str], wanted: Settings, calibrated: bool
) -> TensorPlan:
    """Return the plan of tensors with the same settings.

    Parameters
    ----------
    model : mapping of name to ModelTensor
    names : sequence of str
        Tensors that share the settings; a budget is of all of them together.
    wanted : Settings
    calibrated : bool
        Whether there is a calibration: then weights are rotated by default.

    Raises
    ------
    ConfigError
        If settings contradict each other or the codec; of a budget that nothing fits, a
        :class:`xorloom.sw.index.choice.BudgetError` that tells the least.
    """
    for key in _NOT_FOR_IT:
        if getattr(wanted, key) != getattr(Settings, key):
            raise ConfigError(
                f"--{toml_key(key)} does not go with --value {wanted.value}, which keeps every "
                "weight and chooses all values (leave it out, or use --value window)"
            )
    if wanted.index not in (None, "none"):
        raise ConfigError(
            f"--index {wanted.index} does not go with --value {wanted.value}, which keeps every "
            "weight: it has no index (leave it out, or use --value window)"
        )
    if wanted.bits_per_weight is None:
        config = wanted.config
    elif wanted.rate is None:
        config = _within(model, names, wanted, wanted.bits_per_weight)
    else:
        raise ConfigError("give either --rate or --bits-per-weight: the second chooses the first")
    return TensorPlan(
        quantizer=wanted.how_chosen(_planes(config)),
        config=config,
        order=wanted.order,
        search=False,
        rotation=_rotation(wanted, calibrated),
    )


def _planes(config: ValueConfig) -> int:
    """Return the bits of a code, which a network that chooses values decides."""
    return config.to_dict()["planes"]


def _rotation(wanted: Settings, calibrated: bool) -> int | None:
    seed = wanted.rotation_seed
    if wanted.rotate is False and seed is not None:
        raise ConfigError("--rotation-seed contradicts --no-rotate: leave one of them out")
    default = calibrated or seed is not None
    rotates = default if wanted.rotate is None else wanted.rotate
    return (seed or 0) if rotates else None


def next_rate(
    model: Mapping[str, ModelTensor], names: Sequence[str], wanted: Settings, config: ValueConfig
) -> tuple[Fraction, float] | None:
    """Return the rate above a decoder's, and the bits per weight that it takes in all.

    ``None`` if there is none.
    """
    assert isinstance(config, DirectConfig)
    for rate in table_rates(config.window):
        if rate > config.rate:
            above = wanted.config_of(rate)
            return rate, _bits_per_weight(model, names, wanted, above)
    return None


def _within(
    model: Mapping[str, ModelTensor], names: Sequence[str], wanted: Settings, budget: float
) -> ValueConfig:
    """Return the decoder of the most bits per weight that keeps the budget."""
    if not 0 < budget < math.inf:
        raise ConfigError(f"bits per weight must be positive, not {budget}")
    least, refused = math.inf, None
    for rate in reversed(table_rates()):
        try:
            config = wanted.config_of(rate)
        except ConfigError as error:  # no network of that rate has the other parameters
            refused = error
            continue
        found = _bits_per_weight(model, names, wanted, config)
        if found <= budget:
            return config
        least = min(least, found)
    if least == math.inf and refused is not None:
        raise refused
    raise BudgetError(budget, least)


def _bits_per_weight(
    model: Mapping[str, ModelTensor], names: Sequence[str], wanted: Settings, config: ValueConfig
) -> float:
    """Return what tensors will take, everything counted; exact if scales are of their dtype."""
    planes = _planes(config)
    how, index = wanted.how_chosen(planes), index_for(config, planes)
    total = weights = 0.0
    for name in names:
        tensor = model[name]
        total += tensor_bits(tensor.size, tensor.size, planes, config, index)
        total += how.scale_bits(tensor.shape)
        weights += tensor.size
    return total / max(1, weights)
