# SPDX-License-Identifier: Apache-2.0
"""The rules of AXI that a read master can break, proved for the reader and its units.

By temporal induction in Yosys, unbounded, for all inputs (stalls, aborts and resets included); the
order of words in the aligner from reset on, for some clocks. The memory side is taken to keep its
own rules: it answers what was asked for and nothing else.
"""

from pathlib import Path
from typing import Any

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Cat, Module, Mux, Shape, Signal, Value, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.hw.bus.axi_burst import AxiBurst
from xorloom.hw.bus.axi_reader import AxiReader
from xorloom.hw.bus.byte_aligner import ByteAligner
from xorloom.hw.flow.tools import yosys
from xorloom.sw.base.errors import ToolError

from tests.helpers.proof import Only

BUS, ADDRESS_BITS, MAX_BURST, OUTSTANDING = 32, 16, 4, 2
WORD_BITS = 2
PAGE_WORDS = 4096 // 4


def small_burst(kind: type[AxiBurst], align_bytes: int) -> AxiBurst:
    return kind(
        bus_bits=BUS, address_bits=ADDRESS_BITS, max_burst=MAX_BURST, align_bytes=align_bytes
    )


class CarelessBurst(AxiBurst):
    """Broken: the first burst is as long as the others, wherever it begins."""

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.inner = inner = small_burst(AxiBurst, 1 << self._align_bits)
        wiring.connect(m, wiring.flipped(self.i), inner.i)
        m.d.comb += [
            self.o.valid.eq(inner.o.valid),
            self.o.payload.eq(inner.o.payload),
            self.o.p.beats.eq(Mux(inner.o.p.final, inner.o.p.beats, MAX_BURST - 1)),
            inner.o.ready.eq(self.o.ready),
            self.busy.eq(inner.busy),
        ]
        return m


