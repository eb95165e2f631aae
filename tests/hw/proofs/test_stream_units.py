# SPDX-License-Identifier: Apache-2.0
"""The units of the decoder of weight streams keep the stream contract: proved.

By property-directed reachability in ABC, unbounded, from reset on, for all inputs: nothing is lost,
repeated or reordered; an offer stays, unchanged, until it is taken.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from amaranth.hdl import Module, Mux, Signal, Value, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from xorloom.hw.block.skid_buffer import SkidBuffer
from xorloom.hw.direct.decoder import DirectUnit
from xorloom.hw.index.decoder import IndexUnit
from xorloom.hw.ip.join import WeightJoin
from xorloom.hw.lib.deframer import Deframer
from xorloom.hw.lib.flow_queue import FlowQueue
from xorloom.hw.lib.packet_queue import PacketQueue
from xorloom.hw.lib.payloads import packet_layout
from xorloom.hw.lib.ping_pong import PingPong
from xorloom.hw.window.decoder import WindowUnit
from xorloom.sw.spec.config import WindowConfig
from xorloom.sw.spec.direct import DirectConfig
from xorloom.sw.spec.index_config import BitmapConfig, LowrankConfig, NoneConfig, TrellisConfig

from tests.helpers.proof import (
    BITS,
    Eager,
    HoldMonitor,
    JoinMonitor,
    Losing,
    Numbered,
    Only,
    Passing,
    prove,
    refute,
)

PLAIN = {"shared_taps": 1, "shared": 32, "parity_taps": 2, "frame": 16}
VALUE = WindowConfig(n_in=16, n_out=64, window=64, bus_bits=32, **PLAIN)


class Buffered(wiring.Component):
    """A unit without a register, behind a source that holds its offers, as such a unit needs."""

    def __init__(self, inner: wiring.Component) -> None:
        self._inner = inner
        super().__init__(inner.signature)

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.source = source = PingPong(Value.cast(self.i.payload).shape())
        m.submodules.inner = inner = self._inner
        wiring.connect(m, wiring.flipped(self.i), source.i)
        wiring.connect(m, source.o, inner.i)
        wiring.connect(m, inner.o, wiring.flipped(self.o))
        return m


class TamperedJoin(wiring.Component):
    """Broken: takes every beat for taken, or leaves the closing beat out."""

    def __init__(self, change: str) -> None:
        self._change = change
        super().__init__(join().signature)

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.inner = inner = WeightJoin(VALUE, planes=1, masked=False)
        for name in ("slices", "masks"):
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(inner, name))
        hides = inner.o.p.bad & (self._change == "unclosed")
        m.d.comb += [
            *(
                getattr(inner, name).eq(getattr(self, name))
                for name in ("opens", "verified", "kill")
            ),
            *(
                getattr(self, name).eq(getattr(inner, name))
                for name in ("may_open", "ended", "idle")
            ),
            self.o.valid.eq(inner.o.valid & ~hides),
            Value.cast(self.o.payload).eq(Value.cast(inner.o.payload)),
            inner.o.ready.eq(self.o.ready | hides | (self._change == "losing")),
        ]
        return m


def join(**options: Any) -> WeightJoin:
    return WeightJoin(VALUE, planes=1, masked=False, **options)


def eager(slack: int, late: int, **options: Any) -> Eager:
    return Eager(FlowQueue(unsigned(BITS), depth=4, slack=slack, **options), late)


ORDERED: dict[str, Callable[[], wiring.Component]] = {
    "flow_queue": lambda: FlowQueue(unsigned(BITS), depth=4),
    "flow_queue_slack_1": lambda: eager(1, 1),
    "flow_queue_slack_2": lambda: eager(2, 2),
    "flow_queue_flags": lambda: eager(1, 1, flags=2),
    "flow_queue_not_cleared": lambda: FlowQueue(unsigned(BITS), depth=4, clears=False),
    "flow_queue_not_cleared_slack": lambda: eager(1, 1, flags=2, clears=False),
    "packet_queue": lambda: PacketQueue(unsigned(BITS), 4),
    "packet_queue_of_5": lambda: PacketQueue(unsigned(BITS), 5),
    "ping_pong": lambda: PingPong(unsigned(BITS)),
    "ping_pong_not_cleared": lambda: PingPong(unsigned(BITS), clears=False),
    "skid_buffer": lambda: SkidBuffer(unsigned(BITS)),
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name.endswith("_5") else name
        for name in ORDERED
    ],
)
def test_unit_neither_loses_nor_repeats_nor_reorders(name: str, tmp_path: Path) -> None:
    prove(Numbered(ORDERED[name]()), tmp_path)


@pytest.mark.parametrize("name", ORDERED)
def test_order_proof_fails_for_a_unit_that_loses(name: str, tmp_path: Path) -> None:
    refute(Numbered(Losing(ORDERED[name]())), tmp_path)


def test_order_proof_fails_for_more_items_than_the_slack(tmp_path: Path) -> None:
    refute(Numbered(eager(1, 2)), tmp_path)


class EagerJoin(wiring.Component):
    """A join behind units that use their slack; a kill resets them in the cycle after it."""

    def __init__(self, slack: tuple[int, int], late: int = 0) -> None:
        self._slack, self._late = slack, late
        super().__init__(join().signature)

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.inner = inner = join(slack=self._slack)
        killed = Signal()
        m.d.sync += killed.eq(self.kill)
        for name, slack in zip(("slices", "masks"), self._slack, strict=True):
            outer, port = getattr(self, name), getattr(inner, name)
            most = slack + self._late
            came = Signal(range(most + 1), name=f"{name}_came")
            may = port.ready | (came < most)
            m.d.comb += [
                outer.ready.eq(may & ~killed),
                # In the cycle of its reset a unit may put out anything.
                port.valid.eq((outer.valid | killed) & may),
                Value.cast(port.payload).eq(Value.cast(outer.payload)),
            ]
            m.d.sync += came.eq(Mux(killed, most, Mux(port.ready, 0, came + port.valid)))
        for name in ("opens", "verified", "kill"):
            m.d.comb += getattr(inner, name).eq(getattr(self, name))
        for name in ("may_open", "ended", "owes", "holds", "idle"):
            m.d.comb += getattr(self, name).eq(getattr(inner, name))
        wiring.connect(m, inner.o, wiring.flipped(self.o))
        return m


JOINS: dict[str, Callable[[], wiring.Component]] = {
    "queues": lambda: join(),
    "small": lambda: join(pipeline="small"),
    "slack": lambda: EagerJoin((1, 1)),
}


MERGED = "scorr; pdr"
"""Registers that are always equal become one first: with it the proof of the join's slack takes
0.6 s instead of 12 s. Others, as of the parser, take longer with it."""
SLOW_JOINS = [("queues", "bad"), ("queues", "fickle"), ("slack", "bad")]


@pytest.mark.parametrize(
    ("name", "what"),
    [
        pytest.param(*case, marks=[pytest.mark.slow] * (case in SLOW_JOINS))
        for case in product(JOINS, ("bad", "fickle"))
    ],
)
def test_join_pairs_in_order_and_closes_what_is_cut(
    name: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xorloom.hw.ip.join.FlowQueue", partial(FlowQueue, depth=4))
    prove(Only(JoinMonitor(JOINS[name]()), what), tmp_path, engine=MERGED)


def test_join_proof_fails_for_more_slices_than_the_slack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xorloom.hw.ip.join.FlowQueue", partial(FlowQueue, depth=4))
    refute(Only(JoinMonitor(EagerJoin((1, 1), late=1)), "bad"), tmp_path, engine=MERGED)


@pytest.mark.parametrize("change", ["losing", "unclosed"])
def test_join_proof_fails_for_a_broken_join(change: str, tmp_path: Path) -> None:
    refute(Only(JoinMonitor(TamperedJoin(change)), "bad"), tmp_path, engine=MERGED)


# The entropy codec's core is proved apart, by induction, in test_stream_contract.
HELD: dict[str, Callable[[], wiring.Component]] = {
    "flow_queue": lambda: eager(2, 2, flags=1),
    "flow_queue_not_cleared": lambda: eager(2, 2, flags=1, clears=False),
    "deframer": lambda: Buffered(Deframer(32, cut=False)),
    "deframer_cut": lambda: Deframer(32, cut=True),
    "deframer_loads": lambda: Deframer(32, cut=True, loads=True),
    "packet_queue": lambda: PacketQueue(packet_layout(32), 5),
    "ping_pong": lambda: PingPong(packet_layout(32)),
    "ping_pong_not_cleared": lambda: PingPong(packet_layout(32), clears=False),
    "window_unit": lambda: WindowUnit(VALUE, pipeline="small"),
    "window_unit_patches": lambda: WindowUnit(replace(VALUE, n_in=32, patches=1), pipeline="small"),
    "direct_unit": lambda: DirectUnit(DIRECT),
    "direct_unit_n_in_is_bus": lambda: DirectUnit(replace(DIRECT, n_in=32)),
    "bitmap": lambda: IndexUnit(BitmapConfig(n_out=9, bus_bits=32)),
    "none": lambda: IndexUnit(NoneConfig(n_out=9, bus_bits=32)),
    "trellis": lambda: IndexUnit(TRELLIS, pipeline="small"),
    "trellis_classes": lambda: IndexUnit(replace(TRELLIS, classes=4), pipeline="small"),
    "lowrank": lambda: IndexUnit(LowrankConfig(n_out=12, tile_slices=3, tile_lanes=5, bus_bits=32)),
}
TRELLIS = TrellisConfig(n_in=5, n_out=12, window=8, period=16, bus_bits=32)
DIRECT = DirectConfig(n_in=24, n_out=24, planes=2, window=6, taps=2, bus_bits=32)


@pytest.mark.parametrize("name", HELD)
def test_unit_holds_its_offer_until_taken(name: str, tmp_path: Path) -> None:
    prove(Only(HoldMonitor(HELD[name]()), "bad"), tmp_path)


class SlackMonitor(wiring.Component):
    """``bad`` if more than ``slack`` items come while ``ready`` is 0."""

    def __init__(self, dut: IndexUnit, slack: int) -> None:
        self._dut, self._slack = dut, slack
        payload = Value.cast(dut.i.payload).shape()
        super().__init__({"valid": In(1), "payload": In(payload), "ready": In(1), "bad": Out(1)})

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = self._dut
        came = Signal(range(self._slack + 1))
        m.d.comb += [
            dut.i.valid.eq(self.valid),
            Value.cast(dut.i.payload).eq(self.payload),
            dut.o.ready.eq(self.ready),
            self.bad.eq(dut.o.valid & ~self.ready & (came == self._slack)),
        ]
        with m.If(self.ready):
            m.d.sync += came.eq(0)
        with m.Elif(dut.o.valid & ~self.bad):
            m.d.sync += came.eq(came + 1)
        return m


FREE = {  # the slack of the core, and that of the gearbox if it has few stages
    "many_stages": (TRELLIS, 4),
    "one_stage": (replace(TRELLIS, n_in=8), 5),
    "two_stages": (replace(TRELLIS, n_in=12), 6),
    "classes": (replace(TRELLIS, n_in=12, classes=4), 6),
    "words": (replace(TRELLIS, n_in=32, n_out=32), 4),
}


@pytest.mark.parametrize("name", FREE)
def test_free_index_unit_puts_out_no_more_than_its_slack(name: str, tmp_path: Path) -> None:
    config, slack = FREE[name]
    unit = IndexUnit(config)
    assert unit.slack == slack
    prove(SlackMonitor(unit, slack), tmp_path)


@pytest.mark.parametrize("name", ["two_stages", "words"])
def test_free_index_unit_needs_all_of_its_slack(name: str, tmp_path: Path) -> None:
    config, slack = FREE[name]
    refute(SlackMonitor(IndexUnit(config), slack - 1), tmp_path)


def test_hold_proof_fails_for_what_does_not(tmp_path: Path) -> None:
    refute(Only(HoldMonitor(Passing(packet_layout(32))), "bad"), tmp_path)
