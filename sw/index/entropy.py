# SPDX-License-Identifier: Apache-2.0
"""Entropy index: any mask, lossless, near its entropy, at a bounded number of chunks a cycle.

A beat is cut into 8-bit chunks. The chunk values stand in an order (by their number of ones, or
listed in the stream) that is cut into up to 16 *classes* of a power of two of values; table-driven
ANS (Duda 2013) says the class at its fractional cost, plain bits say which value of the class. So a
table is a few 16-bit units, a lane's state alone tells how many bits a step takes, and a decoder
needs no comparisons. Lanes have bit strings of their own, interleaved in 16-bit units in the order
in which a decoder takes them. ``FORMAT.md``, "Entropy index", is normative.
"""

import heapq
from dataclasses import dataclass

import numpy as np
from xorloom.sw.base.errors import CapacityError, ConfigError, FormatError
from xorloom.sw.bits.framing import frame_payload, unframe_payload
from xorloom.sw.bits.gf2 import unpack_bool
from xorloom.sw.spec.index_config import EntropyConfig
from xorloom.sw.spec.layout import KIND_ENTROPY, Header, frame_bytes, network_id

from . import entropy_kernels as kernels

__all__ = [
    "EntropyBits",
    "EntropyCode",
    "EntropyTable",
    "choose_table",
    "encode",
    "entropy_bits",
    "fifo_bits",
    "pack",
    "unit_ends",
    "unpack",
]

UNIT_BITS = 16
_CLASSES = 16
"""Most classes of a table."""


