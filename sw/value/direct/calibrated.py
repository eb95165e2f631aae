# SPDX-License-Identifier: Apache-2.0
"""Direct codec with calibration: values chosen column by column, with error compensation.

Row scales begin as the rows' root mean squares, and are fitted to the outputs when all codes are
chosen. The search goes on from column to column, so that a tensor is one string of seeds.
"""

from collections.abc import Callable

import numpy as np
from xorloom.sw.base.errors import CapacityError, ConfigError
from xorloom.sw.spec.direct import DirectConfig
from xorloom.sw.tensors import rotation as turning
from xorloom.sw.tensors.moments import Moments
from xorloom.sw.tensors.orders import slice_count
from xorloom.sw.tensors.prune import check_weights
from xorloom.sw.tensors.quantize import Quantized, Quantizer, dequantize, stored_scales

from .codec import DirectChoice
from .compensate import Objective, compensate, fit_scales, objective
from .levels import gaussian_levels, per_unit_of, stored_levels
from .scalar import lloyd_max, nearest
from .search import ColumnSearch
from .stream import DirectStreams, SeedString, slices_per_stream

__all__ = ["DAMPING", "compensated", "compensated_scalar", "direct_plan", "weights_of"]

DAMPING = {True: 0.2, False: 0.05}
"""Share of the mean second moment that is added to all, by whether cross moments are known:
measured, see docs/decisions/direct-codec.md."""


