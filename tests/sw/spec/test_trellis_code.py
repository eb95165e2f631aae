# SPDX-License-Identifier: Apache-2.0
"""The trellis code against the facts that its text states; galois as oracle for ranks."""

import json
import os
import subprocess
import sys
from collections import Counter

import galois
import numpy as np
import pytest
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.spec.index_config import TrellisConfig
from xorloom.sw.spec.trellis_code import GATE_TAPS, TrellisCode, trellis_code

GF2 = galois.GF(2)
SHAPES = [  # n_in, n_out, window, minterms, classes, seed
    (2, 8, 6, 3, 1, 0),
    (4, 16, 7, 3, 4, 1),
    (5, 24, 8, 1, 1, 2),
    (3, 11, 9, 15, 1, 3),
    (20, 20, 6, 3, 1, 4),
    (1, 20, 6, 3, 1, 5),
    (2, 40, 8, 8, 4, 6),
    (22, 128, 12, 2, 4, 7),
    (84, 512, 14, 3, 1, 0),
    (9, 128, 16, 5, 1, 9),
]
SMALL = TrellisCode(
    steps=(0, 0, 0, 0, 1, 1, 1, 1),
    parities=(
        ((4, 0, 2, 3), (2, 1, 5, 4), (5, 1, 3, 2), (3, 4, 0, 5), (1, 2, 4, 5), (5, 2, 3, 4)),
        ((0, 1, 3, 4), (2, 3, 5, 0), (4, 1, 2, 3), (5, 4, 0, 2), (1, 0, 4, 3), (4, 0, 2, 1)),
    ),
    picks=(
        (1, 0, 3, 4),
        (3, 4, 0, 5),
        (5, 1, 2, 3),
        (2, 5, 4, 0),
        (0, 5, 1, 2),
        (4, 1, 2, 3),
        (3, 5, 0, 1),
        (2, 4, 3, 5),
    ),
    tables=(2066, 276, 26624, 10242, 1600, 5632, 1544, 10242),
    gates=(
        (0, 1, 3),
        (1, 0, 5),
        (0, 1, 4),
        (0, 1, 4),
        (5, 2, 3),
        (1, 5, 3),
        (5, 3, 1),
        (5, 3, 1),
    ),
)


@pytest.fixture(scope="module", params=SHAPES, ids=str)
def shape(request):
    return request.param


@pytest.fixture(scope="module")
def code(shape):
    return trellis_code(*shape)


def lanes_of(code, n_in):
    return [code.steps.count(u) for u in range(n_in)]


def own_of(code, n_in):
    """Every step's own parities: one less than lanes, at least four."""
    sizes = [max(4, lanes - 1) for lanes in lanes_of(code, n_in)]
    return [code.parities[u][:size] for u, size in enumerate(sizes)]


def rank(parities, window):
    matrix = np.zeros((len(parities), window), np.uint8)
    for row, parity in enumerate(parities):
        matrix[row, list(parity)] = 1
    return int(np.linalg.matrix_rank(GF2(matrix)))


def test_small_code_is_this_one():
    assert trellis_code(2, 8, 6, 3, 1, 0) == SMALL
    assert TrellisConfig(n_in=2, n_out=8, window=6).code == SMALL


