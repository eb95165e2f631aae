# SPDX-License-Identifier: Apache-2.0
"""AXI4-Stream shell of the direct decoder."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from xorloom.hw.bus.ports import axi_members, decoder_module
from xorloom.sw.spec.direct import DirectConfig

from .decoder import DirectDecoder

__all__ = ["DirectShell"]


class DirectShell(wiring.Component):
    """Direct shell: a :class:`xorloom.hw.direct.decoder.DirectDecoder` behind AXI4-Stream ports.

    A beat of ``m_axis`` is one slice, padded with zeros to whole bytes. ``tuser`` says how many of
    its code bits are valid, ``planes`` for each weight: ``n_out``, or fewer in the last slice of a
    stream, which has ``tlast``. Latency, rate and twin are the decoder's. ``s_axis_tready``
    depends on ``m_axis_tready`` through logic.

    Parameters
    ----------
    config : DirectConfig
    levels : bool
        Whether a slice has the int8 level of each weight instead of its code.

    Members
    -------
    aclk, aresetn, s_axis_*
        Clock, reset and memory streams; see :func:`xorloom.hw.bus.ports.axi_members`.
    m_axis_tdata, m_axis_tuser, m_axis_tvalid, m_axis_tready, m_axis_tlast
        Slices, ``n_out`` bits rounded up to bytes; with ``levels`` 8 bits for each lane.
    """

    def __init__(self, config: DirectConfig, *, levels: bool = False) -> None:
        self._decoder = DirectDecoder(config, levels=levels)
        beat = self._decoder.o.p
        super().__init__(
            axi_members(
                in_bits=config.bus_bits,
                out_bits=-(-len(beat.bits) // 8) * 8,
                sideband={"tuser": len(beat.valid_bits)},
            )
        )

    def elaborate(self, _platform: object) -> Module:
        """Wrap the decoder."""
        decoder = self._decoder
        m = decoder_module(self, decoder)
        m.d.comb += [
            self.m_axis_tdata.eq(decoder.o.p.bits),
            self.m_axis_tuser.eq(decoder.o.p.valid_bits),
            self.m_axis_tlast.eq(decoder.o.p.last),
        ]
        return m
