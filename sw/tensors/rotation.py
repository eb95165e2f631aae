# SPDX-License-Identifier: Apache-2.0
"""Rotation of weights: random signs and a Hadamard transform on the input side.

A rotated matrix is ``W R``, where ``R = diag(s) blockdiag(H, H, ..)``: ``s`` are the :func:`signs`
of the columns, ``H`` is the Hadamard matrix of order ``b`` in Sylvester's form, divided by
``sqrt(b)``, and ``b``, the :func:`block`, is the largest power of two that divides the columns.
``R`` is orthogonal, so ``W x = (W R) (R' x)``. Weights of any distribution become nearly Gaussian,
and outliers spread over their block. ``FORMAT.md``, "Rotation", is normative.

All arithmetic is double precision in one order, so results are the same on every machine.

Source: Tseng et al., "QuIP#", arXiv 2402.04396, section 3.
"""

import math

import numpy as np
from xorloom.sw.base.errors import ConfigError, check_range
from xorloom.sw.bits.jit import njit
from xorloom.sw.spec.taps import splitmix64

from .prune import check_weights

__all__ = ["SEED_MAX", "block", "note", "rotate", "rotate_moments", "signs", "unrotate"]

SEED_MAX = (1 << 64) - 1
_LARGEST = float(np.finfo(np.float32).max)
_WORD = 64
"""Signs that one output of the generator gives."""


def block(columns: int) -> int:
    """Return the order of the Hadamard matrices: the largest power of two that divides columns."""
    return columns & -columns or 1


def columns_of(shape: tuple[int, ...]) -> int:
    """Return the columns of a tensor: all dimensions but the first make one, one dimension a row.

    A tensor of one dimension is a single row; one of none has one column.
    """
    return math.prod(shape[1:] if len(shape) > 1 else shape)


def note(shape: tuple[int, ...]) -> str | None:
    """Return what a rotation does less than its best for a tensor, in one line; ``None`` if none.

    Parameters
    ----------
    shape : tuple of int
        Of the tensor.
    """
    columns = columns_of(shape)
    if block(columns) == 1:
        return f"rotation of {columns} columns, an odd number, changes signs only"
    return None


def signs(seed: int, columns: int) -> np.ndarray:
    """Return the sign of every column, +1 or -1: (columns,) float64.

    Column ``c`` is negative if bit ``c mod 64`` of output ``c // 64`` of SplitMix64 is 1.

    Raises
    ------
    ConfigError
        If ``seed`` is no integer from 0 to 2**64 - 1.
    """
    generator = splitmix64(check_range("rotation", seed, 0, SEED_MAX))
    words = np.array([next(generator) for _ in range(-(-columns // _WORD))], "<u8")
    bits = np.unpackbits(words.view(np.uint8), bitorder="little")[:columns]
    return 1.0 - 2.0 * bits


def rotate(weights: np.ndarray, seed: int, *, name: str = "weights") -> np.ndarray:
    """Return ``W R`` in float32, of the weights' shape.

    Parameters
    ----------
    weights : float array of any shape
        All dimensions but the first are the columns; one dimension is a single row.
    seed : int, 0 to 2**64 - 1
        Of the :func:`signs`.
    name : str
        Of the tensor, for messages.

    Raises
    ------
    ConfigError
        If ``seed`` is out of range, or a weight, rotated or not, is not finite in float32.
    """
    turned = _turned(weights, seed, False, name)
    if np.abs(turned).max(initial=0) >= _LARGEST:
        raise ConfigError(
            f"{name}: rotated weights are beyond float32, whose largest is {_LARGEST:.3g} (scale "
            "the tensor down, or do not rotate it)"
        )
    return turned


def unrotate(weights: np.ndarray, seed: int, *, name: str = "weights") -> np.ndarray:
    """Return ``W R'`` in float32, of the weights' shape: undo :func:`rotate`.

    Numbers beyond float32 become its largest. Parameters and errors are otherwise those of
    :func:`rotate`.
    """
    return _turned(weights, seed, True, name)


def rotate_moments(moments: np.ndarray, seed: int) -> np.ndarray:
    """Return moments of rotated inputs: ``R' H R`` of a matrix, ``R' m`` of a vector, in float64.

    Parameters
    ----------
    moments : (columns, columns) or (columns,) float array
        Second moment or mean of a matrix's inputs.
    seed : int, 0 to 2**64 - 1
    """
    columns = moments.shape[-1]
    rows = moments.reshape(-1, columns)
    turned = _turned_rows(rows, seed, False, np.float64)
    if moments.ndim == 1:
        return turned[0]
    return np.ascontiguousarray(_turned_rows(turned.T, seed, False, np.float64).T)


def _turned(weights: np.ndarray, seed: int, back: bool, name: str) -> np.ndarray:
    rows = check_weights(weights, name).reshape(-1, max(columns_of(weights.shape), 1))
    return _turned_rows(rows, seed, back, np.float32).reshape(weights.shape)


def _turned_rows(rows: np.ndarray, seed: int, back: bool, dtype: type) -> np.ndarray:
    order = block(rows.shape[1])
    out: np.ndarray = np.empty(rows.shape, dtype)
    factor = 1.0 / math.sqrt(order)
    turn(np.ascontiguousarray(rows), signs(seed, rows.shape[1]), order, factor, back, out)
    return out


@njit(cache=True, nogil=True)
def turn(
    rows: np.ndarray,
    signs: np.ndarray,
    order: int,
    factor: float,
    back: bool,
    out: np.ndarray,
) -> None:
    """Kernel: multiply every row by ``R``, or by its transpose.

    Parameters
    ----------
    rows : (n, columns) float32 or float64
    signs : (columns,) float64
    order : int
        Of the Hadamard matrices.
    factor : float
        ``1 / sqrt(order)``.
    back : bool
        Multiply by the transpose: the signs come last.
    out : (n, columns) float32 or float64
    """
    columns = rows.shape[1]
    line = np.empty(columns, np.float64)
    for r in range(rows.shape[0]):
        for c in range(columns):
            line[c] = rows[r, c] if back else rows[r, c] * signs[c]
        half = 1
        while half < order:
            for start in range(0, columns, 2 * half):
                for c in range(start, start + half):
                    first, second = line[c], line[c + half]
                    line[c] = first + second
                    line[c + half] = first - second
            half *= 2
        for c in range(columns):
            value = line[c] * factor
            if back:
                value *= signs[c]
            out[r, c] = min(max(value, -_LARGEST), _LARGEST)
