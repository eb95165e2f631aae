# SPDX-License-Identifier: Apache-2.0
"""Block decoder: memory streams in, groups of slices out."""

from amaranth.hdl import Cat, Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.hw.lib.payloads import group_layout
from xorloom.sw.spec.config import BlockConfig

from .lane import BlockLane
from .parser import BlockParser

__all__ = ["BlockDecoder"]


class BlockDecoder(wiring.Component):
    """Block decoder: a parser and ``lanes`` lanes that decode ``lanes`` slices per cycle.

    Lane ``j`` of group ``g`` decodes slice ``g * lanes + j``. One group leaves per cycle, as long
    as memory delivers the words and no slice has more than ``patches_per_cycle`` patches; more
    patches take more cycles. A group is offered ``lane.latency`` cycles after the last
    beat of it has left the parser. Full back-pressure; streams follow each other without a gap.
    Twin: ``sw.golden.block.block_decoder``. Source: Kwon et al., CVPR 2020.

    Parameters
    ----------
    config : BlockConfig
    stages : int, 1 or 2
        Registers of the network, see :class:`xorloom.hw.block.xor_network.XorNetwork`.

    Members
    -------
    i : In(stream.Signature(bus_bits))
        Memory streams from header to CRC; see ``FORMAT.md``.
    o : Out(stream.Signature(group_layout(config)))
        Groups, in order.
    """

    def __init__(self, config: BlockConfig, *, stages: int = 1) -> None:
        self._config, self._stages = config, stages
        super().__init__(
            {
                "i": In(stream.Signature(config.bus_bits)),
                "o": Out(stream.Signature(group_layout(config))),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        """Build parser and lanes."""
        m = Module()
        config = self._config
        m.submodules.parser = parser = BlockParser(config)
        wiring.connect(m, wiring.flipped(self.i), parser.i)
        beat = parser.o.p
        lanes = []
        for j in range(config.lanes):
            m.submodules[f"lane_{j}"] = lane = BlockLane(config, stages=self._stages)
            m.d.comb += [
                lane.i.valid.eq(parser.o.valid),
                lane.i.p.seed.eq(beat.seeds[j]),
                lane.i.p.patch.positions.eq(beat.positions[j]),
                lane.i.p.patch.enable.eq(beat.enable[j]),
                lane.i.p.patch.last.eq(beat.last),
                lane.i.p.user.live.eq(beat.live[j]),
                lane.i.p.user.final.eq(beat.final),
                lane.o.ready.eq(self.o.ready),
                self.o.p.slices[j].eq(lane.o.p.bits),
            ]
            lanes.append(lane)
        # All lanes see the same valid and ready, so they move in lockstep.
        m.d.comb += [
            parser.o.ready.eq(lanes[0].i.ready),
            self.o.valid.eq(lanes[0].o.valid),
            self.o.p.live.eq(Cat(lane.o.p.user.live for lane in lanes)),
            self.o.p.final.eq(lanes[0].o.p.user.final),
        ]
        return m