def compensated(
    weights: np.ndarray,
    config: DirectConfig,
    moments: Moments,
    quantizer: Quantizer,
    *,
    rotation: int | None = None,
    damping: float | None = None,
    has_bias: bool = True,
    name: str = "weights",
) -> DirectChoice:
    """Return the values that the direct codec chooses for a matrix with known inputs.

    With ``rotation`` they are values of the rotated matrix, see
    :mod:`xorloom.sw.tensors.rotation`. Their order is ``column``. A row of zeros has scale 0.

    Parameters
    ----------
    weights : (rows, ..) float array
        All dimensions but the first are the columns.
    config : DirectConfig
    moments : Moments
        Of the matrix's inputs, as they are without rotation.
    quantizer : Quantizer
        Of method ``trellis``; scales of rows (``axis`` 0) or of the tensor.
    rotation : int, optional
        Seed of the rotation; ``None``: not rotated.
    damping : float, optional
        See :func:`xorloom.sw.value.direct.compensate.objective`; else that of :data:`DAMPING`.
    has_bias : bool
        The bias will be corrected by :func:`xorloom.sw.value.direct.compensate.corrected_bias`.
    name : str
        Of the tensor, for messages.

    Raises
    ------
    ConfigError
        If weights are not finite, moments are those of another shape or of no inputs at all, or
        the quantizer's scales are of other kinds.
    CapacityError
        If the tensor does not fit one stream.
    """
    _check(weights, quantizer, name)
    if slices_per_stream(weights.size, config) < slice_count(weights.size, config.lanes):
        raise CapacityError(
            f"{name}: {weights.size} weights need several streams, but compensation goes through "
            "one (leave it out of the calibration)"
        )
    aim, powers = _objective(weights, moments, quantizer, rotation, damping, has_bias, name)
    table, unit = stored_levels(gaussian_levels(config))
    units = table * np.float32(unit)
    search = ColumnSearch(config, weights.size, units, per_unit_of(config, 1.0))
    codes, scales = _chosen(aim, units, quantizer, search.step)
    stored, notes = _stored(scales * unit, aim, powers, quantizer)
    words = -(-slice_count(weights.size, config.lanes) * config.n_in // 64) + 2
    seeds = np.zeros(max(words, search.seeds.size), np.uint64)
    seeds[: search.seeds.size] = search.seeds
    turned = turning.note(weights.shape) if rotation is not None else None
    return DirectChoice(
        DirectStreams(
            "column",
            slices_per_stream(weights.size, config),
            table,
            (SeedString(seeds, weights.size * config.planes),) if weights.size else (),
        ),
        codes.reshape(weights.shape),
        stored,
        notes=(*((turned,) if turned else ()), *notes),
    )


def compensated_scalar(
    weights: np.ndarray,
    moments: Moments,
    quantizer: Quantizer,
    *,
    rotation: int | None = None,
    damping: float | None = None,
    has_bias: bool = True,
    name: str = "weights",
) -> Quantized:
    """Return what a scalar quantizer does in the place of the trellis, of ``planes`` bits.

    Parameters and errors are those of :func:`compensated`.
    """
    _check(weights, quantizer, name)
    aim, powers = _objective(weights, moments, quantizer, rotation, damping, has_bias, name)
    table, unit = stored_levels(lloyd_max(quantizer.planes))
    units = table * np.float32(unit)
    codes, scales = _chosen(aim, units, quantizer, lambda column: nearest(column, units))
    stored, notes = _stored(scales * unit, aim, powers, quantizer)
    mask = np.ones(weights.shape, np.bool_)
    return Quantized(mask, codes.reshape(weights.shape), stored, notes, table)


def weights_of(
    quantized: Quantized | DirectChoice, quantizer: Quantizer, rotation: int | None
) -> np.ndarray:
    """Return the float32 weights that chosen values come back as, in the tensor's shape."""
    if isinstance(quantized, DirectChoice):
        mask = np.ones(quantized.codes.shape, np.bool_)
        levels = quantized.streams.levels
        quantized = Quantized(mask, quantized.codes, quantized.scales, levels=levels)
    values = dequantize(quantized, quantizer)
    return values if rotation is None else turning.unrotate(values, rotation)


def direct_plan(
    config: DirectConfig,
    quantizer: Quantizer,
    *,
    rotation: int | None = 0,
    damping: float | None = None,
) -> Callable[[str, np.ndarray, Moments, bool], np.ndarray]:
    """Return the plan with which calibration goes through what the direct codec makes of a model.

    Parameters
    ----------
    config, quantizer, rotation, damping
        As for :func:`compensated`.

    Returns
    -------
    callable
        ``plan(name, weights, moments, has_bias)``: the weights that a matrix comes back as.
    """

    def plan(name: str, weights: np.ndarray, moments: Moments, has_bias: bool) -> np.ndarray:
        choice = compensated(
            weights,
            config,
            moments,
            quantizer,
            rotation=rotation,
            damping=damping,
            has_bias=has_bias,
            name=name,
        )
        return weights_of(choice, quantizer, rotation)

    return plan


def _check(weights: np.ndarray, quantizer: Quantizer, name: str) -> None:
    if weights.ndim < 2:
        raise ConfigError(
            f"{name}: calibration is of matrices, not of shape {weights.shape} (leave it out)"
        )
    if quantizer.scale == "group" or quantizer.axis_of(weights.shape) != 0:
        raise ConfigError(
            f"{name}: compensation goes with scale row of axis 0 or scale tensor, as it goes "
            "through all columns of a row"
        )


def _objective(
    weights: np.ndarray,
    moments: Moments,
    quantizer: Quantizer,
    rotation: int | None,
    damping: float | None,
    has_bias: bool,
    name: str,
) -> tuple[Objective, np.ndarray]:
    """Return the objective of a matrix, rotated if asked, and powers of two of its rows, (rows,).

    Rows are divided by them, so that weights of any magnitude can be reckoned with.
    """
    rows = check_weights(weights, name).reshape(len(weights), -1)
    if rotation is not None:
        rows = turning.rotate(rows, rotation, name=name)
        moments = _rotated(moments, rotation)
    if damping is None:
        damping = DAMPING[moments.cross is not None]
    peaks = np.abs(rows).max(axis=1, initial=0)
    if quantizer.scale == "tensor":
        peaks = np.full_like(peaks, peaks.max(initial=0))
    _, powers = np.frexp(peaks)
    rows = np.ldexp(rows, -powers[:, None])
    try:
        return objective(rows, moments, damping=damping, has_bias=has_bias), powers
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from error


def _rotated(moments: Moments, seed: int) -> Moments:
    """Return the moments of rotated inputs."""

    def turned(array: np.ndarray | None) -> np.ndarray | None:
        return None if array is None else turning.rotate_moments(array, seed)

    return Moments(
        turning.rotate_moments(moments.second, seed),
        turned(moments.mean),
        moments.samples,
        turned(moments.cross),
        turned(moments.original_mean),
    )


def _chosen(
    aim: Objective,
    levels: np.ndarray,
    quantizer: Quantizer,
    step: Callable[[np.ndarray], np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Return the codes of a matrix, (rows, columns) uint8, and the rows' scales, float32."""
    power = np.mean(aim.target.astype(np.float64) ** 2, axis=1)
    whole = quantizer.scale == "tensor"
    scales = np.sqrt(np.full_like(power, power.mean()) if whole else power).astype(np.float32)
    codes = compensate(aim, levels, scales, step)
    return codes, fit_scales(aim, levels[codes], scales, whole=whole)


def _stored(
    scales: np.ndarray, aim: Objective, powers: np.ndarray, quantizer: Quantizer
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the scales as they are stored, (rows, 1) or (1, 1), and what to tell of them."""
    scales = np.ldexp(scales.astype(np.float64), powers)
    own = scales[:1] if quantizer.scale == "tensor" else scales
    peaks = np.ldexp(np.abs(aim.target).max(axis=1, initial=0).astype(np.float64), powers)
    if own.size < peaks.size:
        peaks = peaks.max(initial=0, keepdims=True)
    stored, _, notes = stored_scales(own[:, None], peaks, quantizer)
    zeros = int(np.count_nonzero(peaks == 0))
    if zeros:
        notes = [*notes, f"{zeros} of {peaks.size} rows are zeros, and come back as zeros"]
    return stored, tuple(notes)
