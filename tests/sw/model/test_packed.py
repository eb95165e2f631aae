# SPDX-License-Identifier: Apache-2.0
"""Packed tensors of files: bits, int8 and float32, against the tensors that the file decodes to."""

from dataclasses import replace

import numpy as np
import pytest
from xorloom.sw import open_file, save
from xorloom.sw.base.errors import ConfigError, FormatError
from xorloom.sw.model.codec import decode_tensor
from xorloom.sw.model.container import read_container
from xorloom.sw.tensors.quantize import Quantized, dequantize

rng = np.random.default_rng(5)
WEIGHTS = rng.normal(size=(48, 160)).astype(np.float32)
CASES = {
    "binary": {"sparsity": 0.8},
    "three terms": {"sparsity": 0.8, "planes": 3},
    "alternating, of the tensor": {"sparsity": 0.5, "planes": 2, "quantizer": "alternating"},
    "groups with a rest": {"sparsity": 0.7, "scale": "group", "group": 50, "planes": 2},
    "columns": {"sparsity": 0.7, "scale": "row", "axis": 1},
    "ternary": {"quantizer": "ternary", "sparsity": 0.5},
    "uniform": {"quantizer": "uniform", "sparsity": 0.8, "planes": 4},
    "one scale": {"quantizer": "uniform", "sparsity": 0.8, "planes": 7, "scale": "tensor"},
    "block codec": {"sparsity": 0.8, "value": "block"},
    "direct": {"value": "direct", "rate": 2},
    "rotated": {"value": "direct", "rate": 2, "rotate": True},
    "trellis index": {"sparsity": 0.8, "index": "trellis"},
    "hashed index": {"sparsity": 0.8, "index": "hashed"},
}


def dequantized(path):
    """The tensor of a file by the decoder of bytes."""
    container = read_container(path)
    return dequantize(decode_tensor(container, "w"), container.tensor("w").quantizer)


@pytest.mark.parametrize("settings", CASES.values(), ids=CASES)
def test_packed_parts_mean_what_the_file_decodes_to(settings, tmp_path):
    path = tmp_path / "m.xl.safetensors"
    save({"w": WEIGHTS}, path, min_size=0, **settings)
    container, file = read_container(path), open_file(path)
    whole, quantizer = decode_tensor(container, "w"), container.tensor("w").quantizer
    (part,) = file.get_packed("w")
    mask = np.unpackbits(part.mask, count=WEIGHTS.size, bitorder="little").reshape(WEIGHTS.shape)
    np.testing.assert_array_equal(mask, whole.mask)
    np.testing.assert_array_equal(part.codes(), whole.codes)
    np.testing.assert_array_equal(part.planes[0].view("<u8") & ~part.mask.view("<u8"), 0)
    assert part.weights().tobytes() == dequantized(path).tobytes()
    assert part.weights().tobytes() == file["w"].tobytes()
    values, at = part.int8(), np.arange(WEIGHTS.size)
    assert (values.dtype, values.shape) == (np.int8, (quantizer.terms, *WEIGHTS.shape))
    scales = part.scales.astype(np.float32)[quantizer.rows_of(at, WEIGHTS.shape)]
    weights = sum(v.reshape(-1) * scales[:, t] for t, v in enumerate(values))
    plain = open_file(path, keep_rotation=True)["w"]
    np.testing.assert_array_equal(weights.reshape(WEIGHTS.shape), plain)
    assert (values[0] != 0).sum() <= whole.mask.sum()


@pytest.mark.parametrize("odd", [-1.0, -0.0, 0.0, 3e38])
@pytest.mark.parametrize("settings", [{"quantizer": "uniform", "planes": 3}, {"planes": 2}])
def test_signs_of_scales_and_zeros_are_those_of_dequantize(settings, odd, tmp_path):
    path = tmp_path / "m.xl.safetensors"
    save({"w": WEIGHTS}, path, min_size=0, sparsity=0.5, **settings)
    (part,) = open_file(path).get_packed("w")
    scales = part.scales.astype(np.float32)
    scales[3], scales[5] = odd, 0
    mask = np.unpackbits(part.mask, count=WEIGHTS.size, bitorder="little")
    own = Quantized(mask.reshape(WEIGHTS.shape).astype(np.bool_), part.codes(), scales)
    expected = dequantize(own, part.quantizer)
    assert replace(part, scales=scales).weights().tobytes() == expected.tobytes()


