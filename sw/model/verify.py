# SPDX-License-Identifier: Apache-2.0
"""Proof that a compressed tensor decodes as it should: by checksum, and by the golden model."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from xorloom.sw.base.errors import FormatError
from xorloom.sw.bits.framing import split_streams
from xorloom.sw.golden.block import block_decoder
from xorloom.sw.golden.bus import bus_words
from xorloom.sw.golden.window import window_decoder
from xorloom.sw.spec.config import BlockConfig, ValueConfig, WindowConfig
from xorloom.sw.spec.taps import columns
from xorloom.sw.tensors.orders import lanes, needs_transpose, slice_count
from xorloom.sw.tensors.quantize import Quantized

from .codec import decode_tensor
from .container import STREAM, Container, content_crc32

__all__ = [
    "Verdict",
    "beat_bytes",
    "expected_bytes",
    "golden_codes",
    "verify_model",
    "verify_tensor",
]


def verify_tensor(container: Container, name: str) -> Quantized:
    """Decode a tensor and check it against what was compressed.

    Raises
    ------
    FormatError
        If mask or codes are not those that were compressed.
    """
    decoded = decode_tensor(container, name)
    found, expected = (
        content_crc32(decoded.mask, decoded.codes),
        container.tensor(name).content_crc32,
    )
    if found != expected:
        raise FormatError(
            f"{container.path}: {name}: mask and codes must have CRC-32 {expected:08x}, "
            f"decoded {found:08x}"
        )
    return decoded


@dataclass(frozen=True)
class Verdict:
    """What was found of one tensor of a file; ``message`` tells what is wrong, if something is."""

    tensor: str
    ok: bool
    message: str = ""


def verify_model(
    container: Container,
    *,
    golden: bool = False,
    progress: Callable[[str], None] = lambda name: None,
) -> list[Verdict]:
    """Check every tensor of a file against the checksums of what was compressed.

    Parameters
    ----------
    container : Container
    golden : bool
        Decode with the slow golden model as well, and compare.
    progress : callable
        Called with every tensor's name.
    """
    verdicts = []
    for name in [*container.tensors, *container.untouched]:
        try:
            if name in container.tensors:
                decoded = verify_tensor(container, name)
                if golden and (golden_codes(container, name) != decoded.codes).any():
                    raise FormatError(f"{name}: fast decoder and golden model differ")
            else:
                container.raw(name)
            verdicts.append(Verdict(name, True))
        except FormatError as error:
            verdicts.append(Verdict(name, False, str(error)))
        progress(name)
    return verdicts


def beat_bytes(config: ValueConfig) -> int:
    """Bytes of an output beat: a group of slices (block) or a slice (window)."""
    lanes = config.lanes if isinstance(config, BlockConfig) else 1
    return -(-lanes * config.n_out // 8)


def expected_bytes(stream: bytes, config: ValueConfig) -> bytes:
    """Return the bytes that the decoder must put on ``m_axis`` for one memory stream."""
    words = bus_words(stream, config.bus_bits)
    if isinstance(config, WindowConfig):
        network = columns(config.network.rows, config.window)
        beats = window_decoder(config, network, words)
    else:
        beats = block_decoder(config, columns(config.rows, config.n_in), words)
    return b"".join(beat.to_bytes(beat_bytes(config), "little") for beat in beats)


def golden_codes(container: Container, name: str) -> np.ndarray:
    """Decode a compressed tensor with the golden model; codes are 0 where pruned."""
    info, config = container.tensor(name), container.config
    mask = decode_tensor(container, name).mask
    streams = split_streams(container.raw(name + STREAM), config.bus_bytes, name)
    frame = b"".join(expected_bytes(data, config) for data in streams)
    flat = np.unpackbits(np.frombuffer(frame, np.uint8), bitorder="little")
    bits = flat.reshape(-1, 8 * beat_bytes(config))
    if isinstance(config, WindowConfig):
        codes = _window_codes(bits, mask.size, info.planes, config, info.layout.order)
        if needs_transpose(info.layout.order) and mask.ndim > 1:
            codes = codes.reshape(-1, mask.shape[0]).T.reshape(-1)
    else:
        slices = bits[:, : config.lanes * config.n_out].reshape(-1, config.n_out)
        count = slice_count(mask.size, config.n_out)
        planes = slices[: count * info.planes].reshape(count, info.planes, config.n_out)
        weight = np.left_shift(1, np.arange(info.planes, dtype=np.uint8), dtype=np.uint8)[:, None]
        codes = (planes * weight).sum(axis=1, dtype=np.uint8).reshape(-1)[: mask.size]
    return np.where(mask, codes.reshape(mask.shape), 0).astype(np.uint8)


def _window_codes(
    slices: np.ndarray, weights: int, planes: int, config: WindowConfig, order: str
) -> np.ndarray:
    """Put decoded slice bits (slices, n_out) in the order's own sequence of weights."""
    per_slice = config.n_out // planes
    where = lanes(order, weights, per_slice)
    codes = np.zeros(weights, np.uint8)
    for lane in range(per_slice):
        length = int(where.length[lane])
        if length:
            turned = (np.arange(length) + where.turn[lane]) % length
            own = slices[:length, lane * planes : (lane + 1) * planes]
            place = where.start[lane] + where.step * turned
            codes[place] = np.packbits(own, axis=1, bitorder="little")[:, 0]
    return codes
