# SPDX-License-Identifier: Apache-2.0
"""The block decoder: memory streams in, groups of slices out."""

from amaranth.hdl import Cat, Module
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.sw.config import BlockConfig

from .patch_unit import PatchDecoder, PatchUnit
from .signatures import flip_layout, group_layout, lane_layout
from .stream_parser import StreamParser
from .xor_network import XorNetwork

__all__ = ["BlockDecoder"]


class BlockDecoder(wiring.Component):
    """Decoder of the block codec: ``lanes`` slices a cycle.

    Lane ``j`` of group ``g`` decodes slice ``g * lanes + j``. A group leaves every cycle in which
    memory has delivered its words, as long as no slice has more than ``patches_per_cycle``
    patches; more patches take more cycles. Full back-pressure; streams chain back to back.
    Twin: ``sw.decoder.block_decoder``. Source: Kwon et al., CVPR 2020, sections 3 and 5.

    Parameters
    ----------
    config : BlockConfig
    stages : int, 1 or 2
        Registers of the network, see :class:`XorNetwork`.

    Members
    -------
    i : In(stream.Signature(bus_bits))
        Memory streams as ``FORMAT.md`` tells, header to CRC.
    o : Out(stream.Signature(group_layout(config)))
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
        m.submodules.parser = parser = StreamParser(config)
        wiring.connect(m, wiring.flipped(self.i), parser.i)
        beat = parser.o.p
        slots = {"n_out": config.n_out, "patches_per_cycle": config.patches_per_cycle}
        networks, units = [], []
        for j in range(config.lanes):
            m.submodules[f"patch_decoder_{j}"] = decoder = PatchDecoder(**slots)
            m.submodules[f"network_{j}"] = network = XorNetwork(
                n_in=config.n_in,
                rows=config.rows,
                user=data.StructLayout({"flip": flip_layout(**slots), "lane": lane_layout()}),
                stages=self._stages,
            )
            m.submodules[f"patch_unit_{j}"] = unit = PatchUnit(**slots, user=lane_layout())
            m.d.comb += [
                network.i.valid.eq(parser.o.valid),
                network.i.p.seed.eq(beat.seeds[j]),
                decoder.i.positions.eq(beat.positions[j]),
                decoder.i.enable.eq(beat.enable[j]),
                decoder.i.last.eq(beat.last),
                network.i.p.user.flip.eq(decoder.o),
                network.i.p.user.lane.live.eq(beat.live[j]),
                network.i.p.user.lane.final.eq(beat.final),
                unit.i.valid.eq(network.o.valid),
                unit.i.p.bits.eq(network.o.p.bits),
                unit.i.p.flip.eq(network.o.p.user.flip),
                unit.i.p.user.eq(network.o.p.user.lane),
                network.o.ready.eq(unit.i.ready),
                unit.o.ready.eq(self.o.ready),
                self.o.p.slices[j].eq(unit.o.p.bits),
            ]
            networks.append(network)
            units.append(unit)
        # All lanes see the same valid and ready, so they move in lockstep.
        m.d.comb += [
            parser.o.ready.eq(networks[0].i.ready),
            self.o.valid.eq(units[0].o.valid),
            self.o.p.live.eq(Cat(unit.o.p.user.live for unit in units)),
            self.o.p.final.eq(units[0].o.p.user.final),
        ]
        return m
