# SPDX-License-Identifier: Apache-2.0
"""Index of a tensor with any codec: masks to memory streams and back.

An index stream covers the same slices as the value stream of the same number, in the same order.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from xorloom.sw.base.errors import ConfigError, FormatError
from xorloom.sw.bits.codec import index_codec
from xorloom.sw.bits.framing import split_streams
from xorloom.sw.bits.gf2 import pack_bool, unpack_bool
from xorloom.sw.bits.lanes import put_slices, turned_bits
from xorloom.sw.bits.slices import packed_beats
from xorloom.sw.spec.index_config import IndexConfig
from xorloom.sw.spec.layout import frame_bytes
from xorloom.sw.tensors.orders import (
    beats,
    lanes,
    needs_transpose,
    runs,
    slice_count,
    tensor_of,
)

__all__ = [
    "ChosenIndex",
    "EncodedIndex",
    "choose_index",
    "decode_index",
    "decode_index_words",
    "encode_index",
    "order_bits",
    "overhead_bits",
]


@dataclass(frozen=True)
class EncodedIndex:
    """Index of a tensor as it is stored.

    Parameters
    ----------
    streams : bytes
        Memory streams, back to back.
    overhead_bits : int
        Bits of their headers and CRCs.
    """

    streams: bytes
    overhead_bits: int


@dataclass(frozen=True)
class ChosenIndex(EncodedIndex):
    """Index whose codec chose the mask; ``mask`` has the tensor's shape."""

    mask: np.ndarray


def overhead_bits(streams: int, config: IndexConfig) -> int:
    """Return the bits of headers and CRCs of so many streams."""
    return 8 * frame_bytes(config.bus_bytes) * streams


def encode_index(
    mask: np.ndarray, config: IndexConfig, order: str, slices_per_stream: int
) -> EncodedIndex:
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
    pack = index_codec(config.codec).pack
    if pack is None:
        raise ConfigError(
            f"the {config.codec} index chooses the mask and cannot keep a given one exactly: "
            "use the bitmap or entropy index"
        )
    rows = pack_bool(mask, config.n_out // 64 + 2)[np.newaxis]
    if needs_transpose(order) and mask.ndim > 1 and mask.size:
        rows = turned_bits(rows, mask.shape[0], mask.size // mask.shape[0])
    count, where = slice_count(mask.size, config.n_out), lanes(order, mask.size, config.n_out)
    slices = packed_beats(rows[0], count, config.n_out, where)
    parts = [
        pack(slices[first:end], count, config)
        for first, end, count in runs(mask.size, config.n_out, slices_per_stream)
    ]
    return EncodedIndex(b"".join(parts), overhead_bits(len(parts), config))


def order_bits(config: IndexConfig) -> Callable[[np.ndarray, int, int], float] | None:
    """Return the function that tells what a given mask costs in an order.

    Its arguments are the mask as :func:`xorloom.sw.bits.slices.packed_beats` packs it, the
    number of weights, and the slices of all streams but the last. ``None`` if all orders cost the
    same.
    """
    bits = index_codec(config.codec).order_bits
    if bits is None:
        return None
    return lambda packed, weights, size: bits(packed, weights, size, config)


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
    choose = index_codec(config.codec).choose
    if choose is None:
        raise ConfigError(f"the {config.codec} index stores a given mask: prune first")
    slices = beats(np.asarray(importance, np.float32), order, config.n_out)
    counts = [count for _, _, count in runs(importance.size, config.n_out, slices_per_stream)]
    mask, parts = choose(slices, counts, density, config, slices_per_stream, threads)
    return ChosenIndex(
        b"".join(parts),
        overhead_bits(len(parts), config),
        tensor_of(mask, order, importance.shape),
    )


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
        As :func:`decode_index_words`.
    """
    words = decode_index_words(data, shape, config, order, slices_per_stream, where)
    return unpack_bool(words, math.prod(shape)).reshape(shape)


def decode_index_words(
    data: bytes,
    shape: tuple[int, ...],
    config: IndexConfig,
    order: str,
    slices_per_stream: int,
    where: str,
) -> np.ndarray:
    """Return the mask of a tensor of ``shape``, packed in row-major order.

    Returns
    -------
    (words,) uint64
        At least ceil(weights / 64) words; bits behind the last weight are 0.

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
    unpack = index_codec(config.codec).unpack
    places = lanes(order, size, config.n_out)
    words = np.zeros(-(-slices * config.n_out // 64) + 2, np.uint64)
    parts = runs(size, config.n_out, slices_per_stream)
    for k, (stream, (first, _, count)) in enumerate(zip(streams, parts, strict=True)):
        part = unpack(stream, count, config, f"{where}: index stream {k}")
        if places.step > 1 and config.n_out % 64 == 0:  # slices are whole words of the tensor
            at = first * config.n_out // 64
            words[at : at + part.size] = part.reshape(-1)
        else:
            put_slices(part, places, first, words[np.newaxis])
    if size % 64:  # what a codec gives for lanes without a weight
        words[size // 64] &= np.uint64((1 << size % 64) - 1)
    words[-(-size // 64) :] = 0
    if needs_transpose(order) and len(shape) > 1 and size:
        words = turned_bits(words[np.newaxis], size // shape[0], shape[0])[0]
    return words
