# SPDX-License-Identifier: Apache-2.0
"""AXI4 read memory for testbenches, as slow as a preset of :mod:`xorloom.sim.bandwidth.presets`.

It drives plain signal handles, which is fast enough to read whole matrices. The protocol is checked
by the third-party models in :mod:`xorloom.sim.testbenches.reader`.
"""

from collections import deque
from dataclasses import dataclass
from typing import Any

from cocotb.triggers import RisingEdge

from .presets import CAUSES, Memory

__all__ = ["AxiMemory"]

_OKAY, _DECERR = 0, 3
_ROUNDING = 1e-6


@dataclass
class _Burst:
    """Requested read; its first word can leave at ``ready_at``."""

    address: int
    beats: int
    ready_at: float


class AxiMemory:
    """Read memory: serves reads in order, as fast as the preset's pins, refresh and rows allow.

    Time is counted in the bus's clock cycles, fractions included. Words come off the pins at the
    preset's peak, at most one per cycle; a refresh stops them for tRFC every tREFI, and so does a
    change of the open row where the controller does not open rows ahead. Nothing makes up for
    that: there is one word of buffer. The latency of a read passes while earlier reads are
    served. Flash (no rows) runs one command at a time: a read that goes on where the one
    before ended, and was asked for in time, continues its command; any other begins a new one.
    The model has no reset: a read requested before a reset is still answered.

    Parameters
    ----------
    dut : handle
        Has the AXI read channels with ``prefix``.
    clock : handle
    memory : Memory
    image : bytes
        Contents from ``base`` on; reads beyond it are answered with DECERR.
    clock_mhz : float
    queue : int
        Most reads that wait; ``arready`` is low while so many do.
    """

    def __init__(
        self,
        dut: Any,
        clock: Any,
        memory: Memory,
        image: bytes,
        *,
        clock_mhz: float,
        base: int = 0,
        queue: int = 8,
        prefix: str = "m_axi",
    ) -> None:
        def port(name: str) -> Any:
            return getattr(dut, f"{prefix}_{name}")

        self._port, self._clock = port, clock
        self._image, self._base, self._queue = image, base, queue
        self._bytes = len(port("rdata")) // 8
        self._timing = memory.timing(clock_mhz, self._bytes)
        self.waits = dict.fromkeys(CAUSES, 0)
        self.beats = self.reads = self.not_ready = 0
        self._first: int | None = None
        self._last = 0
        for name in ("rvalid", "rlast", "rdata", "rresp", "rid"):
            port(name).value = 0
        port("arready").value = 1

    def counts(self) -> dict[str, Any]:
        """Return the counted cycles, from the first address to the last beat.

        ``cycles`` is the sum of ``beats``, ``waits`` by cause (a read waits, no word is there),
        ``not_ready`` (a word is offered, not taken) and ``idle`` (no read).
        """
        cycles = self._last - self._first if self._first is not None else 0
        spent = self.beats + self.not_ready + sum(self.waits.values())
        return {
            "cycles": cycles,
            "reads": self.reads,
            "beats": self.beats,
            "waits": dict(self.waits),
            "not_ready": self.not_ready,
            "idle": cycles - spent,
        }

    def _word(self, address: int) -> tuple[int, int]:
        """Return data and response."""
        at = address - self._base
        if not 0 <= at <= len(self._image) - self._bytes:
            return 0, _DECERR
        return int.from_bytes(self._image[at : at + self._bytes], "little"), _OKAY

    async def run(self) -> None:
        """Serve for ever; start it while the reader is in reset."""
        port, edge, width = self._port, RisingEdge(self._clock), self._bytes
        timing = self._timing
        arvalid, arready, araddr, arlen = map(port, ("arvalid", "arready", "araddr", "arlen"))
        rvalid, rready, rdata, rlast, rresp = map(
            port, ("rvalid", "rready", "rdata", "rlast", "rresp")
        )
        reads: deque[_Burst] = deque()
        now, row = 0, -1
        next_refresh = timing.refresh_every
        refresh = miss = credit = 0.0
        offers, driven, accepts, cause = False, False, True, ""
        drives = (-1, -1)  # rlast and rresp as they stand
        while True:
            await edge
            now += 1
            if offers:
                if rready.value:
                    self.beats += 1
                    self._last = now
                    offers = False
                else:
                    self.not_ready += 1
            elif cause:
                self.waits[cause] += 1
            if accepts and arvalid.value:
                address = int(araddr.value) // width * width
                reads.append(_Burst(address, int(arlen.value) + 1, now + timing.start))
                self.reads += 1
                if self._first is None:
                    self._first = now
            # Share of this cycle in which the pins can move data.
            share, cause = 1.0, ""
            if next_refresh and now >= next_refresh:
                next_refresh += timing.refresh_every
                refresh += timing.refresh
            if refresh > 0:
                spent = min(refresh, share)
                refresh, share, cause = refresh - spent, share - spent, "refresh"
            if reads:
                read = reads[0]
                if read.ready_at > now:
                    share, cause = 0.0, cause or "latency"
                elif timing.row_bytes and read.address // timing.row_bytes != row:
                    miss += timing.row_miss if row >= 0 else 0.0
                    row = read.address // timing.row_bytes
                if miss > 0 and share > 0:
                    spent = min(miss, share)
                    miss, share, cause = miss - spent, share - spent, cause or "row"
                credit += timing.rate * share
                if not offers and credit >= 1 - _ROUNDING:
                    credit -= 1
                    data, response = self._word(read.address)
                    read.address += width
                    read.beats -= 1
                    last = read.beats == 0
                    rdata.value = data
                    if drives != (last, response):
                        drives = (last, response)
                        rlast.value, rresp.value = last, response
                    offers = True
                    if last:
                        reads.popleft()
                        if timing.one_command and reads:
                            follows = reads[0].address == read.address
                            reads[0].ready_at = now if follows else now + timing.start
                credit = min(credit, 1.0)
                cause = "" if offers else cause or "rate"
            elif not offers:
                credit, cause = 0.0, ""
            # Only what changes is written: writes are what costs time.
            if offers != driven:
                driven = offers
                rvalid.value = offers
            room = len(reads) < self._queue
            if room != accepts:
                accepts = room
                arready.value = room
