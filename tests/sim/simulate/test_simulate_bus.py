# SPDX-License-Identifier: Apache-2.0
"""Decoder and baselines behind their read master, on the memory model."""

import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xorloom.sim.simulate.packets as packets_module
from xorloom.sim.bench.baselines.config import BaselineConfig
from xorloom.sim.bench.baselines.simulate import simulate_baseline
from xorloom.sim.bench.baselines.streams import BASELINES, encode_baseline
from xorloom.sim.datasets import iid
from xorloom.sim.simulate.bus import BusResult, simulate_bus
from xorloom.sim.simulate.packets import Packet
from xorloom.sw.base.errors import ConfigError, FormatError
from xorloom.sw.memory.weight_stream import join_streams, join_tensor
from xorloom.sw.spec.config import WindowConfig
from xorloom.sw.spec.index_config import BitmapConfig, TrellisConfig
from xorloom.sw.spec.layout import BeatLayout
from xorloom.sw.spec.weight_format import WeightFormat
from xorloom.sw.value.plane import encode_value

from tests.helpers.index_streams import index_stream
from tests.helpers.weight_streams import weight_stream

# Two bits per weight, so that planes matter; one build serves all tests that are not slow.
VALUE = WindowConfig(n_in=32, n_out=128, window=128, shared=64, frame=16, bus_bits=32)
INDEX = BitmapConfig(n_out=64, bus_bits=32)
FORM = WeightFormat(VALUE, 2, INDEX)
STREAMS = ((5, 64), (1, 3), (9, 40))


@cache
def streams() -> list[bytes]:
    """Three descriptors: random streams, two of them in one."""
    parts = [weight_stream(FORM, *shape, seed) for seed, shape in enumerate(STREAMS)]
    return [parts[0] + parts[1], parts[2]]


def decode(data: list[bytes], **how: object) -> BusResult | str:
    return simulate_bus(data, VALUE, [INDEX], planes=2, **how)  # type: ignore[arg-type]


def result(data: list[bytes], **how: object) -> BusResult:
    found = decode(data, **how)
    assert isinstance(found, BusResult), found
    return found


@pytest.mark.build
@pytest.mark.parametrize(("golden", "sink"), [(True, "none"), (False, "bursts")])
def test_bus_decodes_several_descriptors(golden: bool, sink: str) -> None:
    found = result(streams(), golden=golden, sink=sink)
    assert found.beats == found.counters["beats"] == 15
    assert found.weights == 4 * 64 + 64 + 3 + 8 * 64 + 40
    assert found.words == sum(map(len, streams())) // 4
    assert found.counters["streams"] == 3
    assert (found.stall_cycles["output"] > 0) == (sink != "none")


@pytest.mark.build
def test_bus_counts_payload_and_cycles() -> None:
    mask, codes = iid(64 * 200, 0.6, 2, 1)
    data, _, layout = encode_value(mask, codes, 2, VALUE, "row", slices_per_stream=208)
    masks = index_stream(INDEX, mask.size, 1)
    # A bitmap of another mask: the codes are don't cares there, and both models agree on them.
    joined, payload_bits = join_streams(data, masks, FORM)
    found = result([joined])
    assert layout.slices_per_stream == 208
    assert found.payload_bits == payload_bits
    assert found.bus_utilisation == payload_bits / (32 * found.bus_cycles)
    assert found.words <= found.bus_cycles < found.cycles < found.bus_cycles + 40
    # Its opening mark waits for the check of the header.
    assert found.stall_cycles == {"memory": 0, "blocked": 1, "output": 0}
    assert found.bus_utilisation > 0.95, "a short stream: headers and schedule weigh"
    slow = result([joined], memory="sdr-133", clock_mhz=200)
    assert slow.waits["rate"] > slow.words / 3
    assert slow.memory_share < 0.7
    assert slow.bus_utilisation / slow.memory_share == pytest.approx(
        found.bus_utilisation, rel=0.01
    )


