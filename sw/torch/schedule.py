# SPDX-License-Identifier: Apache-2.0
"""Schedules: masks that come into force little by little while a network is trained."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from xorloom.sw.base.errors import ConfigError, check_range
from xorloom.sw.index.masks import chosen_with, importance_of
from xorloom.sw.tensors.prune import prune_tensor

from .coding.base import Coding
from .coding.masked import MaskedCoding
from .coding.masks import make_mask
from .plan import LayerPlan
from .pruned import Pruned

__all__ = ["Change", "Schedule", "Timetable", "dense_coding"]

_log = logging.getLogger(__name__)
_UPDATES = 20
"""Masks of a ramp."""
_TRIES = 8


@dataclass(frozen=True)
class Schedule:
    """How masks come into force; all in shares of the training.

    Parameters
    ----------
    ramp : float in [0, 1)
        Until then the largest weights are kept, fewer and fewer of them, by the cubic law of Zhu
        and Gupta (arXiv 1710.01878); the plan's mask is chosen at its end. 0: at once.
    fade : float in [0, 1)
        Until then what is pruned still counts, less and less.
    rechoices : int
        How often a mask is chosen anew, evenly between the end of the ramp and ``until``.
    until : float in (0, 1)
    hysteresis : float
        By how much of itself the importance of weights in force is raised then.
    churn : float in (0, 1]
        Most of the kept weights that a choice may replace: where it would be more, the hysteresis
        is doubled and the mask chosen again.

    Raises
    ------
    ConfigError
        If a value is out of range.
    """

    ramp: float = 0.0
    fade: float = 0.0
    rechoices: int = 0
    until: float = 0.75
    hysteresis: float = 1.0
    churn: float = 0.1

    def __post_init__(self) -> None:
        for name in ("ramp", "fade"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} must be in [0, 1), not {getattr(self, name)}")
        if self.rechoices and not self.ramp < self.until < 1:
            raise ConfigError(f"until must be between ramp {self.ramp} and 1, not {self.until}")
        check_range("rechoices", self.rechoices, 0, 1 << 31)
        if not 0 <= self.hysteresis < math.inf or not 0 < self.churn <= 1:
            raise ConfigError(
                "hysteresis must be finite and not negative and churn must be in (0, 1], not "
                f"{self.hysteresis} and {self.churn}"
            )

    def updates(self, progress: float) -> int:
        """Return how many changes of a mask are due: those of the ramp, then the re-choices."""
        of_ramp = _UPDATES if self.ramp else 0
        if progress < self.ramp:
            return int(progress / self.ramp * _UPDATES)
        span = self.until - self.ramp
        done = int((progress - self.ramp) / span * self.rechoices + 1e-9) if self.rechoices else 0
        return of_ramp + min(self.rechoices, done)

    @property
    def last(self) -> int:
        """All changes."""
        return (_UPDATES if self.ramp else 0) + self.rechoices


@dataclass(frozen=True)
class Change:
    """Change of a mask.

    Parameters
    ----------
    progress : float
    name : str
        Of the weight.
    density : float
        Share of weights that are kept now.
    churn : float
        Share of them that were pruned before.
    hysteresis : float
        What it took to keep the churn low; 0 in a ramp.
    """

    progress: float
    name: str
    density: float
    churn: float
    hysteresis: float


class Timetable:
    """Schedule at work on some weights.

    Parameters
    ----------
    schedule : Schedule
    weights : sequence of Pruned
        Of masked codings.
    """

    def __init__(self, schedule: Schedule, weights: list[Pruned]) -> None:
        self._schedule, self._weights = schedule, weights
        for weight in weights:
            coding = _masked(weight.coding, weight.name)
            coding.dense_gradient = schedule.last > 0
            coding.fade = 1.0 if schedule.fade else 0.0

    def step(self, progress: float) -> list[Change]:
        """Make the changes that are due at a progress in [0, 1], and return them.

        Raises
        ------
        ConfigError
            If the progress is out of range.
        """
        if not 0 <= progress <= 1:
            raise ConfigError(f"progress must be between 0 and 1, not {progress}")
        schedule, found = self._schedule, []
        for weight in self._weights:
            coding = _masked(weight.coding, weight.name)
            coding.fade = max(0.0, 1 - progress / schedule.fade) if schedule.fade else 0.0
            due = schedule.updates(progress)
            if due > coding.updates:
                change = self._change(weight, coding, due, progress)
                _log.info(
                    f"xorloom: {change.name}: at {change.progress:.0%} of the training the mask "
                    f"keeps {change.density:.3f}, {change.churn:.1%} of it new"
                )
                found.append(change)
            coding.dense_gradient = coding.updates < schedule.last
        return found

    def _change(self, weight: Pruned, coding: MaskedCoding, due: int, progress: float) -> Change:
        latent = weight.latent.detach().float().cpu().numpy()
        before = coding.mask.cpu().numpy()
        of_ramp = _UPDATES if self._schedule.ramp else 0
        hysteresis = 0.0
        if due < of_ramp:
            left = (1 - due / _UPDATES) ** 3
            density = coding.plan.kept + (1 - coding.plan.kept) * left
            coding.set_mask(prune_tensor(latent, 1 - density))
            coding.fit_scales(latent)
        elif coding.updates < of_ramp:
            coding.set_mask(make_mask(latent, coding.plan, name=weight.name))
            coding.fit_scales(latent)
        else:
            hysteresis = self._rechoose(latent, coding, before, weight.name)
        coding.updates = due
        after = coding.mask.cpu().numpy()
        kept = int(np.count_nonzero(after))
        churn = int(np.count_nonzero(after & ~before)) / max(1, kept)
        return Change(progress, weight.name, kept / after.size, churn, hysteresis)

    def _rechoose(
        self, latent: np.ndarray, coding: MaskedCoding, before: np.ndarray, name: str
    ) -> float:
        """Choose a mask again, near the one in force; return the hysteresis that it took."""
        hysteresis, plan, old = self._schedule.hysteresis, coding.plan, coding.choice
        for _ in range(_TRIES):
            worth = importance_of(latent, None, name=name)
            worth = np.where(before, worth * np.float32(1 + hysteresis), worth)
            if old is None:
                found = mask = make_mask(latent, plan, worth, name=name)
            else:
                density = np.count_nonzero(before) / before.size
                found = chosen_with(
                    old.index, latent, worth, density, coding.value, plan.planes,
                    order=old.order, name=name,
                )  # fmt: skip
                mask = found.mask
            assert isinstance(mask, np.ndarray)
            new = int(np.count_nonzero(mask & ~before))
            if new <= self._schedule.churn * np.count_nonzero(mask):
                coding.set_mask(found)
                return hysteresis
            hysteresis = 2 * hysteresis or 1.0
        _log.warning(
            f"xorloom: {name}: the mask stays, since every other one would replace more than "
            f"{self._schedule.churn:.0%} of it"
        )
        return hysteresis


def dense_coding(weight: Any, plan: LayerPlan, name: str) -> MaskedCoding:
    """Return the coding with which a ramp begins: it keeps every weight.

    Raises
    ------
    ConfigError
        If the plan has no mask that a ramp could lead to.
    """
    if plan.mask == "all":
        raise ConfigError(f"{name}: a ramp leads to a mask, and mask all prunes nothing")
    found = MaskedCoding.of(weight, replace(plan, mask="all", index_bits=None), name=name)
    found.plan = plan
    return found


def _masked(coding: Coding, name: str) -> MaskedCoding:
    if not isinstance(coding, MaskedCoding):
        raise ConfigError(
            f"{name}: a schedule is for masks, and {type(coding).__name__} has none (leave the "
            "schedule out)"
        )
    return coding
