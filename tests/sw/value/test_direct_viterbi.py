# SPDX-License-Identifier: Apache-2.0
"""Kernels of the direct codec's search: vectors, plain kernels, brute force and a slow oracle."""

import itertools

import numpy as np
import pytest
from numba import njit
from xorloom.sw.bits.llvm import has_feature
from xorloom.sw.spec.direct import DirectConfig
from xorloom.sw.value.direct import search as search_module
from xorloom.sw.value.direct import vector
from xorloom.sw.value.direct.costs import CODES, group_costs
from xorloom.sw.value.direct.decoding import decode_seeds
from xorloom.sw.value.direct.search import ColumnSearch, code_of, search_stream, seed_words
from xorloom.sw.value.direct.vector import STEPS, add_costs
from xorloom.sw.value.direct.viterbi import VECTORS, plain_add, plain_step, search_run

from tests.helpers.direct import all_codes, slow_search

NONE = np.zeros(0, np.float32)
STEP_2 = STEPS[1]
needs_vectors = pytest.mark.skipif(not VECTORS, reason="this processor has no byte shuffle")


def config_of(k, m, planes, window, taps=3, seed=5):
    return DirectConfig(
        n_in=k, n_out=m * planes, planes=planes, window=window, taps=taps, network_seed=seed
    )


CONFIGS = [
    config_of(2, 1, 4, 8),
    config_of(1, 1, 3, 10),
    config_of(3, 1, 6, 9),
    config_of(4, 1, 6, 8),
    config_of(1, 4, 1, 8),
    config_of(1, 16, 1, 7),
    config_of(2, 3, 3, 8),
    config_of(5, 3, 4, 9),
    config_of(2, 9, 2, 6),
    config_of(1, 32, 1, 9, taps=2),
]


@njit
def call_step_2(metric, size, codes, tables, offset, won):
    return STEP_2(metric, 0, size, size, codes, 0, tables, CODES, offset, won, 8)


@njit
def call_add(metric, size, codes, tables):
    return add_costs(metric, size, size, codes, size, tables, 0)


def run(
    config, x, vectors, importance=NONE, levels=None, per_unit=40.0, state=0, first=0, steps=64
):
    """Seeds and last window of one run of the search."""
    code = code_of(config)
    work = search_module.work_of(code, steps)
    seeds = np.zeros(seed_words(first + x.size, code), np.uint64)
    if levels is None:
        levels = np.linspace(-2, 2, 1 << config.planes, dtype=np.float32)
    end = search_run(
        x,
        importance,
        levels,
        np.float32(per_unit),
        code,
        work,
        vectors,
        first,
        state,
        0,
        64 * seeds.size,
        seeds,
    )
    return seeds, end


@needs_vectors
@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.identity)
@pytest.mark.parametrize("known", [True, False])
def test_search_vectors_find_what_plain_kernels_find(config, known, rng):
    x = rng.standard_normal(700).astype(np.float32)
    importance = rng.uniform(0, 2, 700).astype(np.float32)
    state = 37 if known else -1
    plain = run(config, x, False, importance, state=state)
    vectors = run(config, x, True, importance, state=state)
    assert plain[1] == vectors[1]
    assert (plain[0] == vectors[0]).all()


@needs_vectors
def test_step_vectors_do_what_plain_and_python_do(rng):
    size = 512
    codes = rng.integers(0, 64, 2 * size).astype(np.uint8)
    tables = rng.integers(0, 256, 2 * CODES).astype(np.uint8)
    before = rng.integers(0, 256, 2 * size).astype(np.uint8)
    results = []
    for step in (plain_step, plain_step.py_func, None):
        metric, won = before.copy(), np.zeros(200, np.uint8)
        if step is None:
            least = call_step_2(metric, size, codes, tables, 3, won)
        else:
            least = step(metric, 0, size, size, codes, 0, tables, CODES, 3, won, 8, 2)
        results.append((least, metric.tolist(), won.tolist()))
    assert results[0] == results[1] == results[2]
    results = []
    for add in (plain_add, plain_add.py_func, None):
        metric = before.copy()
        if add is None:
            least = call_add(metric, size, codes, tables)
        else:
            least = add(metric, size, size, codes, size, tables, 0)
        results.append((least, metric.tolist()))
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize(("feature", "size", "shuffle"), [*vector._SHUFFLES, ("", 0, "")])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_costs_are_looked_up_by_every_shuffle(feature, size, shuffle, dtype, rng, monkeypatch):
    if feature and not has_feature(feature):
        pytest.skip(f"this processor has no {feature}")
    monkeypatch.setattr(vector, "_WIDE", "none")
    monkeypatch.setattr(vector, "_SHUFFLE", (size, shuffle))

    @njit
    def call(metric, codes, tables):
        return add_costs(metric, 0, metric.size, codes, 0, tables, 0)

    codes = rng.integers(0, 64, 512).astype(np.uint8)
    top = np.iinfo(dtype).max + 1
    tables = rng.integers(0, top, CODES).astype(dtype)
    vectors = rng.integers(0, top, 512).astype(dtype)
    plain = vectors.copy()
    assert call(vectors, codes, tables) == plain_add(plain, 0, 512, codes, 0, tables, 0)
    assert (vectors == plain).all()


