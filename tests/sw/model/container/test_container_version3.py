# SPDX-License-Identifier: Apache-2.0
"""What files of version 3 hold beyond those of version 2."""

import json
import struct
from dataclasses import replace

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file
from xorloom.sw.base.errors import ConfigError, FormatError
from xorloom.sw.model.codec import encode_tensor
from xorloom.sw.model.compress import compress_model
from xorloom.sw.model.container import (
    CompressedTensor,
    ForeignTensor,
    StoredTensor,
    content_crc32,
    read_container,
    write_container,
)
from xorloom.sw.model.decompress import decompress_model
from xorloom.sw.model.plan.spec import CompressSpec
from xorloom.sw.model.verify import verify_model, verify_tensor
from xorloom.sw.spec.index_config import EntropyConfig
from xorloom.sw.spec.weight_format import Decoder, index_for
from xorloom.sw.tensors.checkpoint import open_model
from xorloom.sw.tensors.quantize import Quantizer, dequantize, quantize

from tests.helpers.containers import rewrite
from tests.helpers.models import CONFIG, WINDOW

BITMAP = Decoder(WINDOW, index_for(WINDOW, 1))
ENTROPY = Decoder(WINDOW, EntropyConfig(n_out=64, lanes=8, bus_bits=WINDOW.bus_bits))
BLOCK = Decoder(CONFIG, index_for(CONFIG, 1))


def stored(name, decoder, rng, planes=1, quantizer=None):
    """Return a compressed tensor and the weights that it comes back as."""
    quantizer = quantizer or Quantizer(planes=planes)
    weights = rng.standard_normal((16, 24)).astype(np.float32)
    q = quantize(weights, rng.random(weights.shape) < 0.3, quantizer)
    encoded = encode_tensor(q, planes, decoder)
    crc = content_crc32(q.mask, q.codes)
    info = CompressedTensor(
        (16, 24), "F32", planes, crc, quantizer, decoder, encoded.layout, error=0.25
    )
    parts = {
        ".xl_stream": ("U8", (len(encoded.stream),), encoded.stream),
        ".xl_index": ("U8", (len(encoded.index),), encoded.index),
        ".xl_scale": ("F16", encoded.scale.shape, encoded.scale.tobytes()),
    }
    return StoredTensor(name, parts, info), dequantize(q, quantizer)


@pytest.fixture
def mixed(rng, tmp_path):
    """A file of three decoders, and the weights of its tensors."""
    made = {n: stored(n, d, rng) for n, d in {"z": BITMAP, "b": ENTROPY, "c": BLOCK}.items()}
    first = StoredTensor("first", {"": ("U8", (3,), b"abc")}, ForeignTensor("|S3", (1,), "npy"))
    plain = StoredTensor("a.bias", {"": ("F16", (2,), b"1234")})
    tensors = [first, made["z"][0], plain, made["b"][0], made["c"][0]]
    path = tmp_path / "c.safetensors"
    write_container(
        path, tensors, metadata={"format": "pt", "note": '"'}, ties={"head": "z", "d": "a.bias"}
    )
    return path, {name: weights for name, (_, weights) in made.items()}


def test_every_tensor_has_its_own_decoder(mixed):
    path, weights = mixed
    container = read_container(path)
    assert container.decoders == [BITMAP, ENTROPY, BLOCK]
    assert [t.decoder for t in container.tensors.values()] == [BITMAP, ENTROPY, BLOCK]
    for name, expected in weights.items():
        info = container.tensor(name)
        assert info.error == 0.25
        assert (dequantize(verify_tensor(container, name), info.quantizer) == expected).all()


def test_one_decoder_is_asked_for_by_tensors(mixed):
    container = read_container(mixed[0])
    assert container.decoder(["b"]) == ENTROPY
    text = r"c\.safetensors: these tensors are for 2 decoders \(window values with the bitmap index"
    with pytest.raises(ConfigError, match=text):
        container.decoder(["z", "b"])
    with pytest.raises(ConfigError, match=r"for 3 decoders .*: c\): name tensors of one"):
        container.value()
    with pytest.raises(ConfigError, match="no compressed tensor 'first'"):
        container.decoder(["first"])


def test_a_value_decoder_can_have_several_indexes(rng, tmp_path):
    path = tmp_path / "c.safetensors"
    write_container(path, [stored(n, d, rng)[0] for n, d in (("a", BITMAP), ("b", ENTROPY))])
    assert read_container(path).value() == WINDOW
    with pytest.raises(ConfigError, match="for 2 decoders"):
        read_container(path).decoder()


