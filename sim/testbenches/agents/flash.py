# SPDX-License-Identifier: Apache-2.0
"""SPI flash model: read and wake-up in mode 0; it checks the rules of the data sheet."""

from typing import Any

import cocotb
from cocotb.triggers import First
from cocotb.utils import get_sim_time
from xorloom.hw.boards.spi_flash import READ, WAKE_UP

__all__ = ["FlashModel"]

# Ref: Winbond W25Q128JV, revision F, 9.6, AC electrical characteristics
_WAKE_NS, _DESELECT_NS, _HALF_PERIOD_NS = 3000, 50, 9


class FlashModel:
    """SPI flash: answers READ (03h) and WAKE-UP (ABh). It sleeps at first, as an iCE40 leaves it.

    Parameters
    ----------
    sclk, cs_n, copi, cipo : handles
    contents : bytes
        From ``address`` on; elsewhere the flash is erased (all ones).
    address : int
    """

    def __init__(
        self, sclk: Any, cs_n: Any, copi: Any, cipo: Any, contents: bytes, address: int
    ) -> None:
        self._sclk, self._cs_n, self._copi, self._cipo = sclk, cs_n, copi, cipo
        self.contents, self._address = contents, address
        self.answers = True
        """If false, the flash does not answer: the line stays high."""
        self.errors: list[str] = []
        """Broken rules, as texts."""
        self.reads = 0
        """Number of read commands so far."""
        self._awake_at: float | None = None
        cipo.value = 1
        cocotb.start_soon(self._run())

    def _byte(self, address: int) -> int:
        at = address - self._address
        return self.contents[at] if 0 <= at < len(self.contents) else 0xFF

    async def _run(self) -> None:
        idle_since = -1e9
        while True:
            while int(self._cs_n.value) != 0:
                await First(self._cs_n.value_change, self._sclk.value_change)
                if int(self._cs_n.value) and int(self._sclk.value):
                    self.errors.append(f"{_now():.0f} ns: clock runs without chip select")
            if int(self._sclk.value):
                self.errors.append(f"{_now():.0f} ns: selected while the clock is up")
            if _now() - idle_since < _DESELECT_NS:
                self.errors.append(f"{_now():.0f} ns: chip select was up for too short a time")
            await self._transaction()
            idle_since = _now()

    async def _transaction(self) -> None:
        """Serve one command, until chip select rises."""
        came: list[int] = []
        address, sent, edge = 0, 0, -1e9
        awake = self._awake_at is not None and _now() >= self._awake_at + _WAKE_NS
        while True:
            await First(self._cs_n.value_change, self._sclk.value_change)
            if int(self._cs_n.value):
                break
            if _now() - edge < _HALF_PERIOD_NS:
                self.errors.append(f"{_now():.0f} ns: clock pulse too short")
            edge = _now()
            if int(self._sclk.value):
                if len(came) < 32:
                    came.append(int(self._copi.value))
                if len(came) == 8 and not awake and _number(came) != WAKE_UP:
                    self.errors.append(f"{_now():.0f} ns: command {_number(came):02x}h asleep")
                if len(came) == 8 and _number(came) not in (READ, WAKE_UP):
                    self.errors.append(f"{_now():.0f} ns: unknown command {_number(came):02x}h")
                address = _number(came[8:])
            elif len(came) == 32 and _number(came[:8]) == READ and awake:
                self.reads += not sent
                place = address + sent // 8
                bit = self._byte(place) >> (7 - sent % 8) & 1
                self._cipo.value = bit if self.answers else 1
                sent += 1
        self._cipo.value = 1
        if int(self._sclk.value):
            self.errors.append(f"{_now():.0f} ns: chip select rises while the clock is up")
        if len(came) == 8 and _number(came) == WAKE_UP:
            self._awake_at = _now()
        elif len(came) % 8 and len(came) < 32:
            self.errors.append(f"{_now():.0f} ns: command cut short after {len(came)} bits")


def _now() -> float:
    return float(get_sim_time("ns"))


def _number(bits: list[int]) -> int:
    return int("".join(map(str, bits)) or "0", 2)
