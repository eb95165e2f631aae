# SPDX-License-Identifier: Apache-2.0
"""Memory images: what lies where, and that nothing is lost."""

import subprocess
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from xorloom.sw.base.errors import CapacityError, ConfigError, FormatError
from xorloom.sw.memory.image import memory_image, weight_formats
from xorloom.sw.memory.weight_stream import split_stream, split_weight_streams
from xorloom.sw.model.compress import compress_model
from xorloom.sw.model.container import (
    INDEX,
    SCALE,
    STREAM,
    Container,
    StoredTensor,
    read_container,
    write_container,
)
from xorloom.sw.model.plan.spec import CompressSpec
from xorloom.sw.spec.config import BlockConfig, WindowConfig
from xorloom.sw.spec.index_config import BitmapConfig, EntropyConfig, IndexConfig, TrellisConfig
from xorloom.sw.spec.weight_format import Decoder, WeightFormat
from xorloom.sw.tensors.checkpoint import open_model
from xorloom.sw.tensors.quantize import Quantizer
from xorloom.sw.value.plane import ValueLayout

VALUE = WindowConfig(n_in=8, n_out=64, window=64, shared=16, frame=16, bus_bits=32)
NAME = 'b "x"\\?é1'
"""A tensor's name that C must quote."""


def model(folder: Path, config: WindowConfig | BlockConfig = VALUE, index: str = "") -> Container:
    """Compress three tensors."""
    rng = np.random.default_rng(3)
    np.savez(
        folder / "m.npz",
        **{
            "a": rng.standard_normal((40, 30)).astype(np.float32),
            NAME: rng.standard_normal((7, 11)).astype(np.float32),
            "c": rng.standard_normal((9, 64)).astype(np.float32),
        },
    )
    index_of: dict[str, IndexConfig] = {
        "": BitmapConfig(n_out=32, bus_bits=32),
        "entropy": EntropyConfig(n_out=32, lanes=4, bus_bits=32),
    }
    block = isinstance(config, BlockConfig)
    spec = CompressSpec(
        sparsity=0.8,
        quantizer=Quantizer(planes=2),
        config=config,
        search=False,
        min_size=0,
        include=("a", NAME, "c"),
        index=None if block else index_of[index],
    )
    path = folder / "m.safetensors"
    compress_model(open_model(folder / "m.npz"), path, spec)
    return read_container(path)


