# SPDX-License-Identifier: Apache-2.0
"""A plain AXI4-Stream shell around the index decoders."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from xorloom.hw.bus.ports import axi_members, axi_module
from xorloom.sw.spec.index_config import IndexConfig

from .decoder import IndexDecoder

__all__ = ["IndexShell"]


class IndexShell(wiring.Component):
    """Index decoder with AXI4-Stream ports, one clock, active-low synchronous reset.

    A beat of ``m_axis`` is one mask, filled up with zeros to bytes; ``tlast`` closes a memory
    stream. ``s_axis_tlast`` is not needed: lengths are in the stream.

    Parameters
    ----------
    config : IndexConfig
        Of an index codec.

    Members
    -------
    aclk, aresetn : In(1)
    s_axis_tdata, s_axis_tvalid, s_axis_tready, s_axis_tlast
        Memory stream, ``bus_bits`` wide.
    m_axis_tdata, m_axis_tvalid, m_axis_tready, m_axis_tlast
        Masks, ``n_out`` bits rounded up to bytes.
    """

    def __init__(self, config: IndexConfig) -> None:
        self._decoder = IndexDecoder(config)
        out_bytes = -(-len(self._decoder.o.p.mask) // 8)
        super().__init__(axi_members({"s_axis": config.bus_bits}, 8 * out_bytes, {}))

    def elaborate(self, _platform: object) -> Module:
        """Wrap the decoder."""
        decoder = self._decoder
        m = axi_module(self, decoder, {"s_axis": decoder.i})
        m.d.comb += [
            self.m_axis_tdata.eq(decoder.o.p.mask),
            self.m_axis_tlast.eq(decoder.o.p.last),
        ]
        return m
