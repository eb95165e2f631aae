# SPDX-License-Identifier: Apache-2.0
"""Direct decoder RTL against the golden model: codes, levels, back-pressure, short packets."""

from typing import Any

import pytest
from amaranth.hdl import Signal
from xorloom.hw.direct.decoder import DirectDecoder, DirectUnit
from xorloom.sw.golden.bus import bus_words
from xorloom.sw.golden.direct import direct_decoder, direct_levels
from xorloom.sw.spec.direct import DirectConfig
from xorloom.sw.spec.layout import HEADER_BYTES, padded

from tests.helpers.direct import direct_stream
from tests.helpers.rtl import StreamRun, drive, simulate, unit


def small(n_in: int, lanes: int, planes: int, bus: int, **more: int) -> DirectConfig:
    values = {"window": 8, "taps": 3, "network_seed": 5} | more
    return DirectConfig(n_in=n_in, n_out=lanes * planes, planes=planes, bus_bits=bus, **values)


CONFIGS = {
    "bus": small(32, 16, 3, 32),
    "wide_bus": small(512, 128, 2, 512, window=6),
    "half_a_word": small(32, 16, 4, 64, taps=4),
    "a_64th_of_a_word": small(8, 16, 3, 512, window=10),
    "shorter_than_the_past": small(4, 16, 2, 32, window=16),
    "below_the_bus": small(24, 24, 4, 32),
    "far_below_the_bus": small(20, 40, 1, 128, taps=5),
    "above_the_bus": small(40, 16, 2, 32, taps=2),
    "words": small(128, 64, 2, 32),
    "sixteenth_of_a_bit": small(4, 64, 1, 32, window=14, taps=7),
    "thirty_second_of_a_bit": small(2, 64, 1, 32, window=16, taps=2),
    "four_bits": small(64, 16, 6, 64, window=9),
    "odd_period": small(33, 21, 3, 64, window=7),
    "one_lane": small(1, 1, 1, 32, window=6, taps=1),
    "dense_taps": small(32, 16, 5, 64, window=12, taps=8),
}


def slices(config: DirectConfig, data: bytes, *, levels: bool) -> list[tuple[int, int, bool]]:
    """Return (bits, valid code bits, last) of all slices; bits that do not count are 0."""
    words = bus_words(data, config.bus_bits)
    count = int.from_bytes(data[4:8], "little")
    table = direct_levels(config, words) if count and levels else []
    found = []
    for number, bits in enumerate(direct_decoder(config, config.columns, words)):
        valid = min(config.n_out, count - number * config.n_out)
        codes = [bits >> at & ((1 << config.planes) - 1) for at in range(0, valid, config.planes)]
        width = 8 if levels else config.planes
        means = [table[code] & 255 if levels else code for code in codes]
        value = sum(mean << width * k for k, mean in enumerate(means))
        found.append((value, valid, (number + 1) * config.n_out >= count))
    return found