class BurstMonitor(wiring.Component):
    """Follows the bursts of any legal descriptor: each where the one before it ended, to the end.

    ``crosses``: a burst crosses 4 KiB or is longer than allowed. ``strays``: it is not where it
    has to be, or ``final`` is wrong. ``bad``: either, or a register is not what follows from the
    words that remain; that makes the induction go through.
    """

    def __init__(self, dut: AxiBurst, align_bytes: int) -> None:
        self._dut, self._align = dut, align_bytes.bit_length() - 1
        super().__init__(
            {
                "address": In(ADDRESS_BITS - self._align),
                "words": In(32 - WORD_BITS),
                "valid": In(1),
                "ready": In(1),
                "bad": Out(1),
                "crosses": Out(1),
                "strays": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = self._dut
        legal = Signal(len(self.words))
        remain = Signal(signed(36))
        place = Signal(ADDRESS_BITS - WORD_BITS)
        begun = Signal()
        address = Signal(ADDRESS_BITS)
        at = dut.o.p.address >> WORD_BITS
        beats = dut.o.p.beats + 1
        m.d.comb += [
            legal.eq(Mux(self.words == 0, 1, self.words)),
            address.eq(self.address << self._align),
            dut.i.valid.eq(self.valid),
            dut.i.p.address.eq(address),
            dut.i.p.length.eq(legal << WORD_BITS),
            dut.o.ready.eq(self.ready),
            self.crosses.eq(
                dut.o.valid
                & ((beats > MAX_BURST) | (at % PAGE_WORDS + dut.o.p.beats >= PAGE_WORDS))
            ),
            self.strays.eq(
                dut.o.valid
                & (
                    (dut.o.p.address != place << WORD_BITS)
                    | (dut.o.p.final != (remain == beats))
                    | (remain < beats)
                )
            ),
            self.bad.eq(
                self.crosses
                | self.strays
                | (begun != dut.busy)
                | (dut.o.valid & dut.i.ready)
                | (dut.o.valid & (dut.addend != -MAX_BURST))
                | (dut.o.valid & (remain != dut.left + MAX_BURST + 1 - dut.start))
                | (dut.o.valid & ~dut.first & (dut.start != 0))
                | (
                    dut.o.valid
                    & (dut.first & dut.o.p.final)
                    & (dut.whole != (dut.left - dut.start)[: len(dut.whole)])
                )
            ),
        ]
        with m.If(dut.i.valid & dut.i.ready):
            m.d.sync += [
                remain.eq(legal + (address[:WORD_BITS] != 0)),
                place.eq(address >> WORD_BITS),
                begun.eq(1),
            ]
        with m.If(dut.o.valid & self.ready):
            m.d.sync += [remain.eq(remain - beats), place.eq(place + beats)]
            with m.If(dut.o.p.final):
                m.d.sync += begun.eq(0)
        return m


class Tampered(wiring.Component):
    """The reader, one of its outputs made wrong."""

    def __init__(self, reader: AxiReader, change: str) -> None:
        self._reader, self._change = reader, change
        self.ahead, self.flying = reader.ahead, reader.flying
        super().__init__(reader.signature)

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.inner = inner = self._reader
        changed = {
            "address_withdrawn": {"m_axi_arvalid": inner.m_axi_arvalid & ~self.abort},
            "address_changes": {"m_axi_araddr": inner.m_axi_araddr ^ (self.m_axi_rvalid << 4)},
            "wraps": {"m_axi_arburst": 2},
            "word_withdrawn": {"valid": inner.o.valid & ~self.m_axi_rvalid},
            "word_changes": {"payload": Value.cast(inner.o.payload) ^ self.m_axi_rlast},
        }[self._change]
        for path, member, port in self.signature.flatten(self):
            own = Value.cast(port)
            other: Any = inner
            for step in path:
                other = getattr(other, str(step))
            if member.flow is In:
                m.d.comb += Value.cast(other).eq(own)
            else:
                m.d.comb += own.eq(changed.get(str(path[-1]), Value.cast(other)))
        return m


class ReaderMonitor(wiring.Component):
    """Watches the reader's channels.

    ``address``: an address on offer was withdrawn or changed, is not what the splitter said, or
    its burst does not increment. ``crowded``: more bursts in flight than allowed. ``word``: a word
    on offer was withdrawn or changed, though there was no abort. ``bad``: any, or the reader's
    count of bursts is not the monitor's.
    """

    def __init__(self, dut: Any, shape: Shape) -> None:
        self._dut, self._shape = dut, shape
        super().__init__(
            {
                "descriptor": In(stream.Signature(shape)),
                "abort": In(1),
                "ready": In(1),
                "arready": In(1),
                "rvalid": In(1),
                "rlast": In(1),
                "rdata": In(BUS),
                "rresp": In(2),
                "address": Out(1),
                "crowded": Out(1),
                "word": Out(1),
                "bad": Out(1),
                "full": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = self._dut
        asked = Signal(4)
        # An offer of the clock before that has to stay.
        waits, word_waits = Signal(), Signal()
        offer = Cat(dut.m_axi_araddr, dut.m_axi_arlen)
        said = Signal(ADDRESS_BITS + 8)
        word = Value.cast(dut.o.payload)
        before, word_before = Signal.like(offer), Signal.like(word)
        accepts, lands = Signal(), Signal()
        splitter = dut.ahead.o
        m.d.comb += [
            Value.cast(dut.descriptor.payload).eq(self.descriptor.payload),
            dut.descriptor.valid.eq(self.descriptor.valid),
            self.descriptor.ready.eq(dut.descriptor.ready),
            dut.abort.eq(self.abort),
            dut.o.ready.eq(self.ready),
            dut.m_axi_arready.eq(self.arready),
            dut.m_axi_rvalid.eq(self.rvalid & (asked != 0)),
            dut.m_axi_rlast.eq(self.rlast),
            dut.m_axi_rdata.eq(self.rdata),
            dut.m_axi_rresp.eq(self.rresp),
            accepts.eq(dut.m_axi_arvalid & dut.m_axi_arready),
            lands.eq(dut.m_axi_rvalid & dut.m_axi_rready & dut.m_axi_rlast),
            self.address.eq(
                (waits & (~dut.m_axi_arvalid | (offer != before)))
                | (dut.m_axi_arvalid & ((offer != said) | (dut.m_axi_arburst != 1)))
            ),
            self.crowded.eq(asked > OUTSTANDING),
            self.full.eq(asked == OUTSTANDING),
            self.word.eq(word_waits & (~dut.o.valid | (word != word_before))),
            self.bad.eq(
                self.address
                | self.crowded
                | self.word
                | (asked + dut.m_axi_arvalid != sum(dut.flying[k] for k in range(len(dut.flying))))
                | (dut.flying & (dut.flying + 1) != 0)
                | ((asked != 0) & ~dut.busy)
            ),
        ]
        m.d.sync += [
            asked.eq(asked + accepts - lands),
            waits.eq(dut.m_axi_arvalid & ~dut.m_axi_arready),
            before.eq(offer),
            word_waits.eq(dut.o.valid & ~dut.o.ready & ~self.abort),
            word_before.eq(word),
        ]
        with m.If(splitter.valid & splitter.ready & ~self.abort):
            m.d.sync += said.eq(Cat(splitter.p.address, splitter.p.beats))
        return m


class AlignerMonitor(wiring.Component):
    """Holds the aligner's words against what the beats say; they must come in that order.

    Beats belong to descriptors as a reader gives them: one turn from the first to the last, and
    two beats at least where they are turned.
    """

    def __init__(self, units: int, *, careless: bool = False) -> None:
        self._turn_bits, self._careless = units.bit_length() - 1, careless
        super().__init__(
            {
                "valid": In(1),
                "data": In(units * 8),
                "last": In(1),
                "error": In(2),
                "turn": In(self._turn_bits),
                "ready": In(1),
                "bad": Out(1),
                "crowded": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        units = 1 << self._turn_bits
        m.submodules.dut = dut = ByteAligner(bus_bits=units * 8, turn_bits=self._turn_bits)
        first = Signal(init=1)
        turn, held = Signal(self._turn_bits), Signal(self._turn_bits)
        before, before_error = Signal(units * 8), Signal(2)
        queue = [Signal(len(Value.cast(dut.o.payload)), name=f"queue_{k}") for k in range(4)]
        level = Signal(3)
        enters, leaves = Signal(), Signal()
        word = Signal(units * 8)
        takes = dut.i.valid & dut.i.ready
        with m.Switch(turn):
            for by in range(units):
                with m.Case(by):
                    # The oldest `by` bytes are the upper ones of the beat before.
                    m.d.comb += word.eq(Cat(before, self.data)[(units - by) * 8 :])
        m.d.comb += [
            turn.eq(Mux(first, self.turn, held)),
            dut.i.valid.eq(self.valid),
            dut.i.p.data.eq(self.data),
            dut.i.p.last.eq(self.last & ~(first & (turn != 0))),
            dut.i.p.error.eq(self.error),
            dut.i.p.first.eq(first & (not self._careless)),
            dut.i.p.turn.eq(turn),
            dut.o.ready.eq(self.ready),
            enters.eq(takes & ~(first & (turn != 0))),
            leaves.eq(dut.o.valid & dut.o.ready),
            self.crowded.eq(level == 2),
            self.bad.eq(dut.o.valid & ((level == 0) | (Value.cast(dut.o.payload) != queue[0]))),
        ]
        m.d.sync += level.eq(level + enters - leaves)
        with m.If(takes):
            m.d.sync += [
                first.eq(dut.i.p.last),
                held.eq(turn),
                before.eq(self.data),
                before_error.eq(self.error),
            ]
        with m.If(leaves):
            m.d.sync += [queue[k].eq(queue[k + 1]) for k in range(3)]
        error = self.error | Mux(turn == 0, 0, before_error)
        for k in range(4):
            with m.If(enters & (level - leaves == k)):
                m.d.sync += queue[k].eq(Cat(word, dut.i.p.last, error))
        return m


def small_reader(align_bytes: int, outstanding: int = OUTSTANDING) -> AxiReader:
    return AxiReader(
        bus_bits=BUS,
        address_bits=ADDRESS_BITS,
        outstanding=outstanding,
        max_burst=MAX_BURST,
        align_bytes=align_bytes,
        queue=2,
    )


def watch(reader: Any) -> ReaderMonitor:
    return ReaderMonitor(reader, Value.cast(reader.descriptor.payload).shape())


def prove(
    top: wiring.Component, what: str, folder: Path, *, steps: int = 16, bounded: bool = False
) -> None:
    """Prove that output ``what`` of a monitor is never 1 from reset on, or not in so many steps."""
    path = folder / "top.il"
    path.write_text(rtlil.convert(Only(top, what), name="top", emit_src=False))
    # The queue may say anything: the rules hold for every descriptor.
    cut = "cutpoint -undef t:$mem_v2"
    passes = [f"read_rtlil {path}", "prep -top top -flatten", cut, "memory_map", "async2sync"]
    kind = "-tempinduct-baseonly" if bounded else "-tempinduct"
    check = f"sat -verify {kind} -maxsteps {steps} -prove bad 0 top"
    yosys([*passes, check], folder / "proof.log")
    proved = f"proved base case for {steps} steps" if bounded else "Induction step proven"
    assert f"{proved}: SUCCESS!" in (folder / "proof.log").read_text()


def refute(top: wiring.Component, what: str, folder: Path, steps: int = 16) -> None:
    """Check that ``what`` becomes 1 in a run that starts at reset (not: that no proof is found)."""
    with pytest.raises(ToolError, match="proof did fail"):
        prove(top, what, folder, steps=steps, bounded=True)
    assert "model found for base case: FAIL!" in (folder / "proof.log").read_text()


@pytest.mark.parametrize("align_bytes", [1, 4])
def test_bursts_cover_the_descriptor_and_never_cross_4_kib(
    align_bytes: int, tmp_path: Path
) -> None:
    prove(BurstMonitor(small_burst(AxiBurst, align_bytes), align_bytes), "bad", tmp_path)


@pytest.mark.parametrize("what", ["crosses", "strays"])
def test_burst_proof_fails_for_a_careless_splitter(what: str, tmp_path: Path) -> None:
    refute(BurstMonitor(small_burst(CarelessBurst, 4), 4), what, tmp_path)


@pytest.mark.parametrize("align_bytes", [1, 4])
def test_reader_holds_its_offers_and_counts_its_bursts(align_bytes: int, tmp_path: Path) -> None:
    prove(watch(small_reader(align_bytes)), "bad", tmp_path)


def test_reader_can_have_all_bursts_in_flight_so_the_proof_is_not_empty(tmp_path: Path) -> None:
    refute(watch(small_reader(4)), "full", tmp_path)


def test_reader_proof_fails_with_a_burst_too_many(tmp_path: Path) -> None:
    refute(watch(small_reader(4, OUTSTANDING + 1)), "crowded", tmp_path, steps=20)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("address_withdrawn", "address"),
        ("address_changes", "address"),
        ("wraps", "address"),
        ("word_withdrawn", "word"),
        ("word_changes", "word"),
    ],
)
def test_reader_proof_fails_for_a_broken_reader(change: str, what: str, tmp_path: Path) -> None:
    refute(watch(Tampered(small_reader(4), change)), what, tmp_path)


@pytest.mark.parametrize(("units", "steps"), [(2, 9), pytest.param(4, 12, marks=pytest.mark.slow)])
def test_aligner_makes_every_word_in_order(units: int, steps: int, tmp_path: Path) -> None:
    prove(AlignerMonitor(units), "bad", tmp_path, steps=steps, bounded=True)


@pytest.mark.parametrize(("careless", "what"), [(True, "bad"), (False, "crowded")])
def test_aligner_proof_can_fail(careless: bool, what: str, tmp_path: Path) -> None:
    refute(AlignerMonitor(2, careless=careless), what, tmp_path)