def test_order_metadata_ties_and_foreign_tensors_come_back(mixed, tmp_path):
    path, weights = mixed
    container = read_container(path)
    assert container.order == ["first", "z", "a.bias", "b", "c"]
    assert container.untouched == ["first", "a.bias"]
    assert container.metadata == {"format": "pt", "note": '"'}
    assert container.foreign == {"first": ForeignTensor("|S3", (1,), "npy")}
    decompress_model(path, tmp_path / "d.safetensors")
    raw = (tmp_path / "d.safetensors").read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    metadata = header.pop("__metadata__")
    assert list(header) == container.order
    foreign = json.loads(metadata.pop("xorloom.foreign"))
    assert foreign == {"first": {"dtype": "|S3", "shape": [1], "encoding": "npy"}}
    assert metadata == {"format": "pt", "note": '"', "head": "z", "d": "a.bias"}
    plain = load_file(tmp_path / "d.safetensors")
    assert all((plain[name] == expected).all() for name, expected in weights.items())
    assert plain["first"].tobytes() == b"abc"
    with safe_open(path, "np") as file:
        assert file.metadata()["format"] == "pt"


def test_a_tensor_goes_into_another_file_as_it_is(mixed, tmp_path):
    container = read_container(mixed[0])
    write_container(
        tmp_path / "e.safetensors",
        [container.stored(name) for name in container.order],
        metadata=container.metadata,
        ties=container.ties,
    )
    assert (tmp_path / "e.safetensors").read_bytes() == mixed[0].read_bytes()


def test_tensors_of_a_dtype_of_the_future_pass_through_as_bytes(tmp_path, rng):
    """Whoever has only today's safetensors can open all files that come of it."""
    w = rng.standard_normal((64, 8)).astype(np.float32)
    entries = {
        "w": {"dtype": "F32", "shape": [64, 8], "data_offsets": [0, w.nbytes]},
        "odd": {"dtype": "F2_X", "shape": [3, 4], "data_offsets": [w.nbytes, w.nbytes + 3]},
    }
    raw = json.dumps(entries).encode()
    model, path, out = (tmp_path / f"{name}.safetensors" for name in "mcd")
    model.write_bytes(struct.pack("<Q", len(raw)) + raw + w.tobytes() + b"abc")
    spec = CompressSpec(0.5, config=WINDOW, search=False, min_size=1)
    compress_model(open_model(model), path, spec)
    container = read_container(path)
    assert container.foreign == {"odd": ForeignTensor("F2_X", (3, 4), "safetensors")}
    assert all(verdict.ok for verdict in verify_model(container))
    decompress_model(path, out)
    assert load_file(out)["odd"].tobytes() == b"abc"


@pytest.mark.parametrize("key", ["xorloom", "xorloom_header_crc32"])
def test_metadata_cannot_take_our_keys(key, tmp_path):
    with pytest.raises(ConfigError, match=f"the model's metadata has the reserved key '{key}'"):
        write_container(tmp_path / "c", [], metadata={key: ""})


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda m: m["tensors"]["b"].update(decoder=3), "'b': decoder must be between 0 and 2"),
        (lambda m: m["tensors"]["b"].update(decoder=True), "'b': decoder must be an integer"),
        (lambda m: m["tensors"]["b"].update(error=-1), "error must be null or a number"),
        (lambda m: m["tensors"]["b"].update(error=float("nan")), "NaN is no JSON number"),
        (lambda m: m["tensors"]["b"].update(error=10**400), "error must be null or a number"),
        (lambda m: m["tensors"]["b"].update(dtype="I32"), "dtype must be one of F16, BF16, F32"),
        (lambda m: m["tensors"]["b"].update(dtype="U8", quantizer=None), "b.xl_scale"),
        (lambda m: m["tensors"].update(first=m["tensors"]["b"]), "part 'first.xl_stream' is miss"),
        (lambda m: m["foreign"].update(z=m["foreign"]["first"]), "foreign tensor 'z' is none of"),
        (lambda m: m["foreign"].update({"a.bias": m["foreign"]["first"]}), "must be U8 bytes"),
        (lambda m: m["foreign"]["first"].update(shape=[-1]), "shape must be between 0 and"),
        (lambda m: m["foreign"]["first"].update(dtype=None), "dtype must be text, not None"),
        (lambda m: m["ties"].update(z="b"), "name 'z' cannot stand for tensor 'b' as well"),
        (lambda m: m["ties"].update(other="none"), "'other' cannot stand for tensor 'none'"),
        (lambda m: m["ties"].update(other=["z"]), r"ties must be text, not \['z'\]"),
        (lambda m: m["decoders"].append("x"), "decoder must be an object, not str"),
        (lambda m: m["crc32"].update(zz=0), "crc32 has missing or unknown keys: 'zz'"),
        (lambda m: m.update({"\ud800": 1}), "is not Unicode text"),
        (lambda m: m["foreign"]["first"].update(dtype="\udfff"), "is not Unicode text"),
        (lambda m: m["tensors"]["b"]["quantizer"].update(planes=1), "quantizer has missing or"),
        (lambda m: m["tensors"]["b"]["quantizer"].pop("axis"), "quantizer has missing or"),
        (lambda m: m["tensors"]["b"]["quantizer"].update(axis=2), "axis must be between -2 and 1"),
        (lambda m: m["tensors"]["b"]["quantizer"].update(axis=-2), "axis must be 0, not -2"),
        (lambda m: m["tensors"]["b"]["quantizer"].update(axis=True), "axis must be an integer"),
        (
            lambda m: m["tensors"]["b"]["quantizer"].update(axis=1, scale="group"),
            "axis goes with scale row, not group",
        ),
    ],
)
def test_schema_is_strict(change, text, mixed):
    path = mixed[0]
    rewrite(path)
    read_container(path)
    if "xl_scale" in text:  # the scales would come back as a tensor of their own: that is sound
        rewrite(path, change)
        assert "b.xl_scale" in read_container(path).untouched
        return
    rewrite(path, change)
    with pytest.raises(FormatError, match=text):
        read_container(path)


