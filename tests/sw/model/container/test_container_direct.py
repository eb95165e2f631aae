# SPDX-License-Identifier: Apache-2.0
"""Files of the direct codec: what the manifest must say, and what is checked beyond it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from xorloom.sw.base.errors import ConfigError, FormatError
from xorloom.sw.memory.image import memory_image
from xorloom.sw.model import verify
from xorloom.sw.model.container import STREAM, read_container, rotations
from xorloom.sw.model.reports.inspect import tensor_bits, tensor_frames
from xorloom.sw.model.verify import golden_levels, plain_weights, verify_model
from xorloom.sw.tensors.rotation import rotate
from xorloom.sw.value.plane import encode_value, stream_bits

from tests.helpers.containers import change_config, change_tensor, read_all, rewrite
from tests.helpers.mutations import reseal, split_file
from tests.helpers.small_files import small_files


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "c.safetensors").write_bytes(small_files()["direct"])
    return tmp_path / "c.safetensors"


def test_a_file_says_what_is_rotated(path: Path) -> None:
    container = read_container(path)
    assert rotations(container) == {"w": 1, "c": 2**64 - 1, "v": 3, "none": 0}
    turned, kept = (plain_weights(container, "w", keep_rotation=k) for k in (False, True))
    assert np.allclose(rotate(turned, 1), kept, atol=1e-4 * np.abs(kept).max())
    assert (turned != kept).any()
    one = plain_weights(container, "plain")
    assert (one == plain_weights(container, "plain", keep_rotation=True)).all()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (change_tensor(rotation=-1), "rotation must be between 0 and 18446744073709551615"),
        (change_tensor(rotation=2**64), "rotation must be between 0 and 18446744073709551615"),
        (change_tensor(rotation=True), "rotation must be an integer, not True"),
        (change_tensor(rotation="1"), "rotation must be an integer, not '1'"),
        (change_tensor(rotation=1.0), "rotation must be an integer, not 1.0"),
        (lambda m: m["tensors"]["w"].pop("rotation"), "unknown keys: 'rotation'"),
        (change_tensor(quantizer=None), "quantizer must be trellis, not codes of your own"),
        (change_tensor(planes=2), "planes must be 3, as the direct codec's network has, not 2"),
        (change_tensor(order="fast"), "order must be one of"),
        (change_tensor(slices_per_stream=0), "slices_per_stream must be between 1"),
        (change_config(planes=7), "planes must be between 1 and 6"),
        (change_config(n_in=100), "bits per weight: it must be between 1/32 and 4"),
        (change_config(window=5), "window must be between 6 and 16"),
        (change_config(patches=0), "missing or unknown patches"),
        (
            lambda m: m["tensors"]["w"]["quantizer"].update(method="binary"),
            "quantizer must be trellis, not the binary quantizer",
        ),
        (
            lambda m: m["decoders"][0]["index"].update(codec="bitmap"),
            "the bitmap index goes with the window value codec",
        ),
    ],
)
def test_its_manifest_is_strict(change: Any, text: str, path: Path) -> None:
    rewrite(path)
    read_all(path)
    rewrite(path, change)
    with pytest.raises(FormatError, match=text):
        read_container(path)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (change_tensor(rotation=1), "entry has missing or unknown keys: 'rotation'"),
        (
            lambda m: m["tensors"]["w"]["quantizer"].update(method="trellis"),
            "the trellis quantizer goes with the direct value codec, not window",
        ),
    ],
)
def test_other_codecs_have_none_of_it(change: Any, text: str, path: Path) -> None:
    path.write_bytes(small_files()["entropy"])
    rewrite(path, change)
    with pytest.raises(FormatError, match=text):
        read_container(path)


@pytest.mark.parametrize("key", ["network_seed", "taps"])
def test_streams_are_those_of_the_network(key: str, path: Path) -> None:
    rewrite(path, change_config(**{key: 5}))
    found = {v.tensor: v for v in verify_model(read_container(path))}
    assert "network id must be" in found["w"].message
    assert found["none"].ok


def test_the_golden_model_judges_levels_too(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    container = read_container(path)
    streams = golden_levels(container, "w")
    assert len(streams) > 1  # every stream tells them
    assert all(levels == streams[0] for levels in streams)
    original = verify.value_levels

    def wrong(*arguments: Any) -> list[int] | None:
        found = original(*arguments)
        return found and [found[0] ^ 1, *found[1:]]

    monkeypatch.setattr(verify, "value_levels", wrong)
    verdicts = {v.tensor: v for v in verify_model(container, golden=True)}
    assert "levels of fast decoder and golden model differ" in verdicts["w"].message
    assert verdicts["none"].ok


def test_other_levels_in_sound_streams_are_noticed(path: Path) -> None:
    header, body = split_file(path.read_bytes())
    low, high = header["plain.xl_stream"]["data_offsets"]
    assert high - low > 32
    body[low + 16] ^= 1  # the first level, behind the stream's header
    path.write_bytes(reseal(header, body))
    found = {v.tensor: v for v in verify_model(read_container(path))}
    assert "mask and codes must have CRC-32" in found["plain"].message
    assert found["w"].ok


def test_bits_are_all_counted(path: Path) -> None:
    container = read_container(path)
    for name, info in container.tensors.items():
        bits = tensor_bits(container, name)
        parts = (container.entry(name + part)[2] for part in info.parts)
        assert bits.total == 8 * sum(parts)
        assert bits.value_entropy == bits.kept_bits == -(-bits.weights * 8 // 4)
        assert bits.per_weight()["value_efficiency"] <= 1
        assert tensor_frames(container, name) is None
    config = container.tensor("plain").decoder.value
    # As one stream, which the codec's own choice makes.
    assert stream_bits(360, config).total == 8 * container.entry("plain" + STREAM)[2]


def test_its_weight_streams_go_into_an_image(path: Path) -> None:
    container = read_container(path)
    image = memory_image(container)
    table = image.table()
    assert table["codec"] == "direct"
    assert [t["weights"] for t in table["tensors"]] == [84, 360, 150, 96, 0, 1]
    assert table["tensors"][0]["streams"] == 11
    assert image.kinds == 1 << 9


def test_codes_of_a_user_cannot_be_encoded(path: Path) -> None:
    config = read_container(path).tensor("w").decoder.value
    codes = np.zeros((4, 4), np.uint8)
    with pytest.raises(ConfigError, match="chooses the codes itself and cannot keep given ones"):
        encode_value(np.ones((4, 4), np.bool_), codes, 3, config)
