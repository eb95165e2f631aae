# SPDX-License-Identifier: Apache-2.0
"""Entropy index decoder RTL against the golden model."""

import random

import numpy as np
import pytest
from xorloom.hw.index.entropy import IndexEntropy
from xorloom.hw.index.entropy_table import EntropyTable
from xorloom.sw.golden.bus import bus_words
from xorloom.sw.golden.index.entropy import entropy_decoder, entropy_states
from xorloom.sw.index.entropy.stream import encode, pack
from xorloom.sw.spec.index_config import EntropyConfig
from xorloom.sw.spec.layout import CRC_BYTES, HEADER_BYTES, padded

from tests.helpers.rtl import simulate, unit

SMALL = EntropyConfig(n_out=32, lanes=2, states=16, bus_bits=32)


def random_mask(density, n_beats, config, seed=1):
    return np.random.default_rng(seed).random((n_beats, config.n_out)) < density


def prepare(mask, config):
    """Return payload words and beats of a mask's stream."""
    words = bus_words(pack(encode(mask, config), mask.size, config), config.bus_bits)
    head, tail = (
        padded(n, config.bus_bytes) // config.bus_bytes for n in (HEADER_BYTES, CRC_BYTES)
    )
    return words[head:-tail], entropy_decoder(config, words)


def decode(config, streams, *, source=0.0, sink=0.0, seed=1):
    """Decode streams one after the other, ``clear`` between; return beats and cycles of each.

    All words of a stream must be enough for all its beats. Checks that an offer stays and that
    ``valid`` does not look at ``ready``.
    """
    rng = random.Random(seed)
    results = []

    async def bench(ctx, _reset):
        for words, count in streams:
            ctx.set(dut.clear, 1)
            ctx.set(dut.i.valid, 0)
            ctx.set(dut.o.ready, 0)
            for _ in range(rng.randint(1, 3)):
                await ctx.tick()
            ctx.set(dut.clear, 0)
            beats, sent, offering, waiting, at = [], 0, False, None, []
            for clock in range(1500 + 60 * (len(words) + count * config.steps)):
                offering = offering or (sent < len(words) and rng.random() >= source)
                ready = rng.random() >= sink
                ctx.set(dut.i.valid, offering)
                if offering:
                    ctx.set(dut.i.payload, words[sent])
                ctx.set(dut.o.ready, not ready)
                early = ctx.get(dut.o.valid)
                ctx.set(dut.o.ready, ready)
                assert ctx.get(dut.o.valid) == early, f"clock {clock}: valid looks at ready"
                _, _, accepts, offered, item = await ctx.tick().sample(
                    dut.i.ready, dut.o.valid, dut.o.payload
                )
                if waiting is not None:
                    assert offered, f"clock {clock}: an offer was withdrawn"
                    assert item == waiting, f"clock {clock}: an offer changed before it was taken"
                waiting = item if offered and not ready else None
                if offering and accepts:
                    sent, offering = sent + 1, False
                if offered and ready:
                    beats.append(item)
                    at.append(clock)
                if len(beats) == count:
                    break
            assert len(beats) == count, f"{len(beats)} of {count} beats, {sent} words went in"
            results.append((beats, at))

    dut = unit(IndexEntropy, config)
    simulate(dut, bench)
    return results


@pytest.mark.parametrize(("source", "sink"), [(0, 0), (0.5, 0.3)])
@pytest.mark.parametrize(
    "config",
    [
        SMALL,
        EntropyConfig(n_out=24, lanes=3, states=64, bus_bits=64),
        EntropyConfig(n_out=8, lanes=1, states=32, bus_bits=32),
        EntropyConfig(n_out=64, lanes=8, states=256, bus_bits=128),
        EntropyConfig(n_out=128, lanes=8, states=64, bus_bits=64),
    ],
    ids=lambda c: c.identity,
)
def test_decoder_equals_golden_model_under_stalls(config, source, sink):
    densities = [0.1, 0.0, 0.5, 1.0, 0.03]
    streams = []
    for k, density in enumerate(densities):
        mask = random_mask(density, 12 - 2 * k, config, k)
        streams.append(prepare(mask, config))
    results = decode(
        config, [(words, len(beats)) for words, beats in streams], source=source, sink=sink
    )
    for (found, _), (_, expected), density in zip(results, streams, densities, strict=True):
        assert found == expected, f"density {density}"


