# SPDX-License-Identifier: Apache-2.0
"""Parts of tensors: some rows that stand for all of them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from xorloom.sw.tensors.checkpoint.model import Checkpoint, ModelTensor

from .shapes import normal_weights

__all__ = ["Rows", "normal_rows", "part_shape", "sketch", "stored_rows"]

_SKETCH = 1 << 15
"""Weights that stand for a tensor where a plan looks at its weights."""
_FROM = (0.125, 0.375, 0.625, 0.875)
_PLACES = 1 << 16

Rows = Callable[[ModelTensor, tuple[int, ...], Sequence[float]], np.ndarray]
"""Reads parts of a tensor, of a :func:`part_shape`, from so far on each (0 to 1); joins them."""


def part_shape(shape: tuple[int, ...], weights: int) -> tuple[int, ...]:
    """Return the shape of a part of about so many weights: whole rows, at least one."""
    if math.prod(shape) <= weights or not shape:
        return shape
    axis = 0
    while axis < len(shape) - 1 and math.prod(shape[axis + 1 :]) > weights:
        axis += 1
    count = round(weights / math.prod(shape[axis + 1 :]))
    return (1,) * axis + (min(max(1, count), shape[axis]), *shape[axis + 1 :])


def stored_rows(tensor: ModelTensor, shape: tuple[int, ...], places: Sequence[float]) -> np.ndarray:
    """Read parts of a tensor that has weights."""
    spare = [whole - part for whole, part in zip(tensor.shape, shape, strict=True)]
    array = tensor.load()
    found = []
    for at in places:
        starts = [round(at * room) for room in spare]
        place = tuple(slice(s, s + part) for s, part in zip(starts, shape, strict=True))
        found.append(array[place])
    return np.concatenate(found) if shape else array


def normal_rows(tensor: ModelTensor, shape: tuple[int, ...], places: Sequence[float]) -> np.ndarray:
    """Make parts of a tensor of which only the shape is known."""
    numbers = [1 + round(at * _PLACES) for at in places]
    found = [normal_weights(tensor.name, shape, tensor.dtype, number) for number in numbers]
    return np.concatenate(found) if shape else found[0]


def sketch(model: Checkpoint, rows: Rows) -> Checkpoint:
    """Return a model whose tensors have their shapes, and load some of their rows only."""

    def some(tensor: ModelTensor) -> np.ndarray:
        if tensor.size <= _SKETCH:
            return rows(tensor, tensor.shape, [0])
        shape = part_shape(tensor.shape, _SKETCH // len(_FROM))
        return rows(tensor, shape, _FROM)

    found = {name: replace(t, load=partial(some, t)) for name, t in model.items()}
    return replace(model, tensors=found)
