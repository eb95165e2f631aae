# SPDX-License-Identifier: Apache-2.0
"""Proof that a compressed file decodes as it should: by checksum, and by the golden model.

All checks of decompressing are here: :func:`xorloom.sw.model.decompress.decompress_model` writes
what :func:`plain_pieces` returns, and :func:`verify_model` makes the same and throws it away.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

import numpy as np
from xorloom.sw.base.errors import CapacityError, ConfigError, FormatError
from xorloom.sw.base.progress import Progress, no_progress
from xorloom.sw.bits.codec import value_codec
from xorloom.sw.bits.framing import split_streams
from xorloom.sw.bits.gf2 import unpack_bool
from xorloom.sw.golden.bus import bus_words
from xorloom.sw.golden.codecs import index_decoder, value_decoder, value_levels
from xorloom.sw.spec.config import ValueConfig
from xorloom.sw.tensors.codes import signed_codes
from xorloom.sw.tensors.orders import runs, tensor_of
from xorloom.sw.tensors.quantize import Quantized
from xorloom.sw.tensors.safetensors_file import rounded_to
from xorloom.sw.value.packed import PackedTensor

from .codec import decode_packed, decode_tensor
from .container import INDEX, STREAM, Container, content_crc32, plain_header

__all__ = [
    "Verdict",
    "beat_bytes",
    "expected_bytes",
    "golden_codes",
    "golden_levels",
    "golden_mask",
    "plain_pieces",
    "plain_weights",
    "verify_model",
    "verify_packed",
    "verify_tensor",
]

_DAMAGED = (FormatError, ConfigError, CapacityError)


def verify_tensor(container: Container, name: str) -> Quantized:
    """Decode a tensor and check it against what was compressed.

    Raises
    ------
    FormatError
        If mask or codes are not those that were compressed.
    """
    decoded = decode_tensor(container, name)
    _check_content(container, name, decoded.mask, decoded.codes, decoded.levels, decoded.scales)
    return decoded


def verify_packed(container: Container, name: str) -> list[PackedTensor]:
    """Decode a tensor of the original to packed bits, checked as :func:`verify_tensor` does.

    Raises
    ------
    FormatError
        If mask or codes are not those that were compressed.
    """
    parts = decode_packed(container, name)
    for block, part in zip(container.blocks(name), parts, strict=True):
        kept = unpack_bool(part.mask, math.prod(part.shape))
        _check_content(container, block, kept, part.codes().reshape(-1), part.levels, part.scales)
    return parts


def _check_content(
    container: Container,
    name: str,
    mask: np.ndarray,
    codes: np.ndarray,
    levels: np.ndarray | None,
    scales: np.ndarray,
) -> None:
    """Check what was decoded against what was compressed."""
    found, expected = content_crc32(mask, codes, levels), container.tensor(name).content_crc32
    if found != expected:
        raise FormatError(
            f"{container.label(name)}: mask and codes must have CRC-32 {expected:08x}, "
            f"decoded {found:08x}"
        )
    if not np.isfinite(scales).all():
        raise FormatError(f"{container.label(name)}: scales must be finite")


def plain_pieces(
    container: Container, name: str, *, keep_rotation: bool = False
) -> list[Iterator[bytes | memoryview]]:
    """Decode a tensor of the original, compressed or not, to the bytes of a plain file.

    A tensor in blocks comes block by block, one that was passed through in pieces.

    Parameters
    ----------
    container : Container
    name : str
    keep_rotation : bool
        Leave rotated weights rotated.

    Returns
    -------
    list of iterators of bytes or memoryview
        Of the tensor; of one whose codes the user brought, codes and mask. They raise

    FormatError
        If it is damaged.
    CapacityError
        If the file has more weights than are decoded unasked.
    """
    blocks = container.blocks(name)
    if not blocks:
        return [container.pieces(name)]
    if container.tensors[blocks[0]].quantizer is None:
        decoded = partial(verify_tensor, container)
        return [
            (_bytes_of(_own_codes(container, block, decoded(block))) for block in blocks),
            (_bytes_of(decoded(block).mask) for block in blocks),
        ]
    return [
        (_bytes_of(_weights(container, block, keep_rotation=keep_rotation)) for block in blocks)
    ]


def _own_codes(container: Container, name: str, decoded: Quantized) -> np.ndarray:
    """Return the codes that the user brought, as they were."""
    info = container.tensor(name)
    return signed_codes(decoded.codes, info.planes) if info.dtype == "I8" else decoded.codes


def plain_weights(container: Container, name: str, *, keep_rotation: bool = False) -> np.ndarray:
    """Decode a compressed tensor that has scales to weights of its original dtype and shape.

    Parameters
    ----------
    container : Container
    name : str
    keep_rotation : bool
        Leave rotated weights rotated.

    Raises
    ------
    ConfigError
        If there is no such tensor.
    FormatError
        If it is damaged.
    CapacityError
        If the file has more weights than are decoded unasked.
    """
    blocks = container.blocks(name) or (name,)
    parts = [_weights(container, block, keep_rotation=keep_rotation) for block in blocks]
    if len(parts) == 1:
        return parts[0]
    return np.concatenate([part.reshape(-1) for part in parts]).reshape(
        container.joined[name].shape
    )


def _weights(container: Container, name: str, *, keep_rotation: bool) -> np.ndarray:
    info = container.tensor(name)
    assert info.quantizer is not None
    (part,) = verify_packed(container, name)
    if keep_rotation:
        part = replace(part, rotation=None)
    return rounded_to(part.weights(), info.dtype)


def _bytes_of(array: np.ndarray) -> memoryview:
    """Return an array's bytes without a copy; some dtypes have no buffers of their own."""
    return array.reshape(-1).view(np.uint8).data


