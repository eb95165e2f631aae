# SPDX-License-Identifier: Apache-2.0
"""UART receiver: checks framing, returns lines of text."""

from collections.abc import AsyncIterator
from typing import Any

import cocotb
from cocotb.queue import Queue
from cocotb.triggers import Timer

__all__ = ["UartReceiver"]


class UartReceiver:
    """UART receiver of 8N1 characters, sampled in the middle of every bit.

    Parameters
    ----------
    line : handle
    bit_ps : int
        Length of a bit.
    """

    def __init__(self, line: Any, bit_ps: int) -> None:
        self._line, self._bit_ps = line, bit_ps
        self._bytes: Queue[int] = Queue()
        self._task: Any = None
        self.errors: list[str] = []
        """Errors of framing, as texts."""
        self.start()

    def start(self) -> None:
        """Start listening."""
        self._task = cocotb.start_soon(self._receive())

    def stop(self) -> None:
        """Stop listening, and drop a line that is not complete."""
        self._task.cancel()
        self._bytes = Queue()

    async def line(self) -> str:
        """Return the next line, without its end.

        A line that does not end in CR LF, or has characters that cannot be printed, is an error.
        """
        text = bytearray()
        while not text.endswith(b"\n"):
            text.append(await self._bytes.get())
        if not text.endswith(b"\r\n") or any(not 32 <= byte < 127 for byte in text[:-2]):
            self.errors.append(f"line {bytes(text)!r} is no printable text ended by CR LF")
        return text.decode("ascii", "replace").rstrip("\r\n")

    async def _receive(self) -> None:
        while True:
            await self._line.falling_edge
            await Timer(self._bit_ps // 2, "ps")
            bits = []
            async for bit in _bits(self._line, self._bit_ps):
                bits.append(bit)
            start, *data, stop = bits
            if start or not stop:
                self.errors.append(f"start bit {start} and stop bit {stop} must be 0 and 1")
            self._bytes.put_nowait(sum(bit << k for k, bit in enumerate(data)))


async def _bits(line: Any, bit_ps: int) -> AsyncIterator[int]:
    """Yield the ten bits of a character, from the middle of its start bit on."""
    for k in range(10):
        if k:
            await Timer(bit_ps, "ps")
        yield int(line.value)
