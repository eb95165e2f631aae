# SPDX-License-Identifier: Apache-2.0
"""Block decoder in Amaranth's simulator: odd parameters, and the lane's latency."""

import pytest
from xorloom.hw.block.decoder import BlockDecoder
from xorloom.hw.block.lane import BlockLane
from xorloom.sw.golden.block import block_decoder
from xorloom.sw.golden.bus import bus_words
from xorloom.sw.golden.network import patch_unit, xor_network
from xorloom.sw.model.verify import expected_bytes
from xorloom.sw.spec.config import BlockConfig
from xorloom.sw.spec.taps import columns
from xorloom.sw.value.block import stream

from tests.helpers.rtl import drive, random_slices, random_stream, unit

RTL = [  # in Amaranth's simulator, where a configuration costs a second instead of a build
    BlockConfig(n_in=1, n_out=1, lanes=1, bus_bits=32, block_groups=2),
    BlockConfig(n_in=64, n_out=2, lanes=1, patches_per_cycle=16, bus_bits=32, block_groups=3),
    BlockConfig(n_in=32, n_out=9, lanes=2, patches_per_cycle=1, bus_bits=64, block_groups=4),
    BlockConfig(n_in=5, n_out=16, lanes=7, patches_per_cycle=3, bus_bits=32, block_groups=2),
    BlockConfig(n_in=64, n_out=17, lanes=3, patches_per_cycle=2, bus_bits=64, block_groups=65536),
    BlockConfig(n_in=3, n_out=130, lanes=2, patches_per_cycle=4, bus_bits=128, block_groups=5),
    BlockConfig(n_in=9, n_out=33, lanes=4, patches_per_cycle=1, bus_bits=256, block_groups=7),
    BlockConfig(n_in=16, n_out=6, lanes=5, patches_per_cycle=5, bus_bits=512, block_groups=2),
]


def test_expected_bytes_pads_groups_to_bytes() -> None:
    config = BlockConfig(n_in=3, n_out=5, lanes=1, bus_bits=32, block_groups=2)
    slices = random_slices(config, 3, 1, [0])
    data, _ = stream.pack_block(slices, config)
    cols = columns(config.rows, 3)
    assert expected_bytes(data, config) == bytes(xor_network(cols, int(s)) for s in slices.seeds)


@pytest.mark.long
@pytest.mark.parametrize(("source", "sink"), [(0.0, 0.0), (0.3, 0.5)])
@pytest.mark.parametrize("config", RTL, ids=lambda c: f"{c.n_in}-{c.n_out}-{c.lanes}-{c.bus_bits}")
def test_decoder_rtl_equals_golden_model_on_odd_parameters(
    config: BlockConfig, source: float, sink: float
) -> None:
    counts = [config.lanes * 12 + 1, 1, config.lanes * 4]
    streams = [random_stream(config, n, seed) for seed, n in enumerate(counts)]
    words = [word for data in streams for word in bus_words(data, config.bus_bits)]
    cols = columns(config.rows, config.n_in)
    expected = [block_decoder(config, cols, bus_words(data, config.bus_bits)) for data in streams]
    groups = sum(map(len, expected))
    result = drive(unit(BlockDecoder, config), words, groups, source=source, sink=sink, seed=2)
    finals, lives = [], []
    for item, want in zip(result.items, [g for frame in expected for g in frame], strict=True):
        got = sum(item.slices[j] << (j * config.n_out) for j in range(config.lanes))
        assert got == want
        finals.append(item.final)
        lives.append(item.live)
    assert finals == [int(k == len(frame) - 1) for frame in expected for k in range(len(frame))]
    every = (1 << config.lanes) - 1
    assert lives == [
        every if g < n // config.lanes else (1 << (n % config.lanes)) - 1
        for n in counts
        for g in range(-(-n // config.lanes))
    ]


@pytest.mark.parametrize("stages", [1, 2])
def test_block_lane_latency_and_slices_equal_the_twins(stages: int) -> None:
    config = BlockConfig(n_in=6, n_out=19, lanes=1, patches_per_cycle=1, bus_bits=32)
    lane = BlockLane(config, stages=stages)
    assert lane.latency == stages + 1
    cols = columns(config.rows, config.n_in)
    slices = [(n * 5 % 64, [n % 19]) for n in range(20)]
    slices[4] = (9, [0, 3, 18])
    beats, ends = [], []
    for seed, positions in slices:
        for k, position in enumerate(positions):
            last = k == len(positions) - 1
            beats.append(
                {
                    "seed": 0 if k else seed,
                    "patch": {"positions": [position], "enable": 1, "last": last},
                    "user": {"live": seed & 1, "final": last},
                }
            )
        ends.append(len(beats) - 1)
    result = drive(lane, beats, len(slices))
    assert result.offered_at == [result.in_at[end] + lane.latency for end in ends]
    for item, (seed, positions) in zip(result.items, slices, strict=True):
        assert item.bits == patch_unit(xor_network(cols, seed), positions)
        assert item.user.live == seed & 1
        assert item.user.final == 1
