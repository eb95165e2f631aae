# SPDX-License-Identifier: Apache-2.0
"""AXI4-Lite subordinate: the bus protocol in front of plain registers."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["AxiLite", "axil_members"]


def axil_members(address_bits: int) -> dict[str, wiring.Member]:
    """Return the ports of an AXI4-Lite subordinate with 32-bit data, named ``s_axil_*``."""
    members = {
        "awaddr": In(address_bits),
        "awprot": In(3),
        "awvalid": In(1),
        "awready": Out(1),
        "wdata": In(32),
        "wstrb": In(4),
        "wvalid": In(1),
        "wready": Out(1),
        "bresp": Out(2),
        "bvalid": Out(1),
        "bready": In(1),
        "araddr": In(address_bits),
        "arprot": In(3),
        "arvalid": In(1),
        "arready": Out(1),
        "rdata": Out(32),
        "rresp": Out(2),
        "rvalid": Out(1),
        "rready": In(1),
    }
    return {f"s_axil_{name}": member for name, member in members.items()}


class AxiLite(wiring.Component):
    """AXI4-Lite subordinate: one write and one read at a time, every response OKAY.

    All bus outputs are registers. A write takes effect in the cycle in which ``write`` is 1: its
    address and data have arrived, in either order, and the response before it has been taken.
    ``write_word`` is stable one cycle earlier, so that its decoding can be registered. A read is
    requested until it is answered. Protection bits and the two lowest address bits are ignored.

    Parameters
    ----------
    address_bits : int
        Width of a byte address.

    Members
    -------
    s_axil_*
        The bus; see :func:`axil_members`.
    write : Out(1)
        Write ``write_data`` now.
    write_word : Out(address_bits - 2)
        Which register to write: the address in words.
    write_data : Out(32)
        The data.
    write_strobe : Out(4)
        Bytes of ``write_data`` to write.
    read : Out(1)
        Request to read ``read_word``, held until ``answer``.
    read_word : Out(address_bits - 2)
        Which register to read: the address in words.
    read_data : In(32)
        The answer.
    answer : In(1)
        ``read_data`` is valid.
    """

    def __init__(self, *, address_bits: int) -> None:
        self._word_bits = address_bits - 2
        super().__init__(
            axil_members(address_bits)
            | {
                "write": Out(1),
                "write_word": Out(self._word_bits),
                "write_data": Out(32),
                "write_strobe": Out(4),
                "read": Out(1),
                "read_word": Out(self._word_bits),
                "read_data": In(32),
                "answer": In(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        """Build both directions."""
        m = Module()
        # Which of AW, W and AR has arrived and is not yet finished; `asked` lasts until R is taken.
        address = Signal()
        data = Signal()
        asked = Signal()
        write_word = Signal(self._word_bits, reset_less=True)
        write_data = Signal(32, reset_less=True)
        write_strobe = Signal(4, reset_less=True)
        read_word = Signal(self._word_bits, reset_less=True)
        read_data = Signal(32, reset_less=True)
        write = Signal()
        responds = Signal()
        returns = Signal()
        m.d.comb += [
            self.s_axil_awready.eq(~address),
            self.s_axil_wready.eq(~data),
            self.s_axil_bvalid.eq(responds),
            self.s_axil_arready.eq(~asked),
            self.s_axil_rvalid.eq(returns),
            self.s_axil_rdata.eq(read_data),
            self.write.eq(write),
            self.write_word.eq(write_word),
            self.write_data.eq(write_data),
            self.write_strobe.eq(write_strobe),
            self.read.eq(asked & ~returns),
            self.read_word.eq(read_word),
        ]
        m.d.sync += [
            write.eq(address & data & ~responds & ~write),
            address.eq((address | self.s_axil_awvalid) & ~write),
            data.eq((data | self.s_axil_wvalid) & ~write),
            responds.eq(write | (responds & ~self.s_axil_bready)),
            asked.eq((asked | self.s_axil_arvalid) & ~(returns & self.s_axil_rready)),
            returns.eq((self.read & self.answer) | (returns & ~self.s_axil_rready)),
        ]
        with m.If(~address):
            m.d.sync += write_word.eq(self.s_axil_awaddr[2:])
        with m.If(~data):
            m.d.sync += [write_data.eq(self.s_axil_wdata), write_strobe.eq(self.s_axil_wstrb)]
        with m.If(~asked):
            m.d.sync += read_word.eq(self.s_axil_araddr[2:])
        with m.If(~returns):
            m.d.sync += read_data.eq(self.read_data)
        return m