def check(config: DirectConfig, streams: list[bytes], *, levels: bool, **stalls: Any) -> StreamRun:
    """Run streams back to back; compare every bit that counts."""
    expected = [item for data in streams for item in slices(config, data, levels=levels)]
    words = [word for data in streams for word in bus_words(data, config.bus_bits)]
    run = drive(unit(DirectDecoder, config, levels=levels), words, len(expected), **stalls)
    for number, (item, (bits, valid, last)) in enumerate(zip(run.items, expected, strict=True)):
        live = (1 << (valid // config.planes * 8 if levels else valid)) - 1
        where = f"slice {number}"
        assert (item.valid_bits, bool(item.last)) == (valid, last), where
        wrong = (item.bits & live) ^ bits
        assert not wrong, f"{where}: wrong bits {wrong:x}"
    return run


STALLS = [
    (0.4, 0.4),
    pytest.param(0.0, 0.0, marks=pytest.mark.slow),
    pytest.param(0.6, 0.0, marks=pytest.mark.slow),
    pytest.param(0.0, 0.6, marks=pytest.mark.slow),
]
WITH_LEVELS = ["bus", "a_64th_of_a_word", "below_the_bus", "four_bits", "one_lane"]


def streams_of(config: DirectConfig) -> list[bytes]:
    """Return streams long and short, empty ones, and such as end within a beat."""
    n, q = config.n_out, config.planes
    counts = (5 * n, q, 0, n, 0, 0, 3 * n + q, max(q, n - q), 6 * n)
    return [direct_stream(config, count, seed) for seed, count in enumerate(counts, 1)]


@pytest.mark.parametrize(("source", "sink"), STALLS)
@pytest.mark.parametrize("name", CONFIGS)
def test_direct_decoder_equals_golden_model_under_stalls(
    name: str, source: float, sink: float
) -> None:
    config = CONFIGS[name]
    check(config, streams_of(config), levels=False, source=source, sink=sink)


@pytest.mark.parametrize(("source", "sink"), STALLS)
@pytest.mark.parametrize("name", WITH_LEVELS)
def test_direct_decoder_puts_out_the_levels_of_each_stream(
    name: str, source: float, sink: float
) -> None:
    config = CONFIGS[name]
    check(config, streams_of(config), levels=True, source=source, sink=sink)


@pytest.mark.parametrize("name", ["bus", "half_a_word", "below_the_bus", "words"])
def test_direct_decoder_takes_a_word_or_makes_a_slice_per_cycle(name: str) -> None:
    config = CONFIGS[name]
    per_stream = []
    for beats in (40, 80):
        run = check(config, [direct_stream(config, beats * config.n_out, beats)], levels=False)
        per_stream.append(run.out_at[-1] - run.in_at[0] + 1)
    assert per_stream[1] - per_stream[0] == 40 * max(1, config.n_in // config.bus_bits)


@pytest.mark.parametrize("levels", [False, True])
def test_direct_decoder_passes_few_cycles_between_streams(levels: bool) -> None:
    config = CONFIGS["bus"]
    data = direct_stream(config, 20 * config.n_out, 1)
    run = check(config, [data] * 3, levels=levels)
    head = padded(HEADER_BYTES, 4) // 4
    # Header, two idle cycles, levels and CRC; with tables, the core runs empty, a level per cycle.
    between = head + 2 + config.level_words + 1
    assert run.out_at[20] - run.out_at[19] - 1 == (between if not levels else head + 2 + 8 + 1)


@pytest.mark.parametrize("levels", [False, True])
@pytest.mark.parametrize("name", ["bus", "half_a_word", "below_the_bus", "words"])
def test_direct_unit_latency_is_what_it_says(name: str, levels: bool) -> None:
    config = CONFIGS[name]
    dut = unit(DirectUnit, config, levels=levels)
    words = bus_words(direct_stream(config, 6 * config.n_out, 3), config.bus_bits)
    run = drive(dut, packet(config, words, 6 * config.n_out), 6)
    first = 1 + config.level_words + -(-config.n_in // config.bus_bits) - 1
    assert run.out_at[0] - run.in_at[first] == dut.latency


def packet(config: DirectConfig, words: list[int], count: int) -> list[dict[str, int]]:
    """Return the packet of a stream."""
    head = padded(HEADER_BYTES, config.bus_bytes) // config.bus_bytes
    opens = {"data": count << 32 % config.bus_bits, "mark": 1}
    tail = 1 if config.bus_bits >= 32 else 0
    body = [{"data": word, "mark": 0} for word in words[head : len(words) - tail]]
    return [opens, *body, {"data": 0, "mark": 1}]


@pytest.mark.parametrize("lost", ["a_word", "all_seeds", "levels", "a_stream"])
@pytest.mark.parametrize("name", ["bus", "half_a_word", "below_the_bus", "above_the_bus"])
def test_direct_unit_says_that_a_packet_is_short(name: str, lost: str) -> None:
    config = CONFIGS[name]
    words = packet(
        config,
        bus_words(direct_stream(config, 9 * config.n_out, 3), config.bus_bits),
        9 * config.n_out,
    )
    keep = {"a_word": len(words) - 2, "all_seeds": 1 + config.level_words, "levels": 1}
    sent = [*words[: keep.get(lost, len(words) - 1)], words[-1]]
    assert runs_short(config, sent) is (lost != "a_stream")


def runs_short(config: DirectConfig, words: list[dict[str, int]]) -> bool:
    """Return whether a packet, with stalls on both sides, makes the unit say short."""
    dut = unit(DirectUnit, config, levels=False)
    seen = []

    async def bench(ctx: Any, _reset: Signal) -> None:
        left = list(words)
        for clock in range(200):
            ctx.set(dut.i.valid, bool(left))
            if left:
                ctx.set(dut.i.payload, left[0])
            ctx.set(dut.o.ready, clock % 3 != 1)
            _, _, accepts, short = await ctx.tick().sample(dut.i.ready, dut.short)
            seen.append(short)
            if left and accepts:
                left.pop(0)

    simulate(dut, bench)
    return any(seen)


@pytest.mark.parametrize("name", ["bus", "half_a_word", "below_the_bus", "above_the_bus"])
def test_direct_unit_drops_what_a_packet_has_too_much(name: str) -> None:
    config = CONFIGS[name]
    count = 5 * config.n_out
    data = direct_stream(config, count, 4)
    words = packet(config, bus_words(data, config.bus_bits), count)
    more = [{"data": 0x5A5A5A5A, "mark": 0}] * 5
    dut = unit(DirectUnit, config, levels=False)
    run = drive(dut, [*words[:-1], *more, words[-1], *words], 10, sink=0.3)
    expected = [bits for bits, _, _ in slices(config, data, levels=False)]
    assert [item.bits for item in run.items] == expected * 2
    assert not runs_short(config, [*words[:-1], *more, words[-1]])


def test_direct_decoder_starts_afresh_after_reset_at_any_time() -> None:
    config = CONFIGS["below_the_bus"]
    lost = bus_words(direct_stream(config, 12 * config.n_out, 5), 32)
    data = direct_stream(config, 7 * config.n_out, 6)
    expected = [bits for bits, _, _ in slices(config, data, levels=False)]
    dut = unit(DirectDecoder, config, levels=False)
    for after in [1, 4, 7, 8, 9, 10, 12, 23]:

        async def bench(ctx: Any, reset: Signal, after: int = after) -> None:
            async def send(words: list[int], clocks: int) -> list[int]:
                items, left = [], list(words)
                ctx.set(dut.o.ready, 1)
                for _ in range(clocks):
                    ctx.set(dut.i.valid, bool(left))
                    ctx.set(dut.i.payload, left[0] if left else 0)
                    _, _, accepts, offered, bits = await ctx.tick().sample(
                        dut.i.ready, dut.o.valid, dut.o.p.bits
                    )
                    if offered:
                        items.append(bits)
                    if left and accepts:
                        left.pop(0)
                return items

            await send(lost, after)
            ctx.set(reset, 1)
            await ctx.tick()
            ctx.set(reset, 0)
            found = await send(bus_words(data, 32), 60)
            assert found == expected, f"reset after {after} clocks"

        simulate(dut, bench)
