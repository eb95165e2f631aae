# SPDX-License-Identifier: Apache-2.0
"""Quantizers: kept weights to q-bit codes and scales, and back.

A code is what the value plane stores; its meaning is the quantizer's:

=========  ========================================================================
binary     bit ``b`` is the sign of the ``b``-th term: ``sum_b scale[b] * (2 * bit_b - 1)``
ternary    bit 0 is the sign: ``scale[0] * (2 * bit - 1)``; also prunes small weights
uniform    bit ``q - 1`` is the sign, the rest ``m``: ``+-(m + 1) * scale[0]``
=========  ========================================================================
"""

import math
from dataclasses import dataclass

import numpy as np
from xorloom.sw.base.errors import ConfigError, check_range

from .codes import PLANES_MAX
from .prune import check_weights

__all__ = ["METHODS", "SCALES", "Quantized", "Quantizer", "dequantize", "quantize"]

METHODS = ("binary", "alternating", "ternary", "uniform")
SCALES = ("tensor", "row", "group")
SCALE_DTYPES = ("float16", "float32")
_CLIP_STEPS = 40
_ROUNDS = 15


@dataclass(frozen=True)
class Quantizer:
    """Quantizer: the method and its parameters.

    Parameters
    ----------
    method : str
        ``binary``: binary coding, greedy (Guo et al., CVPR 2017, "Network sketching");
        ``alternating``: binary coding, refined (Xu et al., ICLR 2018, "Alternating multi-bit
        quantization"); ``ternary`` (Li and Liu, 2016, "Ternary weight networks");
        ``uniform``: symmetric levels without zero, scale by mean squared error.
    planes : int, 1 to 8
        Bits a kept weight; 1 for ternary.
    scale : str
        ``tensor``, ``row`` (first axis) or ``group`` (runs of ``group`` weights, row-major).
    group : int
        Weights per group.
    scale_dtype : str
        ``float16`` or ``float32``.

    Raises
    ------
    ConfigError
        If a parameter is out of range.
    """

    method: str = "binary"
    planes: int = 1
    scale: str = "row"
    group: int = 128
    scale_dtype: str = "float16"

    def __post_init__(self) -> None:
        for name, allowed in (
            ("method", METHODS),
            ("scale", SCALES),
            ("scale_dtype", SCALE_DTYPES),
        ):
            if getattr(self, name) not in allowed:
                raise ConfigError(
                    f"{name} must be one of {', '.join(allowed)}, not {getattr(self, name)!r}"
                )
        check_range("planes", self.planes, 1, PLANES_MAX)
        check_range("group", self.group, 1, 1 << 30)
        if self.method == "ternary" and self.planes != 1:
            raise ConfigError(f"ternary has 1 plane, not {self.planes} (use binary or uniform)")

    @property
    def terms(self) -> int:
        """Scales per group."""
        return self.planes if self.method in ("binary", "alternating") else 1

    def scale_shape(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Return the shape of a tensor's scales: groups, terms."""
        return _groups(shape, self), self.terms

    def scale_bits(self, shape: tuple[int, ...]) -> int:
        """Return the bits of a tensor's scales."""
        return math.prod(self.scale_shape(shape)) * (16 if self.scale_dtype == "float16" else 32)


@dataclass(frozen=True)
class Quantized:
    """Quantized weights: mask, codes and scales.

    Parameters
    ----------
    mask : bool array
        Kept weights; the ternary quantizer clears more than it was given.
    codes : uint8 array of the same shape
        0 where pruned.
    scales : (groups, terms) float16 or float32
    """

    mask: np.ndarray
    codes: np.ndarray
    scales: np.ndarray


def _groups(shape: tuple[int, ...], quantizer: Quantizer) -> int:
    """Return how many groups a tensor has."""
    size = math.prod(shape)
    if quantizer.scale == "tensor" or (quantizer.scale == "row" and len(shape) < 2):
        return 1
    return -(-size // _span(shape, quantizer))


def _span(shape: tuple[int, ...], quantizer: Quantizer) -> int:
    """Return the weights of a group, where there are several."""
    rows = math.prod(shape) // max(1, shape[0]) if shape else 1
    return max(1, rows if quantizer.scale == "row" else quantizer.group)


def _group_of(shape: tuple[int, ...], quantizer: Quantizer) -> tuple[np.ndarray, int]:
    """Return each weight's group, flat, and how many groups there are."""
    groups, size = _groups(shape, quantizer), math.prod(shape)
    if groups == 1:
        return np.zeros(size, np.intp), 1
    return np.arange(size) // _span(shape, quantizer), groups


def _mean(values: np.ndarray, group: np.ndarray, groups: int) -> np.ndarray:
    """Mean of ``values`` for every group; 0 for empty groups."""
    count = np.bincount(group, minlength=groups)
    return np.bincount(group, values, minlength=groups) / np.maximum(count, 1)


def _greedy(
    values: np.ndarray, group: np.ndarray, groups: int, terms: int
) -> tuple[np.ndarray, np.ndarray]:
    """Binary coding one term after the other: sign and mean magnitude of what is left."""
    codes = np.zeros(values.size, np.uint8)
    scales = np.zeros((groups, terms))
    rest = values.copy()
    for b in range(terms):
        scales[:, b] = _mean(np.abs(rest), group, groups)
        positive = rest >= 0
        codes |= positive.astype(np.uint8) << np.uint8(b)
        rest -= np.where(positive, 1.0, -1.0) * scales[group, b]
    return codes, scales


def _signs(codes: np.ndarray, terms: int) -> np.ndarray:
    """Codes to (n, terms) of +-1."""
    return ((codes[:, None] >> np.arange(terms, dtype=np.uint8)) & 1).astype(np.float64) * 2 - 1


def _alternate(
    values: np.ndarray, group: np.ndarray, groups: int, terms: int
) -> tuple[np.ndarray, np.ndarray]:
    """Refine greedy binary coding: least-squares scales, then nearest codes, in turn."""
    codes, scales = _greedy(values, group, groups, terms)
    choices = _signs(np.arange(1 << terms, dtype=np.uint8), terms)
    for _ in range(_ROUNDS):
        signs = _signs(codes, terms)
        normal = np.zeros((groups, terms, terms))
        right = np.zeros((groups, terms))
        for i in range(terms):
            right[:, i] = np.bincount(group, signs[:, i] * values, minlength=groups)
            for j in range(i + 1):
                dot = np.bincount(group, signs[:, i] * signs[:, j], minlength=groups)
                normal[:, i, j] = normal[:, j, i] = dot
        # Terms can coincide in a small group; the ridge then picks the smallest scales.
        normal += np.eye(terms) * 1e-9
        scales = np.linalg.solve(normal, right[:, :, None])[:, :, 0]
        levels = scales @ choices.T
        best = np.full(values.size, np.inf)
        chosen = np.zeros_like(codes)
        for code in range(1 << terms):
            error = np.abs(values - levels[group, code])
            nearer = error < best
            best[nearer] = error[nearer]
            chosen[nearer] = code
        if (chosen == codes).all():
            break
        codes = chosen
    return codes, scales


def _uniform(
    values: np.ndarray, group: np.ndarray, groups: int, planes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Levels +-1 to +-2**(planes - 1) times a scale: the best of 40 clip steps per group."""
    half = 1 << (planes - 1)
    largest = np.zeros(groups)
    np.maximum.at(largest, group, np.abs(values))
    best_error = np.full(groups, np.inf)
    best = np.zeros(groups)
    for step in range(1, _CLIP_STEPS + 1):
        scale = largest / half * (step / _CLIP_STEPS)
        level = _levels(np.abs(values), scale[group], half)
        error = (np.abs(values) - level * scale[group]) ** 2
        total = np.bincount(group, error, minlength=groups)
        better = total < best_error
        best_error[better], best[better] = total[better], scale[better]
    level = _levels(np.abs(values), best[group], half)
    codes = (level - 1).astype(np.uint8)
    if planes == 1:
        codes[:] = 0
    return codes | ((values >= 0).astype(np.uint8) << np.uint8(planes - 1)), best[:, None]


def _levels(magnitude: np.ndarray, scale: np.ndarray, half: int) -> np.ndarray:
    """Nearest level 1 to ``half``."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.clip(np.nan_to_num(np.rint(magnitude / scale), nan=1.0), 1, half)


def quantize(weights: np.ndarray, mask: np.ndarray, quantizer: Quantizer) -> Quantized:
    """Quantize kept weights.

    Parameters
    ----------
    weights : float array of any shape
    mask : bool array of the same shape
    quantizer : Quantizer

    Raises
    ------
    ConfigError
        If shapes differ, a weight is not finite, or a scale does not fit ``scale_dtype``.
    """
    if mask.shape != weights.shape or mask.dtype != np.bool_:
        raise ConfigError(
            f"mask must be bool of shape {weights.shape}, not {mask.dtype} of {mask.shape}"
        )
    check_weights(weights)
    group_of, groups = _group_of(weights.shape, quantizer)
    flat = weights.reshape(-1).astype(np.float64)
    keep = mask.reshape(-1)
    if quantizer.method == "ternary":
        # Ref: Li and Liu, 2016: threshold 0.7 * E|w|, here over the weights that are kept
        mean = _mean(np.abs(flat[keep]), group_of[keep], groups)
        keep = keep & (np.abs(flat) > 0.7 * mean[group_of])
    values, group = flat[keep], group_of[keep]
    if quantizer.method == "uniform":
        kept, scales = _uniform(values, group, groups, quantizer.planes)
    elif quantizer.method == "alternating":
        kept, scales = _alternate(values, group, groups, quantizer.terms)
    else:
        kept, scales = _greedy(values, group, groups, quantizer.terms)
    with np.errstate(over="ignore"):
        stored = scales.astype(quantizer.scale_dtype)
    if not np.isfinite(stored).all():
        raise ConfigError(
            f"scale {np.abs(scales).max():.3g} does not fit {quantizer.scale_dtype} "
            "(use scale_dtype float32)"
        )
    lost = (scales != 0) & (stored == 0)
    if lost.any():
        raise ConfigError(
            f"scale {np.abs(scales[lost]).max():.3g} is zero in {quantizer.scale_dtype} "
            "(use scale_dtype float32)"
        )
    codes = np.zeros(weights.size, np.uint8)
    codes[keep] = kept
    return Quantized(keep.reshape(mask.shape).copy(), codes.reshape(mask.shape), stored)


def dequantize(quantized: Quantized, quantizer: Quantizer) -> np.ndarray:
    """Return float32 weights of ``mask``'s shape, 0 where pruned.

    Raises
    ------
    ConfigError
        If the scales do not fit the shape.
    """
    shape = quantized.mask.shape
    group_of, groups = _group_of(shape, quantizer)
    if quantized.scales.shape != (groups, quantizer.terms):
        raise ConfigError(
            f"scales must be {(groups, quantizer.terms)} for {quantizer.scale} scales of shape "
            f"{shape}, not {quantized.scales.shape}"
        )
    keep = quantized.mask.reshape(-1)
    codes = quantized.codes.reshape(-1)[keep]
    scales = quantized.scales.astype(np.float32)[group_of[keep]]
    if quantizer.method == "uniform":
        top = np.uint8(quantizer.planes - 1)
        level = (codes & np.uint8((1 << (quantizer.planes - 1)) - 1)).astype(np.float32) + 1
        values = np.where(codes >> top, level, -level) * scales[:, 0]
    else:
        values = np.zeros(codes.size, np.float32)
        for b in range(quantizer.terms):  # one term at a time: the order is part of the format
            positive = (codes >> np.uint8(b)) & np.uint8(1)
            values += np.where(positive, scales[:, b], -scales[:, b])
    out = np.zeros(keep.size, np.float32)
    out[keep] = values
    return out.reshape(shape)
