# SPDX-License-Identifier: Apache-2.0
"""Rice baseline: run lengths in Rice code, variable rate, many lanes."""

from functools import reduce
from operator import and_

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from xorloom.sw.base.errors import ConfigError

from .common import BaselineDecoder, BaselineReader
from .rice_lane import RICE_DEPTH, RICE_SHIFT_MAX, BaselineRiceLane

__all__ = ["BaselineRice", "check_rice"]

_SETS = 8
"""Steps whose requests for words can wait."""


def check_rice(n_out: int, planes: int, lanes: int) -> None:
    """Check the number of lanes.

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


class BaselineRice(BaselineDecoder):
    """Rice baseline: ``lanes`` symbols per step, at most one step per cycle.

    Each lane decodes its part of every slice from a bit string of its own, which is cut into bus
    words. Lanes step together, and none steps while one of them lacks bits. So a stall stops them
    all and does not change the order of the words: by the step in which a lane used up its word,
    then by lane. The parameter of the stream is the number of bits of a remainder. Zeros follow
    the payload.

    Other parameters, members and twin: see
    :class:`xorloom.hw.baselines.common.BaselineDecoder`. Source: Golomb-Rice code as in the weight
    streams of Arm's Ethos-U.

    Parameters
    ----------
    lanes : int, a power of two
        Each has 2 to 64 weights of a slice.
    """

    def __init__(self, *, bus_bits: int, n_out: int, planes: int, lanes: int = 16) -> None:
        check_rice(n_out, planes, lanes)
        self._lanes = lanes
        super().__init__(bus_bits=bus_bits, n_out=n_out, planes=planes)

    def elaborate(self, _platform: object) -> Module:
        """Build the lanes, and the sets of requests that give them their words."""
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

        go = Signal()
        prime = Signal()
        taken = Signal()
        offers = Signal()
        at = Signal(range(RICE_DEPTH))
        shift = Signal(range(RICE_SHIFT_MAX + 1))
        fixed = Signal(4)
        full = Signal()
        some = reduce(and_, (lane.some for lane in lanes))
        m.d.comb += [
            # One slice leaves per step; it may leave before the step is made.
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

        # Sets of lanes that want a word: those of one step come before those of the next.
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
        # `asks` is stable until the next step, but must be counted once.
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
