# SPDX-License-Identifier: Apache-2.0
"""The index options of ``xorloom compress``, as their user sees them."""

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file
from xorloom.sw.model.reports import kept
from xorloom.sw.model.reports.kept import KEPT_COLUMNS
from xorloom.sw.tensors.checkpoint import open_model

from tests.helpers.cli import refuses, xorloom
from tests.helpers.weights import clustered_weights

DECODER = ["--n-in", 8, "--n-out", 128, "--window", 128, "--frame", 16, "--bus-bits", 32]
TRELLIS = ["--index-window", 8]
ROWS, COLUMNS = 160, 192


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli_index")
    weights = clustered_weights(ROWS, COLUMNS, 1)
    np.savez(folder / "model.npz", w=weights, v=clustered_weights(64, 80, 2), bias=np.ones(3))
    np.savez(folder / "masks.npz", w=np.abs(weights) > 0.1)
    return folder


def compress(folder: Path, out: Path, *options: object, golden: bool = False) -> dict[str, Any]:
    """Compress, verify and decompress; return the report with the decoded weights."""
    report = json.loads(
        xorloom("compress", folder / "model.npz", "-o", out, *options, "--json", "--kept")[0]
    )
    verified, _ = xorloom("verify", out, *(["--golden"] if golden else []))
    assert verified.startswith("3 of 3 tensors are bit-exact")
    xorloom("decompress", out, "-o", out.with_suffix(".plain.safetensors"))
    plain = open_model(out.with_suffix(".plain.safetensors"))
    report["plain"] = {name: plain[name].load() for name in ("w", "v")}
    inspected = json.loads(xorloom("inspect", out, "--json")[0])
    assert inspected["all"] == report["all"]
    return report


def kept_energy(folder: Path, plain: dict[str, np.ndarray]) -> float:
    weights = open_model(folder / "model.npz")["w"].load()
    return float((weights[plain["w"] != 0] ** 2).sum() / (weights**2).sum())


@pytest.mark.parametrize(
    ("options", "density", "rate"),
    [
        (["--index-bits", 0.2, "--density", 0.12, *TRELLIS], 0.12, 0.2),
        (["--index-bits", 0.25, "--index-classes", 4, *TRELLIS], 0.1, 0.25),
        (["--index", "trellis", "--sparsity", 0.8, "--planes", 2, *TRELLIS], 0.2, 1 / 6),
        (["--index", "lowrank", "--index-bits", 0.25, "--density", 0.1], 0.1, 0.25),
    ],
    ids=["trellis", "classes", "planes", "lowrank"],
)
def test_compress_with_an_index_that_chooses(
    options: list[object], density: float, rate: float, folder: Path, tmp_path: Path
) -> None:
    golden = "--planes" in options
    report = compress(folder, tmp_path / "m.safetensors", *options, *DECODER, golden=golden)
    # A preamble, or the classes of a period, weigh more in the 40 slices of the small one.
    for name, rel, over in (("w", 0.02, 0.02), ("v", 0.06, 0.06)):
        facts = report["tensors"][name]
        assert facts["kept"] / facts["weights"] == pytest.approx(density, rel=rel)
        assert (report["plain"][name] != 0).sum() == facts["kept"]
        assert facts["bits_per_weight"]["index"] < rate + over
    assert report["tensors"]["w"]["bits_per_weight"]["index"] > 0.6 * rate
    assert [row["tensor"] for row in report["kept"]] == ["w", "v"]
    row = report["kept"][0]
    assert set(row) == set(KEPT_COLUMNS)
    assert row["density"] < row["kept"] < 1
    assert row["energy_total"] == pytest.approx(kept_energy(folder, report["plain"]), rel=1e-5)
    if "lowrank" not in options:
        assert row["kept"] > 0.6
        assert row["energy_total"] > row["pattern_energy_total"] > 0