@pytest.mark.parametrize("index", ["", "entropy"])
def test_memory_image_holds_all_of_every_tensor(index: str, tmp_path: Path) -> None:
    container = model(tmp_path, index=index)
    seen: list[tuple[str, ...]] = []
    image = memory_image(container, align_bytes=256, progress=lambda *step: seen.append(step))
    assert [region.name for region in image.regions] == ["a", NAME, "c"]
    assert seen == [("image", "a"), ("image", NAME), ("image", "c")]
    at = 0
    for region, (weights, slices) in zip(
        image.regions, ((1200, 38), (77, 3), (576, 18)), strict=True
    ):
        assert region.offset == -(-at // 256) * 256
        assert not any(image.data[at : region.offset])
        at = region.offset + region.length
        data = image.data[region.offset : at]
        assert zlib.crc32(data) == region.crc32
        assert (region.weights, region.slices) == (weights, slices)
        streams = split_weight_streams(data, 4)
        assert region.streams == len(streams) == 1
        apart = [split_stream(stream, region.form) for stream in streams]
        for suffix, k in ((STREAM, 0), (INDEX, 1)):
            assert b"".join(part[k] for part in apart) == container.raw(region.name + suffix)
    assert at == len(image.data)


def test_memory_image_takes_the_tensors_asked_for(tmp_path: Path) -> None:
    container = model(tmp_path)
    image = memory_image(container, [NAME, "a"], align_bytes=1)
    assert [region.name for region in image.regions] == [NAME, "a"]
    whole = {region.name: region for region in memory_image(container).regions}
    for region in image.regions:
        assert replace(region, offset=whole[region.name].offset) == whole[region.name]
    assert [region.offset for region in image.regions] == [0, image.regions[0].length]


def test_memory_image_table_names_the_decoder(tmp_path: Path) -> None:
    image = memory_image(model(tmp_path))
    table = image.table()
    assert table["bytes"] == len(image.data)
    assert table["crc32"] == zlib.crc32(image.data)
    assert (table["align_bytes"], table["bus_bits"], table["planes"]) == (64, 32, 2)
    assert (table["version"], table["codec"], table["config"]) == (2, "window", VALUE.to_dict())
    text = f"{VALUE.identity}/2/1/32".encode()
    assert table["value_network_id"] == f"{zlib.crc32(VALUE.identity.encode()):08x}"
    assert table["tensors"][1] == {
        "name": NAME,
        "offset": image.regions[1].offset,
        "length": image.regions[1].length,
        "weights": 77,
        "slices": 3,
        "streams": 1,
        "crc32": image.regions[1].crc32,
        "kind": 17,
        "network_id": f"{zlib.crc32(text):08x}",
        "index": {"codec": "bitmap", "config": {"n_out": 32, "bus_bits": 32}},
    }


def mixed(folder: Path) -> Container:
    """Two tensors with the same values' decoder, and an index of their own each."""
    tensors = []
    for name, index in (("a", ""), ("c", "entropy")):
        (folder / name).mkdir()
        tensors.append(model(folder / name, index=index).stored(name))
    write_container(folder / "mixed.safetensors", tensors)
    return read_container(folder / "mixed.safetensors")


def test_memory_image_of_several_indexes_says_each_regions(tmp_path: Path) -> None:
    container = mixed(tmp_path)
    image = memory_image(container)
    table = image.table()
    assert (image.value, image.planes, image.kinds) == (VALUE, 2, 1 << 1 | 1 << 6)
    assert [form.index.codec for form in image.forms] == ["bitmap", "entropy"]
    for region, entry, kind in zip(image.regions, table["tensors"], (17, 22), strict=True):
        decoder = container.tensor(region.name).decoder
        assert region.form == WeightFormat(VALUE, 2, decoder.index)
        assert entry["kind"] == kind
        assert entry["index"] == decoder.to_dict()["index"]
        assert entry["network_id"] == f"{region.form.network:08x}"
        data = image.data[region.offset : region.offset + region.length]
        assert data[3] == kind
        (stream,) = split_weight_streams(data, 4)
        value, index = split_stream(stream, region.form)
        assert (value, index) == tuple(
            container.raw(region.name + part) for part in (STREAM, INDEX)
        )
    assert {"kind", "network_id", "index"}.isdisjoint(table)
    assert "#define XORLOOM_IMAGE_KINDS 0x42u" in image.c_header()
    assert '{"c", ' in image.c_header()
    assert f"{image.regions[1].length}u, 22u}}," in image.c_header()


def test_tensors_that_one_decoder_cannot_read_are_told_apart(tmp_path: Path) -> None:
    container = mixed(tmp_path)

    def with_c(**changes: object) -> Container:
        c = replace(container.tensors["c"], **changes)
        return replace(container, tensors={**container.tensors, "c": c})

    other = replace(VALUE, network_seed=7)
    index = container.tensors["c"].decoder.index
    text = (
        r"reads values of one kind.*\(network_seed 0: a; network_seed 7: c\): name those of one w"
    )
    with pytest.raises(ConfigError, match=text):
        weight_formats(with_c(decoder=Decoder(other, index)))
    seven = with_c(decoder=Decoder(VALUE, BitmapConfig(n_out=32, bus_bits=32)))
    assert weight_formats(seven)["c"].index.kind == 1
    trellis = [TrellisConfig(n_in=n, n_out=32, bus_bits=32) for n in (4, 5)]
    both = replace(
        container,
        tensors={
            name: replace(container.tensors[name], decoder=Decoder(VALUE, config))
            for name, config in zip("ac", trellis, strict=True)
        },
    )
    text = (
        r"reads one index of a kind, .* for 2 decoders \(n_in 4: a; n_in 5: c\): name those of one"
    )
    with pytest.raises(ConfigError, match=text):
        weight_formats(both)
    assert weight_formats(both, ["c"]) == {"c": WeightFormat(VALUE, 2, trellis[1])}


def test_memory_image_c_header_refuses_names_that_c_cannot_say(tmp_path: Path) -> None:
    image = memory_image(model(tmp_path), ["a"])
    odd = replace(image, regions=(replace(image.regions[0], name="a\0b"),))
    with pytest.raises(ConfigError, match="cannot be named in C"):
        odd.c_header()


def test_memory_image_c_header_is_c(tmp_path: Path) -> None:
    image = memory_image(model(tmp_path))
    (tmp_path / "image.h").write_text(image.c_header())
    (tmp_path / "main.c").write_text(
        '#include <stdio.h>\n#include "image.h"\n'
        "int main(void) {\n"
        "    for (unsigned k = 0; k < XORLOOM_IMAGE_TENSORS; k++)\n"
        '        printf("%s|%lu|%lu|%lu\\n", xorloom_image[k].name,\n'
        "               (unsigned long)xorloom_image[k].offset,\n"
        "               (unsigned long)xorloom_image[k].length,\n"
        "               (unsigned long)xorloom_image[k].kind);\n"
        '    printf("%lu %u\\n", (unsigned long)XORLOOM_IMAGE_BYTES, XORLOOM_IMAGE_KINDS);\n'
        "    return 0;\n}\n"
    )
    flags = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    subprocess.run(["gcc", *flags, "main.c", "-o", "main"], cwd=tmp_path, check=True)
    out = subprocess.run([tmp_path / "main"], capture_output=True, check=True).stdout.decode()
    expected = [f"{r.name}|{r.offset}|{r.length}|17" for r in image.regions]
    assert out.splitlines() == [*expected, f"{len(image.data)} 2"]


def test_memory_image_refuses_what_has_no_weight_streams(tmp_path: Path) -> None:
    block = BlockConfig(n_in=6, n_out=20, lanes=2, bus_bits=32)
    with pytest.raises(ConfigError, match="the block codec has no weight streams: compress with"):
        memory_image(model(tmp_path, block))
    container = model(tmp_path)
    text = (
        r"these tensors are for 2 decoders \(planes 1: a; planes 2: .*, c\): name those of one "
        "with --tensor"
    )
    with pytest.raises(ConfigError, match=text):
        weight_formats(
            replace(
                container,
                tensors={
                    **container.tensors,
                    "a": replace(
                        container.tensors["a"],
                        planes=1,
                        decoder=Decoder(VALUE, BitmapConfig(n_out=64, bus_bits=32)),
                    ),
                },
            )
        )
    with pytest.raises(ConfigError, match="no tensor is compressed"):
        weight_formats(replace(container, tensors={}))


def test_memory_image_refuses_wrong_arguments(tmp_path: Path) -> None:
    container = model(tmp_path)
    for align, text in (
        (0, "align_bytes must be a power of two between 1 and 1048576, not 0"),
        (48, "align_bytes must be a power of two between 1 and 1048576, not 48"),
        (1 << 21, "align_bytes must be a power of two between 1 and 1048576, not 2097152"),
    ):
        with pytest.raises(ConfigError, match=text):
            memory_image(container, align_bytes=align)
    with pytest.raises(ConfigError, match="no compressed tensor 'x' in"):
        memory_image(container, ["a", "x"])
    with pytest.raises(ConfigError, match="tensor 'a' is asked for more than once"):
        memory_image(container, ["a", "c", "a"])


def test_memory_image_refuses_a_tensor_of_another_size(tmp_path: Path) -> None:
    """The streams are whole, but the manifest gives another shape."""
    container = model(tmp_path)
    tensors = []
    for name, info in container.tensors.items():
        wrong = replace(info, shape=(40, 31), layout=ValueLayout("row", 4096))
        parts = {
            suffix: (*container.entry(name + suffix)[:2], container.raw(name + suffix))
            for suffix in (STREAM, INDEX, SCALE)
        }
        tensors.append(StoredTensor(name, parts, wrong if name == "a" else info))
    write_container(tmp_path / "w.safetensors", tensors)
    with pytest.raises(FormatError, match="a: streams must hold 1240 weights, found 1200"):
        memory_image(read_container(tmp_path / "w.safetensors"))


def test_memory_image_refuses_a_region_beyond_the_length_register(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xorloom.sw.memory.image._LENGTH_MAX", 100)
    with pytest.raises(CapacityError, match=r"a: weight streams of \d+ bytes: a region has 32 bi"):
        memory_image(model(tmp_path))
