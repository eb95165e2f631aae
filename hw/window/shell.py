# SPDX-License-Identifier: Apache-2.0
"""AXI4-Stream shell of the window decoder."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from xorloom.hw.bus.ports import axi_members, decoder_module
from xorloom.hw.lib.slice_pipe import PIPELINES
from xorloom.sw.spec.config import WindowConfig

from .decoder import WindowDecoder

__all__ = ["WindowShell"]


class WindowShell(wiring.Component):
    """Window shell: a :class:`xorloom.hw.window.decoder.WindowDecoder` behind AXI4-Stream ports.

    A beat of ``m_axis`` is one slice. ``tuser`` says how many of its low bits are valid: ``n_out``,
    or fewer in the last slice of a stream, which has ``tlast``. Latency, rate and twin are the
    decoder's. ``s_axis_tready`` depends on ``m_axis_tready`` through logic.

    Parameters
    ----------
    config : WindowConfig
    pipeline : str
        See :class:`xorloom.hw.window.decoder.WindowUnit`.

    Members
    -------
    aclk, aresetn, s_axis_*
        Clock, reset and memory streams; see :func:`xorloom.hw.bus.ports.axi_members`.
    m_axis_tdata, m_axis_tuser, m_axis_tvalid, m_axis_tready, m_axis_tlast
        Slices, ``n_out`` bits wide.
    """

    def __init__(self, config: WindowConfig, *, pipeline: str = PIPELINES[0]) -> None:
        self._config, self._pipeline = config, pipeline
        super().__init__(
            axi_members(
                in_bits=config.bus_bits,
                out_bits=config.n_out,
                sideband={"tuser": config.n_out.bit_length()},
            )
        )

    def elaborate(self, _platform: object) -> Module:
        """Wrap the decoder."""
        decoder = WindowDecoder(self._config, pipeline=self._pipeline)
        m = decoder_module(self, decoder)
        m.d.comb += [
            self.m_axis_tdata.eq(decoder.o.p.bits),
            self.m_axis_tuser.eq(decoder.o.p.valid_bits),
            self.m_axis_tlast.eq(decoder.o.p.last),
        ]
        return m
