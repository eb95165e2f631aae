# SPDX-License-Identifier: Apache-2.0
"""AXI memory model: what the reader measures on it is what the bandwidth model says."""

from typing import Any

import pytest
from xorloom.hw.bus.axi_reader import AxiReader
from xorloom.hw.flow.export import component_verilog
from xorloom.sim.bandwidth.axi_memory import CAUSES
from xorloom.sim.bandwidth.presets import MEMORIES, memory
from xorloom.sim.simulate.runner import build, run

ADDRESS_BITS = 32
BASE = 0x10000
KIB = 1024


def read(
    name: str,
    descriptors: list[tuple[int, int]] | None = None,
    *,
    clock_mhz: float = 100.0,
    bus: int = 64,
    image_bytes: int = 64 * KIB,
    **job: Any,
) -> dict[str, Any]:
    """Read descriptors, or 64 KiB in one, from a preset; return what the memory counted."""
    # The reader that test_axi_reader builds as well.
    shape = {"bus_bits": bus, "outstanding": 4, "max_burst": 16, "align_bytes": 1}
    text = component_verilog(AxiReader(address_bits=ADDRESS_BITS, **shape), "axi_reader")
    job |= {"bus_bits": bus, "address_bits": ADDRESS_BITS, "base": BASE}
    job |= {"memory": name, "clock_mhz": clock_mhz, "image_bytes": image_bytes}
    job |= {"descriptors": descriptors or [(BASE, image_bytes)], "limit": 3_000_000}
    built = build(text, "axi_reader")
    result = run(built, "xorloom.sim.testbenches.memory", "reads_at_the_memorys_rate", job)
    assert "failure" not in result, result["failure"]
    spent = result["beats"] + result["not_ready"] + result["idle"] + sum(result["waits"].values())
    assert result["cycles"] == spent, "every cycle has one cause"
    assert result["idle"] >= 0
    assert set(result["waits"]) == set(CAUSES)
    return result


def check_rate(name: str, counts: dict[str, Any], clock_mhz: float, bus: int) -> None:
    words = counts["beats"]
    model = words / memory(name).words_per_cycle(clock_mhz, bus)
    assert counts["cycles"] == pytest.approx(model, rel=0.02), counts


@pytest.mark.build
def test_axi_memory_ideal_serves_a_word_every_cycle() -> None:
    counts = read("ideal", [(BASE, 64 * KIB), (BASE + 64 * KIB - 16, 32)])
    assert counts["beats"] == counts["cycles"] == 8192 + 4
    assert counts["reads"] == 512 + 2, "the last one is cut where 4 KiB end"
    assert counts["errors"] == [64 * KIB, 64 * KIB + 8], "beyond the image"


@pytest.mark.build
def test_axi_memory_ddr3_stops_for_every_refresh() -> None:
    counts = read("ddr3-1600")
    check_rate("ddr3-1600", counts, 100.0, 64)
    assert counts["waits"] == {"latency": 5, "refresh": 26 * 10, "row": 0, "rate": 0}


@pytest.mark.slow
def test_axi_memory_sdr_counts_row_misses() -> None:
    counts = read("sdr-133", image_bytes=16 * KIB)
    check_rate("sdr-133", counts, 100.0, 64)
    # 15 changes of row, 3.6 cycles each, in cycles that would otherwise be waits for the rate.
    assert 15 * 3 <= counts["waits"]["row"] <= 15 * 4 + 5


@pytest.mark.slow
def test_axi_memory_flash_takes_one_command_at_a_time() -> None:
    follows, jumps = (BASE + 512, 512), (BASE + 2048, 512)
    counts = read("qspi-133", [(BASE, 512), follows, jumps], image_bytes=4 * KIB)
    # 20 clocks of 133 MHz are 15.04 of 100 MHz.
    assert counts["waits"]["latency"] == pytest.approx(16 + 15, abs=1), "two commands"


@pytest.mark.build
def test_axi_memory_tells_who_waits() -> None:
    counts = read("ideal", image_bytes=4 * KIB, sink="slow")
    assert counts["not_ready"] == pytest.approx(7 * 512, rel=0.02)
    assert sum(counts["waits"].values()) == 0


@pytest.mark.build
@pytest.mark.slow
@pytest.mark.parametrize("bus", [64, 256])
@pytest.mark.parametrize("name", MEMORIES)
def test_axi_memory_yields_what_the_model_says(name: str, bus: int) -> None:
    clock = 25.0 if name == "spi-50" else 100.0
    check_rate(name, read(name, bus=bus, clock_mhz=clock), clock, bus)
