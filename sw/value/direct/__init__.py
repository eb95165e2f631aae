# SPDX-License-Identifier: Apache-2.0
"""Direct codec: its record, for :mod:`xorloom.sw.bits.codec`."""

import numpy as np
from xorloom.sw.bits.codec import ValueCodec
from xorloom.sw.bits.framing import StreamBits
from xorloom.sw.spec.direct import DirectConfig
from xorloom.sw.tensors.orders import arrange_codes

from .codec import decode
from .stream import (
    DirectStreams,
    direct_bits,
    direct_due,
    pack_direct,
    tensor_stream_bits,
    unpack_direct,
)

__all__ = ["CODEC"]


def _read(
    data: bytes,
    weights: int,
    _planes: int,
    config: DirectConfig,
    order: str,
    slices_per_stream: int,
    where: str,
) -> DirectStreams:
    return unpack_direct(
        data,
        config,
        order=order,
        weights=weights,
        slices_per_stream=slices_per_stream,
        where=where,
    )


def _decode(
    encoded: DirectStreams, mask: np.ndarray, _planes: int, config: DirectConfig, _where: str
) -> np.ndarray:
    return decode(encoded, mask.shape, config)


def _frames(_encoded: DirectStreams, _weights: int, _planes: int, _config: DirectConfig) -> None:
    """There are no frames."""


def _arrange(
    slices: np.ndarray, shape: tuple[int, ...], planes: int, _config: DirectConfig, order: str
) -> np.ndarray:
    return arrange_codes(slices, shape, planes, order)


def _pack(encoded: DirectStreams, config: DirectConfig) -> tuple[bytes, StreamBits, str, int]:
    data, bits = pack_direct(encoded, config)
    return data, bits, encoded.order, encoded.slices_per_stream


def _levels(encoded: DirectStreams) -> np.ndarray:
    return encoded.levels


CODEC = ValueCodec(
    encode=None,
    read=_read,
    decode=_decode,
    bits=direct_bits,
    due=direct_due,
    frames=_frames,
    arrange=_arrange,
    levels=_levels,
    pack=_pack,
    stream_bits=tensor_stream_bits,
)
