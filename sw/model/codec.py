# SPDX-License-Identifier: Apache-2.0
"""One tensor's coding: quantized weights to memory streams, and streams of a file back."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from xorloom.sw.base.errors import ConfigError, FormatError
from xorloom.sw.bits.codec import value_codec
from xorloom.sw.index.plane import EncodedIndex, decode_index, encode_index, order_bits
from xorloom.sw.spec.weight_format import Decoder
from xorloom.sw.tensors.quantize import Quantized
from xorloom.sw.value.plane import ValueLayout, encode_value, pack_value, read_value

from .container import INDEX, SCALE, STREAM, Container, content_crc32
from .metrics import TensorBits

__all__ = ["EncodedTensor", "decode_tensor", "encode_tensor"]


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

    The value streams are checked first: they have a chunk for every slice, so their length bounds
    the weights. An index may be of any number of weights in next to no bytes.

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
    info = container.tensor(name)
    container.check_weights()
    value, layout, where = info.decoder.value, info.layout, f"{container.path}: {name}"
    weights = math.prod(info.shape)
    try:
        streams = read_value(
            container.raw(name + STREAM), weights, info.planes, value, layout, where
        )
        mask = decode_index(
            container.raw(name + INDEX),
            info.shape,
            info.decoder.index,
            layout.order,
            layout.slices_per_stream,
            where,
        )
        codes = value_codec(value.codec).decode(streams, mask, info.planes, value, where)
    except ConfigError as error:  # parameters for which there is no network
        raise FormatError(f"{where}: {error}") from None
    scales = container.array(name + SCALE) if info.quantizer else np.zeros((0, 0), np.float16)
    levels = value_codec(value.codec).levels
    found = levels(streams) if levels else None
    return Quantized(mask, codes, scales, levels=found, rotation=info.rotation)
