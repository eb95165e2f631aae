# SPDX-License-Identifier: Apache-2.0
import itertools
import json
import re
import struct
import zlib

import numpy as np
import pytest
from xorloom.sw.base.errors import (
    CapacityError,
    ConfigError,
    FormatError,
    ToolError,
    XorloomError,
    check_range,
)
from xorloom.sw.spec.config import BUS_BITS, BlockConfig, WindowConfig
from xorloom.sw.spec.layout import (
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
    header = Header(BlockConfig.kind, 4, 0x2E0B37DD, 3)
    assert header.pack().hex() == "584c010204000000dd370b2e03000000"
    assert Header.unpack(header.pack(), "x") == header


@pytest.mark.parametrize("name", ["count", "words"])
def test_header_rejects_counts_beyond_32_bits(name):
    fields = {"kind": BlockConfig.kind, "count": 0, "network": 0, "words": 0}
    Header(**fields | {name: 2**32 - 1}).pack()
    with pytest.raises(
        CapacityError, match=f"stream {name} 4294967296 does not fit 32 bits: split"
    ):
        Header(**fields | {name: 2**32}).pack()


def test_header_rejects_short_foreign_and_newer_bytes():
    good = bytearray(Header(BlockConfig.kind, 4, 1, 3).pack())
    with pytest.raises(FormatError, match="here: stream is 15 bytes, shorter than its 16-byte"):
        Header.unpack(bytes(good[:15]), "here")
    with pytest.raises(FormatError, match="here: stream magic must be b'XL', found b'XM'"):
        Header.unpack(b"XM" + bytes(good[2:]), "here")
    newer = struct.pack("<2sB", b"XL", 2) + bytes(good[3:])
    with pytest.raises(FormatError, match="stream version 2 is not the supported 1: use a newer"):
        Header.unpack(newer, "here")


PLAIN = {"own_taps": 7, "shared_taps": 0, "shared": 0}


@pytest.mark.parametrize(
    ("name", "kind", "low", "high", "hint"),
    [
        ("n_in", "a power of two ", 8, 256, " (more bits per cycle need several decoders)"),
        ("n_out", "a multiple of 64 ", 64, 2048, ""),
        ("window", "a multiple of 64 ", 64, 2048, ""),
        ("own_taps", "", 1, 32, ""),
        ("parity_taps", "", 1, 8, ""),
        ("frame", "a power of two ", 16, 1024, ""),
        ("patches", "", 0, 1, " (a slice with more conflicts gets more steps)"),
        ("network_seed", "", 0, 2**64 - 1, ""),
    ],
)
def test_window_config_accepts_exactly_its_range(name, kind, low, high, hint):
    base = {"n_in": 64, "frame": 16}
    for value in (low, high):
        assert getattr(WindowConfig(**base | {name: value}), name) == value
    for value in (low - 1, high + 1):
        text = f"{name} must be {kind}between {low} and {high}, not {value}{hint}"
        with pytest.raises(ConfigError, match=f"^{re.escape(text)}$"):
            WindowConfig(**base | {name: value})
    with pytest.raises(ConfigError, match=f"{name} must be an integer, not 64.0"):
        WindowConfig(**base | {name: 64.0})


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            {"n_in": 24},
            "n_in must be a power of two between 8 and 256, not 24 (more bits per cycle need "
            "several decoders)",
        ),
        ({"frame": 48}, "frame must be a power of two between 16 and 1024, not 48"),
        ({"n_out": 96}, "n_out must be a multiple of 64 between 64 and 2048, not 96"),
        ({"window": 96}, "window must be a multiple of 64 between 64 and 2048, not 96"),
        (
            {"window": 192, "n_in": 128},
            "window must be a multiple of 128 between 128 and 2048, not 192",
        ),
        ({"shared": -1}, "shared must be between 0 and 4096, not -1"),
        ({"shared": 4097}, "shared must be between 0 and 4096, not 4097"),
        ({"shared_taps": -1}, "shared_taps must be between 0 and 8, not -1"),
        ({"shared_taps": 9}, "shared_taps must be between 0 and 8, not 9"),
        ({"shared": 0}, "shared 0 and shared_taps 3 must both be 0 or neither"),
        ({"shared_taps": 0}, "shared 256 and shared_taps 0 must both be 0 or neither"),
        ({"shared": 2}, "shared_taps 3 must not exceed shared 2"),
        (
            {"patches": 1},
            "with patches, n_in must hold 12 rate bits and 17 patch bits, not 16 "
            "(raise n_in or lower frame)",
        ),
        ({"bus_bits": 96}, "bus_bits must be one of 32, 64, 128, 256, 512, not 96"),
    ],
)
def test_window_config_rejects(change, text):
    with pytest.raises(ConfigError, match=f"^{re.escape(text)}$"):
        WindowConfig(**change)