@pytest.mark.build
@pytest.mark.parametrize("volume", [False, True])
@pytest.mark.parametrize("what", ["bit", "beat", "user", "keep"])
def test_bus_reports_a_mismatch(what: str, volume: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    packet_of = packets_module.packet_of

    def corrupted(*given: Any, **how: Any) -> tuple[Packet, int]:
        packet, bits = packet_of(*given, **how)
        size = 24
        if what == "bit":
            wrong = bytearray(packet.data)
            wrong[2 * size + 1] ^= 4
            return replace(packet, data=bytes(wrong)), bits
        if what == "beat":
            return replace(packet, data=packet.data[:-size]), bits
        return replace(packet, **{what: 7}), bits

    monkeypatch.setattr(packets_module, "packet_of", corrupted)
    told = decode(streams()[1:], volume=volume)
    assert isinstance(told, str)
    if what == "bit":
        assert told.startswith("stream 0: beat 2 bit 10: expected ")
        assert told.endswith("(1 bits differ)")
    else:
        # 40 weights are five groups of three bytes.
        last = {
            "beat": "beat 7: tuser 128, expected 80",
            "user": "beat 8: tuser 80, expected 7",
            "keep": "beat 8: tkeep 7fff, expected 7",
        }
        assert told == f"stream 0: {last[what]}"


@pytest.mark.build
@pytest.mark.parametrize("volume", [False, True])
def test_bus_reports_the_decoders_fault(volume: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray(streams()[1])
    packet = packets_module.packet_of(bytes(data), FORM, BeatLayout(128, 2))
    data[16] ^= 1  # of the CRC
    monkeypatch.setattr(packets_module, "packet_of", lambda *_, **__: packet)
    told = decode([bytes(data)], volume=volume)
    assert isinstance(told, str)
    assert told.startswith("decoder stopped after 1 starts: CRC, checksum wrong; stream 0: beat 8:")


@pytest.mark.build
@pytest.mark.parametrize("volume", [False, True])
def test_bus_gives_up_a_decoder_that_does_not_end(volume: bool) -> None:
    told = decode(streams()[1:], sink="x", volume=volume)
    assert isinstance(told, str)
    assert re.fullmatch(r"no end after 2\d{4} clocks and 0 beats", told)


def test_bus_refuses_what_is_not_for_the_decoder() -> None:
    other = replace(FORM, value=replace(VALUE, network_seed=1))
    with pytest.raises(FormatError, match="network id must be"):
        decode([weight_stream(other, 2, 64, 1)])
    with pytest.raises(ConfigError, match="memory must be one of"):
        decode(streams(), memory="tape")
    with pytest.raises(ConfigError, match="a baseline is one of dense"):
        simulate_baseline("zip", [], [], BaselineConfig())


@pytest.mark.slow
@pytest.mark.parametrize("name", BASELINES)
def test_bus_baselines_decode_from_memory(name: str) -> None:
    config = BaselineConfig(bus_bits=32, n_out=64, lanes=4)
    weights = [iid(size, 0.8, 1, size) for size in (1000, 64, 5000)]
    streams = [encode_baseline(name, mask, codes, config) for mask, codes in weights]
    found = simulate_baseline(name, streams, weights, config, sink="random")
    assert isinstance(found, BusResult), found
    assert found.beats == found.counters["beats"] == 16 + 1 + 79
    assert found.stall_cycles["output"] > 0
    mask, codes = weights[0]
    wrong = codes ^ (mask & (np.arange(1000) == np.flatnonzero(mask)[5]))
    told = simulate_baseline(name, streams, [(mask, wrong), *weights[1:]], config)
    assert isinstance(told, str)
    assert told.startswith("stream 0: beat ")


@pytest.mark.slow
def test_bus_decodes_a_million_weights_at_the_memorys_pace() -> None:
    value, index = WindowConfig(n_in=32), TrellisConfig(n_in=80)
    mask, codes = iid(1 << 20, 0.9, 1, 5)
    values, _, _ = encode_value(mask, codes, 1, value, "row", slices_per_stream=2048)
    masks = index_stream(index, mask.size, 1)
    joined, _ = join_tensor(values, masks, WeightFormat(value, 1, index))
    for memory in ("ideal", "ddr3-1600"):
        found = simulate_bus([joined], value, [index], memory=memory)
        assert isinstance(found, BusResult), found
        assert found.stall_cycles["blocked"] == found.idle == 0
        assert found.bus_utilisation > 0.99 * found.memory_share


_AGAINST_COCOTB = (
    ("ideal", 100.0, "none"),
    ("ideal", 100.0, "bursts"),
    ("ddr3-1600", 400.0, "slow"),  # refresh, latency, rate
    ("sdr-133", 200.0, "random"),  # rows as well
    ("qspi-133", 25.0, "..x"),  # one command at a time
)


def long_streams() -> list[bytes]:
    """Return descriptors of very different lengths: more than wait in the decoder's queue."""
    shapes = ((70, 64), (1, 3), (9, 40), (2, 1), (30, 7), (1, 64), (20, 33))
    return [weight_stream(FORM, *shape, seed) for seed, shape in enumerate(shapes)]


@pytest.mark.build
@pytest.mark.parametrize(("memory", "clock", "sink"), _AGAINST_COCOTB)
def test_volume_finds_the_figures_of_cocotb(memory: str, clock: float, sink: str) -> None:
    data = long_streams()
    found = [
        decode(data, memory=memory, clock_mhz=clock, sink=sink, volume=volume)
        for volume in (False, True)
    ]
    assert isinstance(found[0], BusResult), found[0]
    assert found[1] == found[0]
    assert set(found[0].waits) == {"latency", "refresh", "row", "rate"}
    assert (memory == "ideal") != any(found[0].waits.values())
    assert (found[0].counters["stalled"] > 0) == (sink != "none")


@pytest.mark.slow
def test_volume_finds_the_figures_of_cocotb_on_a_wide_bus_without_keep() -> None:
    value = WindowConfig(n_in=32, n_out=256, window=256, shared=64, frame=16, bus_bits=128)
    index = TrellisConfig(n_in=80, n_out=256, bus_bits=128)
    data = [weight_stream(WeightFormat(value, 1, index), 60, 200, seed) for seed in (1, 2)]
    found = [
        simulate_bus(data, value, [index], beats="planar", memory="ddr4-2400", volume=volume)
        for volume in (False, True)
    ]
    assert isinstance(found[0], BusResult), found[0]
    assert found[1] == found[0]


def test_volume_refuses_what_it_cannot_do() -> None:
    for how in ({"simulator": "icarus"}, {"waves_to": Path("w.fst")}):
        with pytest.raises(ConfigError, match="runs in verilator, and writes no waveform"):
            simulate_bus(long_streams(), VALUE, [INDEX], planes=2, volume=True, **how)  # type: ignore[arg-type]
