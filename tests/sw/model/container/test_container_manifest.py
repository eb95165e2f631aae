# SPDX-License-Identifier: Apache-2.0
import json
import tracemalloc

import pytest
from xorloom.sw.base.errors import ConfigError, FormatError
from xorloom.sw.model.codec import decode_tensor
from xorloom.sw.model.container import (
    read_container,
)
from xorloom.sw.model.decompress import decompress_model
from xorloom.sw.model.reports.inspect import tensor_bits, tensor_frames, tensor_steps

from tests.helpers.containers import BOTH, WINDOW, change_config, change_tensor, read_all, rewrite


@pytest.mark.parametrize("version", [1, 5, 0, "2", 3.0, True, None])
def test_read_rejects_another_version(version, compressed):
    rewrite(compressed)
    read_all(compressed)
    rewrite(compressed, lambda manifest: manifest.update(version=version))
    wanted = r"is not supported \(there are 2, 3 and 4\): compress the"
    with pytest.raises(FormatError, match=wanted):
        read_container(compressed)


def test_read_rejects_another_codec(compressed):
    rewrite(compressed, lambda manifest: manifest["decoders"][0].update(codec="lz"))
    with pytest.raises(FormatError, match="unknown value codec 'lz'"):
        read_container(compressed)


@pytest.mark.parametrize("codec_name", [None, ["window"], 1])
def test_read_rejects_a_codec_that_is_no_name(codec_name, compressed):
    rewrite(compressed, lambda manifest: manifest["decoders"][0].update(codec=codec_name))
    with pytest.raises(FormatError, match=r"c\.safetensors: .*(codec|unhashable)"):
        read_container(compressed)


@BOTH
def test_read_rejects_the_other_codec(codec, compressed):
    other = "block" if codec == "window" else "window"
    rewrite(compressed, lambda manifest: manifest["decoders"][0].update(codec=other))
    text = rf"c\.safetensors: manifest does not fit: {other} codec parameters do not fit: missing"
    with pytest.raises(FormatError, match=text):
        read_container(compressed)


@WINDOW
@pytest.mark.parametrize(
    ("change", "text"),
    [
        (change_config(n_in=4), "n_in must be a power of two between 8 and 256, not 4"),
        (change_config(n_in=24), "n_in must be a power of two between 8 and 256, not 24"),
        (change_config(n_in="8"), "n_in must be an integer, not '8'"),
        (change_config(n_in=8.0), "n_in must be an integer, not 8.0"),
        (change_config(n_in=True), "n_in must be an integer, not True"),
        (change_config(n_out=100), "n_out must be a multiple of 64 between 64 and 2048, not 100"),
        (
            change_config(n_out=1 << 40),
            "n_out must be a multiple of 64 between 64 and 2048, not 1099511627776",
        ),
        (change_config(window=96), "window must be a multiple of 64 between 64 and 2048, not 96"),
        (change_config(own_taps=0), "own_taps must be between 1 and 32, not 0"),
        (change_config(shared_taps=9), "shared_taps must be between 0 and 8, not 9"),
        (change_config(shared=0), "shared 0 and shared_taps 3 must both be 0 or neither"),
        (change_config(shared=2), "shared_taps 3 must not exceed shared 2"),
        (change_config(parity_taps=None), "parity_taps must be an integer, not None"),
        (change_config(frame=100), "frame must be a power of two between 16 and 1024, not 100"),
        (change_config(frame=8), "frame must be a power of two between 16 and 1024, not 8"),
        (change_config(patches=2), "patches must be between 0 and 1, not 2"),
        (change_config(patches=1), "with patches, n_in must hold"),
        (change_config(bus_bits=48), "bus_bits must be one of 32, 64, 128, 256, 512, not 48"),
        (change_config(network_seed=-1), "network_seed must be between 0 and"),
        (change_config(lanes=1), "window codec parameters do not fit: missing or unknown lanes"),
        (
            lambda m: m["decoders"][0]["config"].pop("frame"),
            "codec parameters do not fit: missing or unknown fra",
        ),
        (lambda m: m["decoders"][0].update(config=[]), "config must be an object, not list"),
        (lambda m: m["tensors"]["w"].pop("order"), "'order'"),
        (lambda m: m["tensors"]["w"].pop("slices_per_stream"), "'slices_per_stream'"),
    ],
)
def test_read_names_what_does_not_fit_in_a_window_manifest(change, text, compressed):
    rewrite(compressed, change)
    with pytest.raises(FormatError) as caught:
        read_container(compressed)
    assert str(caught.value).startswith(f"{compressed}: manifest does not fit: ")
    assert text in str(caught.value)


