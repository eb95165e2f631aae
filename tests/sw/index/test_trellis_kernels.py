# SPDX-License-Identifier: Apache-2.0
"""Kernels of the trellis index: vectors, plain kernels, their Python and brute force agree."""

import itertools

import numpy as np
import pytest
from numba import njit
from xorloom.sw.bits.gf2 import pack_rows, unpack_rows
from xorloom.sw.index.trellis import decoding, kernels
from xorloom.sw.index.trellis.decoding import decode_beats, lane_taps
from xorloom.sw.index.trellis.kernels import (
    LANES,
    lane_tables,
    place_of,
    search,
    set_patterns,
)
from xorloom.sw.index.trellis.vector import add_compare_select, add_gains, set_gains

from tests.helpers.trellis import kernel_inputs, mask_bit, mask_of, seed_bits, trellis_config

NONE = np.zeros((0, 8), np.uint8)
needs_vectors = pytest.mark.skipif(LANES == 0, reason="this processor has no byte shuffle")


def transpose(words, at):
    """What the vector kernel of that name does."""
    block = words[int(at) : int(at) + 64]
    bits = np.unpackbits(block.view(np.uint8), bitorder="little").reshape(64, 64)
    block[:] = np.packbits(bits.T, bitorder="little").view(np.uint64)


@njit
def call_place_of(value, window, lanes):
    return place_of(value, window, lanes)


@njit
def call_gains(out, at, pattern, place, tables, add):
    if add:
        add_gains(out, at, pattern, place, tables)
    else:
        set_gains(out, at, pattern, place, tables)


@njit
def call_advance(cur, new, worth, chosen, chosen_at, at, half):
    add_compare_select(cur, new, worth, chosen, chosen_at, at, half)


