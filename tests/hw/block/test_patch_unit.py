# SPDX-License-Identifier: Apache-2.0
"""Patch decoder and patch unit RTL against their twin ``sw.golden.network.patch_unit``."""

import random
from collections.abc import Sequence
from itertools import product
from typing import Any

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.hw.block.patch_unit import PatchDecoder, PatchUnit
from xorloom.hw.lib.payloads import patch_layout
from xorloom.sw.golden.network import patch_unit

from tests.helpers.rtl import drive, simulate, unit

USER = data.StructLayout({"tag": 8})


class PatchPair(wiring.Component):
    """Decoder and unit as the lane wires them, but without the network between them."""

    def __init__(self, n_out: int, patches_per_cycle: int) -> None:
        slots = {"n_out": n_out, "patches_per_cycle": patches_per_cycle}
        self.decoder, self.unit = PatchDecoder(**slots), PatchUnit(**slots, user=USER)
        beat = data.StructLayout({"bits": n_out, "patch": patch_layout(**slots), "user": USER})
        out = data.StructLayout({"bits": n_out, "user": USER})
        super().__init__({"i": In(stream.Signature(beat)), "o": Out(stream.Signature(out))})

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.decoder, m.submodules.unit = self.decoder, self.unit
        m.d.comb += [
            self.decoder.i.eq(self.i.p.patch),
            self.unit.i.valid.eq(self.i.valid),
            self.unit.i.p.bits.eq(self.i.p.bits),
            self.unit.i.p.flip.eq(self.decoder.o),
            self.unit.i.p.user.eq(self.i.p.user),
            self.i.ready.eq(self.unit.i.ready),
        ]
        wiring.connect(m, self.unit.o, wiring.flipped(self.o))
        return m


def beats_of(
    bits: int, positions: Sequence[int], per_cycle: int, tag: int, rng: random.Random
) -> list[dict[str, Any]]:
    """Beats of one slice; unused slots carry garbage positions, only the last tag counts."""
    chunks = [positions[k : k + per_cycle] for k in range(0, len(positions), per_cycle)] or [()]
    beats = []
    for number, chunk in enumerate(chunks):
        slots: list[int | None] = [*chunk, *[None] * (per_cycle - len(chunk))]
        if number == len(chunks) - 1:
            rng.shuffle(slots)
        last = number == len(chunks) - 1
        beats.append(
            {
                "bits": 0 if number else bits,
                "patch": {
                    "positions": [rng.getrandbits(1) if p is None else p for p in slots],
                    "enable": sum((p is not None) << k for k, p in enumerate(slots)),
                    "last": last,
                },
                "user": {"tag": tag if last else 255 - tag},
            }
        )
    return beats


def check(
    n_out: int, per_cycle: int, slices: Sequence[tuple[int, Sequence[int]]], **stalls: Any
) -> None:
    rng = random.Random(5)
    beats = [
        beat
        for number, (bits, positions) in enumerate(slices)
        for beat in beats_of(bits, positions, per_cycle, number & 127, rng)
    ]
    run = drive(unit(PatchPair, n_out, per_cycle), beats, len(slices), **stalls)
    for number, ((bits, positions), item) in enumerate(zip(slices, run.items, strict=True)):
        expected = patch_unit(bits, positions)
        assert item.bits == expected, (
            f"slice {number}, patches {list(positions)}: wrong bits {item.bits ^ expected:x}"
        )
        assert item.user.tag == number & 127


@pytest.mark.long
@pytest.mark.parametrize(
    ("n_out", "per_cycle"),
    [
        # Of 13 bits eight slots are tried, of 200 two.
        pytest.param(*case, marks=[pytest.mark.slow] * (case == (200, 8)))
        for case in product((1, 2, 13, 200), (1, 2, 8))
    ],
)
def test_patch_unit_flips_every_single_position(n_out: int, per_cycle: int) -> None:
    rng = random.Random(n_out)
    slices = [(rng.getrandbits(n_out), (position,)) for position in range(n_out)]
    check(n_out, per_cycle, slices)


