# SPDX-License-Identifier: Apache-2.0
"""What the hardware tests share: clocked simulations, a stream driver, random memory streams."""

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from amaranth.hdl import ClockDomain, Module, Signal
from amaranth.lib import wiring
from amaranth.sim import Simulator
from xorloom.sw.spec.config import BlockConfig
from xorloom.sw.value.block.codec import BlockSlices
from xorloom.sw.value.block.stream import pack_block

__all__ = ["StreamRun", "drive", "random_slices", "random_stream", "simulate", "unit"]


Testbench = Callable[[Any, Signal], Awaitable[None]]


@lru_cache(maxsize=4)
def unit(make: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Return ``make(*arguments, **options)``, the same unit for the same arguments.

    Making the simulator of a unit takes as long as a test of it: :func:`simulate` has one for each.
    """
    return make(*arguments, **options)


@lru_cache(maxsize=4)
def _simulator(dut: wiring.Component) -> tuple[Simulator, list[Testbench]]:
    """Return the simulator of a unit, and a list for the testbench that it is to run."""
    m = Module()
    m.domains.sync = domain = ClockDomain("sync")
    m.submodules.dut = dut
    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    at_work: list[Testbench] = []

    async def run(ctx: Any) -> None:
        await at_work[-1](ctx, domain.rst)

    simulator.add_testbench(run)
    return simulator, at_work


def simulate(dut: wiring.Component, testbench: Testbench) -> None:
    """Run ``testbench(ctx, reset)`` on a unit in a clock domain whose reset is a real signal."""
    simulator, at_work = _simulator(dut)
    if at_work:
        simulator.reset()
    at_work[:] = [testbench]
    simulator.run()


@dataclass
class StreamRun:
    """Items that left a stream unit, and the clocks of transfers and first offers."""

    items: list[Any] = field(default_factory=list)
    in_at: list[int] = field(default_factory=list)
    offered_at: list[int] = field(default_factory=list)
    out_at: list[int] = field(default_factory=list)


def drive(
    dut: wiring.Component,
    beats: Sequence[Any],
    expect: int,
    *,
    source: float = 0.0,
    sink: float = 0.0,
    seed: int = 1,
) -> StreamRun:
    """Send ``beats`` into ``dut.i`` and collect ``expect`` items from ``dut.o``.

    ``source`` and ``sink`` are the shares of clocks in which the input pauses and the output is
    not taken. Checks on the way that an offer stays until it is taken, and that ``valid`` does not
    look at ``ready``.
    """
    rng = random.Random(seed)
    run = StreamRun()

    async def bench(ctx: Any, _reset: Signal) -> None:
        offering, waiting = False, None
        quiet = 0
        for clock in range(100 + 60 * (len(beats) + expect)):
            sent = len(run.in_at)
            offering = offering or (sent < len(beats) and rng.random() >= source)
            ready = rng.random() >= sink
            ctx.set(dut.i.valid, offering)
            if offering:
                ctx.set(dut.i.payload, beats[sent])
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
            elif offered:
                run.offered_at.append(clock)
            waiting = item if offered and not ready else None
            if offered and ready:
                run.items.append(item)
                run.out_at.append(clock)
            if offering and accepts:
                run.in_at.append(clock)
                offering = False
            if len(run.in_at) == len(beats) and len(run.items) >= expect:
                quiet += 1
                if quiet == 8:  # nothing more may come out
                    break
        assert len(run.in_at) == len(beats), f"only {len(run.in_at)} of {len(beats)} beats went in"
        assert len(run.items) == expect, f"{len(run.items)} items came out, expected {expect}"

    simulate(dut, bench)
    return run


def random_slices(
    config: BlockConfig, count: int, seed: int, n_patch: Sequence[int] | None = None
) -> BlockSlices:
    """Return slices with random seeds; ``n_patch`` are the counts to draw from."""
    rng = np.random.default_rng(seed)
    choices = [0, 0, 1, 2, 3, 5] if n_patch is None else list(n_patch)
    counts = np.minimum(rng.choice(choices, count), config.n_out - 1).astype(np.uint16)
    seeds = rng.integers(0, 1 << config.n_in, count, np.uint64, endpoint=False)
    positions = [np.sort(rng.permutation(config.n_out)[:n]).astype(np.uint16) for n in counts]
    return BlockSlices(seeds, counts, np.concatenate([np.zeros(0, np.uint16), *positions]))


def random_stream(
    config: BlockConfig, count: int, seed: int, n_patch: Sequence[int] | None = None
) -> bytes:
    """Return the memory stream of :func:`random_slices`."""
    return pack_block(random_slices(config, count, seed, n_patch), config)[0]
