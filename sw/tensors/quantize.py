# SPDX-License-Identifier: Apache-2.0
"""Quantizers: kept weights to q-bit codes and scales, and back.

A code is what the value plane stores; its meaning is the quantizer's:

=========  ========================================================================
binary     bit ``b`` is the sign of the ``b``-th term: ``sum_b scale[b] * (2 * bit_b - 1)``
ternary    bit 0 is the sign: ``scale[0] * (2 * bit - 1)``; also prunes small weights
uniform    bit ``q - 1`` is the sign, the rest ``m``: ``+-(m + 1) * scale[0]``
trellis    an entry of the stream's table of levels: ``levels[code] * scale[0]``
=========  ========================================================================

No code is a zero. What scales cannot hold is told apart by row of scales, which serves one tensor,
one row or one group:

* it is *lossy* if rounding its scales moves its levels by more than 1 %, or by more than a quarter
  of the finest step that its planes resolve, whichever is less;
* it is *dead* if its largest kept weight is at most 2**-24 of the tensor's: beside that, float32
  arithmetic itself does not see it.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from xorloom.sw.base.errors import ConfigError, check_range

from . import fit
from .codes import PLANES_MAX
from .prune import check_weights
from .rotation import unrotate
from .safetensors_file import DIMENSIONS_MAX

__all__ = [
    "METHODS",
    "SCALES",
    "SCALE_DTYPES",
    "Quantized",
    "Quantizer",
    "check_scales",
    "dequantize",
    "quantize",
    "stored_quantizer",
    "stored_scales",
]

METHODS = ("binary", "alternating", "ternary", "uniform")
"""Methods of :func:`quantize`; codes of method ``trellis`` are the direct codec's."""
SCALES = ("tensor", "row", "group")
SCALE_DTYPES = ("float16", "float32")
_LOSSY = 0.01
_DEAD = 2.0**-24
_LARGEST = np.finfo(np.float32).max


