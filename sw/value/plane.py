# SPDX-License-Identifier: Apache-2.0
"""The value plane of a tensor with either codec: codes to memory streams and back."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from xorloom.sw.base.errors import FormatError
from xorloom.sw.bits.framing import StreamBits
from xorloom.sw.spec.config import BlockConfig, ValueConfig, WindowConfig
from xorloom.sw.tensors.orders import slice_count
from xorloom.sw.value.window.codec import WindowStreams

from .block import codec as block_codec
from .block import stream
from .window import codec as window_codec
from .window import stream as window_stream

__all__ = ["ValueLayout", "decode_value", "encode_value", "value_bits", "value_frames"]


@dataclass(frozen=True)
class ValueLayout:
    """How a tensor's weights lie in its streams.

    Parameters
    ----------
    order : str
        One of :data:`xorloom.sw.tensors.orders.ORDERS`; always ``row`` with the block codec.
    slices_per_stream : int
        Slices of all streams but the last; 0: one stream.
    """

    order: str = "row"
    slices_per_stream: int = 0


def encode_value(
    mask: np.ndarray,
    codes: np.ndarray,
    planes: int,
    config: ValueConfig,
    order: str = "auto",
    threads: int | None = None,
    slices_per_stream: int | None = None,
) -> tuple[bytes, StreamBits, ValueLayout]:
    """Encode kept codes into memory streams; order and slices per stream are the window codec's.

    Raises
    ------
    ConfigError
        If mask, codes and planes do not fit together, or the order is unknown.
    CapacityError
        If the tensor does not fit the format or the window.
    """
    if isinstance(config, BlockConfig):
        slices = block_codec.encode(mask, codes, planes, config, threads)
        return *stream.pack_block(slices, config), ValueLayout()
    encoded = window_codec.encode(
        mask,
        codes,
        planes,
        config,
        order=order,
        slices_per_stream=slices_per_stream,
        threads=threads,
    )
    layout = ValueLayout(encoded.order, encoded.slices_per_stream)
    return *window_stream.pack_window(encoded, config), layout


def _read_window(
    data: bytes, weights: int, planes: int, config: WindowConfig, layout: ValueLayout, where: str
) -> WindowStreams:
    return window_stream.unpack_window(
        data,
        config,
        order=layout.order,
        weights=weights,
        planes=planes,
        slices_per_stream=layout.slices_per_stream,
        where=where,
    )


def decode_value(
    data: bytes, mask: np.ndarray, planes: int, config: ValueConfig, layout: ValueLayout, where: str
) -> np.ndarray:
    """Return the codes, uint8 of ``mask``'s shape, 0 where pruned.

    Raises
    ------
    FormatError
        If a stream is damaged or does not fit the tensor; ``where`` names it.
    """
    if isinstance(config, WindowConfig):
        encoded = _read_window(data, mask.size, planes, config, layout, where)
        return window_codec.decode(encoded, mask, planes, config, where)
    slices = stream.unpack_block(data, config, where)
    expected = slice_count(mask.size, config.n_out) * planes
    if slices.seeds.size != expected:
        raise FormatError(f"{where}: stream must hold {expected} slices, found {slices.seeds.size}")
    return block_codec.decode(slices, mask, planes, config)


def value_bits(
    data: bytes, weights: int, planes: int, config: ValueConfig, layout: ValueLayout, where: str
) -> StreamBits:
    """Count the bits of a tensor's streams.

    Raises
    ------
    FormatError
        If a stream is damaged or does not fit the tensor.
    """
    if isinstance(config, WindowConfig):
        encoded = _read_window(data, weights, planes, config, layout, where)
        return window_stream.window_bits(encoded, config)
    return stream.block_bits(stream.unpack_block(data, config, where), config)


def value_frames(
    data: bytes, weights: int, planes: int, config: ValueConfig, layout: ValueLayout, where: str
) -> dict[str, Any] | None:
    """Tell the frames' rates of a tensor; ``None`` with the block codec, which has none.

    Returns
    -------
    dict
        ``order``; ``streams``; ``slices``; ``steps`` and ``patches`` of every frame, in order.

    Raises
    ------
    FormatError
        If a stream is damaged or does not fit the tensor.
    """
    if isinstance(config, BlockConfig):
        return None
    encoded = _read_window(data, weights, planes, config, layout, where)
    facts = np.concatenate([s.facts for s in encoded.streams] or [np.zeros((0, 2), np.int64)])
    return {
        "order": encoded.order,
        "streams": len(encoded.streams),
        "slices": slice_count(weights, window_codec.per_slice(config, planes)),
        "frame_slices": config.frame,
        "steps": (config.frame + (facts[:, 0] << config.rate_shift)).tolist(),
        "patches": facts[:, 1].tolist(),
    }
