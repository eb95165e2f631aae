# SPDX-License-Identifier: Apache-2.0
"""Index decoders, reader and core, against the golden models."""

import random
from itertools import product
from typing import Any

import pytest
from amaranth.hdl import Signal
from xorloom.hw.index.decoder import IndexDecoder
from xorloom.hw.index.reader import IndexReader
from xorloom.hw.lib.countdown import Countdown
from xorloom.hw.lib.slice_pipe import PIPELINES
from xorloom.sim.simulate.index import golden_index
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.golden.bus import bus_words
from xorloom.sw.spec.config import WindowConfig
from xorloom.sw.spec.hashed import HashedConfig
from xorloom.sw.spec.index_config import (
    BitmapConfig,
    EntropyConfig,
    IndexConfig,
    LowrankConfig,
    NoneConfig,
    TrellisConfig,
)

from tests.helpers.index_streams import index_stream
from tests.helpers.rtl import StreamRun, drive, simulate, unit

TRELLIS = TrellisConfig(n_in=12, n_out=64, window=8, bus_bits=32)
CONFIGS: dict[str, IndexConfig] = {
    "bitmap": BitmapConfig(n_out=64, bus_bits=32),
    "bitmap_wide_bus": BitmapConfig(n_out=64, bus_bits=512),
    "bitmap_odd": BitmapConfig(n_out=50, bus_bits=64),
    "entropy": EntropyConfig(n_out=64, lanes=4, bus_bits=32),
    "lowrank": LowrankConfig(n_out=40, tile_slices=4, tile_lanes=7, rank=2, bus_bits=64),
    "hashed": HashedConfig(n_out=50, threshold=77, bus_bits=32),
    "hashed_wide_bus": HashedConfig(n_out=30, threshold=192, bus_bits=512, network_seed=1),
    "none": NoneConfig(n_out=50, bus_bits=32),
    "trellis": TRELLIS,
    "trellis_odd": TrellisConfig(n_in=11, n_out=50, window=9, bus_bits=64),
    "trellis_wide_bus": TrellisConfig(n_in=5, n_out=24, window=10, bus_bits=256),
    "trellis_classes": TrellisConfig(
        n_in=16, n_out=40, window=8, classes=4, period=16, bus_bits=64
    ),
}


def decode(
    config: IndexConfig, counts: list[int], pipeline: str = PIPELINES[0], **stalls: Any
) -> StreamRun:
    """Run streams back to back; compare all beats."""
    streams = [index_stream(config, count, seed) for seed, count in enumerate(counts)]
    words = [word for data in streams for word in bus_words(data, config.bus_bits)]
    beats = [golden_index(config, data) for data in streams]
    run = drive(
        unit(IndexDecoder, config, pipeline=pipeline), words, sum(map(len, beats)), **stalls
    )
    items = iter(run.items)
    for number, (count, masks) in enumerate(zip(counts, beats, strict=True)):
        for beat, mask in enumerate(masks):
            item = next(items)
            live = min(config.n_out, count - beat * config.n_out)
            where = f"stream {number} beat {beat}"
            assert (item.mask ^ mask) & ((1 << live) - 1) == 0, where
            assert item.last == (beat == len(masks) - 1), where
    return run


@pytest.mark.parametrize("name", [name for name in CONFIGS if name.startswith("trellis")])
def test_small_index_decoder_equals_golden_model_under_stalls(name: str) -> None:
    config = CONFIGS[name]
    n = config.n_out
    counts = [12 * n, 1, 0, n, 0, 3 * n + 1, n - 1, 17 * n]
    decode(config, counts, pipeline="small", source=0.3, sink=0.3)


STALLS = [(0.0, 0.0), (0.4, 0.4), (0.5, 0.0), (0.0, 0.5)]
CODECS = ["bitmap", "entropy", "lowrank", "hashed", "none", "trellis", "trellis_classes"]
QUICK = {*product(CONFIGS, [(0.4, 0.4)]), *product(CODECS, [(0.0, 0.0)])}
"""All under stalls, every codec at full rate."""


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "source", "sink"),
    [
        pytest.param(name, *stalls, marks=[pytest.mark.slow] * ((name, stalls) not in QUICK))
        for name, stalls in product(CONFIGS, STALLS)
    ],
)
def test_index_decoder_equals_golden_model_under_stalls(
    name: str, source: float, sink: float
) -> None:
    config = CONFIGS[name]
    n = config.n_out
    decode(config, [12 * n, 1, 0, n, 0, 0, 3 * n + 1, n - 1, 17 * n], source=source, sink=sink)


