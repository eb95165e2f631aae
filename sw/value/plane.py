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
from xorloom.sw.tensors.moments import Moments
from xorloom.sw.tensors.quantize import Quantizer

__all__ = [
    "ValueLayout",
    "check_method",
    "choose_value",
    "decode_value",
    "encode_value",
    "pack_value",
    "read_value",
    "stream_bits",
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


def check_method(quantizer: Quantizer | None, config: ValueConfig) -> None:
    """Check that a quantizer goes with a value codec; ``None`` are the user's own codes.

    Raises
    ------
    ConfigError
        If it does not: ``trellis`` goes with a codec that chooses the values, and only with it.
    """
    if config.chooses_values and (quantizer is None or quantizer.method != "trellis"):
        found = "codes of your own" if quantizer is None else f"the {quantizer.method} quantizer"
        raise ConfigError(
            f"the {config.codec} value codec chooses the codes itself: quantizer must be trellis, "
            f"not {found}"
        )
    if not config.chooses_values and quantizer is not None and quantizer.method == "trellis":
        raise ConfigError(
            f"the trellis quantizer goes with the direct value codec, not {config.codec}"
        )


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


def choose_value(
    weights: np.ndarray,
    config: ValueConfig,
    quantizer: Quantizer,
    order: str = "auto",
    *,
    importance: np.ndarray | None = None,
    moments: Moments | None = None,
    has_bias: bool = False,
    rotation: int | None = None,
    threads: int | None = None,
    name: str = "weights",
) -> Any:
    """Let a codec choose the values of a tensor.

    Parameters
    ----------
    weights : float array of any shape
    config : ValueConfig
    quantizer : Quantizer
        Of the method ``trellis``.
    order : str
    importance : array of the same shape, not negative, optional
        What a weight's squared error counts.
    moments : Moments, optional
        Of the matrix's inputs: later columns make up for the errors of earlier ones.
    has_bias : bool
        A bias takes up the error of the inputs' mean.
    rotation : int, optional
        Seed of the rotation that the weights get first.
    threads : int, optional
        All available cores by default; the result is the same.
    name : str
        Of the tensor, for messages.

    Returns
    -------
    choice
        See :class:`xorloom.sw.value.direct.codec.DirectChoice`.

    Raises
    ------
    ConfigError
        If a parameter does not fit, or the codec chooses no values.
    """
    choose = value_codec(config.codec).choose
    if choose is None:
        raise ConfigError(f"the {config.codec} value codec stores given codes: quantize first")
    return choose(
        weights,
        config,
        quantizer,
        order,
        name,
        importance=importance,
        moments=moments,
        has_bias=has_bias,
        rotation=rotation,
        threads=threads,
    )


def pack_value(streams: Any, config: ValueConfig) -> tuple[bytes, StreamBits, ValueLayout]:
    """Write the streams of values that a codec chose."""
    pack = value_codec(config.codec).pack
    assert pack is not None  # of every codec that chooses values
    data, bits, order, size = pack(streams, config)
    return data, bits, ValueLayout(order, size)


def stream_bits(weights: int, config: ValueConfig) -> StreamBits:
    """Count what the streams of a tensor will take, of a codec that chooses values."""
    measure = value_codec(config.codec).stream_bits
    assert measure is not None  # of every codec that chooses values
    return measure(weights, config)


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