def test_group_costs_count_what_is_there():
    levels = np.array([-1, 0, 1, 3], np.float32)
    x, worth = np.array([9, 1, 3], np.float32), np.array([1, 2, 1], np.float32)
    units, costs = np.zeros(CODES, np.int32), np.zeros(CODES, np.int32)
    assert group_costs(x, worth, levels, np.float32(1), 1, 2, 0, 1, 2, units, costs) == 64
    first, second = 2 * np.array([4, 1, 0, 4]), np.array([16, 9, 4, 0])
    for a, b, c in itertools.product(range(4), repeat=3):
        assert costs[a + 4 * b + 16 * c] == first[a] + second[b]
    assert group_costs(x, worth, levels, np.float32(1), 1, 1, 1, 0, 2, units, costs) == 16
    for a, b in itertools.product(range(4), repeat=2):
        assert costs[a + 4 * b] == first[b]


BRUTE = [
    (config_of(2, 1, 2, 6), 7),
    (config_of(1, 1, 2, 6), 14),
    (config_of(3, 2, 2, 6), 9),
    (config_of(1, 2, 1, 6), 25),
    (config_of(4, 1, 3, 7), 3),
    (config_of(3, 1, 3, 6), 5),
]


@pytest.mark.parametrize(("config", "weights"), BRUTE, ids=lambda p: str(getattr(p, "identity", p)))
@pytest.mark.parametrize("state", [0, 45])
def test_search_finds_the_best_of_all_seed_strings(config, weights, state, rng):
    # Whole numbers, small enough not to be clipped: then metrics are exact.
    levels = rng.permutation(np.arange(1 << config.planes)).astype(np.float32)
    x = rng.integers(0, 1 << config.planes, weights).astype(np.float32)
    importance = rng.integers(0, 3, weights).astype(np.float32)
    codes = all_codes(config, weights, state)
    errors = (importance * (levels[codes] - x) ** 2).sum(axis=1)
    for first in (0, 3 * config.period):
        seeds, end = run(config, x, VECTORS, importance, levels, 1.0, state, first, steps=16)
        at = first // config.period * config.rate.numerator
        n_bits = -(-weights * config.rate.numerator // config.period)
        bits = np.unpackbits(seeds.view(np.uint8), bitorder="little")[at : at + n_bits]
        string = int(sum(int(bit) << i for i, bit in enumerate(bits)))
        assert errors[string] == errors.min()
        mirrored = sum(int(bit) << i for i, bit in enumerate(bits[::-1]))
        windows = (1 << code_of(config).window) - 1
        assert end == (state << n_bits | mirrored) & windows


@pytest.mark.parametrize("config", [CONFIGS[0], CONFIGS[1], CONFIGS[6]], ids=lambda c: c.identity)
def test_search_is_as_good_as_a_slow_float_one(config, rng):
    x = rng.standard_normal(3000).astype(np.float32)
    levels = np.linspace(-2, 2, 1 << config.planes, dtype=np.float32)
    rate = float(config.rate)
    per_unit = search_module.error_scale(rate) * 4**rate
    best = slow_search(config, x, levels)
    codes = decode_seeds(search_stream(x, None, levels, per_unit, config), x.size, config)
    error = float(((x - levels[codes]) ** 2).sum())
    assert best - 1e-3 <= error <= 1.02 * best


def test_stream_is_the_same_for_any_number_of_threads_and_joins_well(rng):
    config = config_of(2, 3, 3, 8)
    x = rng.standard_normal(200_001).astype(np.float32)
    levels = np.linspace(-1.5, 1.5, 8, dtype=np.float32)
    per_unit = 30.0
    found = [
        search_stream(x, None, levels, per_unit, config, threads=threads) for threads in (1, 2, 5)
    ]
    assert (found[0] == found[1]).all()
    assert (found[0] == found[2]).all()
    whole, _ = run(config, x, VECTORS, levels=levels, per_unit=per_unit, steps=1024)
    errors = [
        np.mean((x - levels[decode_seeds(seeds, x.size, config)]) ** 2)
        for seeds in (found[0], whole)
    ]
    assert errors[0] == pytest.approx(errors[1], rel=1e-3)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.identity)
def test_columns_go_on_where_the_last_one_ended(config, rng):
    rows, columns = 37, 20
    levels = np.linspace(-2, 2, 1 << config.planes, dtype=np.float32)
    search = ColumnSearch(config, rows * columns, levels, 40.0)
    x = rng.standard_normal((columns, rows)).astype(np.float32)
    importance = rng.uniform(0, 2, rows).astype(np.float32)
    codes = np.concatenate([search.step(column, importance) for column in x])
    assert search.done == rows * columns
    assert (codes == decode_seeds(search.seeds, codes.size, config)).all()


def test_a_weight_that_does_not_count_takes_any_code(rng):
    config = CONFIGS[0]
    levels = np.linspace(-2, 2, 16, dtype=np.float32)
    x = rng.standard_normal(4000).astype(np.float32)
    counts = (np.arange(4000) % 2).astype(np.float32)
    seeds = search_stream(x, counts, levels, 60.0, config)
    error = (x - levels[decode_seeds(seeds, x.size, config)]) ** 2
    # All seed bits serve half of the weights: they get 4 bits each.
    assert error[1::2].mean() < 0.03
    assert error[::2].mean() > 0.5


def test_outliers_harm_none_but_their_neighbours(rng):
    config = CONFIGS[0]
    levels = np.linspace(-2, 2, 16, dtype=np.float32)
    x = rng.standard_normal(4000).astype(np.float32)
    far = x.copy()
    far[1000] = 32
    errors = []
    for values in (x, far):
        codes = decode_seeds(search_stream(values, None, levels, 60.0, config), x.size, config)
        error = (values - levels[codes]) ** 2
        error[990:1010] = 0
        errors.append(error.mean())
    assert levels[codes[1000]] == levels.max()
    assert errors[1] < 1.01 * errors[0]
