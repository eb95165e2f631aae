# SPDX-License-Identifier: Apache-2.0
"""CRC-32 of wide beats, whole or a part per cycle."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.sw.base.errors import ConfigError

from .crc32 import Crc32

__all__ = ["BeatCrc"]


class BeatCrc(wiring.Component):
    """Beat CRC: CRC-32, as in zlib, of all beats since ``clear``, each from its low byte.

    One beat per ``steps`` cycles; ``idle`` tells when ``o`` is complete. See
    :class:`xorloom.hw.lib.crc32.Crc32`. Twin: ``zlib.crc32``.

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
        Start again from no beats. Allowed only while ``idle``, which falls for the next cycles.
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
        """Build the beat register and the CRC."""
        m = Module()
        part, busy = self._take_beats(m)
        m.submodules.crc = crc = Crc32(self._part)
        m.d.comb += [
            crc.data.eq(part),
            crc.valid.eq(busy),
            crc.clear.eq(self.clear),
            self.o.eq(crc.o),
            self.idle.eq(~busy & crc.idle & self.i.ready),
        ]
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
