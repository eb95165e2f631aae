# SPDX-License-Identifier: Apache-2.0
"""Window codec: its record, for :mod:`xorloom.sw.bits.codec`."""

from typing import Any

import numpy as np
from xorloom.sw.bits.codec import ValueCodec
from xorloom.sw.bits.framing import StreamBits
from xorloom.sw.spec.config import WindowConfig
from xorloom.sw.tensors.orders import arrange_codes, slice_count

from .codec import WindowStreams, decode, decode_planes, encode, per_slice
from .order_choice import IndexBits
from .stream import pack_window, unpack_window, window_bits, window_due

__all__ = ["CODEC"]


def _encode(
    mask: np.ndarray,
    codes: np.ndarray,
    planes: int,
    config: WindowConfig,
    order: str,
    slices_per_stream: int | None,
    threads: int | None,
    index_bits: IndexBits | None,
) -> tuple[bytes, StreamBits, str, int]:
    encoded = encode(
        mask,
        codes,
        planes,
        config,
        order=order,
        slices_per_stream=slices_per_stream,
        threads=threads,
        index_bits=index_bits,
    )
    data, bits = pack_window(encoded, config)
    return data, bits, encoded.order, encoded.slices_per_stream


def _read(
    data: bytes,
    weights: int,
    planes: int,
    config: WindowConfig,
    order: str,
    slices_per_stream: int,
    where: str,
) -> WindowStreams:
    return unpack_window(
        data,
        config,
        order=order,
        weights=weights,
        planes=planes,
        slices_per_stream=slices_per_stream,
        where=where,
    )


def _frames(
    encoded: WindowStreams, weights: int, planes: int, config: WindowConfig
) -> dict[str, Any]:
    facts = np.concatenate([s.facts for s in encoded.streams] or [np.zeros((0, 2), np.int64)])
    return {
        "order": encoded.order,
        "streams": len(encoded.streams),
        "slices": slice_count(weights, per_slice(config, planes)),
        "frame_slices": config.frame,
        "steps": (config.frame + (facts[:, 0] << config.rate_shift)).tolist(),
        "patches": facts[:, 1].tolist(),
    }


def _arrange(
    slices: np.ndarray, shape: tuple[int, ...], planes: int, _config: WindowConfig, order: str
) -> np.ndarray:
    return arrange_codes(slices, shape, planes, order)


CODEC = ValueCodec(
    encode=_encode,
    read=_read,
    decode=decode,
    bits=window_bits,
    due=window_due,
    frames=_frames,
    arrange=_arrange,
    words=decode_planes,
)
