# SPDX-License-Identifier: Apache-2.0
"""The testbench in C++ against the one in cocotb: every figure is the same."""

from pathlib import Path

import pytest
from xorloom.sim.simulate.bus import BusResult, simulate_bus
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.spec.config import WindowConfig
from xorloom.sw.spec.index_config import TrellisConfig
from xorloom.sw.spec.weight_format import WeightFormat

from tests.helpers.weight_streams import weight_stream
from tests.sim.simulate.test_simulate_bus import FORM, INDEX, VALUE, decode

CASES = (
    ("ideal", 100.0, "none"),
    ("ideal", 100.0, "bursts"),
    ("ddr3-1600", 400.0, "slow"),  # refresh, latency, rate
    ("sdr-133", 200.0, "random"),  # rows as well
    ("qspi-133", 25.0, "..x"),  # one command at a time
)


def long_streams() -> list[bytes]:
    """Descriptors of very different lengths: more than wait in the decoder's queue."""
    shapes = ((70, 64), (1, 3), (9, 40), (2, 1), (30, 7), (1, 64), (20, 33))
    return [weight_stream(FORM, *shape, seed) for seed, shape in enumerate(shapes)]


@pytest.mark.build
@pytest.mark.parametrize(("memory", "clock", "sink"), CASES)
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
