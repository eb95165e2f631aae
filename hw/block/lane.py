# SPDX-License-Identifier: Apache-2.0
"""Lane of the block decoder: network and patch unit."""

from amaranth.hdl import Module
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.hw.lib.payloads import flip_layout, lane_layout, patch_layout
from xorloom.sw.spec.config import BlockConfig

from .patch_unit import PatchDecoder, PatchUnit
from .xor_network import XorNetwork

__all__ = ["BlockLane"]


class BlockLane(wiring.Component):
    """Block lane: a seed and its patches in, a corrected slice out.

    A slice takes ``max(1, ceil(n_patch / patches_per_cycle))`` beats: the first brings the seed,
    the others bring zeros instead. Latency :py:`self.latency` cycles, one beat per cycle, full
    back-pressure. Twin: ``sw.golden.network.xor_network``, then ``sw.golden.network.patch_unit``.

    Parameters
    ----------
    config : BlockConfig
    stages : int, 1 or 2
        Registers of the network, see :class:`xorloom.hw.block.xor_network.XorNetwork`.

    Members
    -------
    i : In(stream.Signature({"seed": n_in, "patch": patch_layout, "user": lane_layout}))
        Beats.
    o : Out(stream.Signature({"bits": n_out, "user": lane_layout}))
        Slices.
    """

    def __init__(self, config: BlockConfig, *, stages: int = 1) -> None:
        self._slots = {"n_out": config.n_out, "patches_per_cycle": config.patches_per_cycle}
        side = data.StructLayout({"flip": flip_layout(**self._slots), "user": lane_layout()})
        self._network = XorNetwork(n_in=config.n_in, rows=config.rows, user=side, stages=stages)
        self._unit = PatchUnit(**self._slots, user=lane_layout())
        beat = {"seed": config.n_in, "patch": patch_layout(**self._slots), "user": lane_layout()}
        out = {"bits": config.n_out, "user": lane_layout()}
        super().__init__(
            {
                "i": In(stream.Signature(data.StructLayout(beat))),
                "o": Out(stream.Signature(data.StructLayout(out))),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from the transfer of the last beat of a slice until the slice is offered."""
        return self._network.latency + self._unit.latency

    def elaborate(self, _platform: object) -> Module:
        """Connect network, patch decoder and patch unit."""
        m = Module()
        m.submodules.network = network = self._network
        m.submodules.patch_unit = unit = self._unit
        m.submodules.patch_decoder = decoder = PatchDecoder(**self._slots)
        m.d.comb += [
            decoder.i.eq(self.i.p.patch),
            network.i.valid.eq(self.i.valid),
            network.i.p.seed.eq(self.i.p.seed),
            network.i.p.user.flip.eq(decoder.o),
            network.i.p.user.user.eq(self.i.p.user),
            self.i.ready.eq(network.i.ready),
            unit.i.valid.eq(network.o.valid),
            unit.i.p.bits.eq(network.o.p.bits),
            unit.i.p.flip.eq(network.o.p.user.flip),
            unit.i.p.user.eq(network.o.p.user.user),
            network.o.ready.eq(unit.i.ready),
        ]
        wiring.connect(m, unit.o, wiring.flipped(self.o))
        return m
