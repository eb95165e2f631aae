# SPDX-License-Identifier: Apache-2.0
"""Choice of a tensor's mask in one call: from weights and importance to mask and seeds."""

import numpy as np
from xorloom.sw.base.errors import ConfigError, DensityError, check_range
from xorloom.sw.index.choice import best_order, index_config
from xorloom.sw.index.plane import choose_index
from xorloom.sw.spec.codecs import INDEX_CODECS
from xorloom.sw.spec.config import ValueConfig, WindowConfig
from xorloom.sw.spec.index_config import IndexConfig, TrellisConfig
from xorloom.sw.tensors.codes import PLANES_MAX
from xorloom.sw.tensors.orders import check_order
from xorloom.sw.tensors.prune import check_weights, scaled
from xorloom.sw.value.window.codec import stream_slices

from .choice import Choice

__all__ = ["choose_mask", "chosen_with", "importance_of"]


def choose_mask(
    weights: np.ndarray,
    importance: np.ndarray | None = None,
    density: float = 0.1,
    index_bits: float | None = None,
    *,
    codec: str = "trellis",
    value: ValueConfig | None = None,
    planes: int = 1,
    order: str = "auto",
    window: int = TrellisConfig.window,
    classes: int = 1,
    threads: int | None = None,
    name: str = "weights",
) -> Choice:
    """Choose the mask of a tensor, for training under it; the seeds go into the file.

    Parameters
    ----------
    weights : float array of any shape
    importance : array of the same shape, not negative, optional
        What keeping a weight is worth; its magnitude by default. A weight that is exactly zero is
        worth nothing.
    density : float in (0, 1)
        Share of weights to keep; no more than are not zero. The hashed index rounds it to 1/256.
    index_bits : float, optional
        Index bits per weight. By default 1/6 with the trellis, and rank 1 in tiles of 15 slices by
        11 lanes with the low-rank index. The hashed index takes none.
    codec : str
        ``trellis``, ``lowrank`` or ``hashed``.
    value : WindowConfig, optional
        The value codec that the kept weights will have.
    planes : int
        Bits of a kept weight's code.
    order : str
        Weight order; ``auto``: the one in which most is kept.
    window, classes : int
        Of the trellis.
    threads : int, optional
        All available cores by default; the result is the same.
    name : str
        Of the tensor, for messages.

    Returns
    -------
    Choice

    Raises
    ------
    ConfigError
        If an argument is out of range, or every weight is zero.
    DensityError
        If no mask of the codec comes near the density: tensors of few weights, or mostly zeros.
    """
    value = WindowConfig() if value is None else value
    if codec not in INDEX_CODECS or not INDEX_CODECS[codec].chooses_mask:
        able = ", ".join(name for name, config in INDEX_CODECS.items() if config.chooses_mask)
        raise ConfigError(
            f"{name}: codec must be one that chooses masks, {able}, not {codec!r} (entropy and "
            "bitmap store any mask: prune as you like)"
        )
    check_range("planes", planes, 1, PLANES_MAX)
    if threads is not None:
        check_range("threads", threads, 1, 1 << 16)
    weights = check_weights(np.asarray(weights), name)
    if not 0 < density < 1:
        raise ConfigError(f"{name}: density must be in (0, 1), not {density}")
    if weights.size and not weights.any():
        raise ConfigError(f"{name}: every weight is zero: there is nothing to choose from")
    worth = importance_of(weights, importance, name=name)
    try:
        index = index_config(
            codec,
            value,
            planes,
            density=density,
            rate=index_bits,
            window=window,
            classes=classes,
            importance=worth,
        )
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from error
    return chosen_with(
        index, weights, worth, density, value, planes, order=order, threads=threads, name=name
    )


def importance_of(
    weights: np.ndarray,
    importance: np.ndarray | None = None,
    *,
    energy: bool = False,
    name: str = "weights",
) -> np.ndarray:
    """Return what keeping each weight is worth, float32: 0 for a weight that is zero.

    Parameters
    ----------
    weights : finite float32 array
    importance : array of the same shape, optional
        By default magnitudes, by a power of two that keeps them and their squares in range.
    energy : bool
        Squares instead of magnitudes.

    Raises
    ------
    ConfigError
        If shapes differ, or it is no numbers. Their values are judged by the codec.
    """
    if importance is None:
        worth = scaled(np.abs(weights))
        return worth * worth if energy else worth
    importance = np.asarray(importance)
    if importance.dtype.kind in "cOSUmM":
        raise ConfigError(f"{name}: importance must be real numbers, not {importance.dtype}")
    if importance.shape != weights.shape:
        raise ConfigError(
            f"{name}: importance must have the weights' shape {weights.shape}, not "
            f"{importance.shape}"
        )
    with np.errstate(over="ignore"):  # an infinity is refused by the index
        worth = importance.astype(np.float32)
    zero = weights == 0
    return np.where(zero, np.float32(0), worth) if zero.any() else worth


def chosen_with(
    index: IndexConfig,
    weights: np.ndarray,
    worth: np.ndarray,
    density: float,
    value: ValueConfig,
    planes: int,
    *,
    order: str = "auto",
    threads: int | None = None,
    name: str = "weights",
) -> Choice:
    """Let an index of known parameters choose a mask; the arguments are :func:`choose_mask`'s.

    Parameters
    ----------
    worth : float32 array
        See :func:`importance_of`.

    Raises
    ------
    ConfigError
        If the value codec goes with no index that chooses masks, or the importance does not fit.
    DensityError
        If no mask comes near the density.
    """
    if not isinstance(value, WindowConfig):
        raise ConfigError(f"{name}: the {index.codec} index goes with the window value codec")
    there = int(np.count_nonzero(weights))
    if weights.size:
        density = min(weights.size * density, float(there)) / weights.size
    kept_bits = round(weights.size * density) * planes
    size = stream_slices(weights.size, kept_bits, planes, value, index.slice_multiple)
    try:
        order = (
            best_order(worth, density, index, threads) if order == "auto" else check_order(order)
        )
        found = choose_index(worth, density, index, order, size, threads)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from error
    except DensityError as error:
        raise DensityError(error.codec, error.wanted, error.found, error.weights, name) from error
    return Choice(found.mask, found.streams, order, index, size)
