# SPDX-License-Identifier: Apache-2.0
"""The index decoder as generated Verilog, and what its simulation reports."""

import re
from typing import Any

import pytest
import xorloom.sim.simulate.index as simulate_module
from xorloom.hw.units import generate_unit
from xorloom.sim.simulate.index import index_steps, simulate_index
from xorloom.sim.simulate.result import SimulationResult
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.spec.index_config import BitmapConfig, EntropyConfig, TrellisConfig

from tests.helpers.index_streams import index_stream

TRELLIS = TrellisConfig(n_in=12, n_out=64, window=8, bus_bits=64)
BITMAP = BitmapConfig(n_out=32, bus_bits=32)


@pytest.mark.parametrize("unit", ["index", "core"])
def test_generate_unit_makes_index_units(unit: str) -> None:
    verilog = generate_unit(unit, TRELLIS)
    assert verilog.name == verilog.manifest["top"] == f"xorloom_trellis_{unit}"
    assert f"module {verilog.name} (\n" in verilog.text
    assert verilog.manifest["config"] == TRELLIS.to_dict() | {"pipeline": "fast"}
    assert generate_unit(unit, TRELLIS).text == verilog.text
    with pytest.raises(ConfigError, match="unit must be one of index, core, not 'decoder'"):
        generate_unit("decoder", TRELLIS)


@pytest.mark.build
def test_simulate_index_decodes_streams_back_to_back() -> None:
    streams = [index_stream(BITMAP, n, n) for n in (1000, 1, 32)]
    result = simulate_index(streams, BITMAP, sink="bursts")
    assert isinstance(result, SimulationResult), result
    assert result.bits_checked == 1033
    assert sum(map(len, streams)) // 4 - 3 <= result.words <= sum(map(len, streams)) // 4


@pytest.mark.build
@pytest.mark.parametrize("where", ["bit", "length"])
def test_simulate_index_reports_a_mismatch(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    golden = simulate_module.golden_index

    def corrupted(config: Any, stream: bytes) -> list[int]:
        beats = golden(config, stream)
        if where == "length":
            return beats[:-1]
        beats[3] ^= 1 << 7
        return beats

    monkeypatch.setattr(simulate_module, "golden_index", corrupted)
    told = {
        "bit": r"stream 0: beat 3 bit 7: expected ([01]), got (?!\1)[01] \(1 bits differ\)",
        "length": "stream 0: packet of 128 bytes, expected 124",
    }[where]
    result = simulate_index([index_stream(BITMAP, 1000, 1)], BITMAP)
    assert isinstance(result, str)
    assert re.fullmatch(told, result), result


def test_index_steps_count_class_chunks_and_symbols() -> None:
    classes = TrellisConfig(n_in=24, n_out=128, classes=4, period=16, minterms=5, window=10)
    assert index_steps(BITMAP, 10) == index_steps(TRELLIS, 10) == 10
    assert index_steps(classes, 33) == 33 + 3 * classes.class_chunks
    entropy = EntropyConfig()
    assert index_steps(entropy, 8 * entropy.lanes) == 2 * entropy.n_out


@pytest.mark.slow  # a build of most of a minute
def test_index_decoder_verilog_decodes_whole_streams_under_stalls() -> None:
    config = TrellisConfig(n_in=24, n_out=128, classes=4, period=16, minterms=5, window=10)
    streams = [index_stream(config, n, n) for n in (128 * 400, 1, 128 * 33 + 5, 128)]
    for source, sink in (("none", "none"), ("random", "bursts")):
        result = simulate_index(streams, config, source=source, sink=sink)
        assert isinstance(result, SimulationResult), result
        assert result.bits_checked == 128 * 434 + 6
