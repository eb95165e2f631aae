# SPDX-License-Identifier: Apache-2.0
"""Memory models: arithmetic by hand, stall patterns, representations side by side."""

import itertools
import re

import pytest
from xorloom.sim.bandwidth.presets import (
    IDEAL,
    MEMORIES,
    Memory,
    bandwidth_rows,
    baseline_bits,
    memory,
    model_cycles,
)
from xorloom.sw.base.errors import ConfigError


def test_memory_sdr_133_efficiency_by_hand() -> None:
    m = memory("sdr-133")
    assert m.peak_bytes_per_us == 266.0  # 133 MHz, two bytes
    row_ns = 1024 / 266 * 1000  # a row of 1 KiB takes 3849.6 ns, then 36 ns to open the next
    assert m.row_share() == pytest.approx(row_ns / (row_ns + 36))
    assert m.row_share() == pytest.approx(0.990735, abs=1e-6)
    assert m.refresh_share == pytest.approx(1 - 60 / 7812.5)
    assert m.efficiency() == pytest.approx(0.983126, abs=1e-6)
    # 266 * 0.990735 / 8 = 32.942 words of 8 bytes in 100 cycles, 0.768 % of them lost to refresh.
    assert m.words_per_cycle(100.0, 64) == pytest.approx(0.32689, abs=1e-5)


def test_memory_ddr3_1600_efficiency_by_hand() -> None:
    m = memory("ddr3-1600")
    assert m.peak_bytes_per_us == 3200.0
    assert m.row_share() == 1.0, "rows open in other banks meanwhile"
    assert m.row_share(interleaved=False) == pytest.approx(640 / 667.5)  # 2048 B / 3200 MB/s
    assert m.efficiency() == pytest.approx(1 - 260 / 7800)
    assert m.efficiency(interleaved=False) == pytest.approx(640 / 667.5 * (1 - 1 / 30))
    # Four words of 8 bytes would fit a cycle at 100 MHz, the bus takes one; refresh is lost.
    assert m.words_per_cycle(100.0, 64) == pytest.approx(1 - 1 / 30)
    assert m.words_per_cycle(800.0, 64) == pytest.approx(0.5 * (1 - 1 / 30))


def test_memory_without_rows_and_refresh_is_fully_efficient() -> None:
    m = memory("qspi-133")
    assert m.efficiency() == m.efficiency(interleaved=False) == 1.0
    assert m.words_per_cycle(100.0, 32) == pytest.approx(133 * 4 / 32 / 100)


@pytest.mark.parametrize("name", MEMORIES)
def test_memory_figures_are_plausible_and_have_a_source(name: str) -> None:
    m = memory(name)
    assert isinstance(m, Memory)
    assert m.title
    assert re.search(r"data sheet|JESD", m.source)
    assert 0.9 < m.efficiency() <= 1.0
    assert 0 < m.efficiency(interleaved=False) <= m.efficiency()


@pytest.mark.parametrize(
    ("clock", "bus"), list(itertools.product((50.0, 100.0, 250.0), (32, 64, 128)))
)
@pytest.mark.parametrize("name", MEMORIES)
def test_stall_pattern_mean_is_the_models_rate(name: str, clock: float, bus: int) -> None:
    m = memory(name)
    pattern = m.stall_pattern(clock, bus)
    assert set(pattern) <= {".", "x"}
    assert pattern.count(".") / len(pattern) == pytest.approx(
        m.words_per_cycle(clock, bus), rel=0.01
    )
    if m.refresh_every_ns:
        assert len(pattern) == round(m.refresh_every_ns / 1000 * clock)


def test_stall_pattern_opens_with_the_refresh_and_is_even_after_it() -> None:
    pattern = memory("ddr4-2400").stall_pattern(100.0, 64)
    assert pattern == "x" * 35 + "." * 745  # tRFC 350 ns, tREFI 7.8 us
    pattern = memory("sdr-133").stall_pattern(100.0, 64)
    assert pattern.startswith("x" * 6)
    gaps = [len(run) for run in re.findall(r"\.(x+)(?=\.)", pattern)]
    assert set(gaps) <= {1, 2, 3}


def test_model_cycles_is_the_larger_of_memory_and_decoder() -> None:
    fast = model_cycles(words=1000, steps=400)
    assert (fast.memory, fast.decoder, fast.total, fast.limit) == (1000, 400, 1000, "memory")
    slow = model_cycles(words=1000, steps=1001)
    assert (slow.total, slow.limit) == (1001, "decoder")
    half = model_cycles(words=1000, steps=1001, words_per_cycle=0.5)
    assert (half.total, half.limit) == (2000, "memory")
    assert model_cycles(words=10, steps=0, words_per_cycle=1 / 3).memory == 30
    assert model_cycles(words=7, steps=0, words_per_cycle=0.3).memory == 24


def test_memory_ideal_moves_a_word_every_cycle() -> None:
    assert memory("ideal") is IDEAL
    assert IDEAL not in MEMORIES.values(), "tables show real memories"
    for clock, bus in ((50.0, 32), (1000.0, 1024)):
        assert IDEAL.words_per_cycle(clock, bus) == 1.0
        assert set(IDEAL.stall_pattern(clock, bus)) == {"."}


def test_memory_refuses_an_unknown_name() -> None:
    with pytest.raises(ConfigError, match=r"memory must be one of sdr-133, .*spi-50, not 'ddr9'"):
        memory("ddr9")


def test_baseline_bits_by_hand() -> None:
    assert baseline_bits(0.25, 2) == {"fp16": 16.0, "dense": 3.0, "csr-16": 4.5, "bitmask": 1.5}


def test_bandwidth_rows_divide_bandwidth_by_bits() -> None:
    rows = bandwidth_rows(100.0, 64, {"one": 1.0, "four": 4.0})
    assert [row["memory"] for row in rows] == list(MEMORIES)
    for row in rows:
        m = memory(row["memory"])
        assert set(row) == {
            "memory",
            "title",
            "source",
            "peak_mbytes_per_s",
            "efficiency",
            "efficiency_one_bank",
            "bus_mbytes_per_s",
            "mweights_per_s",
        }
        assert row["bus_mbytes_per_s"] == pytest.approx(m.words_per_cycle(100.0, 64) * 800)
        assert row["bus_mbytes_per_s"] <= row["peak_mbytes_per_s"]
        assert row["mweights_per_s"]["one"] == pytest.approx(8 * row["bus_mbytes_per_s"])
        assert row["mweights_per_s"]["four"] == pytest.approx(2 * row["bus_mbytes_per_s"])
