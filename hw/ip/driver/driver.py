# SPDX-License-Identifier: Apache-2.0
"""Driver of the IP block in Python: the sequence of register accesses, over any bus.

:mod:`xorloom.hw.ip.driver.c` has the same in C.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from xorloom.hw.ip.csr import CAUSES, COUNTERS, MAGIC, MAP, VERSION, Cause
from xorloom.sw.base.errors import XorloomError, check_range

__all__ = [
    "DecoderFault",
    "DecoderInfo",
    "Driver",
    "DriverError",
    "RegisterBus",
    "Status",
]

STICKY = {"DONE": 1, "ERROR": 1, "IDLE": 1}


class DriverError(XorloomError, RuntimeError):
    """There is no decoder, or it does not finish."""


class DecoderFault(DriverError):  # noqa: N818 (not a mistake of the caller's)
    """The decoder gave up a stream or refused a start; ``cause`` says why."""

    def __init__(self, cause: Cause, where: str = "") -> None:
        super().__init__(f"decoder stopped{where}: {cause.name}, {CAUSES[cause]}")
        self.cause = cause


class RegisterBus(Protocol):
    """Access to the registers; offsets are in bytes."""

    async def read(self, offset: int) -> int:
        """Read a register."""

    async def write(self, offset: int, value: int) -> None:
        """Write a register."""


@dataclass(frozen=True)
class DecoderInfo:
    """How a decoder was built: the registers CONFIG, SHAPE, KINDS and NETWORK."""

    bus_bits: int
    n_out: int
    planes: int
    levels: bool
    planar: bool
    kinds: int
    network: int
    reader: bool
    address_bits: int
    align_bytes: int
    queue: int


@dataclass(frozen=True)
class Status:
    """The fields of the register STATUS."""

    busy: bool
    done: bool
    error: bool
    idle: bool
    cause: Cause
    queue_space: int


class Driver:
    """Driver: starts streams and waits for them.

    Example: ``await Driver(bus).decode([(0x1000, 4096), (0x8000, 512)])``.

    Parameters
    ----------
    bus : RegisterBus
    interrupt : callable, optional
        Returns when the interrupt line is 1. Without it, :meth:`wait` polls.
    polls : int
        Reads of ``STATUS`` after which a wait fails.
    """

    def __init__(
        self,
        bus: RegisterBus,
        *,
        interrupt: Callable[[], Awaitable[None]] | None = None,
        polls: int = 100_000,
    ) -> None:
        self._bus, self._interrupt, self._polls = bus, interrupt, polls
        self._info: DecoderInfo | None = None

    async def _read(self, name: str) -> dict[str, int]:
        return MAP[name].unpack(await self._bus.read(MAP[name].offset))

    async def _write(self, name: str, **fields: int) -> None:
        await self._bus.write(MAP[name].offset, MAP[name].pack(**fields))

    async def probe(self) -> DecoderInfo:
        """Check the ID; return how the decoder was built.

        Raises
        ------
        DriverError
            If there is another device, or another version of the register map.
        """
        found = await self._read("ID")
        if found["MAGIC"] != MAGIC or found["VERSION"] != VERSION:
            raise DriverError(
                f"no xorloom decoder of register map {VERSION} here: expected magic 0x{MAGIC:04x}, "
                f"found 0x{found['MAGIC']:04x} version {found['VERSION']}"
            )
        fields = await self._read("CONFIG") | await self._read("SHAPE")
        for name in ("KINDS", "NETWORK"):
            fields[name] = (await self._read(name))["VALUE"]
        values = {name.lower(): value for name, value in fields.items()}
        flags = {name: bool(values[name]) for name in ("reader", "levels", "planar")}
        self._info = DecoderInfo(**values | flags)  # type: ignore[arg-type]
        return self._info

    async def status(self) -> Status:
        """Read STATUS once."""
        fields = {name.lower(): value for name, value in (await self._read("STATUS")).items()}
        flags = {name: bool(fields[name]) for name in ("busy", "done", "error", "idle")}
        return Status(**flags, cause=Cause(fields["cause"]), queue_space=fields["queue_space"])

    async def start(self, address: int, length: int) -> None:
        """Queue one memory stream. A refusal shows as an error, in :meth:`status`.

        Raises
        ------
        ConfigError
            If it lies outside the address space.
        DriverError
            If the decoder has no reader.
        """
        info = self._info or await self.probe()
        if not info.reader:
            raise DriverError("this decoder takes no descriptors: feed its AXI4-Stream input")
        check_range("address", address, 0, (1 << info.address_bits) - 1)
        check_range("length", length, 0, min((1 << info.address_bits) - address, 0xFFFFFFFF))
        await self._write("ADDRESS_LO", VALUE=address & 0xFFFFFFFF)
        if info.address_bits > 32:
            await self._write("ADDRESS_HI", VALUE=address >> 32)
        await self._write("LENGTH", VALUE=length)
        await self._write("CONTROL", START=1)

    async def wait(self) -> Status:
        """Wait until everything that was started has ended.

        Raises
        ------
        DecoderFault
            If a stream was given up or a start refused.
        DriverError
            If the decoder stays busy.
        """
        if self._interrupt is not None:
            await self._write("IRQ_ENABLE", ERROR=1, IDLE=1)
        for _ in range(self._polls):
            if self._interrupt is not None:
                # Cleared before STATUS is read, so that an end after the read is not lost.
                await self._write("STATUS", IDLE=1)
            status = await self.status()
            if status.error:
                raise DecoderFault(status.cause)
            if not status.busy:
                return status
            if self._interrupt is not None:
                await self._interrupt()
        raise DriverError(f"decoder still busy after {self._polls} reads of STATUS")

    async def clear(self) -> None:
        """Clear the sticky bits of STATUS, including errors."""
        await self._write("STATUS", **STICKY)

    async def abort(self) -> None:
        """Give up everything, wait until the decoder is idle, clear errors."""
        await self._write("CONTROL", ABORT=1)
        for _ in range(self._polls):
            if not (await self.status()).busy:
                return await self.clear()
        raise DriverError(f"decoder still busy after an abort and {self._polls} reads of STATUS")

    async def counters(self) -> dict[str, int]:
        """Return all counters, by name in lower case."""
        return {name.lower(): (await self._read(name))["VALUE"] for name in COUNTERS}

    async def clear_counters(self) -> None:
        """Set all counters to 0."""
        await self._write("CONTROL", CLEAR_COUNTERS=1)

    async def decode(self, descriptors: Iterable[tuple[int, int]]) -> int:
        """Decode memory streams, given as address and length; keep the queue full.

        After an error everything is given up, and the next call works.

        Returns
        -------
        int
            How many streams were decoded.

        Raises
        ------
        DecoderFault, DriverError, ConfigError
            As :meth:`start` and :meth:`wait`.
        """
        started = 0
        await self.clear()
        try:
            for address, length in descriptors:
                await self._space()
                await self.start(address, length)
                started += 1
            await self.wait()
        except DecoderFault as fault:
            await self.abort()
            raise DecoderFault(fault.cause, f" after {started} starts") from None
        except XorloomError:
            await self.abort()
            raise
        await self.clear()
        return started

    async def _space(self) -> None:
        """Wait until the queue has space."""
        for _ in range(self._polls):
            status = await self.status()
            if status.error:
                raise DecoderFault(status.cause)
            if status.queue_space:
                return
        raise DriverError(f"descriptor queue still full after {self._polls} reads of STATUS")
