# SPDX-License-Identifier: Apache-2.0
"""Streams of the baseline decoders: encoders, and decoders as oracles of their RTL.

Every stream is a header of :data:`xorloom.hw.baselines.common.BASELINE_HEADER_BYTES`, padded to bus
words (32-bit count of weights, payload words, parameter), and the payload's words, all
little-endian. There is no CRC. Streams chain.
"""

from collections.abc import Callable

import numpy as np
from xorloom.hw.baselines.bitmask import BITMASK_LAG
from xorloom.hw.baselines.common import BASELINE_HEADER_BYTES
from xorloom.hw.baselines.csr import CSR_INDEX_BITS, CSR_ROW
from xorloom.sw.base.errors import ConfigError, FormatError

from .config import BaselineConfig

__all__ = ["BASELINES", "decode_baseline", "encode_baseline"]


def _pack(bits: np.ndarray, config: BaselineConfig) -> np.ndarray:
    """Return bits as bus words, in rows of bytes; zeros fill the last."""
    padded = np.zeros(-(-bits.size // config.bus_bits) * config.bus_bits, bool)
    padded[: bits.size] = bits
    return np.packbits(padded, bitorder="little").reshape(-1, config.word_bytes)


def _unpack(words: np.ndarray) -> np.ndarray:
    return np.unpackbits(words.reshape(-1), bitorder="little").astype(bool)


def _planes(codes: np.ndarray, planes: int) -> np.ndarray:
    """Return the bits of codes, of shape (weights, planes)."""
    return (codes[:, None] >> np.arange(planes) & 1).astype(bool)


def _codes(bits: np.ndarray) -> np.ndarray:
    return (bits.astype(np.uint8) << np.arange(bits.shape[1], dtype=np.uint8)).sum(1, np.uint8)


def _dense(mask: np.ndarray, codes: np.ndarray, config: BaselineConfig) -> np.ndarray:
    bits = np.concatenate([mask[:, None], _planes(codes, config.planes)], axis=1)
    return _pack(bits.reshape(-1), config)


def _dense_back(
    words: np.ndarray, count: int, config: BaselineConfig, _parameter: int
) -> tuple[np.ndarray, np.ndarray]:
    bits = _unpack(words)[: count * (config.planes + 1)].reshape(count, -1)
    return bits[:, 0], _codes(bits[:, 1:])


def _bitmask_order(kept: np.ndarray, config: BaselineConfig) -> np.ndarray:
    """Return which words of a payload are mask words, given the kept weights of each mask."""
    needed = -(-np.cumsum(kept) // config.bus_bits)
    fresh = np.flatnonzero(np.diff(needed, prepend=0))
    rank = np.repeat(fresh + BITMASK_LAG, config.planes)
    keys = np.concatenate([np.arange(len(kept)), rank])
    return np.argsort(keys, kind="stable") < len(kept)


def _bitmask(mask: np.ndarray, codes: np.ndarray, config: BaselineConfig) -> np.ndarray:
    bits = _planes(codes[mask], config.planes)
    values = [_pack(bits[:, b], config) for b in range(config.planes)]
    is_mask = _bitmask_order(mask.reshape(-1, config.bus_bits).sum(1), config)
    words = np.empty((len(is_mask), config.word_bytes), np.uint8)
    words[is_mask] = _pack(mask, config)
    words[~is_mask] = np.stack(values, axis=1).reshape(-1, config.word_bytes)
    return words


def _bitmask_back(
    words: np.ndarray, count: int, config: BaselineConfig, _parameter: int
) -> tuple[np.ndarray, np.ndarray]:
    """Decode word by word, as the hardware: earlier mask words tell what a word holds."""
    total = count // config.bus_bits
    bits = _unpack(words).reshape(-1, config.bus_bits)
    mask_words: list[int] = []
    code_words: list[int] = []
    at, needed = 0, 0
    for n in range(total + BITMASK_LAG):
        if n < total:
            mask_words.append(at)
            at += 1
        if n >= BITMASK_LAG:
            needed += int(bits[mask_words[n - BITMASK_LAG]].sum())
            while len(code_words) * config.bus_bits < needed * config.planes:
                if len(code_words) // config.planes * config.bus_bits >= needed:
                    break
                code_words += range(at, at + config.planes)
                at += config.planes
    mask = bits[mask_words].reshape(-1)
    values = bits[code_words].reshape(-1, config.planes, config.bus_bits)
    codes = np.zeros(count, np.uint8)
    codes[mask] = _codes(values.transpose(0, 2, 1).reshape(-1, config.planes)[:needed])
    return mask, codes


def _csr(mask: np.ndarray, codes: np.ndarray, config: BaselineConfig) -> np.ndarray:
    words = []
    lanes = config.bus_bits // CSR_INDEX_BITS
    for first in range(0, mask.size, CSR_ROW):
        kept = np.flatnonzero(mask[first : first + CSR_ROW])
        head = np.zeros((1, config.word_bytes), np.uint8)
        head[0, :4] = np.array([kept.size], "<u4").view(np.uint8)
        words.append(head)
        if not kept.size:
            continue
        # Spare places of the last word repeat the last index.
        kept = np.concatenate([kept, np.repeat(kept[-1:], -kept.size % lanes)])
        bits = _planes(codes[first + kept], config.planes)
        index = kept.astype("<u2").view(np.uint8).reshape(-1, config.word_bytes)
        values = np.stack([_pack(bits[:, b], config) for b in range(config.planes)], axis=1)
        for group, value in enumerate(values):
            words += [value, index[group * CSR_INDEX_BITS :][:CSR_INDEX_BITS]]
    return np.concatenate(words)


def _csr_back(
    words: np.ndarray, count: int, config: BaselineConfig, _parameter: int
) -> tuple[np.ndarray, np.ndarray]:
    mask, codes = np.zeros(count, bool), np.zeros(count, np.uint8)
    at = 0
    for first in range(0, count, CSR_ROW):
        left = int(words[at, :4].copy().view("<u4")[0])
        at += 1
        while left:
            entries = min(left, config.bus_bits)
            used = -(-entries * CSR_INDEX_BITS // config.bus_bits)
            bits = _unpack(words[at : at + config.planes]).reshape(config.planes, -1)
            at += config.planes
            index = words[at : at + used].reshape(-1).view("<u2")[:entries].astype(np.int64)
            mask[first + index] = True
            codes[first + index] = _codes(bits.T[:entries])
            at, left = at + used, left - entries
    return mask, codes


Encoder = Callable[[np.ndarray, np.ndarray, BaselineConfig], np.ndarray]
Decoder = Callable[[np.ndarray, int, BaselineConfig, int], tuple[np.ndarray, np.ndarray]]
_CODECS: dict[str, tuple[Encoder, Decoder]] = {
    "dense": (_dense, _dense_back),
    "bitmask": (_bitmask, _bitmask_back),
    "csr": (_csr, _csr_back),
}
BASELINES = (*_CODECS, "rice")
"""Names of the baselines."""


def _check_name(name: str) -> None:
    if name not in BASELINES:
        raise ConfigError(f"a baseline is one of {', '.join(BASELINES)}, not {name!r}")


def encode_baseline(
    name: str, mask: np.ndarray, codes: np.ndarray, config: BaselineConfig
) -> bytes:
    """Return the stream of one baseline.

    Parameters
    ----------
    name : str
        One of :data:`BASELINES`.
    mask : bool array, shape (weights,)
    codes : uint8 array, shape (weights,)
        Codes of pruned weights are not stored.
    config : BaselineConfig

    Raises
    ------
    ConfigError
        If there is no such baseline.
    """
    _check_name(name)
    count = mask.size
    whole = np.zeros(-(-count // config.n_out) * config.n_out, bool)
    whole[:count] = mask
    values = np.zeros(whole.size, np.uint8)
    values[:count] = np.where(mask, codes, 0)
    parameter = 0
    if not count:
        words = np.zeros((0, config.word_bytes), np.uint8)
    elif name == "rice":
        from .rice import rice_words

        words, parameter = rice_words(whole, values, config)
    else:
        words = _CODECS[name][0](whole, values, config)
    head = np.zeros(-(-BASELINE_HEADER_BYTES // config.word_bytes) * config.word_bytes, np.uint8)
    head[:16] = np.array([count, len(words), parameter, 0], "<u4").view(np.uint8)
    return head.tobytes() + words.tobytes()


def decode_baseline(
    name: str, stream: bytes, config: BaselineConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Return mask (bool) and codes (uint8, zero where pruned) of one stream.

    Raises
    ------
    ConfigError
        If there is no such baseline.
    FormatError
        If the length of the stream differs from what its header says.
    """
    _check_name(name)
    size = -(-BASELINE_HEADER_BYTES // config.word_bytes) * config.word_bytes
    head = np.frombuffer(stream[:16].ljust(16, b"\0"), "<u4")
    count, payload, parameter = (int(value) for value in head[:3])
    if len(stream) != size + payload * config.word_bytes:
        raise FormatError(
            f"a baseline stream of {payload} payload words must have"
            f" {size + payload * config.word_bytes} bytes, found {len(stream)}"
        )
    if not count:
        return np.zeros(0, bool), np.zeros(0, np.uint8)
    words = np.frombuffer(stream[size:], np.uint8).reshape(-1, config.word_bytes)
    whole = -(-count // config.n_out) * config.n_out
    if name == "rice":
        from .rice import rice_weights

        mask, codes = rice_weights(words, whole, config, parameter)
    else:
        mask, codes = _CODECS[name][1](words, whole, config, parameter)
    return mask[:count], codes[:count]
