# SPDX-License-Identifier: Apache-2.0
"""Row blocks that an index touches, so that no others are decoded."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from operator import index
from typing import Any

import numpy as np

from .reader import Container

__all__ = ["Touched", "touched_blocks"]


@dataclass(frozen=True)
class Touched:
    """What an index touches of a tensor in row blocks.

    Parameters
    ----------
    blocks : mapping of str to int
        Names of blocks, and the place of each one's first weight in ``shape``, row-major.
    shape : tuple of int
        The rows from the first touched block's to the last one's.
    key : tuple of int and slice
        The index, into these rows.
    """

    blocks: Mapping[str, int]
    shape: tuple[int, ...]
    key: tuple[int | slice, ...]


def touched_blocks(container: Container, name: str, key: Any) -> Touched | None:
    """Return the blocks of a tensor that an index touches.

    Parameters
    ----------
    container : Container
    name : str
        Of the original.
    key : int, slice, Ellipsis, or a tuple of them

    Returns
    -------
    Touched, optional
        None: the tensor is in one block, or the index is of another kind or out of range.
    """
    if name not in container.joined:
        return None
    whole = container.joined[name].shape
    ranges = _ranges(key if isinstance(key, tuple) else (key,), whole)
    if ranges is None or (ranges and not all(len(found) for _, found in ranges[1:])):
        return None
    chosen: dict[str, int] = {}
    first, start, stop = 0, whole[0], 0
    for block in container.joined[name].blocks:
        shape = container.tensor(block).shape
        corner = np.unravel_index(first, whole)
        if all(
            found and min(found) < at + size and at <= max(found)
            for (_, found), at, size in zip(ranges, corner, shape, strict=False)
        ):
            chosen[block] = first
            start, stop = min(start, int(corner[0])), max(stop, int(corner[0]) + shape[0])
        first += math.prod(shape)
    if not chosen:  # an empty run of rows
        start = stop = 0
    before = start * math.prod(whole[1:])
    return Touched(
        {block: at - before for block, at in chosen.items()},
        (stop - start, *whole[1:]),
        tuple(_moved(*item, start if axis == 0 else 0) for axis, item in enumerate(ranges)),
    )


def _ranges(key: tuple[Any, ...], shape: tuple[int, ...]) -> list[tuple[bool, range]] | None:
    """Return for each axis whether it is a single index, and what is asked for of it."""
    if any(isinstance(item, bool | np.ndarray) for item in key):
        return None
    ellipses = [place for place, item in enumerate(key) if item is ...]
    if len(ellipses) > 1 or len(key) - len(ellipses) > len(shape):
        return None
    rest = (slice(None),) * (len(shape) - len(key) + len(ellipses))
    at = ellipses[0] if ellipses else len(key)
    found = []
    for item, size in zip((*key[:at], *rest, *key[at + 1 :]), shape, strict=True):
        try:
            if isinstance(item, slice):
                found.append((False, range(size)[item]))
            else:
                place = range(size)[index(item)]
                found.append((True, range(place, place + 1)))
        except (IndexError, TypeError):
            return None
    return found


def _moved(single: bool, found: range, by: int) -> int | slice:
    """Return an axis's index where the axis begins ``by`` later."""
    if single:
        return found.start - by
    if not found:
        return slice(0, 0)
    stop = found.stop - by
    return slice(found.start - by, stop if stop >= 0 else None, found.step)
