# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest
from xorloom.sw.base.errors import FormatError
from xorloom.sw.model import verify
from xorloom.sw.model.codec import decode_tensor, encode_tensor
from xorloom.sw.model.container import (
    CompressedTensor,
    StoredTensor,
    content_crc32,
    read_container,
    write_container,
)
from xorloom.sw.model.reports.inspect import tensor_bits
from xorloom.sw.model.verify import verify_model, verify_tensor
from xorloom.sw.spec.weight_format import Decoder, index_for
from xorloom.sw.tensors.quantize import Quantized
from xorloom.sw.value.block.codec import encode
from xorloom.sw.value.block.stream import pack_block

from tests.helpers.models import CONFIG

DECODER = Decoder(CONFIG, index_for(CONFIG, 2))


def write_one(path, quantized, **changes):
    """Write a container of one tensor of two planes whose manifest entry has ``changes``."""
    encoded = encode_tensor(quantized, 2, DECODER, has_scales=False)
    facts = {
        "shape": quantized.mask.shape,
        "dtype": "U8",
        "planes": 2,
        "content_crc32": content_crc32(quantized.mask, quantized.codes),
        "quantizer": None,
        "decoder": DECODER,
    }
    parts = {
        ".xl_stream": ("U8", (len(encoded.stream),), encoded.stream),
        ".xl_index": ("U8", (len(encoded.index),), encoded.index),
    }
    stored = StoredTensor("w", parts, CompressedTensor(**facts | changes))
    write_container(path, [stored])
    return read_container(path)


@pytest.fixture
def quantized(rng):
    mask = rng.random((13, 11)) < 0.5
    codes = (rng.integers(0, 4, mask.shape) * mask).astype(np.uint8)
    return Quantized(mask, codes, np.zeros((0, 0), np.float16))


def test_decode_tensor_rejects_a_stream_of_other_planes(quantized, tmp_path):
    container = write_one(tmp_path / "c.safetensors", quantized, planes=1)
    with pytest.raises(FormatError, match=r"w: stream must hold 4 slices, found 8"):
        decode_tensor(container, "w")


def test_decode_tensor_rejects_an_index_of_another_shape(quantized, tmp_path):
    container = write_one(tmp_path / "c.safetensors", quantized, shape=(13, 12))
    with pytest.raises(FormatError, match="bitmap must hold 156 weights, found 143"):
        decode_tensor(container, "w")


def test_verify_tensor_rejects_other_contents(quantized, tmp_path):
    good = write_one(tmp_path / "c.safetensors", quantized)
    assert (verify_tensor(good, "w").codes == quantized.codes).all()
    container = write_one(tmp_path / "c.safetensors", quantized, content_crc32=5)
    crc = content_crc32(quantized.mask, quantized.codes)
    text = f"w: mask and codes must have CRC-32 00000005, decoded {crc:08x}"
    for read in (verify_tensor, tensor_bits):
        with pytest.raises(FormatError, match=text):
            read(container, "w")
    assert (decode_tensor(container, "w").codes == quantized.codes).all()


@pytest.mark.parametrize("what", ["mask", "codes"])
def test_verify_compares_the_golden_models_of_index_and_values(
    what, quantized, tmp_path, monkeypatch
):
    container = write_one(tmp_path / "c.safetensors", quantized)
    assert all(verdict.ok for verdict in verify_model(container, golden=True))
    golden = getattr(verify, f"golden_{what}")
    monkeypatch.setattr(verify, f"golden_{what}", lambda *given: golden(*given) ^ 1)
    (verdict,) = verify_model(container, golden=True)
    assert not verdict.ok
    assert "c.safetensors: w: " in verdict.message
    assert verdict.message.endswith("s of fast decoder and golden model differ")
    assert all(verdict.ok for verdict in verify_model(container))


def test_content_crc32_sees_mask_and_kept_codes_only(quantized):
    base = content_crc32(quantized.mask, quantized.codes)
    noise = np.where(quantized.mask, quantized.codes, 9).astype(np.uint8)
    assert content_crc32(quantized.mask, noise) == base
    other = quantized.codes.copy()
    other[tuple(np.argwhere(quantized.mask)[0])] ^= 1
    assert content_crc32(quantized.mask, other) != base
    assert content_crc32(~quantized.mask, quantized.codes) != base


def test_encode_tensor_of_codes_has_no_scale(rng):
    mask = rng.random((9, 9)) < 0.5
    q = Quantized(mask, mask.astype(np.uint8), np.ones((9, 1), np.float16))
    with_scale = encode_tensor(q, 1, DECODER)
    without = encode_tensor(q, 1, DECODER, has_scales=False)
    assert with_scale.scale is q.scales
    assert without.scale is None
    assert with_scale.bits.scales == 9 * 16
    assert without.bits.scales == 0
    assert (
        with_scale.stream
        == without.stream
        == pack_block(encode(mask, q.codes, 1, CONFIG), CONFIG)[0]
    )
