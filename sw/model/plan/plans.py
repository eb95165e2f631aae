# SPDX-License-Identifier: Apache-2.0
"""Plans of a model's tensors: what settings come to, resolved once for tensors that share them."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.base.toml_text import toml_key
from xorloom.sw.index.choice import BudgetError, expected_error
from xorloom.sw.spec.config import WindowConfig
from xorloom.sw.spec.direct import DirectConfig
from xorloom.sw.spec.weight_format import index_for
from xorloom.sw.tensors.checkpoint import ModelTensor
from xorloom.sw.tensors.checkpoint.model import listed
from xorloom.sw.tensors.loss import relative_error
from xorloom.sw.tensors.prune import own_mask
from xorloom.sw.tensors.quantize import Quantized, Quantizer
from xorloom.sw.value.plane import choose_value

from .chosen import chosen_plan, next_rate
from .given import UserArrays
from .recipe import Recipe
from .request import budget_cost, sampled
from .selection import MIN_SIZE, select
from .settings import Settings
from .source import Source
from .spec import TensorPlan
from .trained import trained_split

__all__ = ["make_plans", "plan_source"]

_TRIAL = 1 << 16
"""Weights of all tensors that a codec is tried on."""
_TIE = 1.01
"""Errors up to so many times another are as good: the direct codec takes the lesser decoder."""
_NEAR = 1.15
"""Budgets of so many times the one that is given are worth a word."""
_STEP = 1e-4
"""Bits per weight by which a split is lowered at least."""


def make_plans(
    model: Mapping[str, ModelTensor],
    settings: Mapping[str, Settings],
    masks: Collection[str] = (),
    where: str = "",
    *,
    calibrated: bool = False,
    saliency: Collection[str] = (),
    note: Callable[[str], None] = lambda text: None,
) -> dict[str, TensorPlan]:
    """Return the plan of every tensor that has settings.

    A density and an index that the settings leave open are chosen for all tensors of equal
    settings together.

    Parameters
    ----------
    model : mapping of name to ModelTensor
    settings : mapping of name to Settings
    masks : collection of str
        Tensors for which the user brings a mask.
    where : str
        Names the recipe in errors, if there is one.
    calibrated : bool
        Whether the user brings a calibration: then weights are rotated by default.
    saliency : collection of str
        Tensors for which the user brings a saliency.
    note : callable
        Called with a line for each choice of a codec.

    Raises
    ------
    ConfigError
        If settings contradict each other or a mask, or nothing fits them.
    """
    for name in masks:
        if name in settings and settings[name].keeps:
            raise ConfigError(
                f"{where}the mask of {name!r} tells what is kept: give no sparsity, density or "
                "bits per weight beside it (a recipe gives them to other tensors alone)"
            )
    stays = _of_masks(model, settings, saliency)
    if stays:
        note(
            f"{listed(list(stays), 3)}: {next(iter(stays.values()))}, so the index is chosen for "
            "the budget (--value direct keeps every weight)"
        )
    groups: dict[Settings, list[str]] = {}
    for name, wanted in settings.items():
        asked = replace(wanted, value="window") if name in stays else wanted
        groups.setdefault(asked, []).append(name)
    plans: dict[str, TensorPlan] = {}
    for wanted, names in groups.items():
        try:
            if wanted.leaves_codec_open:
                plan, why = _chosen_for(model, names, wanted, calibrated)
                note(why if len(groups) == 1 else f"{listed(names, 3)}: {why}")
            else:
                plan = _plan(model, names, wanted, calibrated)
        except ConfigError as error:
            if not where:
                raise
            raise ConfigError(f"{where}for {listed(names, 3)}: {error}") from error
        plans |= dict.fromkeys(names, plan)
    return {name: plans[name] for name in settings}


def plan_source(
    source: Source,
    wanted: Recipe,
    given: UserArrays,
    *,
    note: Callable[[str], None] = lambda text: None,
) -> tuple[dict[str, TensorPlan], dict[str, Settings]]:
    """Return plan and settings of every tensor of a source that is to be compressed.

    Parameters
    ----------
    source : Source
    wanted : Recipe
        All that the user asks for.
    given : UserArrays
    note : callable
        Called with a line for each choice, and for each tensor that is left alone unasked.

    Raises
    ------
    ConfigError
        If nothing is selected, or settings do not fit.
    """
    names = select(
        source.model,
        wanted.include,
        MIN_SIZE if wanted.min_size is None else wanted.min_size,
        exclude=wanted.exclude,
        preset=wanted.preset,
        done=source.done,
        note=note,
    )
    settings = wanted.settings(names)
    plans = make_plans(
        source.model,
        settings,
        given.masks,
        "" if wanted.path is None else f"{wanted.path}: ",
        calibrated=given.calibration is not None,
        saliency=given.saliency,
        note=note,
    )
    return given.planned(plans), settings


def _plan(
    model: Mapping[str, ModelTensor],
    names: list[str],
    wanted: Settings,
    calibrated: bool,
    *,
    signs: bool = False,
) -> TensorPlan:
    """Return the plan of tensors with the same settings; ``signs``: of the least error of these."""
    if wanted.chooses_values:
        return chosen_plan(model, names, wanted, calibrated)
    for key in ("rotate", "rotation_seed"):
        if getattr(wanted, key) is not None:
            raise ConfigError(f"--{toml_key(key)} belongs to --value direct, not {wanted.codec}")
    config, how = wanted.config, wanted.how
    density, index = replace(wanted.request, signs=signs).resolve(
        model, names, config, how, search=wanted.search
    )
    given = wanted.keeps or (index is not None and index.density is not None)
    return TensorPlan(
        sparsity=1 - density if given else None,
        scope=wanted.scope,
        quantizer=how,
        config=config,
        order=wanted.order,
        search=wanted.search,
        index=index,
        importance=wanted.worth,
    )


def _of_masks(
    model: Mapping[str, ModelTensor], settings: Mapping[str, Settings], saliency: Collection[str]
) -> dict[str, str]:
    """Return the tensors that need a mask whatever a budget would choose, and why."""
    found = {}
    for name, wanted in settings.items():
        if not wanted.leaves_codec_open or _splits(wanted):
            continue
        if name in saliency:
            found[name] = "its saliency tells what to keep"
        elif own_mask(model[name].weights(), pruned=model[name].pruned) is not None:
            found[name] = "it has a mask of its own in its zeros"
    return found


def _splits(wanted: Settings) -> bool:
    """Whether a budget is split as trained networks need it; what keeps every weight is not."""
    budget = wanted.bits_per_weight
    return bool(wanted.trained) and budget is not None and trained_split(budget).codec != "none"


def _chosen_for(
    model: Mapping[str, ModelTensor], names: list[str], wanted: Settings, calibrated: bool
) -> tuple[TensorPlan, str]:
    """Return the plan of least expected error within a budget, and a line that tells why."""
    budget = wanted.bits_per_weight
    assert budget is not None
    head = f"{budget:g} bits per weight"
    if _splits(wanted):
        plan = _plan(model, names, _trained(model, names, wanted), calibrated)
        return plan, f"{head} for a trained network: {_words(plan)}"
    # Only the direct codec rotates and is calibrated.
    turned = calibrated or wanted.rotate is not None or wanted.rotation_seed is not None
    plans, least = [], []
    for value in ("direct",) if turned else ("direct", "window"):
        try:
            plans.append(_plan(model, names, replace(wanted, value=value), calibrated, signs=True))
        except BudgetError as error:
            least.append(error)
    if not plans:
        raise min(least, key=lambda error: error.least)
    hint = _little_more(model, names, wanted, plans[0])
    if len(plans) == 1:
        why = "a calibration or rotation goes with it" if turned else "nothing else fits"
        return plans[0], f"{head}: {_words(plans[0])}, as {why}{hint}"
    sample = sampled(model, names)
    direct, window = ((_expected(sample, plan), plan) for plan in plans)
    best, other = (direct, window) if direct[0] <= _TIE * window[0] else (window, direct)
    return best[1], (
        f"{head}: {_words(best[1])}, expected error {best[0]:.3g}; {_words(other[1])} would leave "
        f"{other[0]:.3g}{hint}"
    )


def _little_more(
    model: Mapping[str, ModelTensor], names: list[str], wanted: Settings, plan: TensorPlan
) -> str:
    """Tell of a budget just above this one that holds the direct codec's next rate."""
    budget = wanted.bits_per_weight
    assert budget is not None
    if not isinstance(plan.config, DirectConfig):
        return ""
    above = next_rate(model, names, replace(wanted, value="direct"), plan.config)
    if above is None or above[1] > _NEAR * budget:
        return ""
    return f"; {math.ceil(above[1] * 10_000) / 10_000:g} would hold its rate {above[0]}"


