# SPDX-License-Identifier: Apache-2.0
"""Direct codec: its record, for :mod:`xorloom.sw.bits.codec`."""

from dataclasses import replace

import numpy as np
from xorloom.sw.bits.codec import ValueCodec
from xorloom.sw.bits.framing import StreamBits
from xorloom.sw.spec.direct import DirectConfig
from xorloom.sw.tensors import rotation as turning
from xorloom.sw.tensors.moments import Moments
from xorloom.sw.tensors.orders import arrange_codes
from xorloom.sw.tensors.quantize import Quantizer

from .calibrated import compensated
from .choose import choose as nearest_values
from .codec import DirectChoice, decode
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


def _choose(
    weights: np.ndarray,
    config: DirectConfig,
    quantizer: Quantizer,
    order: str,
    name: str,
    *,
    importance: np.ndarray | None,
    moments: Moments | None,
    has_bias: bool,
    rotation: int | None,
    threads: int | None,
) -> DirectChoice:
    if moments is not None:
        return compensated(
            weights, config, moments, quantizer, rotation=rotation, has_bias=has_bias, name=name
        )
    if rotation is None:
        return nearest_values(
            weights,
            config,
            quantizer,
            order=order,
            importance=importance,
            threads=threads,
            name=name,
        )
    turned = turning.rotate(weights, rotation, name=name)
    choice = nearest_values(
        turned,
        config,
        quantizer,
        order=order,
        importance=importance,
        threads=threads,
        name=name,
    )
    note = turning.note(weights.shape)
    return replace(choice, notes=(note, *choice.notes)) if note else choice


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
    choose=_choose,
    pack=_pack,
    stream_bits=tensor_stream_bits,
)
