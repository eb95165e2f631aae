# SPDX-License-Identifier: Apache-2.0
"""Direct codec: what a search chose, and streams back to codes."""

import math
from dataclasses import dataclass

import numpy as np
from xorloom.sw.spec.direct import DirectConfig
from xorloom.sw.tensors.orders import tensor_of

from .decoding import decode_seeds
from .stream import DirectStreams

__all__ = ["DirectChoice", "decode", "order_of"]

_DEFAULT_ORDER = "column"
"""The trellis runs down a column and on into the next one: so does error compensation."""


@dataclass(frozen=True)
class DirectChoice:
    """Values that the codec chose for a tensor.

    Parameters
    ----------
    streams : DirectStreams
        Levels and seeds.
    codes : uint8 array
        The weights' codes, in their shape.
    scales : (rows, 1) float16 or float32
        A weight is the level of its code times the scale of its row.
    notes : tuple of str
        What was dropped or changed, a line each, without the tensor's name.
    """

    streams: DirectStreams
    codes: np.ndarray
    scales: np.ndarray
    notes: tuple[str, ...] = ()


def order_of(order: str) -> str:
    """Return the weight order that is meant: ``auto`` is the codec's own."""
    return _DEFAULT_ORDER if order == "auto" else order


def decode(encoded: DirectStreams, shape: tuple[int, ...], config: DirectConfig) -> np.ndarray:
    """Return the codes of a tensor, uint8 of ``shape``."""
    size = math.prod(shape)
    lanes = config.lanes
    flat = np.zeros(-(-size // lanes) * lanes, np.uint8)
    at = 0
    for stream in encoded.streams:
        weights = -(-stream.count // config.n_out) * lanes
        flat[at : at + weights] = decode_seeds(stream.seeds, weights, config)
        at += weights
    return tensor_of(flat.reshape(-1, lanes), encoded.order, shape)
