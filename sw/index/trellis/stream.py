# SPDX-License-Identifier: Apache-2.0
"""Streams of the trellis index: seed bits for a price, the memory stream, and back."""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from xorloom.sw.base.errors import FormatError
from xorloom.sw.bits.framing import frame_payload, unframe_payload
from xorloom.sw.bits.gf2 import clear_last, unpack_rows
from xorloom.sw.spec.index_config import TrellisConfig
from xorloom.sw.spec.layout import Header, network_id
from xorloom.sw.spec.trellis_code import GATE_TAPS

from .decoding import decode_beats, lane_taps
from .kernels import LANES, Trellis, lane_tables, search, set_patterns

__all__ = [
    "TrellisStream",
    "encode_at",
    "pack",
    "payload_bits",
    "search_stream",
    "unpack",
    "unpack_words",
]

_SEGMENT = 4096
"""Steps between two cuts of the paths; the work space is this times ``2**(window - 4)`` bytes."""
_HEADROOM = 32000
"""What gains may sum up to over a window, below the 2**15 of 16-bit path metrics."""
_CLIP = 16.0
"""Gains are clipped at so many times their mean magnitude, or a few outliers would leave no
resolution for all others."""
_OUTLIER = 8.0
"""A mean beyond so many times the price, and the median importance, is that of outliers."""


@dataclass(frozen=True)
class TrellisStream:
    """Seed bits of one stream, and its lanes' classes.

    Parameters
    ----------
    seeds : (ceil(slices * n_in / 64) + 2,) uint64
        Packed bits, ``n_in`` per slice.
    slices : int
    classes : (periods, n_out) uint8
        No rows with one class.
    """

    seeds: np.ndarray
    slices: int
    classes: np.ndarray


def _lanes(config: TrellisConfig) -> tuple[np.ndarray, np.ndarray]:
    """First lane of every step, and what every lane makes of every window."""
    return _lanes_of(replace(config, period=16, bus_bits=32))  # neither matters


@lru_cache(maxsize=4)
def _lanes_of(config: TrellisConfig) -> tuple[np.ndarray, np.ndarray]:
    code, window = config.code, config.window

    def value(positions: tuple[int, ...]) -> int:
        return sum(1 << (window - 1 - t) for t in positions)

    parities = np.array(
        [
            [value(code.parities[u][pick]) for pick in hand]
            for u, hand in zip(code.steps, code.picks, strict=True)
        ],
        np.uint32,
    )
    gates = np.zeros((config.n_out, max(GATE_TAPS.values())), np.uint32)
    for j, gate in enumerate(code.gates):
        parts = [gate] if config.classes == 1 else [(t,) for t in gate]
        gates[j, : len(parts)] = [value(part) for part in parts]
    bits = np.zeros((config.n_out, 1 << window), np.uint8)
    tables = np.array(code.tables, np.uint32)
    lane_tables(parities, tables, gates, window, _vector(config), bits)
    first = np.searchsorted(np.array(code.steps), np.arange(config.n_in + 1)).astype(np.int64)
    return first, bits


def _vector(config: TrellisConfig) -> int:
    """States a vector; small trellises have too few."""
    return LANES if 1 << (config.window - 2) >= LANES else 0


@lru_cache(maxsize=4)
def _shared_trellis(config: TrellisConfig) -> Trellis:
    """With one class all threads read the same patterns."""
    return _new_trellis(config)


