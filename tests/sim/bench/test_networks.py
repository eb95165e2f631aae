# SPDX-License-Identifier: Apache-2.0
"""Search for networks of the direct codec, and the table that it wrote."""

from fractions import Fraction
from pathlib import Path

import pytest
from xorloom.sim.bench.networks import (
    RATES,
    Found,
    best_network,
    gap,
    main,
    ordered,
    table_text,
)
from xorloom.sw.spec import direct_table
from xorloom.sw.spec.direct_preset import direct_config
from xorloom.sw.spec.direct_table import SEEDS


def test_best_network_is_no_worse_than_any_draw():
    few, more = (best_network(Fraction(2), 8, 4, 3, draws) for draws in (4, 40))
    assert more.error < few.error
    assert best_network(Fraction(2), 8, 4, 3, 1, first=more.seed).error == more.error
    assert gap(0.0625, Fraction(2)) == 0


def test_best_network_tells_that_there_is_none():
    # Four rows of five of six window bits: dealt evenly, two of them are the same.
    assert best_network(Fraction(4), 6, 6, 6, 3) is None


def test_order_puts_few_luts_first_up_to_window_10():
    found = [Found(0.07, 4, 5, 1), Found(0.08, 4, 3, 2), Found(0.09, 3, 3, 3)]
    assert [one.seed for one in ordered(found, 10)] == [2, 3, 1]
    assert [one.seed for one in ordered(found, 12)] == [1, 2, 3]
    assert [one.luts for one in found] == [2, 1, 1]


def test_table_is_as_the_search_writes_it():
    assert Path(direct_table.__file__).read_text() == table_text(SEEDS)


def test_table_has_all_rates_and_networks_for_them():
    for rate in RATES:
        for window in (8, 10, 12, 14):
            if window < -(-rate.numerator // rate.denominator) + 3:
                continue
            for planes, taps, seed in SEEDS[rate.numerator, rate.denominator, window]:
                config = direct_config(rate=rate, window=window, planes=planes, taps=taps)
                assert config.network_seed == seed
                assert len(config.network.rows) == rate.denominator


@pytest.mark.parametrize(
    ("rate", "window", "most"), [("2", 8, 0.165), ("2", 6, 0.21), ("1", 8, 0.12), ("1/4", 8, 0.04)]
)
def test_table_has_good_networks_first(rate, window, most):
    rate = Fraction(rate)
    planes, taps, seed = SEEDS[rate.numerator, rate.denominator, window][0]
    assert gap(best_network(rate, window, planes, taps, 1, first=seed).error, rate) < most


def test_main_searches_a_part_and_keeps_the_rest(tmp_path, monkeypatch, capsys):
    table = tmp_path / "table.py"
    monkeypatch.setattr("xorloom.sim.bench.networks.DRAWS", {6: 2})
    monkeypatch.setattr(
        "sys.argv", ["networks", "--rates", "1/4", "--windows", "6", "--table", str(table)]
    )
    main()
    found = {}
    exec(table.read_text(), found)
    assert {key: found["SEEDS"][key] for key in SEEDS if key != (1, 4, 6)} == {
        key: entry for key, entry in SEEDS.items() if key != (1, 4, 6)
    }
    assert [entry[:2] for entry in found["SEEDS"][1, 4, 6]] == [(1, 3), (1, 5)]
    assert "rate 1/4 window 6 planes 1 taps 3: seed" in capsys.readouterr().err
