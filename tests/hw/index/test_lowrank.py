# SPDX-License-Identifier: Apache-2.0
"""Low-rank index decoder RTL against its twin, with stalls, across streams, and its contract."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from xorloom.hw.flow.export import component_verilog
from xorloom.hw.flow.synth import synthesize
from xorloom.hw.flow.tools import yosys
from xorloom.hw.index.lowrank import IndexLowrank
from xorloom.sw.golden.index.lowrank import index_lowrank
from xorloom.sw.spec.index_config import LowrankConfig

from tests.helpers.rtl import drive, simulate, unit

CONFIGS = [
    # 1, 2, 3 and many shares a preamble chunk; a whole and a cut last tile; ranks with 1 to 3 LUTs
    LowrankConfig(n_out=8, tile_slices=3, tile_lanes=5, rank=1, bus_bits=32),
    LowrankConfig(n_out=24, tile_slices=6, tile_lanes=5, rank=1, bus_bits=32),
    LowrankConfig(n_out=24, tile_slices=13, tile_lanes=6, rank=2, bus_bits=32),
    LowrankConfig(n_out=20, tile_slices=40, tile_lanes=4, rank=3, bus_bits=32),
    LowrankConfig(n_out=9, tile_slices=2, tile_lanes=9, rank=1, bus_bits=32),
]
STALLS = [(0.0, 0.0), (0.6, 0.0), (0.0, 0.6), (0.4, 0.4)]


def chunks_of(config: LowrankConfig, slices: int, seed: int) -> list[int]:
    """Chunks of random bits; what a writer leaves zero is random too, and must not matter."""
    rng = random.Random(seed)
    return [rng.getrandbits(config.chunk_bits) for _ in range(config.chunks(slices))]


@pytest.mark.parametrize("stalls", STALLS, ids=str)
@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.identity)
def test_index_lowrank_equals_its_twin(config: LowrankConfig, stalls: tuple[float, float]) -> None:
    chunks = chunks_of(config, 3 * config.tile_slices + 1, 7)
    expected = index_lowrank(config, chunks)
    run = drive(unit(IndexLowrank, config), chunks, len(expected), source=stalls[0], sink=stalls[1])
    for e, (got, want) in enumerate(zip(run.items, expected, strict=True)):
        assert got == want, f"slice {e}: expected {want:b}, got {got:b}"


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.identity)
def test_index_lowrank_gives_a_slice_per_cycle(config: LowrankConfig) -> None:
    slices = 3 * config.tile_slices
    dut = unit(IndexLowrank, config)
    run = drive(dut, chunks_of(config, slices, 3), slices)
    assert run.out_at == list(range(run.out_at[0], run.out_at[0] + slices))
    assert run.offered_at[0] - run.in_at[config.preamble_chunks] == dut.latency
    assert run.in_at[config.preamble_chunks - 1] + 1 == (
        config.preamble_chunks * config.shares_per_chunk
    )


@pytest.mark.parametrize("config", CONFIGS[:4], ids=lambda c: c.identity)
def test_index_lowrank_clear_begins_a_new_stream(config: LowrankConfig) -> None:
    dut = unit(IndexLowrank, config)
    streams = [chunks_of(config, n, n) for n in (1, config.tile_slices + 2, 0, 5)]

    async def bench(ctx: Any, reset: Signal) -> None:
        for number, chunks in enumerate(streams):
            got = await run_one(ctx, chunks)
            assert got == index_lowrank(config, chunks), f"stream {number}"
            # A reset does the same; and nothing enters meanwhile.
            signal = reset if number == 1 else dut.clear
            ctx.set(dut.i.valid, number != 1)
            ctx.set(signal, 1)
            assert number == 1 or not ctx.get(dut.i.ready)
            await ctx.tick()
            ctx.set(signal, 0)
            ctx.set(dut.i.valid, 0)

    async def run_one(ctx: Any, chunks: Sequence[int]) -> list[int]:
        got = []
        sent = 0
        ctx.set(dut.o.ready, 1)
        for _ in range(8 * len(chunks) + 20):
            ctx.set(dut.i.valid, sent < len(chunks))
            if sent < len(chunks):
                ctx.set(dut.i.payload, chunks[sent])
            _, _, accepts, offered, item = await ctx.tick().sample(
                dut.i.ready, dut.o.valid, dut.o.payload
            )
            sent += accepts and sent < len(chunks)
            if offered:
                got.append(item)
        assert sent == len(chunks)
        return got

    simulate(dut, bench)


class _HoldMonitor(wiring.Component):
    """``bad`` if the decoder's offer of this clock breaks a promise of the clock before."""

    def __init__(self, dut: IndexLowrank, config: LowrankConfig) -> None:
        self._dut, self._config = dut, config
        super().__init__(
            {"valid": In(1), "payload": In(config.chunk_bits), "ready": In(1), "bad": Out(1)}
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = self._dut
        before = Signal(self._config.n_out, reset_less=True)
        stalled = Signal()
        m.d.comb += [
            dut.i.valid.eq(self.valid),
            dut.i.payload.eq(self.payload),
            dut.o.ready.eq(self.ready),
            self.bad.eq(stalled & (~dut.o.valid | (dut.o.payload != before))),
        ]
        m.d.sync += [stalled.eq(dut.o.valid & ~self.ready), before.eq(dut.o.payload)]
        return m


@pytest.mark.parametrize("config", CONFIGS[:3], ids=lambda c: c.identity)
def test_index_lowrank_holds_its_offer_until_taken(config: LowrankConfig, tmp_path: Path) -> None:
    path, log = tmp_path / "top.il", tmp_path / "log"
    monitor = _HoldMonitor(IndexLowrank(config), config)
    path.write_text(rtlil.convert(monitor, name="top", emit_src=False))
    passes = [f"read_rtlil {path}", "prep -top top -flatten", "async2sync"]
    yosys([*passes, "sat -verify -tempinduct -maxsteps 3 -prove bad 0 top"], log)
    assert "Induction step proven: SUCCESS!" in log.read_text()


@pytest.mark.synth
def test_index_lowrank_costs_one_lut_a_mask_bit_up_to_rank_2() -> None:
    config = LowrankConfig(n_out=48, tile_slices=12, tile_lanes=12, rank=2)
    text = component_verilog(IndexLowrank(config), "index_lowrank")
    report = synthesize(text, "index_lowrank", "ecp5", seeds=0)
    assert report.lut is not None
    # One a mask bit; of every bit of a share, one for the preamble; some for control.
    assert config.n_out <= report.lut <= config.n_out + config.share_bits + 40
    # Mask, B, two of A, and control.
    data = config.n_out + config.beat_bits + 2 * config.lane_bits
    assert data <= report.ff <= data + 24
