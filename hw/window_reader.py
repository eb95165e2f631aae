# SPDX-License-Identifier: Apache-2.0
"""Frames memory streams of the window codec and cuts their payload into chunks."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.sw.config import WindowConfig
from xorloom.sw.layout import COUNT_OFFSET_BITS, HEADER_BYTES, padded

__all__ = ["WindowReader"]


class WindowReader(wiring.Component):
    """Bus words to chunks of ``n_in`` bits; header and CRC words stay here.

    Every word first enters a register; what it is (header, payload, CRC) is decided there. The
    payload has no length field that is trusted: it ends where the control says so, in the step
    that moves the last slice out of the window. That step takes one chunk more than the payload
    has. With ``n_in <= bus_bits`` it is the padding of the last word or lies in the CRC word,
    which is discarded in either case. With ``n_in > bus_bits`` the step gets a chunk of which at
    most the CRC word has come.

    Parameters
    ----------
    config : WindowConfig

    Members
    -------
    i : In(stream.Signature(bus_bits))
        Memory streams, header to CRC, back to back.
    chunk : Out(n_in)
    available_next : Out(1)
        In the next cycle a chunk is there.
    available : In(1)
        The same, registered; see :class:`xorloom.hw.slice_pipe.SlicePipe`.
    step : In(1)
        Takes the chunk; only while ``available``.
    ending : In(1)
        The window holds the last slice (or there is none): the next step ends the payload.
    head : Out(1)
        Before the payload; all state of the stream is to be cleared.
    payload : Out(1)
        In the payload.
    count_load : Out(1)
        While high, ``count`` is to be loaded in every cycle; the last value is the header's.
    count_settle : Out(1)
        High for one cycle, after the last of ``count_load`` and before the payload.
    count : Out(32)
    """

    def __init__(self, config: WindowConfig) -> None:
        self._config = config
        super().__init__(
            {
                "i": In(stream.Signature(config.bus_bits)),
                "chunk": Out(config.n_in),
                "available_next": Out(1),
                "available": In(1),
                "step": In(1),
                "ending": In(1),
                "head": Out(1),
                "payload": Out(1),
                "count_load": Out(1),
                "count_settle": Out(1),
                "count": Out(32),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        """Build the reader."""
        m = Module()
        config = self._config
        bus = config.bus_bits
        # A header of one word is held for two cycles: the count settles in the second.
        words = max(2, padded(HEADER_BYTES, config.bus_bytes) // config.bus_bytes)
        alone = bus >= 8 * HEADER_BYTES
        count_word = COUNT_OFFSET_BITS // bus
        word = Signal(bus, reset_less=True)
        held = Signal()  # the register holds a word
        head = Signal(init=1)
        place = Signal(words, init=1)  # one-hot in the header: its word that is held or comes next
        settle = Signal()
        payload = Signal()  # neither: the CRC word
        begin, end, crc_taken, enters = Signal(), Signal(), Signal(), Signal()
        keep = Signal()  # the word stays, though it is none of the payload
        m.d.comb += [
            self.head.eq(head),
            self.payload.eq(payload),
            self.count_load.eq(place[count_word]),
            self.count_settle.eq(settle),
            keep.eq(place[0] if alone else 0),
            self.count.eq(word[COUNT_OFFSET_BITS % bus :][:32]),
            begin.eq(held & place[-1]),
            end.eq(self.step & self.ending),
            enters.eq((end & crc_taken) | (~head & ~payload & held)),
        ]
        if config.n_in <= bus:
            self._cut(m, word, held, keep, begin, end, crc_taken)
        else:
            self._collect(m, word, held, keep, begin, end, crc_taken)
        m.d.sync += [
            held.eq(self.i.valid | ~self.i.ready),
            payload.eq(begin | (payload & ~end)),
            head.eq((head & ~begin) | enters),
            settle.eq(held & place[count_word]),
            place[0].eq((place[0] & ~held) | enters),
        ]
        for k in range(1, words):
            m.d.sync += place[k].eq(Mux(held, place[k - 1], place[k]))
        return m

    def _cut(
        self,
        m: Module,
        word: Signal,
        held: Signal,
        keep: Signal,
        begin: Signal,
        end: Signal,
        crc_taken: Signal,
    ) -> None:
        """A word holds whole chunks: it shifts to the right."""
        n_in = self._config.n_in
        chunks = len(word) // n_in
        slot = Signal(chunks, init=1)  # one-hot: chunk of the word that stands at its low end
        more = Signal()  # the word stays for another chunk
        m.d.comb += [
            self.chunk.eq(word[:n_in]),
            crc_taken.eq(slot[0]),
            more.eq(self.available & ~slot[-1] & ~self.ending),
            self.i.ready.eq(
                ~held | (~self.available & ~keep) | (self.step & (slot[-1] | self.ending))
            ),
        ]
        m.d.comb += self.available_next.eq(
            (begin & self.i.valid)
            | (self.payload & ~end & (self.i.valid | (self.available & ~(self.step & slot[-1]))))
        )
        with m.If(self.step | ~held | (~self.available & ~keep)):
            with m.If(more):
                # The top may hold anything: this spares its multiplexers.
                m.d.sync += word.eq(Cat(word[n_in:], self.i.payload[-n_in:]))
            with m.Else():
                m.d.sync += word.eq(self.i.payload)
        if chunks > 1:
            with m.If(self.head):
                m.d.sync += slot.eq(1)
            with m.Elif(self.step):
                m.d.sync += slot.eq(slot.rotate_left(1))

    def _collect(
        self,
        m: Module,
        word: Signal,
        held: Signal,
        keep: Signal,
        begin: Signal,
        end: Signal,
        crc_taken: Signal,
    ) -> None:
        """A chunk is several words, which shift in at its top."""
        n_in, bus = self._config.n_in, len(word)
        chunk = Signal(n_in, reset_less=True)
        fill = Signal(n_in // bus, init=1)  # one-hot: words of the next chunk that have come
        accept = Signal()
        m.d.comb += [
            self.chunk.eq(chunk),
            crc_taken.eq(~fill[0]),
            accept.eq(self.payload & held & ~self.ending & (~self.available | self.step)),
            self.i.ready.eq(~held | (~self.payload & ~keep) | accept),
        ]
        # A step empties the chunk, so a cycle passes before the next one can be complete: the
        # control's verdict on the step comes in time to stop the words after the CRC.
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
            m.d.sync += word.eq(self.i.payload)
        with m.If(accept):
            m.d.sync += chunk.eq(Cat(chunk[bus:], word))
        with m.If(self.head):
            m.d.sync += fill.eq(1)
        with m.Elif(accept):
            m.d.sync += fill.eq(fill.rotate_left(1))
