# SPDX-License-Identifier: Apache-2.0
"""Baseline: run lengths in Rice code, variable rate, many lanes."""

from functools import reduce
from operator import and_

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from xorloom.sw.base.errors import ConfigError

from .common import BaselineReader, baseline_members
from .rice_lane import RICE_DEPTH, RICE_SHIFT_MAX, BaselineRiceLane

__all__ = ["BaselineRice", "check_rice"]

_SETS = 8
"""Steps whose requests for words may be waiting."""


def check_rice(n_out: int, planes: int, lanes: int) -> None:
    """Refuse lanes that do not fit.

    Raises
    ------
    ConfigError
        If a value is out of range.
    """
    if lanes & (lanes - 1) or lanes < 2 or not 2 <= n_out // lanes <= 64:
        raise ConfigError(
            f"lanes must be a power of two that leaves each 2 to 64 of n_out = {n_out} weights,"
            f" not {lanes}"
        )


class BaselineRice(wiring.Component):
    """Bus words in, slices out: ``lanes`` symbols a step.

    Each lane has its part of every slice and a bit string of its own, cut into bus words. Lanes
    step together, and none steps while one lacks bits, so a stall stops them all and changes
    nothing in the order of words: by the step in which a lane used up the one before, then by
    lane. Zeros follow the payload.

    Twin: ``sim.bench.baselines.streams``. Source: Golomb-Rice code as in Arm's Ethos-U weight
    streams.

    Parameters
    ----------
    bus_bits, n_out, planes : int
    lanes : int

    Members
    -------
    i : In(stream.Signature(word_layout(bus_bits)))
        Baseline streams, back to back; the parameter is the number of bits of a remainder.
    o : Out(stream.Signature(baseline_layout(n_out, planes)))
    """

    def __init__(self, *, bus_bits: int, n_out: int, planes: int, lanes: int = 16) -> None:
        check_rice(n_out, planes, lanes)
        self._bus_bits, self._n_out, self._planes = bus_bits, n_out, planes
        self._lanes = lanes
        super().__init__(baseline_members(bus_bits, n_out, planes))

    def elaborate(self, _platform: object) -> Module:
        """Build lanes, and what hands them their words."""
        m = Module()
        planes, places = self._planes, self._n_out // self._lanes
        m.submodules.reader = reader = BaselineReader(
            bus_bits=self._bus_bits, n_out=self._n_out, fill=True
        )
        wiring.connect(m, wiring.flipped(self.i), reader.i)
        lanes = [
            BaselineRiceLane(bus_bits=self._bus_bits, places=places, planes=planes)
            for _ in range(self._lanes)
        ]
        for n, lane in enumerate(lanes):
            m.submodules[f"lane_{n}"] = lane

        go, prime, taken, offers = Signal(), Signal(), Signal(), Signal()
        at = Signal(range(RICE_DEPTH))
        shift = Signal(range(RICE_SHIFT_MAX + 1))
        fixed = Signal(4)
        full = Signal()
        some = reduce(and_, (lane.some for lane in lanes))
        m.d.comb += [
            # A slice leaves once a step; it may do so before the step is made.
            offers.eq(some & ~taken & reader.live),
            go.eq(
                reduce(and_, (lane.able for lane in lanes))
                & ~full
                & (~some | taken | self.o.ready)
                & reader.live
            ),
            self.o.valid.eq(offers),
            self.o.p.last.eq(reader.last),
            reader.step.eq(offers & self.o.ready),
            reader.done.eq(offers & self.o.ready & reader.last),
        ]
        m.d.sync += taken.eq(~go & (taken | (offers & self.o.ready)))
        with m.If(reader.start):
            m.d.sync += [
                prime.eq(1),
                taken.eq(0),
                at.eq(0),
                shift.eq(reader.parameter),
                fixed.eq(reader.parameter[:3] + 1 + planes),
            ]
        with m.Elif(go):
            m.d.sync += [prime.eq(0), at.eq(at + some)]

        # Lanes that want a word, in sets: those of a step come before those of the next.
        sets = [Signal(self._lanes, name=f"set_{n}") for n in range(_SETS)]
        asks = Signal(self._lanes)
        seen = Signal()
        fresh, grant, left = (Signal(self._lanes, name=s) for s in ("fresh", "grant", "left"))
        down = Signal()
        moved = [Signal(self._lanes, name=f"moved_{n}") for n in range(_SETS)]
        m.d.comb += [
            asks.eq(Cat(lane.asks for lane in lanes)),
            fresh.eq(Mux(seen, 0, asks)),
            grant.eq(Mux(reader.o.valid, sets[0] & -sets[0], 0)),
            left.eq(sets[0] & ~grant),
            down.eq(~left.any()),
            reader.o.ready.eq(sets[0].any()),
            full.eq(sets[-2].any()),  # a set is on its way when this is looked at
            *(
                moved[n].eq(Mux(down, sets[n + 1] if n + 1 < _SETS else 0, sets[n] if n else left))
                for n in range(_SETS)
            ),
        ]
        # `asks` stands until the next step: it is seen once.
        m.d.sync += seen.eq(~go & ~reader.start)
        for n, signal in enumerate(sets):
            enters = ~moved[n].any() & (moved[n - 1].any() if n else 1)
            m.d.sync += signal.eq(Mux(enters, fresh, moved[n]))
            with m.If(reader.start):
                m.d.sync += signal.eq(0)
        for n, lane in enumerate(lanes):
            m.d.comb += [
                lane.start.eq(reader.start),
                lane.go.eq(go),
                lane.prime.eq(prime),
                lane.shift.eq(shift),
                lane.fixed.eq(fixed),
                lane.load.eq(grant[n]),
                lane.word.eq(reader.o.payload),
                lane.pop.eq(some),
                lane.at.eq(at),
            ]
        m.d.comb += [
            self.o.p.mask.eq(Cat(lane.part[:places] for lane in lanes)),
            self.o.p.codes.eq(
                Cat(
                    lane.part[(1 + plane) * places + n]
                    for lane in lanes
                    for n in range(places)
                    for plane in range(planes)
                )
            ),
        ]
        return m
