# SPDX-License-Identifier: Apache-2.0
"""Index decoder: memory streams or packets of any index codec in, masks out."""

from importlib import import_module
from typing import Any

from amaranth.hdl import EnableInserter, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.hw.lib.deframer import Deframer
from xorloom.hw.lib.flow_queue import connect_buffered, slack_of
from xorloom.hw.lib.payloads import mask_layout, packet_layout
from xorloom.hw.lib.slice_pipe import PIPELINES, check_pipeline
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.spec.codecs import INDEX_CODECS
from xorloom.sw.spec.index_config import IndexConfig

from .reader import IndexReader

__all__ = ["IndexDecoder", "IndexUnit", "OrdinaryCore", "index_core", "ordinary_core"]


def index_core(config: IndexConfig) -> Any:
    """Build the core of a codec: chunks or bus words in, masks out.

    That of codec ``name`` is class ``IndexName`` of module ``name``. It tells its ``latency`` and
    its ``chunk_bits``, the bits that it takes at once (none: bus words). One that runs free tells
    its ``slack`` too: the masks that may come while its ``o.ready`` is 0. Then ``i.valid`` and
    ``o.valid`` alone are transfers.

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


def ordinary_core(config: IndexConfig, *, pipeline: str = PIPELINES[0]) -> Any:
    """Build the core of a codec with ordinary streams: full back-pressure.

    A core that runs free becomes an :class:`OrdinaryCore`.

    Raises
    ------
    ConfigError
        If the configuration is not an index codec's, or there is no such pipeline.
    """
    core = index_core(config)
    return OrdinaryCore(core, check_pipeline(pipeline)) if slack_of(core) else core


class OrdinaryCore(wiring.Component):
    """Core that runs free, made one with ordinary streams: full back-pressure.

    With a queue behind it (``fast``), or with one enable for all its registers: it stands still
    while a mask is not taken (``small``). One mask per cycle.

    Parameters
    ----------
    core
        Core of an index codec with a ``slack``.
    pipeline : str
        One of :data:`xorloom.hw.lib.slice_pipe.PIPELINES`.

    Members
    -------
    i, o, clear
        As those of the core, but both streams are ordinary ones.
    """

    def __init__(self, core: Any, pipeline: str) -> None:
        self._core, self._fast = core, pipeline == "fast"
        super().__init__(core.signature)

    @property
    def latency(self) -> int:
        """Cycles from the transfer of a chunk until its mask is offered."""
        return self._core.latency + self._fast

    @property
    def chunk_bits(self) -> int:
        """Bits of a chunk."""
        return self._core.chunk_bits

    def elaborate(self, _platform: object) -> Module:
        """Connect the core and its queue, or build its enable."""
        m = Module()
        core = self._core
        m.d.comb += [
            core.clear.eq(self.clear),
            core.i.valid.eq(self.i.valid & self.i.ready),
            core.i.payload.eq(self.i.payload),
            self.i.ready.eq(core.i.ready),
        ]
        if self._fast:
            m.submodules.core = core
            connect_buffered(m, core, self.o)
            return m
        moves = Signal()
        m.submodules.core = EnableInserter({"sync": moves})(core)
        m.d.comb += [
            moves.eq(~core.o.valid | self.o.ready),
            core.o.ready.eq(moves),
            self.o.valid.eq(core.o.valid),
            self.o.payload.eq(core.o.payload),
        ]
        return m


class IndexUnit(wiring.Component):
    """Index unit: packets of one index codec in, masks out; a core behind an index reader.

    One mask per cycle where the core can (the entropy core takes ``2 * config.steps`` cycles).
    Latency is that of the core, plus that of a :class:`xorloom.hw.lib.fixed_gearbox.FixedGearbox`
    for a core of chunks. Between two packets a few cycles pass in which the core runs empty. Twin:
    ``sw.golden.codecs.index_decoder``.

    With a :py:`self.slack` of 0 there is full back-pressure. Otherwise ``o.valid`` alone is a
    transfer, and as many masks may come from the cycle on in which ``o.ready`` is 0: a
    :class:`xorloom.hw.lib.flow_queue.FlowQueue` has to follow.

    Parameters
    ----------
    config : IndexConfig
    unit : int, optional
        How much of the count of a packet one beat covers. By default ``config.n_out``, for a count
        of mask bits; in the IP block the count is in code bits, and a beat covers those of a slice.
    pipeline : str
        One of :data:`xorloom.hw.lib.slice_pipe.PIPELINES`; see :class:`OrdinaryCore`.

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

    def __init__(
        self, config: IndexConfig, *, unit: int | None = None, pipeline: str = PIPELINES[0]
    ) -> None:
        fast = check_pipeline(pipeline) == "fast"
        self.core = index_core(config) if fast else ordinary_core(config, pipeline=pipeline)
        self._reader = IndexReader(
            bus_bits=config.bus_bits,
            unit=unit or config.n_out,
            chunk_bits=self.core.chunk_bits,
            # What runs free is empty long before the next packet is live.
            drain_cycles=1 if slack_of(self.core) else self.core.latency,
            free=bool(slack_of(self.core)),
        )
        super().__init__(
            {
                "i": In(stream.Signature(packet_layout(config.bus_bits))),
                "o": Out(stream.Signature(mask_layout(config.n_out))),
                "idle": Out(1),
            }
        )

    @property
    def slack(self) -> int:
        """Masks that may be put out after ``o.ready`` fell; 0: none, a mask waits for it."""
        return self._reader.slack + slack_of(self.core) if slack_of(self.core) else 0

    def elaborate(self, _platform: object) -> Module:
        """Build reader and core."""
        m = Module()
        m.submodules.core = core = self.core
        m.submodules.reader = reader = self._reader
        wiring.connect(m, wiring.flipped(self.i), reader.i)
        wiring.connect(m, reader.o, core.i)
        m.d.comb += [
            core.clear.eq(reader.clear),
            core.o.ready.eq(self.o.ready | (0 if self.slack else ~reader.live)),
            reader.offered.eq(core.o.valid),
            reader.taken.eq(self.o.valid & (1 if self.slack else self.o.ready)),
            self.idle.eq(reader.idle),
            self.o.valid.eq(core.o.valid & reader.live),
            self.o.p.mask.eq(core.o.payload),
            self.o.p.last.eq(reader.last),
        ]
        return m


class IndexDecoder(wiring.Component):
    """Index decoder: memory streams of any index codec in, masks out.

    A deframer in front of an :class:`IndexUnit`, and a queue behind one with a ``slack``: a cycle
    of latency each, the same rate, full back-pressure. Twin: ``sw.golden.codecs.index_decoder``.

    Parameters
    ----------
    config : IndexConfig
    pipeline : str
        One of :data:`xorloom.hw.lib.slice_pipe.PIPELINES`; see :class:`OrdinaryCore`.

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

    def __init__(self, config: IndexConfig, *, pipeline: str = PIPELINES[0]) -> None:
        self._unit = IndexUnit(config, pipeline=pipeline)
        free = bool(self._unit.slack)
        cut = free or self._unit.core.chunk_bits is None
        self._deframer = Deframer(config.bus_bits, cut=cut, loads=free)
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
        connect_buffered(m, unit, self.o, clears=False)
        return m
