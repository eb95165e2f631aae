# SPDX-License-Identifier: Apache-2.0
"""Monitor of a read master: rules of AXI, offers that must stay, beats and words."""

from collections import deque
from typing import Any

__all__ = ["AxiRules"]


class AxiRules:
    """Monitor of read channels and words at every clock; the first fault stays in ``fault``."""

    def __init__(self, dut: Any, job: dict[str, Any]) -> None:
        self._dut, self._job = dut, job
        self._bus_bytes = job["bus_bits"] // 8
        self.fault: str | None = None
        self.bursts: list[tuple[int, int]] = []
        self.words: list[tuple[int, int, int]] = []  # data, last, error
        self.word_at: list[int] = []
        self.clock = 0
        self.flying: deque[int] = deque()
        self.most_flying = 0
        self._before: dict[str, Any] = {}
        self._data = (1 << job["bus_bits"]) - 1

    def _wrong(self, text: str) -> None:
        self.fault = self.fault or f"clock {self.clock}: {text}"

    def _accept(self, address: int, beats: int) -> None:
        dut, job = self._dut, self._job
        if int(dut.m_axi_arburst.value) != 1:
            self._wrong("arburst is not INCR")
        if 1 << int(dut.m_axi_arsize.value) != self._bus_bytes:
            self._wrong("arsize is not the bus word")
        if int(dut.m_axi_arid.value):
            self._wrong("arid is not 0")
        if address % self._bus_bytes:
            self._wrong(f"araddr {address:#x} is not that of a bus word")
        if beats > job["max_burst"]:
            self._wrong(f"burst of {beats} beats")
        if address // 4096 != (address + beats * self._bus_bytes - 1) // 4096:
            self._wrong(f"burst of {beats} beats from {address:#x} on crosses 4 KiB")
        self.bursts.append((address, beats))
        self.flying.append(beats)
        self.most_flying = max(self.most_flying, len(self.flying))
        if len(self.flying) > job["outstanding"]:
            self._wrong(f"{len(self.flying)} bursts in flight")

    def sample(self) -> None:
        """Check the signals at the clock edge that has just come."""
        dut, before = self._dut, self._before
        self.clock += 1
        if dut.rst.value:
            self.flying.clear()
            self._before = {}
            return
        now: dict[str, Any] = {
            "arvalid": int(dut.m_axi_arvalid.value),
            "ovalid": int(dut.o__valid.value),
        }
        if now["arvalid"]:
            now["ar"] = (int(dut.m_axi_araddr.value), int(dut.m_axi_arlen.value) + 1)
        if now["ovalid"]:
            now["o"] = int(dut.o__payload.value)
        if "ar_waits" in before and now.get("ar") != before["ar_waits"]:
            self._wrong("an address on offer was withdrawn or changed")
        if "o_waits" in before and now.get("o") != before["o_waits"]:
            self._wrong("a word on offer was withdrawn or changed")
        if now["arvalid"]:
            if dut.m_axi_arready.value:
                self._accept(*now["ar"])
            else:
                now["ar_waits"] = now["ar"]
        if now["ovalid"]:
            if dut.o__ready.value:
                payload = now["o"]
                width = self._job["bus_bits"]
                self.words.append(
                    (payload & self._data, payload >> width & 1, payload >> width + 1)
                )
                self.word_at.append(self.clock)
            elif not dut.abort.value:
                now["o_waits"] = now["o"]
        if dut.m_axi_rvalid.value and dut.m_axi_rready.value:
            if not self.flying:
                self._wrong("a beat was taken that nobody asked for")
            else:
                self.flying[0] -= 1
                if bool(self.flying[0] == 0) != bool(dut.m_axi_rlast.value):
                    self._wrong("the testbench's rlast is wrong")
                if not self.flying[0]:
                    self.flying.popleft()
        if not dut.busy.value and (self.flying or now["arvalid"] or now["ovalid"]):
            self._wrong("not busy, with something on the way")
        self._before = now
