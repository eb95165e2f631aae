# SPDX-License-Identifier: Apache-2.0
"""AXI4-Lite subordinate: one response a request, held until taken, no write twice: proved.

By temporal induction in Yosys, unbounded, for all inputs (resets included).
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from xorloom.hw.bus.axi_lite import AxiLite, axil_members
from xorloom.hw.flow.tools import yosys
from xorloom.sw.base.errors import ToolError

BITS = 4
INPUTS = {name: member for name, member in axil_members(BITS).items() if member.flow is In}
FAULTS = ("holds", "responds", "writes", "returns", "late")


class _Wrapped(AxiLite):
    """A subordinate with something changed by a subclass."""

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.inner = inner = AxiLite(address_bits=BITS)
        changed = self.change(m, inner)
        for name, member in self.signature.members.items():
            port, other = getattr(self, name), getattr(inner, name)
            if member.flow is In:
                m.d.comb += other.eq(changed.get(name, port))
            else:
                m.d.comb += port.eq(changed.get(name, other))
        return m

    def change(self, _m: Module, _inner: AxiLite) -> dict[str, Signal]:
        raise NotImplementedError


class ForgetfulResponse(_Wrapped):
    """Broken: takes every response for taken."""

    def change(self, m: Module, inner: AxiLite) -> dict[str, Signal]:
        always = Signal(init=1)
        m.d.comb += always.eq(1)
        return {"s_axil_bready": always}


class ChangingData(_Wrapped):
    """Broken: the data of a read follow the registers while they wait to be taken."""

    def change(self, m: Module, inner: AxiLite) -> dict[str, Signal]:
        live = Signal(32)
        m.d.comb += live.eq(self.read_data)
        return {"s_axil_rdata": live}


class DoubleResponse(_Wrapped):
    """Broken: a response is offered for a cycle more after it was taken."""

    def change(self, m: Module, inner: AxiLite) -> dict[str, Signal]:
        again, offered = Signal(), Signal()
        m.d.sync += again.eq(inner.s_axil_bvalid & self.s_axil_bready)
        m.d.comb += offered.eq(inner.s_axil_bvalid | again)
        return {"s_axil_bvalid": offered}


class EarlyResponse(_Wrapped):
    """Broken: responds to an address alone."""

    def change(self, m: Module, inner: AxiLite) -> dict[str, Signal]:
        offered = Signal()
        m.d.comb += offered.eq(inner.s_axil_bvalid | ~inner.s_axil_awready)
        return {"s_axil_bvalid": offered}


class UnaskedData(_Wrapped):
    """Broken: returns data when the registers answer, asked or not."""

    def change(self, m: Module, inner: AxiLite) -> dict[str, Signal]:
        offered = Signal()
        m.d.comb += offered.eq(inner.s_axil_rvalid | self.answer)
        return {"s_axil_rvalid": offered}


class MixedStrobes(_Wrapped):
    """Broken: the strobes are those of the cycle, not those of the data."""

    def change(self, m: Module, inner: AxiLite) -> dict[str, Signal]:
        live = Signal(4)
        m.d.comb += live.eq(self.s_axil_wstrb)
        return {"write_strobe": live}


class Deaf(_Wrapped):
    """Broken: never responds to a write."""

    def change(self, m: Module, inner: AxiLite) -> dict[str, Signal]:
        never = Signal()
        m.d.comb += never.eq(0)
        return {"s_axil_wvalid": never}


class AxilMonitor(wiring.Component):
    """Counts requests and responses of both directions and keeps what was asked for.

    ``holds``: an offer of B or R was withdrawn or changed. ``responds``: a response to a write
    without address or data. ``writes``: a register was written not once a request, or not with its
    address, data and strobes. ``returns``: data without a request, or not what the registers
    answered, or the registers were asked for another address. ``late``: a request that could be
    served was not in four cycles. ``bad`` is any of them, or that the unit's registers contradict
    the counts: that makes the induction go through.
    """

    def __init__(self, dut: AxiLite) -> None:
        self._dut = dut
        outputs = dict.fromkeys(("bad", "stalled", "served", *FAULTS), Out(1))
        super().__init__(INPUTS | {"read_data": In(32), "answer": In(1)} | outputs)

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = self._dut
        for name in (*INPUTS, "read_data", "answer"):
            m.d.comb += getattr(dut, name).eq(getattr(self, name))
        aw, w, b, ar, r = (Signal(name=f"takes_{name}") for name in ("aw", "w", "b", "ar", "r"))
        for signal, name in ((aw, "aw"), (w, "w"), (b, "b"), (ar, "ar"), (r, "r")):
            valid = getattr(dut, f"s_axil_{name}valid")
            m.d.comb += signal.eq(valid & getattr(dut, f"s_axil_{name}ready"))
        # Requests without a taken response; writes done among them.
        addresses, data, done, reads = Signal(3), Signal(3), Signal(3), Signal(3)
        m.d.sync += [
            addresses.eq(addresses + aw - b),
            data.eq(data + w - b),
            done.eq(done + dut.write - b),
            reads.eq(reads + ar - r),
        ]
        # At most one address and one data wait to be done: the newest.
        address, word = Signal(BITS - 2), Signal(36)
        asked, answer = Signal(BITS - 2), Signal(32)
        with m.If(aw):
            m.d.sync += address.eq(self.s_axil_awaddr[2:])
        with m.If(w):
            m.d.sync += word.eq(Cat(self.s_axil_wdata, self.s_axil_wstrb))
        with m.If(ar):
            m.d.sync += asked.eq(self.s_axil_araddr[2:])
        with m.If(dut.read & self.answer):
            m.d.sync += answer.eq(self.read_data)
        b_stalled, r_stalled = Signal(), Signal()
        response = dut.s_axil_bresp
        returned = Cat(dut.s_axil_rdata, dut.s_axil_rresp)
        b_before, r_before = Signal(2), Signal(34)
        m.d.sync += [
            b_stalled.eq(dut.s_axil_bvalid & ~self.s_axil_bready),
            r_stalled.eq(dut.s_axil_rvalid & ~self.s_axil_rready),
            b_before.eq(response),
            r_before.eq(returned),
        ]
        waiting, unanswered = Signal(3), Signal(3)
        due = (addresses != 0) & (data != 0) & ~dut.s_axil_bvalid
        m.d.sync += [waiting.eq(0), unanswered.eq(0)]
        with m.If(due):
            m.d.sync += waiting.eq(waiting + (waiting != 7))
        with m.If((reads != 0) & self.answer & ~dut.s_axil_rvalid):
            m.d.sync += unanswered.eq(unanswered + (unanswered != 7))
        b_valid, r_valid = dut.s_axil_bvalid, dut.s_axil_rvalid
        aw_held, w_held, ar_held = ~dut.s_axil_awready, ~dut.s_axil_wready, ~dut.s_axil_arready
        m.d.comb += [
            self.holds.eq(
                (b_stalled & (~b_valid | (response != b_before)))
                | (r_stalled & (~r_valid | (returned != r_before)))
            ),
            self.responds.eq(b_valid & ((addresses == 0) | (data == 0) | (done == 0))),
            self.writes.eq(
                (dut.write & ((addresses == 0) | (data == 0) | (done != 0)))
                | (dut.write & (dut.write_word != address))
                | (dut.write & (Cat(dut.write_data, dut.write_strobe) != word))
            ),
            self.returns.eq(
                (r_valid & (reads == 0))
                | (r_valid & (dut.s_axil_rdata != answer))
                | (dut.read & ((reads == 0) | (dut.read_word != asked)))
            ),
            self.late.eq((waiting >= 4) | (unanswered >= 4)),
            self.bad.eq(
                Cat(getattr(self, name) for name in FAULTS).any()
                | (addresses != aw_held + b_valid)
                | (data != w_held + b_valid)
                | (done != b_valid)
                | (reads != ar_held)
                | (r_valid & ~ar_held)
                | (dut.write & ~(aw_held & w_held))
                | (aw_held & (dut.write_word != address))
                | (w_held & (Cat(dut.write_data, dut.write_strobe) != word))
                | (ar_held & (dut.read_word != asked))
                | (dut.write & b_valid)
                | ((waiting == 1) & ~dut.write)
                | ((waiting == 2) & ~b_valid)
                | (waiting > 2)
                | (unanswered > 1)
            ),
            self.stalled.eq(b_stalled & r_stalled),
            self.served.eq(b & (addresses == 2) & (data == 2)),
        ]
        return m


def prove(dut: AxiLite, what: str, folder: Path) -> None:
    """Prove that signal ``what`` of the monitor is never 1 from reset on."""
    path = folder / "top.il"
    path.write_text(rtlil.convert(AxilMonitor(dut), name="top", emit_src=False))
    passes = [f"read_rtlil {path}", "prep -top top -flatten", "async2sync"]
    check = f"sat -verify -tempinduct -maxsteps 12 -prove {what} 0 top"
    yosys([*passes, check], folder / "proof.log")
    assert "Induction step proven: SUCCESS!" in (folder / "proof.log").read_text()


def refute(dut: AxiLite, what: str, folder: Path) -> None:
    """Check that ``what`` becomes 1 in a run that starts at reset (not: that no proof is found)."""
    with pytest.raises(ToolError, match="proof did fail"):
        prove(dut, what, folder)
    assert "model found for base case: FAIL!" in (folder / "proof.log").read_text()


BROKEN: dict[Callable[..., AxiLite], str] = {
    ForgetfulResponse: "holds",
    ChangingData: "holds",
    DoubleResponse: "responds",
    EarlyResponse: "responds",
    MixedStrobes: "writes",
    UnaskedData: "returns",
    Deaf: "late",
}


def test_axi_lite_responds_once_a_request_and_holds_it(tmp_path: Path) -> None:
    prove(AxiLite(address_bits=BITS), "bad", tmp_path)


@pytest.mark.parametrize("what", ["stalled", "served"])
def test_axi_lite_can_be_stalled_and_crowded_so_the_proof_is_not_empty(
    what: str, tmp_path: Path
) -> None:
    refute(AxiLite(address_bits=BITS), what, tmp_path)


@pytest.mark.parametrize("unit", BROKEN, ids=lambda unit: unit.__name__)
def test_axi_lite_proof_fails_for_a_broken_unit(
    unit: Callable[..., AxiLite], tmp_path: Path
) -> None:
    refute(unit(address_bits=BITS), BROKEN[unit], tmp_path)
