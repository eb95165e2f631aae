# SPDX-License-Identifier: Apache-2.0
"""AXI4-Stream shell of the index decoders."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from xorloom.hw.bus.ports import axi_members, decoder_module
from xorloom.hw.lib.slice_pipe import PIPELINES
from xorloom.sw.spec.index_config import IndexConfig

from .decoder import IndexDecoder

__all__ = ["IndexShell"]


class IndexShell(wiring.Component):
    """Index shell: a :class:`xorloom.hw.index.decoder.IndexDecoder` behind AXI4-Stream ports.

    A beat of ``m_axis`` is one mask, padded with zeros to whole bytes; ``tlast`` marks the last
    mask of a stream. Latency, rate and twin are the decoder's.

    Parameters
    ----------
    config : IndexConfig
        Configuration of an index codec.
    pipeline : str
        See :class:`xorloom.hw.index.decoder.IndexDecoder`.

    Members
    -------
    aclk, aresetn, s_axis_*
        Clock, reset and memory streams; see :func:`xorloom.hw.bus.ports.axi_members`.
    m_axis_tdata, m_axis_tvalid, m_axis_tready, m_axis_tlast
        Masks, ``n_out`` bits rounded up to bytes.
    """

    def __init__(self, config: IndexConfig, *, pipeline: str = PIPELINES[0]) -> None:
        self._decoder = IndexDecoder(config, pipeline=pipeline)
        out_bytes = -(-len(self._decoder.o.p.mask) // 8)
        super().__init__(axi_members(in_bits=config.bus_bits, out_bits=8 * out_bytes))

    def elaborate(self, _platform: object) -> Module:
        """Wrap the decoder."""
        decoder = self._decoder
        m = decoder_module(self, decoder)
        m.d.comb += [
            self.m_axis_tdata.eq(decoder.o.p.mask),
            self.m_axis_tlast.eq(decoder.o.p.last),
        ]
        return m
