# SPDX-License-Identifier: Apache-2.0
"""The window decoder: memory streams in, slices out."""

from itertools import pairwise

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.hw.lib.deframer import Deframer
from xorloom.hw.lib.payloads import packet_layout, slice_layout
from xorloom.hw.lib.slice_pipe import SlicePipe
from xorloom.sw.spec.config import WindowConfig

from .control import WindowControl
from .network import WindowNetwork
from .patch import WindowPatch
from .reader import WindowReader

__all__ = ["WindowDecoder", "WindowUnit"]


class WindowUnit(wiring.Component):
    """Packets of the window codec to slices: one step a cycle, at most one slice a step.

    A step shifts ``n_in`` seed bits into the window; the rate control says on which steps the
    network's outputs are a slice. A slice leaves the window with the step after its own, that is,
    when the next chunk has come (after the last slice: the closing mark), and is offered
    ``latency`` cycles later. Full back-pressure; packets chain back to back.

    Parameters
    ----------
    config : WindowConfig

    Members
    -------
    i : In(stream.Signature(packet_layout(bus_bits)))
    o : Out(stream.Signature(slice_layout(config)))
    short : Out(1)
        A packet ended before its last slice. Nothing of use follows until reset.

    Attributes
    ----------
    pipe, network
        The submodules. For proofs.
    """

    def __init__(self, config: WindowConfig) -> None:
        self._config = config
        self.pipe, self.network = SlicePipe(stages=1 + config.patches), WindowNetwork(config)
        super().__init__(
            {
                "i": In(stream.Signature(packet_layout(config.bus_bits))),
                "o": Out(stream.Signature(slice_layout(config))),
                "short": Out(1),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from the step that moves a slice out of the window to its being offered."""
        return self.pipe.latency

    def elaborate(self, _platform: object) -> Module:
        """Build reader, control, pipeline and network."""
        m = Module()
        config = self._config
        m.submodules.reader = reader = WindowReader(config)
        m.submodules.control = control = WindowControl(config)
        m.submodules.pipe = pipe = self.pipe
        m.submodules.network = network = self.network
        wiring.connect(m, wiring.flipped(self.i), reader.i)
        m.d.comb += [
            pipe.available_next.eq(reader.available_next),
            # Without patches only slices matter, so the rest does not wait for the output.
            pipe.token.eq(control.live if config.patches else control.emit),
            pipe.emit.eq(control.emit),
            pipe.ready.eq(self.o.ready),
            reader.available.eq(pipe.available),
            reader.step.eq(pipe.step),
            reader.ending.eq(control.ending),
            control.head.eq(reader.head),
            control.count_load.eq(reader.count_load),
            control.count_settle.eq(reader.count_settle),
            control.count.eq(reader.count),
            control.chunk.eq(reader.chunk),
            control.step.eq(pipe.step),
            network.chunk.eq(reader.chunk),
            network.step.eq(pipe.data_step),
            network.move.eq(pipe.data_move),
            self.o.valid.eq(pipe.valid),
            self.short.eq(reader.short),
        ]
        tail = data.StructLayout({"valid_bits": len(control.valid_bits), "last": 1})
        tails = [
            Signal(tail, init={"valid_bits": config.n_out}, reset_less=True, name=f"tail_{k}")
            for k in range(2 + config.patches)
        ]
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
                patch.fresh.eq(control.fresh),
                patch.place.eq(control.place),
                patch.emit.eq(control.emit),
                patch.step.eq(pipe.step),
                patch.accept.eq(pipe.full & pipe.move),
                patch.move.eq(pipe.data_move),
                patch.bits.eq(network.bits),
                self.o.p.bits.eq(patch.o),
            ]
        return m


class WindowDecoder(wiring.Component):
    """Decoder of the window codec's streams. Full back-pressure; streams chain back to back.

    A stream too short for its count is not noticed; see
    :class:`xorloom.hw.ip.decoder.WeightDecoder`. Twin: ``sw.golden.window.window_decoder``.

    Parameters
    ----------
    config : WindowConfig

    Members
    -------
    i : In(stream.Signature(bus_bits))
        Memory streams as ``FORMAT.md`` tells, header to CRC.
    o : Out(stream.Signature(slice_layout(config)))

    Attributes
    ----------
    unit
        The submodule. For proofs.
    """

    def __init__(self, config: WindowConfig) -> None:
        self.unit, self._frames = WindowUnit(config), Deframer(config.bus_bits)
        super().__init__(
            {
                "i": In(stream.Signature(config.bus_bits)),
                "o": Out(stream.Signature(slice_layout(config))),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from the step that moves a slice out of the window to its being offered."""
        return self.unit.latency

    def elaborate(self, _platform: object) -> Module:
        """Build framing and unit."""
        m = Module()
        m.submodules.frames = frames = self._frames
        m.submodules.unit = unit = self.unit
        wiring.connect(m, wiring.flipped(self.i), frames.i)
        wiring.connect(m, frames.o, unit.i)
        wiring.connect(m, unit.o, wiring.flipped(self.o))
        return m
