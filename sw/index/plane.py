# SPDX-License-Identifier: Apache-2.0
"""The index of a tensor with any codec: masks to memory streams and back.

An index stream covers the same slices as the value stream of the same number, in the same order.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from xorloom.sw.base.errors import ConfigError, FormatError
from xorloom.sw.spec.config import BlockConfig, WindowConfig
from xorloom.sw.spec.index_config import (
    BitmapConfig,
    EntropyConfig,
    IndexConfig,
    LowrankConfig,
    TrellisConfig,
)
from xorloom.sw.spec.layout import CRC_BYTES, HEADER_BYTES, padded
from xorloom.sw.tensors.orders import (
    beats_of,
    flatten,
    lanes,
    needs_transpose,
    put_beats,
    slice_count,
)
from xorloom.sw.value.block.stream import split_streams
from xorloom.sw.value.plane import Config

from . import bitmap as index_bitmap
from . import entropy as index_entropy
from .lowrank import codec as index_lowrank
from .trellis import choose as index_trellis
from .trellis import stream as trellis_stream

__all__ = [
    "CHOSEN",
    "INDEX_CODECS",
    "ChosenIndex",
    "beats",
    "check_index",
    "choose_index",
    "decode_index",
    "encode_index",
    "index_for",
    "index_overhead",
    "mask_lanes",
    "runs",
    "slice_multiple",
    "tensor_of",
]

INDEX_CODECS: dict[str, type[IndexConfig]] = {
    c.codec: c for c in (BitmapConfig, EntropyConfig, TrellisConfig, LowrankConfig)
}
CHOSEN = (TrellisConfig, LowrankConfig)
"""Codecs that choose the mask themselves; the others store any mask."""


@dataclass(frozen=True)
class ChosenIndex:
    """A mask that a codec chose, and its memory streams."""

    mask: np.ndarray
    streams: bytes


def mask_lanes(value: Config, planes: int) -> int:
    """Return the mask bits of a slice of the value codec."""
    return value.n_out // planes if isinstance(value, WindowConfig) else value.n_out


def index_for(value: Config, planes: int) -> BitmapConfig:
    """Return the bitmap index that goes with a value decoder."""
    return BitmapConfig(n_out=mask_lanes(value, planes), bus_bits=value.bus_bits)


def check_index(index: IndexConfig, value: Config, planes: int) -> None:
    """Check that an index decoder goes with a value decoder.

    Raises
    ------
    ConfigError
        If their slices or buses differ, or the value codec is the block codec and the index not a
        bitmap.
    """
    if isinstance(value, BlockConfig) and not isinstance(index, BitmapConfig):
        raise ConfigError(
            f"the {index.codec} index goes with the window value codec: the block codec takes a "
            "bitmap"
        )
    if index.n_out != mask_lanes(value, planes) or index.bus_bits != value.bus_bits:
        raise ConfigError(
            f"an index of n_out {index.n_out} and bus_bits {index.bus_bits} does not go with "
            f"slices of {mask_lanes(value, planes)} weights and bus_bits {value.bus_bits}"
        )


def index_overhead(data: bytes, bus_bytes: int, where: str) -> int:
    """Return the bits of headers and CRCs of memory streams."""
    edges = padded(HEADER_BYTES, bus_bytes) + padded(CRC_BYTES, bus_bytes)
    return 8 * edges * len(split_streams(data, bus_bytes, where))


def slice_multiple(config: IndexConfig) -> int:
    """Return what the slices of a stream must be a multiple of."""
    if isinstance(config, LowrankConfig):
        return config.tile_slices
    return config.period if isinstance(config, TrellisConfig) and config.classes > 1 else 1


def beats(array: np.ndarray, order: str, n_out: int) -> np.ndarray:
    """Cut a tensor into slices (slices, n_out); 0 where there is no weight."""
    flat = flatten(array, order)
    slices = np.zeros((slice_count(flat.size, n_out), n_out), array.dtype)
    beats_of(flat, lanes(order, flat.size, n_out), 0, slices)
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


def encode_index(
    mask: np.ndarray, config: IndexConfig, order: str, slices_per_stream: int
) -> bytes:
    """Write a given mask as memory streams.

    Parameters
    ----------
    mask : bool array of any shape
    config : IndexConfig
    order : str
        One of :data:`xorloom.sw.tensors.orders.ORDERS`.
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
    slices = beats(mask, order, config.n_out)
    parts = []
    for first, end, count in runs(mask.size, config.n_out, slices_per_stream):
        part = slices[first:end]
        if isinstance(config, EntropyConfig):
            parts.append(index_entropy.pack(index_entropy.encode(part, config), count, config))
        else:
            parts.append(index_bitmap.pack(part, count, config))
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
    slices = beats(np.asarray(importance, np.float32), order, config.n_out)
    counts = [count for _, _, count in runs(importance.size, config.n_out, slices_per_stream)]
    args = (slices, importance.size, density)
    if isinstance(config, TrellisConfig):
        path = index_trellis.choose(
            *args, config, slices_per_stream=slices_per_stream, threads=threads
        )
        mask = path.mask
        parts = [
            trellis_stream.pack(stream, count, config)
            for stream, count in zip(path.streams, counts, strict=True)
        ]
    else:
        product = index_lowrank.choose(
            *args, config, slices_per_stream=slices_per_stream, threads=threads
        )
        mask = product.mask
        parts = [
            index_lowrank.pack(part, count, config)
            for part, count in zip(index_lowrank.split(product, config), counts, strict=True)
        ]
    return ChosenIndex(tensor_of(mask, order, importance.shape), b"".join(parts))


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
    slices = slice_count(size, config.n_out)
    expected = slice_count(slices, slices_per_stream) if slices_per_stream else min(1, slices)
    streams = split_streams(data, config.bus_bytes, where)
    if len(streams) != expected:
        raise FormatError(
            f"{where}: {size} weights must be {expected} index streams, found {len(streams)}"
        )
    parts = [np.zeros((0, config.n_out), np.bool_)]
    parts_of = runs(size, config.n_out, slices_per_stream)
    for k, (stream, (_, _, count)) in enumerate(zip(streams, parts_of, strict=True)):
        place = f"{where}: index stream {k}"
        if isinstance(config, TrellisConfig):
            parts.append(trellis_stream.unpack(stream, count, config, place))
        elif isinstance(config, EntropyConfig):
            parts.append(index_entropy.unpack(stream, count, config, place))
        elif isinstance(config, LowrankConfig):
            parts.append(index_lowrank.unpack(stream, count, config, place))
        else:
            parts.append(index_bitmap.unpack(stream, count, config, place))
    return tensor_of(np.concatenate(parts), order, shape)
