# SPDX-License-Identifier: Apache-2.0
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xorloom.sim.bench.explore.pareto import OBJECTIVES, pareto
from xorloom.sw.base.errors import ConfigError

NAMES = ("bits_per_weight", "kept", "lut", "fmax_mhz", "mweights_per_s")
SIGN = {"bits_per_weight": -1, "lut": -1, "kept": 1, "fmax_mhz": 1, "mweights_per_s": 1}


def worth(row: dict[str, Any], name: str) -> float:
    return -1e9 if row[name] is None else SIGN[name] * row[name]


def brute_force(rows: list[dict[str, Any]], names: tuple[str, ...]) -> list[bool]:
    def beats(a: dict[str, Any], b: dict[str, Any]) -> bool:
        pairs = [(worth(a, n), worth(b, n)) for n in names]
        return all(x >= y for x, y in pairs) and any(x > y for x, y in pairs)

    return [not any(beats(other, row) for other in rows) for row in rows]


# Few values, so that there are ties; Fmax may be missing in some rows or in all.
values = st.integers(0, 4)
maybe = st.one_of(st.none(), values)
rows_of = st.lists(
    st.fixed_dictionaries(
        {
            "bits_per_weight": values,
            "kept": values,
            "lut": maybe,
            "fmax_mhz": maybe,
            "mweights_per_s": maybe,
        }
    ),
    max_size=25,
)


@given(rows_of, st.integers(1, 5))
def test_pareto_equals_brute_force(rows: list[dict[str, Any]], count: int) -> None:
    names = NAMES[:count]
    assert pareto(rows, names) == brute_force(rows, names)


def test_pareto_of_a_few_points() -> None:
    rows = [
        {"bits_per_weight": 0.3, "kept": 0.8, "lut": 100},
        {"bits_per_weight": 0.5, "kept": 1.0, "lut": 100},
        {"bits_per_weight": 0.3, "kept": 0.8, "lut": 100},  # as good as the first
        {"bits_per_weight": 0.3, "kept": 0.8, "lut": 101},
        {"bits_per_weight": 0.6, "kept": 0.9, "lut": 90},
    ]
    assert pareto(rows, ("bits_per_weight", "kept", "lut")) == [True, True, True, False, True]
    assert pareto(rows, ("bits_per_weight",)) == [True, False, True, True, False]
    assert pareto(rows, ("fmax_mhz",)) == [True] * 5, "nothing was measured"
    assert pareto([], NAMES) == []


def test_pareto_refuses_an_unknown_objective() -> None:
    with pytest.raises(
        ConfigError, match=r"objective must be one of bits_per_weight, kept, error, lut"
    ):
        pareto([], ("area",))
    assert set(NAMES) < set(OBJECTIVES)
