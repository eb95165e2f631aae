# SPDX-License-Identifier: Apache-2.0
"""Memory streams of the index codecs with random payload: any bits are one."""

import random

from xorloom.sw.decoder import bus_words
from xorloom.sw.decoder_index import bitmap_decoder, trellis_decoder
from xorloom.sw.index_config import BitmapConfig, TrellisConfig
from xorloom.sw.layout import KIND_BITMAP, KIND_TRELLIS, Header, network_id
from xorloom.sw.stream import frame_payload

__all__ = ["IndexConfig", "golden_masks", "index_stream"]

IndexConfig = BitmapConfig | TrellisConfig


def index_stream(config: IndexConfig, count: int, seed: int = 1) -> bytes:
    """Return a memory stream of ``count`` mask bits."""
    if isinstance(config, BitmapConfig):
        kind, network, bits = KIND_BITMAP, 0, count
    else:
        beats = -(-count // config.n_out)
        chunks = beats + config.class_chunks * -(-beats // config.period)
        kind, network, bits = KIND_TRELLIS, network_id(config), chunks * config.n_in
    words = -(-bits // config.bus_bits)
    body = random.Random(seed).getrandbits(bits) if bits else 0
    payload = body.to_bytes(words * config.bus_bytes, "little")
    return frame_payload(Header(kind, count, network, words), payload, config.bus_bytes)


def golden_masks(config: IndexConfig, data: bytes) -> list[int]:
    """Return the beats of a stream."""
    words = bus_words(data, config.bus_bits)
    if isinstance(config, BitmapConfig):
        return bitmap_decoder(config, words)
    return trellis_decoder(config, words)
