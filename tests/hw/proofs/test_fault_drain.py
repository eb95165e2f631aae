# SPDX-License-Identifier: Apache-2.0
"""No fault comes before the good streams that are older than the bad one have ended."""

from pathlib import Path

import pytest
from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from xorloom.hw.ip.csr import Cause
from xorloom.hw.ip.fault_drain import FaultDrain, wrong_layout

from tests.helpers.proof import Only, prove, refute


class DrainMonitor(wiring.Component):
    """Streams that complete, get their CRC and end as they like; anything may be wrong any time.

    ``cuts``: a fault comes, though a stream that is verified, or that was complete before anything
    was wrong with a later one, has not ended. Faults about such a stream, or about all, are none.
    ``blames``: the CRC of a stream is wrong, and the fault is about what came behind it.
    ``stuck``: halted, though nothing was wrong.
    """

    def __init__(self, *, eager: bool = False) -> None:
        self._eager = eager
        ports = ("completes", "resolves", "right", "ends", "still")
        outputs = ("cuts", "blames", "stuck")
        super().__init__(
            {name: In(1) for name in ports}
            | {"wrong": In(wrong_layout())}
            | {name: Out(1) for name in outputs}
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = FaultDrain()
        verified = Signal(2)
        finishing = Signal()
        bad_crc = Signal()  # of the stream that is finishing; it stays so until the fault
        seen = Signal()  # something has been wrong since the last fault
        older = Signal()  # the stream that is finishing was complete before
        crc_seen = Signal()
        excused = Signal()  # there was an abort, no progress, or a verified stream too short
        others = Cat(
            self.wrong[cause.name.lower()]
            for cause in (Cause.SLVERR, Cause.DECERR, Cause.HEADER, Cause.NETWORK, Cause.TRUNCATED)
        ).any()
        verifies = finishing & self.resolves & self.right & ~bad_crc & ~verified.all()
        m.d.comb += [
            dut.wrong.eq(self.wrong),
            dut.wrong.crc.eq(bad_crc & finishing),
            dut.finishing.eq(finishing),
            dut.owes.eq(verified.any() & ~self._eager),
            dut.still.eq(self.still),
        ]
        m.d.sync += [
            verified.eq(verified + verifies - (self.ends & verified.any())),
            bad_crc.eq(finishing & (bad_crc | (self.resolves & ~self.right))),
            # While halted no word completes a stream; the two last words are taken before that.
            finishing.eq(((finishing & ~verifies) | (self.completes & ~dut.halts)) & ~dut.cancels),
            older.eq((older | (finishing & ~seen)) & finishing & ~verifies),
            seen.eq(seen | self.wrong.as_value().any() | bad_crc),
            crc_seen.eq(crc_seen | (bad_crc & finishing & (older | ~seen))),
        ]
        with m.If(dut.fault):
            m.d.sync += [verified.eq(0), finishing.eq(0), bad_crc.eq(0), seen.eq(0), older.eq(0)]
            m.d.sync += crc_seen.eq(0)
        causes = (Cause.ABORTED, Cause.LENGTH, Cause.SCHEDULE)
        happens = Cat(self.wrong[cause.name.lower()] for cause in causes).any()
        m.d.sync += excused.eq(~dut.fault & (happens | excused))
        m.d.comb += [
            self.cuts.eq(dut.fault & ~excused & (verified.any() | (finishing & older & ~bad_crc))),
            self.blames.eq(dut.fault & ~excused & crc_seen & (dut.cause != Cause.CRC)),
            self.stuck.eq(dut.halts & ~seen & ~others),
        ]
        return m


@pytest.mark.parametrize("what", ["cuts", "blames", "stuck"])
def test_fault_waits_for_the_streams_before(what: str, tmp_path: Path) -> None:
    prove(Only(DrainMonitor(), what), tmp_path)


def test_drain_proof_fails_if_verified_streams_do_not_count(tmp_path: Path) -> None:
    refute(Only(DrainMonitor(eager=True), "cuts"), tmp_path)
