# SPDX-License-Identifier: Apache-2.0
"""Generated direct decoders in the simulator: a whole layer, a beat per cycle, bit-exact."""

import pytest
from xorloom.sim.datasets import iid_seeds
from xorloom.sim.simulate.decoder import simulate_streams
from xorloom.sim.simulate.result import SimulationResult
from xorloom.sw.bits.framing import split_streams
from xorloom.sw.spec.direct import DirectConfig
from xorloom.sw.value.plane import pack_value

LAYER = [384 * 384] * 4 + [384 * 1536] * 2
"""Weights of the six matrices of an encoder layer of MiniLM-L6."""


def run(config: DirectConfig, sizes: list[int], **how: str) -> SimulationResult:
    """Decode tensors of random seeds; every bit is compared with the golden model's."""
    streams: list[bytes] = []
    for number, size in enumerate(sizes):
        data, _, _ = pack_value(iid_seeds(size, config, number), config)
        streams += split_streams(data, config.bus_bytes, "seeds")
    result = simulate_streams(streams, config, **how)
    assert isinstance(result, SimulationResult), result
    return result


@pytest.mark.slow
def test_direct_decoder_makes_a_beat_per_cycle_on_a_whole_minilm_layer() -> None:
    config = DirectConfig(n_in=256, n_out=384, planes=3, window=8, taps=3, bus_bits=256)
    result = run(config, LAYER)
    beats = sum(LAYER) // config.lanes
    # Of a stream, header, levels and CRC are a word each, and two cycles are idle.
    assert result.words == beats + 3 * len(LAYER)
    assert result.cycles <= result.words + 2 * len(LAYER) + 8
    assert result.bus_utilisation >= 0.998


@pytest.mark.slow
@pytest.mark.parametrize("bus", [32, 64])
def test_direct_decoder_in_the_simulator_equals_golden_model_under_stalls(bus: int) -> None:
    config = DirectConfig(n_in=40, n_out=60, planes=3, window=7, bus_bits=bus)
    run(config, [20_011, 1, 40], source="random", sink="bursts")
