# SPDX-License-Identifier: Apache-2.0
"""Masks of layers: what a plan keeps of a weight."""

import numpy as np
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.index.masks import Choice, choose_mask
from xorloom.sw.spec.index_config import TrellisConfig
from xorloom.sw.tensors.prune import prune_pattern, prune_tensor
from xorloom.sw.torch.plan import CHOSEN, LayerPlan

__all__ = ["make_mask"]


def make_mask(
    weights: np.ndarray,
    plan: LayerPlan,
    importance: np.ndarray | None = None,
    *,
    name: str = "weights",
) -> np.ndarray | Choice:
    """Return the mask of a plan: a bool array, or a choice of the index codec.

    Parameters
    ----------
    weights : float32 array
    plan : LayerPlan
    importance : array of the same shape, not negative, optional
        What keeping each weight is worth; magnitudes by default.
    name : str

    Raises
    ------
    ConfigError
        If the plan does not fit the weight; if the importance is of another shape, negative, not
        finite, or no numbers.
    DensityError
        If the codec has no mask of that density.
    """
    if importance is not None:
        importance = _checked(np.asarray(importance), weights.shape, name)
    if plan.mask == "all":
        if importance is not None:
            raise ConfigError(
                f"{name}: an importance goes with a mask that is chosen, but mask all keeps every "
                "weight (leave it out)"
            )
        return np.ones(weights.shape, np.bool_)
    if plan.mask in CHOSEN:
        return choose_mask(
            weights,
            importance,
            plan.density,
            plan.index_bits,
            codec=plan.mask,
            planes=plan.planes,
            window=plan.window or TrellisConfig.window,
            name=name,
        )
    worth = np.abs(weights) if importance is None else importance
    if plan.mask == "n:m":
        return prune_pattern(worth, *plan.pattern)
    return prune_tensor(worth, 1 - plan.density)


def _checked(importance: np.ndarray, shape: tuple[int, ...], name: str) -> np.ndarray:
    if importance.shape != shape:
        raise ConfigError(
            f"{name}: importance must have the weight's shape {shape}, not {importance.shape}"
        )
    if importance.dtype.kind not in "fiub":
        raise ConfigError(f"{name}: importance must be real numbers, not {importance.dtype}")
    if not np.isfinite(importance).all() or (importance < 0).any():
        raise ConfigError(f"{name}: importance must be finite and not negative (take magnitudes)")
    return importance
