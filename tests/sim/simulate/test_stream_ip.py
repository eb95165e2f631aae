# SPDX-License-Identifier: Apache-2.0
"""The IP block fed by AXI4-Stream, simulated: what a DMA engine would store of its output."""

import re
from dataclasses import replace
from typing import Any

import pytest
import xorloom.sim.simulate.stream_ip as stream_module
from cocotbext.axi import AxiStreamFrame
from xorloom.sim.simulate.packets import packets_of
from xorloom.sim.simulate.stream_ip import StreamIpResult, simulate_stream_ip
from xorloom.sim.testbenches.agents.packets import keep_fault, packet_fault
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.spec.config import ValueConfig, WindowConfig
from xorloom.sw.spec.direct import DirectConfig
from xorloom.sw.spec.index_config import BitmapConfig, IndexConfig, NoneConfig
from xorloom.sw.spec.layout import BeatLayout
from xorloom.sw.spec.weight_format import WeightFormat

from tests.helpers.weight_streams import weight_stream

# As in test_simulate_bus.py; one build serves all tests that are not slow.
VALUE = WindowConfig(n_in=32, n_out=128, window=128, shared=64, frame=16, bus_bits=32)
INDEX = BitmapConfig(n_out=64, bus_bits=32)


def remainders(value: ValueConfig, index: IndexConfig, planes: int) -> list[bytes]:
    """Return streams that end with every number of weights, after 0 to 2 whole slices."""
    form = WeightFormat(value, planes, index)
    lanes = value.n_out // planes
    return [weight_stream(form, 1 + tail % 3, tail, tail) for tail in range(1, lanes + 1)]


def decode(**how: Any) -> StreamIpResult | str:
    return simulate_stream_ip(remainders(VALUE, INDEX, 2), VALUE, [INDEX], planes=2, **how)


@pytest.mark.build
@pytest.mark.parametrize(("source", "sink"), [("none", "none"), ("random", "bursts")])
def test_stream_ip_puts_out_every_remainder(source: str, sink: str) -> None:
    found = decode(source=source, sink=sink)
    assert isinstance(found, StreamIpResult), found
    assert found.weights == sum(64 * (tail % 3) + tail for tail in range(1, 65))
    assert found.beats == sum(1 + tail % 3 for tail in range(1, 65))
    assert (found.stall_cycles["output"] > 0) == (sink != "none")
    assert (found.stall_cycles["source"] > 100) == (source != "none")


WIDE = WindowConfig(n_in=64, n_out=192, window=192, shared=96, frame=16, bus_bits=256)
DIRECT = DirectConfig(n_in=32, n_out=63, planes=3, window=7, bus_bits=64)


@pytest.mark.slow  # a build each
@pytest.mark.parametrize(
    ("value", "planes", "levels", "beats"),
    [
        (VALUE, 1, False, "packed"),
        (VALUE, 2, False, "planar"),
        (WIDE, 3, False, "packed"),
        (replace(WIDE, bus_bits=512), 8, False, "packed"),
        (DIRECT, 3, False, "packed"),
        (DIRECT, 3, True, "packed"),
        (DIRECT, 3, True, "planar"),
    ],
)
def test_stream_ip_puts_out_every_remainder_of_any_layout(
    value: ValueConfig, planes: int, levels: bool, beats: str
) -> None:
    lanes = value.n_out // planes
    codec = NoneConfig if isinstance(value, DirectConfig) else BitmapConfig
    index = codec(n_out=lanes, bus_bits=value.bus_bits)
    streams = remainders(value, index, planes)
    found = simulate_stream_ip(
        streams, value, [index], planes=planes, levels=levels, beats=beats, sink="random"
    )
    assert isinstance(found, StreamIpResult), found


@pytest.mark.build
@pytest.mark.parametrize("what", ["keep", "user", "data", "stream"])
def test_stream_ip_reports_what_is_wrong(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    streams = remainders(VALUE, INDEX, 2)[7:9]  # of 8 and of 9 weights in the last beat
    packets, bits = packets_of(streams, VALUE, [INDEX], BeatLayout(128, 2))
    if what == "stream":
        streams[1] = streams[1][:30] + bytes([streams[1][30] ^ 1]) + streams[1][31:]
    elif what == "data":
        wrong = bytearray(packets[1].data)
        wrong[5] ^= 1  # the second group's mask, of a single weight
        packets[1] = replace(packets[1], data=bytes(wrong))
    else:
        packets[1] = replace(packets[1], **{what: 7})
    monkeypatch.setattr(stream_module, "packets_of", lambda *_, **__: (packets, bits))
    told = simulate_stream_ip(streams, VALUE, [INDEX], planes=2)
    assert isinstance(told, str)
    assert told.startswith(
        {
            "keep": "stream 1: packet of 6 bytes, expected 3",
            "user": "stream 1: beat 0: tuser 18, expected 7",
            "data": "stream 1: beat 0 bit 40: expected ",
            "stream": "decoder stopped in stream 1: CRC, checksum wrong",
        }[what]
    )


@pytest.mark.build
def test_stream_ip_gives_up_a_decoder_that_does_not_end() -> None:
    told = simulate_stream_ip(remainders(VALUE, INDEX, 2)[:1], VALUE, [INDEX], planes=2, sink="x")
    assert isinstance(told, str)
    assert re.fullmatch(r"no end after \d{5} clocks", told)


@pytest.mark.parametrize(
    ("keep", "fault"),
    [
        ("1111 1111 1000", None),
        ("1111", None),
        ("1110 1111", "beat 0: kept bytes kkk-, but it is not the last beat"),
        ("1111 1011", "beat 1: kept bytes k-kk are not contiguous from byte 0"),
        ("1111 0111", "beat 1: kept bytes -kkk are not contiguous from byte 0"),
        ("1111 0000", "beat 1: kept bytes ---- are not contiguous from byte 0"),
    ],
)
def test_keep_fault_tells_holes_and_short_beats(keep: str, fault: str | None) -> None:
    bits = [int(bit) for bit in keep.replace(" ", "")]
    assert keep_fault(AxiStreamFrame(bytes(len(bits)), bits), 4) == fault
    assert keep_fault(AxiStreamFrame(bytes(len(bits))), 4) is None


def test_packet_fault_looks_at_bits_that_count_in_the_last_beat() -> None:
    assert packet_fault(b"abcdX", b"abcdY", 0xFE, 4) is None
    assert packet_fault(b"abcdX", b"abcdY", 0xFF, 4) == (
        "beat 1 bit 0: expected 1, got 0 (1 bits differ)"
    )
    assert packet_fault(b"abcde", b"bbcde", 0, 4) == (
        "beat 0 bit 0: expected 0, got 1 (2 bits differ)"
    )
    assert packet_fault(b"abc", b"abcd", 0, 4) == "packet of 3 bytes, expected 4"


def test_stream_ip_has_levels_of_the_direct_codec_only() -> None:
    with pytest.raises(ConfigError, match="only the direct value codec has levels, not window"):
        decode(levels=True)
