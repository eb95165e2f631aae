# SPDX-License-Identifier: Apache-2.0
"""Image in block RAM, read as a stream."""

import functools
import operator
from collections.abc import Sequence

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.hw.lib.packet_queue import PacketQueue
from xorloom.hw.lib.payloads import word_layout
from xorloom.sw.base.errors import ConfigError

__all__ = ["BoardRom"]

_QUEUE = 16


class BoardRom(wiring.Component):
    """Board ROM: all words of an image after ``start``, one per cycle; full back-pressure.

    The image is divided into banks, each a memory of its own. All banks are read at the same
    address, and one of them is selected in registered levels, so Fmax does not depend on the size
    of the image.

    Parameters
    ----------
    words : sequence of int
        The image; one word or more.
    bus_bits : int
        Width of a word.
    bank_words : int, a power of two
        Words of a bank: the depth of the device's memory blocks at their usual width.

    Members
    -------
    start : In(1)
        Begin with the first word. Only while ``idle``.
    idle : Out(1)
        All words have been taken.
    o : Out(stream.Signature(word_layout(bus_bits)))
        The words; the last one has ``last``.

    Raises
    ------
    ConfigError
        If there are no words.
    """

    def __init__(self, words: Sequence[int], *, bus_bits: int, bank_words: int) -> None:
        if not words:
            raise ConfigError("an image in block RAM must have a word or more, not none")
        self._words, self._bus_bits, self._bank_words = list(words), bus_bits, bank_words
        super().__init__(
            {
                "start": In(1),
                "idle": Out(1),
                "o": Out(stream.Signature(word_layout(bus_bits))),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        """Build the banks, the levels that select, and a queue for the words on their way."""
        m = Module()
        words, size = self._words, self._bank_words
        banks = [words[at : at + size] for at in range(0, len(words), size)]
        place = Signal(range(min(size, len(words))))
        bank = Signal(len(banks), init=1)
        left = Signal(range(len(words) + 1))
        # Words that were requested and have not left the queue.
        owed = Signal(range(_QUEUE + 1))
        more = Signal()  # left is not 0
        asks = Signal()
        leaves = Signal()
        m.d.comb += asks.eq(more & (owed < _QUEUE - 4))
        m.d.sync += owed.eq(owed + asks - leaves)
        # The bank follows one cycle later, so its long wires have a cycle of their own.
        begins = Signal()
        turns = Signal()
        m.d.sync += [begins.eq(self.start), turns.eq(asks & (place == size - 1))]
        with m.If(self.start):
            m.d.sync += [left.eq(len(words)), more.eq(1), place.eq(0)]
        with m.Elif(asks):
            m.d.sync += [left.eq(left - 1), more.eq(left != 1), place.eq(place + 1)]
        with m.If(begins):
            m.d.sync += bank.eq(1)
        with m.Elif(turns):
            m.d.sync += bank.eq(bank << 1)
        data = []
        for k, part in enumerate(banks):
            # All banks have the same depth; a shorter one might be mapped with logic behind it.
            store = memory.Memory(shape=self._bus_bits, depth=len(banks[0]), init=part)
            m.submodules[f"bank_{k}"] = store
            port = store.read_port()
            m.d.comb += [port.addr.eq(place), port.en.eq(1)]
            # A block RAM takes half a cycle until its data are valid; one wire fills the rest.
            held = Signal(self._bus_bits, name=f"held_{k}", reset_less=True)
            m.d.sync += held.eq(port.data)
            data.append(held)
        chosen = Signal.like(bank)
        m.d.sync += chosen.eq(bank)
        word, levels = _choose(m, data, chosen)
        flight = Signal(levels + 2)
        lasts = Signal(levels + 2)
        m.d.sync += [
            flight.eq(Cat(asks, flight[:-1])),
            lasts.eq(Cat(left == 1, lasts[:-1])),
        ]
        m.submodules.queue = queue = PacketQueue(self.o.payload.shape(), _QUEUE)
        m.d.comb += [
            queue.i.valid.eq(flight[-1]),
            queue.i.p.data.eq(word),
            queue.i.p.last.eq(lasts[-1]),
            leaves.eq(self.o.valid & self.o.ready),
            self.idle.eq(~more & ~owed.any()),
        ]
        wiring.connect(m, queue.o, wiring.flipped(self.o))
        return m


def _choose(m: Module, data: Sequence[Value], chosen: Value) -> tuple[Value, int]:
    """Return the selected word, registered, and the latency of the selection in cycles.

    Pairs are gated and merged with one LUT4 per bit, then four words at a time are merged.
    """
    gated = [word & chosen[k].replicate(len(word)) for k, word in enumerate(data)]
    level = [_merged(gated[at : at + 2]) for at in range(0, len(gated), 2)]
    levels = 0
    while True:
        registers = []
        for k, value in enumerate(level):
            register = Signal(len(data[0]), name=f"level_{levels}_{k}", reset_less=True)
            m.d.sync += register.eq(value)
            registers.append(register)
        levels += 1
        if len(registers) == 1:
            return registers[0], levels
        level = [_merged(registers[at : at + 4]) for at in range(0, len(registers), 4)]


def _merged(words: Sequence[Value]) -> Value:
    return functools.reduce(operator.or_, words)