def test_index_decoder_makes_a_beat_per_cycle() -> None:
    config = TrellisConfig(n_in=12, n_out=64, window=8, bus_bits=64)
    for beats in (10, 60):
        run = decode(config, [beats * 64])
        assert run.out_at[-1] - run.out_at[0] == beats - 1


def test_index_decoder_passes_a_few_cycles_between_streams() -> None:
    run = decode(TRELLIS, [640, 640, 640])
    assert run.out_at[10] - run.out_at[9] < 25


def test_index_decoder_of_a_value_codec_is_an_error() -> None:
    text = "index codec must be one of bitmap, entropy, hashed, lowrank, none, trellis, not window"
    with pytest.raises(ConfigError, match=text):
        IndexDecoder(WindowConfig())


def test_index_decoder_survives_a_wrong_header() -> None:
    """Too short a payload is filled up with zeros, too long a one dropped: no hang."""
    config = TRELLIS
    good = index_stream(config, 640)
    words = bus_words(good, 32)
    short = [*words[:3], 1, words[4], words[-1]]
    long = [*words[:3], words[3] + 5, *words[4:-1], *words[:5], words[-1]]
    expected = golden_index(config, good)
    run = drive(
        unit(IndexDecoder, config, pipeline=PIPELINES[0]), [*short, *long, *words], 30, sink=0.3
    )
    assert [item.mask for item in run.items[10:]] == expected * 2
    assert [item.last for item in run.items] == ([0] * 9 + [1]) * 3
    assert run.items[0].mask == expected[0]


@pytest.mark.parametrize("bus", [32, 64, 128, 512])
def test_index_reader_hands_on_words_and_clears(bus: int) -> None:
    """Without chunks: a packet's words, then zeros until the beats are made."""
    reader = IndexReader(bus_bits=bus, unit=10, drain_cycles=2)
    rng = random.Random(bus)

    async def bench(ctx: Any, _reset: Signal) -> None:
        for count in (95, 30, 1, 0, 41):
            words = [rng.getrandbits(bus) for _ in range(-(-count // bus))]
            left = [(count << 32 % bus, 1), *((word, 0) for word in words), (0, 1)]
            got: list[int] = []
            beats, cleared, fills = -(-count // 10), 0, 0
            ctx.set(reader.offered, 0)
            for _ in range(400):
                ctx.set(reader.i.valid, bool(left) and rng.random() < 0.7)
                data, mark = left[0] if left else (0, 0)
                ctx.set(reader.i.payload, {"data": data, "mark": mark})
                ctx.set(reader.o.ready, rng.random() < 0.5)
                enough = len(got) == len(words) and fills > 2
                take = ctx.get(reader.live) and enough
                ctx.set(reader.taken, take)
                last = ctx.get(reader.last)
                item = ctx.get(reader.o.payload)
                if ctx.get(reader.o.valid) and ctx.get(reader.o.ready):
                    if len(got) < len(words):
                        got.append(item)
                    else:
                        assert item == 0
                        fills += 1
                if ctx.get(reader.i.valid) and ctx.get(reader.i.ready):
                    left.pop(0)
                if take:
                    beats -= 1
                    assert last == (beats == 0)
                cleared = ctx.get(reader.clear)
                assert not (cleared and ctx.get(reader.live))
                await ctx.tick()
                if cleared:
                    break
            assert cleared
            assert beats == 0
            assert not left
            assert got == words

    simulate(reader, bench)


@pytest.mark.parametrize("unit", [1, 7, 512, 384, 20])
def test_countdown_tells_the_last_step(unit: int) -> None:
    dut = Countdown(unit=unit)

    async def bench(ctx: Any, _reset: Signal) -> None:
        for count in (0, 1, unit - 1, unit, unit + 1, 5 * unit, (1 << 32) - 1):
            ctx.set(dut.count, count)
            ctx.set(dut.load, 1)
            await ctx.tick().repeat(2)
            ctx.set(dut.start, 1)
            await ctx.tick()
            ctx.set(dut.load, 0)
            ctx.set(dut.start, 0)
            await ctx.tick().repeat(2)
            assert ctx.get(dut.none) == (count == 0)
            for step in range(min(9, -(-count // unit))):
                left = count - step * unit
                assert ctx.get(dut.last) == (left <= unit)
                assert not ctx.get(dut.last) or ctx.get(dut.rest) == left
                ctx.set(dut.step, 1)
                await ctx.tick()
                ctx.set(dut.step, 0)
                if step % 2:
                    await ctx.tick()

    simulate(dut, bench)
