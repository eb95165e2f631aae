# SPDX-License-Identifier: Apache-2.0
"""Image in SPI flash, read as a stream."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.hw.lib.payloads import word_layout
from xorloom.sw.base.errors import CapacityError, check_range

__all__ = ["ADDRESS_BITS", "FLASH_PINS", "READ", "WAKE_UP", "SpiFlash"]

READ, WAKE_UP = 0x03, 0xAB
"""Commands. Ref: Winbond W25Q128JV, revision F, 8.2.6 and 8.2.23."""
ADDRESS_BITS = 24
FLASH_PINS = ("sclk", "cs_n", "copi", "cipo")
"""Ports that a board connects to its flash."""


class SpiFlash(wiring.Component):
    """SPI flash reader: after ``start`` reads an image with one command, in SPI mode 0.

    Two cycles per bit. While words are not taken, the clock of the flash stops. After a reset the
    flash is woken up, because iCE40 devices put it into deep power-down once they are configured.
    It is given 10 us to wake up; it needs 3 us (tRES1).

    Parameters
    ----------
    address : int
        Of the first byte of the image.
    words : int
        Bus words of the image.
    bus_bits : int
        Width of a word; the byte at the lowest address is the lowest one of a word.
    clock_mhz : float
        Frequency of the domain ``sync``, to time the wake-up.

    Members
    -------
    start : In(1)
        Begin with the first word. Only while ``idle``.
    idle : Out(1)
        All words have been taken, and the flash is awake.
    o : Out(stream.Signature(word_layout(bus_bits)))
        The words; the last one has ``last``.
    sclk, cs_n, copi : Out(1)
        To the flash; registers.
    cipo : In(1)
        From the flash.

    Raises
    ------
    ConfigError
        If there are no words.
    CapacityError
        If the image ends beyond what 24 address bits reach.
    """

    def __init__(self, *, address: int, words: int, bus_bits: int, clock_mhz: float) -> None:
        self._words = check_range("words of the image", words, 1, 1 << 32)
        self._bus_bits = bus_bits
        self._address = check_range("address", address, 0, (1 << ADDRESS_BITS) - 1)
        beyond = address + words * bus_bits // 8 - (1 << ADDRESS_BITS)
        if beyond > 0:
            raise CapacityError(
                f"the image at {address:#x} ends {beyond} bytes beyond what a {ADDRESS_BITS}-bit "
                "address reaches: lower the address or take fewer tensors"
            )
        self._wait = round(10 * clock_mhz)
        super().__init__(
            {
                "start": In(1),
                "idle": Out(1),
                "o": Out(stream.Signature(word_layout(bus_bits))),
                "sclk": Out(1),
                "cs_n": Out(1, init=1),
                "copi": Out(1),
                "cipo": In(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        """Build the shift registers and the sequence."""
        m = Module()
        bus = self._bus_bits
        command = READ << ADDRESS_BITS | self._address
        out = Signal(32, reset_less=True)  # bits to send, the highest first
        bits = Signal(range(max(32, bus) + 1))
        timer = Signal(range(max(self._wait, 4) + 1), init=self._wait)
        left = Signal(range(self._words + 1))
        word = Signal(bus, reset_less=True)  # bits received, the newest one lowest
        held = Signal(bus, reset_less=True)
        full = Signal()
        last = Signal()
        m.d.comb += [
            self.copi.eq(out[-1]),
            self.o.valid.eq(full),
            self.o.p.last.eq(last),
            # The first bit of a byte is its highest, the first byte of a word its lowest.
            self.o.p.data.eq(Cat(held[at : at + 8] for at in range(bus - 8, -1, -8))),
        ]
        with m.If(self.o.ready):
            m.d.sync += full.eq(0)
        falls = Signal()
        m.d.comb += falls.eq(self.sclk)
        with m.FSM(init="POWER-UP") as fsm:
            m.d.comb += self.idle.eq(fsm.ongoing("IDLE") & ~full)
            with m.State("POWER-UP"):
                m.d.sync += timer.eq(timer - 1)
                with m.If(~timer.any()):
                    m.d.sync += [self.cs_n.eq(0), out.eq(WAKE_UP << 24), bits.eq(8)]
                    m.next = "WAKE"
            with m.State("WAKE"):
                self._shift(m, out, bits)
                with m.If(falls & (bits == 1)):
                    m.d.sync += [self.cs_n.eq(1), timer.eq(self._wait)]
                    m.next = "REST"
            with m.State("REST"):  # also keeps chip select high between reads
                m.d.sync += timer.eq(timer - 1)
                with m.If(~timer.any()):
                    m.next = "IDLE"
            with m.State("IDLE"), m.If(self.start):
                m.d.sync += [self.cs_n.eq(0), out.eq(command), bits.eq(32)]
                m.d.sync += left.eq(self._words)
                m.next = "COMMAND"
            with m.State("COMMAND"):
                self._shift(m, out, bits)
                with m.If(falls & (bits == 1)):
                    m.d.sync += bits.eq(bus)
                    m.next = "READ"
            with m.State("READ"):
                with m.If(bits.any()):
                    self._shift(m, out, bits)
                    with m.If(~self.sclk):  # the clock rises: the bit of the flash is valid
                        m.d.sync += word.eq(Cat(self.cipo, word))
                with m.Elif(~full | self.o.ready):
                    m.d.sync += [full.eq(1), held.eq(word), last.eq(left == 1)]
                    m.d.sync += [left.eq(left - 1), bits.eq(bus)]
                    with m.If(left == 1):
                        m.d.sync += [self.cs_n.eq(1), timer.eq(3)]
                        m.next = "REST"
        return m

    def _shift(self, m: Module, out: Signal, bits: Signal) -> None:
        """Toggle the clock; when it falls, send the next bit."""
        m.d.sync += self.sclk.eq(~self.sclk)
        with m.If(self.sclk):
            m.d.sync += [out.eq(out << 1), bits.eq(bits - 1)]
