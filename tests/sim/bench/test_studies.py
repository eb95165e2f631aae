# SPDX-License-Identifier: Apache-2.0
"""Studies on small sizes: documented keys, arithmetic, pictures."""

from pathlib import Path

import pytest
from xorloom.sim.bench import studies
from xorloom.sim.bench.studies import PlacedConfig, plot_scale, scale_rows, tap_rows
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.spec.config import WindowConfig
from xorloom.sw.spec.taps import gf2_rank


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    return tap_rows([0.5, 0.9], 6_000, area=False)


@pytest.mark.synth
def test_tap_rows_have_the_documented_columns(rows: list[dict]) -> None:
    for row in rows:
        assert set(row) - {"attempts"} == {"network", "window", "taps", "rank", "S 0.5", "S 0.9"}
        for key in ("S 0.5", "S 0.9"):
            assert row[key] is None or 0.05 < row[key] < 1
        assert row.get("attempts", 1) >= 1
    names = [row["network"] for row in rows]
    assert len(set(names)) == len(names)
    assert {"4 taps", "7 taps", "window 512", "own taps random", "own taps newest"} <= set(names)


def test_tap_rows_count_the_taps_of_an_output(rows: list[dict]) -> None:
    taps = {row["network"]: row["taps"] for row in rows}
    assert taps["7 taps"] == 7
    assert taps["1 + 3 of n_out/2 parities of 4"] == 13
    assert taps["1 + 5 of n_out/4 parities of 6"] == 31
    windows = {row["network"]: row["window"] for row in rows}
    assert [windows[f"window {w}"] for w in (128, 256, 512, 1024)] == [128, 256, 512, 1024]


def test_tap_rows_leave_out_networks_that_cannot_hold_a_mask(rows: list[dict]) -> None:
    (short,) = [row for row in rows if row["network"] == "window 128"]
    assert short["S 0.5"] is None, "256 kept bits do not fit a window of 128"
    (whole,) = [row for row in rows if row["network"] == "window 512"]
    assert whole["S 0.5"] > 0.5


def test_tap_rows_report_progress_and_area(monkeypatch: pytest.MonkeyPatch) -> None:
    candidates = [("one", WindowConfig()), ("two", WindowConfig(window=1024))]
    monkeypatch.setattr(studies, "_candidates", lambda: candidates)
    luts = {"ecp5": 1024, "xilinx7": 512}
    monkeypatch.setattr(studies, "_network_luts", lambda config, target: luts[target])
    seen: list[tuple[str, ...]] = []
    one, two = tap_rows([0.9], 3_000, progress=lambda *step: seen.append(step))
    assert [one["network"], two["network"]] == ["one", "two"]
    assert seen == [("network", "one"), ("network", "two")]
    assert (one["lut4"], one["lut6"]) == (2.0, 1.0)


@pytest.mark.synth
def test_network_luts_are_those_of_the_network_alone() -> None:
    config = WindowConfig(n_in=8, n_out=64, window=64, shared=16, frame=16)
    assert 64 < studies._network_luts(config, "ecp5") < 400


@pytest.mark.parametrize("placement", ["random", "newest", "oldest"])
def test_placed_config_places_own_taps_only(placement: str) -> None:
    small = {"n_in": 8, "n_out": 64, "window": 128, "shared": 32, "frame": 16}
    config = PlacedConfig(**small, placement=placement)
    base, network = WindowConfig(**small).network, config.network
    taps = [tap for own in network.own for tap in own]
    if placement == "random":
        assert gf2_rank(network.rows) >= 63
        assert network != base
        return
    assert (network.parities, network.picks) == (base.parities, base.picks)
    assert set(taps) <= set(range(64, 128) if placement == "newest" else range(64))


def test_scale_rows_measure_in_a_process_of_their_own() -> None:
    seen: list[tuple[str, ...]] = []
    rows = scale_rows([2_000, 50_000], 0.9, progress=lambda *step: seen.append(step))
    assert seen == [("scale", "2,000 weights"), ("scale", "50,000 weights")]
    for size, row in zip((2_000, 50_000), rows, strict=True):
        assert set(row) == {
            "weights",
            "sparsity",
            "streams",
            "lossless",
            "encode_ns_per_weight",
            "decode_ns_per_weight",
            "encode_mbytes",
        }
        assert (row["weights"], row["sparsity"], row["streams"]) == (size, 0.9, 1)
        assert row["lossless"] is True
        assert row["encode_ns_per_weight"] > 0
        assert row["decode_ns_per_weight"] > 0
        assert 0 <= row["encode_mbytes"] < 200


@pytest.mark.parametrize("size", [0, -1])
def test_scale_rows_refuse_no_weights(size: int) -> None:
    with pytest.raises(ConfigError, match=f"weights must be at least 1, not {size}"):
        scale_rows([size], 0.9)


@pytest.mark.parametrize(("suffix", "magic"), [(".png", b"\x89PNG"), (".svg", b"<?xml")])
def test_plot_scale_draws_a_picture(suffix: str, magic: bytes, tmp_path: Path) -> None:
    figures = {"encode_ns_per_weight": 60.0, "decode_ns_per_weight": 2.0, "encode_mbytes": 9.0}
    rows = [{"weights": 1 << n, "sparsity": 0.9} | figures for n in (20, 22)]
    path = tmp_path / f"scale{suffix}"
    plot_scale(rows, path)
    assert path.read_bytes().startswith(magic)
    assert path.stat().st_size > 2000
