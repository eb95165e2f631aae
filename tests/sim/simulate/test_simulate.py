# SPDX-License-Identifier: Apache-2.0
"""What a simulation is given and what it reports: cases, mismatches, memories, waveforms."""

import contextlib
import re
from pathlib import Path
from typing import Any

import pytest
from xorloom.sim.simulate import decoder as simulate_module
from xorloom.sim.simulate.cases import iid_case
from xorloom.sim.simulate.decoder import simulate_case, simulate_streams
from xorloom.sim.simulate.result import SimulationResult
from xorloom.sim.testbenches.decoder import first_mismatch
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.model.verify import expected_bytes
from xorloom.sw.spec.config import BlockConfig

from tests.helpers.rtl import random_stream

DEFAULT = BlockConfig()
BUS_32 = BlockConfig(
    n_in=7, n_out=41, lanes=2, patches_per_cycle=2, bus_bits=32, block_groups=2, network_seed=5
)


def run(streams: list[bytes], config: BlockConfig, **how: Any) -> SimulationResult:
    """Simulate; fail with the mismatch; check the counters that follow from the streams."""
    result = simulate_streams(streams, config, **how)
    assert isinstance(result, SimulationResult), result
    if "reset_after" not in how:  # which adds the words before the reset
        assert result.words == sum(len(data) // config.bus_bytes for data in streams)
    assert result.cycles >= result.words
    return result


@pytest.mark.build
def test_decoder_keeps_up_with_a_memory() -> None:
    case = iid_case(0.91, 200_000, 1, DEFAULT, search=False)
    row = simulate_case(case, memory_name="sdr-133", clock_mhz=100.0)
    assert row["bit_exact"]
    assert row["model_limit"] == "memory"
    assert 0.97 < row["cycles_to_model"] < 1.04
    assert row["memory"] == "sdr-133"


@pytest.mark.build
def test_simulate_streams_reports_where_a_bit_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    group, lane, bit = 5, 1, 33
    original = expected_bytes

    def corrupted(data: bytes, config: BlockConfig) -> bytes:
        wrong = bytearray(original(data, config))
        at = group * -(-config.lanes * config.n_out // 8) * 8 + lane * config.n_out + bit
        wrong[at // 8] ^= 1 << (at % 8)
        return bytes(wrong)

    monkeypatch.setattr(simulate_module, "expected_bytes", corrupted)
    result = simulate_streams([random_stream(BUS_32, 30, 1)], BUS_32)
    assert isinstance(result, str)
    assert re.fullmatch(
        r"stream 0: beat 5 lane 1 slice bit 33: expected ([01]), got (?!\1)[01] "
        r"\(1 bytes differ\)",
        result,
    )
    case = iid_case(0.8, 2_000, 1, BUS_32, search=False)
    row = simulate_case(case)
    assert row["bit_exact"] is False
    assert row["mismatch"].startswith("stream 0: beat 5 lane 1 slice bit 33: ")


@pytest.mark.build
def test_simulate_streams_reports_a_packet_of_another_length(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = expected_bytes
    monkeypatch.setattr(simulate_module, "expected_bytes", lambda *a: original(*a) + b"\0" * 11)
    result = simulate_streams([random_stream(BUS_32, 4, 1)], BUS_32)
    assert result == "stream 0: packet of 22 bytes, expected 33"


def test_first_mismatch_counts_from_bit_zero_of_lane_zero() -> None:
    # 10 bits per slice, 2 lanes: 3 bytes per group; bit 13 of group 1 is bit 3 of lane 1.
    want = bytes([1, 2, 3, 4, 5, 6])
    got = bytes([1, 2, 3, 4, 5 ^ 0x20, 7])
    assert first_mismatch(got, want, 10, 3) == (
        "beat 1 lane 1 slice bit 3: expected 0, got 1 (2 bytes differ)"
    )
    assert first_mismatch(want, want, 10, 3) is None


@pytest.mark.build
def test_simulate_streams_writes_a_waveform_on_request(tmp_path: Path) -> None:
    waves = tmp_path / "made" / "dump.vcd"
    run([random_stream(BUS_32, 5, 1)], BUS_32, waves_to=waves)
    text = waves.read_text()
    assert "$enddefinitions" in text
    assert "s_axis_tdata" in text
    assert text.count("\n#") > 20, "clock edges"


@pytest.mark.build
def test_simulate_streams_waveform_is_what_its_name_says(tmp_path: Path) -> None:
    waves = tmp_path / "dump.fst"
    with contextlib.suppress(ConfigError):  # refusing the ending would do as well
        run([random_stream(BUS_32, 5, 1)], BUS_32, waves_to=waves)
        assert waves.read_bytes()[:1] == b"\0", "an FST file opens with block type 0"


def test_iid_case_searches_the_slice_length_on_request() -> None:
    case = iid_case(0.8, 4_000, 2, BlockConfig(n_in=8, lanes=2), search=True)
    assert case.weights == 4_000
    assert case.config.n_out != BlockConfig.n_out
    assert case.slices == 2 * -(-4_000 // case.config.n_out)
    assert case.words == len(case.streams[0]) // 8


def test_iid_case_refuses_bad_arguments() -> None:
    with pytest.raises(ConfigError, match=r"sparsity must be in \[0, 1\), not 1.0"):
        iid_case(1.0, 10, 1, DEFAULT, search=False)
    with pytest.raises(ConfigError, match="weights must be at least 1, not 0"):
        iid_case(0.5, 0, 1, DEFAULT, search=False)


def test_simulate_case_refuses_memory_and_pattern_together() -> None:
    case = iid_case(0.5, 10, 1, DEFAULT, search=False)
    with pytest.raises(ConfigError, match="give either a memory or a source pattern"):
        simulate_case(case, memory_name="sdr-133", source="random")
    with pytest.raises(ConfigError, match=r"memory must be one of sdr-133, .*, not 'ddr9'"):
        simulate_case(case, memory_name="ddr9")
    with pytest.raises(ConfigError, match="simulator must be one of verilator, icarus, not 'vcs'"):
        simulate_case(case, simulator="vcs")


@pytest.mark.parametrize("pattern", ["sometimes", "", "xxx"])
@pytest.mark.parametrize("side", ["source", "sink"])
def test_simulate_case_refuses_an_unknown_or_endless_pattern(
    side: str, pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_reached(*_args: object, **_options: object) -> SimulationResult:
        pytest.fail(f"pattern {pattern!r} reached the simulator")

    monkeypatch.setattr(simulate_module, "build", not_reached)
    case = iid_case(0.5, 10, 1, BUS_32, search=False)
    with pytest.raises(ConfigError, match=r"pattern|source|sink"):
        simulate_case(case, **{side: pattern})


@pytest.mark.parametrize("clock", [0.0, -5.0])
def test_simulate_case_refuses_an_impossible_clock(
    clock: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulate_module, "build", lambda *a, **k: pytest.fail("not refused"))
    case = iid_case(0.5, 10, 1, BUS_32, search=False)
    with pytest.raises(ConfigError, match="clock"):
        simulate_case(case, memory_name="sdr-133", clock_mhz=clock)
