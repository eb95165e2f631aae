# SPDX-License-Identifier: Apache-2.0
"""Value plane of a tensor with any codec: codes to memory streams and back."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.bits.codec import value_codec
from xorloom.sw.bits.framing import StreamBits
from xorloom.sw.spec.config import ValueConfig

__all__ = [
    "ValueLayout",
    "decode_value",
    "encode_value",
    "read_value",
    "value_bits",
    "value_frames",
]


@dataclass(frozen=True)
class ValueLayout:
    """Layout of a tensor: how its weights lie in its streams.

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
    index_bits: Callable[[np.ndarray, int, int], float] | None = None,
) -> tuple[bytes, StreamBits, ValueLayout]:
    """Encode kept codes into memory streams; order and slices per stream are the window codec's.

    ``index_bits`` is what the index costs in an order, for ``auto``, see
    :func:`xorloom.sw.index.plane.order_bits`.

    Raises
    ------
    ConfigError
        If mask, codes and planes do not fit together, the order is unknown, or the codec chooses
        the codes itself.
    CapacityError
        If the tensor does not fit the format or the window.
    """
    encode = value_codec(config.codec).encode
    if encode is None:
        raise ConfigError(
            f"the {config.codec} value codec chooses the codes itself and cannot keep given ones: "
            "use --value window"
        )
    data, bits, order, size = encode(
        mask, codes, planes, config, order, slices_per_stream, threads, index_bits
    )
    return data, bits, ValueLayout(order, size)


def read_value(
    data: bytes, weights: int, planes: int, config: ValueConfig, layout: ValueLayout, where: str
) -> Any:
    """Check a tensor's streams and return them for the codec's ``decode``.

    It allocates in proportion to ``data``, not to ``weights``.

    Raises
    ------
    FormatError
        If a stream is damaged or does not fit the tensor; ``where`` names it.
    """
    return value_codec(config.codec).read(
        data, weights, planes, config, layout.order, layout.slices_per_stream, where
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
    encoded = read_value(data, mask.size, planes, config, layout, where)
    return value_codec(config.codec).decode(encoded, mask, planes, config, where)


def value_bits(
    data: bytes, weights: int, planes: int, config: ValueConfig, layout: ValueLayout, where: str
) -> StreamBits:
    """Count the bits of a tensor's streams.

    Raises
    ------
    FormatError
        If a stream is damaged or does not fit the tensor.
    """
    encoded = read_value(data, weights, planes, config, layout, where)
    return value_codec(config.codec).bits(encoded, config)


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
    encoded = read_value(data, weights, planes, config, layout, where)
    return value_codec(config.codec).frames(encoded, weights, planes, config)
