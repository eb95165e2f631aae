# SPDX-License-Identifier: Apache-2.0
"""Compressed files by load, save and open_file, against the plain file of decompress."""

import json
import logging
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import safetensors
from safetensors.numpy import load_file
from xorloom.sw import load, open_file, save
from xorloom.sw.base.errors import ConfigError, FormatError, ToolError
from xorloom.sw.model.calibration.file import Calibration
from xorloom.sw.model.decompress import decompress_model
from xorloom.sw.tensors.moments import Moments

from tests.helpers.cli import xorloom

rng = np.random.default_rng(4)
ARRAYS = {
    "a.weight": rng.normal(size=(64, 128)).astype(np.float32),
    "a.bias": rng.normal(size=64).astype(np.float32),
    "b.weight": rng.normal(size=(48, 160)).astype(ml_dtypes.bfloat16),
    "steps": np.arange(3),
    "empty": np.zeros((0, 4), np.float16),
}


def bits_of(array: np.ndarray) -> tuple[np.dtype, tuple[int, ...], bytes]:
    return array.dtype, array.shape, array.tobytes()


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    found = tmp_path_factory.mktemp("files") / "m.xl.safetensors"
    save(ARRAYS, found, sparsity=0.8, planes=2, metadata={"format": "np"})
    return found


def plain(path: Path) -> Path:
    out = path.with_name("plain.safetensors")
    decompress_model(path, out)
    return out


def test_arrays_are_those_of_the_plain_file(path):
    wanted = load_file(plain(path))
    with open_file(path) as file:
        assert list(file.keys()) == list(ARRAYS)
        for name in file:
            assert bits_of(file.get_tensor(name)) == bits_of(wanted[name])
        assert file.metadata() == {"format": "np"}
    assert {n: bits_of(a) for n, a in load(path).items()} == {n: bits_of(wanted[n]) for n in ARRAYS}
    np.testing.assert_array_equal(wanted["a.bias"], ARRAYS["a.bias"])


def test_names_and_calls_are_those_of_safe_open(path):
    with safetensors.safe_open(plain(path), "np") as theirs, open_file(str(path)) as ours:
        assert set(ours.keys()) == set(theirs.keys())
        for name in ours:
            part, wanted = ours.get_slice(name), theirs.get_slice(name)
            assert (part.get_shape(), part.get_dtype()) == (wanted.get_shape(), wanted.get_dtype())
        np.testing.assert_array_equal(
            ours.get_slice("a.weight")[3:9, ::2], theirs.get_tensor("a.weight")[3:9, ::2]
        )


def test_what_is_loaded_is_decoded_once_and_can_be_written_to(path):
    weights = load(path)
    weights["a.weight"][0, 0] = 7
    weights["steps"][0] = 7
    assert weights["a.weight"][0, 0] == weights["steps"][0] == 7
    assert open_file(path)["a.weight"][0, 0] != 7


def test_save_writes_what_the_command_writes(path, tmp_path):
    from safetensors.numpy import save_file

    save_file(ARRAYS, tmp_path / "in.safetensors", metadata={"format": "np"})
    out = tmp_path / "cli.safetensors"
    xorloom(
        "compress", tmp_path / "in.safetensors", "-o", out, "--sparsity", "0.8", "--planes", "2"
    )
    # The safetensors package orders tensors by the size of their elements.
    ours, theirs = load(path), load(out)
    assert {n: bits_of(a) for n, a in ours.items()} == {n: bits_of(a) for n, a in theirs.items()}


def test_own_masks_and_codes_come_back_beside_each_other(tmp_path):
    mask = rng.random((64, 128)) < 0.1
    codes = np.where(mask, rng.integers(0, 2, mask.shape), 0).astype(np.uint8)
    out = tmp_path / "codes.safetensors"
    save({"w": ARRAYS["a.weight"]}, out, masks={"w": mask}, codes={"w": codes})
    file = open_file(out)
    assert list(file) == ["w", "w.mask"]
    np.testing.assert_array_equal(file["w"] * mask, codes)
    assert bits_of(file["w.mask"]) == bits_of(mask)
    assert file.get_slice("w.mask").get_dtype() == "BOOL"


def test_save_tells_what_it_chooses_and_misses(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        save(ARRAYS, tmp_path / "m.xl.safetensors", bits_per_weight=1.5)
    assert any("direct" in record.message for record in caplog.records)


def test_save_tells_of_a_calibration_that_is_not_used(tmp_path, caplog):
    calibration = Calibration({"a.weight": Moments(np.eye(128)), "b.weight": Moments(np.eye(160))})
    options = {"value": "direct", "rate": 2, "calibration": calibration}
    save(ARRAYS, tmp_path / "m.xl.safetensors", include=["b.weight"], **options)
    assert [r.message for r in caplog.records if "calibration" in r.message] == [
        "calibration not used, as they are not compressed so: a.weight"
    ]
    caplog.clear()
    save(ARRAYS, tmp_path / "m.xl.safetensors", **options)
    assert not any("calibration" in r.message for r in caplog.records)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sparcity": 0.9}, "save: .*sparcity"),
        ({"sparsity": 0.9, "density": 0.1}, "save: give either sparsity or density"),
        ({"planes": "two"}, "save: .*planes"),
    ],
)
def test_settings_that_are_none_are_refused(settings, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        save(ARRAYS, tmp_path / "m", **settings)
    assert not list(tmp_path.iterdir())


def test_files_and_names_that_are_none_are_refused(path, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"no tensor 'x' \(there is: a.weight, "):
        open_file(path).get_tensor("x")
    with pytest.raises(KeyError):
        load(path)["x"]
    with pytest.raises(ConfigError, match=r"framework must be one of np, .* not 'jax'"):
        load(path, "jax")
    with pytest.raises(ConfigError, match="no such file"):
        load(tmp_path / "none")
    with pytest.raises(FormatError, match="compress it first"):
        load(plain(path))
    with pytest.raises(ConfigError, match=r"tensors must be NumPy arrays, .*: l"):
        save({"l": [1.0, 2.0], **ARRAYS}, tmp_path / "m")
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(ToolError, match="torch is not installed"):
        load(path, "pt")


def test_damage_is_found_when_the_tensor_is_read(path, tmp_path):
    data = bytearray(path.read_bytes())
    length = int.from_bytes(data[:8], "little")
    at = json.loads(data[8 : 8 + length])["a.weight.xl_stream"]["data_offsets"][0]
    data[8 + length + at] ^= 1
    (tmp_path / "m").write_bytes(data)
    weights = load(tmp_path / "m")
    assert weights["b.weight"].shape == (48, 160)
    with pytest.raises(FormatError, match=r"a\.weight\.xl_stream' is damaged"):
        weights["a.weight"]
