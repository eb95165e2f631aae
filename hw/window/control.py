# SPDX-License-Identifier: Apache-2.0
"""Rate control of the window codec: decides on which steps a slice leaves the window."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for
from xorloom.sw.spec.config import WindowConfig

__all__ = ["WindowControl"]

_UNIT = 64
"""n_out is a multiple of it, so slices are counted in units of this many bits."""


class WindowControl(wiring.Component):
    """Window control: counts credit, the slices of a frame and the slices of a stream.

    A *frame* is ``config.frame`` slices that share one rate word. All outputs describe the chunk
    of the last step; latency one cycle, one step per cycle.

    The register ``debt`` is the ones' complement of the golden model's ``credit + frame - steps``.
    A step adds the rate if the step before it yielded a slice, and subtracts ``frame`` if not. So
    the addend is one LUT4 per bit, and the sign of the sum is the next decision. A stream starts
    with the preload as debt. Twin: ``sw.golden.window.window_control``.

    Parameters
    ----------
    config : WindowConfig

    Members
    -------
    head, count_load, count_settle, count
        See :class:`xorloom.hw.window.reader.WindowReader`.
    rate : In(rate_bits)
        Low bits of the chunk that the next step shifts in.
    step : In(1)
        Shift it in.
    live : Out(1)
        The stream has made a step.
    emit : Out(1)
        The window holds a slice.
    last : Out(1)
        With ``emit``: it is the last slice of the stream.
    valid_bits : Out(range(n_out + 1))
        With ``last``: how many of its bits are valid.
    ending : Out(1)
        The window holds the last slice, or the stream has none: the next step ends the stream.
    fresh : Out(1)
        The last chunk opened a frame.
    place : Out(range(frame))
        How many slices of the frame come before the next one that leaves.
    """

    def __init__(self, config: WindowConfig) -> None:
        self._config = config
        super().__init__(
            {
                "head": In(1),
                "count_load": In(1),
                "count_settle": In(1),
                "count": In(32),
                "rate": In(config.rate_bits),
                "step": In(1),
                "live": Out(1),
                "emit": Out(1),
                "last": Out(1),
                "valid_bits": Out(range(config.n_out + 1)),
                "ending": Out(1),
                "fresh": Out(1),
                "place": Out(range(config.frame)),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        """Build the counters."""
        m = Module()
        config = self._config
        frame = config.frame
        # 1 after a step that yielded a slice, and before the first step of a stream: the next step
        # adds the rate. Initial values are those that `head` sets, because an ECP5 flip-flop has
        # one value for both.
        take = Signal(init=1, reset_less=True)
        live = Signal(reset_less=True)
        fresh = Signal(reset_less=True)
        place = Signal(range(frame), reset_less=True)
        next_place = Signal(range(frame), reset_less=True)  # modulo frame
        frame_ends = Signal(init=1, reset_less=True)  # carry of the adder: next_place is 0
        taken = Signal()
        m.d.comb += [
            self.live.eq(live),
            self.emit.eq(take & live),
            self.fresh.eq(fresh),
            self.place.eq(place),
            taken.eq(self.step & take),
        ]
        self._owe(m, take, live, frame_ends)
        self._count(m, take, taken)
        with m.If(self.head):
            m.d.sync += [live.eq(0), next_place.eq(0), frame_ends.eq(1)]
        with m.Elif(self.step):
            m.d.sync += [live.eq(1), fresh.eq(take & frame_ends)]
            with m.If(take):
                m.d.sync += [place.eq(next_place), Cat(next_place, frame_ends).eq(next_place + 1)]
        return m

    def _owe(self, m: Module, take: Signal, live: Signal, frame_ends: Signal) -> None:
        """Build the debt: what is missing until the next slice, in units of 1 / frame steps."""
        config = self._config
        rate = Signal(config.rate_bits, reset_less=True)
        preload = config.preload_steps * config.frame - 1
        most = max(preload + config.frame_steps_max - config.frame, config.frame - 1)
        shape = signed(bits_for(most) + 1)
        debt = Signal(shape.width - 1, init=preload, reset_less=True)  # without its sign
        negative = take & live if config.preload_steps else take
        total = Signal(shape)
        addend = Signal(shape)
        shifted = Cat(Const(0, config.rate_shift), Mux(frame_ends, self.rate, rate))
        m.d.comb += [
            addend.eq(Mux(take, shifted, -config.frame)),
            total.eq(Cat(debt, negative).as_signed() + addend),
        ]
        with m.If(self.head):
            m.d.sync += [debt.eq(preload), take.eq(1)]
        with m.Elif(self.step):
            m.d.sync += [debt.eq(total), take.eq(total[-1])]
            with m.If(take & frame_ends):
                m.d.sync += rate.eq(self.rate)

    def _count(self, m: Module, take: Signal, taken: Signal) -> None:
        """Build the counter of remaining slices, in units of 64 bits.

        ``left`` is negative when the next slice is the last one, or the stream has none. First the
        count is added to -1, with ``carry`` unless the last unit is full; after that each slice
        subtracts its units. The addend is a register, so the adder runs from flip-flop to
        flip-flop and neither load needs a multiplexer.
        """
        units = self._config.n_out // _UNIT
        low_bits = bits_for(_UNIT - 1)
        left = Signal(signed(33 - low_bits), init=-1, reset_less=True)
        addend = Signal(signed(33 - low_bits), name="less_units", init=~units, reset_less=True)
        low = Signal(low_bits, reset_less=True)
        carry = Signal(init=1, reset_less=True)
        less = Signal(1 + len(left))
        full = Signal(reset_less=True)
        m.d.sync += full.eq(~low.any())
        m.d.comb += [
            less.eq(Cat(carry, left) + Cat(Const(1, 1), addend)),
            self.last.eq(left[-1]),
            self.ending.eq(take & left[-1]),
            self.valid_bits.eq(Cat(low, (left + units + full)[: bits_for(units)])),
        ]
        with m.If(self.count_settle):
            m.d.sync += [addend.eq(~units), carry.eq(1)]
        with m.Elif(self.count_load):
            m.d.sync += [
                addend.eq(self.count[low_bits:]),
                low.eq(self.count[:low_bits]),
                carry.eq(self.count[:low_bits].any()),
            ]
        with m.If(self.count_load):
            m.d.sync += left.eq(-1)
        with m.Elif(taken | self.count_settle):
            m.d.sync += left.eq(less[1:])
