# SPDX-License-Identifier: Apache-2.0
"""XOR network RTL against its twin ``sw.golden.network.xor_network``."""

import random

import pytest
from amaranth.lib import data
from xorloom.hw.block.xor_network import XorNetwork
from xorloom.sw.golden.network import xor_network
from xorloom.sw.spec.taps import block_network, columns

from tests.helpers.rtl import drive

SHAPES = [(1, 1), (1, 5), (2, 1), (5, 33), (8, 16), (20, 70), (33, 21), (64, 1), (64, 40)]


def seeds_of(n_in: int, rng: random.Random) -> list[int]:
    """Zero, all basis vectors (they determine a linear map), all ones, random seeds."""
    basis = [1 << c for c in range(n_in)]
    return [0, *basis, (1 << n_in) - 1, *(rng.getrandbits(n_in) for _ in range(12))]


@pytest.mark.parametrize("stages", [1, 2])
@pytest.mark.parametrize(("n_in", "n_out"), SHAPES)
def test_xor_network_matches_twin_on_basis_and_random_seeds(
    n_in: int, n_out: int, stages: int
) -> None:
    rows = block_network(n_in, n_out, seed=7)
    seeds = seeds_of(n_in, random.Random(n_in))
    dut = XorNetwork(n_in=n_in, rows=rows, stages=stages)
    run = drive(dut, [{"seed": s, "user": {}} for s in seeds], len(seeds))
    cols = columns(rows, n_in)
    for number, (seed, item) in enumerate(zip(seeds, run.items, strict=True)):
        expected = xor_network(cols, seed)
        assert item.bits == expected, (
            f"slice {number}, seed {seed:x}: got {item.bits:x}, expected {expected:x}"
        )


@pytest.mark.parametrize("stages", [1, 2])
def test_xor_network_basis_vectors_yield_columns_of_literal_rows(stages: int) -> None:
    rows = (0b001, 0b011, 0b110, 0b111)  # by hand: column c collects bit c of every row
    dut = XorNetwork(n_in=3, rows=rows, stages=stages)
    run = drive(dut, [{"seed": 1 << c, "user": {}} for c in range(3)], 3)
    assert [item.bits for item in run.items] == [0b1011, 0b1110, 0b1100]


@pytest.mark.parametrize("stages", [1, 2])
def test_xor_network_latency_and_rate_are_as_stated(stages: int) -> None:
    dut = XorNetwork(n_in=6, rows=block_network(6, 9), stages=stages)
    assert dut.latency == stages
    run = drive(dut, [{"seed": s, "user": {}} for s in range(20)], 20)
    measured = {out - into for into, out in zip(run.in_at, run.offered_at, strict=True)}
    assert measured == {dut.latency}
    assert run.in_at == list(range(20)), "one seed per cycle"
    assert run.out_at == [t + dut.latency for t in run.in_at], "one slice per cycle"


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(("source", "sink"), [(0.5, 0.0), (0.0, 0.5), (0.5, 0.5), (0.1, 0.9)])
@pytest.mark.parametrize("stages", [1, 2])
def test_xor_network_keeps_slices_and_sideband_together_under_backpressure(
    stages: int, source: float, sink: float, seed: int
) -> None:
    n_in, n_out = 11, 23
    rows = block_network(n_in, n_out, seed)
    rng = random.Random(seed)
    beats = [{"seed": rng.getrandbits(n_in), "user": {"tag": n, "odd": n & 1}} for n in range(60)]
    user = data.StructLayout({"tag": 7, "odd": 1})
    dut = XorNetwork(n_in=n_in, rows=rows, user=user, stages=stages)
    run = drive(dut, beats, len(beats), source=source, sink=sink, seed=seed)
    cols = columns(rows, n_in)
    got = [(item.bits, item.user.tag, item.user.odd) for item in run.items]
    assert got == [(xor_network(cols, b["seed"]), n, n & 1) for n, b in enumerate(beats)]