@pytest.mark.parametrize(
    ("decoder", "scale", "shape"), [(BITMAP, "row", (15, 1)), (BLOCK, "group", (16, 1))]
)
def test_scales_have_the_shape_that_the_quantizer_gives(decoder, scale, shape, rng, tmp_path):
    tensor, _ = stored("w", decoder, rng, quantizer=Quantizer(scale=scale))
    right = tensor.parts[".xl_scale"][1]
    wrong = ("F16", shape, bytes(2 * shape[0] * shape[1]))
    write_container(
        tmp_path / "c", [replace(tensor, parts=dict(tensor.parts) | {".xl_scale": wrong})]
    )
    with pytest.raises(FormatError, match=rf"'w': scales must be \({right[0]}, 1\), not"):
        read_container(tmp_path / "c")


def test_scales_along_the_second_axis_come_back(rng, tmp_path):
    tensor, expected = stored("w", BITMAP, rng, quantizer=Quantizer(axis=1))
    assert tensor.parts[".xl_scale"][1] == (24, 1)
    write_container(tmp_path / "c.safetensors", [tensor])
    info = read_container(tmp_path / "c.safetensors").tensor("w")
    assert info.quantizer.axis == 1
    decompress_model(tmp_path / "c.safetensors", tmp_path / "d.safetensors")
    assert (load_file(tmp_path / "d.safetensors")["w"] == expected).all()


@pytest.mark.parametrize("part", [".xl_stream", ".xl_index", ".xl_scale"])
def test_parts_have_the_dtype_of_the_format(part, rng, tmp_path):
    tensor, _ = stored("w", BITMAP, rng)
    _, shape, data = tensor.parts[part]
    wrong = ("I16", shape, data) if part == ".xl_scale" else ("I8", shape, data)
    write_container(tmp_path / "c", [replace(tensor, parts=dict(tensor.parts) | {part: wrong})])
    with pytest.raises(FormatError, match=r"scales must be F16 or F32, not I16|must be U8 bytes"):
        read_container(tmp_path / "c")


@pytest.mark.parametrize("taken", ["w", "w.mask"])
def test_no_two_tensors_come_back_under_one_name(taken, rng, tmp_path):
    tensor, _ = stored("w", BITMAP, rng)
    if taken == "w.mask":
        facts = replace(tensor.facts, quantizer=None, dtype="U8")
        parts = {k: v for k, v in tensor.parts.items() if k != ".xl_scale"}
        tensor = StoredTensor("w", parts, facts)
    other = StoredTensor(taken, {"": ("U8", (1,), b"x")})
    with pytest.raises(ConfigError, match=f"tensor '{taken}' is in the way of what 'w' becomes"):
        write_container(tmp_path / "c", [tensor, other])
    assert not (tmp_path / "c").exists()


def test_a_config_of_another_codec_is_no_config_of_this_one(mixed):
    rewrite(mixed[0], lambda m: m["decoders"][0].update(config=m["decoders"][2]["config"]))
    with pytest.raises(FormatError, match="window codec parameters do not fit: missing or unknown"):
        read_container(mixed[0])