@WINDOW
@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"order": "diagonal"}, "order must be one of row, column, strided, strided-column, skew"),
        ({"order": "auto"}, "order must be one of"),
        ({"order": None}, "order must be text, not None"),
        ({"order": ["row"]}, "order must be text, not ['row']"),
        ({"slices_per_stream": 0}, "slices_per_stream must be between 1 and 4294967296, not 0"),
        ({"slices_per_stream": -16}, "slices_per_stream must be between 1 and 4294967296, not -16"),
        ({"slices_per_stream": 1 << 33}, "slices_per_stream must be between 1 and"),
        ({"slices_per_stream": "16"}, "slices_per_stream must be an integer, not '16'"),
        ({"shape": [1 << 31, 22]}, "shape must be of fewer than 2**32 weights, not [21"),
        ({"shape": [1 << 32, 1 << 32]}, "shape must be of fewer than 2**32 weights"),
        ({"shape": [0, 1 << 31, 1 << 31]}, "shape must be of fewer than 2**32 weights"),
        ({"shape": [1] * 65}, "shape must have at most 64 dimensions"),
    ],
)
def test_read_names_what_does_not_fit_in_a_window_tensor(values, text, compressed):
    rewrite(compressed, change_tensor(**values))
    with pytest.raises(FormatError) as caught:
        read_container(compressed)
    assert str(caught.value).startswith(f"{compressed}: manifest does not fit: ")
    assert text in str(caught.value)


@WINDOW
@pytest.mark.parametrize("reader", [decode_tensor, tensor_bits, tensor_frames, tensor_steps])
@pytest.mark.parametrize(("per_stream", "streams"), [(1, 2), (16, 1), (1 << 32, 1)])
def test_slices_per_stream_must_fit_the_streams(reader, per_stream, streams, compressed):
    # 60 weights of 2 planes are 2 slices, stored as one stream.
    rewrite(compressed, change_tensor(slices_per_stream=per_stream))
    container = read_container(compressed)
    if streams == 1:
        reader(container, "w")
        return
    text = r"w: 60 weights (in streams of 1 slices )?must be 2 (index )?streams, found 1"
    with pytest.raises(FormatError, match=text):
        reader(container, "w")


@WINDOW
@pytest.mark.parametrize("reader", [tensor_frames, tensor_steps])
def test_a_shape_that_promises_billions_of_streams_allocates_nothing(reader, compressed):
    facts = {"shape": [(1 << 32) - 1], "slices_per_stream": 1}
    rewrite(compressed, change_tensor(**facts, quantizer=None, dtype="U8"))  # no scales to fit
    container = read_container(compressed)
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match="must be 134217728 streams, found 1"):
            reader(container, "w")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@BOTH
@pytest.mark.parametrize("number", ["Infinity", "NaN", "1e999", '"5"', "true", "-1", "4294967296"])
def test_read_rejects_crcs_that_are_no_32_bit_integers(number, compressed):
    def change_header(header):
        text = header["__metadata__"]["xorloom"]
        crc = json.loads(text)["crc32"]["bias"]
        assert text.count(f'"bias": {crc}') == 1
        header["__metadata__"]["xorloom"] = text.replace(f'"bias": {crc}', f'"bias": {number}')

    rewrite(compressed, change_header=change_header)
    text = r"c\.safetensors: manifest does not fit: (crc32 must be|\w+ is no JSON number)"
    with pytest.raises(FormatError, match=text):
        read_container(compressed)


