# SPDX-License-Identifier: Apache-2.0
"""Products of signs: the direct codec's network in torch, with gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from xorloom.sw.value.direct.choose import sequence

if TYPE_CHECKING:
    from xorloom.sw.spec.direct import DirectConfig

__all__ = ["SeedNetwork", "meant", "seed_count"]


def seed_count(weights: int, config: DirectConfig) -> int:
    """Return the seed bits that reach a tensor's weights."""
    return -(-weights * config.rate.numerator // config.period)


class SeedNetwork:
    """Network of the direct codec over all weights of a tensor, as views of one grid of signs.

    The grid has a row for every seed bit of a period and a column for every period, so that a
    window position is, for one phase of all periods, a run of one row.

    Parameters
    ----------
    shape : tuple of int
        Of the tensor.
    config : DirectConfig
    order : str
        Weight order.

    Attributes
    ----------
    weights, seeds : int
        Of the tensor; seed bits that reach a weight.
    taps : tuple of tuple of (int, int)
        For every code bit, plane after plane and phase after phase, the row of the grid and the
        first column of each of its taps.
    """

    def __init__(self, shape: tuple[int, ...], config: DirectConfig, order: str) -> None:
        self.shape, self.order, self.planes = tuple(shape), order, config.planes
        self.weights = math.prod(self.shape)
        self._step = config.rate.numerator
        self.periods = -(-self.weights // config.period)
        self.seeds = seed_count(self.weights, config)
        before = config.window - 1
        self._front = -(-before // self._step) * self._step
        ends = accumulate(config.shifts)
        starts = [self._front - before + end - 1 for end in ends]
        self.taps = tuple(
            tuple(((start + t) % self._step, (start + t) // self._step) for t in phase[b])
            for b in range(config.planes)
            for start, phase in zip(starts, config.network.rows, strict=True)
        )
        self._places: tuple[torch.Tensor, torch.Tensor] | None = None
        if order != "row":
            places = sequence(np.arange(self.weights).reshape(self.shape), order, config)
            self._places = torch.from_numpy(np.argsort(places)), torch.from_numpy(places)

    def products(self, signs: torch.Tensor) -> list[torch.Tensor]:
        """Return the sign of the code bits of every plane, each (periods, period).

        Parameters
        ----------
        signs : (seeds,) float32 tensor
            1 for a seed bit 0, -1 for 1. Seed bits before the first are 0.
        """
        back = self.periods * self._step - self.seeds
        padded = torch.nn.functional.pad(signs, (self._front, back), value=1.0)
        found = _Products.apply(padded.reshape(-1, self._step).t().contiguous(), self)
        return [part.t() for part in found.chunk(self.planes)]

    def in_shape(self, values: torch.Tensor) -> torch.Tensor:
        """Return values (periods, period) in the order of the stream in the tensor's shape."""
        flat = values.reshape(-1)[: self.weights]
        if self._places is not None:
            flat = _Moved.apply(flat, *(places.to(flat.device) for places in self._places))
        return flat.reshape(self.shape)


def meant(levels: Sequence[int], signs: list[torch.Tensor]) -> torch.Tensor:
    """Return the levels of codes given as signs, plane 0 first; gradients reach every sign.

    A table of levels is a polynomial in the signs. It is exact in float32: levels are integers of 8
    bits, and the coefficients fractions of them by at most 64.
    """
    if not signs:
        return torch.tensor(float(levels[0]))
    half = len(levels) // 2
    low, high = meant(levels[:half], signs[:-1]), meant(levels[half:], signs[:-1])
    return (low + high) / 2 + (low - high) / 2 * signs[-1]


class _Products(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, grid: torch.Tensor, network: SeedNetwork) -> torch.Tensor:
        count = network.periods
        found = grid.new_empty((len(network.taps), count))
        for out, taps in zip(found, network.taps, strict=True):
            (row, first), *others = taps
            out.copy_(grid[row, first : first + count])
            for row, first in others:
                out *= grid[row, first : first + count]
        ctx.save_for_backward(grid, found)
        ctx.network = network
        return found

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        grid, found = ctx.saved_tensors
        count = ctx.network.periods
        # The derivative to a sign is the product of the others: all of them times itself.
        through = grad * found
        total = torch.zeros_like(grid)
        for own, taps in zip(through, ctx.network.taps, strict=True):
            for row, first in taps:
                total[row, first : first + count] += own
        return total * grid, None


class _Moved(torch.autograd.Function):
    """Values in another order; ``back`` undoes ``places``, which is quicker than to add up."""

    @staticmethod
    def forward(
        ctx: Any, values: torch.Tensor, places: torch.Tensor, back: torch.Tensor
    ) -> torch.Tensor:
        ctx.save_for_backward(back)
        return values[places]

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (back,) = ctx.saved_tensors
        return grad[back], None, None
