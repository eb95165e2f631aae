# SPDX-License-Identifier: Apache-2.0
import ml_dtypes
import numpy as np
import pytest
from xorloom.sw.base.errors import CapacityError, ConfigError, FormatError
from xorloom.sw.tensors.checkpoint import from_arrays
from xorloom.sw.tensors.checkpoint.model import listed, reader


def test_checkpoint_is_a_mapping_in_order():
    model = from_arrays({"b": np.ones(2), "a": np.ones((3, 4), np.float16)})
    assert list(model) == ["b", "a"]
    assert len(model) == 2
    assert "a" in model
    assert (model["a"].dtype, model["a"].shape, model["a"].size) == ("F16", (3, 4), 12)
    assert (model.path, model.metadata, model.ties, model.notes) == (None, {}, {}, ())


def test_size_of_a_shape_beyond_64_bits_is_exact():
    tensor = from_arrays({"w": np.zeros((0, 1))})["w"]
    assert type(tensor)("w", "F32", (1 << 40, 1 << 40), tensor.load).size == 1 << 80


@pytest.mark.parametrize(
    ("dtype", "yes"),
    [
        (np.float64, True),
        (np.float16, True),
        (ml_dtypes.bfloat16, True),
        (ml_dtypes.float8_e4m3fn, True),
        (ml_dtypes.float8_e5m2fnuz, True),
        (ml_dtypes.float8_e8m0fnu, False),  # it has no zero, which pruned weights become
        (np.int8, False),
        (np.complex64, False),
        (np.bool_, False),
    ],
)
def test_floats_with_a_zero_are_weights(dtype, yes):
    assert from_arrays({"w": np.ones(2, dtype)})["w"].is_float == yes


@pytest.mark.parametrize("value", [1e60, -1e300, 1e-60, np.nextafter(np.finfo("f").tiny, 0.0)])
def test_doubles_that_float32_cannot_hold_are_named(value):
    tensor = from_arrays({"w": np.array([[0, 0, 0], [0, 0, value]], np.float64)})["w"]
    with pytest.raises(ConfigError) as caught:
        tensor.weights()
    assert str(caught.value) == (
        f"tensor 'w': weight at (1, 2) is {value:.6g}; the largest must be between 1.2e-38 and "
        "3.4e+38, the range of float32 scales: multiply the tensor by a power of two, or leave "
        "it out"
    )


def test_doubles_that_float32_holds_are_rounded_to_it():
    values = np.array([0.1, 1e-60, -3e38, np.inf, np.nan])
    found = from_arrays({"w": values})["w"].weights()
    assert np.array_equal(found, values.astype(np.float32), equal_nan=True)
    assert not from_arrays({"w": np.zeros(3)})["w"].weights().any()
    assert not from_arrays({"w": np.zeros((0, 3))})["w"].weights().size


def test_listed_tells_the_first_few_and_how_many_more():
    assert listed(["a"]) == "a"
    assert listed("abcde") == "a, b, c, d, e"
    assert listed(map(str, range(2000))) == "0, 1, 2, 3, 4 and 1,995 more"


@pytest.mark.parametrize(
    ("raised", "kind", "text"),
    [
        (ValueError("bad"), FormatError, "m: tensor 'w' cannot be read: bad"),
        (MemoryError("9 TB"), CapacityError, "m: tensor 'w' does not fit into memory: 9 TB"),
        (ConfigError("ours"), ConfigError, "ours"),
        (OSError("bad stream"), FormatError, "m: tensor 'w' cannot be read: bad stream"),
        (OSError(5, "disk", "m"), OSError, "[Errno 5] disk: 'm'"),
    ],
)
def test_reader_names_the_tensor_in_errors(raised, kind, text):
    def read():
        raise raised

    with pytest.raises(kind) as caught:
        reader("m: tensor 'w'", read)()
    assert str(caught.value) == text
