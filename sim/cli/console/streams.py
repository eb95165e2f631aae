# SPDX-License-Identifier: Apache-2.0
"""Standard streams and signals: closed and full ones, and ends that leave nothing behind."""

import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedWriter, FileIO, TextIOWrapper
from pathlib import Path
from types import FrameType
from typing import Any

__all__ = ["standard_streams", "stopped_cleanly"]


class _Stdout(FileIO):
    """Stdout whose errors say that they are its own."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            text = f"cannot write to stdout: {error.strerror}"
            raise OSError(error.errno, text) from None


@contextmanager
def standard_streams() -> Iterator[None]:
    """Have all three streams open in the block, and print what is waiting at its end.

    A stream that the caller closed is opened, or else the next file would take its number, and
    with it what is meant for the stream.

    Raises
    ------
    OSError
        If stdout is closed, or cannot take what is printed. A pipe that nobody reads any more
        raises ``BrokenPipeError``.
    """
    closed = sys.stdout is None
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115
    if closed:
        raise OSError(errno.EBADF, "stdout is closed: there is nowhere to print to")
    stdout = sys.__stdout__
    if stdout is None or sys.stdout is not stdout:
        yield  # a caller of its own reads what is printed
        return
    own = TextIOWrapper(
        BufferedWriter(_Stdout(stdout.fileno(), "w", closefd=False)),
        encoding=stdout.encoding,
        errors=stdout.errors,
        line_buffering=stdout.line_buffering,
    )
    sys.stdout = own
    try:
        yield
    finally:
        sys.stdout = stdout
        try:
            own.flush()
        except OSError:
            # It is flushed once more when it is closed.
            os.dup2(os.open(os.devnull, os.O_WRONLY), own.fileno())
            raise


def _stop(number: int, frame: FrameType | None) -> None:
    """End as after an error, so that what was begun is cleared away; the next signal kills."""
    signal.signal(number, signal.SIG_DFL)
    sys.exit(128 + number)


@contextmanager
def stopped_cleanly() -> Iterator[None]:
    """Let signals that would end the process end the block instead."""
    numbers = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) == signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, _stop)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)
