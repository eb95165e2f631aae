# SPDX-License-Identifier: Apache-2.0
"""A plain AXI4-Stream shell around the window decoder."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from xorloom.hw.bus.ports import axi_members, axi_module
from xorloom.sw.spec.config import WindowConfig

from .decoder import WindowDecoder

__all__ = ["WindowShell"]


class WindowShell(wiring.Component):
    """Window decoder with AXI4-Stream ports, one clock, active-low synchronous reset.

    A beat of ``m_axis`` is one slice. ``tuser`` says how many of its bits count, from bit 0 on:
    ``n_out``, fewer in a stream's last slice, which has ``tlast``. ``s_axis_tlast`` is not needed:
    lengths are in the stream. ``s_axis_tready`` and ``m_axis_tready`` are connected through logic.

    Parameters
    ----------
    config : WindowConfig

    Members
    -------
    aclk, aresetn : In(1)
    s_axis_tdata, s_axis_tvalid, s_axis_tready, s_axis_tlast
        Memory stream, ``bus_bits`` wide.
    m_axis_tdata, m_axis_tuser, m_axis_tvalid, m_axis_tready, m_axis_tlast
        Slices, ``n_out`` bits.
    """

    def __init__(self, config: WindowConfig) -> None:
        self._config = config
        super().__init__(
            axi_members(
                {"s_axis": config.bus_bits}, config.n_out, {"tuser": config.n_out.bit_length()}
            )
        )

    def elaborate(self, _platform: object) -> Module:
        """Wrap the decoder."""
        decoder = WindowDecoder(self._config)
        m = axi_module(self, decoder, {"s_axis": decoder.i})
        m.d.comb += [
            self.m_axis_tdata.eq(decoder.o.p.bits),
            self.m_axis_tuser.eq(decoder.o.p.valid_bits),
            self.m_axis_tlast.eq(decoder.o.p.last),
        ]
        return m
