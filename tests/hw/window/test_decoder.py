# SPDX-License-Identifier: Apache-2.0
"""Window decoder RTL against the golden model."""

from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from amaranth.hdl import Signal
from xorloom.hw.lib.slice_pipe import PIPELINES
from xorloom.hw.window.decoder import WindowDecoder, WindowUnit
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.golden.window import window_control
from xorloom.sw.spec.config import WindowConfig

from tests.helpers.rtl import StreamRun, drive, simulate, unit
from tests.helpers.window_streams import WindowStream, header_words, window_stream

RUNS = [
    ("fast", 0.0, 0.0),
    ("fast", 0.4, 0.4),
    pytest.param("fast", 0.5, 0.0, marks=pytest.mark.slow),
    pytest.param("fast", 0.0, 0.5, marks=pytest.mark.slow),
    pytest.param("small", 0.4, 0.4, marks=pytest.mark.long),
    # Without stalls it makes one step per cycle, see below.
    pytest.param("small", 0.0, 0.0, marks=pytest.mark.slow),
    pytest.param("small", 0.5, 0.0, marks=pytest.mark.slow),
    pytest.param("small", 0.0, 0.5, marks=pytest.mark.slow),
]
"""Pipelines, and shares of clocks in which source and sink pause."""


def small(**changes: int) -> WindowConfig:
    values = {"n_in": 16, "n_out": 64, "window": 128, "shared": 64, "frame": 16, "bus_bits": 32}
    return WindowConfig(**(values | changes))


CONFIGS = {
    "n_in_half_of_bus": small(),
    "n_in_eighth_of_bus": small(bus_bits=128),
    "n_in_1_64th_of_bus": small(n_in=8, bus_bits=512),
    "n_in_is_bus": small(n_in=32),
    "n_in_is_wide_bus": small(n_in=128, bus_bits=128, window=256),
    "n_in_2_words": small(n_in=64),
    "n_in_4_words": small(n_in=128, window=256),
    "n_in_8_words": small(n_in=256, window=512),
    "rate_shift": small(n_in=8, frame=64),
    "window_of_one_chunk": small(n_in=64, window=64, shared=32, bus_bits=64),
    "patches": small(patches=1, n_in=32),
    "patches_half_of_bus": small(patches=1, n_in=32, bus_bits=64),
    "patches_2_words": small(patches=1, n_in=64),
    "patches_long_frame": small(patches=1, n_in=64, frame=64, n_out=320, bus_bits=64),
    "slices_of_192": small(n_out=192, window=256),
    "direct": small(own_taps=7, shared_taps=0, shared=0),
    "many_taps": small(own_taps=9, shared_taps=2, shared=32, parity_taps=7),
}


def golden_slices(config: WindowConfig, stream: WindowStream) -> list[tuple[int, int]]:
    """Return (number, steps made so far) of every slice."""
    tape = list(stream.words)
    head = len(header_words(config, 0, 0))
    seen = []
    steps = 0
    chunks = [
        word >> at & ((1 << config.n_in) - 1)
        for word in tape[head:]
        for at in range(0, config.bus_bits, config.n_in)
    ]
    windows = window_control(config, tape)
    mask = (1 << config.window) - 1
    window = 0
    for number, (expected, _) in enumerate(windows):
        while True:
            window = (window >> config.n_in | chunks[steps] << (config.window - config.n_in)) & mask
            steps += 1
            if window == expected:
                break
        seen.append((number, steps))
    return seen


def golden_steps(config: WindowConfig, stream: WindowStream) -> int:
    """Return the steps of a stream."""
    return golden_slices(config, stream)[-1][1]


def decode(
    config: WindowConfig, streams: list[WindowStream], *, pipeline: str = "fast", **stalls: Any
) -> StreamRun:
    """Run streams back to back; compare all slices."""
    words = [word for stream in streams for word in stream.words]
    expected = [item for stream in streams for item in stream.slices]
    run = drive(unit(WindowDecoder, config, pipeline=pipeline), words, len(expected), **stalls)
    for number, (item, (bits, valid_bits, last)) in enumerate(
        zip(run.items, expected, strict=True)
    ):
        where = f"slice {number}"
        assert (item.valid_bits, item.last) == (valid_bits, last), where
        wrong = item.bits ^ bits
        assert not wrong, f"{where}: wrong bits {wrong:x}"
    return run