def test_window_config_defaults_have_these_derived_values():
    config = WindowConfig()
    assert (config.preload_steps, config.rate_bits, config.rate_shift) == (31, 12, 0)
    assert (config.position_bits, config.patch_bits, config.taps) == (9, 17, 13)
    assert config.frame_steps_max == 128 + 4095
    narrow = WindowConfig(n_in=8)
    assert (narrow.rate_bits, narrow.rate_shift, narrow.frame_steps_max) == (8, 5, 128 + 255 * 32)


def window_shapes():
    powers = [1 << k for k in range(3, 9)]
    for n_in, frame in itertools.product(powers, [16, 32, 128, 1024]):
        for window in range(max(64, n_in), 2049, max(64, n_in)):
            yield WindowConfig(n_in=n_in, frame=frame, window=window, **PLAIN)


def test_window_config_rate_word_reaches_a_fresh_window_for_every_slice():
    for config in window_shapes():
        chunks = config.window // config.n_in
        assert config.preload_steps == chunks - 1
        assert 1 <= config.rate_bits <= config.n_in
        assert config.frame_steps_max >= config.frame * chunks + 1
        # One bit less, or half the unit, would not do.
        fewer = ((1 << config.rate_bits - 1) - 1) << config.rate_shift
        assert config.frame + fewer < config.frame * chunks + 1
        if config.rate_shift:
            finer = ((1 << config.n_in) - 1) << config.rate_shift - 1
            assert config.frame + finer < config.frame * chunks + 1


def test_window_config_fastest_frames_show_every_slice_its_own_bits():
    for config in window_shapes():
        steps, frame, chunks = config.frame_steps_max, config.frame, config.window // config.n_in
        ends = [-(-(i + 1) * steps // frame) for i in range(frame)]
        assert ends[0] > chunks  # the rate word, in chunk 0, has left the window
        assert all(b - a >= chunks for a, b in itertools.pairwise(ends))


def test_window_config_dict_and_identity():
    config = WindowConfig(n_in=np.int64(32), frame=64, patches=1, bus_bits=128, network_seed=5)
    assert WindowConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert config.identity == "32,512,512,1,3,256,4,64,1,5"
    assert network_id(config) == zlib.crc32(b"32,512,512,1,3,256,4,64,1,5")
    assert config.bus_bytes == 16
    assert network_id(config) == network_id(WindowConfig.from_dict(config.to_dict()))
    values = config.to_dict() | {"lanes": 3}
    del values["window"]
    with pytest.raises(
        ConfigError, match=r"^window codec parameters do not fit: .* lanes, window$"
    ):
        WindowConfig.from_dict(values)


def test_window_config_network_is_that_of_its_parameters():
    config = WindowConfig(n_in=8, n_out=64, window=64, **PLAIN)
    assert len(config.network.rows) == 64
    assert config.network.parities == ()
    assert config.taps == 7
    assert all(row.bit_count() == 7 for row in config.network.rows)
    assert WindowConfig(n_in=64, n_out=64, window=64, frame=32, **PLAIN).network == config.network
