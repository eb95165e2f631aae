# SPDX-License-Identifier: Apache-2.0
"""Trellis decoder RTL against its twin. Any bits are a stream, so random ones do."""

import random
from typing import Any

import pytest
from amaranth.hdl import Signal
from xorloom.hw.index.decoder import ordinary_core
from xorloom.hw.lib.slice_pipe import PIPELINES
from xorloom.sw.golden.index.trellis import trellis_mask
from xorloom.sw.spec.index_config import TrellisConfig

from tests.helpers.rtl import drive, simulate, unit

CONFIGS = {
    "fixed": TrellisConfig(n_in=7, n_out=40, window=8),
    "one_seed_bit": TrellisConfig(n_in=1, n_out=8, window=10, minterms=9),
    "as_many_seeds_as_bits": TrellisConfig(n_in=16, n_out=16, window=6),
    "classes": TrellisConfig(n_in=7, n_out=40, window=8, minterms=5, classes=4, period=16),
    "classes_in_two_chunks": TrellisConfig(n_in=8, n_out=8, window=6, classes=4, period=17),
}


def chunks_and_masks(config: TrellisConfig, beats: int, seed: int) -> tuple[list[int], list[int]]:
    """Return random chunks of a stream, those with classes among them, and its masks."""
    rng = random.Random(seed)
    chunks, masks = [], []
    seeds, classes = 0, [0] * config.n_out
    for beat in range(beats):
        if config.classes > 1 and beat % config.period == 0:
            field = [rng.getrandbits(config.n_in) for _ in range(config.class_chunks)]
            bits = [chunk >> k & 1 for chunk in field for k in range(config.n_in)]
            classes = [bits[2 * j] + 2 * bits[2 * j + 1] for j in range(config.n_out)]
            chunks += field
        chunks.append(rng.getrandbits(config.n_in))
        seeds = seeds >> config.n_in | chunks[-1] << (config.window - 1)
        masks.append(trellis_mask(config, seeds, classes))
    return chunks, masks


@pytest.mark.parametrize(
    ("source", "sink"), [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.4, 0.4), (0.1, 0.9)]
)
@pytest.mark.parametrize("pipeline", PIPELINES)
@pytest.mark.parametrize("name", CONFIGS)
def test_index_trellis_equals_its_twin_under_stalls(
    name: str, pipeline: str, source: float, sink: float
) -> None:
    config = CONFIGS[name]
    chunks, masks = chunks_and_masks(config, 60, 3)
    dut = unit(ordinary_core, config, pipeline=pipeline)
    run = drive(dut, chunks, len(masks), source=source, sink=sink)
    assert run.items == masks


@pytest.mark.parametrize("pipeline", PIPELINES)
@pytest.mark.parametrize("name", CONFIGS)
def test_index_trellis_takes_a_chunk_per_cycle_with_its_latency(name: str, pipeline: str) -> None:
    config = CONFIGS[name]
    core = unit(ordinary_core, config, pipeline=pipeline)
    assert core.latency == {"fast": 5, "small": 4}[pipeline]
    chunks, masks = chunks_and_masks(config, 60, 4)
    run = drive(core, chunks, len(masks))
    assert run.in_at == list(range(run.in_at[0], run.in_at[0] + len(chunks)))
    span = config.class_chunks + config.period
    beats = [k for k in range(len(chunks)) if k % span >= config.class_chunks]
    assert run.out_at == [run.in_at[k] + core.latency for k in beats]


@pytest.mark.parametrize("how", ["clear", "reset"])
@pytest.mark.parametrize("pipeline", PIPELINES)
@pytest.mark.parametrize("name", CONFIGS)
def test_index_trellis_starts_anew_after(name: str, pipeline: str, how: str) -> None:
    config = CONFIGS[name]
    dut = unit(ordinary_core, config, pipeline=pipeline)

    async def bench(ctx: Any, reset: Signal) -> None:
        rng = random.Random(7)
        for beats in (3, 20, 1, 17, 18):
            chunks, masks = chunks_and_masks(config, beats, beats)
            seen: list[int] = []
            ctx.set(dut.o.ready, 1)
            while len(seen) < len(masks):
                ctx.set(dut.i.valid, bool(chunks))
                ctx.set(dut.i.payload, chunks[0] if chunks else rng.getrandbits(config.n_in))
                _, _, accepts, offered, mask = await ctx.tick().sample(
                    dut.i.ready, dut.o.valid, dut.o.payload
                )
                if offered:
                    seen.append(mask)
                if chunks and accepts:
                    chunks.pop(0)
            assert seen == masks
            if how == "reset":  # for one cycle, in the middle of a stream
                for _ in range(rng.randrange(1, 9)):
                    ctx.set(dut.i.valid, 1)
                    ctx.set(dut.i.payload, rng.getrandbits(config.n_in))
                    ctx.set(dut.o.ready, rng.getrandbits(1))
                    await ctx.tick()
                ctx.set(reset, 1)
                await ctx.tick()
                ctx.set(reset, 0)
            else:
                ctx.set(dut.i.valid, 0)
                ctx.set(dut.clear, 1)
                await ctx.tick()
                ctx.set(dut.clear, 0)

    simulate(dut, bench)
