# SPDX-License-Identifier: Apache-2.0
"""A plain AXI4-Stream shell around the block decoder."""

from amaranth.hdl import Cat, Module
from amaranth.lib import wiring
from xorloom.hw.bus.ports import axi_members, axi_module
from xorloom.sw.spec.config import BlockConfig

from .decoder import BlockDecoder

__all__ = ["BlockShell"]


class BlockShell(wiring.Component):
    """Block decoder with AXI4-Stream ports, one clock, active-low synchronous reset.

    A beat of ``m_axis`` is one group: slice ``j`` in bits ``j * n_out`` onwards, the rest zero.
    ``tkeep`` marks the bytes that hold a bit of a live slice (all of them but in a stream's last
    beat); ``tlast`` closes a memory stream. ``s_axis_tlast`` is not needed: lengths are in the
    stream.

    Parameters
    ----------
    config : BlockConfig
    stages : int, 1 or 2

    Members
    -------
    aclk, aresetn : In(1)
    s_axis_tdata, s_axis_tvalid, s_axis_tready, s_axis_tlast
        Memory stream, ``bus_bits`` wide.
    m_axis_tdata, m_axis_tkeep, m_axis_tvalid, m_axis_tready, m_axis_tlast
        Slices, ``lanes * n_out`` bits rounded up to bytes.
    """

    def __init__(self, config: BlockConfig, *, stages: int = 1) -> None:
        self._config, self._stages = config, stages
        self._out_bytes = -(-config.lanes * config.n_out // 8)
        super().__init__(
            axi_members(
                {"s_axis": config.bus_bits}, 8 * self._out_bytes, {"tkeep": self._out_bytes}
            )
        )

    def elaborate(self, _platform: object) -> Module:
        """Wrap the decoder."""
        decoder = BlockDecoder(self._config, stages=self._stages)
        m = axi_module(self, decoder, {"s_axis": decoder.i})
        n_out, lanes = self._config.n_out, self._config.lanes
        group = decoder.o.p
        keep = [
            Cat(
                group.live[j]
                for j in range(lanes)
                if j * n_out < 8 * byte + 8 and (j + 1) * n_out > 8 * byte
            ).any()
            for byte in range(self._out_bytes)
        ]
        m.d.comb += [
            self.m_axis_tdata.eq(Cat(group.slices[j] for j in range(lanes))),
            self.m_axis_tkeep.eq(Cat(keep)),
            self.m_axis_tlast.eq(group.final),
        ]
        return m
