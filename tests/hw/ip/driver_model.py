# SPDX-License-Identifier: Apache-2.0
"""Software model of registers and decoder, for tests of the drivers."""

import asyncio
from collections.abc import Callable
from typing import Any

from xorloom.hw.ip.csr import COUNTERS, MAP, Cause, identity
from xorloom.hw.ip.driver.driver import Driver

from tests.hw.ip.register_bus import READER, SIZES

FOREVER = 10**9


class Model:
    """Registers with a decoder behind: every access is a moment, a stream takes ``work`` moments.

    ``faults``: cause by address. ``log``: all accesses.
    """

    def __init__(self, work: int = 5, **changes: Any) -> None:
        sizes = {**SIZES, **READER, "queue": 4} | changes
        self.sizes, self.work = sizes, work
        self.words = identity(**sizes) | dict.fromkeys(("ADDRESS_LO", "ADDRESS_HI", "LENGTH"), 0)
        self.words |= dict.fromkeys((*COUNTERS, "IRQ_ENABLE", "CONTROL"), 0)
        self.names = {register.offset: register.name for register in MAP.values()}
        self.faults: dict[int, Cause] = {}
        self.queue: list[tuple[int, int]] = []
        self.taken: list[tuple[int, int]] = []
        self.levels: list[int] = []
        self.left = 0
        self.sticky = {"DONE": 0, "ERROR": 0, "IDLE": 0}
        self.cause = Cause.NONE
        self.log: list[tuple[str, int | None]] = []

    @property
    def busy(self) -> bool:
        return bool(self.left or self.queue)

    @property
    def interrupt(self) -> bool:
        enabled = MAP["IRQ_ENABLE"].unpack(self.words["IRQ_ENABLE"])
        return any(self.sticky[name] and enabled[name] for name in self.sticky)

    def fail(self, cause: Cause) -> None:
        self.cause = self.cause if self.sticky["ERROR"] else cause
        self.sticky["ERROR"] = 1

    def moment(self) -> None:
        before = self.busy
        self.words["CYCLES"] += before
        if self.left:
            self.left -= 1
            if not self.left:
                cause = self.faults.get(self.taken[-1][0])
                if cause is None:
                    self.sticky["DONE"] = 1
                    self.words["STREAMS"] += 1
                else:
                    self.queue.clear()
                    self.fail(cause)
        elif self.queue:
            self.taken.append(self.queue.pop(0))
            self.left = self.work
        self.sticky["IDLE"] = int(not self.busy and (before or self.sticky["IDLE"]))

    def read(self, offset: int) -> int:
        self.moment()
        name = self.names[offset]
        self.log.append((name, None))
        if name != "STATUS":
            return self.words[name]
        space = self.sizes["queue"] - len(self.queue)
        fields = self.sticky | {"BUSY": int(self.busy), "CAUSE": self.cause, "QUEUE_SPACE": space}
        return MAP["STATUS"].pack(**fields)

    def write(self, offset: int, value: int) -> None:
        self.moment()
        name = self.names[offset]
        self.log.append((name, value))
        if name == "CONTROL":
            self.control(MAP[name].unpack(value))
        elif name == "STATUS":
            for flag in self.sticky:
                self.sticky[flag] &= ~MAP[name].unpack(value)[flag]
            self.cause = self.cause if self.sticky["ERROR"] else Cause.NONE
        else:
            assert all(field.access == "rw" for field in MAP[name].fields), name
            self.words[name] = value

    def control(self, fields: dict[str, int]) -> None:
        if fields["CLEAR_COUNTERS"]:
            self.words |= dict.fromkeys(COUNTERS, 0)
        if fields["ABORT"] and self.busy:
            self.queue.clear()
            self.left = min(self.left, 3)  # what is outstanding
            self.faults[self.taken[-1][0] if self.taken else 0] = Cause.ABORTED
            self.fail(Cause.ABORTED)
        if fields["START"]:
            address = self.words["ADDRESS_HI"] << 32 | self.words["ADDRESS_LO"]
            length = self.words["LENGTH"]
            if not length or length % 8 or address % 8:
                self.fail(Cause.DESCRIPTOR)
            elif len(self.queue) == self.sizes["queue"]:
                self.fail(Cause.BUSY)
            else:
                self.queue.append((address, length))
                self.levels.append(len(self.queue))


class Blocking:
    """The Python driver as blocking calls."""

    def __init__(self, model: Model, polls: int, **options: Any) -> None:
        class Bus:
            async def read(self, offset: int) -> int:
                return model.read(offset)

            async def write(self, offset: int, value: int) -> None:
                model.write(offset, value)

        self._driver = Driver(Bus(), polls=polls, **options)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *values: asyncio.run(getattr(self._driver, name)(*values))


def streams(count: int) -> list[tuple[int, int]]:
    return [(0x12_3456_0000 + 0x1000 * n, 8 * (n + 1)) for n in range(count)]
