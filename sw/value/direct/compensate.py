# SPDX-License-Identifier: Apache-2.0
"""Error compensation: columns are quantized in turn, and later ones make up for earlier errors.

A matrix ``W`` of inputs ``x`` gets values ``V`` for which the outputs' squared error is small. With
a bias that takes up the mean, and ``z`` the inputs of the original model, it is

``E |W (z - E z) - V (x - E x)|^2 + damping |W - V|^2 = tr (V - T) A (V - T)' + const``,

``A = cov(x, x) + damping``, ``T A = W (cov(z, x) + damping)``: the :class:`Objective`. With the
factor ``A = M M'``, ``M`` upper triangular, it is a sum over columns, in which column ``j`` stands
with the errors of the columns before it only: these are added to its target, scaled, and the sum is
quantized. The damping is a share of the mean of ``A``'s diagonal: inputs are samples, and values
must not follow their noise.

Source: LDLQ of Chee et al., "QuIP", arXiv 2307.13304, section 3, which does what GPTQ does, Frantar
et al., arXiv 2210.17323; targets from the original inputs: Li et al., "GPTAQ", arXiv 2504.02692.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.tensors.moments import Moments

__all__ = ["Objective", "Step", "compensate", "corrected_bias", "fit_scales", "objective"]

Step = Callable[[np.ndarray], np.ndarray]
"""``step(column)``: return the codes of the next column, (rows,) uint8; the column is (rows,)
float32 in units of the rows' scales."""

_BLOCK = 64
"""Columns whose errors are added one by one; those of whole blocks by matrix products."""
_MOST_MOVED = 10
"""Most by which targets may change the outputs, of themselves: beyond, moments are of two models
that have nothing to do with each other."""


@dataclass(frozen=True)
class Objective:
    """Squared error of a matrix's outputs, as a function of its values.

    Parameters
    ----------
    target : (rows, columns) float32
        Values of the least error.
    metric : (columns, columns) float32
        Damped second moment: symmetric.
    factor : (columns, columns) float32
        Column ``j`` of the transposed upper triangular factor, divided by its diagonal: row ``j``
        has what the errors of the columns before add to column ``j``.
    """

    target: np.ndarray
    metric: np.ndarray
    factor: np.ndarray

    def error(self, values: np.ndarray) -> float:
        """Return the squared error of (rows, columns) values."""
        rest = values - self.target
        return float(np.vdot(rest @ self.metric, rest))


def objective(
    weights: np.ndarray, moments: Moments, *, damping: float, has_bias: bool
) -> Objective:
    """Return the objective of a matrix.

    Parameters
    ----------
    weights : (rows, columns) float32
    moments : Moments
        Of the inputs; without ``cross`` the original inputs are taken to be the same.
    damping : float, greater than 0
        Share of the mean of the second moment's diagonal that is added to the diagonal.
    has_bias : bool
        A bias takes up the error of the mean, see :func:`corrected_bias`.

    Raises
    ------
    ConfigError
        If the moments are of another number of columns, or are no second moments of anything.
    """
    moments.check_columns(weights.shape[1])
    second = moments.second.astype(np.float64)
    cross = None if moments.cross is None else moments.cross.astype(np.float64)
    if has_bias and moments.mean is not None:
        mean = moments.mean.astype(np.float64)
        second = second - np.outer(mean, mean)
        if cross is not None and moments.original_mean is not None:
            cross = cross - np.outer(moments.original_mean.astype(np.float64), mean)
    second = (second + second.T) / 2
    # Inputs that are always 0 say nothing: all values are then as important.
    more = damping * float(second.diagonal().mean()) or 1.0
    damped = second + more * np.eye(len(second))
    try:
        upper = np.linalg.cholesky(damped[::-1, ::-1])[::-1, ::-1]
    except np.linalg.LinAlgError as error:
        raise ConfigError(
            f"second moment is not positive definite, even with damping {damping:g} (collect it "
            "again, or raise the damping)"
        ) from error
    target = weights
    if cross is not None:
        own = weights.astype(np.float64)
        both = (cross + more * np.eye(len(second))).T @ own.T
        found = np.linalg.solve(damped, both).T
        most = _MOST_MOVED**2 * np.vdot(own @ damped, own)
        if np.vdot((found - own) @ damped, found - own) > most:
            raise ConfigError(
                f"cross and second moment ask for outputs that change by more than {_MOST_MOVED} "
                "times themselves (collect both again, from one model)"
            )
        target = found.astype(np.float32)
    factor = np.ascontiguousarray((upper / upper.diagonal()).T, np.float32)
    return Objective(np.ascontiguousarray(target), damped.astype(np.float32), factor)


def compensate(aim: Objective, levels: np.ndarray, scales: np.ndarray, step: Step) -> np.ndarray:
    """Return the codes of a matrix, (rows, columns) uint8, chosen column by column.

    Parameters
    ----------
    aim : Objective
    levels : (codes,) float32
        What a code means, in units of its row's scale.
    scales : (rows,) float32
        A row of scale 0 comes back as zeros, whatever its codes are.
    step : Step
        The quantizer of columns; it may go on from where the last one ended.
    """
    targets = np.ascontiguousarray(aim.target.T)
    columns, rows = targets.shape
    codes = np.empty((columns, rows), np.uint8)
    errors = np.zeros((columns, rows), np.float32)
    per_unit = np.divide(1, scales, out=np.zeros_like(scales), where=scales != 0)
    for begin in range(0, columns, _BLOCK):
        end = min(begin + _BLOCK, columns)
        wanted = targets[begin:end] + aim.factor[begin:end, :begin] @ errors[:begin]
        for j in range(begin, end):
            column = wanted[j - begin] + aim.factor[j, begin:j] @ errors[begin:j]
            codes[j] = step(column * per_unit)
            errors[j] = targets[j] - levels[codes[j]] * scales
    return np.ascontiguousarray(codes.T)


def fit_scales(
    aim: Objective, values: np.ndarray, scales: np.ndarray, *, whole: bool = False
) -> np.ndarray:
    """Return the scale of every row that makes its error least, (rows,) float32.

    Parameters
    ----------
    aim : Objective
    values : (rows, columns) float32
        In units of the scales.
    scales : (rows,) float32
        What stays where it is 0, or all of a row's values are.
    whole : bool
        All rows have one scale.
    """
    weighted = values @ aim.metric
    power = np.einsum("rc,rc->r", weighted, values)
    product = np.einsum("rc,rc->r", weighted, aim.target)
    if whole:
        power, product = np.full_like(power, power.sum()), np.full_like(power, product.sum())
    fitted = np.divide(product, power, out=scales.copy(), where=(power > 0) & (scales != 0))
    return fitted.astype(np.float32)


def corrected_bias(
    bias: np.ndarray, weights: np.ndarray, values: np.ndarray, moments: Moments
) -> np.ndarray:
    """Return a bias that takes up the mean of the outputs' error, in the bias's dtype.

    It is ``b + W E[z] - V E[x]``; without means the bias as it is.

    Parameters
    ----------
    bias : (rows,) float array
    weights, values : (rows, columns) float32
        Of the original matrix and of the compressed one.
    moments : Moments
    """
    if moments.mean is None:
        return bias
    mean = moments.mean.astype(np.float64)
    before = mean if moments.original_mean is None else moments.original_mean.astype(np.float64)
    moved = weights.astype(np.float64) @ before - values.astype(np.float64) @ mean
    return (bias.astype(np.float64) + moved).astype(bias.dtype)
