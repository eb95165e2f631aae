# SPDX-License-Identifier: Apache-2.0
import json
import struct
import zlib

import numpy as np
import pytest
from xorloom.sw.config import BUS_BITS, BlockConfig
from xorloom.sw.errors import (
    CapacityError,
    ConfigError,
    FormatError,
    ToolError,
    XorloomError,
    check_range,
)
from xorloom.sw.layout import (
    KIND_BLOCK,
    Header,
    control_threshold_bits,
    network_id,
    padded,
    seed_bits_per_group,
)


@pytest.mark.parametrize(
    ("kind", "base"),
    [
        (ConfigError, ValueError),
        (FormatError, ValueError),
        (CapacityError, ValueError),
        (ToolError, RuntimeError),
    ],
)
def test_errors_are_one_family_and_builtin_kinds(kind, base):
    assert issubclass(kind, XorloomError)
    assert issubclass(kind, base)


def test_check_range_returns_plain_int():
    assert type(check_range("x", np.int64(5), 0, 9)) is int


@pytest.mark.parametrize("value", ["5", 5.0, None, True, np.float32(1)])
def test_check_range_rejects_what_is_no_integer(value):
    with pytest.raises(ConfigError, match=r"x must be an integer, not .* \(so there\)"):
        check_range("x", value, 0, 9, "so there")


def test_check_range_names_the_allowed_range():
    with pytest.raises(ConfigError, match=r"^x must be between 0 and 9, not 10$"):
        check_range("x", 10, 0, 9)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("n_in", 1, 64),
        ("n_out", 1, 32768),
        ("lanes", 1, 64),
        ("patches_per_cycle", 1, 16),
        ("block_groups", 2, 65536),
        ("network_seed", 0, 2**64 - 1),
    ],
)
def test_config_accepts_exactly_its_range(name, low, high):
    for value in (low, high):
        assert getattr(BlockConfig(**{name: value}), name) == value
    for value in (low - 1, high + 1):
        text = f"{name} must be between {low} and {high}, not {value}"
        with pytest.raises(ConfigError, match=text):
            BlockConfig(**{name: value})
    with pytest.raises(ConfigError, match=f"{name} must be an integer, not 2.5"):
        BlockConfig(**{name: 2.5})


def test_config_accepts_listed_bus_widths_only():
    assert BUS_BITS == (32, 64, 128, 256, 512)
    for bus_bits in BUS_BITS:
        assert BlockConfig(bus_bits=bus_bits).bus_bytes * 8 == bus_bits
    for wrong in (0, 16, 96, 1024, "64"):
        with pytest.raises(ConfigError, match="bus_bits must be one of 32, 64, 128, 256, 512, not"):
            BlockConfig(bus_bits=wrong)


def test_config_rejects_a_float_bus_width():
    with pytest.raises(ConfigError, match=r"bus_bits must be .* not 64\.0"):
        BlockConfig(bus_bits=64.0)


@pytest.mark.parametrize(
    ("n_out", "expected"),
    [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (200, 8), (256, 8), (257, 9), (32768, 15)],
)
def test_config_position_bits_hold_every_position(n_out, expected):
    assert BlockConfig(n_out=n_out).position_bits == expected


def test_config_is_frozen_and_hashable():
    config = BlockConfig()
    with pytest.raises(AttributeError):
        config.n_in = 3
    assert hash(config) == hash(BlockConfig())


def test_config_dict_round_trips_through_json():
    config = BlockConfig(7, 33, 5, 2, 128, 9, 2**64 - 1)
    assert BlockConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_config_of_numpy_integers_still_goes_to_json():
    config = BlockConfig(n_in=np.int64(8), n_out=np.int32(40))
    assert json.loads(json.dumps(config.to_dict()))["n_out"] == 40


def test_config_from_dict_names_what_does_not_fit():
    values = BlockConfig().to_dict()
    del values["lanes"]
    with pytest.raises(ConfigError, match="do not fit: missing or unknown colour, lanes"):
        BlockConfig.from_dict(values | {"colour": 1})


def test_config_rows_depend_on_network_parameters_only():
    rows = BlockConfig(n_in=6, n_out=20).rows
    assert BlockConfig(n_in=6, n_out=20, lanes=1, bus_bits=512, patches_per_cycle=3).rows == rows
    assert BlockConfig(n_in=6, n_out=20, network_seed=1).rows != rows


@pytest.mark.parametrize(("n", "expected"), [(0, 0), (1, 8), (8, 8), (9, 16), (16, 16)])
def test_padded_rounds_up_to_bus_words(n, expected):
    assert padded(n, 8) == expected


def test_layout_derived_bits_follow_the_format():
    config = BlockConfig(n_in=20, n_out=200, lanes=3)
    assert seed_bits_per_group(config) == 60
    assert control_threshold_bits(config) == 4 + 3 * 8


def test_network_id_is_crc_of_decimal_text():
    config = BlockConfig(n_in=4, n_out=10, network_seed=1)
    assert network_id(config) == zlib.crc32(b"4,10,1") == 0x2E0B37DD


def test_header_bytes_are_those_of_the_format():
    header = Header(KIND_BLOCK, 4, 0x2E0B37DD, 3)
    assert header.pack().hex() == "584c010204000000dd370b2e03000000"
    assert Header.unpack(header.pack(), "x") == header


@pytest.mark.parametrize("name", ["count", "words"])
def test_header_rejects_counts_beyond_32_bits(name):
    fields = {"kind": KIND_BLOCK, "count": 0, "network": 0, "words": 0}
    Header(**fields | {name: 2**32 - 1}).pack()
    with pytest.raises(
        CapacityError, match=f"stream {name} 4294967296 does not fit 32 bits: split"
    ):
        Header(**fields | {name: 2**32}).pack()


def test_header_rejects_short_foreign_and_newer_bytes():
    good = bytearray(Header(KIND_BLOCK, 4, 1, 3).pack())
    with pytest.raises(FormatError, match="here: stream is 15 bytes, shorter than its 16-byte"):
        Header.unpack(bytes(good[:15]), "here")
    with pytest.raises(FormatError, match="here: stream magic must be b'XL', found b'XM'"):
        Header.unpack(b"XM" + bytes(good[2:]), "here")
    newer = struct.pack("<2sB", b"XL", 2) + bytes(good[3:])
    with pytest.raises(FormatError, match="stream version 2 is not the supported 1: use a newer"):
        Header.unpack(newer, "here")