def test_code_does_not_depend_on_the_hash_seed():
    text = (
        "import json; from dataclasses import astuple; from xorloom.sw.spec.trellis_code import *; "
        "print(json.dumps([astuple(trellis_code(*a)) for a in [(2,8,6,3,1,0), (22,128,12,2,4,7)]]))"
    )
    outs = [
        subprocess.run(
            [sys.executable, "-c", text],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert outs[0] == outs[1]
    assert json.loads(outs[0])[0][3] == list(SMALL.tables)


@pytest.mark.parametrize("change", [{"network_seed": 1}, {"classes": 4}, {"minterms": 4}])
def test_every_parameter_makes_another_code(change):
    assert TrellisConfig(n_in=2, n_out=8, window=6, **change).code != SMALL


def test_lanes_are_spread_evenly_over_the_steps(shape, code):
    n_in, n_out = shape[:2]
    assert len(code.steps) == n_out
    for j, step in enumerate(code.steps):
        assert step == j * n_in // n_out
    counts = lanes_of(code, n_in)
    assert min(counts) >= 1
    assert max(counts) - min(counts) <= 1


def test_parities_are_of_four_window_bits(shape, code):
    n_in, _, window = shape[:3]
    assert len(code.parities) == n_in
    for parities in code.parities:
        for parity in parities:
            assert len(set(parity)) == len(parity) == 4
            assert set(parity) <= set(range(window))


def test_own_parities_have_full_rank(shape, code):
    n_in, _, window = shape[:3]
    for own in own_of(code, n_in):
        # A parity of four bits has even weight, and those span one dimension less.
        assert rank(own, window) == min(len(own), window - 1)


def test_own_parities_use_all_window_bits_evenly(shape, code):
    n_in, _, window = shape[:3]
    for own in own_of(code, n_in):
        uses = Counter(t for parity in own for t in parity)
        counts = [uses[t] for t in range(window)]
        assert sum(counts) == 4 * len(own)
        # Within one, but where the deck's last cards are in the hand already.
        assert max(counts) - min(counts) <= 1 + max(1, len(own) // 5)


def test_borrowed_parities_are_those_of_steps_nearby(shape, code):
    n_in, _, window = shape[:3]
    owns = own_of(code, n_in)
    for u, own in enumerate(owns):
        # Position t of step v's window is bit v + t of the beat's seeds: the same seed bits.
        expected = []
        for v in (u - 2, u - 1, u + 1, u + 2):
            if 0 <= v < n_in:
                bits = [[v + t for t in parity] for parity in owns[v]]
                inside = [b for b in bits if all(u <= bit < u + window for bit in b)]
                expected += [tuple(bit - u for bit in b) for b in inside]
        assert list(code.parities[u][len(own) :]) == expected


def test_borrowing_happens():
    code = trellis_code(4, 16, 7, 3, 4, 1)
    assert all(len(code.parities[u]) > 4 for u in range(4))


def test_lanes_use_the_parities_of_their_step_evenly(shape, code):
    n_in = shape[0]
    for u in range(n_in):
        hands = [code.picks[j] for j, step in enumerate(code.steps) if step == u]
        assert all(len(set(hand)) == 4 for hand in hands)
        uses = Counter(pick for hand in hands for pick in hand)
        counts = [uses[k] for k in range(len(code.parities[u]))]
        assert sum(counts) == 4 * len(hands)
        assert max(counts) - min(counts) <= 2


def test_tables_have_the_minterms(shape, code):
    minterms = shape[3]
    for table in code.tables:
        assert 0 < table < 1 << 16
        assert table.bit_count() == minterms
        ones = [p for p in range(16) if table >> p & 1]
        odd = [p.bit_count() & 1 for p in ones]
        if minterms <= 8:  # all of one parity of weight: no two differ in one input
            assert len(set(odd)) == 1
        else:
            assert sorted(map(odd.count, (0, 1))) == [minterms - 8, 8]


def test_gates_take_different_window_bits_that_the_parities_cover_least(shape, code):
    _, _, window, _, classes = shape[:5]
    for j, gate in enumerate(code.gates):
        assert len(set(gate)) == len(gate) == GATE_TAPS[classes]
        parities = code.parities[code.steps[j]]
        cover = Counter(t for pick in code.picks[j] for t in parities[pick])
        assert set(gate) <= set(range(window))
        others = [cover[t] for t in range(window) if t not in gate]
        assert max(cover[t] for t in gate) <= min(others)


def test_mask_bits_depend_on_nearly_all_window_bits(shape, code):
    _, _, window = shape[:3]
    cover = []
    for j, step in enumerate(code.steps):
        parities = [code.parities[step][pick] for pick in code.picks[j]]
        cover.append(len({t for parity in parities for t in parity} | set(code.gates[j])))
    assert np.mean(cover) > window - 1.5 if window <= 14 else np.mean(cover) > 13
    assert min(cover) >= min(window, 10) - 1


def test_no_parities_of_full_rank_is_an_error(monkeypatch):
    monkeypatch.setattr("xorloom.sw.spec.trellis_code._DRAWS", 0)
    text = r"no 4 parities of full rank in a window of 6 bits \(raise window\)"
    with pytest.raises(ConfigError, match=text):
        trellis_code.__wrapped__(2, 8, 6, 3, 1)


def test_parities_of_low_rank_are_drawn_again(monkeypatch):
    # The first deal repeats a parity; what follows are three of rank 3 and a good one.
    from xorloom.sw.spec import trellis_code as module

    deals = []
    real = module.deal

    def deal(generator, hands, cards, size):
        deals.append(cards)
        return [(0, 1, 2, 3)] * hands if len(deals) == 1 else real(generator, hands, cards, size)

    monkeypatch.setattr(module, "deal", deal)
    code = trellis_code.__wrapped__(1, 4, 6, 3, 1)
    assert deals[:2] == [6, 6]
    assert rank(code.parities[0], 6) == 4


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"n_in": 0}, "n_in must be between 1 and 1024, not 0"),
        ({"n_out": 7}, "n_out must be between 8 and 2048, not 7"),
        ({"window": 5}, r"window must be between 6 and 16, not 5 \(every bit more doubles"),
        ({"window": 17}, "window must be between 6 and 16, not 17"),
        ({"minterms": 16}, "minterms must be between 1 and 15, not 16"),
        ({"classes": 2}, "classes must be 1 or 4, not 2"),
        ({"classes": 5}, "classes must be between 1 and 4, not 5"),
        ({"period": 15}, "period must be between 16 and 65536, not 15"),
        ({"n_in": 513}, r"n_in 513 must not exceed n_out 512 \(a bitmap costs one bit per mask"),
        ({"network_seed": -1}, "network_seed must be between 0 and"),
        ({"bus_bits": 48}, "bus_bits must be one of 32, 64, 128, 256, 512, not 48"),
    ],
    ids=str,
)
def test_trellis_config_checks_its_parameters(change, text):
    with pytest.raises(ConfigError, match=text):
        TrellisConfig(**change)


def test_trellis_config_tells_rate_and_densities():
    one = TrellisConfig(n_in=84, n_out=512, minterms=3)
    assert (one.rate, one.densities, one.class_chunks) == (84 / 512, (3 / 32,), 0)
    four = TrellisConfig(n_in=84, n_out=512, minterms=4, classes=4, period=384)
    assert four.densities == (1 / 4, 1 / 8, 1 / 16, 1 / 32)
    assert four.class_chunks == 13  # 1024 class bits in chunks of 84
    assert four.rate == pytest.approx(84 * 397 / (384 * 512))