@pytest.mark.parametrize("n_out", [1, 2, 13, 64])
def test_patch_decoder_selects_one_grid_point_in_every_slot(n_out: int) -> None:
    per_cycle = 3
    decoder = PatchDecoder(n_out=n_out, patches_per_cycle=per_cycle)
    width = decoder.o.columns[0].shape().width

    async def bench(ctx: Any, _reset: Signal) -> None:
        for position in range(n_out):
            for slot in range(per_cycle):
                positions = [0] * per_cycle
                positions[slot] = position
                last = position & 1
                ctx.set(decoder.i, {"positions": positions, "enable": 1 << slot, "last": last})
                flip = ctx.get(decoder.o)
                rows = [flip.rows[k] for k in range(per_cycle)]
                assert flip.columns[slot] == 1 << (position % width)
                assert rows[slot] == 1 << (position // width)
                assert not any(rows[:slot] + rows[slot + 1 :]), "disabled slots have no row"
                assert flip.last == last

    simulate(decoder, bench)


@pytest.mark.parametrize("per_cycle", [1, 2, 8])
@pytest.mark.parametrize("n_out", [1, 2, 13, 200])
def test_patch_unit_takes_more_patches_than_fit_a_cycle(n_out: int, per_cycle: int) -> None:
    rng = random.Random(per_cycle)
    counts = [0, per_cycle, per_cycle + 1, 2 * per_cycle, 3 * per_cycle + 1, 0, 1, n_out]
    slices = []
    for count in counts:
        positions = sorted(rng.sample(range(n_out), min(count, n_out, 40)))
        slices.append((rng.getrandbits(n_out), positions))
    check(n_out, per_cycle, slices)


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("source", "sink"), [(0.5, 0.0), (0.0, 0.6), (0.5, 0.5)])
@pytest.mark.parametrize(("n_out", "per_cycle"), [(2, 1), (13, 1), (13, 2), (70, 8)])
def test_patch_unit_decodes_multi_beat_slices_under_stalls(
    n_out: int, per_cycle: int, source: float, sink: float, seed: int
) -> None:
    rng = random.Random(seed)
    slices = []
    for _ in range(40):
        count = rng.choice([0, 0, 1, 2, 3 * per_cycle])
        positions = sorted(rng.sample(range(n_out), min(count, n_out - 1)))
        slices.append((rng.getrandbits(n_out), positions))
    check(n_out, per_cycle, slices, source=source, sink=sink, seed=seed)


def test_patch_unit_same_position_in_two_slots_cancels() -> None:
    check(13, 2, [(0x155, (4, 4)), (0x155, (4, 5)), (0x155, (4, 5, 4))])


def test_patch_unit_latency_and_rate_are_as_stated() -> None:
    pair = unit(PatchPair, 13, 1)
    rng = random.Random(1)
    beats = [b for n in range(10) for b in beats_of(n, (1, 2), 1, n, rng)]
    run = drive(pair, beats, 10)
    assert run.in_at == list(range(20)), "one beat per cycle"
    assert run.offered_at == [t + pair.unit.latency for t in run.in_at[1::2]]


@pytest.mark.parametrize("offering", [False, True])
@pytest.mark.parametrize("beats_before", [1, 2, 3])
def test_patch_unit_reset_inside_a_slice_leaves_nothing_behind(
    beats_before: int, offering: bool
) -> None:
    pair = unit(PatchPair, 13, 1)
    rng = random.Random(3)
    first = beats_of(0x1FFF, (0, 3, 7, 12), 1, 1, rng)
    second = beats_of(0x0A5A, (5,), 1, 2, rng)

    async def bench(ctx: Any, reset: Signal) -> None:
        ctx.set(pair.o.ready, 1)
        ctx.set(pair.i.valid, 1)
        for beat in first[:beats_before]:
            ctx.set(pair.i.payload, beat)
            await ctx.tick()
        ctx.set(pair.i.valid, offering)  # what is offered during reset must not count either
        ctx.set(pair.i.payload, first[beats_before])
        ctx.set(reset, 1)
        await ctx.tick()
        ctx.set(reset, 0)
        assert not ctx.get(pair.o.valid)
        ctx.set(pair.i.valid, 1)
        ctx.set(pair.i.payload, second[0])
        await ctx.tick()
        assert ctx.get(pair.o.valid)
        assert ctx.get(pair.o.p.bits) == patch_unit(0x0A5A, (5,))
        ctx.set(pair.i.valid, 0)
        await ctx.tick()
        assert not ctx.get(pair.o.valid)

    simulate(pair, bench)