@pytest.mark.parametrize("where", ["xorloom", None])
def test_read_rejects_json_that_is_too_deep(where, compressed):
    deep = "[" * 100_000
    if where:
        rewrite(compressed, change_header=lambda h: h["__metadata__"].update({where: deep}))
    else:
        data = deep.encode()
        compressed.write_bytes(len(data).to_bytes(8, "little") + data)
    with pytest.raises(FormatError, match=r"c\.safetensors: (manifest|safetensors header)"):
        read_container(compressed)


@pytest.mark.parametrize("shape", [[0, 1 << 62], [0, 1 << 70], [0] + [1] * 64])
def test_read_rejects_header_shapes_that_no_array_can_have(shape, compressed):
    def change_header(header):
        header["b"] = {"dtype": "F64", "shape": shape, "data_offsets": [0, 0]}

    rewrite(compressed, lambda m: m["crc32"].update(b=0), change_header)
    with pytest.raises(FormatError, match="tensor 'b' has a bad header entry"):
        read_container(compressed)


@pytest.mark.parametrize("part", ["w.xl_stream", "w.xl_index", "w.xl_scale"])
def test_read_rejects_a_missing_part(part, compressed):
    def change_header(header):
        header[part + "x"] = header.pop(part)

    def change(manifest):
        manifest["crc32"][part + "x"] = manifest["crc32"].pop(part)

    rewrite(compressed, change, change_header)
    with pytest.raises(FormatError, match=f"tensor 'w': part '{part}' is missing"):
        read_container(compressed)


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest.pop("version"),
        lambda manifest: manifest.pop("decoders"),
        lambda manifest: manifest.pop("foreign"),
        lambda manifest: manifest.pop("ties"),
        lambda manifest: manifest.update(decoders=[]),
        lambda manifest: manifest.update(colour="red"),
        lambda manifest: manifest["decoders"][0].update(colour="red"),
        lambda manifest: manifest.pop("tensors"),
        lambda manifest: manifest["crc32"].pop("bias"),
        lambda manifest: manifest.update(crc32=[]),
        lambda manifest: manifest.update(tensors=[1]),
        lambda manifest: manifest["decoders"][0]["config"].update(n_in=99),
        lambda manifest: manifest["decoders"][0]["config"].pop("lanes"),
        lambda manifest: manifest["tensors"]["w"].pop("planes"),
        change_tensor(quantizer={"method": "magic"}),
        change_tensor(quantizer={"colour": "red"}),
        change_tensor(shape=None),
        change_tensor(shape=3),
        lambda manifest: manifest["crc32"].update(bias="x"),
    ],
)
def test_read_rejects_manifests_that_do_not_fit(change, compressed):
    rewrite(compressed, change)
    with pytest.raises(FormatError, match="manifest does not fit"):
        read_container(compressed)


@BOTH
@pytest.mark.parametrize(
    "values",
    [
        {"shape": [6, 11]},
        {"shape": []},
        {"shape": [-6, -10]},
        {"shape": "ab"},
        {"shape": [6.0, 10.0]},
        {"planes": 1},
        {"planes": 0},
        {"planes": 9},
        {"planes": "2"},
        {"content_crc32": 0},
        {"content_crc32": None},
        {"dtype": "F99"},
        {"dtype": 5},
        {"quantizer": {"method": "binary", "planes": 1, "scale": "row"}},
    ],
)
def test_read_or_decompress_rejects_wrong_tensor_facts(values, compressed, tmp_path):
    rewrite(compressed, change_tensor(**values))
    with pytest.raises((FormatError, ConfigError)):
        decompress_model(compressed, tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "3"])
def test_read_rejects_a_metadata_value_that_is_no_manifest(text, compressed):
    rewrite(compressed, change_header=lambda h: h["__metadata__"].update(xorloom=text))
    with pytest.raises(FormatError, match="manifest does not fit"):
        read_container(compressed)