def test_own_codes_are_packed_and_no_weights(tmp_path):
    mask = rng.random(WEIGHTS.shape) < 0.3
    codes = np.where(mask, rng.integers(0, 4, mask.shape), 0).astype(np.uint8)
    path = tmp_path / "m.xl.safetensors"
    save({"w": WEIGHTS}, path, masks={"w": mask}, codes={"w": codes}, planes=2)
    (part,) = open_file(path).get_packed("w")
    np.testing.assert_array_equal(part.codes(), codes)
    with pytest.raises(ConfigError, match=r"safetensors: w holds your own codes, .*: use codes"):
        part.int8()


def test_what_does_not_fit_int8_is_told(tmp_path):
    path = tmp_path / "m.xl.safetensors"
    save({"w": WEIGHTS, "b": WEIGHTS[0]}, path, sparsity=0.5, quantizer="uniform", planes=8)
    (part,) = open_file(path).get_packed("w")
    with pytest.raises(ConfigError, match=r"w: uniform codes of 8 planes do not fit int8, .* -128"):
        part.int8()
    assert part.weights().tobytes() == dequantized(path).tobytes()
    with pytest.raises(ConfigError, match="no compressed tensor 'b'"):
        open_file(path).get_packed("b")
    with pytest.raises(ConfigError, match=r"no tensor 'x' \(there is: "):
        open_file(path).get_packed("x")


def in_blocks(tmp_path, shape=(40, 64), most=640):
    path = tmp_path / "m.xl.safetensors"
    weights = rng.normal(size=shape).astype(np.float32)
    save({"w": weights}, path, min_size=0, sparsity=0.5, block_weights=most)
    return path


def test_parts_of_a_tensor_in_blocks_come_in_order(tmp_path):
    file = open_file(in_blocks(tmp_path))
    parts = file.get_packed("w")
    assert [(part.first, part.shape) for part in parts] == [(640 * k, (10, 64)) for k in range(4)]
    found = np.concatenate([part.weights() for part in parts])
    np.testing.assert_array_equal(found, file["w"])


KEYS = [
    (3, [0]),
    (slice(9, 11), [0, 1]),
    (slice(30, None), [3]),
    (slice(35, 12, -3), [1, 2, 3]),
    (slice(None, None, 25), [0, 1, 2]),
    (slice(5, 5), []),
    ((-1, slice(None, None, 3)), [3]),
    ((..., 7), [0, 1, 2, 3]),
    ((slice(10, 20), ..., slice(3, 1, -1)), [1]),
    (np.array([1, 2]), [0, 1, 2, 3]),
    ((slice(0, 2), slice(4, 4)), [0, 1, 2, 3]),
    ((), [0, 1, 2, 3]),
]


@pytest.mark.parametrize(("key", "blocks"), KEYS, ids=[str(key) for key, _ in KEYS])
def test_a_slice_decodes_the_blocks_that_it_touches(key, blocks, tmp_path, monkeypatch):
    file = open_file(in_blocks(tmp_path))
    whole, decoded = file["w"], []
    from xorloom.sw.model import verify

    own = verify.decode_packed
    monkeypatch.setattr(
        verify, "decode_packed", lambda c, name: (decoded.append(name), own(c, name))[1]
    )
    found = file.get_slice("w")[key]
    names = file._container.blocks("w")
    assert decoded == [names[k] for k in blocks]
    np.testing.assert_array_equal(found, whole[key])
    assert np.shape(found) == np.shape(whole[key])


def test_a_slice_of_blocks_within_rows(tmp_path):
    path = in_blocks(tmp_path, (3, 16, 64), 512)
    file = open_file(path)
    whole = file["w"]
    assert len(file.get_packed("w")) == 6
    for key in ((1, slice(9, 14)), (slice(1, 3), slice(0, 3), 5), (2,), (slice(None, None, -2),)):
        if any(isinstance(k, slice) and k.step for k in key):
            assert file.get_slice("w")[key].tobytes() == whole[key].tobytes()
        else:
            np.testing.assert_array_equal(file.get_slice("w")[key], whole[key])
    with pytest.raises(IndexError):
        file.get_slice("w")[3]


def test_damage_is_found_in_packed_parts(tmp_path):
    path = in_blocks(tmp_path)
    data = bytearray(path.read_bytes())
    data[-300] ^= 1
    path.write_bytes(data)
    with pytest.raises(FormatError, match="is damaged"):
        open_file(path).get_packed("w")