@dataclass(frozen=True)
class Verdict:
    """What was found of one tensor of a file; ``message`` tells what is wrong, if something is.

    An empty name stands for what concerns the whole file.
    """

    tensor: str
    ok: bool
    message: str = ""


def verify_model(
    container: Container,
    *,
    golden: bool = False,
    progress: Progress = no_progress,
) -> list[Verdict]:
    """Check all that decompressing a file needs, tensor by tensor.

    Parameters
    ----------
    container : Container
    golden : bool
        Decode with the slow golden model as well, and compare.
    progress : callable
        Called with ``verify`` and every tensor's name.
    """
    try:
        container.check_weights()
        plain_header(container)
    except _DAMAGED as error:
        return [Verdict("", False, str(error))]
    verdicts = []
    for name in container.order:
        try:
            for piece in chain.from_iterable(plain_pieces(container, name)):
                del piece
            for block in container.blocks(name) if golden else ():
                _check_golden(container, block)
            verdicts.append(Verdict(name, True))
        except _DAMAGED as error:
            verdicts.append(Verdict(name, False, str(error)))
        progress("verify", name)
    return verdicts


def _check_golden(container: Container, name: str) -> None:
    """Compare fast decoder and golden model, index, values and what codes mean."""
    decoded = decode_tensor(container, name)
    for levels in golden_levels(container, name):
        if decoded.levels is None or levels != decoded.levels.tolist():
            raise FormatError(
                f"{container.label(name)}: levels of fast decoder and golden model differ"
            )
    for what, found, expected in (
        ("masks", golden_mask(container, name), decoded.mask),
        ("codes", golden_codes(container, name), decoded.codes),
    ):
        if (found != expected).any():
            raise FormatError(
                f"{container.label(name)}: {what} of fast decoder and golden model differ"
            )


def beat_bytes(config: ValueConfig) -> int:
    """Bytes of an output beat: its slices, filled up."""
    return -(-config.slices_per_beat * config.n_out // 8)


def expected_bytes(stream: bytes, config: ValueConfig) -> bytes:
    """Return the bytes that the decoder must put on ``m_axis`` for one memory stream."""
    beats = value_decoder(config, bus_words(stream, config.bus_bits))
    return b"".join(beat.to_bytes(beat_bytes(config), "little") for beat in beats)


def golden_mask(container: Container, name: str) -> np.ndarray:
    """Decode the index of a compressed tensor with the golden model, bool of its shape."""
    info = container.tensor(name)
    config = info.decoder.index
    size = math.prod(info.shape)
    streams = split_streams(container.raw(name + INDEX), config.bus_bytes, name)
    parts = [np.zeros((0, config.n_out), np.bool_)]
    counts = runs(size, config.n_out, info.layout.slices_per_stream)
    for stream, (_, _, count) in zip(streams, counts, strict=True):
        masks = index_decoder(config, bus_words(stream, config.bus_bits))
        data = b"".join(mask.to_bytes(-(-config.n_out // 8), "little") for mask in masks)
        rows = np.frombuffer(data, np.uint8).reshape(len(masks), -1)
        bits = np.unpackbits(rows, axis=1, bitorder="little", count=config.n_out)
        bits.reshape(-1)[count:] = 0  # lanes without a weight
        parts.append(bits.astype(np.bool_))
    return tensor_of(np.concatenate(parts), info.layout.order, info.shape)


def golden_levels(container: Container, name: str) -> list[list[int]]:
    """Return what codes mean by every value stream, with the golden model; none: no stream says."""
    config = container.tensor(name).decoder.value
    streams = split_streams(container.raw(name + STREAM), config.bus_bytes, name)
    found = (value_levels(config, bus_words(stream, config.bus_bits)) for stream in streams)
    return [levels for levels in found if levels is not None]


def golden_codes(container: Container, name: str) -> np.ndarray:
    """Decode a compressed tensor with the golden model; codes are 0 where pruned."""
    info = container.tensor(name)
    config = info.decoder.value
    mask = decode_tensor(container, name).mask
    streams = split_streams(container.raw(name + STREAM), config.bus_bytes, name)
    data = b"".join(expected_bytes(stream, config) for stream in streams)
    flat = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
    beats = flat.reshape(-1, 8 * beat_bytes(config))
    slices = beats[:, : config.slices_per_beat * config.n_out].reshape(-1, config.n_out)
    arrange = value_codec(config.codec).arrange
    codes = arrange(slices, mask.shape, info.planes, config, info.layout.order)
    return np.where(mask, codes, 0).astype(np.uint8)
