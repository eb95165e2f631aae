# SPDX-License-Identifier: Apache-2.0
"""Memory-bandwidth models: what a memory delivers to one linear read, and the cycles that it takes.

A linear read never turns the bus around. It loses time to refresh, and to row misses where the
controller does not open the next row in another bank in time. Burst length matters only at the two
ends of a read.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, inf
from typing import Any

from xorloom.sw.base.errors import ConfigError

__all__ = [
    "CAUSES",
    "IDEAL",
    "MEMORIES",
    "Memory",
    "MemoryTiming",
    "ModelCycles",
    "bandwidth_rows",
    "baseline_bits",
    "memory",
    "model_cycles",
]


CAUSES = ("latency", "refresh", "row", "rate")
"""Causes for which a memory offers nothing although a read waits."""


@dataclass(frozen=True)
class MemoryTiming:
    """Times of a memory behind a bus, in the bus's clock cycles.

    Parameters
    ----------
    rate : float
        Most words per cycle.
    start, refresh, refresh_every, row_miss : float
    row_bytes : int
        0 where the controller opens rows ahead, or there are none.
    one_command : bool
        Flash: one read at a time.
    """

    rate: float
    start: float
    refresh: float
    refresh_every: float
    row_miss: float
    row_bytes: int
    one_command: bool


@dataclass(frozen=True)
class Memory:
    """Memory as a linear reader sees it.

    Parameters
    ----------
    title, source : str
    transfers_mhz : float
        Transfers per microsecond on a data pin.
    width_bits : int
    burst_bytes : int
        Smallest read.
    row_bytes : int
        Open-row size of the whole bus width, 0 where there are no rows.
    row_miss_ns : float
        tRP + tRCD.
    interleaved : bool
        The next row opens in another bank while this one is read.
    refresh_ns, refresh_every_ns : float
        tRFC and tREFI, 0 where there is no refresh.
    start_ns : float
        Command and latency before the first word of a read.
    """

    title: str
    source: str
    transfers_mhz: float
    width_bits: int
    burst_bytes: int
    row_bytes: int
    row_miss_ns: float
    interleaved: bool
    refresh_ns: float
    refresh_every_ns: float
    start_ns: float

    @property
    def peak_bytes_per_us(self) -> float:
        """Pin bandwidth in bytes per microsecond (MB/s)."""
        return self.transfers_mhz * self.width_bits / 8

    def row_share(self, *, interleaved: bool | None = None) -> float:
        """Share of the time between refreshes in which data moves."""
        if not self.row_bytes or (self.interleaved if interleaved is None else interleaved):
            return 1.0
        row_ns = self.row_bytes / self.peak_bytes_per_us * 1000
        return row_ns / (row_ns + self.row_miss_ns)

    @property
    def refresh_share(self) -> float:
        """Share of the time that is not spent on refresh."""
        return 1 - self.refresh_ns / self.refresh_every_ns if self.refresh_every_ns else 1.0

    def efficiency(self, *, interleaved: bool | None = None) -> float:
        """Share of the pin bandwidth that a long linear read gets."""
        return self.row_share(interleaved=interleaved) * self.refresh_share

    def words_per_cycle(self, clock_mhz: float, bus_bits: int) -> float:
        """Bus words that arrive per decoder cycle, on average.

        Between refreshes the bus takes at most one per cycle; time lost to a refresh is not
        made up for.
        """
        words_per_us = self.peak_bytes_per_us * self.row_share() / (bus_bits / 8)
        return min(1.0, words_per_us / clock_mhz) * self.refresh_share

    def timing(self, clock_mhz: float, bus_bytes: int) -> MemoryTiming:
        """Return the times that testbenches count."""
        ns = ("start_ns", "refresh_ns", "refresh_every_ns", "row_miss_ns")
        times = {name[:-3]: getattr(self, name) / 1000 * clock_mhz for name in ns}
        return MemoryTiming(
            **times,
            rate=min(1.0, self.peak_bytes_per_us / bus_bytes / clock_mhz),
            row_bytes=0 if self.interleaved else self.row_bytes,
            one_command=not self.row_bytes and self.start_ns > 0,
        )

    def stall_pattern(self, clock_mhz: float, bus_bits: int) -> str:
        """Return one refresh interval, to repeat: per clock ``.`` (a word may move) or ``x``.

        The refresh is one run of ``x``, the rest is spread evenly.
        """
        period = max(1, round((self.refresh_every_ns or 100_000.0) / 1000 * clock_mhz))
        gap = min(period - 1, ceil(self.refresh_ns / 1000 * clock_mhz))
        span = period - gap
        words = min(span, max(1, round(period * self.words_per_cycle(clock_mhz, bus_bits))))
        ticks = [(n + 1) * words // span - n * words // span for n in range(span)]
        return "x" * gap + "".join("." if tick else "x" for tick in ticks)


MEMORIES = {
    "sdr-133": Memory(
        "SDR SDRAM-133 x16 (small boards)",
        "Micron 256 Mb SDRAM data sheet (MT48LC16M16A2), table 12, -6A: tRP 18, tRCD 18, "
        "tRFC 60 ns, 8192 rows in 64 ms",
        transfers_mhz=133.0,
        width_bits=16,
        burst_bytes=16,
        row_bytes=1024,
        row_miss_ns=36.0,
        interleaved=False,
        refresh_ns=60.0,
        refresh_every_ns=7812.5,
        start_ns=60.0,
    ),
    "ddr3-1600": Memory(
        "DDR3-1600 x16",
        "Alliance AS4C256M16D3B data sheet, DDR3-1600: tRP = tRCD = 13.75; Micron MT41J128M16 "
        "data sheet, table 56: tRFC(4 Gb) 260 ns, tREFI 7.8 us",
        transfers_mhz=1600.0,
        width_bits=16,
        burst_bytes=16,
        row_bytes=2048,
        row_miss_ns=27.5,
        interleaved=True,
        refresh_ns=260.0,
        refresh_every_ns=7800.0,
        start_ns=50.0,
    ),
    "ddr4-2400": Memory(
        "DDR4-2400 x64",
        "Micron 4 Gb DDR4 data sheet, table 152, -083: tRP = tRCD = 14.16; DRAMsim3 "
        "DDR4_8Gb_x8_2400: tRFC1 350 ns, tREFI 7.8 us, 1 KiB page x 8",
        transfers_mhz=2400.0,
        width_bits=64,
        burst_bytes=64,
        row_bytes=8192,
        row_miss_ns=28.32,
        interleaved=True,
        refresh_ns=350.0,
        refresh_every_ns=7800.0,
        start_ns=50.0,
    ),
    "lpddr4-3200": Memory(
        "LPDDR4-3200 x16 channel",
        "JESD209-4 as NXP's DDR Tool renders it, 4 Gb per channel: tRPpb 18, tRFCab 180 ns, "
        "tREFI 3.904 us; tRCD 18 not confirmed",
        transfers_mhz=3200.0,
        width_bits=16,
        burst_bytes=32,
        row_bytes=2048,
        row_miss_ns=36.0,
        interleaved=True,
        refresh_ns=180.0,
        refresh_every_ns=3904.0,
        start_ns=60.0,
    ),
    "hbm2-pc": Memory(
        "HBM2 pseudo-channel, 2 Gb/s per pin",
        "DRAMsim3 HBM2_4Gb_x128 (JESD235 protocol): tRP = tRCD = 14, tRFC 260 ns, tREFI 3.9 us, "
        "1 KiB page",
        transfers_mhz=2000.0,
        width_bits=64,
        burst_bytes=32,
        row_bytes=1024,
        row_miss_ns=28.0,
        interleaved=True,
        refresh_ns=260.0,
        refresh_every_ns=3900.0,
        start_ns=60.0,
    ),
    "qspi-133": Memory(
        "QSPI flash, 133 MHz",
        "Winbond W25Q128JV data sheet: 133 MHz; EBh takes 8 + 6 + 2 + 4 clocks before the data",
        transfers_mhz=133.0,
        width_bits=4,
        burst_bytes=1,
        row_bytes=0,
        row_miss_ns=0.0,
        interleaved=True,
        refresh_ns=0.0,
        refresh_every_ns=0.0,
        start_ns=20 / 133 * 1000,
    ),
    "spi-50": Memory(
        "SPI flash, 50 MHz",
        "Winbond W25Q128JV data sheet: 03h at up to 50 MHz takes 32 clocks before the data",
        transfers_mhz=50.0,
        width_bits=1,
        burst_bytes=1,
        row_bytes=0,
        row_miss_ns=0.0,
        interleaved=True,
        refresh_ns=0.0,
        refresh_every_ns=0.0,
        start_ns=32 / 50 * 1000,
    ),
}
"""Presets by name."""

IDEAL = Memory(
    "Ideal: a word every cycle",
    "no memory: what the decoder itself can do",
    transfers_mhz=inf,
    width_bits=8,
    burst_bytes=1,
    row_bytes=0,
    row_miss_ns=0.0,
    interleaved=True,
    refresh_ns=0.0,
    refresh_every_ns=0.0,
    start_ns=0.0,
)
"""Not one of the presets: its pins are faster than any bus, and a read waits one cycle."""


def memory(name: str) -> Memory:
    """Return a preset, or :data:`IDEAL` as ``ideal``.

    Raises
    ------
    ConfigError
        If there is none of that name.
    """
    if name == "ideal":
        return IDEAL
    if name not in MEMORIES:
        raise ConfigError(f"memory must be one of {', '.join(MEMORIES)}, not {name!r}")
    return MEMORIES[name]


@dataclass(frozen=True)
class ModelCycles:
    """Cycles that a stream needs of the memory, and of the decoder."""

    memory: int
    decoder: int

    @property
    def total(self) -> int:
        """The larger of the two numbers of cycles."""
        return max(self.memory, self.decoder)

    @property
    def limit(self) -> str:
        """Name of what needs more cycles: ``memory`` or ``decoder``."""
        return "memory" if self.memory >= self.decoder else "decoder"


def model_cycles(words: int, steps: int, words_per_cycle: float = 1.0) -> ModelCycles:
    """Cycles for a stream of ``words`` bus words and ``steps`` decoder steps.

    The decoder takes one word and makes one step per cycle, so the model is the larger of
    ``words / words_per_cycle`` and ``steps``. A simulation counts more for two reasons: latency of
    the pipeline, and steps that need several words beside steps that need none.
    """
    return ModelCycles(ceil(words / Fraction(words_per_cycle).limit_denominator(10**6)), steps)


def baseline_bits(density: float, planes: int) -> dict[str, float]:
    """Bits per weight of other representations of the same pruned weights.

    ``bitmask``: one mask bit per weight and packed codes (NVDLA style); ``csr-16``: a 16-bit
    column index and a code per kept weight (row pointers not counted); ``dense``: codes with zero
    as one more level; ``fp16``: dense half precision.
    """
    return {
        "fp16": 16.0,
        "dense": float(planes + 1),
        "csr-16": density * (16 + planes),
        "bitmask": 1 + density * planes,
    }


def bandwidth_rows(
    clock_mhz: float, bus_bits: int, bits_per_weight: dict[str, float]
) -> list[dict[str, Any]]:
    """Weights per second of every representation on every memory.

    Parameters
    ----------
    bits_per_weight : dict
        Representation to stored bits per weight.
    """
    rows = []
    for name, m in MEMORIES.items():
        bytes_per_us = m.words_per_cycle(clock_mhz, bus_bits) * clock_mhz * bus_bits / 8
        rows.append(
            {
                "memory": name,
                "title": m.title,
                "source": m.source,
                "peak_mbytes_per_s": m.peak_bytes_per_us,
                "efficiency": m.efficiency(),
                "efficiency_one_bank": m.efficiency(interleaved=False),
                "bus_mbytes_per_s": bytes_per_us,
                "mweights_per_s": {k: bytes_per_us * 8 / b for k, b in bits_per_weight.items()},
            }
        )
    return rows
