# SPDX-License-Identifier: Apache-2.0
"""A plain AXI4-Stream shell around the block decoder."""

from amaranth.hdl import Cat, ClockDomain, ClockSignal, Module, ResetSignal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from xorloom.sw.config import BlockConfig

from .block_decoder import BlockDecoder

__all__ = ["AxiStreamDecoder"]


class AxiStreamDecoder(wiring.Component):
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
            {
                "aclk": In(1),
                "aresetn": In(1),
                "s_axis_tdata": In(config.bus_bits),
                "s_axis_tvalid": In(1),
                "s_axis_tready": Out(1),
                "s_axis_tlast": In(1),
                "m_axis_tdata": Out(8 * self._out_bytes),
                "m_axis_tkeep": Out(self._out_bytes),
                "m_axis_tvalid": Out(1),
                "m_axis_tready": In(1),
                "m_axis_tlast": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        """Wrap the decoder."""
        m = Module()
        m.domains.sync = ClockDomain(local=True)
        m.submodules.decoder = decoder = BlockDecoder(self._config, stages=self._stages)
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
            ClockSignal().eq(self.aclk),
            ResetSignal().eq(~self.aresetn),
            decoder.i.valid.eq(self.s_axis_tvalid),
            decoder.i.payload.eq(self.s_axis_tdata),
            self.s_axis_tready.eq(decoder.i.ready),
            self.m_axis_tvalid.eq(decoder.o.valid),
            self.m_axis_tdata.eq(Cat(group.slices[j] for j in range(lanes))),
            self.m_axis_tkeep.eq(Cat(keep)),
            self.m_axis_tlast.eq(group.final),
            decoder.o.ready.eq(self.m_axis_tready),
        ]
        return m
