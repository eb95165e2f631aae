# SPDX-License-Identifier: Apache-2.0
"""Proof by the golden model that a compressed tensor decodes as it should."""

import numpy as np
from xorloom.sw.bits.codec import value_codec
from xorloom.sw.bits.framing import split_streams
from xorloom.sw.golden.bus import bus_words
from xorloom.sw.golden.codecs import value_decoder
from xorloom.sw.spec.config import ValueConfig

from .container import STREAM, Container
from .decompress import decode_tensor

__all__ = ["beat_bytes", "expected_bytes", "golden_codes"]


def beat_bytes(config: ValueConfig) -> int:
    """Bytes of an output beat: its slices, filled up."""
    return -(-config.slices_per_beat * config.n_out // 8)


def expected_bytes(stream: bytes, config: ValueConfig) -> bytes:
    """Return the bytes that the decoder must put on ``m_axis`` for one memory stream."""
    beats = value_decoder(config, bus_words(stream, config.bus_bits))
    return b"".join(beat.to_bytes(beat_bytes(config), "little") for beat in beats)


def golden_codes(container: Container, name: str) -> np.ndarray:
    """Decode a compressed tensor with the golden model; codes are 0 where pruned."""
    info, config = container.tensor(name), container.config
    mask = decode_tensor(container, name).mask
    streams = split_streams(container.raw(name + STREAM), config.bus_bytes, name)
    frame = b"".join(expected_bytes(data, config) for data in streams)
    flat = np.unpackbits(np.frombuffer(frame, np.uint8), bitorder="little")
    beats = flat.reshape(-1, 8 * beat_bytes(config))
    slices = beats[:, : config.slices_per_beat * config.n_out].reshape(-1, config.n_out)
    arrange = value_codec(config.codec).arrange
    codes = arrange(slices, mask.shape, info.planes, config, info.layout.order)
    return np.where(mask, codes, 0).astype(np.uint8)
