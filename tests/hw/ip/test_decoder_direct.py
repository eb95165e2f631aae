# SPDX-License-Identifier: Apache-2.0
"""Weight streams of the direct codec: decoded as codes and as levels; faults are found."""

import random
from typing import Any

import pytest
from amaranth.hdl import Signal
from xorloom.hw.ip.csr import Cause
from xorloom.hw.ip.decoder import WeightDecoder
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.golden.bus import bus_words
from xorloom.sw.golden.direct import direct_levels
from xorloom.sw.golden.weights import weight_decoder
from xorloom.sw.memory.weight_stream import split_stream
from xorloom.sw.spec.config import WindowConfig
from xorloom.sw.spec.direct import DirectConfig
from xorloom.sw.spec.index_config import NoneConfig
from xorloom.sw.spec.weight_format import WeightFormat

from tests.helpers.decoder import reseal, words_of
from tests.helpers.rtl import drive, simulate, unit
from tests.helpers.weight_streams import weight_stream

CONFIGS = {
    "n_in_is_bus": DirectConfig(n_in=32, n_out=48, planes=3, window=8, bus_bits=32),
    "n_in_above_bus": DirectConfig(n_in=40, n_out=40, planes=2, window=6, bus_bits=32),
    "n_in_below_bus": DirectConfig(n_in=12, n_out=24, planes=1, window=10, bus_bits=64),
}


def form_of(config: DirectConfig) -> WeightFormat:
    return WeightFormat(config, config.planes, NoneConfig(config.lanes, config.bus_bits))


def decoder(form: WeightFormat, *, levels: bool = False) -> Any:
    return unit(WeightDecoder, form.value, (form.index,), planes=form.planes, levels=levels)


def beats(form: WeightFormat, data: bytes, *, levels: bool) -> list[tuple[int, int, bool]]:
    """Return (codes or levels, valid bits, last) of all beats."""
    config = form.value
    assert isinstance(config, DirectConfig)
    table = direct_levels(config, bus_words(split_stream(data, form)[0], config.bus_bits))
    found = []
    for beat in weight_decoder(form, data):
        value = beat.codes & ((1 << beat.valid_bits) - 1)
        if levels:
            lanes = range(beat.valid_bits // config.planes)
            codes = [value >> j * config.planes & (len(table) - 1) for j in lanes]
            value = sum((table[code] & 255) << 8 * j for j, code in enumerate(codes))
        found.append((value, beat.valid_bits, beat.last))
    return found


def live(form: WeightFormat, item: Any, *, levels: bool) -> tuple[int, int, bool]:
    """Return the same of an output beat; its mask must be all ones."""
    weights = item.valid_bits // form.planes
    assert not item.bad
    assert item.mask & ((1 << weights) - 1) == (1 << weights) - 1
    width = 8 * weights if levels else item.valid_bits
    return item.codes & ((1 << width) - 1), item.valid_bits, bool(item.last)


@pytest.mark.parametrize("levels", [False, True])
@pytest.mark.parametrize("name", CONFIGS)
def test_decoder_of_direct_weights_equals_golden_model(name: str, levels: bool) -> None:
    form = form_of(CONFIGS[name])
    data = [weight_stream(form, n, tail, n) for n, tail in ((9, 16), (1, 1), (2, 5), (14, 3))]
    words = [word for part in data for word in to_words(form, part)]
    expected = [beat for part in data for beat in beats(form, part, levels=levels)]
    run = drive(decoder(form, levels=levels), words, len(expected), source=0.2, sink=0.3)
    assert [live(form, item, levels=levels) for item in run.items] == expected


def to_words(form: WeightFormat, data: bytes) -> list[dict[str, int]]:
    text = words_of(data, form.value.bus_bits)
    last = len(text) - 1
    return [{"data": word, "last": k == last, "error": 0} for k, word in enumerate(text)]


def raised(data: bytes, form: WeightFormat) -> bytes:
    """Return the stream with a count that its seeds are too few for; its CRC is right."""
    count = int.from_bytes(data[4:8], "little") + 8 * form.value.n_out
    return reseal(data[:4] + count.to_bytes(4, "little") + data[8:])


def flipped(data: bytes, form: WeightFormat) -> bytes:
    """Return the stream with one bit of its last words flipped."""
    at = len(data) - 2 * form.value.bus_bits // 8
    return data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]


@pytest.mark.parametrize(
    ("damage", "cause"), [(raised, Cause.LENGTH), (flipped, Cause.CRC)], ids=["length", "crc"]
)
@pytest.mark.parametrize("name", CONFIGS)
def test_decoder_of_direct_weights_ends_what_is_damaged(name: str, damage: Any, cause: Any) -> None:
    form = form_of(CONFIGS[name])
    good = weight_stream(form, 60, 4, 1)
    dut = decoder(form)
    rng = random.Random(name)

    async def bench(ctx: Any, _reset: Signal) -> None:
        for data in (good, damage(good, form), good, damage(good, form), good):
            left, found, causes = to_words(form, data), [], []
            for _ in range(1500):
                ctx.set(dut.i.valid, bool(left))
                if left:
                    ctx.set(dut.i.payload, left[0])
                ctx.set(dut.o.ready, rng.random() < 0.7)
                takes = ctx.get(dut.o.ready)
                _, _, accepts, offers, item, fault, why = await ctx.tick().sample(
                    dut.i.ready, dut.o.valid, dut.o.payload, dut.fault, dut.cause
                )
                if left and accepts:
                    left.pop(0)
                if fault:
                    causes.append(why)
                if offers and takes:
                    found.append(item)
                if not left and found and found[-1].last:
                    break
            if data is good:
                wanted = beats(form, data, levels=False)
                assert [live(form, item, levels=False) for item in found] == wanted
                assert not causes
            else:
                assert causes == [cause]
                # A packet that has not begun to go out is not closed either.
                assert not found or (found[-1].bad and not found[-1].valid_bits)

    simulate(dut, bench)


def test_decoder_has_levels_of_the_direct_codec_only() -> None:
    with pytest.raises(ConfigError, match="only the direct value codec has levels, not window"):
        WeightDecoder(WindowConfig(), [NoneConfig(512, 64)], planes=1, levels=True)
    config = CONFIGS["n_in_is_bus"]
    with pytest.raises(ConfigError, match="planes must be 3"):
        WeightDecoder(config, [NoneConfig(48, 32)], planes=1)
