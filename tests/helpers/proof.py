# SPDX-License-Identifier: Apache-2.0
"""Monitors around stream units, and proofs that they never complain."""

import subprocess
from importlib.util import find_spec
from pathlib import Path
from resource import RLIMIT_CPU, setrlimit
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.hw.flow.tools import yosys

__all__ = [
    "BITS",
    "Eager",
    "HoldMonitor",
    "JoinMonitor",
    "Losing",
    "Numbered",
    "Only",
    "Passing",
    "prove",
    "reach",
    "refute",
]

BITS = 3
"""Bits of the numbers that items have."""

_SECONDS = 300
"""CPU time of a proof after which it is given up."""


class HoldMonitor(wiring.Component):
    """``bad`` if the unit's output of this clock breaks a promise of the clock before."""

    def __init__(self, dut: wiring.Component) -> None:
        self._dut = dut
        payload = Value.cast(dut.i.payload).shape()
        super().__init__(
            {
                "valid": In(1),
                "payload": In(payload),
                "ready": In(1),
                "bad": Out(1),
                "stalled": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = self._dut
        offer = Value.cast(dut.o.payload)
        before = Signal.like(offer, reset_less=True)
        stalled = Signal()
        m.d.comb += [
            dut.i.valid.eq(self.valid),
            Value.cast(dut.i.payload).eq(self.payload),
            dut.o.ready.eq(self.ready),
            self.stalled.eq(stalled),
            self.bad.eq(stalled & (~dut.o.valid | (offer != before))),
        ]
        m.d.sync += [stalled.eq(dut.o.valid & ~self.ready), before.eq(offer)]
        return m


class Numbered(wiring.Component):
    """Numbers the items that a unit is given; they must come out in that order."""

    def __init__(self, dut: Any) -> None:
        self._dut = dut
        super().__init__({"valid": In(1), "ready": In(1), "bad": Out(1)})

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = self._dut
        given, taken = Signal(BITS), Signal(BITS)
        m.d.comb += [
            dut.i.valid.eq(self.valid),
            Value.cast(dut.i.payload).eq(given),
            dut.o.ready.eq(self.ready),
            self.bad.eq(dut.o.valid & (Value.cast(dut.o.payload) != taken)),
        ]
        m.d.sync += [
            given.eq(given + (dut.i.valid & dut.i.ready)),
            taken.eq(taken + (dut.o.valid & dut.o.ready)),
        ]
        return m


class Eager(wiring.Component):
    """A queue with slack behind a source that uses it: ``late`` items after ``ready`` fell."""

    def __init__(self, inner: Any, late: int) -> None:
        self._inner, self._late = inner, late
        super().__init__({"i": inner.signature.members["i"], "o": inner.signature.members["o"]})

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.inner = inner = self._inner
        came = Signal(range(self._late + 1))
        m.d.comb += [
            self.i.ready.eq(inner.i.ready | (came < self._late)),
            inner.i.valid.eq(self.i.valid & self.i.ready),
            Value.cast(inner.i.payload).eq(self.i.payload),
        ]
        m.d.sync += came.eq(Mux(inner.i.ready, 0, came + inner.i.valid))
        wiring.connect(m, inner.o, wiring.flipped(self.o))
        return m


class JoinMonitor(wiring.Component):
    """Numbers slices and masks; they must come out in pairs, in order, and packets be closed.

    Numbers go on after a kill with the beat that is on offer. ``bad``: a beat is not the next; or
    a stream that was cut is not closed before the next begins; or the closing beat is not one.
    ``fickle``: an offer was withdrawn or changed.
    """

    def __init__(self, dut: Any) -> None:
        self._dut = dut
        ports = ("slice_valid", "mask_valid", "last", "ready", "opens", "verified", "kill")
        super().__init__({name: In(1) for name in ports} | {"bad": Out(1), "fickle": Out(1)})

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = self._dut
        slices, masks, taken = Signal(BITS), Signal(BITS), Signal(BITS)
        after = Signal(BITS)
        begun, owes = (
            Signal(),
            Signal(),
        )  # a packet is open; it must be closed after what is offered
        beat, offer = dut.o.p, Value.cast(dut.o.payload)
        fresh, waits = Signal(), Signal()
        unproved = Signal(BITS)  # streams that have begun and are not verified
        before, waited = Signal.like(offer), Signal()
        m.d.comb += [
            dut.slices.valid.eq(self.slice_valid),
            dut.slices.p.bits.eq(slices),
            dut.slices.p.last.eq(self.last),
            dut.masks.valid.eq(self.mask_valid),
            dut.masks.p.mask.eq(masks),
            dut.o.ready.eq(self.ready),
            dut.opens.eq(self.opens & dut.may_open),
            dut.verified.eq(self.verified & unproved.any()),
            dut.kill.eq(self.kill),
            fresh.eq(dut.o.valid & self.ready & ~beat.bad),
            waits.eq(dut.o.valid & ~self.ready & ~beat.bad),
            after.eq(taken + fresh),
            self.fickle.eq(waited & (~dut.o.valid | (offer != before))),
            self.bad.eq(
                dut.o.valid
                & Mux(
                    beat.bad,
                    ~beat.last | beat.valid_bits.any(),
                    (owes & ~waited) | (beat.codes[:BITS] != taken) | (beat.mask[:BITS] != taken),
                )
            ),
        ]
        m.d.sync += [
            waited.eq(dut.o.valid & ~self.ready),
            before.eq(offer),
            taken.eq(after),
            slices.eq(slices + (dut.slices.valid & dut.slices.ready)),
            masks.eq(masks + (dut.masks.valid & dut.masks.ready)),
        ]
        m.d.sync += unproved.eq(Mux(self.kill, 0, unproved + dut.opens - dut.verified))
        with m.If(dut.o.valid & self.ready):
            m.d.sync += begun.eq(~beat.last)
        with m.If(dut.o.valid & self.ready & beat.bad):
            m.d.sync += owes.eq(0)
        with m.If(self.kill):
            m.d.sync += [
                slices.eq(after + waits),
                masks.eq(after + waits),
                # A beat that is offered and not the last leaves its packet open, too.
                owes.eq(
                    Mux(
                        dut.o.valid,
                        Mux(beat.bad, ~self.ready, ~beat.last | (owes & waited)),
                        begun,
                    )
                ),
            ]
        return m


class Passing(wiring.Component):
    """Broken: passes offers on, which its source need not hold."""

    def __init__(self, shape: Any) -> None:
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        wiring.connect(m, wiring.flipped(self.i), wiring.flipped(self.o))
        return m


class Losing(wiring.Component):
    """Broken: takes every item for taken."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        super().__init__(inner.signature)

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.inner = inner = self._inner
        wiring.connect(m, wiring.flipped(self.i), inner.i)
        m.d.comb += [
            self.o.valid.eq(inner.o.valid),
            Value.cast(self.o.payload).eq(inner.o.payload),
            inner.o.ready.eq(1),
        ]
        return m


class Only(wiring.Component):
    """A monitor with one of its outputs, called ``bad``."""

    def __init__(self, monitor: Any, what: str) -> None:
        self._monitor, self._what = monitor, what
        ports = monitor.signature.members.items()
        super().__init__({n: p for n, p in ports if p.flow is In} | {"bad": Out(1)})

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.monitor = monitor = self._monitor
        for name, member in self.signature.members.items():
            if not member.is_port:
                wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(monitor, name))
            elif name != "bad":
                m.d.comb += getattr(monitor, name).eq(getattr(self, name))
        m.d.comb += self.bad.eq(getattr(monitor, self._what))
        return m


def abc(top: wiring.Component, folder: Path, engine: str) -> str:
    """Return what ABC says of the only output of ``top``: never 1 from reset on, or a way to it.

    It may take ``_SECONDS`` of CPU time, however busy the machine is.
    """
    (folder / "top.il").write_text(rtlil.convert(top, name="top", emit_src=False))
    passes = [f"read_rtlil {folder / 'top.il'}", "prep -top top -flatten"]
    # A register that no output needs is gone by now, but its wire would still have an init.
    passes += ["memory_map", "opt_clean", "setattr -unset init w:* c:* %co1 %d"]
    passes += ["async2sync", "setundef -undriven -zero", "techmap"]
    passes += ["dfflegalize -cell $_DFF_P_ 01", "aigmap", "opt_clean"]
    yosys([*passes, f"write_aiger -zinit {folder / 'top.aig'}"], folder / "aiger.log")
    # Not imported: pyosys makes every library loaded after it global, and matplotlib then breaks.
    spec = find_spec("pyosys")
    assert spec is not None
    assert spec.origin is not None
    program = Path(spec.origin).parent / "yosys-abc"
    done = subprocess.run(
        [program, "-c", f"read_aiger {folder / 'top.aig'}; {engine}"],
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
        preexec_fn=lambda: setrlimit(RLIMIT_CPU, (_SECONDS, _SECONDS)),
    )
    return done.stdout


def prove(top: wiring.Component, folder: Path, *, engine: str = "pdr") -> None:
    """Prove that ``bad`` is never 1; ``engine`` is how ABC does it."""
    text = abc(top, folder, engine)
    assert "Property proved" in text, text[-400:]


def refute(top: wiring.Component, folder: Path, *, engine: str = "pdr") -> None:
    text = abc(top, folder, engine)
    assert "was asserted in frame" in text, text[-400:]


def reach(top: wiring.Component, folder: Path, cycles: int) -> None:
    """Find a shortest way from reset to ``bad``, of at most so many cycles."""
    text = abc(top, folder, f"bmc3 -F {cycles}")
    assert "was asserted in frame" in text, text[-400:]
