# SPDX-License-Identifier: Apache-2.0
"""Every line of the table of codecs has its part in every layer."""

import inspect
from importlib import import_module

import pytest
from amaranth.lib import wiring
from xorloom.hw.index.decoder import index_core
from xorloom.sw.bits.codec import IndexCodec, ValueCodec, index_codec, value_codec
from xorloom.sw.golden.codecs import index_decoder, value_decoder
from xorloom.sw.spec.codecs import INDEX_CODECS, VALUE_CODECS
from xorloom.sw.spec.index_config import IndexConfig

from tests.helpers.paths import ROOT

CODECS = INDEX_CODECS | VALUE_CODECS


def test_kinds_are_those_of_the_format_and_stay_below_weight_streams():
    kinds = {name: config.kind for name, config in CODECS.items()}
    assert kinds == {
        "bitmap": 1, "block": 2, "window": 3, "trellis": 4, "lowrank": 5, "entropy": 6,
        "direct": 7, "hashed": 8, "none": 9,
    }  # fmt: skip


@pytest.mark.parametrize("name", INDEX_CODECS)
def test_index_codec_has_a_record_in_the_software(name):
    codec, config = index_codec(name), INDEX_CODECS[name]
    assert isinstance(codec, IndexCodec)
    assert issubclass(config, IndexConfig)
    assert config.codec == name
    assert (codec.choose is not None) == config.chooses_mask
    assert (codec.pack is None) == config.chooses_mask
    wishes = {"density": 0.1, "rate": None, "window": 8, "classes": 1, "importance": None}
    wishes["n_out_step"] = 64
    made = codec.configure(64, 32, planes=1, **wishes) if name != "lowrank" else None
    assert made is None or (type(made), made.n_out, made.bus_bits) == (config, 64, 32)


@pytest.mark.parametrize("name", VALUE_CODECS)
def test_value_codec_has_a_record_in_the_software(name):
    codec, config = value_codec(name), VALUE_CODECS[name]
    assert isinstance(codec, ValueCodec)
    assert config.codec == name
    assert (codec.encode is None) == config.chooses_values
    for part in (codec.choose, codec.pack, codec.stream_bits, codec.levels):
        assert (part is not None) == config.chooses_values


@pytest.mark.parametrize("name", CODECS)
def test_codec_has_a_golden_model_that_decodes_nothing_to_nothing(name):
    config = CODECS[name]()
    words = [0] * (16 * 8 // config.bus_bits)
    decoder = index_decoder if name in INDEX_CODECS else value_decoder
    assert decoder(config, words) == []
    room = "index." if name in INDEX_CODECS else ""
    module = import_module(f"xorloom.sw.golden.{room}{name}")
    assert f"{name}_decoder" in module.__all__


@pytest.mark.parametrize("name", INDEX_CODECS)
def test_index_codec_has_a_core_in_rtl(name):
    config = INDEX_CODECS[name]()
    core = index_core(config)
    assert isinstance(core, wiring.Component)
    assert type(core).__module__ == f"xorloom.hw.index.{name}"
    assert core.latency > 0
    assert core.i.payload.shape().width == (core.chunk_bits or config.bus_bits)
    assert core.o.payload.shape().width == config.n_out


@pytest.mark.parametrize("name", VALUE_CODECS)
def test_value_codec_has_a_decoder_in_rtl(name):
    shell = import_module(f"xorloom.hw.{name}.shell")
    found = getattr(shell, f"{name.capitalize()}Shell")
    assert issubclass(found, wiring.Component)
    assert inspect.signature(found).parameters["config"]


@pytest.mark.parametrize(
    ("table", "rooms", "others"),
    [
        (
            INDEX_CODECS,
            ["sw/index"],
            {"choice", "density", "masks", "plane", "rate_distortion", "sample"},
        ),
        (VALUE_CODECS, ["sw/value"], {"packed", "plane", "search"}),
    ],
)
def test_every_codec_of_a_room_is_in_the_table(table, rooms, others):
    for room in rooms:
        found = {path.stem for path in (ROOT / room).iterdir() if not path.stem.startswith("_")}
        assert found - others == set(table)
