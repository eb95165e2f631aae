# SPDX-License-Identifier: Apache-2.0
"""Index decoder: memory streams or packets of any index codec in, masks out."""

from importlib import import_module
from typing import Any

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.hw.lib.deframer import Deframer
from xorloom.hw.lib.payloads import mask_layout, packet_layout
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.spec.codecs import INDEX_CODECS
from xorloom.sw.spec.index_config import IndexConfig

from .reader import IndexReader

__all__ = ["IndexDecoder", "IndexUnit", "index_core"]


def index_core(config: IndexConfig) -> Any:
    """Build the core of a codec: chunks or bus words in, masks out.

    That of codec ``name`` is class ``IndexName`` of module ``name``. It tells its ``latency`` and
    its ``chunk_bits``, the bits that it takes at once (none: bus words).

    Raises
    ------
    ConfigError
        If the configuration is not an index codec's.
    """
    if config.codec not in INDEX_CODECS:
        known = ", ".join(sorted(INDEX_CODECS))
        raise ConfigError(f"index codec must be one of {known}, not {config.codec}")
    module = import_module(f".{config.codec}", __package__)
    return getattr(module, f"Index{config.codec.capitalize()}")(config)


class IndexUnit(wiring.Component):
    """Index unit: packets of one index codec in, masks out; a core behind an index reader.

    One mask per cycle where the core can (the entropy core takes ``2 * config.steps`` cycles).
    Latency is that of the core, plus two cycles for a core of chunks. Full back-pressure. Between
    two packets a few cycles pass in which the core runs empty. Twin:
    ``sw.golden.codecs.index_decoder``.

    Parameters
    ----------
    config : IndexConfig
    unit : int, optional
        How much of the count of a packet one beat covers. By default ``config.n_out``, for a count
        of mask bits; in the IP block the count is in code bits, and a beat covers those of a slice.

    Members
    -------
    i : In(stream.Signature(packet_layout(bus_bits)))
        Packets.
    o : Out(stream.Signature(mask_layout(n_out)))
        Masks.
    idle : Out(1)
        Between packets; all masks have left.

    Raises
    ------
    ConfigError
        If the configuration is not an index codec's.
    """

    def __init__(self, config: IndexConfig, *, unit: int | None = None) -> None:
        self._config, self._unit = config, unit or config.n_out
        self.core = index_core(config)
        super().__init__(
            {
                "i": In(stream.Signature(packet_layout(config.bus_bits))),
                "o": Out(stream.Signature(mask_layout(config.n_out))),
                "idle": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        """Build reader and core."""
        m = Module()
        config = self._config
        m.submodules.core = core = self.core
        m.submodules.reader = reader = IndexReader(
            bus_bits=config.bus_bits,
            unit=self._unit,
            chunk_bits=core.chunk_bits,
            drain_cycles=core.latency,
        )
        wiring.connect(m, wiring.flipped(self.i), reader.i)
        wiring.connect(m, reader.o, core.i)
        m.d.comb += [
            core.clear.eq(reader.clear),
            core.o.ready.eq(self.o.ready | ~reader.live),
            reader.offered.eq(core.o.valid),
            reader.taken.eq(self.o.valid & self.o.ready),
            self.idle.eq(reader.idle),
            self.o.valid.eq(core.o.valid & reader.live),
            self.o.p.mask.eq(core.o.payload),
            self.o.p.last.eq(reader.last),
        ]
        return m


class IndexDecoder(wiring.Component):
    """Index decoder: memory streams of any index codec in, masks out.

    A deframer in front of an :class:`IndexUnit`: one more cycle of latency, the same rate, full
    back-pressure. Twin: ``sw.golden.codecs.index_decoder``.

    Parameters
    ----------
    config : IndexConfig

    Members
    -------
    i : In(stream.Signature(bus_bits))
        Memory streams from header to CRC; see ``FORMAT.md``.
    o : Out(stream.Signature(mask_layout(n_out)))
        Masks.

    Raises
    ------
    ConfigError
        If the configuration is not an index codec's.
    """

    def __init__(self, config: IndexConfig) -> None:
        self._unit = IndexUnit(config)
        self._deframer = Deframer(config.bus_bits, cut=self._unit.core.chunk_bits is None)
        super().__init__(
            {
                "i": In(stream.Signature(config.bus_bits)),
                "o": Out(stream.Signature(mask_layout(config.n_out))),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        """Build deframer and unit."""
        m = Module()
        m.submodules.frames = deframer = self._deframer
        m.submodules.unit = unit = self._unit
        wiring.connect(m, wiring.flipped(self.i), deframer.i)
        wiring.connect(m, deframer.o, unit.i)
        wiring.connect(m, unit.o, wiring.flipped(self.o))
        return m
