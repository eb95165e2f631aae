# SPDX-License-Identifier: Apache-2.0
"""Shell of the baselines: a baseline decoder behind the read master of the IP block."""

from typing import Any

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from xorloom.hw.bus.axi_reader import AxiReader
from xorloom.hw.bus.ports import axi_members, clocked_module, pass_ports, ports_of

from .common import BaselineDecoder

__all__ = ["BASELINE_COUNTERS", "BaselineShell"]

BASELINE_COUNTERS = ("words", "starved", "blocked", "stalled", "beats")
"""Ports that count what the counters of the same names in :mod:`xorloom.hw.ip.csr` count."""


class BaselineShell(wiring.Component):
    """Baseline shell: read master, baseline decoder and counters; a pulse starts a read.

    So all designs that are compared read the same memory with the same reader. A beat of
    ``m_axis`` is planar, see :class:`xorloom.sw.spec.layout.BeatLayout`.

    Parameters
    ----------
    core : BaselineDecoder
    address_bits, outstanding, max_burst : int
        For the reader, see :class:`xorloom.hw.bus.axi_reader.AxiReader`. Addresses are multiples
        of a bus word.

    Members
    -------
    aclk, aresetn : In(1)
        Clock; synchronous reset, active low.
    start : In(1)
        For one cycle: read ``length`` bytes at ``address``. Up to four reads can wait.
    address : In(address_bits)
    length : In(32)
        In bytes.
    m_axi_ar*, m_axi_r*
        Memory.
    m_axis_tdata, m_axis_tvalid, m_axis_tready, m_axis_tlast
        Codes and masks.
    words, starved, blocked, stalled, beats : Out(32)
        Counters. ``starved`` counts from the first word to the last one.
    """

    def __init__(
        self,
        core: BaselineDecoder,
        *,
        address_bits: int = 32,
        outstanding: int = 4,
        max_burst: int = 256,
    ) -> None:
        self._core: Any = core
        bus_bits = len(self._core.i.p.data)
        self._reader = AxiReader(
            bus_bits=bus_bits,
            address_bits=address_bits,
            outstanding=outstanding,
            max_burst=max_burst,
            align_bytes=bus_bits // 8,
        )
        beat = self._core.o.p
        self._out_bytes = -(-(len(beat.codes) + len(beat.mask)) // 8)
        super().__init__(
            axi_members(in_bits=None, out_bits=8 * self._out_bytes)
            | {"start": In(1), "address": In(address_bits), "length": In(32)}
            | ports_of(self._reader, "m_axi_")
            | {name: Out(32) for name in BASELINE_COUNTERS}
        )

    def elaborate(self, _platform: object) -> Module:
        """Connect the reader and count."""
        m = clocked_module(self)
        m.submodules.reader = reader = self._reader
        m.submodules.core = core = self._core
        pass_ports(m, self, reader, {name: name for name in ports_of(reader, "m_axi_")})
        wiring.connect(m, reader.o, core.i)
        waits = Signal()
        begun = Signal()
        word = core.i.valid & core.i.ready
        m.d.comb += [
            reader.descriptor.valid.eq(self.start),
            reader.descriptor.p.address.eq(self.address),
            reader.descriptor.p.length.eq(self.length),
            self.m_axis_tdata.eq(Cat(core.o.p.codes, core.o.p.mask)),
            self.m_axis_tlast.eq(core.o.p.last),
            self.m_axis_tvalid.eq(core.o.valid),
            core.o.ready.eq(self.m_axis_tready),
            waits.eq(core.o.valid & ~core.o.ready),
        ]
        m.d.sync += begun.eq((begun | word) & reader.busy)
        events = {
            "words": word,
            "starved": begun & core.i.ready & ~core.i.valid,
            "blocked": core.i.valid & ~core.i.ready & ~waits,
            "stalled": waits,
            "beats": core.o.valid & core.o.ready,
        }
        for name, event in events.items():
            count = getattr(self, name)
            m.d.sync += count.eq(count + event)
        return m