def _words(plan: TensorPlan) -> str:
    """Return a plan in a few words."""
    if isinstance(plan.config, DirectConfig):
        return f"the direct codec at {plan.config.rate} bits"
    codec = "bitmap" if plan.index is None else plan.index.codec
    planes = plan.quantizer.planes
    values = "signs" if planes == 1 else f"codes of {planes} bits"
    return f"the {codec} index and {values} of {1 - plan.pruned:.1%} of the weights"


def _expected(sample: np.ndarray, plan: TensorPlan) -> float:
    """Return the relative squared error that a plan is expected to leave.

    A codec that chooses the values is tried on some of the weights; the others are told by what
    their masks can keep.
    """
    if isinstance(plan.config, WindowConfig):
        index = plan.index or index_for(plan.config, plan.quantizer.planes)
        return expected_error(np.square(sample), 1 - plan.pruned, index)
    some = sample[:: -(-sample.size // _TRIAL)]
    how = Quantizer("trellis", plan.quantizer.planes, "tensor")
    made = choose_value(some, plan.config, how, "row")
    kept = np.ones(some.shape, np.bool_)
    found = Quantized(kept, made.codes, made.scales, levels=made.streams.levels)
    return relative_error(some, found, how)


def _trained(model: Mapping[str, ModelTensor], names: Sequence[str], wanted: Settings) -> Settings:
    """Return settings that spend a budget as a trained network needs it, and no more than it.

    What scales, headers and padding take is known when the rest is, so it is found by turns.
    """
    budget, spent = wanted.bits_per_weight, 0.0
    assert budget is not None
    while True:
        split = trained_split(budget, spent)
        found = replace(
            wanted,
            value="window",
            bits_per_weight=None,
            density=split.density,
            index=split.codec,
            index_bits=split.index_bits,
            planes=split.planes,
            quantizer="alternating" if split.planes > 1 else "binary",
            importance="energy",
        )
        config, how = found.config, found.how
        assert isinstance(config, WindowConfig)
        density, index = found.request.resolve(model, names, config, how, search=found.search)
        assert index is not None
        over = budget_cost(model, names, config, how, search=found.search)(density, index) - budget
        if over <= 0:
            return found
        spent += max(over, _STEP)
