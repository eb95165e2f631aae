# SPDX-License-Identifier: Apache-2.0
"""CRC-32 of wide beats: XOR trees with registers, or a part of the beat at a time."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.sw.base.errors import ConfigError

from .crc32 import crc_columns

__all__ = ["BeatCrc"]

_FAN_IN = 16
"""Inputs of an XOR between registers: two LUT4."""


class BeatCrc(wiring.Component):
    """CRC-32 as in zlib over the bytes of all beats since ``clear``, each beat from its low byte.

    What a beat adds is worked out in registered XOR levels before it meets the CRC register, so the
    clock does not depend on the beat's width. Twin: ``zlib.crc32``.

    Parameters
    ----------
    bits : int
        Of a beat.
    steps : int
        Cycles a beat takes; XORs are shared by all of them.

    Members
    -------
    i : In(stream.Signature(bits))
    clear : In(1)
        Forget all beats; while ``idle``.
    idle : Out(1)
        ``o`` has all beats in it.
    o : Out(32)

    Raises
    ------
    ConfigError
        If the parts are no whole bytes, or narrower than the CRC.
    """

    def __init__(self, bits: int, *, steps: int = 1) -> None:
        if steps < 1 or bits % (8 * steps) or bits < 32 * steps:
            raise ConfigError(
                f"a beat of {bits} bits must be cut into whole bytes, 32 bits or more, not into "
                f"{steps} parts"
            )
        self._steps, self._part = steps, bits // steps
        super().__init__(
            {
                "i": In(stream.Signature(bits)),
                "clear": In(1),
                "idle": Out(1),
                "o": Out(32),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        """Build the beat's register, the trees and the CRC register."""
        m = Module()
        columns = crc_columns(self._part)
        part, busy = self._take_beats(m)
        # Each level replaces groups of a row's bits by registers of their parity.
        rows: list[Value] = [
            Cat(part[k] for k in range(len(part)) if columns[k] >> row & 1) for row in range(32)
        ]
        depth = 0
        while not depth or max(map(len, rows)) > 1:
            rows = [_parities(m, row, f"level_{depth}_{k}") for k, row in enumerate(rows)]
            depth += 1
        flight = Signal(depth)
        register = Signal(32, init=0xFFFFFFFF)
        own = [
            Cat(register[k] for k in range(32) if columns[k] >> row & 1).xor() for row in range(32)
        ]
        m.d.sync += flight.eq(Cat(busy, flight[:-1]))
        with m.If(self.clear):
            m.d.sync += register.eq(0xFFFFFFFF)
        with m.Elif(flight[-1]):
            m.d.sync += register.eq(Cat(own) ^ Cat(rows))
        m.d.comb += [self.o.eq(~register), self.idle.eq(~busy & ~flight.any() & self.i.ready)]
        return m

    def _take_beats(self, m: Module) -> tuple[Signal, Signal]:
        """Return a register with a part of a beat, and whether it counts.

        The wide registers wait for no ``valid``, which comes late.
        """
        beat = Signal(len(self.i.payload), reset_less=True)
        counts = Signal()
        if self._steps == 1:
            m.d.comb += self.i.ready.eq(1)
            m.d.sync += [counts.eq(self.i.valid), beat.eq(self.i.payload)]
            return beat, counts
        part = Signal(self._part, reset_less=True)
        ready, step, busy = Signal(init=1), Signal(range(self._steps)), Signal()
        takes = self.i.valid & ready
        ends = step == self._steps - 1
        m.d.comb += self.i.ready.eq(ready)
        with m.If(ready):
            m.d.sync += beat.eq(self.i.payload)
        m.d.sync += [
            busy.eq(takes | (busy & ~ends)),
            step.eq(Mux(busy & ~ends, step + 1, 0)),
            # The next beat may come in the cycle of the last part.
            ready.eq(~takes & (ready | (step == self._steps - 2))),
            counts.eq(busy),
            part.eq(beat.word_select(step, self._part)),
        ]
        return part, counts


def _parities(m: Module, bits: Value, name: str) -> Value:
    """Return registers that hold the parities of groups of some bits."""
    groups = [bits[at : at + _FAN_IN] for at in range(0, len(bits), _FAN_IN)]
    level = Signal(len(groups), name=name, reset_less=True)
    m.d.sync += level.eq(Cat(group.xor() for group in groups))
    return level
