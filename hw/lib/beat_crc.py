# SPDX-License-Identifier: Apache-2.0
"""CRC-32 of wide beats: registered XOR trees, whole beats or a part per cycle."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.sw.base.errors import ConfigError

from .crc32 import crc_columns

__all__ = ["BeatCrc"]

_FAN_IN = 16
"""Inputs of an XOR between two registers: five LUT4 in two levels."""


class BeatCrc(wiring.Component):
    """Beat CRC: CRC-32, as in zlib, of all beats since ``clear``, each from its low byte.

    The share of a beat is computed in registered XOR levels before it meets the CRC register, so
    Fmax does not depend on the width of a beat. One beat per ``steps`` cycles; ``idle`` tells when
    ``o`` is complete. Twin: ``zlib.crc32``.

    Parameters
    ----------
    bits : int
        Width of a beat.
    steps : int
        Cycles per beat. Each cycle processes ``bits / steps`` bits with the same XOR trees.

    Members
    -------
    i : In(stream.Signature(bits))
        Beats.
    clear : In(1)
        Start again from no beats. Allowed only while ``idle``.
    idle : Out(1)
        ``o`` includes every beat that was accepted.
    o : Out(32)
        The CRC.

    Raises
    ------
    ConfigError
        If a part is not a whole number of bytes, or is narrower than the CRC.
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
        """Build the beat register, the XOR trees and the CRC register."""
        m = Module()
        columns = crc_columns(self._part)
        part, busy = self._take_beats(m)
        # Each level replaces groups of bits of a row by registers that hold their parities.
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
        """Return a register with a part of a beat, and a flag that says whether it is valid.

        The wide registers are not enabled by ``i.valid``, because that arrives late in the cycle.
        """
        beat = Signal(len(self.i.payload), reset_less=True)
        counts = Signal()
        if self._steps == 1:
            m.d.comb += self.i.ready.eq(1)
            m.d.sync += [counts.eq(self.i.valid), beat.eq(self.i.payload)]
            return beat, counts
        part = Signal(self._part, reset_less=True)
        ready = Signal(init=1)
        step = Signal(range(self._steps))
        busy = Signal()
        takes = self.i.valid & ready
        ends = step == self._steps - 1
        m.d.comb += self.i.ready.eq(ready)
        with m.If(ready):
            m.d.sync += beat.eq(self.i.payload)
        m.d.sync += [
            busy.eq(takes | (busy & ~ends)),
            step.eq(Mux(busy & ~ends, step + 1, 0)),
            # The next beat may arrive in the cycle of the last part.
            ready.eq(~takes & (ready | (step == self._steps - 2))),
            counts.eq(busy),
            part.eq(beat.word_select(step, self._part)),
        ]
        return part, counts


def _parities(m: Module, bits: Value, name: str) -> Value:
    """Return registers that hold the parities of groups of ``_FAN_IN`` bits."""
    groups = [bits[at : at + _FAN_IN] for at in range(0, len(bits), _FAN_IN)]
    level = Signal(len(groups), name=name, reset_less=True)
    m.d.sync += level.eq(Cat(group.xor() for group in groups))
    return level
