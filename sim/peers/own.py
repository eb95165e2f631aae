# SPDX-License-Identifier: Apache-2.0
"""xorloom's codecs, one thread: a given mask in the entropy index, and a mask out of a trellis."""

from functools import partial
from typing import Any

import numpy as np
from xorloom.sw.bits.codec import value_codec
from xorloom.sw.bits.spread import signed_values
from xorloom.sw.index.choice import index_config
from xorloom.sw.index.masks import choose_mask
from xorloom.sw.index.plane import decode_index_words
from xorloom.sw.model.codec import EncodedTensor, encode_tensor
from xorloom.sw.spec.config import WindowConfig
from xorloom.sw.spec.weight_format import Decoder
from xorloom.sw.tensors.quantize import Quantized, quantize
from xorloom.sw.value.plane import read_value
from xorloom.sw.value.search import window_for

from .sample import Clock, Sample, Stored, values_of

__all__ = ["encode_chosen", "encode_given"]


def encode_given(order: str, sample: Sample, clock: Clock) -> Stored:
    """Store the given mask, in an order or the best one (``auto``)."""
    made = Quantized(sample.mask, sample.codes, np.zeros((0, 0), np.float16))
    value = window_for(1 - sample.sparsity, WindowConfig())
    index = index_config("entropy", value, sample.planes, density=1 - sample.sparsity)
    decoder = Decoder(value, index)
    with clock:
        encoded = encode_tensor(made, sample.planes, decoder, order=order, threads=1)
    return _stored(made, sample.planes, decoder, encoded)


def encode_chosen(window: int, sample: Sample, clock: Clock) -> Stored:
    """Store a mask that the trellis chooses, and codes made for it; making them is not timed."""
    density, planes = 1 - sample.sparsity, sample.planes
    value = window_for(density, WindowConfig())
    with clock:
        choice = choose_mask(
            sample.weights, density=density, value=value, planes=planes, window=window, threads=1
        )
    made = quantize(sample.weights, choice.mask, sample.quantizer, fixed_mask=True)
    decoder = Decoder(value, choice.index)
    with clock:
        encoded = encode_tensor(
            made,
            planes,
            decoder,
            order=choice.order,
            slices_per_stream=choice.slices_per_stream,
            chosen=choice.encoded,
            threads=1,
        )
    return _stored(made, planes, decoder, encoded)


def _stored(made: Quantized, planes: int, decoder: Decoder, encoded: EncodedTensor) -> Stored:
    stored = (encoded, made.mask.shape, planes, decoder)
    return Stored(
        8 * (len(encoded.stream) + len(encoded.index)),
        partial(_decode, *stored),
        values_of(made.mask, made.codes, planes),
        made.mask,
        partial(_decode_planes, *stored),
    )


def _decode(
    encoded: EncodedTensor, shape: tuple[int, ...], planes: int, decoder: Decoder
) -> np.ndarray:
    """Decode to int8, as :meth:`xorloom.sw.value.packed.PackedTensor.int8` does."""
    mask, bits = _decode_planes(encoded, shape, planes, decoder)
    return signed_values(mask, bits, encoded.bits.weights).reshape(shape)


def _decode_planes(
    encoded: EncodedTensor, shape: tuple[int, ...], planes: int, decoder: Decoder
) -> tuple[np.ndarray, np.ndarray]:
    """Decode to packed bits, as :func:`xorloom.sw.model.codec.decode_planes` does."""
    streams, mask = _read(encoded, shape, planes, decoder)
    words = value_codec(decoder.value.codec).words
    assert words is not None  # of the window codec
    mask = mask[: -(-encoded.bits.weights // 64)]
    bits = words(streams, shape, planes, decoder.value, "peers")[:, : mask.size]
    bits &= mask
    return mask, bits


def _read(
    encoded: EncodedTensor, shape: tuple[int, ...], planes: int, decoder: Decoder
) -> tuple[Any, np.ndarray]:
    """Return the checked value streams, and the packed mask."""
    layout, weights = encoded.layout, encoded.bits.weights
    streams = read_value(encoded.stream, weights, planes, decoder.value, layout, "peers")
    mask = decode_index_words(
        encoded.index, shape, decoder.index, layout.order, layout.slices_per_stream, "peers"
    )
    return streams, mask
