# SPDX-License-Identifier: Apache-2.0
"""Weight orders: which weight stands in which lane of which slice.

Real masks cluster along rows and columns, so a slice of neighbouring weights is crowded or empty.
An order that mixes rows and columns in every slice costs fewer bits. ``FORMAT.md``, "Weight
order", is normative.
"""

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.bits.jit import njit

__all__ = [
    "ORDERS",
    "Lanes",
    "arrange_codes",
    "beats",
    "beats_of",
    "check_order",
    "flatten",
    "lanes",
    "needs_transpose",
    "put_beats",
    "runs",
    "slice_count",
    "stream_counts",
    "tensor_of",
]

ORDERS = ("row", "column", "strided", "strided-column", "skewed", "skewed-column")
"""Known orders. ``-column`` takes the transposed matrix."""
_TURN = 40503
"""65536 / golden ratio: consecutive lanes of a skewed order begin far apart in their runs."""


class Lanes(NamedTuple):
    """The weight of every lane and slice, as positions in the flattened tensor.

    Slice ``e`` has in lane ``l``, if ``e < length[l]``, the weight
    ``start[l] + step * ((e + turn[l]) % length[l])``. All arrays are (lanes,) int64.
    """

    start: np.ndarray
    length: np.ndarray
    turn: np.ndarray
    step: int


def check_order(order: str) -> str:
    """Return ``order`` if it is known.

    Raises
    ------
    ConfigError
        If it is not.
    """
    if order not in ORDERS:
        raise ConfigError(f"order must be one of {', '.join(ORDERS)}, not {order!r}")
    return order


def needs_transpose(order: str) -> bool:
    """Whether the order is over the transposed matrix."""
    return order == "column" or order.endswith("-column")


def flatten(array: np.ndarray, order: str) -> np.ndarray:
    """Flatten in the order's own sequence of weights."""
    if needs_transpose(order) and array.ndim > 1 and array.size:
        array = array.reshape(array.shape[0], -1).T
    return np.ascontiguousarray(array).reshape(-1)


def slice_count(weights: int, per_slice: int) -> int:
    """Slices of a tensor."""
    return -(-weights // per_slice)


@lru_cache(maxsize=16)
def lanes(order: str, weights: int, per_slice: int) -> Lanes:
    """Return the places of ``weights`` weights, ``per_slice`` to a slice.

    All slices but the last are full; the last one fills its first lanes. The arrays are shared with
    other calls, and not to be changed.
    """
    slices = slice_count(weights, per_slice)
    lane = np.arange(per_slice, dtype=np.int64)
    full = weights - (slices - 1) * per_slice  # lanes of the last slice
    length = np.where(lane < full, slices, slices - 1)
    if order in ("row", "column"):
        return Lanes(lane, length, np.zeros_like(lane), per_slice)
    start = np.cumsum(length) - length
    turn = np.zeros_like(lane)
    if order.startswith("skewed"):
        turn = (lane * _TURN % 65536) * length >> 16
    return Lanes(start, length, turn, 1)


@njit(nogil=True, cache=True, inline="always")
def _weight(where: Lanes, lane: int, e: int) -> int:
    """Weight of a lane in slice ``e``, which has the lane."""
    at = e + where.turn[lane]
    if at >= where.length[lane]:
        at -= where.length[lane]
    return where.start[lane] + where.step * at


@njit(nogil=True, cache=True)
def beats_of(flat: np.ndarray, where: Lanes, first: int, beats: np.ndarray) -> None:
    """Take slices out of a flat array: ``beats[k, l]`` is the weight in lane l of slice first + k.

    Parameters
    ----------
    flat : (weights,), any dtype
    first : int
        Number of the first slice.
    beats : (slices, lanes), out
        Places without a weight stay as they are.
    """
    for k in range(beats.shape[0]):
        e = first + k
        for lane in range(where.start.size):
            if e >= where.length[lane]:
                break
            beats[k, lane] = flat[_weight(where, lane, e)]


@njit(nogil=True, cache=True)
def put_beats(beats: np.ndarray, where: Lanes, first: int, flat: np.ndarray) -> None:
    """Undo :func:`beats_of`: ``flat`` gets what stands in the slices."""
    for k in range(beats.shape[0]):
        e = first + k
        for lane in range(where.start.size):
            if e >= where.length[lane]:
                break
            flat[_weight(where, lane, e)] = beats[k, lane]


def beats(
    array: np.ndarray, order: str, n_out: int, some: Sequence[tuple[int, int]] | None = None
) -> np.ndarray:
    """Cut a tensor into slices (slices, n_out); 0 where there is no weight.

    ``some``: first slice and number of slices of the runs to return, by default all.
    """
    flat = flatten(array, order)
    wanted = [(0, slice_count(flat.size, n_out))] if some is None else some
    slices = np.zeros((sum(count for _, count in wanted), n_out), array.dtype)
    where, done = lanes(order, flat.size, n_out), 0
    for first, count in wanted:
        beats_of(flat, where, first, slices[done : done + count])
        done += count
    return slices


def tensor_of(slices: np.ndarray, order: str, shape: tuple[int, ...]) -> np.ndarray:
    """Undo :func:`beats`."""
    size = math.prod(shape)
    flat = np.zeros(size, slices.dtype)
    put_beats(slices, lanes(order, size, slices.shape[1]), 0, flat)
    if needs_transpose(order) and len(shape) > 1 and size:
        flat = flat.reshape(-1, shape[0]).T
    return np.ascontiguousarray(flat).reshape(shape)


def runs(size: int, n_out: int, slices_per_stream: int) -> Iterator[tuple[int, int, int]]:
    """Yield first slice, end and number of weights of every stream."""
    slices = slice_count(size, n_out)
    step = slices_per_stream or max(1, slices)
    for first in range(0, slices, step):
        end = min(slices, first + step)
        yield first, end, min(size, end * n_out) - first * n_out


def stream_counts(weights: int, planes: int, n_out: int, slices_per_stream: int) -> list[int]:
    """Slice bits of every value stream of a tensor.

    All slices of a stream count ``n_out`` bits, but the tensor's last one as many as it has weights
    in it.
    """
    lane_count = n_out // planes
    total = slice_count(weights, lane_count)
    counts = [
        min(slices_per_stream, total - first) * n_out
        for first in range(0, total, slices_per_stream)
    ]
    if counts:
        counts[-1] -= n_out - (weights - (total - 1) * lane_count) * planes
    return counts


def arrange_codes(
    slices: np.ndarray, shape: tuple[int, ...], planes: int, order: str
) -> np.ndarray:
    """Put the codes of decoded slices in a tensor's order.

    Parameters
    ----------
    slices : (slices, n_out) uint8
        Each bit by itself.
    shape : tuple of int
    planes : int
    order : str

    Returns
    -------
    uint8 array of ``shape``
    """
    count, per_slice = slices.shape[0], slices.shape[1] // planes
    bits = slices[:, : per_slice * planes].reshape(count, per_slice, planes)
    codes = np.packbits(bits, axis=2, bitorder="little")[:, :, 0] if bits.size else bits[:, :, 0]
    return tensor_of(codes, order, shape)
