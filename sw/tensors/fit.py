# SPDX-License-Identifier: Apache-2.0
"""Fits: codes and scales of least squared error for values in groups, one function per method.

All take the kept values as (n,) float64, each value's group as (n,) integers below ``groups``, and
the terms or planes. All return (n,) uint8 codes and (groups, terms) float64 scales; scales of a
group without values are 0. Groups do not touch each other.

The sign of a value is its sign bit, also of a zero: :func:`balanced` makes zeros cancel out.
"""

import numpy as np

from .fit_kernels import choose_codes, clip_errors, correlate, take_off

__all__ = ["alternating", "balanced", "greedy", "mean", "nearest", "uniform"]

_CLIP_STEPS = 40
_ROUNDS = 15
_RIDGE = 1e-9
"""Relative to a term's own square: makes terms that coincide share their scale evenly."""


def balanced(values: np.ndarray) -> np.ndarray:
    """Return values whose zeros are +0 and -0 in turn.

    No code is a zero. So a zero becomes the smallest level, with a sign; equally many of both signs
    add nothing to a sum over many weights.
    """
    zeros = np.flatnonzero(values == 0)
    balanced = values.copy()
    balanced[zeros[::2]], balanced[zeros[1::2]] = 0.0, -0.0
    return balanced


def mean(values: np.ndarray, group: np.ndarray, groups: int) -> np.ndarray:
    """Return the mean of every group's values, 0 for a group without any."""
    count = np.bincount(group, minlength=groups)
    return np.bincount(group, values, minlength=groups) / np.maximum(count, 1)


def greedy(
    values: np.ndarray, group: np.ndarray, groups: int, terms: int
) -> tuple[np.ndarray, np.ndarray]:
    """Binary coding one term after the other: sign and mean magnitude of what is left."""
    codes = np.zeros(values.size, np.uint8)
    scales = np.zeros((groups, terms))
    count = np.maximum(np.bincount(group, minlength=groups), 1)
    rest = values.copy()
    scales[:, 0] = mean(np.abs(rest), group, groups)
    for b in range(terms):
        left = take_off(rest, group, scales, codes, b)
        if b + 1 < terms:
            scales[:, b + 1] = left / count
    return codes, scales


def alternating(
    values: np.ndarray, group: np.ndarray, groups: int, terms: int
) -> tuple[np.ndarray, np.ndarray]:
    """Refine greedy binary coding: least-squares scales, then nearest codes, in turn.

    A group whose codes stay as they are is done.
    """
    codes, scales = greedy(values, group, groups, terms)
    count = np.maximum(np.bincount(group, minlength=groups), 1)
    moving = np.ones(groups, np.bool_)
    for _ in range(_ROUNDS):
        right = np.zeros((groups, terms))
        normal = np.zeros((groups, terms, terms))
        correlate(values, group, codes, moving, right, normal)
        normal = normal[moving] / count[moving, None, None]
        normal += normal.transpose(0, 2, 1)
        normal[:, range(terms), range(terms)] = 1 + _RIDGE
        right = right[moving] / count[moving, None]
        scales[moving] = np.linalg.solve(normal, right[:, :, None])[:, :, 0]
        moving = nearest(values, group, scales, codes, moving)
        if not moving.any():
            break
    return codes, scales


def _signs(codes: np.ndarray, terms: int) -> np.ndarray:
    """Return (n, terms) of +-1 for codes."""
    return ((codes[:, None] >> np.arange(terms, dtype=np.uint8)) & 1).astype(np.float64) * 2 - 1


def nearest(
    values: np.ndarray,
    group: np.ndarray,
    scales: np.ndarray,
    codes: np.ndarray,
    moving: np.ndarray,
) -> np.ndarray:
    """Choose the codes of the nearest levels in some groups; return those where codes changed.

    A code and its complement give opposite levels, so magnitudes are compared, for one code of
    every such pair.

    Parameters
    ----------
    values, group
    scales : (groups, terms) float64
    codes : (n,) uint8, changed
    moving : (groups,) bool
        Groups whose codes are chosen.

    Returns
    -------
    (groups,) bool
    """
    terms = scales.shape[1]
    pairs = 1 << (terms - 1)
    levels = scales @ _signs(np.arange(pairs, 2 * pairs, dtype=np.uint8), terms).T
    order = np.argsort(np.abs(levels), axis=1, kind="stable")
    levels = np.take_along_axis(levels, order, axis=1)
    sizes = np.abs(levels)
    between = (sizes[:, 1:] + sizes[:, :-1]) / 2
    code_at = (order + pairs).astype(np.uint8)
    return choose_codes(values, group, between, levels < 0, code_at, codes, moving)


def uniform(
    values: np.ndarray, group: np.ndarray, groups: int, planes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Levels +-1 to +-2**(planes - 1) times a scale: the best of 40 clip steps per group."""
    half = 1 << (planes - 1)
    magnitude = np.abs(values)
    largest = np.zeros(groups)
    np.maximum.at(largest, group, magnitude)
    steps = np.arange(1, _CLIP_STEPS + 1) / _CLIP_STEPS
    scales = (largest / half)[:, None] * steps
    errors = clip_errors(magnitude, group, scales, half)
    best = scales[np.arange(groups), errors.argmin(axis=1)]
    codes = (_levels(magnitude, best[group], half) - 1).astype(np.uint8)
    positive = (~np.signbit(values)).astype(np.uint8)
    return codes | (positive << np.uint8(planes - 1)), best[:, None]


def _levels(magnitude: np.ndarray, scale: np.ndarray, half: int) -> np.ndarray:
    """Return the nearest levels, 1 to ``half``; 1 where the scale is 0."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.clip(np.nan_to_num(np.rint(magnitude / scale), nan=1.0), 1, half)
