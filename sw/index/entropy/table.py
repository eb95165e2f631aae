# SPDX-License-Identifier: Apache-2.0
"""Table of the entropy index: the order of chunk values, their classes and the classes' states."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from xorloom.sw.base.errors import FormatError
from xorloom.sw.spec.index_config import EntropyConfig

from . import classes as kernels
from .classes import UNIT_BITS

__all__ = ["UNIT_BITS", "EntropyTable", "choose_table", "read_table", "states_of"]

_CLASSES = 16
"""Most classes of a table."""


@dataclass(frozen=True)
class EntropyTable:
    """Table of a stream: what it says about its chunks.

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
        values = _symbol_order(config).copy()
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

    def steps(self, config: EntropyConfig) -> np.ndarray:
        """Return what a decoder does in every state, see ``decode`` of the kernels."""
        classes, x = states_of(self, config)
        widths = np.array(self.widths, np.int64)
        begin = np.cumsum(1 << widths) - (1 << widths)
        moved = config.states.bit_length() - np.frexp(x)[1].astype(np.int64)  # less x's bit length
        base = (x << moved) - config.states
        found = moved + widths[classes] | moved << 8 | begin[classes] << 16 | base << 32
        return found.astype(np.uint64)


@cache
def _symbol_order(config: EntropyConfig) -> np.ndarray:
    return np.array(config.symbol_order, np.uint8)


@cache
def _spread(config: EntropyConfig) -> np.ndarray:
    return np.array(config.spread, np.intp)


@cache
def _gains(states: int) -> np.ndarray:
    """Bits that a chunk of a class of 1, 2, .. states saves by one more, (states,) float64."""
    return np.array([float(np.log2((f + 1) / f)) for f in range(1, states + 1)])


def _best_table(
    counts: np.ndarray, invert: bool, listed: np.ndarray, config: EntropyConfig
) -> tuple[float, EntropyTable]:
    """Cut ``counts``, which stand in the order of the table, into the best classes."""
    widths, freqs = np.zeros(_CLASSES, np.uint8), np.zeros(_CLASSES, np.int64)
    cost, k = kernels.best_table(
        counts.astype(np.int64),
        config.lanes,
        config.state_bits,
        _gains(config.states),
        listed.size > 0,
        widths,
        freqs,
    )
    q = tuple(widths[:k].tolist())
    values = tuple(listed[: sum(1 << w for w in q)].tolist())
    return cost, EntropyTable(q, tuple(freqs[:k].tolist()), invert, values)


def choose_table(counts: np.ndarray, config: EntropyConfig) -> EntropyTable:
    """Choose a table for chunk values that occur ``counts`` times, (256,)."""
    by_ones = np.array(config.symbol_order)
    by_count = np.argsort(-counts, kind="stable")
    candidates = [
        _best_table(counts[by_ones], False, by_ones[:0], config),
        _best_table(counts[by_ones ^ 255], True, by_ones[:0], config),
        _best_table(counts[by_count], False, by_count, config),
    ]
    return min(candidates, key=lambda candidate: candidate[0])[1]


def states_of(table: EntropyTable, config: EntropyConfig) -> tuple[np.ndarray, np.ndarray]:
    """Return class and x of every state, (states,) int64."""
    classes, x = np.empty(config.states, np.int64), np.empty(config.states, np.int64)
    kernels.deal_states(np.array(table.freqs, np.int64), _spread(config), classes, x)
    return classes, x


def read_table(units: np.ndarray, config: EntropyConfig, where: str) -> tuple[EntropyTable, int]:
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
