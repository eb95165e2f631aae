# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.tensors.codes import check_codes, signed_codes, unsigned_codes


@pytest.mark.parametrize("planes", range(1, 9))
def test_signed_codes_are_twos_complement(planes):
    values = list(range(-(2 ** (planes - 1)), 2 ** (planes - 1)))
    stored = unsigned_codes(np.array(values, np.int8), planes)
    assert stored.dtype == np.uint8
    assert stored.tolist() == [value % 2**planes for value in values]
    back = signed_codes(stored, planes)
    assert back.dtype == np.int8
    assert back.tolist() == values
    check_codes(np.ones(stored.shape, np.bool_), stored, planes)


def test_unsigned_codes_keeps_uint8_codes_and_any_shape():
    codes = np.arange(8, dtype=np.uint8).reshape(2, 2, 2)
    assert unsigned_codes(codes, 3).tolist() == codes.tolist()
    assert unsigned_codes(np.array(-1, np.int8), 2).tolist() == 3
    assert unsigned_codes(np.zeros((0, 3), np.int8), 2).shape == (0, 3)
    assert unsigned_codes(np.array([[-1, 1], [0, -2]], np.int8).T, 2).tolist() == [[3, 0], [1, 2]]
    assert signed_codes(np.array([[3, 0], [1, 2]], np.uint8).T, 2).tolist() == [[-1, 1], [0, -2]]


@pytest.mark.parametrize(
    ("codes", "planes", "text"),
    [
        (
            np.array([[0, 1], [-9, 99]], np.int8),
            4,
            "fc: code -9 at (1, 0) must be between -8 and 7 for 4 planes of int8 codes (use 8 "
            "planes)",
        ),
        (
            np.array([7, 8], np.int8),
            4,
            "fc: code 8 at (1,) must be between -8 and 7 for 4 planes of int8 codes (use 5 planes)",
        ),
        (
            np.array([1], np.int8),
            1,
            "fc: code 1 at (0,) must be between -1 and 0 for 1 planes of int8 codes (use 2 planes)",
        ),
        (
            np.array([-128], np.int8),
            7,
            "fc: code -128 at (0,) must be between -64 and 63 for 7 planes of int8 codes (use 8 "
            "planes)",
        ),
        (
            np.array([7, 8], np.uint8),
            3,
            "fc: code 8 at (1,) must be between 0 and 7 for 3 planes of uint8 codes (use 4 planes)",
        ),
        (np.array([1], np.int32), 3, "fc: codes must be int8 or uint8, not int32"),
        (np.array([1.0]), 3, "fc: codes must be int8 or uint8, not float64"),
    ],
)
def test_unsigned_codes_rejects(codes, planes, text):
    with pytest.raises(ConfigError) as caught:
        unsigned_codes(codes, planes, "fc")
    assert str(caught.value) == text


@pytest.mark.parametrize("planes", [0, 9])
@pytest.mark.parametrize("function", [signed_codes, unsigned_codes])
def test_codes_of_no_plane_or_nine_are_rejected(function, planes):
    with pytest.raises(ConfigError, match="planes must be between 1 and 8"):
        function(np.zeros(3, np.uint8), planes)
