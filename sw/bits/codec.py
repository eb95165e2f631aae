# SPDX-License-Identifier: Apache-2.0
"""Records of the codecs: the functions that every index codec and every value codec offers.

``xorloom.sw.index.NAME`` and ``xorloom.sw.value.NAME`` have one as ``CODEC``;
:mod:`xorloom.sw.spec.codecs` lists the names.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from xorloom.sw.spec.index_config import IndexConfig
from xorloom.sw.spec.layout import Header

from .framing import StreamBits

__all__ = ["IndexCodec", "ValueCodec", "index_codec", "value_codec"]


@dataclass(frozen=True, kw_only=True)
class IndexCodec:
    """Index codec: masks to memory streams and back. Arguments are positional.

    Parameters
    ----------
    unpack : (data, count, config, where) -> (slices, ceil(n_out / 64)) uint64
        Read one stream of ``count`` weights: the mask, packed slice by slice.
    due : (data, header, config, where) -> (words,) int64
        Beat with which every payload word of a stream falls due; checks the number of words.
    configure : (n_out, bus_bits, **wishes) -> config
        Parameters for what a user asks for, see :func:`xorloom.sw.index.choice.index_config`.
    pack : (mask, count, config) -> bytes, optional
        Write the slices of a given mask, packed as ``unpack`` returns them, as one stream of
        ``count`` weights.
    choose : (importance, counts, density, config, slices_per_stream, threads), optional
        Choose a mask for slices of importance: return it, and a stream for every count. A codec
        has either ``pack`` or ``choose``.
    orders : config -> names of weight orders
        Those in which the codec may keep most.
    stream_bits : (count, density, config) -> float
        About how many bits the payload of a stream of ``count`` weights takes at a density, at
        most; exact of codecs with a rate.
    order_bits : (packed, weights, slices_per_stream, config) -> float, optional
        About how many bits a given mask takes in the order of ``packed``, which
        :func:`xorloom.sw.bits.slices.packed_beats` gave; ``None``: as many in every order.
    trial : config -> config
        Quicker parameters that judge an order as well.
    """

    unpack: Callable[[bytes, int, Any, str], np.ndarray]
    due: Callable[[bytes, Header, Any, str], np.ndarray]
    configure: Callable[..., IndexConfig]
    stream_bits: Callable[[int, float, Any], float]
    pack: Callable[[np.ndarray, int, Any], bytes] | None = None
    choose: (
        Callable[
            [np.ndarray, Sequence[int], float, Any, int, int | None],
            tuple[np.ndarray, list[bytes]],
        ]
        | None
    ) = None
    orders: Callable[[Any], Sequence[str]] = lambda config: ("skewed", "skewed-column")
    order_bits: Callable[[np.ndarray, int, int, Any], float] | None = None
    trial: Callable[[Any], Any] = lambda config: config


@dataclass(frozen=True, kw_only=True)
class ValueCodec:
    """Value codec: codes to memory streams and back. Arguments are positional.

    Parameters
    ----------
    encode : (mask, codes, planes, config, order, slices_per_stream, threads, index_bits), optional
        Return the streams, their bits, the order and the slices per stream; ``index_bits`` or
        ``None`` tells what the index costs in an order. A codec that chooses the values has none.
    read : (data, weights, planes, config, order, slices_per_stream, where) -> encoded
        Check the streams of a tensor.
    decode : (encoded, mask, planes, config, where) -> codes
    bits : (encoded, config) -> StreamBits
    due : (data, config, where) -> (words,) int64, optional
        Slice with which every payload word of a stream falls due, of a codec that has weight
        streams.
    frames : (encoded, weights, planes, config) -> dict or None
        Rates of the frames, of a codec that has them.
    arrange : (slices, shape, planes, config, order) -> codes
        Put decoded slices (n, n_out), each bit a uint8, in the tensor's order.
    levels : encoded -> (2**planes,) int8, optional
        What codes mean, where the streams say it.
    choose : (weights, config, quantizer, order, name, **wishes) -> choice, optional
        Choose the values of weights: return streams, codes, scales and notes, see
        :class:`xorloom.sw.value.direct.codec.DirectChoice`. Wishes are those of
        :func:`xorloom.sw.value.plane.choose_value`. A codec has either ``encode``, or this and the
        next two.
    pack : (streams, config) -> (data, StreamBits, order, slices_per_stream), optional
        Write chosen streams.
    stream_bits : (weights, config) -> StreamBits, optional
        What the streams of a tensor will take.
    words : (encoded, shape, planes, config, where) -> (planes, words) uint64, optional
        Bits of all weights, packed in row-major order, of a codec that decodes to such; those of
        pruned weights are anything.
    """

    encode: Callable[..., tuple[bytes, StreamBits, str, int]] | None
    read: Callable[[bytes, int, int, Any, str, int, str], Any]
    decode: Callable[[Any, np.ndarray, int, Any, str], np.ndarray]
    bits: Callable[[Any, Any], StreamBits]
    due: Callable[[bytes, Any, str], np.ndarray] | None
    frames: Callable[[Any, int, int, Any], dict[str, Any] | None]
    arrange: Callable[[np.ndarray, tuple[int, ...], int, Any, str], np.ndarray]
    levels: Callable[[Any], np.ndarray] | None = None
    choose: Callable[..., Any] | None = None
    pack: Callable[[Any, Any], tuple[bytes, StreamBits, str, int]] | None = None
    stream_bits: Callable[[int, Any], StreamBits] | None = None
    words: Callable[[Any, tuple[int, ...], int, Any, str], np.ndarray] | None = None


def index_codec(name: str) -> IndexCodec:
    """Return the record of an index codec; its module is imported when first asked for."""
    record: IndexCodec = import_module(f"xorloom.sw.index.{name}").CODEC
    return record


def value_codec(name: str) -> ValueCodec:
    """Return the record of a value codec; its module is imported when first asked for."""
    record: ValueCodec = import_module(f"xorloom.sw.value.{name}").CODEC
    return record
