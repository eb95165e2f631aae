# SPDX-License-Identifier: Apache-2.0
"""Value and index decoder together, in Amaranth's simulator and as generated Verilog."""

import random
import re
from typing import Any

import pytest
import xorloom.sim.simulate_index as simulate_module
from amaranth.hdl import Signal
from xorloom.hw.verilog import generate_unit
from xorloom.hw.weight_decoder import WeightDecoder
from xorloom.sim.datasets import iid
from xorloom.sim.simulate import SimulationResult
from xorloom.sim.simulate_index import golden_index, simulate_index, simulate_weights
from xorloom.sw.config import WindowConfig
from xorloom.sw.decoder import bus_words
from xorloom.sw.errors import ConfigError
from xorloom.sw.index_config import BitmapConfig, IndexConfig, TrellisConfig
from xorloom.sw.layout import Header
from xorloom.sw.stream import split_streams
from xorloom.sw.value_plane import encode_value

from .hw_helpers import simulate
from .index_streams import index_stream
from .window_streams import window_stream

VALUE = WindowConfig(n_in=16, n_out=64, window=128, shared=64, frame=16, bus_bits=32)
INDEX: dict[str, tuple[int, IndexConfig]] = {
    "trellis": (1, TrellisConfig(n_in=12, n_out=64, window=8, bus_bits=64)),
    "bitmap_2_planes": (2, BitmapConfig(n_out=32, bus_bits=32)),
    "trellis_3_planes": (3, TrellisConfig(n_in=8, n_out=21, window=8, bus_bits=32)),
}


