# SPDX-License-Identifier: Apache-2.0
"""The index of a tensor with any codec: masks to memory streams and back.

An index stream covers the same slices as the value stream of the same number, in the same order.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from . import index_bitmap, index_trellis
from .errors import ConfigError, FormatError
from .index_config import BitmapConfig, TrellisConfig
from .orders import beats_of, lanes, needs_transpose, put_beats, slice_count
from .stream import split_streams

__all__ = [
    "CHOSEN",
    "INDEX_CODECS",
    "ChosenIndex",
    "IndexConfig",
    "choose_index",
    "decode_index",
    "encode_index",
    "slice_multiple",
]

IndexConfig = BitmapConfig | TrellisConfig
"""Parameters of one index decoder."""
INDEX_CODECS: dict[str, type[IndexConfig]] = {c.codec: c for c in (BitmapConfig, TrellisConfig)}
CHOSEN = (TrellisConfig,)
"""Codecs that choose the mask themselves; the others store any mask."""


@dataclass(frozen=True)
class ChosenIndex:
    """A mask that a codec chose, and its memory streams."""

    mask: np.ndarray
    streams: bytes


def slice_multiple(config: IndexConfig) -> int:
    """Return what the slices of a stream must be a multiple of."""
    return config.period if isinstance(config, TrellisConfig) and config.classes > 1 else 1


def _beats(array: np.ndarray, order: str, n_out: int) -> np.ndarray:
    """Cut a tensor into slices (slices, n_out); 0 where there is no weight."""
    flat = _flat(array, order)
    beats = np.zeros((slice_count(flat.size, n_out), n_out), array.dtype)
    beats_of(flat, lanes(order, flat.size, n_out), 0, beats)
    return beats


def _flat(array: np.ndarray, order: str) -> np.ndarray:
    if needs_transpose(order) and array.ndim > 1 and array.size:
        array = array.reshape(array.shape[0], -1).T
    return np.ascontiguousarray(array).reshape(-1)


def _tensor(beats: np.ndarray, order: str, shape: tuple[int, ...]) -> np.ndarray:
    """Undo :func:`_beats`."""
    size = math.prod(shape)
    flat = np.zeros(size, beats.dtype)
    put_beats(beats, lanes(order, size, beats.shape[1]), 0, flat)
    if needs_transpose(order) and len(shape) > 1 and size:
        flat = flat.reshape(-1, shape[0]).T
    return np.ascontiguousarray(flat).reshape(shape)


def _runs(size: int, n_out: int, slices_per_stream: int) -> Iterator[tuple[int, int, int]]:
    """Yield first slice, end and number of weights of every stream."""
    slices = slice_count(size, n_out)
    step = slices_per_stream or max(1, slices)
    for first in range(0, slices, step):
        end = min(slices, first + step)
        yield first, end, min(size, end * n_out) - first * n_out


def encode_index(
    mask: np.ndarray, config: IndexConfig, order: str, slices_per_stream: int
) -> bytes:
    """Write a given mask as memory streams.

    Parameters
    ----------
    mask : bool array of any shape
    config : IndexConfig
    order : str
        One of :data:`xorloom.sw.orders.ORDERS`.
    slices_per_stream : int
        Slices of all streams but the last; 0: one stream.

    Raises
    ------
    ConfigError
        If the codec chooses masks itself.
    CapacityError
        If a stream has 2**32 weights or more.
    """
    if isinstance(config, CHOSEN):
        raise ConfigError(
            f"the {config.codec} index chooses the mask and cannot keep a given one exactly: "
            "use the bitmap or entropy index"
        )
    beats = _beats(mask, order, config.n_out)
    parts = []
    for first, end, count in _runs(mask.size, config.n_out, slices_per_stream):
        parts.append(index_bitmap.pack(beats[first:end], count, config))
    return b"".join(parts)


def choose_index(
    importance: np.ndarray,
    density: float,
    config: IndexConfig,
    order: str,
    slices_per_stream: int,
    threads: int | None = None,
) -> ChosenIndex:
    """Let a codec choose the mask.

    Parameters
    ----------
    importance : array of any shape, not negative
        What keeping a weight is worth.
    density : float
        Share of weights to keep.
    config, order, slices_per_stream
        As in :func:`encode_index`.
    threads : int, optional

    Raises
    ------
    ConfigError
        If the codec stores given masks only, cannot reach the density, or the importance does not
        fit.
    """
    if not isinstance(config, CHOSEN):
        raise ConfigError(f"the {config.codec} index stores a given mask: prune first")
    beats = _beats(np.asarray(importance, np.float32), order, config.n_out)
    parts = []
    chosen = index_trellis.choose(
        beats,
        importance.size,
        density,
        config,
        slices_per_stream=slices_per_stream,
        threads=threads,
    )
    runs = _runs(importance.size, config.n_out, slices_per_stream)
    for stream, (_, _, count) in zip(chosen.streams, runs, strict=True):
        parts.append(index_trellis.pack(stream, count, config))
    mask = _tensor(chosen.mask, order, importance.shape)
    return ChosenIndex(mask, b"".join(parts))


def decode_index(
    data: bytes,
    shape: tuple[int, ...],
    config: IndexConfig,
    order: str,
    slices_per_stream: int,
    where: str,
) -> np.ndarray:
    """Return the mask, a bool array of ``shape``.

    Raises
    ------
    FormatError
        If a stream is truncated, damaged or does not fit the tensor; ``where`` names it.
    """
    size = math.prod(shape)
    runs = list(_runs(size, config.n_out, slices_per_stream))
    streams = split_streams(data, config.bus_bytes, where)
    if len(streams) != len(runs):
        raise FormatError(
            f"{where}: {size} weights must be {len(runs)} index streams, found {len(streams)}"
        )
    beats = np.zeros((slice_count(size, config.n_out), config.n_out), np.bool_)
    for k, (stream, (first, end, count)) in enumerate(zip(streams, runs, strict=True)):
        place = f"{where}: index stream {k}"
        if isinstance(config, TrellisConfig):
            beats[first:end] = index_trellis.unpack(stream, count, config, place)
        else:
            beats[first:end] = index_bitmap.unpack(stream, count, config, place)
    return _tensor(beats, order, shape)