def _new_trellis(config: TrellisConfig) -> Trellis:
    first, bits = _lanes(config)
    n_bytes = -(-int(np.diff(first).max()) // 8)
    patterns = np.zeros((config.n_in, n_bytes, 1 << config.window), np.uint8)
    if config.classes == 1:
        set_patterns(bits, np.zeros(config.n_out, np.uint8), first, patterns)
    return Trellis(first, patterns, config.window, _vector(config))


def _trellis(config: TrellisConfig) -> Trellis:
    return _shared_trellis(config) if config.classes == 1 else _new_trellis(config)


def _period(config: TrellisConfig) -> int:
    return config.period if config.classes > 1 else 0


def _gains(importance: np.ndarray, live: int, price: float, trellis: Trellis) -> np.ndarray:
    """Return what set mask bits are worth, scaled to int16; 0 where there is no weight.

    A weight without importance always costs something: at least the least unit.
    """
    gains = importance - np.float32(price)
    gains.reshape(-1)[live:] = 0
    size = np.abs(gains)
    limit = _CLIP * _scale(importance, size, price)
    np.clip(gains, -limit, limit, out=gains)
    np.minimum(size, limit, out=size)
    a_step = np.add.reduceat(size, trellis.first[:-1], axis=1).reshape(-1)
    sums = np.concatenate([[0.0], np.cumsum(a_step, dtype=np.float64)])
    span = min(trellis.window, sums.size - 1)
    most = float((sums[span:] - sums[:-span]).max())
    room = min(_HEADROOM, (1 << 15) - 1 - span * int(np.diff(trellis.first).max()))
    units = np.rint(gains * np.float32(room / most if most else 0)).astype(np.int16)
    zeros = importance.reshape(-1)[:live] == 0
    np.minimum(units.reshape(-1)[:live], -1, out=units.reshape(-1)[:live], where=zeros)
    return units


def _scale(importance: np.ndarray, size: np.ndarray, price: float) -> float:
    """Return the mean magnitude of gains, or what it is about without outliers."""
    mean = float(size.mean(dtype=np.float64))
    if mean <= _OUTLIER * price:
        return mean
    return min(mean, _OUTLIER * max(price, float(np.median(importance[importance > 0]))))


def search_stream(
    importance: np.ndarray,
    live: int,
    price: float,
    config: TrellisConfig,
    classes: np.ndarray,
    before: TrellisStream | None = None,
    begin: int = 0,
) -> tuple[TrellisStream, np.ndarray]:
    """Encode one stream of slices; return it and its mask.

    The slices before ``begin`` keep the seed bits of ``before``. It is a multiple of the period if
    there are several classes, and there are at least ``window`` steps behind it, or it is 0.
    """
    trellis = _trellis(config)
    slices = importance.shape[0]
    seeds = np.zeros(-(-slices * config.n_in // 64) + 2, np.uint64)
    if before is not None:
        word, bit = divmod(begin * config.n_in, 64)
        seeds[: word + 1] = before.seeds[: word + 1]
        seeds[word] &= np.uint64((1 << bit) - 1)
    gains = _gains(importance[begin:], live - begin * config.n_out, price, trellis)
    period, bits = _period(config), _lanes(config)[1]
    search(gains, trellis, bits, classes, period, _SEGMENT, seeds, begin)
    stream = TrellisStream(seeds, slices, classes)
    return stream, unpack_rows(_decode(stream, live, config), config.n_out)


def encode_at(
    importance: np.ndarray, live: int, price: float, config: TrellisConfig
) -> tuple[TrellisStream, np.ndarray]:
    """Encode one stream at a given price and one class: a single pass of the search.

    Returns
    -------
    (stream, mask)
    """
    classes = np.zeros((0, config.n_out), np.uint8)
    return search_stream(importance, live, price, replace(config, classes=1), classes)


def _decode(stream: TrellisStream, live: int, config: TrellisConfig) -> np.ndarray:
    """Return the mask, packed slice by slice; 0 where there is no weight."""
    mask = np.empty((stream.slices, -(-config.n_out // 64)), np.uint64)
    taps = lane_taps(replace(config, period=16, bus_bits=32))  # neither matters
    decode_beats(
        stream.seeds, config.n_in, config.window, taps, stream.classes, _period(config), mask
    )
    clear_last(mask, live, config.n_out)
    return mask


def payload_bits(slices: int, config: TrellisConfig) -> int:
    """Bits of a stream's payload: the slices' and, with classes, those of every period."""
    periods = -(-slices // config.period) if config.classes > 1 else 0
    return (slices + periods * config.class_chunks) * config.n_in


def _places(slices: int, config: TrellisConfig) -> np.ndarray:
    """Tell the payload bits that are classes: (payload bits,) bool."""
    seeds = np.zeros(slices * config.n_in, np.bool_)
    if config.classes == 1:
        return seeds
    starts = np.arange(0, slices, config.period) * config.n_in
    return np.insert(seeds, np.repeat(starts, config.class_chunks * config.n_in), True)


def pack(stream: TrellisStream, count: int, config: TrellisConfig) -> bytes:
    """Write a memory stream of ``count`` weights.

    Raises
    ------
    CapacityError
        If there are 2**32 weights or more.
    """
    n_bits = payload_bits(stream.slices, config)
    words = -(-n_bits // config.bus_bits)
    bits = np.zeros(words * config.bus_bits, np.uint8)
    places = _places(stream.slices, config)
    n_seeds = stream.slices * config.n_in
    bits[:n_bits][~places] = np.unpackbits(
        stream.seeds.view(np.uint8), count=n_seeds, bitorder="little"
    )
    if config.classes > 1:
        field = np.zeros((stream.classes.shape[0], config.class_chunks * config.n_in), np.uint8)
        field[:, : 2 * config.n_out : 2] = stream.classes & 1
        field[:, 1 : 2 * config.n_out : 2] = stream.classes >> 1
        bits[:n_bits][places] = field.reshape(-1)
    header = Header(config.kind, count, network_id(config), words)
    payload = np.packbits(bits, bitorder="little").tobytes()
    return frame_payload(header, payload, config.bus_bytes)


def unpack(data: bytes, count: int, config: TrellisConfig, where: str) -> np.ndarray:
    """Decode a memory stream of ``count`` weights.

    Returns
    -------
    bool array (slices, n_out), False where there is no weight.

    Raises
    ------
    FormatError
        As :func:`unpack_words`.
    """
    return unpack_rows(unpack_words(data, count, config, where), config.n_out)


def unpack_words(data: bytes, count: int, config: TrellisConfig, where: str) -> np.ndarray:
    """Decode a memory stream of ``count`` weights.

    Returns
    -------
    (slices, ceil(n_out / 64)) uint64
        The mask, packed; 0 where there is no weight.

    Raises
    ------
    FormatError
        If the stream is truncated, damaged, made for another code, or of another size; ``where``
        names it.
    """
    header, payload = unframe_payload(data, config.bus_bytes, config.kind, where)
    if header.network != network_id(config):
        raise FormatError(
            f"{where}: network id must be {network_id(config):08x} for the parameters "
            f"{config.identity}, found {header.network:08x}"
        )
    slices = -(-count // config.n_out)
    n_bits = payload_bits(slices, config)
    if header.count != count or header.words != -(-n_bits // config.bus_bits):
        raise FormatError(
            f"{where}: trellis index must hold {count} weights in "
            f"{-(-n_bits // config.bus_bits)} bus words, found {header.count} in {header.words}"
        )
    bits = np.unpackbits(np.frombuffer(payload, np.uint8), bitorder="little")
    places = _places(slices, config)
    field = bits[:n_bits][places].reshape(-1, config.class_chunks * config.n_in or 1)
    if bits[n_bits:].any() or field[:, 2 * config.n_out :].any():
        raise FormatError(f"{where}: padding of the trellis index must be zero")
    seeds = np.zeros(-(-slices * config.n_in // 64) + 2, np.uint64)
    packed = np.packbits(bits[:n_bits][~places], bitorder="little")
    seeds.view(np.uint8)[: packed.size] = packed
    classes = field[:, : 2 * config.n_out : 2] | field[:, 1 : 2 * config.n_out : 2] << 1
    stream = TrellisStream(seeds, slices, np.ascontiguousarray(classes))
    return _decode(stream, count, config)
