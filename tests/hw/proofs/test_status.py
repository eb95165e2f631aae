# SPDX-License-Identifier: Apache-2.0
"""STATUS tells the truth in every clock, whatever decoder and software do."""

from pathlib import Path

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from xorloom.hw.bus.axi_lite import axil_members
from xorloom.hw.ip.csr import ADDRESS_BITS, MAP, Cause
from xorloom.hw.ip.descriptor_queue import DescriptorQueue
from xorloom.hw.ip.registers import Registers

from tests.helpers.proof import Only, prove, refute

SIZES = {"bus_bits": 32, "n_out": 64, "planes": 1, "kinds": 1, "network": 0, "address_bits": 12}


class StatusMonitor(wiring.Component):
    """Registers with free inputs; each output must stay 0.

    ``both``: IDLE and BUSY. ``none``: work has been seen, and neither BUSY nor DONE nor IDLE tells
    of it. A write to STATUS excuses that until the next work, unless it is not ``excused``.
    ``sudden``: IDLE rises though BUSY was not 1.
    """

    def __init__(self, *, reader: bool, excused: bool = True) -> None:
        self._dut = Registers(**SIZES, reader=reader, queue=2)
        self._reader, self._excused = reader, excused
        members = axil_members(ADDRESS_BITS)
        self._free = [name for name, member in members.items() if member.flow is In]
        ports = {name: members[name] for name in self._free}
        free = {"busy": In(1), "fault": In(1), "cause": In(Cause), "done": In(1), "ready": In(1)}
        super().__init__(ports | free | {name: Out(1) for name in ("both", "none", "sudden")})

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = self._dut
        names = [*self._free, "busy", "fault", "cause", "done"]
        m.d.comb += [getattr(dut, name).eq(getattr(self, name)) for name in names]
        if self._reader:
            m.d.comb += dut.descriptor.ready.eq(self.ready)
        fields = MAP["STATUS"]
        busy, done, idle = (dut.status[fields[name].low] for name in ("BUSY", "DONE", "IDLE"))
        works = Signal()  # there has been work, and software has not written STATUS since
        open_writes = Signal(2)
        writes = Signal()  # one of them is to STATUS, or was since there was none
        was_busy = Signal()
        was_idle = Signal()
        asks = self.s_axil_awvalid & dut.s_axil_awready
        ends = dut.s_axil_bvalid & self.s_axil_bready
        mine = self.s_axil_awaddr[2:] == MAP["STATUS"].offset // 4
        m.d.sync += [
            open_writes.eq(open_writes + asks - ends),
            writes.eq((asks & mine) | (writes & open_writes.any())),
            works.eq((works | busy) & ~(writes & self._excused)),
            was_busy.eq(busy),
            was_idle.eq(idle),
        ]
        m.d.comb += [
            self.both.eq(busy & idle),
            self.none.eq(works & ~(writes & self._excused) & ~busy & ~done & ~idle),
            self.sudden.eq(idle & ~was_idle & ~was_busy),
        ]
        return m


class RefusalMonitor(wiring.Component):
    """A descriptor queue; ``bad``: it is busy with a start that it refuses, and with no other."""

    def __init__(self) -> None:
        self._dut = DescriptorQueue(bus_bytes=4, address_bits=12, align_bytes=1, depth=2)
        free = {"address": In(12), "length": In(32), "start": In(1), "flush": In(1), "ready": In(1)}
        super().__init__(free | {"bad": Out(1)})

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = self._dut
        m.d.comb += [
            dut.descriptor.address.eq(self.address),
            dut.descriptor.length.eq(self.length),
            dut.start.eq(self.start),
            dut.flush.eq(self.flush),
            dut.o.ready.eq(self.ready),
            self.bad.eq(dut.refused & dut.busy & ~dut.o.valid),
        ]
        return m


@pytest.mark.parametrize("what", ["both", "none", "sudden"])
@pytest.mark.parametrize("reader", [True, False])
def test_status_tells_what_is_going_on_in_every_clock(
    reader: bool, what: str, tmp_path: Path
) -> None:
    prove(Only(StatusMonitor(reader=reader), what), tmp_path)


def test_status_is_silent_only_after_software_has_cleared_it(tmp_path: Path) -> None:
    refute(Only(StatusMonitor(reader=True, excused=False), "none"), tmp_path)


def test_refused_start_is_no_work(tmp_path: Path) -> None:
    prove(RefusalMonitor(), tmp_path)
