# SPDX-License-Identifier: Apache-2.0
"""Plans of a model's tensors: what settings come to, resolved once for tensors that share them."""

from collections.abc import Collection, Mapping

from xorloom.sw.base.errors import ConfigError
from xorloom.sw.base.toml_text import toml_key
from xorloom.sw.tensors.checkpoint import ModelTensor
from xorloom.sw.tensors.checkpoint.model import listed

from .chosen import chosen_plan
from .settings import Settings
from .spec import TensorPlan

__all__ = ["make_plans"]


def make_plans(
    model: Mapping[str, ModelTensor],
    settings: Mapping[str, Settings],
    masks: Collection[str] = (),
    where: str = "",
    *,
    calibrated: bool = False,
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
    groups: dict[Settings, list[str]] = {}
    for name, wanted in settings.items():
        groups.setdefault(wanted, []).append(name)
    plans: dict[str, TensorPlan] = {}
    for wanted, names in groups.items():
        try:
            plan = _plan(model, names, wanted, calibrated)
        except ConfigError as error:
            if not where:
                raise
            raise ConfigError(f"{where}for {listed(names, 3)}: {error}") from error
        plans |= dict.fromkeys(names, plan)
    return {name: plans[name] for name in settings}


def _plan(
    model: Mapping[str, ModelTensor], names: list[str], wanted: Settings, calibrated: bool
) -> TensorPlan:
    """Return the plan of tensors with the same settings."""
    if wanted.chooses_values:
        return chosen_plan(model, names, wanted, calibrated)
    for key in ("rotate", "rotation_seed"):
        if getattr(wanted, key) is not None:
            raise ConfigError(f"--{toml_key(key)} belongs to --value direct, not {wanted.value}")
    config, how = wanted.config, wanted.how
    density, index = wanted.request.resolve(model, names, config, how, search=wanted.search)
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
