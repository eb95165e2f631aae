# SPDX-License-Identifier: Apache-2.0
"""Software's side of the register block, for its tests: sizes, accesses, one bench."""

from collections.abc import Awaitable, Callable
from typing import Any

from amaranth.hdl import Signal
from xorloom.hw.ip.csr import MAP
from xorloom.hw.ip.registers import Registers

from tests.helpers.rtl import simulate

SIZES = {"bus_bits": 64, "n_out": 256, "planes": 4, "kinds": 0x70, "network": 0xDEADBEEF}
SIZES |= {"levels": True, "planar": False}
READER = {"reader": True, "address_bits": 40, "align_bytes": 8}


class Bus:
    """Software's view: one access at a time, over the AXI4-Lite port."""

    def __init__(self, ctx: Any, dut: Registers) -> None:
        self.ctx, self.dut = ctx, dut

    def _set(self, **values: int) -> None:
        for name, value in values.items():
            self.ctx.set(getattr(self.dut, f"s_axil_{name}"), value)

    async def _until(self, name: str) -> None:
        for _ in range(20):
            *_, seen = await self.ctx.tick().sample(getattr(self.dut, f"s_axil_{name}"))
            if seen:
                return
        raise AssertionError(f"no {name} in 20 clocks")

    async def write_word(self, offset: int, value: int, strobe: int = 0xF) -> None:
        self._set(awaddr=offset, awvalid=1, wdata=value, wstrb=strobe, wvalid=1, bready=1)
        await self._until("awready")
        self._set(awvalid=0, wvalid=0)
        await self._until("bvalid")
        self._set(bready=0)

    async def read_word(self, offset: int) -> int:
        self._set(araddr=offset, arvalid=1)
        await self._until("arready")
        self._set(arvalid=0)
        self._set(rready=1)
        for _ in range(20):
            *_, valid, value, response = await self.ctx.tick().sample(
                self.dut.s_axil_rvalid, self.dut.s_axil_rdata, self.dut.s_axil_rresp
            )
            if valid:
                assert response == 0, "not OKAY"
                self._set(rready=0)
                return value
        raise AssertionError("no data in 20 clocks")

    async def write(self, name: str, strobe: int = 0xF, /, **fields: int) -> None:
        await self.write_word(MAP[name].offset, MAP[name].pack(**fields), strobe)

    async def read(self, name: str) -> dict[str, int]:
        return MAP[name].unpack(await self.read_word(MAP[name].offset))

    async def status(self) -> tuple[int, int, int]:
        """Return done, error and cause."""
        fields = await self.read("STATUS")
        return fields["DONE"], fields["ERROR"], fields["CAUSE"]

    async def start(self, address: int, length: int) -> None:
        await self.write("ADDRESS_LO", VALUE=address & 0xFFFFFFFF)
        await self.write("ADDRESS_HI", VALUE=address >> 32)
        await self.write("LENGTH", VALUE=length)
        await self.write("CONTROL", START=1)

    async def pulse(self, **values: Any) -> None:
        """Set inputs of the decoder's side for one clock."""
        for name, value in values.items():
            self.ctx.set(getattr(self.dut, name), value)
        await self.ctx.tick()
        for name, value in values.items():
            self.ctx.set(
                getattr(self.dut, name), dict.fromkeys(value, 0) if name == "events" else 0
            )

    async def queued(self) -> list[tuple[int, int]]:
        """Take all descriptors that are offered."""
        dut, found = self.dut, []
        self.ctx.set(dut.descriptor.ready, 1)
        for _ in range(12):
            *_, valid, item = await self.ctx.tick().sample(
                dut.descriptor.valid, dut.descriptor.payload
            )
            if valid:
                found.append((item.address, item.length))
        self.ctx.set(dut.descriptor.ready, 0)
        return found


def with_bus(test: Callable[[Bus], Awaitable[None]], **changes: Any) -> None:
    """Run a test on a register block with a reader, or as changed."""
    dut = Registers(**(SIZES | READER | changes))

    async def bench(ctx: Any, _reset: Signal) -> None:
        await test(Bus(ctx, dut))

    simulate(dut, bench)
