# SPDX-License-Identifier: Apache-2.0
"""Driver of the IP block in C: its sources, how to compile it, and calls to it from Python."""

import ctypes
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path

from xorloom.hw.ip.csr import COUNTERS, Cause, c_header
from xorloom.hw.ip.driver.driver import DecoderFault, DecoderInfo, DriverError
from xorloom.sw.base.errors import ConfigError, ToolError

__all__ = [
    "FLAGS",
    "SOURCES",
    "CBus",
    "CDevice",
    "CDriver",
    "compile_driver",
    "driver_texts",
    "write_sources",
]

SOURCES = tuple(Path(__file__).parent / name for name in ("xorloom.h", "xorloom.c"))
"""Driver as it stands here; it includes the generated ``xorloom_registers.h``."""
FLAGS = ("-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-O2")

_READ = ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.c_void_p, ctypes.c_uint32)
_WRITE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32)


class CBus(ctypes.Structure):
    """``xorloom_bus`` of ``xorloom.h``."""

    _fields_ = [("read", _READ), ("write", _WRITE), ("context", ctypes.c_void_p)]


class CDevice(ctypes.Structure):
    """``xorloom_device`` of ``xorloom.h``."""

    _fields_ = [
        ("bus", CBus),
        ("bus_bits", ctypes.c_uint32),
        ("n_out", ctypes.c_uint32),
        ("planes", ctypes.c_uint32),
        ("levels", ctypes.c_uint32),
        ("planar", ctypes.c_uint32),
        ("kinds", ctypes.c_uint32),
        ("network", ctypes.c_uint32),
        ("reader", ctypes.c_uint32),
        ("address_bits", ctypes.c_uint32),
        ("align_bytes", ctypes.c_uint32),
        ("queue", ctypes.c_uint32),
    ]


class _Descriptor(ctypes.Structure):
    _fields_ = [("address", ctypes.c_uint64), ("length", ctypes.c_uint32)]


class _Counters(ctypes.Structure):
    _fields_ = [(name.lower(), ctypes.c_uint32) for name in COUNTERS]


_RESULTS = {
    -1: "no xorloom decoder of this register map",
    -2: "decoder still busy after {polls} polls",
    -4: "something is still queued or in work",
}
_RANGE = -3


def driver_texts(prefix: str = "xorloom") -> dict[str, str]:
    """Return the driver and the header of the register map, by file name.

    Files, functions, types and macros have names that begin with ``prefix``, so that drivers of
    several prefixes can stand in one program.
    """
    texts = {f"{prefix}_registers.h": c_header(prefix)}
    for source in SOURCES:
        text = source.read_text(encoding="utf-8")
        text = re.sub(r"\bxorloom(?=_|\.h\b)", prefix, text)
        text = re.sub(r"\bXORLOOM(?=_)", prefix.upper(), text)
        texts[prefix + source.suffix] = text
    return texts


def write_sources(folder: Path) -> Path:
    """Write the driver and the generated header to a folder; return the C file."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in driver_texts().items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder / "xorloom.c"


def compile_driver(folder: Path) -> Path:
    """Compile the driver as a shared library.

    Raises
    ------
    ToolError
        If there is no ``gcc``, or it reports warnings or errors.
    """
    library = folder / "libxorloom.so"
    source = write_sources(folder)
    if shutil.which("gcc") is None:
        raise ToolError("gcc is missing: apt-get install gcc")
    command = ["gcc", *FLAGS, "-shared", "-fPIC", str(source), "-o", str(library)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolError(f"{' '.join(command)} failed: {done.stderr.strip()}")
    return library


class CDriver:
    """C driver, with Python functions as its bus.

    It has the methods of :class:`xorloom.hw.ip.driver.driver.Driver`, which are not async here.

    Parameters
    ----------
    library : Path
        From :func:`compile_driver`.
    read, write : callable
        ``read(offset) -> int`` and ``write(offset, value)``. They must not raise: C cannot pass it
        on.
    polls : int
        Reads of ``STATUS`` after which a wait fails.
    """

    def __init__(
        self,
        library: Path,
        read: Callable[[int], int],
        write: Callable[[int, int], None],
        *,
        polls: int = 100_000,
    ) -> None:
        self._library = ctypes.CDLL(str(library))
        self._library.xorloom_start.argtypes = (
            ctypes.c_void_p,
            ctypes.c_uint64,
            ctypes.c_uint32,
        )
        self._polls = polls
        # A reference, because ctypes does not keep callbacks alive.
        self._bus = CBus(
            _READ(lambda _context, offset: read(offset)),
            _WRITE(lambda _context, offset, value: write(offset, value)),
            None,
        )
        # The probe sets the bus too; a call before the probe must not jump to 0.
        self._device = CDevice(bus=self._bus)

    def _check(self, result: int, where: str = "") -> None:
        """Raise the error that a result stands for."""
        if result > 0:
            raise DecoderFault(Cause(result), where)
        if result == _RANGE:
            raise ConfigError("descriptor must lie inside the address space")
        if result < 0:
            raise DriverError(_RESULTS[result].format(polls=self._polls))

    def probe(self) -> DecoderInfo:
        """Check the ID; return how the decoder was built."""
        device = self._device
        self._check(self._library.xorloom_probe(ctypes.byref(device), ctypes.byref(self._bus)))
        names = [field.name for field in fields(DecoderInfo)]
        values = {name: getattr(device, name) for name in names}
        flags = {name: bool(values[name]) for name in ("reader", "levels", "planar")}
        return DecoderInfo(**values | flags)

    def start(self, address: int, length: int) -> None:
        """Queue one memory stream. A refusal shows as an error, in :meth:`wait`."""
        device = ctypes.byref(self._device)
        self._check(self._library.xorloom_start(device, address, length))

    def wait(self) -> None:
        """Poll until everything that was started has ended."""
        self._check(self._library.xorloom_wait(ctypes.byref(self._device), self._polls))

    def abort(self) -> None:
        """Give up everything, wait until the decoder is idle, clear errors."""
        self._check(self._library.xorloom_abort(ctypes.byref(self._device), self._polls))

    def clear(self) -> None:
        """Clear the sticky bits of STATUS, including errors."""
        self._library.xorloom_clear(ctypes.byref(self._device))

    def interrupts(self, mask: int) -> None:
        """Enable interrupts, as bits of STATUS."""
        self._library.xorloom_interrupts(ctypes.byref(self._device), mask)

    def counters(self) -> dict[str, int]:
        """Return all counters."""
        counters = _Counters()
        self._library.xorloom_read_counters(ctypes.byref(self._device), ctypes.byref(counters))
        return {name.lower(): getattr(counters, name.lower()) for name in COUNTERS}

    def clear_counters(self) -> None:
        """Set all counters to 0."""
        self._library.xorloom_clear_counters(ctypes.byref(self._device))

    def decode(self, descriptors: Sequence[tuple[int, int]]) -> int:
        """Decode memory streams, given as address and length; return how many."""
        many = (_Descriptor * len(descriptors))(*(_Descriptor(*pair) for pair in descriptors))
        started = ctypes.c_size_t()
        result = self._library.xorloom_decode(
            ctypes.byref(self._device),
            many,
            ctypes.c_size_t(len(descriptors)),
            self._polls,
            ctypes.byref(started),
        )
        self._check(result, f" after {started.value} starts")
        return started.value
