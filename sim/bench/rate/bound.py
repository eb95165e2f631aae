# SPDX-License-Identifier: Apache-2.0
"""Rate-distortion function: the fewest bits per weight for a squared error, of weights alone.

Gaussian weights have a closed form, ``R(D) = -log2(D) / 2``. All others are done by the algorithm
of Blahut and Arimoto: for a slope ``s`` it finds the reproduction density ``q`` that makes
``R + s D`` least, by turns of ``Q(y | x) = q(y) exp(-s (x - y)^2) / A(x)`` and ``q = mean of Q``.
What it finds can be reached, so it is never below the function; it stops where the function cannot
be lower by more than ``_TOLERANCE``.

Source: Blahut, IEEE Trans. Inf. Theory 18, 1972; Cover and Thomas, Elements of Information Theory,
chapter 10.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.tensors.loss import gaussian_error

__all__ = ["Curve", "gaussian_curve", "measured_curve"]

_SLOPES = np.geomspace(0.03, 160.0, 32)
"""From about 0.01 to 4.2 bits per weight: the slope is ``1 / (2 D)`` of a Gaussian."""
_TOLERANCE = 1e-3
"""Of the rate, in nats."""
_TURNS = 600
_STRETCH = 1.8
"""A turn's change, to this power: it saves half of the turns, and below 2 they still converge."""
_SOURCE_STEP, _CODE_STEP = 0.1, 0.8
"""Steps of weights and of their reproductions, in standard deviations of what is lost."""
_WIDEST = 0.05, 0.2
"""The same in deviations of the weights, where much is lost."""
_FINEST = 1e-3
_TAIL = 6.0
"""Where the tails begin, in deviations of the weights."""


@dataclass(frozen=True)
class Curve:
    """Rate-distortion function of a source.

    Parameters
    ----------
    rates : (n,) float64
        Bits per weight, ascending from 0.
    errors : (n,) float64
        Least squared error at each rate, in units of the variance: descending from 1.
    """

    rates: np.ndarray
    errors: np.ndarray

    @cached_property
    def _logs(self) -> np.ndarray:
        return np.log2(self.errors)

    def rate(self, error: float) -> float:
        """Return the fewest bits per weight that can leave an error, or less."""
        if error >= 1:
            return 0.0
        log = np.log2(max(error, 1e-300))
        beyond = max(0.0, self._logs[-1] - log) / 2  # Shannon's lower bound has this slope
        return float(np.interp(-log, -self._logs, self.rates) + beyond)

    def error(self, rate: float) -> float:
        """Return the least error at a rate."""
        beyond = max(0.0, rate - self.rates[-1])
        return float(2.0 ** (np.interp(rate, self.rates, self._logs) - 2 * beyond))


def gaussian_curve() -> Curve:
    """Return the function of independent Gaussian weights."""
    rates = np.array([0.0, 1.0])  # a straight line in the logarithm, which two points tell
    return Curve(rates, np.array([gaussian_error(rate) for rate in rates.tolist()]))


def measured_curve(weights: np.ndarray) -> Curve:
    """Return the function of independent weights that have the density of a sample.

    Parameters
    ----------
    weights : float array of any shape
        Mean 0 and variance 1 are given to them.

    Raises
    ------
    ConfigError
        If they are not finite, or all the same.
    """
    flat = np.sort(np.asarray(weights, np.float64).reshape(-1))
    deviation = flat.std() if flat.size else 0.0
    if not np.isfinite(deviation) or not deviation:
        raise ConfigError("a rate-distortion function needs finite weights that differ")
    flat = (flat - flat.mean()) / deviation
    fine = _cells(np.full(flat.size, 1 / flat.size), flat, _FINEST)
    rates, errors = [0.0], [1.0]
    for rate, error in (_point(*fine, slope) for slope in _SLOPES):
        # Slopes at which nothing is worth a bit give the first point again.
        if rate > rates[-1] and error < errors[-1]:
            rates.append(rate)
            errors.append(error)
    return Curve(np.array(rates), np.array(errors))


def _cells(share: np.ndarray, place: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Join sorted places to cells: return share and mean of each that is not empty.

    Cells of the tails, which hold hardly anything, are as wide in proportion to their place.
    """
    size = np.abs(place)
    far = size > _TAIL
    size[far] = _TAIL * (1 + np.log(size[far] / _TAIL))
    cell = np.floor(np.copysign(size, place) / step)
    starts = np.flatnonzero(np.append(True, np.diff(cell) > 0))
    joined = np.add.reduceat(share, starts)
    return joined, np.add.reduceat(share * place, starts) / joined


def _point(fine: np.ndarray, places: np.ndarray, slope: float) -> tuple[float, float]:
    """Return (rate, error) at the slope ``-dR/dD`` of ``slope`` nats."""
    lost = min(1.0, np.sqrt(0.5 / slope))
    share, place = _cells(fine, places, min(_WIDEST[0], _SOURCE_STEP * lost))
    q, code = _cells(fine, places, min(_WIDEST[1], _CODE_STEP * lost))
    within = 1.0 - float(share @ place**2)  # what the cells themselves lose
    distance = np.square(place[:, None] - code)
    kernel = np.exp(-slope * distance).astype(np.float32)  # half the memory to go through
    q = q.astype(np.float32)
    for _ in range(_TURNS):
        better = (share / (kernel @ q)).astype(np.float32) @ kernel
        if np.log(better.max()) < _TOLERANCE:
            break
        q *= better**_STRETCH
        q /= q.sum()
    total = kernel @ q.astype(np.float64)
    error = float((share / total) @ (kernel * distance) @ q)
    nats = -slope * error - float(share @ np.log(total))
    return max(0.0, nats / np.log(2)), error + within
