# SPDX-License-Identifier: Apache-2.0
"""Entropy index: any mask, lossless, near its entropy, a bounded number of chunks per cycle.

A beat is cut into 8-bit chunks. The chunk values stand in an order (by their number of ones, or
listed in the stream) that is cut into up to 16 *classes* of a power of two of values; table-driven
ANS (Duda 2013) says the class at its fractional cost, plain bits say which value of the class. So a
table is a few 16-bit units, a lane's state alone tells how many bits a step takes, and a decoder
needs no comparisons. Lanes have bit strings of their own, interleaved in 16-bit units in the order
in which a decoder takes them. ``FORMAT.md``, "Entropy index", is normative.
"""

from dataclasses import dataclass

import numpy as np
from xorloom.sw.base.errors import CapacityError, ConfigError, FormatError
from xorloom.sw.bits.byte_arrays import count_bytes
from xorloom.sw.bits.framing import frame_payload, unframe_payload
from xorloom.sw.bits.gf2 import pack_rows, unpack_bool
from xorloom.sw.spec.index_config import EntropyConfig
from xorloom.sw.spec.layout import Header, network_id

from . import kernels
from .table import UNIT_BITS, EntropyTable, choose_table, read_table, states_of

__all__ = [
    "EntropyCode",
    "chunks_of",
    "encode",
    "encode_words",
    "fifo_bits",
    "pack",
    "unit_ends",
    "unpack",
    "unpack_words",
]


@dataclass(frozen=True)
class EntropyCode:
    """Entropy code of a mask.

    ``units`` are all 16-bit units of the payload, of which ``preload`` (table, states) come before
    the first step; ``demand[e]`` is the number of units that beat e takes.
    """

    table: EntropyTable
    units: np.ndarray
    demand: np.ndarray
    preload: int


def encode(mask: np.ndarray, config: EntropyConfig) -> EntropyCode:
    """Encode a mask, (beats, n_out) bool.

    Raises
    ------
    ConfigError
        If the mask has another shape.
    """
    if mask.ndim != 2 or mask.shape[1] != config.n_out or mask.dtype != np.bool_:
        raise ConfigError(
            f"mask must be bool of shape (beats, {config.n_out}), not {mask.dtype} {mask.shape}"
        )
    return encode_words(pack_rows(mask), config)


