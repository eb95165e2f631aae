# SPDX-License-Identifier: Apache-2.0
"""IP block: weight decoder with AXI4-Lite registers, AXI4 or AXI4-Stream in, AXI4-Stream out."""

from collections.abc import Sequence

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import Out
from xorloom.hw.bus.axi_lite import axil_members
from xorloom.hw.bus.axi_reader import AxiReader
from xorloom.hw.bus.beats import beat_data, kept_groups
from xorloom.hw.bus.ports import axi_members, clocked_module, pass_ports, ports_of
from xorloom.hw.lib.ping_pong import PingPong
from xorloom.hw.lib.slice_pipe import PIPELINES
from xorloom.sw.spec.config import ValueConfig
from xorloom.sw.spec.index_config import IndexConfig
from xorloom.sw.spec.layout import BEATS, BeatLayout, network_id

from .csr import ADDRESS_BITS
from .decoder import WeightDecoder
from .registers import Registers

__all__ = ["IpBlock"]


class IpBlock(wiring.Component):
    """IP block: a weight decoder with registers and, optionally, a read master.

    A beat of ``m_axis`` is one slice, codes (or levels) and mask, laid out as
    :class:`xorloom.sw.spec.layout.BeatLayout` tells. ``tlast`` closes a weight stream. The low bits
    of ``tuser`` say how many code bits are valid; its top bit marks a beat that closes a stream
    which was given up: nothing in it is valid, though ``tkeep`` keeps the first group. A last beat
    without that bit comes only after the CRC of the stream was found right.

    At most one slice per cycle; latency, back-pressure and twin are those of
    :class:`xorloom.hw.ip.decoder.WeightDecoder`. :mod:`xorloom.hw.ip` tells what happens after a
    fault.

    Parameters
    ----------
    value, indexes, planes, masked, levels, pipeline
        See :class:`xorloom.hw.ip.decoder.WeightDecoder`.
    reader : bool
        Whether weight streams are read from memory (``m_axi_*``), as descriptors say; otherwise
        they come on ``s_axis_*``, where ``tlast`` closes one weight stream or several.
    beats : str
        ``packed``, which a DMA engine can store, or ``planar``, without ``tkeep``.
    address_bits, outstanding, max_burst, align_bytes
        For the reader, see :class:`xorloom.hw.bus.axi_reader.AxiReader`.

    Members
    -------
    aclk, aresetn : In(1)
        Clock; synchronous reset, active low.
    s_axil_*
        Registers; see :mod:`xorloom.hw.ip.csr`.
    irq : Out(1)
        Interrupt: a level, active high.
    s_axis_tdata, s_axis_tvalid, s_axis_tready, s_axis_tlast
        Weight streams; only without ``reader``.
    m_axi_ar*, m_axi_r*
        Memory; only with ``reader``.
    m_axis_tdata, m_axis_tkeep, m_axis_tuser, m_axis_tvalid, m_axis_tready, m_axis_tlast
        Codes and masks; ``tkeep`` only if beats are packed.

    Raises
    ------
    ConfigError
        If the parameters do not fit together.
    """

    def __init__(
        self,
        value: ValueConfig,
        indexes: Sequence[IndexConfig],
        *,
        planes: int,
        masked: bool = True,
        levels: bool = False,
        reader: bool = False,
        beats: str = BEATS[0],
        address_bits: int = 32,
        outstanding: int = 4,
        max_burst: int = 256,
        align_bytes: int = 1,
        pipeline: str = PIPELINES[0],
    ) -> None:
        self._layout = layout = BeatLayout(value.n_out, planes, levels, beats)
        self._decoder = WeightDecoder(
            value,
            indexes,
            planes=planes,
            masked=masked,
            levels=levels,
            packets=not reader,
            pipeline=pipeline,
        )
        self._registers = Registers(
            bus_bits=value.bus_bits,
            n_out=value.n_out,
            planes=planes,
            kinds=sum(1 << kind for kind in self._decoder.networks),
            network=network_id(value),
            levels=levels,
            planar=not layout.packed,
            reader=reader,
            address_bits=address_bits,
            align_bytes=align_bytes,
        )
        self._reader = None
        if reader:
            self._reader = AxiReader(
                bus_bits=value.bus_bits,
                address_bits=address_bits,
                outstanding=outstanding,
                max_burst=max_burst,
                align_bytes=align_bytes,
                queue=1,
            )
        keep = {"tkeep": layout.bytes} if layout.packed else {}
        super().__init__(
            axi_members(
                in_bits=None if reader else value.bus_bits,
                out_bits=8 * layout.bytes,
                sideband=keep | {"tuser": value.n_out.bit_length() + 1},
            )
            | axil_members(ADDRESS_BITS)
            | (ports_of(self._reader, "m_axi_") if self._reader else {})
            | {"irq": Out(1)}
        )

    @property
    def reset_words(self) -> dict[str, int]:
        """What registers read after reset; all others read 0."""
        return self._registers.reset_words

    def elaborate(self, _platform: object) -> Module:
        """Connect decoder, registers and reader."""
        m = clocked_module(self)
        m.submodules.decoder = decoder = self._decoder
        m.submodules.registers = registers = self._registers
        pass_ports(m, self, registers, {name: name for name in ports_of(registers, "s_axil_")})
        m.d.comb += [
            decoder.abort.eq(registers.abort),
            registers.fault.eq(decoder.fault),
            registers.cause.eq(decoder.cause),
            registers.done.eq(decoder.done),
            registers.events.eq(decoder.events),
            registers.busy.eq(decoder.busy),
            self.irq.eq(registers.interrupt),
        ]
        self._drive_output(m)
        if self._reader is None:
            entry = PingPong(decoder.i.payload.shape())
            m.submodules.entry = entry
            wiring.connect(m, entry.o, decoder.i)
            m.d.comb += [
                entry.i.valid.eq(self.s_axis_tvalid),
                entry.i.p.data.eq(self.s_axis_tdata),
                entry.i.p.last.eq(self.s_axis_tlast),
                self.s_axis_tready.eq(entry.i.ready),
            ]
            return m
        m.submodules.reader = reader = self._reader
        pass_ports(m, self, reader, {name: name for name in ports_of(reader, "m_axi_")})
        wiring.connect(m, reader.o, decoder.i)
        forget = Signal()  # step 3 of the recovery, see hw.ip
        m.d.sync += forget.eq(decoder.fault)
        m.d.comb += [
            reader.abort.eq(forget | registers.abort),
            reader.descriptor.payload.eq(registers.descriptor.payload),
            reader.descriptor.valid.eq(registers.descriptor.valid & ~decoder.dropping),
            registers.descriptor.ready.eq(reader.descriptor.ready & ~decoder.dropping),
            registers.busy.eq(decoder.busy | reader.busy),
        ]
        m.d.sync += decoder.quiet.eq(~reader.busy)
        return m

    def _drive_output(self, m: Module) -> None:
        """Connect the output."""
        beat, layout = self._decoder.o.p, self._layout
        m.d.comb += [
            self.m_axis_tdata.eq(beat_data(layout, Value.cast(beat.codes), Value.cast(beat.mask))),
            self.m_axis_tuser.eq(Cat(beat.valid_bits, beat.bad)),
            self.m_axis_tlast.eq(beat.last),
            self.m_axis_tvalid.eq(self._decoder.o.valid),
            self._decoder.o.ready.eq(self.m_axis_tready),
        ]
        if layout.packed:
            m.d.comb += self.m_axis_tkeep.eq(kept_groups(layout, beat.valid_bits))
