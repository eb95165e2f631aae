# SPDX-License-Identifier: Apache-2.0
"""One tensor's coding: quantized weights to memory streams, and streams of a file back."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from xorloom.sw.base.errors import ConfigError, FormatError
from xorloom.sw.bits.codec import value_codec
from xorloom.sw.bits.gf2 import pack_bool, unpack_bool
from xorloom.sw.index.plane import EncodedIndex, decode_index_words, encode_index, order_bits
from xorloom.sw.spec.config import ValueConfig
from xorloom.sw.spec.weight_format import Decoder
from xorloom.sw.tensors.quantize import Quantized
from xorloom.sw.value.packed import PackedTensor
from xorloom.sw.value.plane import ValueLayout, encode_value, pack_value, read_value

from .container import INDEX, SCALE, STREAM, Container, content_crc32
from .metrics import TensorBits

__all__ = ["EncodedTensor", "decode_packed", "decode_planes", "decode_tensor", "encode_tensor"]


@dataclass(frozen=True)
class EncodedTensor:
    """One tensor as it is stored."""

    stream: bytes
    index: bytes
    scale: np.ndarray | None
    bits: TensorBits
    content_crc32: int
    layout: ValueLayout


def encode_tensor(
    quantized: Quantized,
    planes: int,
    decoder: Decoder,
    *,
    order: str = "auto",
    slices_per_stream: int | None = None,
    chosen: EncodedIndex | None = None,
    values: Any = None,
    has_scales: bool = True,
    threads: int | None = None,
) -> EncodedTensor:
    """Encode one quantized tensor.

    Parameters
    ----------
    decoder : Decoder
        What the streams are for.
    slices_per_stream : int, optional
        See :func:`xorloom.sw.value.window.codec.stream_slices`.
    chosen : EncodedIndex, optional
        Index of a chosen mask; made from the mask by default.
    values : optional
        Streams of chosen values, see :func:`xorloom.sw.value.plane.choose_value`; made from mask
        and codes by default.
    threads : int, optional
        All available cores by default; the result is the same.

    Raises
    ------
    ConfigError
        If mask, codes and planes do not fit together.
    CapacityError
        If the tensor is too large for one stream.
    """
    mask, codes = quantized.mask, quantized.codes
    if values is not None:
        value, bits, layout = pack_value(values, decoder.value)
    else:
        value, bits, layout = encode_value(
            mask,
            codes,
            planes,
            decoder.value,
            order,
            threads,
            slices_per_stream=slices_per_stream,
            index_bits=order_bits(decoder.index),
        )
    found = chosen or encode_index(mask, decoder.index, layout.order, layout.slices_per_stream)
    scale = quantized.scales if has_scales else None
    count = TensorBits.of(
        mask,
        codes,
        planes,
        bits,
        len(found.streams) * 8,
        found.overhead_bits,
        quantized.scales.nbytes * 8 if has_scales else 0,
        decoder.value,
    )
    crc = content_crc32(mask, codes, quantized.levels)
    return EncodedTensor(value, found.streams, scale, count, crc, layout)


def decode_tensor(container: Container, name: str) -> Quantized:
    """Decode one compressed tensor with the fast decoder.

    Raises
    ------
    ConfigError, CapacityError, FormatError
        As :func:`decode_planes`.
    """
    info = container.tensor(name)
    value, where = info.decoder.value, container.label(name)
    streams, kept = _read(container, name)
    mask = unpack_bool(kept, math.prod(info.shape)).reshape(info.shape)
    with _damaged(where):
        codes = value_codec(value.codec).decode(streams, mask, info.planes, value, where)
    found = _levels(value, streams)
    return Quantized(mask, codes, _scales(container, name), levels=found, rotation=info.rotation)


def _scales(container: Container, name: str) -> np.ndarray:
    if container.tensor(name).quantizer is None:
        return np.zeros((0, 0), np.float16)
    return container.array(name + SCALE)


def _levels(value: ValueConfig, streams: Any) -> np.ndarray | None:
    levels = value_codec(value.codec).levels
    return levels(streams) if levels else None


def decode_planes(container: Container, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Decode one compressed tensor to packed bits, some five times smaller than bytes and faster.

    Returns
    -------
    (mask, planes) : (words,) and (planes, words) uint64
        Weight ``i`` in row-major order is bit ``i & 63`` of word ``i >> 6``: 1 if it is kept; and
        each bit of its code, 0 where pruned. There are ceil(weights / 64) words.

    Raises
    ------
    ConfigError
        If there is no such tensor.
    CapacityError
        If the file has more weights than are decoded unasked, see
        :meth:`xorloom.sw.model.container.reader.Container.check_weights`.
    FormatError
        If its data is damaged.
    """
    return _planes(container, name, *_read(container, name))


def decode_packed(container: Container, name: str) -> list[PackedTensor]:
    """Decode a compressed tensor of the original to packed bits, with all that they mean.

    Containers and streams are checked by their CRCs; that mask and codes are those that were
    compressed is not: see :func:`xorloom.sw.model.verify.verify_tensor`.

    Returns
    -------
    list of PackedTensor
        The tensor; of one in row blocks, the blocks, in row-major order.

    Raises
    ------
    ConfigError, CapacityError, FormatError
        As :func:`decode_planes`.
    """
    parts: list[PackedTensor] = []
    first = 0
    for block in container.blocks(name) or (name,):
        info = container.tensor(block)
        streams, kept = _read(container, block)
        mask, planes = _planes(container, block, streams, kept)
        part = PackedTensor(
            container.label(block),
            info.shape,
            mask.view(np.uint8),
            np.ascontiguousarray(planes).view(np.uint8),
            _scales(container, block),
            info.quantizer,
            _levels(info.decoder.value, streams),
            info.rotation,
            first,
        )
        parts.append(part)
        first += math.prod(info.shape)
    return parts


def _planes(
    container: Container, name: str, streams: Any, mask: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Decode checked streams, see :func:`decode_planes`."""
    info = container.tensor(name)
    value, where = info.decoder.value, container.label(name)
    weights = math.prod(info.shape)
    mask = mask[: -(-weights // 64)]
    codec = value_codec(value.codec)
    with _damaged(where):
        if codec.words:
            words = codec.words(streams, info.shape, info.planes, value, where)[:, : mask.size]
            words &= mask  # no fresh memory, which costs more than the operation
            return mask, words
        kept = unpack_bool(mask, weights).reshape(info.shape)
        codes = codec.decode(streams, kept, info.planes, value, where).reshape(-1)
    planes = [pack_bool(codes >> np.uint8(b) & 1, 0) for b in range(info.planes)]
    return mask, np.stack(planes)


@contextmanager
def _damaged(where: str) -> Iterator[None]:
    """Turn the error of parameters for which there is no network into one of the file."""
    try:
        yield
    except ConfigError as error:
        raise FormatError(f"{where}: {error}") from None


def _read(container: Container, name: str) -> tuple[Any, np.ndarray]:
    """Return a tensor's checked value streams, and its packed mask.

    The value streams are checked first: they have a chunk for every slice, so their length bounds
    the weights. An index may be of any number of weights in next to no bytes.
    """
    info = container.tensor(name)
    container.check_weights()
    value, layout, where = info.decoder.value, info.layout, container.label(name)
    weights = math.prod(info.shape)
    with _damaged(where):
        streams = read_value(
            container.raw(name + STREAM), weights, info.planes, value, layout, where
        )
        mask = decode_index_words(
            container.raw(name + INDEX),
            info.shape,
            info.decoder.index,
            layout.order,
            layout.slices_per_stream,
            where,
        )
    return streams, mask