@dataclass(frozen=True)
class EntropyTable:
    """What a stream says about its chunks.

    Parameters
    ----------
    widths, freqs : tuple of int
        Of every class: it has ``2**width`` values and ``freq`` of the states.
    invert : bool
        Whether chunks are stored inverted.
    listed : tuple of int
        The values in order; empty: by number of ones.
    """

    widths: tuple[int, ...]
    freqs: tuple[int, ...]
    invert: bool = False
    listed: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """Values of all classes."""
        return sum(1 << q for q in self.widths)

    def units(self) -> np.ndarray:
        """Return the table as it stands in a stream, (n,) uint16."""
        head = (len(self.widths) - 1) | bool(self.listed) << 4 | self.invert << 5
        body = [q | (f - 1) << 4 for q, f in zip(self.widths, self.freqs, strict=True)]
        listed = np.zeros(-(-len(self.listed) // 2) * 2, np.uint8)
        listed[: len(self.listed)] = self.listed
        return np.concatenate([np.array([head, *body], np.uint16), listed.view("<u2")])

    def values(self, config: EntropyConfig) -> np.ndarray:
        """Return the chunk values in order, (256,) uint8; those beyond ``size`` do not occur."""
        values = np.array(config.symbol_order, np.uint8)
        if self.listed:
            values[:] = 0
            values[: len(self.listed)] = self.listed
        return values ^ np.uint8(255) if self.invert else values

    def need(self, config: EntropyConfig) -> int:
        """Most bits of a step."""
        bits = zip(self.widths, self.freqs, strict=True)
        return max(q + config.states.bit_length() - f.bit_length() for q, f in bits)

    def state_bits(self, config: EntropyConfig) -> int:
        """Bits of a lane's first state; 0 if there is one class only."""
        return config.state_bits if len(self.widths) > 1 else 0


@dataclass(frozen=True)
class EntropyCode:
    """An encoded mask.

    ``units`` are all 16-bit units of the payload, of which ``preload`` (table, states) come before
    the first step; ``demand[e]`` is the number of units that beat e takes.
    """

    table: EntropyTable
    units: np.ndarray
    demand: np.ndarray
    preload: int


@dataclass(frozen=True)
class EntropyBits:
    """Where a stream's bits go.

    ``table`` and ``states`` come first; ``chunks`` is what the steps take, bits that a lane holds
    in the end included; ``overhead`` is header, CRC and padding to bus words.
    """

    table: int
    states: int
    chunks: int
    overhead: int

    @property
    def total(self) -> int:
        """All bits of the stream."""
        return self.table + self.states + self.chunks + self.overhead


def _share_states(counts: np.ndarray, states: int) -> list[int]:
    """Give every class its share of the states, at least one, at the least information."""
    freqs = [1] * counts.size
    weight = [max(float(n), 1e-9) for n in counts]
    gain = [(-n, c) for c, n in enumerate(weight)]
    heapq.heapify(gain)
    for _ in range(states - counts.size):
        _, c = heapq.heappop(gain)
        freqs[c] += 1
        heapq.heappush(gain, (-weight[c] * float(np.log2((freqs[c] + 1) / freqs[c])), c))
    return freqs


def _best_table(
    counts: np.ndarray, invert: bool, listed: tuple[int, ...], config: EntropyConfig
) -> tuple[float, EntropyTable]:
    """Cut ``counts``, which stand in the order of the table, into the best classes."""
    used = np.flatnonzero(counts)
    last = int(used[-1]) + 1 if used.size else 1
    widths = np.zeros((_CLASSES, _CLASSES), np.uint8)
    found = kernels.best_classes(counts.astype(np.int64), last, _CLASSES, widths)
    best: tuple[float, EntropyTable] | None = None
    for k in np.flatnonzero(found):
        q = [int(w) for w in widths[k, : k + 1]]
        edges = np.cumsum([0] + [1 << w for w in q])
        parts = np.add.reduceat(counts, edges[:-1])
        freqs = _share_states(parts, config.states)
        values: tuple[int, ...] = ()
        if listed:
            values = (*listed, *(0,) * int(edges[-1]))[: int(edges[-1])]
        table = EntropyTable(tuple(q), tuple(freqs), invert, values)
        cost = float(np.dot(parts, q + np.log2(config.states / np.array(freqs))))
        cost += UNIT_BITS * table.units().size
        cost += config.lanes * (table.state_bits(config) + table.need(config) / 2)
        if best is None or cost < best[0]:
            best = (cost, table)
    assert best is not None, "256 values always fit one class"
    return best


def choose_table(counts: np.ndarray, config: EntropyConfig) -> EntropyTable:
    """Choose a table for chunk values that occur ``counts`` times, (256,)."""
    by_ones = np.array(config.symbol_order)
    by_count = np.argsort(-counts, kind="stable")
    candidates = [
        _best_table(counts[by_ones], False, (), config),
        _best_table(counts[by_ones ^ 255], True, (), config),
        _best_table(counts[by_count], False, tuple(int(v) for v in by_count), config),
    ]
    return min(candidates, key=lambda candidate: candidate[0])[1]


def _states(table: EntropyTable, config: EntropyConfig) -> tuple[np.ndarray, np.ndarray]:
    """Return class and x of every state, (states,) int64."""
    edges = np.cumsum(table.freqs)
    classes = np.searchsorted(edges, np.array(config.spread), side="right")
    x = np.zeros(config.states, np.int64)
    for c, freq in enumerate(table.freqs):
        x[classes == c] = freq + np.arange(freq)
    return classes, x


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
    if not mask.shape[0]:
        empty = EntropyTable((0,), (config.states,))
        return EntropyCode(empty, np.zeros(0, np.uint16), np.zeros(0, np.int64), 0)
    chunks = np.packbits(mask, axis=1, bitorder="little").reshape(-1, config.lanes)
    table = choose_table(np.bincount(chunks.reshape(-1), minlength=256), config)
    values = table.values(config)[: table.size]
    class_of, rank = np.zeros(256, np.uint8), np.zeros(256, np.uint8)
    widths, freqs = np.array(table.widths, np.int64), np.array(table.freqs, np.int64)
    member = np.repeat(np.arange(widths.size), 1 << widths)
    offset = np.cumsum(1 << widths) - (1 << widths)
    class_of[values[::-1]] = member[::-1]  # a listed value can stand twice: the first one counts
    rank[values[::-1]] = (np.arange(values.size) - offset[member])[::-1]
    first = np.cumsum(freqs) - freqs
    classes, x = _states(table, config)
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


def entropy_bits(encoded: EntropyCode, config: EntropyConfig) -> EntropyBits:
    """Count the bits of the memory stream."""
    table = encoded.table.units().size * UNIT_BITS if encoded.demand.size else 0
    total = _words(encoded, config) * config.bus_bits
    return EntropyBits(
        table=table,
        states=encoded.preload * UNIT_BITS - table,
        chunks=int(encoded.demand.sum()) * UNIT_BITS,
        overhead=total - encoded.units.size * UNIT_BITS + 8 * frame_bytes(config.bus_bytes),
    )


def fifo_bits(encoded: EntropyCode, config: EntropyConfig, supply: float) -> float:
    """Bits that a FIFO before the decoder must hold so that beats leave at a fixed rate.

    One beat leaves a period. Memory delivers ``supply`` bits a period while there is room;
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
    header = Header(KIND_ENTROPY, count, network_id(config), words)
    return frame_payload(header, payload, config.bus_bytes)


def _read_table(units: np.ndarray, config: EntropyConfig, where: str) -> tuple[EntropyTable, int]:
    """Read and check a table; also return the unit after it."""
    if not units.size:
        raise FormatError(f"{where}: payload must begin with a table, found nothing")
    head = int(units[0])
    classes, has_list = (head & 15) + 1, bool(head >> 4 & 1)
    fields = [int(unit) for unit in units[1 : 1 + classes]]
    if len(fields) < classes:
        raise FormatError(f"{where}: table of {classes} classes ends after {len(fields)}")
    table = EntropyTable(
        tuple(field & 15 for field in fields),
        tuple((field >> 4 & 255) + 1 for field in fields),
        bool(head >> 5 & 1),
    )
    if head >> 6 or any(field >> 12 for field in fields):
        raise FormatError(f"{where}: unused bits of the table must be zero")
    if sum(table.freqs) != config.states:
        raise FormatError(
            f"{where}: classes must share {config.states} states, found {sum(table.freqs)}"
        )
    if max(table.widths) > 8 or table.size > 256:
        raise FormatError(f"{where}: classes must have at most 256 values, found {table.size}")
    at = 1 + classes
    if has_list:
        listed = units[at : at + -(-table.size // 2)].view(np.uint8)
        if listed.size < table.size:
            raise FormatError(f"{where}: list of {table.size} values ends after {listed.size}")
        if listed[table.size :].any():
            raise FormatError(f"{where}: padding of the list of values must be zero")
        at += listed.size // 2
        values = tuple(int(v) for v in listed[: table.size])
        table = EntropyTable(table.widths, table.freqs, table.invert, values)
    return table, at


def _decode(
    data: bytes, count: int, config: EntropyConfig, where: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return the chunks, (beats * steps, lanes) uint8, and the units used after every beat."""
    header, payload = unframe_payload(data, config.bus_bytes, KIND_ENTROPY, where)
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
    units = np.frombuffer(payload, "<u2")
    table, at = _read_table(units, config, where)
    widths = np.array(table.widths, np.int64)
    classes, x = _states(table, config)
    moved = np.array([config.states.bit_length() - int(v).bit_length() for v in x], np.int64)
    offset = np.cumsum(1 << widths) - (1 << widths)
    chunks = np.empty((beats * config.steps, config.lanes), np.uint8)
    ends = np.empty(beats, np.int64)
    status, place = kernels.decode(
        units,
        at,
        table.state_bits(config),
        table.need(config),
        moved + widths[classes],
        moved,
        (x << moved) - config.states,
        offset[classes],
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