def chunks_of(mask: np.ndarray, config: EntropyConfig) -> np.ndarray:
    """Return the chunks, (beats * steps, lanes) uint8, of a packed mask."""
    return mask.view(np.uint8)[:, : config.n_out // 8].reshape(-1, config.lanes)


def encode_words(mask: np.ndarray, config: EntropyConfig) -> EntropyCode:
    """Encode a packed mask, (beats, ceil(n_out / 64)) uint64."""
    if not mask.shape[0]:
        empty = EntropyTable((0,), (config.states,))
        return EntropyCode(empty, np.zeros(0, np.uint16), np.zeros(0, np.int64), 0)
    chunks = chunks_of(mask, config)
    table = choose_table(count_bytes(chunks.reshape(-1)), config)
    values = table.values(config)[: table.size]
    class_of, rank = np.zeros(256, np.uint8), np.zeros(256, np.uint8)
    widths, freqs = np.array(table.widths, np.int64), np.array(table.freqs, np.int64)
    member = np.repeat(np.arange(widths.size), 1 << widths)
    offset = np.cumsum(1 << widths) - (1 << widths)
    class_of[values[::-1]] = member[::-1]  # a listed value can stand twice: the first one counts
    rank[values[::-1]] = (np.arange(values.size) - offset[member])[::-1]
    first = np.cumsum(freqs) - freqs
    classes, x = states_of(table, config)
    place = np.zeros(config.states, np.int64)
    place[first[classes] + x - freqs[classes]] = np.arange(config.states)
    bits, sizes = np.empty(chunks.shape, np.uint16), np.empty(chunks.shape, np.uint8)
    start = np.zeros(config.lanes, np.int64)
    kernels.code(
        chunks, class_of, rank, widths, freqs, first, place, config.states, bits, sizes, start
    )
    head = table.units()
    state_bits, need = table.state_bits(config), table.need(config)
    room = int(sizes.sum(dtype=np.int64)) // UNIT_BITS + 4 * config.lanes
    body, demand = np.zeros(room, np.uint16), np.zeros(mask.shape[0], np.int64)
    used = kernels.order(bits, sizes, start, state_bits, need, config.steps, body, demand)
    preload = head.size + (config.lanes if state_bits else 0)
    return EntropyCode(table, np.concatenate([head, body[:used]]), demand, preload)


def _words(encoded: EntropyCode, config: EntropyConfig) -> int:
    return -(-encoded.units.size * UNIT_BITS // config.bus_bits)


def fifo_bits(encoded: EntropyCode, config: EntropyConfig, supply: float) -> float:
    """Bits that a FIFO before the decoder must hold so that beats leave at a fixed rate.

    A beat leaves every period. Memory delivers ``supply`` bits per period while there is room;
    ``supply`` is the mean demand times 1 + slack. The FIFO is full when the first beat starts
    (table and states, which come first, only delay the start). What a beat takes it takes at
    once. The result is the worst drawdown: a FIFO of that many bits never runs empty, and no
    smaller one would do. It does not count what is on its way within a bus word or a burst: add
    one of these.
    """
    # Drawdown is x = max(0, x + demand - supply), and counts before memory delivers.
    bits = encoded.demand * UNIT_BITS - float(supply)
    total = np.concatenate([[0.0], np.cumsum(bits)])
    lowest = np.minimum.accumulate(total)[:-1]
    return float((total[1:] - lowest).max() + supply) if bits.size else 0.0


def pack(encoded: EntropyCode, count: int, config: EntropyConfig) -> bytes:
    """Write the memory stream of ``count`` weights.

    Raises
    ------
    CapacityError
        If there are 2**32 weights or more.
    ConfigError
        If so many weights have another number of beats.
    """
    if count >= 1 << 32:
        raise CapacityError(f"mask of {count} weights does not fit 32 bits: split the tensor")
    if -(-count // config.n_out) != encoded.demand.size:
        raise ConfigError(
            f"count must be that of {encoded.demand.size} beats of {config.n_out}, not {count}"
        )
    words = _words(encoded, config)
    payload = encoded.units.astype("<u2").tobytes().ljust(words * config.bus_bytes, b"\0")
    header = Header(config.kind, count, network_id(config), words)
    return frame_payload(header, payload, config.bus_bytes)


def _decode(
    data: bytes, count: int, config: EntropyConfig, where: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return the chunks, (beats * steps, lanes) uint8, and the units used after every beat."""
    header, payload = unframe_payload(data, config.bus_bytes, config.kind, where)
    if header.network != network_id(config):
        raise FormatError(
            f"{where}: network id must be {network_id(config):08x} for n_out {config.n_out}, "
            f"lanes {config.lanes}, states {config.states}, found {header.network:08x}"
        )
    if header.count != count:
        raise FormatError(f"{where}: count must be {count} weights, found {header.count}")
    beats = -(-count // config.n_out)
    if not beats:
        if header.words:
            raise FormatError(f"{where}: no weights must have no payload, found {header.words}")
        return np.zeros((0, config.lanes), np.uint8), np.zeros(0, np.int64)
    units = np.zeros(len(payload) // 2 + config.lanes, np.uint16)
    units[: -config.lanes] = np.frombuffer(payload, "<u2")
    table, at = read_table(units[: -config.lanes], config, where)
    chunks = np.empty((beats * config.steps, config.lanes), np.uint8)
    ends = np.empty(beats, np.int64)
    status, place = kernels.decode(
        units,
        at,
        table.state_bits(config),
        table.need(config),
        table.steps(config),
        table.values(config),
        chunks,
        ends,
    )
    if status == kernels.TOO_SHORT:
        raise FormatError(f"{where}: stream ends after unit {place}, before its last beat")
    if status == kernels.BAD_STATE:
        raise FormatError(f"{where}: lane {place} must end in state 0 (damaged mask)")
    if status == kernels.BAD_PADDING:
        raise FormatError(f"{where}: padding after the last chunk must be zero")
    words = -(-place * UNIT_BITS // config.bus_bits)
    if words != header.words:
        raise FormatError(f"{where}: words must be {words}, found {header.words}")
    return chunks, ends


def unpack_words(
    data: bytes, count: int, config: EntropyConfig, where: str = "index"
) -> np.ndarray:
    """Read a memory stream as a packed mask, (beats, ceil(n_out / 64)) uint64.

    Raises
    ------
    FormatError
        As :func:`unpack`.
    """
    chunks = _decode(data, count, config, where)[0].reshape(-1, config.n_out // 8)
    if config.n_out % 64 == 0:
        return chunks.view("<u8")
    words = np.zeros((chunks.shape[0], -(-config.n_out // 64)), "<u8")
    words.view(np.uint8)[:, : config.n_out // 8] = chunks
    return words


def unpack(data: bytes, count: int, config: EntropyConfig, where: str = "index") -> np.ndarray:
    """Read a memory stream as a mask, (beats, n_out) bool; ``where`` names it in messages.

    Raises
    ------
    FormatError
        If the stream is truncated, damaged, or made for another decoder or tensor.
    """
    chunks = _decode(data, count, config, where)[0]
    return unpack_bool(chunks.reshape(-1), chunks.size * 8).reshape(-1, config.n_out)


def unit_ends(data: bytes, count: int, config: EntropyConfig, where: str = "index") -> np.ndarray:
    """Return how many units of the payload every beat and those before it take, (beats,) int64.

    Raises
    ------
    FormatError
        As :func:`unpack`.
    """
    return _decode(data, count, config, where)[1]
