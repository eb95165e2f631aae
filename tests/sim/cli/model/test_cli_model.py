# SPDX-License-Identifier: Apache-2.0
"""``xorloom compress``, ``inspect``, ``verify`` and ``decompress``: output, messages, no litter."""

import json
from pathlib import Path

import numpy as np
import pytest
from xorloom.sw.tensors.checkpoint import open_model

from tests.helpers.cli import WINDOW, refuses, xorloom
from tests.helpers.small_files import VERSION_2

ORDERS = ("row", "column", "strided", "strided-column", "skewed", "skewed-column")


def test_compress_reports_bits_as_json(codec: str, folder: Path) -> None:
    report = json.loads((folder / "report.json").read_text())
    keys = {"command", "codec", "config", "index", "decoders", "recipe", "notes", "tensors", "all"}
    assert set(report) == keys
    assert report["notes"] == []
    one = {key: report[key] for key in ("codec", "config", "index")}
    assert report["decoders"] == [one]
    assert report["recipe"]["default"]["sparsity"] == 0.8
    assert report["command"].startswith(f"xorloom compress {folder / 'model.npz'} -o ")
    assert "--json" not in report["command"]
    assert report["codec"] == codec
    n_out = {"block": 30, "window": 64}[codec]
    assert (report["config"]["n_in"], report["config"]["n_out"]) == (8, n_out)
    assert set(report["tensors"]) == {"first", "second"}
    assert report["tensors"]["first"]["weights"] == 2000
    assert report["tensors"]["first"]["kept"] == 400
    assert report["all"]["weights"] == 2600


def test_inspect_reports_the_same_bits_as_compress(codec: str, folder: Path, model: Path) -> None:
    report = json.loads(xorloom("inspect", model, "--json")[0])
    frames = report.pop("frames")
    lanes = 64 if codec == "window" else 30
    config = {"n_out": lanes, "bus_bits": 32}
    assert report.pop("index") == {"codec": "bitmap", "config": config}
    assert report.pop("fifos") == []
    assert report.pop("command") == f"xorloom inspect {model}"
    compressed = json.loads((folder / "report.json").read_text())
    for name, facts in compressed["tensors"].items():
        assert report["tensors"].pop(name).items() <= facts.items()
        assert 0 < facts["error"] < 1
        assert facts["quantizer"]["scale_dtype"] == "float16"
    assert report.pop("tensors") == {}
    assert report.items() <= compressed.items()
    assert set(frames) == ({"first", "second"} if codec == "window" else set())
    one = json.loads(xorloom("inspect", model, "--tensor", "second", "--json")[0])
    assert list(one["tensors"]) == ["second"]
    assert set(one["frames"]) <= {"second"}
    table = xorloom("inspect", model)[0]
    line = {
        "block": "block decoder: n_in 8, n_out 30, lanes 2, ",
        "window": "window decoder: n_in 8, n_out 64, window 64, ",
    }[codec]
    for word in ("first", "second", "all", "2,600", line):
        assert word in table
    assert ("frames: steps per slice" in table) == (codec == "window")