def random_gains(config, slices, rng, headroom=32000):
    """Gains near the most that the metrics take: lanes of ``window`` steps sum up below 2**15."""
    lanes = -(-config.n_out // config.n_in) * config.window
    high = headroom // lanes
    return rng.integers(-high, high + 1, (slices, config.n_out)).astype(np.int16)


def found(config, gains, lanes, segment=4096, classes=None):
    """Seed bits that the search finds."""
    trellis, bits = kernel_inputs(config, lanes, classes)
    slices = gains.shape[0]
    seeds = np.zeros(-(-slices * config.n_in // 64) + 2, np.uint64)
    period = config.period if classes is not None else 0
    search(gains, trellis, bits, NONE if classes is None else classes, period, segment, seeds, 0)
    return seeds


def worth(config, gains, mask):
    return int(gains.astype(np.int64)[mask].sum())


@pytest.mark.parametrize("window", range(6, 13))
@pytest.mark.parametrize("lanes", [0, 8, 16, 32])
def test_place_of_is_a_permutation(window, lanes):
    if 2 * lanes > 1 << (window - 1):
        pytest.skip("fewer windows than a vector looks up")
    places = [call_place_of(v, window, lanes) for v in range(1 << window)]
    assert sorted(places) == list(range(1 << window))


def test_place_of_puts_quarters_one_after_the_other():
    # First half of the states to even, to odd, then the second half: the plain kernel's order.
    order = sorted(range(64), key=lambda v: call_place_of(v, 6, 0))
    assert order == [*range(0, 32, 2), *range(1, 32, 2), *range(32, 64, 2), *range(33, 64, 2)]
    assert [place_of.py_func(v, 6, 0) for v in order] == list(range(64))


@pytest.mark.parametrize("lanes", [0, 8])
@pytest.mark.parametrize("classes", [1, 4])
def test_lane_tables_are_the_code(classes, lanes):
    config = trellis_config(3, 11, 7, classes=classes, minterms=5)
    _, bits = kernel_inputs(config, lanes)
    for j, value in itertools.product(range(11), range(128)):
        window = [value >> (6 - t) & 1 for t in range(7)]  # the newest seed bit is bit 0
        expected = sum(mask_bit(config.code, classes, j, window, c) << c for c in range(classes))
        assert bits[j, call_place_of(value, 7, lanes)] == expected, (j, value)


def test_set_patterns_picks_every_lane_by_its_class(rng):
    config = trellis_config(2, 21, 6, classes=4, minterms=6)
    trellis, bits = kernel_inputs(config, 0, classes=NONE)
    classes = rng.integers(0, 4, 21).astype(np.uint8)
    trellis.patterns[:] = 255
    set_patterns(bits, classes, trellis.first, trellis.patterns)
    assert trellis.patterns.shape == (2, 2, 64)
    expected = np.zeros_like(trellis.patterns)
    for j, u in enumerate(config.code.steps):
        bit = j - config.code.steps.index(u)
        expected[u, bit // 8] |= ((bits[j] >> classes[j]) & 1) << (bit % 8)
    assert (trellis.patterns == expected).all()


@needs_vectors
@pytest.mark.parametrize("add", [False, True])
def test_gains_kernel_sums_both_nibbles(add, rng):
    pattern = rng.integers(0, 256, 6 * LANES).astype(np.uint8)
    low, high = rng.integers(-(1 << 15), 1 << 15, (2, 16)).astype(np.int16)
    tables = np.concatenate([low.view(np.uint8)[::2], low.view(np.uint8)[1::2]])
    tables = np.concatenate([tables, high.view(np.uint8)[::2], high.view(np.uint8)[1::2]])
    before = rng.integers(-(1 << 15), 1 << 15, 8 * LANES).astype(np.int16)
    out = before.copy()
    call_gains(out, LANES, pattern, 2 * LANES, tables, add)
    part = pattern[2 * LANES : 4 * LANES]
    sums = (low[part & 15].astype(np.int64) + high[part >> 4]).reshape(-1, 2, 8)
    # Of every 16 windows, eight go to the first vector and eight to the second.
    order = np.concatenate([sums[:, 0].reshape(-1), sums[:, 1].reshape(-1)])
    expected = before.astype(np.int64)
    expected[LANES : 3 * LANES] = order + (expected[LANES : 3 * LANES] if add else 0)
    assert (out == expected.astype(np.int16)).all()


@needs_vectors
def test_advance_kernel_compares_by_the_difference(rng):
    half = 2 * LANES
    cur = rng.integers(-(1 << 15), 1 << 15, 2 * half).astype(np.int16)
    gain = rng.integers(-(1 << 15), 1 << 15, 4 * half).astype(np.int16)
    gain[::5] = 0
    cur[half:][::3] = cur[:half][::3]  # ties: the first wins
    outs = []
    for lanes in (LANES, 0):
        new, chosen = np.zeros(2 * half, np.int16), np.full(half // 4 + 3, 170, np.uint8)
        kernels._advance(cur, new, gain, chosen, 2, lanes)
        outs.append((new.tolist(), chosen.tolist()))
    assert outs[0] == outs[1]
    new, chosen = np.zeros(2 * half, np.int16), np.zeros(half // 4, np.uint8)
    for t in range(0, half, LANES):
        call_advance(cur, new, gain, chosen, 0, t, half)
    assert new.tolist() == outs[0][0]
    assert chosen.tolist() == outs[0][1][2:-1]


SHAPES = [
    (6, 8, 8),
    (6, 4, 16),
    (7, 3, 20),
    (8, 5, 24),
    (8, 1, 20),
    (9, 2, 35),
    (9, 7, 100),
    (10, 4, 64),
    (10, 1, 17),
    (11, 3, 27),
    (12, 2, 33),
]


@needs_vectors
@pytest.mark.parametrize(("window", "n_in", "n_out"), SHAPES)
@pytest.mark.parametrize("headroom", [32000, 100000])
def test_vector_kernels_equal_plain_ones(window, n_in, n_out, headroom, rng):
    if 1 << (window - 2) < LANES:
        pytest.skip("fewer states than a vector has")
    config = trellis_config(n_in, n_out, window, minterms=4)
    gains = random_gains(config, 200 // n_in + 40, rng, headroom)  # equal even past the headroom
    vector, plain = (found(config, gains, lanes) for lanes in (LANES, 0))
    assert (vector == plain).all()
    assert vector.any()
    patterns = []
    for lanes in (LANES, 0):
        places = [call_place_of(value, window, lanes) for value in range(1 << window)]
        patterns.append(kernel_inputs(config, lanes)[0].patterns[:, :, places])
    assert (patterns[0] == patterns[1]).all()


@needs_vectors
def test_vector_kernels_equal_plain_ones_with_classes(rng):
    config = trellis_config(4, 40, 8, minterms=6, classes=4, period=16)
    gains = random_gains(config, 100, rng)
    classes = rng.integers(0, 4, (7, 40)).astype(np.uint8)
    vector, plain = (found(config, gains, lanes, classes=classes) for lanes in (LANES, 0))
    assert (vector == plain).all()


@pytest.mark.parametrize(("n_in", "n_out", "window"), [(3, 22, 8), (1, 8, 16), (24, 40, 6)])
@pytest.mark.parametrize(("classes", "period"), [(1, 16), (4, 16), (4, 100)])
@pytest.mark.parametrize("slices", [0, 1, 63, 64, 150])
def test_decode_equals_the_code(n_in, n_out, window, classes, period, slices, rng):
    config = trellis_config(n_in, n_out, window, minterms=6, classes=classes, period=period)
    chosen = rng.integers(0, 4, (-(-slices // period), n_out)).astype(np.uint8)
    seeds = rng.integers(0, 1 << 63, slices * n_in // 64 + 3).astype(np.uint64)
    packed = np.full((slices, -(-n_out // 64)), 77, np.uint64)
    several = period if classes == 4 else 0
    decode_beats(seeds, n_in, window, lane_taps(config), chosen, several, packed)
    mask = unpack_rows(packed, n_out)
    assert (packed == pack_rows(mask)).all()
    assert (mask == mask_of(config, seed_bits(seeds, slices * n_in), slices, chosen)).all()


@pytest.mark.parametrize(
    ("window", "n_in", "n_out", "slices"),
    [(6, 4, 16, 3), (6, 1, 8, 11), (7, 3, 9, 4), (8, 2, 20, 5), (6, 10, 30, 1), (10, 3, 12, 2)],
)
def test_search_equals_brute_force(window, n_in, n_out, slices):
    config = trellis_config(n_in, n_out, window, minterms=4)
    steps = slices * n_in
    masks = np.array(
        [mask_of(config, bits, slices) for bits in itertools.product((0, 1), repeat=steps)]
    )
    for seed in range(5):
        gains = random_gains(config, slices, np.random.default_rng(seed))
        values = (masks * gains.astype(np.int64)).sum(axis=(1, 2))
        for lanes in {0, LANES if 1 << (window - 2) >= LANES else 0}:
            seeds = found(config, gains, lanes)
            mask = mask_of(config, seed_bits(seeds, steps), slices)
            assert worth(config, gains, mask) == values.max()
            assert not any(seed_bits(seeds, seeds.size * 64)[steps:]), "bits after the last step"


def test_search_equals_brute_force_with_classes(rng):
    config = trellis_config(1, 8, 6, minterms=6, classes=4, period=16)
    classes = rng.integers(0, 4, (1, 8)).astype(np.uint8)
    for _ in range(3):
        gains = random_gains(config, 10, rng)
        values = [
            worth(config, gains, mask_of(config, bits, 10, classes))
            for bits in itertools.product((0, 1), repeat=10)
        ]
        seeds = found(config, gains, 0, classes=classes)
        mask = mask_of(config, seed_bits(seeds, 10), 10, classes)
        assert worth(config, gains, mask) == max(values)


@pytest.mark.parametrize("lanes", [0, LANES])
@pytest.mark.parametrize("segment", [1, 7, 64, 1000])
def test_short_segments_find_the_same_path(segment, lanes, rng):
    # Paths are cut at 24 * window + 64 steps, where all of them have long been one.
    config = trellis_config(5, 40, 8, minterms=3)
    gains = random_gains(config, 500, rng)
    long = found(config, gains, lanes)
    assert (found(config, gains, lanes, segment=segment) == long).all()


def test_long_runs_wrap_and_stay_best(rng):
    """The metric passes 2**15 many times; an exact search of wide metrics finds the same worth."""
    config = trellis_config(2, 16, 6, minterms=4)
    gains = np.abs(random_gains(config, 300, rng)) - np.int16(100)
    mask = mask_of(config, seed_bits(found(config, gains, 0), 600), 300)
    table = {}
    for u, value in itertools.product(range(2), range(64)):
        window = [value >> (5 - t) & 1 for t in range(6)]
        lanes = [j for j, step in enumerate(config.code.steps) if step == u]
        table[u, value] = [mask_bit(config.code, 1, j, window, 0) for j in lanes]
    best = {0: 0}
    for e, u in itertools.product(range(300), range(2)):
        now = gains[e, 8 * u : 8 * u + 8].tolist()
        new = {}
        for (state, total), bit in itertools.product(best.items(), (0, 1)):
            value = state << 1 | bit
            total += sum(g for g, on in zip(now, table[u, value], strict=True) if on)
            new[value & 31] = max(new.get(value & 31, total), total)
        best = new
    assert worth(config, gains, mask) == max(best.values()) > 8 << 15


def test_search_of_nothing_leaves_the_seeds_alone():
    config = trellis_config(2, 16, 6)
    assert not found(config, np.zeros((0, 16), np.int16), 0).any()


def test_kernels_equal_their_python(monkeypatch, rng):
    config = trellis_config(2, 11, 6, minterms=4)
    gains = random_gains(config, 70, rng, 9000)
    trellis, bits = kernel_inputs(config, 0)
    seeds = found(config, gains, 0, segment=9)
    mask, taps = np.zeros((len(gains), 1), np.uint64), lane_taps(config)
    decode_beats(seeds, 2, 6, taps, NONE, 0, mask)
    for name in ("place_of", "_parity", "_step_tables", "_worth", "_advance", "_start", "_trace"):
        monkeypatch.setattr(kernels, name, getattr(kernels, name).py_func)
    monkeypatch.setattr(kernels, "_best", kernels._best.py_func)
    monkeypatch.setattr(decoding, "_lookup", decoding._lookup.py_func)
    monkeypatch.setattr(decoding, "get_bits", decoding.get_bits.py_func)
    monkeypatch.setattr(decoding, "transpose", transpose)
    with np.errstate(over="ignore"):
        slow = np.zeros_like(seeds)
        search.py_func(gains, trellis, bits, NONE, 0, 9, slow, 0)
        again = np.zeros_like(mask)
        decode_beats.py_func(seeds, 2, 6, taps, NONE, 0, again)
        remade = np.zeros_like(trellis.patterns)
        set_patterns.py_func(bits, np.zeros(11, np.uint8), trellis.first, remade)
    assert (slow == seeds).all()
    assert (again == mask).all()
    assert (remade == trellis.patterns).all()


def test_lane_tables_equal_their_python(monkeypatch, rng):
    parities = rng.integers(0, 64, (5, 4)).astype(np.uint32)
    tables = rng.integers(0, 1 << 16, 5).astype(np.uint32)
    gates = rng.integers(1, 64, (5, 4)).astype(np.uint32)
    outs = []
    for kernel in (lane_tables, lane_tables.py_func):
        outs.append(np.zeros((5, 64), np.uint8))
        kernel(parities, tables, gates, 6, 0, outs[-1])
    assert (outs[0] == outs[1]).all()
    assert outs[0].any()


def test_best_state_compares_by_the_difference():
    metric = np.array([32760, 32767, -32760, -32768], np.int16)  # the third is 8 past the second
    assert kernels._best(metric) == 2
    assert kernels._best(np.zeros(4, np.int16)) == 0


@pytest.mark.parametrize("begin", [1, 2, 5])
@pytest.mark.parametrize(("window", "n_in", "n_out"), [(6, 3, 8), (7, 4, 10)])
def test_search_from_a_slice_on_equals_brute_force(window, n_in, n_out, begin, rng):
    config = trellis_config(n_in, n_out, window, minterms=4)
    slices = begin + 3
    given = rng.integers(0, 2, begin * n_in).tolist()
    seeds = np.zeros(slices * n_in // 64 + 2, np.uint64)
    for at, bit in enumerate(given):
        seeds[at >> 6] |= np.uint64(bit << (at & 63))
    gains = random_gains(config, slices, rng)
    gains[:begin] = 0
    search(gains[begin:], kernel_inputs(config, 0)[0], NONE, NONE, 0, 4096, seeds, begin)
    chosen = seed_bits(seeds, slices * n_in)
    assert list(chosen[: begin * n_in]) == given
    best = max(
        worth(config, gains, mask_of(config, [*given, *rest], slices))
        for rest in itertools.product((0, 1), repeat=3 * n_in)
    )
    assert worth(config, gains, mask_of(config, chosen, slices)) == best
