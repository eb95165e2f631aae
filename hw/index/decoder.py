# SPDX-License-Identifier: Apache-2.0
"""The index decoders: memory streams or packets in, mask beats out."""

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
    """Packets of any index codec to masks: its core behind the reader. Full back-pressure.

    Packets chain back to back; between two of them a few cycles pass in which the core runs empty.

    Parameters
    ----------
    config : IndexConfig
    unit : int, optional
        What a packet's count has a beat; by default mask bits.

    Members
    -------
    i : In(stream.Signature(packet_layout(bus_bits)))
    o : Out(stream.Signature(mask_layout(n_out)))
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
    """Decoder of the index streams of any codec. Full back-pressure.

    Twins: ``sw.golden.index.bitmap_decoder``, ``trellis_decoder`` and so on.

    Parameters
    ----------
    config : IndexConfig

    Members
    -------
    i : In(stream.Signature(bus_bits))
        Memory streams as ``FORMAT.md`` tells, header to CRC.
    o : Out(stream.Signature(mask_layout(n_out)))

    Raises
    ------
    ConfigError
        If the configuration is not an index codec's.
    """

    def __init__(self, config: IndexConfig) -> None:
        self._unit = IndexUnit(config)
        self._frames = Deframer(config.bus_bits)
        super().__init__(
            {
                "i": In(stream.Signature(config.bus_bits)),
                "o": Out(stream.Signature(mask_layout(config.n_out))),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        """Build framing and unit."""
        m = Module()
        m.submodules.frames = frames = self._frames
        m.submodules.unit = unit = self._unit
        wiring.connect(m, wiring.flipped(self.i), frames.i)
        wiring.connect(m, frames.o, unit.i)
        wiring.connect(m, unit.o, wiring.flipped(self.o))
        return m