@pytest.mark.parametrize(
    ("value_pause", "index_pause", "sink", "masked"),
    [(0.0, 0.0, 0.0, True), (0.4, 0.0, 0.3, False), (0.0, 0.7, 0.0, True), (0.3, 0.5, 0.5, True)],
)
@pytest.mark.parametrize("name", INDEX)
def test_weight_decoder_joins_slices_and_masks(
    name: str, value_pause: float, index_pause: float, sink: float, masked: bool
) -> None:
    planes, index = INDEX[name]
    lanes = 64 // planes
    words: tuple[list[int], list[int]] = ([], [])
    expected = []
    for slices, tail in ((12, 64), (1, planes), (20, 64 - 64 % planes)):
        value_data = window_stream(VALUE, 64 * (slices - 1) + tail, slices)
        index_data = index_stream(index, lanes * (slices - 1) + tail // planes, slices)
        words[0].extend(value_data.words)
        words[1].extend(bus_words(index_data, index.bus_bits))
        masks = golden_index(index, index_data)
        for (bits, valid_bits, last), mask in zip(value_data.slices, masks, strict=True):
            if masked:
                bits = sum(bits & 1 << k for k in range(lanes * planes) if mask >> k // planes & 1)
            expected.append((bits, mask, valid_bits, last))
    dut = WeightDecoder(VALUE, index, planes=planes, masked=masked)
    rng = random.Random(3)

    async def bench(ctx: Any, _reset: Signal) -> None:
        ports = (dut.value_i, dut.index_i)
        pauses = (value_pause, index_pause)
        offering = [False, False]
        waiting = None
        got: list[tuple[int, int, int, bool]] = []
        quiet = 0
        for _ in range(3000):
            for k, port in enumerate(ports):
                offering[k] = offering[k] or (bool(words[k]) and rng.random() >= pauses[k])
                ctx.set(port.valid, offering[k])
                ctx.set(port.payload, words[k][0] if words[k] else 0)
            ready = rng.random() >= sink
            ctx.set(dut.o.ready, ready)
            _, _, a, b, offered, item = await ctx.tick().sample(
                dut.value_i.ready, dut.index_i.ready, dut.o.valid, dut.o.payload
            )
            for k, accepts in enumerate((a, b)):
                if offering[k] and accepts:
                    words[k].pop(0)
                    offering[k] = False
            quiet = quiet + 1 if len(got) == len(expected) and not words[0] + words[1] else 0
            if quiet == 20:
                break
            assert waiting is None or (offered and item == waiting)
            waiting = item if offered and not ready else None
            if offered and ready:
                got.append((item.codes, item.mask, item.valid_bits, bool(item.last)))
        assert not words[0]
        assert not words[1]
        assert len(got) == len(expected)
        for number, (one, other) in enumerate(zip(got, expected, strict=True)):
            assert one == other, f"slice {number}"

    simulate(dut, bench)


def test_weight_decoder_needs_as_many_mask_bits_as_weights() -> None:
    with pytest.raises(
        ConfigError, match="index n_out must be 32 for value n_out 64 and planes 2, not 64"
    ):
        WeightDecoder(VALUE, INDEX["trellis"][1], planes=2)
    with pytest.raises(ConfigError, match="planes must be between 1 and 64, not 65"):
        WeightDecoder(VALUE, INDEX["trellis"][1], planes=65)


@pytest.mark.parametrize("unit", ["index", "core"])
def test_generate_unit_makes_index_units(unit: str) -> None:
    config = INDEX["trellis"][1]
    verilog = generate_unit(unit, config)
    assert verilog.name == verilog.manifest["top"] == f"xorloom_trellis_{unit}"
    assert f"module {verilog.name}(" in verilog.text
    assert verilog.manifest["config"] == config.to_dict()
    assert generate_unit(unit, config).text == verilog.text
    with pytest.raises(ConfigError, match="unit must be one of index, core, not 'decoder'"):
        generate_unit("decoder", config)


def test_generate_unit_weights_names_both_configurations() -> None:
    index = INDEX["bitmap_2_planes"][1]
    verilog = generate_unit("weights", VALUE, index=index, planes=2)
    assert verilog.name == "xorloom_bitmap_weights"
    assert verilog.manifest["config"] == VALUE.to_dict() | {"planes": 2, "masked": True}
    assert verilog.manifest["index_config"] == index.to_dict()
    assert verilog.manifest["index_codec"] == "bitmap"
    ports = verilog.manifest["ports"]
    assert ports["m_axis_tdata"] == {"direction": "out", "bits": 96}
    assert ports["s_axis_index_tdata"] == {"direction": "in", "bits": 32}
    raw = generate_unit("weights", VALUE, index=index, planes=2, masked=False)
    assert raw.text != verilog.text
    with pytest.raises(ConfigError, match="unit must be one of decoder, control, network, not 'we"):
        generate_unit("weights", VALUE)


def whole_matrix() -> tuple[WindowConfig, TrellisConfig, list[bytes], list[bytes]]:
    """Value and index streams of 200 k weights, and of a tensor that ends within a slice."""
    value = WindowConfig(n_in=16, n_out=128, window=128, shared=64, frame=16)
    index = TrellisConfig(n_in=32, n_out=128, window=10)
    values: list[bytes] = []
    for size in (128 * 1600, 700):
        data, _, _ = encode_value(*iid(size, 0.9, 1, 5), 1, value, "row")
        values += split_streams(data, value.bus_bytes, "test")
    counts = [Header.unpack(stream, "test").count for stream in values]
    return value, index, values, [index_stream(index, n, k) for k, n in enumerate(counts)]


def test_weight_decoder_verilog_decodes_a_whole_matrix() -> None:
    value, index, values, masks = whole_matrix()
    result = simulate_weights(values, masks, value, index)
    assert isinstance(result, SimulationResult), result
    assert result.bits_checked == 2 * (128 * 1600 + 700)
    words = [sum(map(len, streams)) // 8 for streams in (values, masks)]
    # What follows the last slice in the streams need not have been read.
    assert sum(words) - 6 <= result.words <= sum(words)
    assert result.cycles < 1.02 * max(1606, *words) + 60


@pytest.mark.slow  # a build of most of a minute
def test_index_decoder_verilog_decodes_whole_streams_under_stalls() -> None:
    config = TrellisConfig(n_in=24, n_out=128, classes=4, period=16, minterms=5, window=10)
    streams = [index_stream(config, n, n) for n in (128 * 400, 1, 128 * 33 + 5, 128)]
    for source, sink in (("none", "none"), ("random", "bursts")):
        result = simulate_index(streams, config, source=source, sink=sink)
        assert isinstance(result, SimulationResult), result
        assert result.bits_checked == 128 * 434 + 6


@pytest.mark.parametrize("where", ["bit", "length", "user"])
def test_simulation_reports_a_mismatch(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    planes, index = INDEX["bitmap_2_planes"]
    mask, codes = iid(1000, 0.8, planes, 2)
    data, _, _ = encode_value(mask, codes, planes, VALUE, "row")
    values = split_streams(data, VALUE.bus_bytes, "test")
    bitmap = [index_stream(index, 1000, 1)]
    if where == "bit":
        golden = simulate_module.golden_index

        def corrupted(config: Any, stream: bytes) -> list[int]:
            beats = golden(config, stream)
            beats[3] ^= 1 << 7
            return beats

        monkeypatch.setattr(simulate_module, "golden_index", corrupted)
        told = r"stream 0: beat 3 bit \d+: expected ([01]), got (?!\1)[01] \(\d bits differ\)"
    elif where == "user":
        monkeypatch.setattr(simulate_module, "_live", lambda count, n_out: 4)
        told = "stream 0: tuser 16, expected 4"
    else:
        golden_slices = simulate_module.window_decoder
        monkeypatch.setattr(simulate_module, "window_decoder", lambda *a: golden_slices(*a)[:-1])
        with pytest.raises(ConfigError, match="stream 0: 31 value slices need as many mask beats"):
            simulate_weights(values, bitmap, VALUE, index, planes=planes)
        return
    result = simulate_weights(values, bitmap, VALUE, index, planes=planes)
    assert isinstance(result, str)
    assert re.fullmatch(told, result), result


def test_simulate_weights_needs_pairs_of_streams() -> None:
    index = INDEX["trellis"][1]
    with pytest.raises(ConfigError, match="every value stream needs an index stream"):
        simulate_weights([], [b""], VALUE, index)