@dataclass(frozen=True)
class Quantizer:
    """Quantizer: the method and its parameters.

    Parameters
    ----------
    method : str
        ``binary``: binary coding, greedy (Guo et al., CVPR 2017, "Network sketching");
        ``alternating``: binary coding, refined (Xu et al., ICLR 2018, "Alternating multi-bit
        quantization"); ``ternary`` (Li and Liu, 2016, "Ternary weight networks");
        ``uniform``: symmetric levels without zero, scale by mean squared error; ``trellis``: codes
        are the direct codec's, which chooses them (Marcellin and Fischer, IEEE Trans. Commun. 38,
        1990).
    planes : int, 1 to 8
        Bits a kept weight; 1 for ternary.
    scale : str
        ``tensor``, ``row`` (one for every index along ``axis``) or ``group`` (runs of ``group``
        weights, row-major).
    group : int
        Weights per group.
    scale_dtype : str
        ``float32``, or ``float16``: then float32 as well for a tensor that float16 cannot hold.
    axis : int
        Dimension that scales of ``row`` run along; negative from the last. Tensors of fewer than
        two dimensions have one scale.

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
    axis: int = 0

    def __post_init__(self) -> None:
        for name, allowed in (
            ("method", (*METHODS, "trellis")),
            ("scale", SCALES),
            ("scale_dtype", SCALE_DTYPES),
        ):
            if getattr(self, name) not in allowed:
                raise ConfigError(
                    f"{name} must be one of {', '.join(allowed)}, not {getattr(self, name)!r}"
                )
        check_range("planes", self.planes, 1, PLANES_MAX)
        check_range("group", self.group, 1, 1 << 30)
        check_range("axis", self.axis, -DIMENSIONS_MAX, DIMENSIONS_MAX - 1)
        if self.axis != 0 and self.scale != "row":
            raise ConfigError(f"axis goes with scale row, not {self.scale} (leave axis at 0)")
        if self.method == "ternary" and self.planes != 1:
            raise ConfigError(f"ternary has 1 plane, not {self.planes} (use binary or uniform)")

    @property
    def terms(self) -> int:
        """Scales per group."""
        return self.planes if self.method in ("binary", "alternating") else 1

    def axis_of(self, shape: tuple[int, ...]) -> int:
        """Return ``axis`` counted from the first dimension of a tensor.

        Raises
        ------
        ConfigError
            If the tensor has no such dimension.
        """
        if len(shape) < 2:
            return 0
        if not -len(shape) <= self.axis < len(shape):
            raise ConfigError(
                f"axis must be between {-len(shape)} and {len(shape) - 1} for shape {shape}, not "
                f"{self.axis}"
            )
        return self.axis % len(shape)

    def scale_shape(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Return rows and terms of a tensor's scales; a tensor without weights may have no row.

        Raises
        ------
        ConfigError
            If the tensor has no dimension ``axis``.
        """
        size = math.prod(shape)
        if self.scale == "tensor" or (self.scale == "row" and len(shape) < 2):
            rows = 1
        elif self.scale == "group":
            rows = -(-size // self.group)
        else:
            axis = self.axis_of(shape)
            rows = shape[axis] if size else 0
        return rows, self.terms

    def scale_bits(self, shape: tuple[int, ...]) -> int:
        """Return the bits of a tensor's scales, if they are of ``scale_dtype``."""
        return math.prod(self.scale_shape(shape)) * (16 if self.scale_dtype == "float16" else 32)

    def rows_of(self, positions: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Return the row of scales that serves each weight, by row-major positions of weights."""
        if self.scale_shape(shape)[0] == 1:
            return np.zeros(positions.shape, np.intp)
        if self.scale == "group":
            return positions // self.group
        axis = self.axis_of(shape)
        rows = positions // math.prod(shape[axis + 1 :])
        return rows % shape[axis] if axis else rows


@dataclass(frozen=True)
class Quantized:
    """Quantized weights: mask, codes and scales.

    Parameters
    ----------
    mask : bool array
        Kept weights; maybe fewer than were given, see :func:`quantize`.
    codes : uint8 array of the same shape
        0 where pruned.
    scales : (rows, terms) float16 or float32
        Float32 also where float16 was asked for and cannot hold them.
    notes : tuple of str
        What was dropped or changed, a line each, without the tensor's name.
    levels : (2**planes,) int8, optional
        What codes mean, with the method ``trellis``.
    rotation : int, optional
        Seed of the rotation that the weights had before they were quantized.
    """

    mask: np.ndarray
    codes: np.ndarray
    scales: np.ndarray
    notes: tuple[str, ...] = ()
    levels: np.ndarray | None = None
    rotation: int | None = None


def quantize(
    weights: np.ndarray,
    mask: np.ndarray,
    quantizer: Quantizer,
    *,
    fixed_mask: bool = False,
    name: str = "weights",
) -> Quantized:
    """Quantize kept weights.

    Exact zeros are taken out of the mask, as no code is a zero; so are dead rows of scales that
    ``scale_dtype`` cannot hold, rows that float32 cannot hold, and what the ternary quantizer
    prunes. If rows that are not dead are lossy in float16, all scales of the tensor are float32.

    Parameters
    ----------
    weights : float array of any shape
    mask : bool array of the same shape
    quantizer : Quantizer
    fixed_mask : bool
        The mask cannot change, because a stream holds it already. Then zeros that it keeps count
        when scales are fitted, and come back as the smallest level, of either sign in turn; weights
        of dead rows come back as 0.
    name : str
        Of the tensor, for messages.

    Raises
    ------
    ConfigError
        If shapes differ, a weight is not finite in float32, the tensor has no dimension ``axis``,
        or the ternary quantizer meets a fixed mask.
    """
    if mask.shape != weights.shape or mask.dtype != np.bool_:
        raise ConfigError(
            f"{name}: mask must be bool of shape {weights.shape}, not {mask.dtype} of {mask.shape}"
        )
    if quantizer.method == "trellis":
        raise ConfigError(f"{name}: the direct value codec chooses the codes of method trellis")
    if fixed_mask and quantizer.method == "ternary":
        raise ConfigError(f"{name}: the ternary quantizer prunes, so the mask cannot be fixed")
    try:
        groups = quantizer.scale_shape(weights.shape)[0]
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from error
    flat = check_weights(weights, name).reshape(-1)
    at = np.flatnonzero(mask)
    values = flat[at].astype(np.float64)
    zeros = values.size - int(np.count_nonzero(values))
    notes = []
    if zeros and fixed_mask:
        values = fit.balanced(values)
        notes.append(f"{zeros:,} zeros are kept by the index, and come back as the smallest level")
    elif zeros:
        at, values = at[values != 0], values[values != 0]
        notes.append(f"{zeros} zeros of the mask are pruned: no code is a zero")
    group = quantizer.rows_of(at, weights.shape)
    if quantizer.method == "ternary":
        # Ref: Li and Liu, 2016: threshold 0.7 * E|w|, here over the weights that are kept
        large = np.abs(values) > 0.7 * fit.mean(np.abs(values), group, groups)[group]
        at, values, group = at[large], values[large], group[large]
    method = {"uniform": fit.uniform, "alternating": fit.alternating}.get(
        quantizer.method, fit.greedy
    )
    kept, scales = method(values, group, groups, quantizer.planes)
    peaks = np.zeros(groups)
    np.maximum.at(peaks, group, np.abs(values))
    stored, lost, more = stored_scales(scales, peaks, quantizer)
    notes += more
    codes = np.zeros(weights.size, np.uint8)
    keep = np.zeros(weights.size, np.bool_)
    if fixed_mask:
        kept[(stored == 0).all(axis=1)[group]] = (1 << quantizer.planes) - 1  # +0, not -0
    elif lost.any():
        at, kept = at[~lost[group]], kept[~lost[group]]
    keep[at], codes[at] = True, kept
    return Quantized(
        keep.reshape(mask.shape), codes.reshape(mask.shape), stored, notes=tuple(notes)
    )


def stored_scales(
    scales: np.ndarray, peaks: np.ndarray, quantizer: Quantizer
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Round scales to the dtype that can hold them.

    Parameters
    ----------
    scales : (rows, terms) float64
    peaks : (rows,) float64
        Largest kept weight of each row.

    Returns
    -------
    (scales, lost, notes)
        Float16 or float32 scales, the rows whose scales became 0 though they have weights, as
        (rows,) bool, and what to tell of them.
    """
    notes = []
    dead = peaks <= _DEAD * peaks.max(initial=0)
    dtype = np.dtype(quantizer.scale_dtype)
    cost = _cost(scales, dtype)
    limit = min(_LOSSY, 2.0 ** -(quantizer.planes + 2))
    lossy = (cost > limit) & ~dead
    if dtype != np.float32 and lossy.any():
        worst = cost[lossy].max()
        much = f"lose up to {worst:.1%}" if np.isfinite(worst) else "be beyond it"
        notes.append(f"scales are float32: in float16 {_rows(lossy)} would {much}")
        dtype = np.dtype(np.float32)
        cost = _cost(scales, dtype)
    lost = cost > limit
    if lost.any():
        notes.append(
            f"{_rows(lost)} dead: weights up to {peaks[lost].max():.3g} beside {peaks.max():.3g} "
            "come back as 0"
        )
    return np.where(lost[:, None], 0, scales).astype(dtype), lost, notes


def _cost(scales: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return by how much of themselves the scales of each row change in a dtype."""
    with np.errstate(over="ignore"):
        change = np.abs(scales.astype(dtype) - scales).sum(axis=1)
    total = np.abs(scales).sum(axis=1)
    return np.divide(change, total, out=np.zeros_like(total), where=total > 0)


def _rows(chosen: np.ndarray) -> str:
    """Return how many rows of scales are chosen, in words."""
    count = int(np.count_nonzero(chosen))
    return f"{count} of {chosen.size} scale rows"


def stored_quantizer(quantizer: Quantizer, quantized: Quantized) -> Quantizer:
    """Return the quantizer as a file says it: the scales' own dtype, no negative axis."""
    axis = quantizer.axis_of(quantized.mask.shape)
    return replace(quantizer, axis=axis, scale_dtype=quantized.scales.dtype.name)


def check_scales(
    scales: np.ndarray, shape: tuple[int, ...], quantizer: Quantizer, name: str = "weights"
) -> None:
    """Check that scales can serve a tensor.

    Raises
    ------
    ConfigError
        If they do not fit the tensor's shape or are not finite.
    """
    expected = quantizer.scale_shape(shape)
    if scales.shape != expected:
        raise ConfigError(
            f"{name}: scales must be {expected} for {quantizer.scale} scales of shape {shape}, "
            f"not {scales.shape}"
        )
    finite = np.isfinite(scales)
    if not finite.all():
        row = int(np.argmin(finite.all(axis=1)))
        raise ConfigError(f"{name}: scales of row {row} are {scales[row].tolist()}, must be finite")


def dequantize(quantized: Quantized, quantizer: Quantizer, *, name: str = "weights") -> np.ndarray:
    """Return float32 weights of ``mask``'s shape, 0 where pruned; a rotation is undone.

    What is beyond float32 becomes its largest number.

    Raises
    ------
    ConfigError
        If the scales do not fit the shape or are not finite.
    """
    check_scales(quantized.scales, quantized.mask.shape, quantizer, name)
    values = _values(quantized, quantizer, name)  # what it needed is freed before the rotation
    return values if quantized.rotation is None else unrotate(values, quantized.rotation, name=name)


def _values(quantized: Quantized, quantizer: Quantizer, name: str) -> np.ndarray:
    """Return what codes and scales mean."""
    shape = quantized.mask.shape
    at = np.flatnonzero(quantized.mask)
    codes = quantized.codes.reshape(-1)[at]
    scales = quantized.scales.astype(np.float32)[quantizer.rows_of(at, shape)]
    with np.errstate(over="ignore"):
        if quantizer.method == "uniform":
            top = np.uint8(quantizer.planes - 1)
            level = (codes & np.uint8((1 << (quantizer.planes - 1)) - 1)).astype(np.float32) + 1
            values = np.where(codes >> top, level, -level) * scales[:, 0]
        elif quantizer.method == "trellis":
            if quantized.levels is None or quantized.levels.shape != (1 << quantizer.planes,):
                raise ConfigError(
                    f"{name}: {1 << quantizer.planes} levels must say what codes mean"
                )
            values = quantized.levels.astype(np.float32)[codes] * scales[:, 0]
        else:
            values = np.zeros(codes.size, np.float32)
            for b in range(quantizer.terms):  # one term at a time: the order is part of the format
                positive = (codes >> np.uint8(b)) & np.uint8(1)
                values += np.where(positive, scales[:, b], -scales[:, b])
    out = np.zeros(quantized.mask.size, np.float32)
    out[at] = np.clip(values, -_LARGEST, _LARGEST, out=values)
    return out.reshape(shape)
