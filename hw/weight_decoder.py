# SPDX-License-Identifier: Apache-2.0
"""Value and index decoder together: codes and mask of one slice in a beat."""

from typing import Any

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.sw.config import WindowConfig
from xorloom.sw.errors import ConfigError
from xorloom.sw.index_config import IndexConfig

from .index_decoder import IndexDecoder
from .signatures import weight_layout
from .window_decoder import WindowDecoder

__all__ = ["WeightDecoder"]


class WeightDecoder(wiring.Component):
    """Joins the slices of a value decoder with the masks of an index decoder.

    A slice and its mask are taken in the same cycle, into one register. Memory stream ``k`` of the
    index covers the slices of memory stream ``k`` of the values. Full back-pressure.

    Parameters
    ----------
    value : WindowConfig
    index : IndexConfig
        Makes the mask of ``value.n_out // planes`` weights a beat.
    planes : int
        Bits of a weight's code.
    masked : bool
        Codes of pruned weights are zero; otherwise they are as the value decoder has them.

    Members
    -------
    value_i, index_i : In(stream.Signature(bus_bits))
        Memory streams, each with its configuration's ``bus_bits``.
    o : Out(stream.Signature(weight_layout(value, planes)))

    Raises
    ------
    ConfigError
        If the index makes another number of mask bits a beat, or is none.
    """

    def __init__(
        self, value: WindowConfig, index: IndexConfig, *, planes: int, masked: bool = True
    ) -> None:
        if not 1 <= planes <= value.n_out:
            raise ConfigError(f"planes must be between 1 and {value.n_out}, not {planes}")
        self._planes, self._masked = planes, masked
        lanes = value.n_out // planes
        n_out = index.n_out
        if n_out != lanes:
            raise ConfigError(
                f"index n_out must be {lanes} for value n_out {value.n_out} and planes {planes}, "
                f"not {n_out}"
            )
        self._value, self._index = WindowDecoder(value), IndexDecoder(index)
        super().__init__(
            {
                "value_i": In(stream.Signature(value.bus_bits)),
                "index_i": In(stream.Signature(index.bus_bits)),
                "o": Out(stream.Signature(weight_layout(value, planes))),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        """Build both decoders, the join, and the register behind it."""
        m = Module()
        m.submodules.value = value = self._value
        m.submodules.index = index = self._index
        wiring.connect(m, wiring.flipped(self.value_i), value.i)
        wiring.connect(m, wiring.flipped(self.index_i), index.i)
        valid, moves = Signal(), Signal()
        beat: Any = Signal.like(self.o.payload, reset_less=True)
        mask = index.o.p.mask
        codes = value.o.p.bits
        if self._masked:
            codes &= Cat(bit.replicate(self._planes) for bit in mask)
        m.d.comb += [
            moves.eq(~valid | self.o.ready),
            value.o.ready.eq(moves & index.o.valid),
            index.o.ready.eq(moves & value.o.valid),
            self.o.valid.eq(valid),
            self.o.payload.eq(beat),
        ]
        with m.If(moves):
            m.d.sync += [
                valid.eq(value.o.valid & index.o.valid),
                beat.codes.eq(codes),
                beat.mask.eq(mask),
                beat.valid_bits.eq(value.o.p.valid_bits),
                beat.last.eq(value.o.p.last),
            ]
        return m
