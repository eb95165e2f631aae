# SPDX-License-Identifier: Apache-2.0
"""Block codec: its record, for :mod:`xorloom.sw.bits.codec`."""

import numpy as np
from xorloom.sw.base.errors import FormatError
from xorloom.sw.bits.codec import ValueCodec
from xorloom.sw.bits.framing import StreamBits
from xorloom.sw.spec.config import BlockConfig
from xorloom.sw.tensors.orders import slice_count

from .codec import BlockSlices, decode, encode
from .stream import block_bits, pack_block, unpack_block

__all__ = ["CODEC"]


def _encode(
    mask: np.ndarray,
    codes: np.ndarray,
    planes: int,
    config: BlockConfig,
    _order: str,
    _slices_per_stream: int | None,
    threads: int | None,
    _index_bits: object,
) -> tuple[bytes, StreamBits, str, int]:
    """Encode; there is one order and one stream."""
    data, bits = pack_block(encode(mask, codes, planes, config, threads), config)
    return data, bits, "row", 0


def _read(
    data: bytes,
    weights: int,
    planes: int,
    config: BlockConfig,
    _order: str,
    _slices_per_stream: int,
    where: str,
) -> BlockSlices:
    slices = unpack_block(data, config, where)
    expected = slice_count(weights, config.n_out) * planes
    if slices.seeds.size != expected:
        raise FormatError(f"{where}: stream must hold {expected} slices, found {slices.seeds.size}")
    return slices


def _decode(
    slices: BlockSlices, mask: np.ndarray, planes: int, config: BlockConfig, _where: str
) -> np.ndarray:
    return decode(slices, mask, planes, config)


def _frames(_slices: BlockSlices, _weights: int, _planes: int, _config: BlockConfig) -> None:
    """There are no frames."""


def _arrange(
    slices: np.ndarray, shape: tuple[int, ...], planes: int, config: BlockConfig, _order: str
) -> np.ndarray:
    """Put the planes of ``n_out`` weights, which are consecutive slices, together."""
    weights = int(np.prod(shape, dtype=np.int64))
    count = slice_count(weights, config.n_out)
    bits = slices[: count * planes].reshape(count, planes, config.n_out)
    weight = np.left_shift(1, np.arange(planes, dtype=np.uint8), dtype=np.uint8)[:, None]
    codes = (bits * weight).sum(axis=1, dtype=np.uint8)
    return codes.reshape(-1)[:weights].reshape(shape)


CODEC = ValueCodec(
    encode=_encode,
    read=_read,
    decode=_decode,
    bits=block_bits,
    due=None,
    frames=_frames,
    arrange=_arrange,
)
