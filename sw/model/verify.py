# SPDX-License-Identifier: Apache-2.0
"""Proof by the golden model that a compressed tensor decodes as it should."""

import numpy as np
from xorloom.sw.bits.framing import split_streams
from xorloom.sw.golden.block import block_decoder
from xorloom.sw.golden.bus import bus_words
from xorloom.sw.golden.window import window_decoder
from xorloom.sw.spec.config import BlockConfig, ValueConfig, WindowConfig
from xorloom.sw.spec.taps import columns
from xorloom.sw.tensors.orders import lanes, needs_transpose, slice_count

from .container import STREAM, Container
from .decompress import decode_tensor

__all__ = ["beat_bytes", "expected_bytes", "golden_codes"]


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
