# SPDX-License-Identifier: Apache-2.0
"""AXI4-Stream shell of the block decoder."""

from amaranth.hdl import Cat, Module
from amaranth.lib import wiring
from xorloom.hw.bus.beats import kept_bytes
from xorloom.hw.bus.ports import axi_members, decoder_module
from xorloom.sw.spec.config import BlockConfig

from .decoder import BlockDecoder

__all__ = ["BlockShell"]


class BlockShell(wiring.Component):
    """Block shell: a :class:`xorloom.hw.block.decoder.BlockDecoder` behind AXI4-Stream ports.

    A beat of ``m_axis`` is one group: slice ``j`` starts at bit ``j * n_out``, the bits above the
    last slice are 0. ``tkeep`` marks the bytes of live slices: all of them, or the lowest ones in
    the last beat of a stream, which has ``tlast``; a slice is a unit of
    :func:`xorloom.sw.spec.layout.byte_units`. Latency, rate and twin are the decoder's.

    Parameters
    ----------
    config : BlockConfig
    stages : int, 1 or 2
        Registers of the network, see :class:`xorloom.hw.block.xor_network.XorNetwork`.

    Members
    -------
    aclk, aresetn, s_axis_*
        Clock, reset and memory streams; see :func:`xorloom.hw.bus.ports.axi_members`.
    m_axis_tdata, m_axis_tkeep, m_axis_tvalid, m_axis_tready, m_axis_tlast
        Slices, ``lanes * n_out`` bits rounded up to bytes.
    """

    def __init__(self, config: BlockConfig, *, stages: int = 1) -> None:
        self._config, self._stages = config, stages
        self._out_bytes = -(-config.lanes * config.n_out // 8)
        super().__init__(
            axi_members(
                in_bits=config.bus_bits,
                out_bits=8 * self._out_bytes,
                sideband={"tkeep": self._out_bytes},
            )
        )

    def elaborate(self, _platform: object) -> Module:
        """Wrap the decoder."""
        decoder = BlockDecoder(self._config, stages=self._stages)
        m = decoder_module(self, decoder)
        group = decoder.o.p
        m.d.comb += [
            self.m_axis_tdata.eq(Cat(group.slices[j] for j in range(self._config.lanes))),
            self.m_axis_tkeep.eq(kept_bytes(group.live, self._config.n_out)),
            self.m_axis_tlast.eq(group.final),
        ]
        return m