@pytest.mark.parametrize(("pipeline", "source", "sink"), RUNS)
@pytest.mark.parametrize("name", CONFIGS)
def test_window_decoder_equals_golden_model_under_stalls(
    name: str, pipeline: str, source: float, sink: float
) -> None:
    config = CONFIGS[name]
    slices = 2 * config.frame + 8  # the third frame begins
    counts = (slices * config.n_out - 1, 1, 0, 0, config.n_out, 3 * config.n_out + 64, 65)
    streams = [window_stream(config, count, seed) for seed, count in enumerate(counts, 1)]
    if config.patches:
        frames = Counter(number // config.frame for number in streams[0].patched)
        assert len(frames) >= 2, "no frame but the first has patches"
        assert max(frames.values()) >= 2, "no chain of patches in a frame"
        if config.frame == 16:
            gaps = {b - a for a, b in pairwise(streams[0].patched)}
            assert 1 in gaps, "no two neighbours have patches"
    decode(config, streams, pipeline=pipeline, source=source, sink=sink)


@pytest.mark.parametrize("name", ["n_in_is_bus", "n_in_is_wide_bus", "n_in_half_of_bus", "patches"])
@pytest.mark.parametrize("pipeline", PIPELINES)
def test_window_decoder_makes_one_step_per_cycle(pipeline: str, name: str) -> None:
    config = CONFIGS[name]
    overheads = set()
    for count in (20, 50):
        stream = window_stream(config, count * config.n_out, count, slow=2)
        run = decode(config, [stream], pipeline=pipeline)
        payload = run.out_at[-1] - run.in_at[len(header_words(config, 0, 0)) - 1]
        # The steps that the golden model makes, not the chunks that fill the last word.
        overheads.add(payload - golden_steps(config, stream))
        if config.n_in == config.bus_bits:
            first = len(header_words(config, 0, 0))
            entered = run.in_at[first : first + golden_steps(config, stream)]
            assert entered[-1] - entered[0] == len(entered) - 1
    assert len(overheads) == 1, f"cycles - steps: {overheads}"


@pytest.mark.parametrize("name", ["n_in_is_bus", "patches"])
@pytest.mark.parametrize("deframed", [False, True])
@pytest.mark.parametrize("pipeline", PIPELINES)
def test_window_decoder_latency_is_what_it_says(pipeline: str, name: str, deframed: bool) -> None:
    config = CONFIGS[name]
    assert config.n_in == config.bus_bits
    stream = window_stream(config, 30 * config.n_out, 7)
    head = len(header_words(config, 0, 0))
    if deframed:
        dut = unit(WindowDecoder, config, pipeline=pipeline)
        run = drive(dut, stream.words, 30)
    else:
        dut = unit(WindowUnit, config, pipeline=pipeline)
        count = {"data": 30 * config.n_out << 32 % config.bus_bits, "mark": 1}
        words = [{"data": word, "mark": 0} for word in stream.words[head:-1]]
        run = drive(dut, [count, *words, {"data": 0, "mark": 1}], 30)
        head = 1
    # The chunk after the last one of a slice is in the word register for one cycle and moves the
    # slice out; before that it is in the deframer for one.
    for (_, step), offered in zip(golden_slices(config, stream), run.out_at, strict=True):
        assert offered - run.in_at[head + step] == 1 + deframed + dut.latency


def test_window_decoder_gives_a_slice_per_cycle_at_rate_zero() -> None:
    config = small(n_in=32)
    chunks = config.preload_steps + 40
    words = [*header_words(config, 40 * 64, chunks), *[0x5A5A0000] * chunks, 0]
    run = drive(unit(WindowDecoder, config, pipeline="fast"), words, 40)
    assert [b - a for a, b in pairwise(run.out_at)] == [1] * 39


@pytest.mark.long
@pytest.mark.parametrize(
    "name",
    # Under stalls the streams come one after the other, too.
    [name if name == "patches" else pytest.param(name, marks=pytest.mark.slow) for name in CONFIGS],
)
def test_window_decoder_needs_no_window_that_is_cleared(name: str) -> None:
    """A stream decodes the same after any other stream."""
    config = CONFIGS[name]
    stream = window_stream(config, 5 * config.n_out, 3)
    for before in (1, 2):
        decode(config, [window_stream(config, 9 * config.n_out, before + 10), stream])


@pytest.mark.long
@pytest.mark.parametrize("name", ["n_in_half_of_bus", "n_in_is_bus", "n_in_2_words", "patches"])
def test_window_decoder_starts_afresh_after_reset_at_any_time(name: str) -> None:
    config = CONFIGS[name]
    lost, stream = window_stream(config, 12 * config.n_out, 5), window_stream(config, 200, 6)
    dut = unit(WindowDecoder, config, pipeline="fast")
    for after in [*range(1, 12), 23, 37, 50]:

        async def bench(ctx: Any, reset: Signal, after: int = after) -> None:
            async def send(words: Any, clocks: int, *, take: bool) -> list[int]:
                items, sent = [], 0
                ctx.set(dut.o.ready, take)
                for _ in range(clocks):
                    ctx.set(dut.i.valid, sent < len(words))
                    if sent < len(words):
                        ctx.set(dut.i.payload, words[sent])
                    _, _, accepted, offered, item = await ctx.tick().sample(
                        dut.i.ready, dut.o.valid, dut.o.p.bits
                    )
                    sent += accepted and sent < len(words)
                    if offered and take:
                        items.append(item)
                return items

            await send(lost.words, after, take=after % 2 == 0)
            ctx.set(reset, 1)
            await ctx.tick()
            ctx.set(reset, 0)
            assert not ctx.get(dut.o.valid)
            bits = await send(stream.words, 3 * len(stream.words) + 20, take=True)
            assert bits == [bits for bits, _, _ in stream.slices], f"reset after {after} clocks"

        simulate(dut, bench)


def test_window_decoder_refuses_an_unknown_pipeline() -> None:
    with pytest.raises(ConfigError, match="pipeline must be one of fast, small, not slow"):
        WindowDecoder(small(), pipeline="slow")
