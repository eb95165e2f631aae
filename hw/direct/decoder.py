# SPDX-License-Identifier: Apache-2.0
"""Direct decoder: memory streams or packets in, slices of codes or levels out."""

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.hw.lib.deframer import Deframer
from xorloom.hw.lib.payloads import packet_layout, slice_layout
from xorloom.hw.lib.slice_pipe import PIPELINES, check_pipeline
from xorloom.sw.spec.direct import DirectConfig

from .core import DirectCore
from .reader import DirectReader

__all__ = ["DirectDecoder", "DirectUnit"]


class DirectUnit(wiring.Component):
    """Direct unit: packets of the direct codec in, slices out, as in the IP block.

    One chunk in and one slice out per cycle; at most one bus word per cycle. A slice is offered
    :py:`self.latency` cycles after the last word of its chunk. Full back-pressure; packets follow
    each other without a gap, but with ``levels`` the core runs empty before its tables load, one
    level per cycle. Twins: ``sw.golden.direct.direct_decoder`` and ``direct_levels``.

    Parameters
    ----------
    config : DirectConfig
    levels : bool
        Whether slices have levels, 8 bits for each weight, instead of codes.
    pipeline : str
        As every value unit has it; this one's pipeline is the small one in either case.

    Members
    -------
    i : In(stream.Signature(packet_layout(bus_bits)))
        Packets.
    o : Out(stream.Signature(slice_layout(config, levels=levels)))
        Slices, in order.
    short : Out(1)
        A packet ended before its last slice. The unit needs a reset to continue.

    Attributes
    ----------
    slack : int
        0: ``o`` is an ordinary stream.
    reader, core
        The submodules. For proofs.
    """

    slack = 0

    def __init__(
        self, config: DirectConfig, *, levels: bool = False, pipeline: str = PIPELINES[0]
    ) -> None:
        check_pipeline(pipeline)
        self._levels = levels
        self.reader = DirectReader(config, levels=levels)
        self.core = DirectCore(config, levels=levels)
        super().__init__(
            {
                "i": In(stream.Signature(packet_layout(config.bus_bits))),
                "o": Out(stream.Signature(slice_layout(config, levels=levels))),
                "short": Out(1),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from the transfer of the last word of a chunk until its slice is offered."""
        return self.reader.gearbox.latency + self.core.latency

    def elaborate(self, _platform: object) -> Module:
        """Connect reader and core."""
        m = Module()
        m.submodules.reader = reader = self.reader
        m.submodules.core = core = self.core
        wiring.connect(m, wiring.flipped(self.i), reader.i)
        wiring.connect(m, reader.o, core.i)
        wiring.connect(m, core.o, wiring.flipped(self.o))
        m.d.comb += [self.short.eq(reader.short), core.flush.eq(reader.short & core.idle)]
        if self._levels:
            m.d.comb += [
                reader.idle.eq(core.idle),
                core.write.eq(reader.write),
                core.at.eq(reader.at),
                core.level.eq(reader.level),
            ]
        return m


class DirectDecoder(wiring.Component):
    """Direct decoder: memory streams in, slices out; a deframer in front of a direct unit.

    One slice per cycle, full back-pressure; streams follow each other with a gap of two cycles.
    Latency as in :class:`DirectUnit`. Header and CRC are not checked, and a
    stream that is too short for its count is not reported;
    :class:`xorloom.hw.ip.decoder.WeightDecoder` does both. Twin:
    ``sw.golden.direct.direct_decoder``.

    Parameters
    ----------
    config : DirectConfig
    levels : bool
        See :class:`DirectUnit`.

    Members
    -------
    i : In(stream.Signature(bus_bits))
        Memory streams from header to CRC; see ``FORMAT.md``.
    o : Out(stream.Signature(slice_layout(config, levels=levels)))
        Slices, in order.

    Attributes
    ----------
    unit
        The submodule. For proofs.
    """

    def __init__(self, config: DirectConfig, *, levels: bool = False) -> None:
        self.unit = DirectUnit(config, levels=levels)
        self._deframer = Deframer(config.bus_bits, cut=False)
        super().__init__(
            {
                "i": In(stream.Signature(config.bus_bits)),
                "o": Out(stream.Signature(slice_layout(config, levels=levels))),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from the transfer of the last word of a chunk until its slice is offered."""
        return self.unit.latency

    def elaborate(self, _platform: object) -> Module:
        """Build deframer and unit."""
        m = Module()
        m.submodules.frames = deframer = self._deframer
        m.submodules.unit = unit = self.unit
        wiring.connect(m, wiring.flipped(self.i), deframer.i)
        wiring.connect(m, deframer.o, unit.i)
        wiring.connect(m, unit.o, wiring.flipped(self.o))
        return m