def test_decoder_reads_listed_values():
    config = EntropyConfig(n_out=64, lanes=4)
    pairs = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 1]], np.bool_)
    mask = pairs[np.random.default_rng(2).integers(0, 3, 16 * 120)].reshape(-1, 64)
    assert len(encode(mask, config).table.listed) % 2 == 1
    words, beats = prepare(mask, config)
    (found, _), (again, _) = decode(config, [(words, len(beats))] * 2, source=0.2)
    assert found == beats
    assert again == beats


@pytest.mark.parametrize("listed", [False, True])
def test_decoder_inverts_values(listed):
    """Both kinds of table; the encoder inverts none that lists its values."""
    config = EntropyConfig(n_out=64, lanes=4)
    pairs = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 1]], np.bool_)
    some = pairs[np.random.default_rng(2).integers(0, 3, 16 * 20)].reshape(-1, 64)
    mask = some if listed else random_mask(0.1, 20, config)
    assert bool(encode(mask, config).table.listed) == listed
    words = bus_words(pack(encode(mask, config), mask.size, config), config.bus_bits)
    head = padded(HEADER_BYTES, config.bus_bytes) // config.bus_bytes
    words[head] ^= 1 << 5
    beats = entropy_decoder(config, words)
    packed = [sum(int(bit) << n for n, bit in enumerate(row)) for row in mask]
    assert beats == [row ^ (1 << 64) - 1 for row in packed]
    ((found, _),) = decode(config, [(words[head:-1], len(beats))])
    assert found == beats


@pytest.mark.parametrize("lanes", [3, 16])
def test_decoder_takes_a_beat_in_its_cycles(lanes):
    config = EntropyConfig(n_out=32 * lanes, lanes=lanes)
    words, beats = prepare(random_mask(0.09, 32, config), config)
    ((found, at),) = decode(config, [(words, len(beats))])
    assert found == beats
    cycles = np.diff(at)
    assert cycles.min() == 2 * config.steps
    assert (at[-1] - at[0]) / 31 < 1.1 * 2 * config.steps


def test_decoder_decodes_a_matrix():
    """The first quarter of a clustered matrix of 147,456 weights, everything as by default."""
    config = EntropyConfig()
    rng = np.random.default_rng(4)
    scale = rng.normal(0, 1, (384, 384)) * np.exp(rng.normal(0, 0.5, (384, 1)))
    mask = (np.abs(scale) > 2.4).reshape(-1, 512)
    words, beats = prepare(mask[:72], config)
    ((found, _),) = decode(config, [(words, len(beats))], source=0.1, sink=0.1)
    assert found == beats


@pytest.mark.parametrize("freqs", [(16,), (8, 8), (13, 2, 1), (1,) * 16, (5, 11)])
def test_table_equals_golden_model(freqs):
    config = EntropyConfig(n_out=16, lanes=2, states=16, bus_bits=32)
    classes = [(k % 4, freq) for k, freq in enumerate(freqs)]
    units = [len(freqs) - 1, *(width | (freq - 1) << 4 for width, freq in classes)]
    dut = EntropyTable(config)
    written = {}

    async def bench(ctx, _reset):
        sent = 0
        for _ in range(200):
            ctx.set(dut.unit_valid, sent < len(units))
            ctx.set(dut.unit, units[sent] if sent < len(units) else 0x5555)
            take, write = ctx.get(dut.take), ctx.get(dut.state_write)
            if write:
                entry = ctx.get(dut.state)
                written[ctx.get(dut.state_at)] = (
                    entry.moved, entry.base, entry.width, entry.first, entry.total
                )  # fmt: skip
            if ctx.get(dut.done):
                break
            await ctx.tick()
            sent += take
        assert ctx.get(dut.done)
        assert ctx.get(dut.need) == max(moved + width for moved, _, width, _ in golden)

    golden = entropy_states(config, classes)
    simulate(dut, bench)
    assert sorted(written) == [*range(16), 256]
    assert written[256][:3] == (4, 0, 0)
    assert written[256][4] == 4
    for s, (moved, base, width, first) in enumerate(golden):
        assert written[s] == (moved, base, width, first % 256, moved + width), s