@pytest.mark.parametrize("codec", ["window"], indirect=True)
def test_inspect_tells_the_rates_of_every_frame(codec: str, model: Path) -> None:
    report = json.loads(xorloom("inspect", model, "--json")[0])
    for name, weights in (("first", 2000), ("second", 600)):
        facts = report["frames"][name]
        assert set(facts) == {"order", "streams", "slices", "frame_slices", "steps", "patches"}
        assert facts["order"] in ORDERS
        assert facts["streams"] == 1
        assert facts["slices"] == -(-weights // 64)
        assert facts["frame_slices"] == 16
        assert len(facts["steps"]) == len(facts["patches"]) == -(-facts["slices"] // 16)
        assert all(steps >= 16 for steps in facts["steps"])
        assert not any(facts["patches"])
        steps = report["frames"][name]["steps"]
        # Every step is a chunk of 8 bits; the last frame ends with its last slice.
        stored = report["tensors"][name]["seeds"] + report["tensors"][name]["control"]
        assert stored <= 8 * (64 // 8 - 1 + sum(steps))
    table = xorloom("inspect", model)[0]
    fewest, most = (f(report["frames"]["second"]["steps"]) / 16 for f in (min, max))
    (line,) = [line for line in table.splitlines() if line.split()[:1] == ["second"]][1:]
    cells = line.split()
    assert cells[1:5] == [report["frames"]["second"]["order"], "1", "10", "1"]
    assert (cells[5], cells[7]) == (f"{fewest:.3f}", f"{most:.3f}")
    assert cells[8:] == [f"{sum(report['frames']['second']['steps'])}", "0"]


@pytest.mark.parametrize("golden", [[], ["--golden"]], ids=["fast", "golden"])
def test_verify_passes_a_sound_file(model: Path, golden: list[str]) -> None:
    result = json.loads(xorloom("verify", model, "--json", *golden)[0])
    assert result["ok"] is True
    assert {row["tensor"]: row["ok"] for row in result["tensors"]} == {
        "first": True,
        "second": True,
        "bias": True,
    }
    text = xorloom("verify", model, *golden)[0]
    assert text.startswith("3 of 3 tensors are bit-exact")


def test_decompress_writes_the_pruned_weights(folder: Path, model: Path) -> None:
    output = folder / "plain.safetensors"
    assert "2 tensors decoded" in xorloom("decompress", model, "-o", output)[0]
    plain, original = open_model(output), open_model(folder / "model.npz")
    assert set(plain) == set(original)
    assert (plain["bias"].load() == original["bias"].load()).all()
    first, weights = plain["first"].load(), original["first"].load()
    assert first.dtype == weights.dtype
    kept = first != 0
    assert kept.sum() == 400
    assert np.abs(weights[kept]).min() >= np.abs(weights[~kept]).max()
    assert (np.sign(first[kept]) == np.sign(weights[kept])).all()


def test_verify_of_a_damaged_file_exits_with_1(damaged: Path) -> None:
    done, _ = xorloom("verify", damaged, code=1)
    assert "FAILED" in done
    assert "2 of 3 tensors are bit-exact" in done
    result = json.loads(xorloom("verify", damaged, "--json", code=1)[0])
    assert result["ok"] is False
    (bad,) = [row for row in result["tensors"] if not row["ok"]]
    assert "CRC-32" in bad["message"]


def test_damaged_header_exits_with_1(folder: Path, model: Path) -> None:
    data = bytearray(model.read_bytes())
    data[data.index(b"n_out")] ^= 1
    path = folder / "header.safetensors"
    path.write_bytes(data)
    refuses("header is damaged: CRC-32 must be", "inspect", path, code=1)
    path.write_bytes(b"no model")
    refuses("header.safetensors", "inspect", path, code=1)
    np.savez(folder / "plain.npz", w=np.zeros((2, 2), np.float32))
    refuses("plain.npz", "verify", folder / "plain.npz", code=1)


def test_decompress_of_a_damaged_file_leaves_nothing_behind(damaged: Path, tmp_path: Path) -> None:
    refuses("CRC-32", "decompress", damaged, "-o", tmp_path / "out.safetensors", code=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--sparsity", "90"], "sparsity must be in [0, 1), not 90.0"),
        (["--bus-bits", "48"], "bus_bits must be one of 32, 64, 128, 256, 512, not 48"),
        (["--quantizer", "magic"], "'magic'"),
        (["--scope", "layer"], "scope must be one of tensor, row, global, not 'layer'"),
        (["--tensors", "third"], "no matrix matches 'third'"),
        (["--planes", "9"], "planes must be between 1 and 8, not 9"),
        (["--masks", "missing.npz"], "missing.npz: no such file"),
        (["--no-such-option"], "--no-such-option"),
        (["--n-out", "many"], "Invalid value for '--n-out'"),
        (["--n-in", "24"], "n_in must be a power of two between 8 and 256, not 24"),
        (
            ["--n-in", "512"],
            "n_in must be a power of two between 8 and 256, not 512 (more bits per cycle need",
        ),
        (["--n-out", "100"], "n_out must be a multiple of 64 between 64 and 2048, not 100"),
        (["--value", "huffman"], "value codec must be block, window, direct, not 'huffman'"),
        (["--value", "block", "--n-in", "80"], "n_in must be between 1 and 64, not 80 (use more"),
        (["--lanes", "2"], "--lanes belongs to --value block, not window"),
        (["--block-groups", "2"], "--block-groups belongs to --value block, not window"),
        (["--patches-per-cycle", "2"], "--patches-per-cycle belongs to --value block, not window"),
        (
            ["--value", "block", "--window", "64"],
            "--window belongs to --value window or direct, not block",
        ),
        (["--value", "block", "--own-taps", "3"], "--own-taps belongs to --value window, not blo"),
        (["--value", "block", "--shared-taps", "3"], "--shared-taps belongs to --value window,"),
        (["--value", "block", "--shared", "3"], "--shared belongs to --value window, not block"),
        (["--value", "block", "--parity-taps", "3"], "--parity-taps belongs to --value window,"),
        (["--value", "block", "--frame", "16"], "--frame belongs to --value window, not block"),
        (["--value", "block", "--patches", "0"], "--patches belongs to --value window, not block"),
        (
            ["--value", "block", "--order", "row"],
            "--order belongs to --value window or direct, not block",
        ),
        (["--order", "diagonal"], "order must be one of row, column, strided, strided-column, sk"),
        (["--patches", "1", "--n-in", "16"], "with patches, n_in must hold"),
        (["--shared", "0"], "shared 0 and shared_taps 3 must both be 0 or neither"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
@pytest.mark.parametrize("codec", ["window"], indirect=True)
def test_compress_with_a_bad_argument_exits_with_2_and_writes_nothing(
    folder: Path, tmp_path: Path, options: list[str], text: str
) -> None:
    source = folder / "model.npz"
    refuses(
        text,
        "compress",
        source,
        "-o",
        tmp_path / "out.safetensors",
        "--min-size",
        100,
        *options,
    )
    assert list(tmp_path.iterdir()) == []


def test_missing_input_exits_with_2(tmp_path: Path) -> None:
    gone, out = tmp_path / "gone.safetensors", tmp_path / "out.safetensors"
    for command in (["compress", gone, "-o", out], ["decompress", gone, "-o", out]):
        refuses("gone.safetensors: no such file", *command)
    for command in ("inspect", "verify", "simulate", "bandwidth"):
        refuses("gone.safetensors: no such file", command, gone)
    assert list(tmp_path.iterdir()) == []


def test_compress_refuses_to_overwrite_its_input(folder: Path, model: Path) -> None:
    before = model.read_bytes()
    refuses(f"{model} is the input: give the output another name", "compress", model, "-o", model)
    refuses(
        "output must end in .safetensors, not 'out.bin'",
        "compress",
        folder / "model.npz",
        "-o",
        folder / "out.bin",
    )
    assert model.read_bytes() == before


def test_unknown_tensor_exits_with_2(model: Path) -> None:
    text = "no compressed tensor 'third' in"
    refuses(text, "inspect", model, "--tensor", "third")
    refuses(text, "simulate", model, "--tensor", "third")


@pytest.mark.parametrize("planes", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_compress_keeps_the_order_it_is_given_and_verifies_with_the_golden_model(
    planes: int, tmp_path: Path
) -> None:
    rng = np.random.default_rng(8)
    np.savez(tmp_path / "m.npz", w=rng.normal(size=(23, 31)).astype(np.float32))
    plain = []
    for order in ("strided", "skewed-column"):  # test_window_decoder.py has all of them
        out = tmp_path / f"{order}.safetensors"
        options = ["--order", order, "--planes", planes, "--sparsity", 0.7, "--min-size", 1]
        xorloom("compress", tmp_path / "m.npz", "-o", out, *options, *WINDOW)
        report = json.loads(xorloom("inspect", out, "--json")[0])
        assert report["frames"]["w"]["order"] == order
        assert report["frames"]["w"]["slices"] == -(-23 * 31 // (64 // planes))
        result = xorloom("verify", out, "--golden")[0]
        assert result.startswith("1 of 1 tensors are bit-exact with the fast decoder and the golde")
        xorloom("decompress", out, "-o", tmp_path / f"{order}.plain.safetensors")
        plain.append(open_model(tmp_path / f"{order}.plain.safetensors")["w"].raw())
    assert len(set(plain)) == 1, "the order changes no weight"


@pytest.mark.parametrize(("sparsity", "n_in"), [(0.5, 128), (0.8, 64), (0.95, 16), (0.99, 8)])
def test_compress_writes_the_window_codec_and_chooses_n_in_by_density(
    sparsity: float, n_in: int, tmp_path: Path
) -> None:
    rng = np.random.default_rng(9)
    np.savez(tmp_path / "m.npz", w=rng.normal(size=(128, 128)).astype(np.float32))
    out = tmp_path / "m.safetensors"
    done, _ = xorloom("compress", tmp_path / "m.npz", "-o", out, "--sparsity", sparsity, "--json")
    report = json.loads(done)
    assert report["codec"] == "window"
    expected = {"n_in": n_in, "n_out": 512, "window": 512, "shared": 256, "frame": 128}
    assert report["config"] | expected == report["config"]


def test_inspect_tells_no_error_of_a_file_of_version_2() -> None:
    path = VERSION_2 / "window.safetensors"
    report = json.loads(xorloom("inspect", path, "--json")[0])
    assert {facts["error"] for facts in report["tensors"].values()} == {None}
    (line,) = [row for row in xorloom("inspect", path)[0].splitlines() if row.startswith("  w ")][
        :1
    ]
    assert line.split()[-1] == "-"


def test_decompress_writes_safetensors_under_no_other_ending(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "plain.npz"
    refuses(
        "must end in .safetensors, not 'plain.npz'; with --into", "decompress", model, "-o", out
    )
    assert not out.exists()
