# SPDX-License-Identifier: Apache-2.0
"""A plain AXI4-Stream shell around value and index decoder."""

from amaranth.hdl import Cat, Module
from amaranth.lib import wiring
from xorloom.sw.config import WindowConfig
from xorloom.sw.index_config import IndexConfig

from .axi import axi_members, axi_module
from .weight_decoder import WeightDecoder

__all__ = ["AxiWeightDecoder"]


class AxiWeightDecoder(wiring.Component):
    """Weight decoder with AXI4-Stream ports, one clock, active-low synchronous reset.

    A beat of ``m_axis`` is one slice: its codes in the low ``value.n_out`` bits of ``tdata``, above
    them the mask, ``value.n_out // planes`` bits, above that zeros up to a whole byte. ``tuser``
    says how many code bits count, as in :class:`xorloom.hw.axi_window.AxiWindowDecoder`; ``tlast``
    closes a memory stream. ``tlast`` of the inputs is not needed.

    Parameters
    ----------
    value : WindowConfig
    index : IndexConfig
    planes : int
    masked : bool
        See :class:`xorloom.hw.weight_decoder.WeightDecoder`.

    Members
    -------
    aclk, aresetn : In(1)
    s_axis_value_tdata, s_axis_value_tvalid, s_axis_value_tready, s_axis_value_tlast
    s_axis_index_tdata, s_axis_index_tvalid, s_axis_index_tready, s_axis_index_tlast
        Memory streams, each with its configuration's ``bus_bits``.
    m_axis_tdata, m_axis_tuser, m_axis_tvalid, m_axis_tready, m_axis_tlast
        Codes and mask.
    """

    def __init__(
        self, value: WindowConfig, index: IndexConfig, *, planes: int, masked: bool = True
    ) -> None:
        self._decoder = decoder = WeightDecoder(value, index, planes=planes, masked=masked)
        out_bytes = -(-(value.n_out + len(decoder.o.p.mask)) // 8)
        super().__init__(
            axi_members(
                {"s_axis_value": value.bus_bits, "s_axis_index": index.bus_bits},
                8 * out_bytes,
                {"tuser": value.n_out.bit_length()},
            )
        )

    def elaborate(self, _platform: object) -> Module:
        """Wrap the decoder."""
        decoder = self._decoder
        inputs = {"s_axis_value": decoder.value_i, "s_axis_index": decoder.index_i}
        m = axi_module(self, decoder, inputs)
        m.d.comb += [
            self.m_axis_tdata.eq(Cat(decoder.o.p.codes, decoder.o.p.mask)),
            self.m_axis_tuser.eq(decoder.o.p.valid_bits),
            self.m_axis_tlast.eq(decoder.o.p.last),
        ]
        return m