@pytest.mark.parametrize(("budget", "classes"), [(0.2, 1), (0.3, 1), (0.3, 4), (0.9, 1)])
def test_compress_keeps_a_budget_with_everything_counted(
    budget: float, classes: int, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "m.safetensors"
    options = ["--bits-per-weight", budget, "--scale", "tensor", *TRELLIS, *DECODER]
    report = compress(folder, out, *options, "--index-classes", classes)
    total = report["all"]["bits_per_weight"]["total"]
    assert 0.75 * budget < total <= budget
    stored = sum(len(open_model(out)[name].raw()) for name in open_model(out) if ".xl_" in name)
    assert 8 * stored == pytest.approx(total * (ROWS * COLUMNS + 64 * 80))


def test_importance_chooses_what_is_kept(folder: Path, tmp_path: Path) -> None:
    options = ["--index-bits", 0.15, "--density", 0.15, *TRELLIS, *DECODER]
    rows = {}
    for what in ("magnitude", "energy"):
        out = tmp_path / f"{what}.safetensors"
        rows[what] = compress(folder, out, *options, "--importance", what)["kept"][0]
    assert rows["magnitude"]["kept"] > rows["energy"]["kept"]
    assert rows["energy"]["energy"] > rows["magnitude"]["energy"]


def test_saliency_takes_the_place_of_magnitudes(folder: Path, tmp_path: Path) -> None:
    wanted = np.zeros((ROWS, COLUMNS), np.float32)
    wanted[:, 100:110] = 1
    np.savez(tmp_path / "s.npz", w=wanted)
    options = ["--index-bits", 0.3, "--density", 0.06, "--saliency", tmp_path / "s.npz"]
    plain = compress(folder, tmp_path / "m.safetensors", *options, *TRELLIS, *DECODER)["plain"]
    kept = plain["w"] != 0
    assert kept[:, 100:110].mean() > 0.7
    weights = open_model(folder / "model.npz")["v"].load()  # magnitudes where there is none
    assert np.abs(weights[plain["v"] != 0]).mean() > 1.8 * np.abs(weights).mean()


@pytest.mark.parametrize("index", ["lowrank", "trellis"])
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_saliency_has_any_dtype_of_weights(
    dtype: type, index: str, folder: Path, tmp_path: Path
) -> None:
    wanted = np.ones((ROWS, COLUMNS), dtype)
    wanted[:, 100:] = 0
    save_file({"w": wanted}, tmp_path / "s.safetensors")
    options = ["--index", index, "--density", 0.1, "--saliency", tmp_path / "s.safetensors"]
    plain = compress(folder, tmp_path / "m.safetensors", *options, *TRELLIS, *DECODER)["plain"]
    kept = plain["w"] != 0
    assert kept[:, :100].mean() > 2 * kept[:, 100:].mean()


def test_hashed_index_costs_nothing_and_outlives_training(folder: Path, tmp_path: Path) -> None:
    first = compress(
        folder, tmp_path / "a.safetensors", "--index", "hashed", "--density", 0.1, *DECODER
    )
    assert first["all"]["bits_per_weight"]["index"] < 0.01
    np.savez(tmp_path / "trained.npz", **{name: 2 * w for name, w in first["plain"].items()})
    out = tmp_path / "b.safetensors"
    options = ("--index", "hashed", "--density", 0.1, *DECODER)
    _, told = xorloom("compress", tmp_path / "trained.npz", "-o", out, *options)
    assert "0.1 asked for: its steps are 1/256" in " ".join(told.split())
    assert "own mask" not in told
    xorloom("decompress", out, "-o", tmp_path / "c.safetensors")
    again = open_model(tmp_path / "c.safetensors")
    for name, plain in first["plain"].items():
        assert np.array_equal(again[name].load() != 0, plain != 0)
    assert 0.08 < (first["plain"]["w"] != 0).mean() < 0.12


def test_weights_of_its_own_mask_that_a_hashed_one_prunes_are_told(
    folder: Path, tmp_path: Path
) -> None:
    weights = open_model(folder / "model.npz")["w"].load()
    pruned = np.where(np.abs(weights) > np.quantile(np.abs(weights), 0.9), weights, 0)
    np.savez(tmp_path / "pruned.npz", w=pruned)
    out = tmp_path / "a.safetensors"
    _, told = xorloom("compress", tmp_path / "pruned.npz", "-o", out, "--index", "hashed", *DECODER)
    xorloom("decompress", out, "-o", tmp_path / "b.safetensors")
    kept = open_model(tmp_path / "b.safetensors")["w"].load() != 0
    lost = np.count_nonzero(pruned[~kept])
    text = f"{lost:,} weights of its own mask are pruned: the hashed mask is another one"
    assert text in " ".join(told.split())


def test_index_none_keeps_every_weight(folder: Path, tmp_path: Path) -> None:
    report = compress(folder, tmp_path / "a.safetensors", "--index", "none", *DECODER)
    assert all((plain != 0).all() for plain in report["plain"].values())


def test_entropy_index_keeps_the_mask_of_the_bitmap_in_fewer_bits(
    folder: Path, tmp_path: Path
) -> None:
    reports = {
        index: compress(folder, tmp_path / f"{index}.safetensors", "--index", index, *DECODER)
        for index in ("bitmap", "entropy")
    }
    bits = {k: r["tensors"]["w"]["bits_per_weight"]["index"] for k, r in reports.items()}
    assert bits["bitmap"] == pytest.approx(1.0, abs=0.001)
    assert bits["entropy"] < 0.5
    assert (reports["bitmap"]["plain"]["w"] == reports["entropy"]["plain"]["w"]).all()
    assert "kept" not in reports["entropy"]


def test_own_masks_go_with_the_entropy_index(folder: Path, tmp_path: Path) -> None:
    options = ["--index", "entropy", "--masks", folder / "masks.npz"]
    plain = compress(folder, tmp_path / "m.safetensors", *options, *DECODER)["plain"]
    with np.load(folder / "masks.npz") as masks:
        assert ((plain["w"] != 0) == masks["w"]).all()


def test_compress_shows_a_table_of_what_is_kept(folder: Path, tmp_path: Path) -> None:
    options = ["--index-bits", 0.2, *TRELLIS, *DECODER]
    title = "chosen masks, beside the bound and N:M at the same bits"
    command = ["compress", folder / "model.npz", "-o", tmp_path / "m.safetensors", *options]
    assert title in xorloom(*command, "--kept")[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept, "kept_row", lambda *_: pytest.fail("measured unasked"))
        assert title not in xorloom(*command)[0]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--sparsity", 0.9, "--density", 0.1], "give either --sparsity or --density"),
        (["--bits-per-weight", 0.3, "--density", 0.1], "bits per weight chooses density and index"),
        (["--bits-per-weight", 0.01], "0.01 bits per weight are too few: the least is 0.2"),
        (["--bits-per-weight", 0.3, "--index", "lowrank"], "bits per weight goes with the trellis"),
        (
            ["--index", "lz"],
            "index must be one of bitmap, entropy, trellis, lowrank, hashed, none, not 'lz'",
        ),
        (["--index-bits", 0.7], "index bits must be between 0.03 and 0.5 bits per weight"),
        (["--index-bits", 0.2, "--density", 0.6], "density must be between 0.015625 and 0.46875"),
        (["--density", 0], "density must be in (0, 1], not 0.0"),
        (["--index", "entropy", "--index-bits", 0.2], "has a rate of its own"),
        (["--index", "hashed", "--index-bits", 0.2], "the hashed index has a rate of its own"),
        (["--index", "hashed", "--density", 1], "density must be at most 255/256 for the hashed"),
        (["--index", "none", "--density", 0.5], "index none keeps every weight: density must be"),
        (["--index-bits", 0.2, "--index-window", 17], "window must be between 6 and 16, not 17"),
        (["--index-bits", 0.2, "--index-classes", 3], "classes must be 1 or 4, not 3"),
        (
            ["--index-bits", 0.2, "--importance", "size"],
            "importance must be one of magnitude, energ",
        ),
        (["--index-bits", 0.2, "--scope", "row"], "scope must be tensor, not row"),
        (
            ["--index-bits", 0.2, "--quantizer", "ternary"],
            "the ternary quantizer clears weights that the mask keeps",
        ),
        (["--index-bits", 0.2, "--saliency", "gone.npz"], "gone.npz: no such file"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else "",
)
def test_compress_refuses_index_options(
    options: list[object], text: str, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "m.safetensors"
    refuses(text, "compress", folder / "model.npz", "-o", out, *options, *DECODER)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("index", ["trellis", "lowrank", "hashed"])
def test_given_mask_is_refused_by_an_index_that_chooses(
    index: str, folder: Path, tmp_path: Path
) -> None:
    refuses(
        f"the {index} index chooses the mask and cannot keep that of 'w' exactly: use the bitmap "
        "or entropy index",
        "compress",
        folder / "model.npz",
        "-o",
        tmp_path / "m.safetensors",
        *DECODER,
        "--index",
        index,
        "--masks",
        folder / "masks.npz",
    )


def test_block_codec_refuses_any_other_index(folder: Path, tmp_path: Path) -> None:
    refuses(
        "the window value codec: the block codec takes the bitmap index",
        "compress",
        folder / "model.npz",
        "-o",
        tmp_path / "m.safetensors",
        "--index-bits",
        0.2,
        "--value",
        "block",
        "--n-in",
        8,
        "--n-out",
        30,
    )


@pytest.mark.parametrize(
    ("arrays", "index", "text"),
    [
        ({"w": np.ones((2, 2), np.float32)}, "trellis", "saliency of 'w' are (2, 2), must be (160"),
        (
            {"x": np.ones(4, np.float32)},
            "trellis",
            "saliency 'x' belongs to no tensor that is comp",
        ),
        ({"w": np.ones((ROWS, COLUMNS), np.int32)}, "trellis", "int32, not floating point"),
        ({"w": -np.ones((ROWS, COLUMNS))}, "trellis", "importance must be finite and not negative"),
        ({"w": np.full((ROWS, COLUMNS), np.nan)}, "trellis", "importance must be finite"),
        ({"w": np.ones((ROWS, COLUMNS))}, "bitmap", "a saliency needs an index that chooses"),
    ],
    ids=["shape", "name", "kind", "negative", "nan", "bitmap"],
)
def test_bad_saliency_is_refused(
    arrays: dict[str, np.ndarray], index: str, text: str, folder: Path, tmp_path: Path
) -> None:
    np.savez(tmp_path / "s.npz", **arrays)
    refuses(
        text,
        "compress",
        folder / "model.npz",
        "-o",
        tmp_path / "m.safetensors",
        *DECODER,
        *TRELLIS,
        "--index",
        index,
        "--saliency",
        tmp_path / "s.npz",
    )
    assert [path.name for path in tmp_path.iterdir()] == ["s.npz"]
