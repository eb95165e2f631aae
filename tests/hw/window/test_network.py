# SPDX-License-Identifier: Apache-2.0
"""Window XOR network RTL: every basis vector, and the alignment of its two levels."""

import random
from typing import Any

import pytest
from amaranth.hdl import Signal
from xorloom.hw.window.network import WindowNetwork
from xorloom.sw.golden.network import xor_network
from xorloom.sw.spec.config import WindowConfig
from xorloom.sw.spec.taps import columns

from tests.helpers.rtl import simulate, unit

CONFIGS = {
    "default": WindowConfig(),
    "direct_7": WindowConfig(n_out=128, window=128, own_taps=7, shared_taps=0, shared=0),
    "direct_4": WindowConfig(
        n_out=64, window=128, own_taps=4, shared_taps=0, shared=0, network_seed=1
    ),
    "direct_32": WindowConfig(n_out=64, window=128, own_taps=32, shared_taps=0, shared=0),
    "mixed": WindowConfig(n_out=64, window=128, own_taps=10, shared_taps=3, shared=32),
    "wide_parities": WindowConfig(
        n_out=64, window=128, own_taps=3, shared_taps=8, shared=32, parity_taps=8
    ),
    "one_chunk": WindowConfig(n_in=64, n_out=64, window=64, shared=32),
}


def outputs(config: WindowConfig, windows: list[int]) -> list[int]:
    """Shift every window in, and one chunk more; return what stands at the outputs then."""
    dut = unit(WindowNetwork, config)
    results: list[int] = []
    rng = random.Random(1)

    async def bench(ctx: Any, _reset: Signal) -> None:
        for window in windows:
            for at in range(0, config.window, config.n_in):
                ctx.set(dut.chunk, window >> at & ((1 << config.n_in) - 1))
                ctx.set(dut.step, 1)
                ctx.set(dut.load, 1)
                await ctx.tick()
            assert ctx.get(dut.top) == window >> (config.window - config.n_in)
            for step, move in ((0, 0), (1, 0), (0, 0), (0, 1), (0, 0)):  # with pauses
                ctx.set(dut.chunk, rng.getrandbits(config.n_in))
                ctx.set(dut.step, step)
                ctx.set(dut.load, step)
                ctx.set(dut.move, move)
                await ctx.tick()
            results.append(ctx.get(dut.bits))

    simulate(dut, bench)
    return results


def basis_outputs(config: WindowConfig) -> list[int]:
    """Shift a single 1 through the window, a step each cycle; return what each place makes."""
    dut = unit(WindowNetwork, config)
    found = [0] * config.window
    n_in, steps = config.n_in, config.window // config.n_in

    async def bench(ctx: Any, _reset: Signal) -> None:
        for port in (dut.step, dut.load, dut.move):
            ctx.set(port, 1)
        for bit in range(n_in):
            for k in range(steps + dut.latency):
                ctx.set(dut.chunk, 1 << bit if k == 0 else 0)
                await ctx.tick()
                if k >= dut.latency:
                    place = config.window - (k - dut.latency + 1) * n_in + bit
                    found[place] = ctx.get(dut.bits)

    simulate(dut, bench)
    return found


@pytest.mark.long
@pytest.mark.parametrize("name", CONFIGS)
def test_window_network_equals_rows_on_every_basis_vector(name: str) -> None:
    config = CONFIGS[name]
    assert basis_outputs(config) == list(columns(config.network.rows, config.window))


@pytest.mark.parametrize("name", CONFIGS)
def test_window_network_equals_golden_model_on_random_windows(name: str) -> None:
    config = CONFIGS[name]
    rng = random.Random(2)
    windows = [0, (1 << config.window) - 1, *(rng.getrandbits(config.window) for _ in range(20))]
    table = columns(config.network.rows, config.window)
    assert outputs(config, windows) == [xor_network(table, window) for window in windows]
