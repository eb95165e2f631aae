# SPDX-License-Identifier: Apache-2.0
"""Window decoder: memory streams or packets in, slices out."""

from itertools import pairwise
from typing import Any

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.hw.lib.deframer import Deframer
from xorloom.hw.lib.flow_queue import connect_buffered
from xorloom.hw.lib.payloads import packet_layout, slice_layout
from xorloom.hw.lib.slice_pipe import PIPELINES, FreePipe, SlicePipe, check_pipeline
from xorloom.sw.spec.config import WindowConfig

from .control import WindowControl
from .network import WindowNetwork
from .patch import WindowPatch
from .reader import WindowReader

__all__ = ["WindowDecoder", "WindowUnit"]

_FREE_PARTS = 3
"""Parts of the window whose enables are registers of their own."""


class WindowUnit(wiring.Component):
    """Window unit: packets of the window codec in, slices out, as in the IP block.

    A step shifts ``n_in`` seed bits into the window; the control says after which steps the
    window yields a slice. One step per cycle, at most one slice per step. The step after its own
    moves a slice out of the window, that is, when the next chunk has arrived (for the last slice:
    the closing mark). It is put out :py:`self.latency` cycles later. Packets follow each other
    without a gap. Twin: ``sw.golden.window.window_decoder``.

    With a small pipeline ``o`` is an ordinary stream. The fast one runs free: ``o.valid`` alone is
    a transfer, and :py:`self.slack` slices at most come from the cycle on in which ``o.ready`` is
    0; see :class:`xorloom.hw.lib.slice_pipe.FreePipe`.

    Parameters
    ----------
    config : WindowConfig
    pipeline : str
        One of :data:`xorloom.hw.lib.slice_pipe.PIPELINES`.

    Members
    -------
    i : In(stream.Signature(packet_layout(bus_bits)))
        Packets.
    o : Out(stream.Signature(slice_layout(config)))
        Slices, in order.
    short : Out(1)
        A packet ended before its last slice. The slices before that come out, and none after
        them: the unit needs a reset to continue.

    Attributes
    ----------
    slack : int
        0 with a small pipeline.
    pipe, network
        The submodules. For proofs.
    """

    def __init__(self, config: WindowConfig, *, pipeline: str = PIPELINES[0]) -> None:
        self._config = config
        free = check_pipeline(pipeline) == "fast"
        parts = _FREE_PARTS if free else 1
        pipe = FreePipe if free else SlicePipe
        self.pipe: Any = pipe(stages=1 + config.patches, parts=parts)
        self.network = WindowNetwork(config, parts=parts)
        self.slack: int = self.pipe.slack if free else 0
        super().__init__(
            {
                "i": In(stream.Signature(packet_layout(config.bus_bits))),
                "o": Out(stream.Signature(slice_layout(config))),
                "short": Out(1),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from the step that moves a slice out of the window until it is put out."""
        return self.pipe.latency

    def elaborate(self, _platform: object) -> Module:
        """Build reader, control, network and, if configured, the patch unit."""
        m = Module()
        config = self._config
        m.submodules.reader = reader = WindowReader(config, copies=self.slack > 0)
        m.submodules.control = control = WindowControl(config)
        m.submodules.pipe = pipe = self.pipe
        m.submodules.network = network = self.network
        # Behind the end of a short packet there are no seeds, so the slices are void. A pipe that
        # runs free may still make one step then.
        lost = Signal()
        lives: Value = ~lost if self.slack else Const(1)
        ends: Value = lost if self.slack else lost | reader.short
        tail = data.StructLayout({"valid_bits": len(control.valid_bits), "last": 1})
        stages = range(2 + config.patches + (self.slack > 0))
        tails = [
            Signal(tail, init={"valid_bits": config.n_out}, reset_less=True, name=f"tail_{k}")
            for k in stages
        ]
        wiring.connect(m, wiring.flipped(self.i), reader.i)
        m.d.comb += [
            pipe.available_next.eq(reader.available_next & ~ends),
            # Without patches only slices are tokens, so other steps need not wait for the output.
            pipe.token.eq((control.live if config.patches else control.emit) & lives),
            pipe.emit.eq(control.emit & lives),
            pipe.ready.eq(self.o.ready),
            reader.available.eq(pipe.available),
            reader.step.eq(pipe.step),
            reader.ending.eq(control.ending),
            control.head.eq(reader.head),
            control.count_load.eq(reader.count_load),
            control.count_settle.eq(reader.count_settle),
            control.count.eq(reader.count),
            control.rate.eq(reader.rate),
            control.step.eq(pipe.step),
            network.chunk.eq(self._late(m, reader.chunk, "chunk")),
            network.step.eq(pipe.data_step),
            network.load.eq(pipe.data_free[0] if self.slack else pipe.step),
            network.move.eq(pipe.data_move[0]),
            self.o.valid.eq(pipe.valid),
            self.short.eq(reader.short & lives),
        ]
        with m.If(reader.short):
            m.d.sync += lost.eq(1)
        with m.If(pipe.step):
            m.d.sync += [
                tails[0].last.eq(control.last),
                tails[0].valid_bits.eq(Mux(control.last, control.valid_bits, config.n_out)),
            ]
        with m.If(pipe.move):
            m.d.sync += [after.eq(before) for before, after in pairwise(tails)]
        m.d.comb += [
            self.o.p.bits.eq(network.bits),
            self.o.p.valid_bits.eq(tails[-1].valid_bits),
            self.o.p.last.eq(tails[-1].last),
        ]
        if config.patches:
            m.submodules.patch = patch = WindowPatch(config)
            m.d.comb += [
                patch.top.eq(network.top),
                patch.fresh.eq(self._late(m, control.fresh, "fresh")),
                patch.place.eq(self._late(m, control.place, "place")),
                patch.emit.eq(self._late(m, control.emit, "emit")),
                patch.step.eq(pipe.data_step[0]),
                patch.accept.eq(pipe.full & pipe.move),
                patch.move.eq(pipe.data_move[0]),
                patch.bits.eq(network.bits),
                self.o.p.bits.eq(patch.o),
            ]
        return m

    def _late(self, m: Module, value: Value, name: str) -> Value:
        """Return ``value`` for the data path, which is a cycle behind if the pipe runs free."""
        if not self.slack:
            return value
        late = Signal.like(value, name=f"{name}_late", reset_less=True)
        m.d.sync += late.eq(value)
        return late


class WindowDecoder(wiring.Component):
    """Window decoder: memory streams in, slices out; a deframer in front of a window unit.

    At most one slice per cycle, full back-pressure; streams follow each other without a gap. A
    flow queue stands behind a unit that runs free. Latency :py:`self.latency` cycles, counted from
    a step as in :class:`WindowUnit`. Header and CRC are not checked, and a
    stream that is too short for its count is not reported;
    :class:`xorloom.hw.ip.decoder.WeightDecoder` does both. Twin:
    ``sw.golden.window.window_decoder``.

    Parameters
    ----------
    config : WindowConfig
    pipeline : str
        See :class:`WindowUnit`.

    Members
    -------
    i : In(stream.Signature(bus_bits))
        Memory streams from header to CRC; see ``FORMAT.md``.
    o : Out(stream.Signature(slice_layout(config)))
        Slices, in order.

    Attributes
    ----------
    unit
        The submodule. For proofs.
    """

    def __init__(self, config: WindowConfig, *, pipeline: str = PIPELINES[0]) -> None:
        self.unit = WindowUnit(config, pipeline=pipeline)
        self._deframer = Deframer(config.bus_bits, cut=True, loads=self.unit.slack > 0)
        super().__init__(
            {
                "i": In(stream.Signature(config.bus_bits)),
                "o": Out(stream.Signature(slice_layout(config))),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from the step that moves a slice out of the window until it is offered."""
        return self.unit.latency + (self.unit.slack > 0)

    def elaborate(self, _platform: object) -> Module:
        """Build deframer and unit."""
        m = Module()
        m.submodules.frames = deframer = self._deframer
        m.submodules.unit = unit = self.unit
        wiring.connect(m, wiring.flipped(self.i), deframer.i)
        wiring.connect(m, deframer.o, unit.i)
        connect_buffered(m, unit, self.o)
        return m
