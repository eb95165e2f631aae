# SPDX-License-Identifier: Apache-2.0
"""Index decoder: memory streams or packets of any index codec in, masks out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.hw.lib.deframer import Deframer
from xorloom.hw.lib.payloads import mask_layout, packet_layout
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.spec.config import DecoderConfig
from xorloom.sw.spec.index_config import (
    BitmapConfig,
    EntropyConfig,
    IndexConfig,
    LowrankConfig,
    TrellisConfig,
)

from .bitmap import IndexBitmap
from .entropy import IndexEntropy
from .lowrank import IndexLowrank
from .reader import IndexReader
from .trellis import IndexTrellis

__all__ = ["IndexDecoder", "IndexUnit", "index_core"]


@dataclass(frozen=True)
class _Codec:
    """A core, and the bits of what it takes (none: bus words)."""

    core: Callable[[Any], Any]
    chunk_bits: Callable[[Any], int | None]


_CODECS: dict[type[DecoderConfig], _Codec] = {
    BitmapConfig: _Codec(IndexBitmap, lambda config: config.n_out),
    EntropyConfig: _Codec(IndexEntropy, lambda config: None),
    LowrankConfig: _Codec(IndexLowrank, lambda config: config.chunk_bits),
    TrellisConfig: _Codec(IndexTrellis, lambda config: config.n_in),
}


def _codec(config: IndexConfig) -> _Codec:
    if type(config) not in _CODECS:
        known = ", ".join(sorted(kind.codec for kind in _CODECS))
        raise ConfigError(f"index codec must be one of {known}, not {config.codec}")
    return _CODECS[type(config)]


def index_core(config: IndexConfig) -> Any:
    """Build the core of a codec: chunks or bus words in, masks out.

    Raises
    ------
    ConfigError
        If the configuration is not an index codec's.
    """
    return _codec(config).core(config)


class IndexUnit(wiring.Component):
    """Index unit: packets of one index codec in, masks out; a core behind an index reader.

    One mask per cycle where the core can (the entropy core takes ``2 * config.steps`` cycles).
    Latency is that of the core, plus two cycles for a core of chunks. Full back-pressure. Between
    two packets a few cycles pass in which the core runs empty. Twins: as for
    :class:`IndexDecoder`.

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
        config: Any = self._config
        m.submodules.core = core = self.core
        m.submodules.reader = reader = IndexReader(
            bus_bits=config.bus_bits,
            unit=self._unit,
            chunk_bits=_codec(config).chunk_bits(config),
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
    """Index decoder: memory streams of one index codec in, masks out.

    A deframer in front of an :class:`IndexUnit`: one more cycle of latency, the same rate, full
    back-pressure. Twins, by codec: ``sw.golden.index.bitmap_decoder``,
    ``sw.golden.entropy.entropy_decoder``, ``sw.golden.lowrank.lowrank_decoder``,
    ``sw.golden.index.trellis_decoder``.

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
        self._deframer = Deframer(config.bus_bits)
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
