# SPDX-License-Identifier: Apache-2.0
"""Reader of the window codec: cuts the words of packets into chunks."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.hw.lib.payloads import packet_layout
from xorloom.sw.spec.config import WindowConfig
from xorloom.sw.spec.layout import COUNT_OFFSET_BITS

__all__ = ["WindowReader"]


class WindowReader(wiring.Component):
    """Window reader: packets in, chunks of ``n_in`` bits out. One word per cycle.

    Every word first enters a register; its meaning (count, seeds, end) is decided there, so a
    chunk follows its word by one cycle. The payload ends with the step that moves the last slice
    out of the window, as the control says. That step consumes one chunk more than the stream has:
    padding of the last word, or data of the closing mark, or, with ``n_in > bus_bits``, what is
    left of the chunk before. Words between that step and the mark are dropped. Twin:
    ``sw.golden.bus.payload``.

    Parameters
    ----------
    config : WindowConfig
    copies : bool
        Whether ``rate`` has registers that drive nothing else.

    Members
    -------
    i : In(stream.Signature(packet_layout(bus_bits)))
        Packets, back to back.
    chunk : Out(n_in)
        The next chunk.
    rate : Out(rate_bits)
        Its low bits.
    available_next : Out(1)
        A chunk will be available in the next cycle.
    available : In(1)
        The same, registered; see :class:`xorloom.hw.lib.slice_pipe.SlicePipe`.
    step : In(1)
        Consumes the chunk; only while ``available``.
    ending : In(1)
        The window holds the last slice (or there is none): the next step ends the payload.
    head : Out(1)
        Before the payload: clear all state of the stream.
    payload : Out(1)
        In the payload.
    count_load : Out(1)
        Load ``count`` in every cycle in which this is 1; the last value is the valid one.
    count_settle : Out(1)
        1 for one cycle, after the last ``count_load`` and before the payload.
    count : Out(32)
        Count of the stream, in bits.
    short : Out(1)
        The packet ended before its last slice. The decoder needs a reset to continue.
    """

    def __init__(self, config: WindowConfig, *, copies: bool = False) -> None:
        self._config, self._copies = config, copies
        super().__init__(
            {
                "i": In(stream.Signature(packet_layout(config.bus_bits))),
                "chunk": Out(config.n_in),
                "rate": Out(config.rate_bits),
                "available_next": Out(1),
                "available": In(1),
                "step": In(1),
                "ending": In(1),
                "head": Out(1),
                "payload": Out(1),
                "count_load": Out(1),
                "count_settle": Out(1),
                "count": Out(32),
                "short": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        """Build the reader."""
        m = Module()
        config = self._config
        word = Signal(config.bus_bits, reset_less=True)
        mark = Signal(reset_less=True)  # the word in the register is a mark
        held = Signal()  # the register holds a word
        head = Signal(init=1)
        place = Signal(2, init=1)  # in the head, one-hot: the count is awaited; the count settles
        settle = Signal()
        payload = Signal()  # neither this nor head: words up to the mark are dropped
        begin = Signal()
        end = Signal()
        enters = Signal()
        keep = Signal()  # hold the word, although it is not payload
        m.d.comb += [
            self.head.eq(head),
            self.payload.eq(payload),
            self.count_load.eq(place[0]),
            self.count_settle.eq(settle),
            keep.eq(place[0]),
            self.count.eq(word[COUNT_OFFSET_BITS % config.bus_bits :][:32]),
            begin.eq(held & place[1]),
            end.eq(self.step & self.ending),
        ]
        if config.n_in <= config.bus_bits:
            # A last chunk from the mark ends the packet: its step drops the mark.
            m.d.comb += enters.eq((end | (~head & ~payload)) & held & mark)
            self._cut(m, word, mark, held, keep, begin, end)
        else:
            m.d.comb += enters.eq(~head & ~payload & held & mark)
            self._collect(m, word, mark, held, keep, begin, end)
        with m.If(self.i.ready):
            m.d.sync += mark.eq(self.i.p.mark)
        m.d.sync += [
            held.eq(self.i.valid | ~self.i.ready),
            payload.eq(begin | (payload & ~end)),
            head.eq((head & ~begin) | enters),
            settle.eq(held & place[0]),
            place[0].eq((place[0] & ~held) | enters),
            place[1].eq(Mux(held, place[0], place[1])),
        ]
        return m

    def _copy_rate(self, m: Module, loads: Value, chunk: Value) -> None:
        """Build the copy of the low bits: inverted, or synthesis would merge it with the chunk."""
        if not self._copies:
            m.d.comb += self.rate.eq(self.chunk)
            return
        inverted = Signal(len(self.rate), name="rate_inverted", reset_less=True)
        m.d.comb += self.rate.eq(~inverted)
        with m.If(loads):
            m.d.sync += inverted.eq(~chunk[: len(self.rate)])

    def _cut(
        self,
        m: Module,
        word: Signal,
        mark: Signal,
        held: Signal,
        keep: Signal,
        begin: Signal,
        end: Signal,
    ) -> None:
        """Build the case of whole chunks in a word: the word shifts right by a chunk per step."""
        n_in = self._config.n_in
        chunks = len(word) // n_in
        slot = Signal(chunks, init=1)  # one-hot: which chunk of the word is at its low end
        more = Signal()  # the word holds another chunk
        m.d.comb += [
            self.chunk.eq(word[:n_in]),
            self.short.eq(self.step & ~self.ending & mark),
            more.eq(self.available & ~slot[-1] & ~self.ending),
            self.i.ready.eq(
                ~held | (~self.available & ~keep) | (self.step & (slot[-1] | self.ending))
            ),
        ]
        # Two LUTs deep: nothing is available while the payload begins.
        m.d.comb += self.available_next.eq(
            (begin | (self.payload & ~end))
            & (self.i.valid | Mux(self.step, ~slot[-1], self.available))
        )
        # The top bits are not used again; new data there save multiplexers.
        loads = self.step | ~held | (~self.available & ~keep)
        word_next = Mux(more, Cat(word[n_in:], self.i.p.data[-n_in:]), self.i.p.data)
        with m.If(loads):
            m.d.sync += word.eq(word_next)
        self._copy_rate(m, loads, word_next)
        if chunks > 1:
            with m.If(self.head):
                m.d.sync += slot.eq(1)
            with m.Elif(self.step):
                m.d.sync += slot.eq(slot.rotate_left(1))

    def _collect(
        self,
        m: Module,
        word: Signal,
        mark: Signal,
        held: Signal,
        keep: Signal,
        begin: Signal,
        end: Signal,
    ) -> None:
        """Build the case of several words in a chunk: they shift in at its top."""
        n_in, bus = self._config.n_in, len(word)
        chunk = Signal(n_in, reset_less=True)
        fill = Signal(n_in // bus, init=1)  # one-hot: how many words of the next chunk have arrived
        accept = Signal()
        waits = Signal()
        m.d.comb += [
            self.chunk.eq(chunk),
            waits.eq(self.payload & held & ~self.ending & (~self.available | self.step)),
            accept.eq(waits & ~mark),
            self.short.eq(waits & mark & ~self.step),
            self.i.ready.eq(~held | (~self.payload & ~keep) | accept),
        ]
        # A step empties the chunk, so the next one is complete a cycle later at the earliest; by
        # then the control has said whether the payload ends, and no mark is taken for a word.
        m.d.comb += self.available_next.eq(
            self.payload
            & ~end
            & (
                (accept & fill[-1])
                | (self.available & ~self.step)
                | (self.ending & ~self.available)
            )
        )
        with m.If(self.i.ready):
            m.d.sync += word.eq(self.i.p.data)
        chunk_next = Cat(chunk[bus:], word)
        with m.If(accept):
            m.d.sync += chunk.eq(chunk_next)
        self._copy_rate(m, accept, chunk_next)
        with m.If(self.head):
            m.d.sync += fill.eq(1)
        with m.Elif(accept):
            m.d.sync += fill.eq(fill.rotate_left(1))
