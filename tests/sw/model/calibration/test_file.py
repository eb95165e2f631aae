# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from xorloom.sw.base.errors import ConfigError, FormatError
from xorloom.sw.model.calibration.file import Calibration, load, save
from xorloom.sw.tensors.moments import Moments

EYE = np.eye(3, dtype=np.float32)
LINE = np.arange(3, dtype=np.float32) / 4


def test_file_holds_what_was_saved_and_is_an_npz(tmp_path):
    path = tmp_path / "a.npz"
    odd = {"file": Moments(EYE), "a/b c": Moments(2 * EYE, LINE, 7, EYE, LINE + 1)}
    save(path, odd)
    found = load(path)
    assert list(found) == list(odd)
    for name, moments in odd.items():
        for field in ("second", "mean", "cross", "original_mean"):
            one, two = getattr(found[name], field), getattr(moments, field)
            assert (one is None) == (two is None)
            assert one is None or (np.array_equal(one, two) and one.dtype == two.dtype)
        assert found[name].samples == moments.samples
    with np.load(path) as arrays:
        assert arrays["a/b c.samples"] == 7
        assert np.array_equal(arrays["a/b c.cross_mean"], LINE + 1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_file_that_numpy_wrote_is_read(tmp_path, dtype):
    path = tmp_path / "a.npz"
    np.savez(path, **{"w": EYE.astype(dtype), "w.mean": LINE.astype(dtype)})
    found = load(path).of("w", 3)
    assert np.array_equal(found.second, EYE)
    assert (found.samples, found.cross) == (0, None)


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        ({"w.mean": LINE}, "w: w.mean is there, but the second moment w is missing"),
        ({"w": EYE, "w.mean": EYE}, r"w: mean has shape \(3, 3\), must be \(3,\)"),
        ({"w": EYE * np.nan}, r"w: second moment at \(0, 0\) is nan"),
        ({"w": EYE[:2]}, r"w: second moment has shape \(2, 3\)"),
        ({"w": EYE + np.triu(EYE + 1)}, "w: second moment is not symmetric"),
        ({"w": EYE, "w.samples": np.array(-1)}, "w: w.samples must be one integer"),
        ({"w": EYE, "w.samples": LINE}, "w: w.samples must be one integer"),
        ({"w": np.array([None])}, "no .npz file of numbers"),
    ],
)
def test_what_cannot_be_is_rejected_by_file_and_tensor(tmp_path, arrays, text):
    path = tmp_path / "a.npz"
    np.savez(path, **arrays)
    with pytest.raises(FormatError, match=f"a.npz: {text}"):
        load(path)


def test_files_that_are_no_npz_are_rejected(tmp_path):
    path = tmp_path / "a.npz"
    np.save(tmp_path / "a.npy", EYE)
    with pytest.raises(FormatError, match=r"one array, expected an \.npz file"):
        load(tmp_path / "a.npy")
    for raw in (b"", b"PK\x03\x04 not a zip", b"text"):
        path.write_bytes(raw)
        with pytest.raises(FormatError, match=r"a\.npz: no \.npz file of numbers"):
            load(path)
    save(path, {"w": Moments(EYE)})
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(FormatError, match=r"no \.npz file of numbers"):
        load(path)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "missing.npz")


def test_matrix_that_is_missing_or_of_another_shape_is_told_by_file_and_name():
    calibration = Calibration({name: Moments(EYE) for name in "abcd"}, "x.npz")
    assert calibration.of("a", 3) is calibration["a"]
    with pytest.raises(
        ConfigError, match=r"x\.npz: e: not calibrated; it has a, b, c, \.\. \(coll"
    ):
        calibration.of("e", 3)
    with pytest.raises(ConfigError, match=r"x\.npz: a: calibration is of 3 columns, .* has 4"):
        calibration.of("a", 4)
    with pytest.raises(ConfigError, match="it has nothing"):
        Calibration({}).of("a", 1)


def test_name_that_is_a_part_of_another_is_rejected(tmp_path):
    with pytest.raises(ConfigError, match=r"a\.mean: a calibrated tensor's name must not end in"):
        save(tmp_path / "a.npz", {"a.mean": Moments(EYE)})
