# SPDX-License-Identifier: Apache-2.0
"""Memory streams of the index codecs with random contents."""

import random

import numpy as np
from xorloom.sw.bits.framing import frame_payload
from xorloom.sw.index import hashed as index_hashed
from xorloom.sw.index.entropy import stream as index_entropy
from xorloom.sw.index.lowrank import codec as index_lowrank
from xorloom.sw.spec.hashed import HashedConfig
from xorloom.sw.spec.index_config import (
    BitmapConfig,
    EntropyConfig,
    IndexConfig,
    LowrankConfig,
    NoneConfig,
    TrellisConfig,
)
from xorloom.sw.spec.layout import Header, network_id

__all__ = ["index_stream"]


def index_stream(config: IndexConfig, count: int, seed: int = 1) -> bytes:
    """Return a memory stream of ``count`` mask bits."""
    if isinstance(config, EntropyConfig | LowrankConfig):
        return _encoded(config, count, seed)
    if isinstance(config, HashedConfig):
        return index_hashed.pack(seed * 40503 % 65536, count, config)
    if isinstance(config, BitmapConfig):
        kind, network, bits = BitmapConfig.kind, 0, count
    elif isinstance(config, NoneConfig):
        words = min(1, count)
        header = Header(config.kind, count, 0, words)
        return frame_payload(header, bytes(words * config.bus_bytes), config.bus_bytes)
    else:
        bits = _trellis_bits(config, count)
        kind, network = TrellisConfig.kind, network_id(config)
    words = -(-bits // config.bus_bits)  # any bits are a stream
    body = random.Random(seed).getrandbits(bits) if bits else 0
    payload = body.to_bytes(words * config.bus_bytes, "little")
    return frame_payload(Header(kind, count, network, words), payload, config.bus_bytes)


def _trellis_bits(config: TrellisConfig, count: int) -> int:
    beats = -(-count // config.n_out)
    return (beats + config.class_chunks * -(-beats // config.period)) * config.n_in


def _encoded(config: EntropyConfig | LowrankConfig, count: int, seed: int) -> bytes:
    """Encode what a random tensor has."""
    rng = np.random.default_rng(seed)
    slices = np.zeros((-(-count // config.n_out), config.n_out), np.float32)
    slices.reshape(-1)[:count] = rng.random(count)
    if isinstance(config, EntropyConfig):
        code = index_entropy.encode(slices > 0.8, config)
        return index_entropy.pack(code, count, config)
    chosen = index_lowrank.choose(slices, count, 0.3, config, exact=False, threads=1)
    return index_lowrank.pack(chosen, count, config)
